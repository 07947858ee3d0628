"""Replay the UCI Online Retail data set as landing files: its orders by window, its masters by day.

The data set carries price and description on every order line. A replay takes them apart: the
transactions land without a price, the product master lands as a daily snapshot.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from generators.countries import load_countries
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
from generators.product_master import ProductMaster
from generators.sources import find_sources, read_source
from generators.spool import DaySpool, SpooledLine


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


def _write_transactions(landing: Path, day: date, lines: Iterable[SpooledLine], compress: bool) -> int:
    windows: defaultdict[Window, list[tuple[str, ...]]] = defaultdict(list)
    for line in lines:
        windows[Window(day, line.hour)].append(line.transaction)
    for window, rows in sorted(windows.items()):
        write_rows(landing / transactions_path(window, compress=compress), TRANSACTION_COLUMNS, rows)
    return len(windows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m generators.online_retail", description=__doc__)
    parser.add_argument("sources", metavar="SOURCE", nargs="+", type=Path, help="file or folder: .csv, .csv.gz, .xlsx")
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
