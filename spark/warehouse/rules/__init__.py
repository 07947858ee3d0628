"""The business rules: pure functions from DataFrame to DataFrame."""

LONGEST_CODE = 255
"""Characters of an identifier: what an index of Postgres can hold, two of them in one, in any alphabet."""
