"""Products and countries that synthetic transactions refer to: made up, or a warehouse's own."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from generators.categories import category_of
from generators.countries import Country, load_countries
from generators.landing import GeneratorError

CURRENT_PRODUCTS = (
    "select distinct stock_code, description, category, unit_price from ecommerce_db.products where is_current"
)
KNOWN_COUNTRIES = "select distinct country_id, country_name, region, latitude, longitude from ecommerce_db.countries"

_COLOURS = ["RED", "BLUE", "PINK", "GREEN", "IVORY", "BLACK", "WHITE", "SILVER", "CREAM", "PURPLE"]
_STYLES = ["RETROSPOT", "VINTAGE", "POLKADOT", "PAISLEY", "FRENCH", "REGENCY", "WOODLAND", "ENGLISH"]
# fmt: off
_THINGS = [
    "JUMBO BAG", "LUNCH BOX", "CAKE STAND", "T-LIGHT HOLDER", "HANGING HEART", "GIFT WRAP", "DOORMAT",
    "CHRISTMAS BAUBLE", "TEA TOWEL", "GARDEN LANTERN", "NOTEBOOK", "BEAD NECKLACE", "SKIPPING ROPE",
    "STORAGE TIN", "PLANT POT", "COFFEE MUG", "CUSHION COVER", "JIGSAW PUZZLE", "WALL CLOCK", "PARTY BUNTING",
    "BIRTHDAY CARD", "DROP EARRINGS", "HERB MARKER",
]
# fmt: on


@dataclass(frozen=True)
class Product:
    """A product with its price before the first generated day."""

    stock_code: str
    description: str
    category: str
    unit_price: Decimal


@dataclass(frozen=True)
class Reference:
    """The masters that a generated landing zone starts from."""

    products: tuple[Product, ...]
    countries: tuple[Country, ...]


def made_up_reference(seed: int, products: int) -> Reference:
    """Masters of our own. One pair of codes in ten differs by case only, as in real life."""
    rng = random.Random(f"products {seed}")
    return Reference(tuple(_made_up_product(number, rng) for number in range(products)), load_countries())


def warehouse_reference() -> Reference | None:
    """Current products and known countries of the warehouse; None if it has none of either yet."""
    products = tuple(
        Product(
            row["stock_code"],
            row["description"],
            row.get("category") or "",
            _price(row["stock_code"], row["unit_price"]),
        )
        for row in sorted(_query(CURRENT_PRODUCTS), key=lambda row: str(row["stock_code"]))
    )
    countries = tuple(
        Country(*("" if row.get(column) is None else str(row[column]) for column in Country._fields))
        for row in sorted(_query(KNOWN_COUNTRIES), key=lambda row: str(row["country_id"]))
    )
    return Reference(products, countries) if products and countries else None


def _made_up_product(number: int, rng: random.Random) -> Product:
    code = {8: f"{20000 + number}A", 9: f"{20000 + number - 1}a"}.get(number % 10, f"{20000 + number}")
    description = f"{rng.choice(_COLOURS)} {rng.choice(_STYLES)} {rng.choice(_THINGS)}"
    pence = max(10, round(100 * math.exp(rng.gauss(0.9, 0.8))))
    return Product(code, description, category_of(description), Decimal(pence) / 100)


def _price(code: str, value: object) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise GeneratorError(f"product {code} of the warehouse has no usable price: {value!r}") from None


def _query(sql: str) -> list[dict[str, Any]]:
    """One query through the console script that is installed beside this Python."""
    script = Path(sys.executable).with_name("warehouse")
    if not script.is_file():
        raise GeneratorError(f"--from-warehouse: {script} is not there: install the project in this Python")
    done = subprocess.run(
        [str(script), "sql", "--json", sql], capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        last_words = (done.stderr.strip() or "no message").splitlines()[-1]
        raise GeneratorError(f"--from-warehouse: `warehouse sql` ended with {done.returncode}: {last_words}")
    try:
        rows: list[dict[str, Any]] = json.loads(done.stdout, parse_float=Decimal)
    except ValueError:
        raise GeneratorError("--from-warehouse: `warehouse sql --json` printed something that is no JSON") from None
    return rows
