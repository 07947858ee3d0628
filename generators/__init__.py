"""Make landing files: a seeded synthetic shop and a replay of the UCI Online Retail data set."""
