"""A batch data warehouse for an e-commerce shop."""
