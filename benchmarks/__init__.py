"""Measurements behind the figures in the documentation; each prints its own table."""
