"""What goes wrong in a synthetic landing zone, and what the warehouse must make of it.

Every planted case has a transaction_id of its own ("X…"), so that no fault touches another's outcome.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal

from generators.landing import TRANSACTION_COLUMNS, GeneratorError, Window, csv_text
from generators.plan import Plan, PlantedProduct, Row
from generators.reference import Product
from generators.truth import DUPLICATE

# How many of each when nothing else is asked for.
DEFAULT_FAULTS = {
    "too_few_fields": 3,
    "too_many_fields": 3,
    "quantity_fraction": 3,
    "quantity_zero": 3,
    "quantity_text": 3,
    "quantity_too_big": 2,
    "impossible_date": 3,
    "empty_order_id": 3,
    "duplicate_in_file": 4,
    "duplicate_in_later_window": 4,
    "conflict_in_window": 3,
    "conflict_across_windows": 4,
    "conflict_and_duplicate": 2,
    "country_empty": 3,
    "country_unknown": 3,
    "product_unknown": 4,
    "no_price": 3,
    "unusual_row": 4,
    "unusual_file": 1,
    "odd_description": 1,
    "wrong_encoding": 1,
    "missing_column": 1,
    "empty_file": 1,
    "broken_gzip": 1,
    "second_snapshot": 1,
    "late_snapshot": 1,
}
ODD_DESCRIPTION = 'SIGN "HOME, SWEET HOME"\n<b onmouseover="alert(1)">10" & up</b>,\n<script>alert("x")</script>'
MALFORMED, CONFLICT = "MALFORMED", "DUPLICATE_CONFLICT"


def plan_faults(
    seed: int, days: Sequence[date], codes: Sequence[str], countries: Sequence[str], counts: dict[str, int]
) -> Plan:
    """Plan so many of each kind; `codes` and `countries` are the valid ones to use."""
    if unknown := sorted(counts.keys() - KINDS.keys()):
        raise GeneratorError(f"unknown fault {unknown[0]!r}, known are: {', '.join(KINDS)}")
    plan = Plan(seed, days, codes, countries)
    for kind, plant in KINDS.items():
        for number in range(counts.get(kind, 0)):
            plant(plan, kind, number)
    return plan


def _malformed(spoil: Callable[[Row], Sequence[str]], note: str) -> Callable[[Plan, str, int], None]:
    def plant(plan: Plan, fault: str, number: int) -> None:
        window = plan.window()
        plan.add(window, fault, spoil(plan.row(window)), MALFORMED, note)

    return plant


def _duplicate_in_file(plan: Plan, fault: str, number: int) -> None:
    window = plan.window()
    row = plan.row(window)
    plan.add(window, fault, row, None, "first of two equal rows in one file")
    plan.add(window, fault, row, DUPLICATE, "second of two equal rows in one file")


def _duplicate_in_later_window(plan: Plan, fault: str, number: int) -> None:
    earlier, later = plan.two_windows()
    row = plan.row(earlier)
    plan.add(earlier, fault, row, None, f"delivered again in the window {later.batch_id}")
    plan.add(later, fault, row, DUPLICATE, f"first delivered in the window {earlier.batch_id}")


def _conflict_in_window(plan: Plan, fault: str, number: int) -> None:
    """The row that loses stands first, and would win if quantities were compared as text."""
    window = plan.window()
    row = plan.row(window)
    winner, loser, why = (
        (row._replace(quantity="9"), row._replace(quantity="10"), "9 is less than 10"),
        (row._replace(customer_id=""), row, "no customer_id comes before any"),
        (row, row._replace(invoice_date=row.invoice_date[:11] + "23:59:59"), "it is the earlier"),
    )[number % 3]
    plan.add(window, fault, loser, CONFLICT, f"the other row of its transaction_id wins: {why}")
    plan.add(window, fault, winner, None, f"wins its transaction_id: {why}")


def _conflict_across_windows(plan: Plan, fault: str, number: int) -> None:
    earlier, later = plan.two_windows()
    row = plan.row(earlier)._replace(quantity="40")
    plan.add(earlier, fault, row, None, f"the earliest batch wins over {later.batch_id}")
    plan.add(later, fault, row._replace(quantity="2"), CONFLICT, f"the row of {earlier.batch_id} wins")


def _conflict_and_duplicate(plan: Plan, fault: str, number: int) -> None:
    earlier, later = plan.two_windows()
    row = plan.row(earlier)._replace(quantity="3")
    plan.add(earlier, fault, row, None, "wins its transaction_id")
    plan.add(earlier, fault, row._replace(quantity="4"), CONFLICT, "the row with quantity 3 wins")
    plan.add(later, fault, row, DUPLICATE, f"equal to the row that won in {earlier.batch_id}")


def _country_empty(plan: Plan, fault: str, number: int) -> None:
    window = plan.window()
    plan.add(window, fault, plan.row(window)._replace(country_id=""), "UNKNOWN_COUNTRY", "no country_id")


def _country_unknown(plan: Plan, fault: str, number: int) -> None:
    window = plan.window()
    code = next(code for code in ("ZZ", "QX", "XX", "no such country") if code not in plan.countries)
    row = plan.row(window)._replace(country_id=code)
    plan.add(window, fault, row, "UNKNOWN_COUNTRY", f"{code} is not in the country master")


def _product_unknown(plan: Plan, fault: str, number: int) -> None:
    window = plan.window()
    code = f"NOSUCH-{plan.tag}-{number + 1}"
    row = plan.row(window)._replace(stock_code=code)
    plan.add(window, fault, row, "UNKNOWN_PRODUCT", f"{code} is in no snapshot")


def _no_price(plan: Plan, fault: str, number: int) -> None:
    """Sold on one day, in the master from a later day on; a sale after that is a fact."""
    if len(plan.days) < 2:
        return
    sold = number % (len(plan.days) - 1)
    first = plan.days[min(sold + 1 + number % 2, len(plan.days) - 1)]
    code = f"LATE-{plan.tag}-{number + 1}"
    product = Product(code, f"LATE COMER {number + 1}", "Other", Decimal("4.25"))
    plan.products.append(PlantedProduct(fault, product, first, f"sold from {plan.days[sold]} on, first priced here"))
    early, later = Window(plan.days[sold], 12), Window(first, 12)
    plan.add(
        early,
        fault,
        plan.row(early)._replace(stock_code=code),
        "NO_PRICE",
        f"UNKNOWN_PRODUCT until the snapshot of {first} is loaded, then sold before its first price",
    )
    plan.add(later, fault, plan.row(later)._replace(stock_code=code), None, f"priced since {first}")


def _unusual_row(plan: Plan, fault: str, number: int) -> None:
    window = plan.window()
    row = plan.row(window)
    fields, note = (
        (row._replace(quantity="+4"), "a sign is part of a quantity"),
        (row._replace(stock_code=f" {row.stock_code} "), "codes are trimmed"),
        (row._replace(customer_id=""), "a guest"),
        (row._replace(quantity="-7"), "a return"),
    )[number % 4]
    plan.add(window, fault, fields, None, note)


def _unusual_file(plan: Plan, fault: str, number: int) -> None:
    def pack(rows: list[Row]) -> bytes:
        header = [*reversed(TRANSACTION_COLUMNS), "till"]
        table = [header, *([*reversed(row), "7"] for row in rows)]
        return csv_text(table, line_end="\r\n").encode("utf-8-sig")

    note = "BOM, CRLF, columns in another order and one more: a second file of its window, accepted"
    plan.add_file(fault, None, note, pack)


def _odd_description(plan: Plan, fault: str, number: int) -> None:
    code = f"ODD-{plan.tag}-{number + 1}"
    product = Product(code, ODD_DESCRIPTION, "Home", Decimal("10.95"))
    note = "quotes, commas, newlines and HTML in a description: shown as text"
    plan.products.append(PlantedProduct(fault, product, plan.days[0], note))
    window = plan.window()
    plan.add(window, fault, plan.row(window)._replace(stock_code=code), None, "a sale of the oddly named product")


def _plain(rows: Sequence[Sequence[str]]) -> bytes:
    return csv_text([TRANSACTION_COLUMNS, *rows]).encode()


def _wrong_encoding(plan: Plan, fault: str, number: int) -> None:
    def pack(rows: list[Row]) -> bytes:
        return _plain(rows).replace(b"," + rows[5].customer_id.encode() + b",", b",Ren\xe9,")

    plan.add_file(fault, "WRONG_ENCODING", "Latin-1, not UTF-8", pack)


def _missing_column(plan: Plan, fault: str, number: int) -> None:
    def pack(rows: list[Row]) -> bytes:
        return csv_text([*fields[:3], *fields[4:]] for fields in [TRANSACTION_COLUMNS, *rows]).encode()

    plan.add_file(fault, "MISSING_COLUMN", "no column quantity", pack)


def _empty_file(plan: Plan, fault: str, number: int) -> None:
    plan.add_file(fault, "EMPTY", "no bytes at all", lambda rows: b"")


def _broken_gzip(plan: Plan, fault: str, number: int) -> None:
    def pack(rows: list[Row]) -> bytes:
        whole = gzip.compress(_plain(rows), mtime=0)
        return whole[: len(whole) // 2]

    plan.add_file(fault, "BROKEN_GZIP", "cut off in the middle", pack, suffix=".gz")


def _second_snapshot(plan: Plan, fault: str, number: int) -> None:
    plan.second_snapshot = plan.days[min(1, len(plan.days) - 1)]


def _late_snapshot(plan: Plan, fault: str, number: int) -> None:
    if len(plan.days) >= 3:
        plan.late_snapshot = plan.days[-3]


KINDS: dict[str, Callable[[Plan, str, int], None]] = {
    "too_few_fields": _malformed(lambda row: row[:4], "four fields of seven"),
    "too_many_fields": _malformed(lambda row: [*row, "one", "two"], "nine fields for seven columns"),
    "quantity_fraction": _malformed(lambda row: row._replace(quantity="1.5"), "quantity is no int"),
    "quantity_zero": _malformed(lambda row: row._replace(quantity="0"), "quantity is 0"),
    "quantity_text": _malformed(lambda row: row._replace(quantity="abc"), "quantity is no number"),
    "quantity_too_big": _malformed(lambda row: row._replace(quantity="3000000000"), "over 32 bits"),
    "impossible_date": _malformed(lambda row: row._replace(invoice_date="2011-02-30 10:00:00"), "no such day"),
    "empty_order_id": _malformed(lambda row: row._replace(order_id=""), "no order_id"),
    "duplicate_in_file": _duplicate_in_file,
    "duplicate_in_later_window": _duplicate_in_later_window,
    "conflict_in_window": _conflict_in_window,
    "conflict_across_windows": _conflict_across_windows,
    "conflict_and_duplicate": _conflict_and_duplicate,
    "country_empty": _country_empty,
    "country_unknown": _country_unknown,
    "product_unknown": _product_unknown,
    "no_price": _no_price,
    "unusual_row": _unusual_row,
    "unusual_file": _unusual_file,
    "odd_description": _odd_description,
    "wrong_encoding": _wrong_encoding,
    "missing_column": _missing_column,
    "empty_file": _empty_file,
    "broken_gzip": _broken_gzip,
    "second_snapshot": _second_snapshot,
    "late_snapshot": _late_snapshot,
}
