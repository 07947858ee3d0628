"""Replay the UCI Online Retail data set as landing files: its orders by window, its masters by day.

The data set carries price and description on every order line. A replay takes them apart: the
transactions land without a price, the product master lands as a daily snapshot.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeVar

from generators.categories import category_of
from generators.countries import country_id, load_countries
from generators.landing import (
    COUNTRY_COLUMNS,
    PRODUCT_COLUMNS,
    TRANSACTION_COLUMNS,
    GeneratorError,
    Window,
    snapshot_path,
    transactions_path,
    write_rows,
)
from generators.sources import SourceLine, find_sources, read_source

Value = TypeVar("Value", str, Decimal)

BUFFERED_ROWS = 20_000
FIRST_STOCK, REORDER_POINT, REORDER_LOT = 500, 100, 500


@dataclass(frozen=True)
class Summary:
    """What a replay wrote."""

    trading_days: int
    transactions: int
    transaction_files: int
    products: int
    first_day: date | None
    last_day: date | None


def replay(
    sources: list[Path],
    landing: Path,
    *,
    days: int | None = None,
    since: date | None = None,
    until: date | None = None,
    compress: bool = False,
) -> Summary:
    """Write the landing files of the trading days from `since` to `until`, both included.

    `days` keeps the first so many of them. A day's files are the same whatever the range: lines
    before it still count for line numbers, codes seen and prices carried forward. Nothing lands
    when a source is bad.
    """
    with tempfile.TemporaryDirectory() as folder:
        spool = DaySpool(Path(folder))
        for path in find_sources(sources):
            for line in read_source(path):
                spool.add(line)
        master = ProductMaster()
        written: list[date] = []
        rows = files = 0
        for day in spool.days():
            if (until and day > until) or (days is not None and len(written) >= days):
                break
            lines = list(spool.lines(day))
            master.observe(lines)
            if since and day < since:
                continue
            write_rows(
                landing / snapshot_path("countries", day, compress=compress),
                COUNTRY_COLUMNS,
                load_countries(),
            )
            write_rows(
                landing / snapshot_path("products", day, compress=compress),
                PRODUCT_COLUMNS,
                master.snapshot(),
            )
            files += _write_transactions(landing, day, lines, compress)
            rows += len(lines)
            written.append(day)
    return Summary(
        trading_days=len(written),
        transactions=rows,
        transaction_files=files,
        products=sum(1 for _ in master.snapshot()),
        first_day=written[0] if written else None,
        last_day=written[-1] if written else None,
    )


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
                price = _money(self.prices[code])
                yield code, description, category_of(description), price, self.stock.get(code, FIRST_STOCK)


def _write_transactions(landing: Path, day: date, lines: Iterable[SpooledLine], compress: bool) -> int:
    windows: defaultdict[Window, list[tuple[str, ...]]] = defaultdict(list)
    for line in lines:
        windows[Window(day, line.hour)].append(line.transaction)
    for window, rows in sorted(windows.items()):
        write_rows(landing / transactions_path(window, compress=compress), TRANSACTION_COLUMNS, rows)
    return len(windows)


def _most_frequent(counts: Counter[Value]) -> Value:
    return min(counts, key=lambda value: (-counts[value], value))


def _restock(balance: int) -> int:
    """Order whole lots as soon as the balance is below the reorder point."""
    if balance >= REORDER_POINT:
        return balance
    lots = -((balance - REORDER_POINT) // REORDER_LOT)
    return balance + lots * REORDER_LOT


def _whole_number(text: str) -> str:
    text = text.strip()
    return text.split(".")[0] if re.fullmatch(r"\d+\.0+", text) else text


def _price(text: str) -> Decimal:
    """A price to four places; what is no number counts as no price."""
    try:
        price = Decimal(text.strip())
        return price.quantize(Decimal("0.0001")) if price.is_finite() else Decimal(0)
    except InvalidOperation:
        return Decimal(0)


def _money(price: Decimal) -> str:
    """At least two places, more only where the price has them."""
    pence = price.quantize(Decimal("0.01"))
    return str(pence if pence == price else price)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m generators.online_retail", description=__doc__)
    parser.add_argument(
        "sources", metavar="SOURCE", nargs="+", type=Path, help="file or folder: .csv, .csv.gz, .xlsx"
    )
    parser.add_argument("--landing", type=Path, required=True, help="folder of the landing zone")
    parser.add_argument("--from", dest="since", type=date.fromisoformat, help="first day (YYYY-MM-DD)")
    parser.add_argument("--to", dest="until", type=date.fromisoformat, help="last day, included")
    parser.add_argument("--days", type=int, help="at most so many trading days")
    parser.add_argument("--gzip", action="store_true", help="write .csv.gz")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    args = _parser().parse_args(arguments)
    try:
        summary = replay(
            args.sources, args.landing, days=args.days, since=args.since, until=args.until, compress=args.gzip
        )
    except (GeneratorError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not summary.trading_days:
        print("error: no order lines in this range, nothing written", file=sys.stderr)
        return 2
    print(
        f"{summary.transactions} transactions in {summary.transaction_files} files, "
        f"{summary.trading_days} trading days {summary.first_day} to {summary.last_day}, "
        f"{summary.products} products"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
