"""The plan of what is planted in a synthetic landing zone: which row, file or product goes where."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from generators.landing import WINDOW_HOURS, Window, transactions_path
from generators.reference import Product

BUSY_HOURS = (8, 12, 16)
ROWS_OF_A_FILE = 40


class Row(NamedTuple):
    """A well-formed transaction; a fault replaces what it needs to."""

    transaction_id: str
    order_id: str
    stock_code: str
    quantity: str
    invoice_date: str
    customer_id: str
    country_id: str


class PlantedRow(NamedTuple):
    """A row as it lands, and its fate. A row without an expected reason is a fact."""

    fault: str
    fields: Sequence[str]
    expected_reason: str | None
    note: str


class PlantedFile(NamedTuple):
    """A transaction file of its own. Without an expected reason it is accepted, all its rows facts."""

    fault: str
    day: date
    path: Path
    content: bytes
    expected_reason: str | None
    note: str
    facts: Sequence[Row] = ()


class PlantedProduct(NamedTuple):
    """A product that is in the snapshots from a day on."""

    fault: str
    product: Product
    first_day: date
    note: str


class Plan:
    """All faults of one landing zone, and the draws for them: the same seed and input, the same plan."""

    def __init__(self, seed: int, days: Sequence[date], codes: Sequence[str], countries: Sequence[str]) -> None:
        self.days, self.countries = days, countries
        self.rows: defaultdict[Window, list[PlantedRow]] = defaultdict(list)
        self.files: list[PlantedFile] = []
        self.products: list[PlantedProduct] = []
        self.second_snapshot: date | None = None
        self.late_snapshot: date | None = None
        self.tag = f"{seed}-{days[0]:%Y%m%d}"
        self._codes = codes
        self._rng = random.Random(f"faults {seed}")
        self._windows = [Window(day, hour) for day in days for hour in BUSY_HOURS]
        self._made = 0

    def window(self) -> Window:
        """Any busy window."""
        return self._rng.choice(self._windows)

    def two_windows(self) -> tuple[Window, Window]:
        """An earlier window and a later one."""
        earlier, later = sorted(self._rng.sample(self._windows, 2))
        return earlier, later

    def row(self, window: Window) -> Row:
        """A valid row whose purchase lies in the window."""
        self._made += 1
        start = datetime.combine(window.day, datetime.min.time()) + timedelta(hours=window.hour)
        instant = start + timedelta(seconds=self._rng.randrange(WINDOW_HOURS * 3600))
        order = f"X{self.tag}-{self._made:04d}"
        return Row(
            f"{order}-1",
            order,
            self._rng.choice(self._codes),
            str(self._rng.randint(1, 12)),
            instant.isoformat(sep=" "),
            str(self._rng.randint(12000, 18999)),
            self._rng.choice(self.countries),
        )

    def add(self, window: Window, fault: str, fields: Sequence[str], reason: str | None, note: str) -> None:
        """Plant a row in the window's file."""
        self.rows[window].append(PlantedRow(fault, fields, reason, note))

    def add_file(
        self, fault: str, reason: str | None, note: str, pack: Callable[[list[Row]], bytes], suffix: str = ""
    ) -> None:
        """Plant a file beside a window's own, of rows that nobody may see if it is rejected."""
        window = self.window()
        rows = [self.row(window) for _ in range(ROWS_OF_A_FILE)]
        path = transactions_path(window, part=f"_{fault}{len(self.files)}", compress=suffix == ".gz")
        self.files.append(PlantedFile(fault, window.day, path, pack(rows), reason, note, () if reason else rows))
