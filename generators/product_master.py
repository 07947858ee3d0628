"""The product master that the order lines imply: newest description and price of every code seen."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from generators.categories import category_of
from generators.landing import money_text
from generators.spool import SpooledLine

FIRST_STOCK, REORDER_POINT, REORDER_LOT = 500, 100, 500
Value = TypeVar("Value", str, Decimal)


@dataclass
class ProductMaster:
    """What is known of every code so far; a day changes only the codes that are in it."""

    descriptions: dict[str, str] = field(default_factory=dict)
    prices: dict[str, Decimal] = field(default_factory=dict)
    stock: dict[str, int] = field(default_factory=dict)

    def observe(self, lines: Iterable[SpooledLine]) -> None:
        """Take a day's lines in: its most frequent description and positive price, its sales."""
        descriptions: defaultdict[str, Counter[str]] = defaultdict(Counter)
        prices: defaultdict[str, Counter[Decimal]] = defaultdict(Counter)
        sold: Counter[str] = Counter()
        for line in lines:
            code = line.stock_code
            if line.description:
                descriptions[code][line.description] += 1
            if (price := _price(line.price)) > 0:
                prices[code][price] += 1
            with suppress(ValueError):
                sold[code] += int(line.quantity)
        self.descriptions.update((code, _most_frequent(counts)) for code, counts in descriptions.items())
        self.prices.update((code, _most_frequent(counts)) for code, counts in prices.items())
        for code, quantity in sold.items():
            self.stock[code] = _restock(self.stock.get(code, FIRST_STOCK) - quantity)

    def snapshot(self) -> Iterator[tuple[str, str, str, str, int]]:
        """The master's rows, by code. A code that never had a positive price is not in it."""
        for code in sorted(self.prices):
            if code:
                description = self.descriptions.get(code, code)
                price = money_text(self.prices[code])
                yield code, description, category_of(description), price, self.stock.get(code, FIRST_STOCK)


def _most_frequent(counts: Counter[Value]) -> Value:
    return min(counts, key=lambda value: (-counts[value], value))


def _restock(balance: int) -> int:
    """Order whole lots as soon as the balance is below the reorder point."""
    if balance >= REORDER_POINT:
        return balance
    lots = -((balance - REORDER_POINT) // REORDER_LOT)
    return balance + lots * REORDER_LOT


def _price(text: str) -> Decimal:
    """A price to four places; what is no number counts as no price."""
    try:
        price = Decimal(text.strip())
        return price.quantize(Decimal("0.0001")) if price.is_finite() else Decimal(0)
    except InvalidOperation:
        return Decimal(0)
