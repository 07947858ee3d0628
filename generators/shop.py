"""What the synthetic shop sells: prices by day, orders by window, drawn in bulk.

Draws of a day and of a window depend on the seed and the date, not on what was drawn before: a
longer run begins with the same ordinary transactions as a shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from generators.landing import WINDOW_HOURS, Window, money_text
from generators.reference import Reference

Ints = npt.NDArray[np.int64]

CHUNK_ROWS = 200_000
LINES_AN_ORDER = 8
SHARE_OF_WINDOW = {4: 0.004, 8: 0.28, 12: 0.45, 16: 0.226, 20: 0.04}
GUESTS, RETURNS, PRICE_CHANGES = 0.25, 0.02, 0.05
HOME, HOME_SHARE = "GB", 0.85
MOST_UNITS = 5000
PRICE_SCALE = 10_000  # prices as whole numbers, four places: exact sums


@dataclass(frozen=True)
class Chunk:
    """Rows of one window, by column, and what they come to."""

    columns: tuple[list[Any], ...]
    size: int
    quantity: int
    amount: Decimal

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows as they land."""
        return zip(*self.columns, strict=True)


class Shop:
    """Sells a reference's products; `open_day` moves on to a day and its prices."""

    def __init__(self, seed: int, reference: Reference, customers: int) -> None:
        self.countries = reference.countries
        self._seed = seed
        self._products = reference.products
        self._prices = [product.unit_price for product in reference.products]
        self._places = {product.stock_code: place for place, product in enumerate(reference.products)}
        self._codes = np.array([product.stock_code for product in reference.products], dtype=object)
        ids = sorted((country.country_id for country in reference.countries), key=lambda code: code != HOME)
        self._countries = np.array(ids, dtype=object)
        rng = np.random.default_rng([seed, 0])
        self._by_popularity: Ints = rng.permutation(len(self._products))
        self._product_shares = _zipf(len(self._products), 1.05)
        self._customer_shares = _zipf(customers, 0.6)
        self._country_shares = _country_shares(len(ids))
        self._home_of_customer = np.searchsorted(self._country_shares, rng.random(customers))
        self._rng = rng
        self._orders = 0

    def open_day(self, day: date) -> None:
        """Begin a day: about one product in twenty gets another price."""
        self._rng = np.random.default_rng([self._seed, day.toordinal()])
        self._orders = 0
        changes = self._rng.random(len(self._prices)) < PRICE_CHANGES
        factors = self._rng.integers(88, 116, len(self._prices)).tolist()
        for place in np.flatnonzero(changes).tolist():
            self._prices[place] = _changed(self._prices[place], factors[place])
        self._scaled: Ints = np.array([int(price * PRICE_SCALE) for price in self._prices], dtype=np.int64)

    def price(self, stock_code: str) -> Decimal:
        """The day's price."""
        return self._prices[self._places[stock_code]]

    def snapshot(self) -> Iterator[tuple[str, str, str, str, int]]:
        """The day's product master."""
        stock = self._rng.integers(0, 2000, len(self._products)).tolist()
        for product, price, pieces in zip(self._products, self._prices, stock, strict=True):
            yield product.stock_code, product.description, product.category, money_text(price), pieces

    def rows_by_window(self, rows: int) -> dict[int, int]:
        """How many of a day's rows fall in the window that begins at an hour; together exactly all."""
        counts = self._rng.multinomial(rows, list(SHARE_OF_WINDOW.values())).tolist()
        return dict(zip(SHARE_OF_WINDOW, counts, strict=True))

    def sell(self, window: Window, rows: int) -> Iterator[Chunk]:
        """A window's rows in order of time, so many at a time that memory stays small."""
        rng = np.random.default_rng([self._seed, window.day.toordinal(), window.hour])
        chunks = -(-rows // CHUNK_ROWS)
        seconds = WINDOW_HOURS * 3600
        for number in range(chunks):
            first, last = rows * number // chunks, rows * (number + 1) // chunks
            span = seconds * number // chunks, seconds * (number + 1) // chunks
            yield self._draw(rng, window, span, last - first)

    def _draw(self, rng: np.random.Generator, window: Window, span: tuple[int, int], size: int) -> Chunk:
        order_of_row = np.sort(rng.integers(0, -(-size // LINES_AN_ORDER), size))
        starts = np.flatnonzero(np.diff(order_of_row, prepend=-1))
        order_of_row = np.cumsum(np.diff(order_of_row, prepend=-1) > 0) - 1
        line_in_order = np.arange(size) - starts[order_of_row] + 1
        count = len(starts)

        seconds = np.sort(rng.integers(*span, count))
        midnight = np.datetime64(window.day.isoformat(), "s")
        instants = midnight + (seconds + window.hour * 3600).astype("timedelta64[s]")
        times = [text.replace("T", " ") for text in np.datetime_as_string(instants, unit="s").tolist()]
        customers = np.searchsorted(self._customer_shares, rng.random(count))
        guest = rng.random(count) < GUESTS
        strangers = np.searchsorted(self._country_shares, rng.random(count))
        countries = self._countries[np.where(guest, strangers, self._home_of_customer[customers])]
        returned = rng.random(count) < RETURNS
        day = f"{self._seed}-{window.day:%Y%m%d}"
        orders = [
            f"{'CS' if back else 'S'}{day}-{number}"
            for number, back in enumerate(returned.tolist(), start=self._orders + 1)
        ]
        self._orders += count

        products = self._by_popularity[np.searchsorted(self._product_shares, rng.random(size))]
        units = np.exp(rng.standard_normal(size) * 1.1 + 1.2)
        quantity = np.clip(np.rint(units), 1, MOST_UNITS).astype(np.int64)
        quantity = np.where(returned[order_of_row], -quantity, quantity)
        buyers = np.where(guest, "", (customers + 12_000).astype(str)).astype(object)
        order_ids = np.array(orders, dtype=object)[order_of_row].tolist()
        columns = (
            [f"{order}-{line}" for order, line in zip(order_ids, line_in_order.tolist(), strict=True)],
            order_ids,
            self._codes[products].tolist(),
            quantity.tolist(),
            np.array(times, dtype=object)[order_of_row].tolist(),
            buyers[order_of_row].tolist(),
            countries[order_of_row].tolist(),
        )
        amount = Decimal(int((quantity * self._scaled[products]).sum())) / PRICE_SCALE
        return Chunk(columns, size, int(quantity.sum()), amount.quantize(Decimal("0.0001")))


def _zipf(size: int, exponent: float) -> npt.NDArray[np.float64]:
    return _cumulative(1 / np.arange(1, size + 1) ** exponent)


def _country_shares(size: int) -> npt.NDArray[np.float64]:
    abroad = 1 / np.arange(1, max(size, 2))
    weights = np.concatenate(([HOME_SHARE], abroad / abroad.sum() * (1 - HOME_SHARE)))
    return _cumulative(weights[:size])


def _cumulative(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cumulative shares; the last is above 1, so that rounding leaves no draw without a place."""
    shares: npt.NDArray[np.float64] = np.cumsum(weights) / weights.sum()
    shares[-1] = 1.1
    return shares


def _changed(price: Decimal, percent: int) -> Decimal:
    """Another price of two places, never the same and never nothing."""
    changed = (price * percent / 100).quantize(Decimal("0.01"))
    if changed <= 0 or changed == price:
        changed = price.quantize(Decimal("0.01")) + Decimal("0.01")
    return changed
