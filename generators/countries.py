"""The reference table of countries, and the Online Retail data set's own names for them."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

# Names that stand for no country. "EU" is deliberately not in the country master.
NO_COUNTRY = {"Unspecified": "", "European Community": "EU"}


class Country(NamedTuple):
    """One row of the country master, as it lands."""

    country_id: str
    country_name: str
    region: str
    latitude: str
    longitude: str


@cache
def load_countries() -> tuple[Country, ...]:
    """Every country of the reference table, by id."""
    return tuple(Country(*row[:5]) for row in _table())


def country_id(name: str) -> str:
    """The ISO code of a country by its name or alias; a name that is not known comes back as it is."""
    name = name.strip()
    return _ids_by_name().get(name, name)


@cache
def _ids_by_name() -> dict[str, str]:
    ids = dict(NO_COUNTRY)
    for row in _table():
        ids[row[1]] = row[0]
        ids.update((alias, row[0]) for alias in row[5].split(";") if alias)
    return ids


@cache
def _table() -> tuple[list[str], ...]:
    with Path(__file__).with_name("countries.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return tuple(rows)
