"""The business rules: pure functions from DataFrame to DataFrame."""
