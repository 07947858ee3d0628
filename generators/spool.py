"""Order lines of the data set by day, on disk until their day is written."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from generators.countries import country_id
from generators.landing import Window
from generators.sources import SourceLine

BUFFERED_ROWS = 20_000


class SpooledLine(tuple[str, ...]):
    """hour, the transaction's columns, description, price: what a day needs, as it lies in the spool."""

    __slots__ = ()

    @property
    def hour(self) -> int:
        return int(self[0])

    @property
    def transaction(self) -> tuple[str, ...]:
        return self[1:8]

    @property
    def stock_code(self) -> str:
        return self[3].strip()

    @property
    def quantity(self) -> str:
        return self[4]

    @property
    def description(self) -> str:
        return self[8].strip()

    @property
    def price(self) -> str:
        return self[9]


class DaySpool:
    """Order lines by day, on disk: sources need no order by date, and memory holds one day at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._days: set[date] = set()
        self._buffer: defaultdict[date, list[tuple[object, ...]]] = defaultdict(list)
        self._buffered = 0
        self._lines_of_invoice: Counter[str] = Counter()

    def add(self, line: SourceLine) -> None:
        """Number a line within its invoice and put it by."""
        invoice = line.invoice.strip()
        self._lines_of_invoice[invoice] += 1
        window = Window.of(line.instant)
        self._buffer[window.day].append(
            (
                window.hour,
                f"{invoice}-{self._lines_of_invoice[invoice]}",
                line.invoice,
                line.stock_code,
                line.quantity,
                line.instant.strftime("%Y-%m-%d %H:%M:%S"),
                _whole_number(line.customer),
                country_id(line.country),
                line.description,
                line.unit_price,
            )
        )
        self._buffered += 1
        if self._buffered >= BUFFERED_ROWS:
            self._flush()

    def days(self) -> list[date]:
        """The days that have lines, in order."""
        self._flush()
        return sorted(self._days)

    def lines(self, day: date) -> Iterator[SpooledLine]:
        """The lines of a day, in source order."""
        with self._file(day).open(encoding="utf-8", newline="") as file:
            yield from map(SpooledLine, csv.reader(file))

    def _flush(self) -> None:
        for day, rows in self._buffer.items():
            with self._file(day).open("a", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(rows)
            self._days.add(day)
        self._buffer.clear()
        self._buffered = 0

    def _file(self, day: date) -> Path:
        return self._folder / day.isoformat()


def _whole_number(text: str) -> str:
    text = text.strip()
    return text.split(".")[0] if re.fullmatch(r"\d+\.0+", text) else text
