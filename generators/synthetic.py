"""A seeded shop: any volume of orders and masters, with planted faults whose outcome is known.

The same arguments give the same bytes. A truth file says what was planted where, and what the
warehouse must hold once everything is processed.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from generators.faults import DEFAULT_FAULTS, plan_faults
from generators.landing import (
    COUNTRY_COLUMNS,
    PRODUCT_COLUMNS,
    TRANSACTION_COLUMNS,
    GeneratorError,
    Window,
    money_text,
    open_landing_file,
    snapshot_path,
    transactions_path,
    write_bytes,
    write_rows,
)
from generators.plan import Plan, PlantedRow
from generators.reference import Reference, made_up_reference, warehouse_reference
from generators.shop import Shop
from generators.truth import Planted, Totals, Truth

SATURDAY = 5


def generate(
    landing: Path,
    *,
    seed: int,
    start: date,
    days: int,
    rows_per_day: int,
    products: int = 500,
    customers: int = 4000,
    faults: bool | dict[str, int] = True,
    compress: bool = False,
    reference: Reference | None = None,
) -> Truth:
    """Write `days` trading days (no Saturdays) from `start` on, and say what must come of them.

    `rows_per_day` counts ordinary rows, planted ones come on top. `faults` may name the kinds to
    plant and how many of each (`faults.DEFAULT_FAULTS`). With a `reference` its products are sold,
    their prices go on from there, and `products` is not used.
    """
    for name, value in {
        "days": days,
        "rows a day": rows_per_day,
        "products": products,
        "customers": customers,
    }.items():
        if value < 1:
            raise GeneratorError(f"{name} must be at least 1, not {value}")
    if seed < 0:
        raise GeneratorError(f"the seed must not be negative, not {seed}")
    calendar = trading_days(start, days)
    reference = reference or made_up_reference(seed, products)
    counts = faults if isinstance(faults, dict) else DEFAULT_FAULTS if faults else {}
    codes = [product.stock_code for product in reference.products]
    plan = plan_faults(seed, calendar, codes, [country.country_id for country in reference.countries], counts)
    truth = Truth(seed, calendar[0].isoformat(), calendar[-1].isoformat(), days)
    writer = _Writer(landing, Shop(seed, reference, customers), plan, truth, compress)
    for day in calendar:
        writer.write_day(day, rows_per_day)
    return truth


def trading_days(start: date, count: int) -> list[date]:
    """The first `count` days from `start` on that are no Saturdays."""
    days: list[date] = []
    day = start
    while len(days) < count:
        if day.weekday() != SATURDAY:
            days.append(day)
        day += timedelta(days=1)
    return days


class _Writer:
    """Writes day by day what the shop sells and the plan spoils, and keeps the truth of it."""

    def __init__(self, landing: Path, shop: Shop, plan: Plan, truth: Truth, compress: bool) -> None:
        self._landing, self._shop, self._plan, self._truth, self._compress = (
            landing,
            shop,
            plan,
            truth,
            compress,
        )

    def write_day(self, day: date, rows: int) -> None:
        self._shop.open_day(day)
        self._write_masters(day)
        sales = self._shop.rows_by_window(rows)
        planted = {window for window in self._plan.rows if window.day == day}
        for window in sorted(planted | {Window(day, hour) for hour, count in sales.items() if count}):
            self._write_window(window, sales.get(window.hour, 0))
        self._write_planted_files(day)

    def _write_masters(self, day: date) -> None:
        path = snapshot_path("countries", day, compress=self._compress)
        write_rows(self._landing / path, COUNTRY_COLUMNS, self._shop.countries)
        self._truth.totals.country_files += 1
        extra = [planted for planted in self._plan.products if planted.first_day <= day]
        extra.sort(key=lambda planted: planted.fault != "odd_description")
        rows: list[tuple[Any, ...]] = [
            (p.stock_code, p.description, p.category, money_text(p.unit_price), 100) for _, p, _, _ in extra
        ]
        rows += self._shop.snapshot()
        # The snapshot that is in force must also be the first by name: ".csv" before ".csv.gz".
        second = day == self._plan.second_snapshot
        path = snapshot_path("products", day, compress=self._compress and not second)
        write_rows(self._landing / path, PRODUCT_COLUMNS, rows)
        self._truth.totals.product_files += 1
        line = 2
        for planted in extra:
            if planted.first_day == day:
                self._note(path, planted.fault, None, line, None, f"{planted.product.stock_code}: {planted.note}")
            line += 1 + planted.product.description.count("\n")
        if second:
            self._write_second_snapshot(day, path, rows)
        if day == self._plan.late_snapshot:
            self._truth.held_back.append(path.as_posix())
            self._note(path, "late_snapshot", None, None, None, "deliver it after all other files")

    def _write_second_snapshot(self, day: date, first: Path, rows: list[tuple[Any, ...]]) -> None:
        path = snapshot_path("products", day, compress=True)
        dearer = ((*row[:3], f"{Decimal(row[3]) + 1}", row[4]) for row in rows)
        write_rows(self._landing / path, PRODUCT_COLUMNS, dearer)
        self._truth.rejected[path.as_posix()] = "SECOND_SNAPSHOT"
        self._truth.deliver_after[path.as_posix()] = first.as_posix()
        note = f"{first.name} is in force for that date; other prices here"
        self._note(path, "second_snapshot", None, None, "SECOND_SNAPSHOT", note)

    def _write_window(self, window: Window, count: int) -> None:
        path = transactions_path(window, compress=self._compress)
        totals = self._truth.totals
        with open_landing_file(self._landing / path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(TRANSACTION_COLUMNS)
            for chunk in self._shop.sell(window, count):
                writer.writerows(chunk.rows())
                totals.count_facts(chunk.size, chunk.quantity, chunk.amount)
            for line, row in enumerate(self._plan.rows.get(window, ()), start=count + 2):
                writer.writerow(row.fields)
                self._count(row, totals)
                self._note(path, row.fault, row.fields[0], line, row.expected_reason, row.note)
        totals.transaction_files += 1

    def _write_planted_files(self, day: date) -> None:
        for planted in self._plan.files:
            if planted.day != day:
                continue
            write_bytes(self._landing / planted.path, planted.content)
            self._note(planted.path, planted.fault, None, None, planted.expected_reason, planted.note)
            if planted.expected_reason:
                self._truth.rejected[planted.path.as_posix()] = planted.expected_reason
            else:
                self._truth.totals.transaction_files += 1
                for row in planted.facts:
                    self._count(PlantedRow(planted.fault, row, None, ""), self._truth.totals)

    def _count(self, row: PlantedRow, totals: Totals) -> None:
        if row.expected_reason:
            totals.count_other(row.expected_reason)
            return
        quantity = int(row.fields[3])
        totals.count_facts(1, quantity, quantity * self._price(row.fields[2].strip()))

    def _price(self, code: str) -> Decimal:
        for planted in self._plan.products:
            if planted.product.stock_code == code:
                return planted.product.unit_price
        return self._shop.price(code)

    def _note(
        self, path: Path, fault: str, transaction: str | None, line: int | None, reason: str | None, note: str
    ) -> None:
        self._truth.plant(Planted(fault, path.as_posix(), transaction, line, reason, note))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m generators.synthetic", description=__doc__)
    parser.add_argument("--landing", type=Path, required=True, help="folder of the landing zone")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--start", type=date.fromisoformat, default=date(2011, 1, 4), help="first day, YYYY-MM-DD")
    parser.add_argument("--days", type=int, default=10, help="trading days (default 10)")
    parser.add_argument("--rows-per-day", type=int, default=20_000)
    parser.add_argument("--products", type=int, default=500)
    parser.add_argument("--customers", type=int, default=4000)
    parser.add_argument("--no-faults", action="store_true", help="valid rows and files only")
    parser.add_argument("--gzip", action="store_true", help="write .csv.gz")
    parser.add_argument(
        "--from-warehouse",
        action="store_true",
        help="sell what the installed warehouse has, at its prices; start after its newest snapshot",
    )
    parser.add_argument("--truth", type=Path, help="truth file (default: truth.json beside the landing folder)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    args = _parser().parse_args(arguments)
    try:
        reference = warehouse_reference() if args.from_warehouse else None
        if args.from_warehouse and reference is None:
            print("the warehouse has no products or countries yet: using made-up ones", file=sys.stderr)
        truth = generate(
            args.landing,
            seed=args.seed,
            start=args.start,
            days=args.days,
            rows_per_day=args.rows_per_day,
            products=args.products,
            customers=args.customers,
            faults=not args.no_faults,
            compress=args.gzip,
            reference=reference,
        )
        truth_file = args.truth or args.landing.parent / "truth.json"
        truth.write(truth_file)
    except (GeneratorError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    totals = truth.totals
    print(
        f"{totals.rows} transactions in {totals.transaction_files} files, {truth.trading_days} trading days "
        f"{truth.first_day} to {truth.last_day}: {totals.facts} facts, {totals.errors.total()} errors, "
        f"{totals.duplicates} duplicates, {len(truth.rejected)} bad files; told in {truth_file}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
