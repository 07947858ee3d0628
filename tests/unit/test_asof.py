"""The as-of join: each purchase gets the version in effect on its day, and comes out exactly once."""

import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from chispa import assert_df_equality

from warehouse.rules.asof import attach_version

TRANSACTION = "transaction_id string, stock_code string, invoice_date timestamp_ntz"
VERSION = "stock_code string, product_sk bigint, effective_date date, end_date date, unit_price decimal(12,4)"
PRICED = f"{TRANSACTION}, product_sk bigint, unit_price decimal(12,4), known_product boolean"

CHANGED = date(2024, 3, 10)
VERSIONS = [
    ("A", 1, date(2024, 3, 1), CHANGED, Decimal("10.0000")),
    ("A", 2, CHANGED, None, Decimal("12.5000")),
    ("a", 3, date(2024, 3, 1), None, Decimal("7.0000")),
]


def instant(day: date, time: str = "12:00:00") -> datetime:
    return datetime.fromisoformat(f"{day} {time}")


def assert_priced(spark, versions: Sequence[Any], purchases: Sequence[Any], expected: Sequence[Any]) -> None:
    """`purchases`: (stock_code, invoice_date); `expected`, for each: (product_sk, unit_price, known_product)."""
    rows = [(f"T{number}", *purchase) for number, purchase in enumerate(purchases)]
    actual = attach_version(spark.createDataFrame(rows, TRANSACTION), spark.createDataFrame(versions, VERSION))
    priced = spark.createDataFrame([row + price for row, price in zip(rows, expected, strict=True)], PRICED)
    assert_df_equality(actual, priced, ignore_row_order=True, ignore_nullable=True)
    assert_df_equality(priced, actual, ignore_row_order=True, ignore_nullable=True)


def test_a_purchase_on_the_change_day_has_the_new_price(spark):
    purchases = [("A", instant(CHANGED, "00:00:00")), ("A", instant(CHANGED, "23:59:59"))]
    assert_priced(spark, VERSIONS, purchases, [(2, Decimal("12.5"), True)] * 2)


def test_a_purchase_on_the_day_before_the_change_has_the_old_price(spark):
    purchases = [("A", instant(CHANGED - timedelta(1), "23:59:59"))]
    assert_priced(spark, VERSIONS, purchases, [(1, Decimal("10"), True)])


def test_a_purchase_before_the_first_price_has_no_price(spark):
    purchases = [("A", instant(date(2024, 2, 29), "23:59:59")), ("A", instant(date(1969, 12, 31)))]
    assert_priced(spark, VERSIONS, purchases, [(None, None, True)] * 2)


def test_a_purchase_on_the_first_day_has_the_first_price(spark):
    assert_priced(spark, VERSIONS, [("A", instant(date(2024, 3, 1), "00:00:00"))], [(1, Decimal("10"), True)])


def test_the_open_version_has_no_end(spark):
    assert_priced(spark, VERSIONS, [("A", instant(date(2999, 1, 1)))], [(2, Decimal("12.5"), True)])


def test_an_unknown_code_has_no_price_and_is_said_to_be_unknown(spark):
    assert_priced(spark, VERSIONS, [("B", instant(CHANGED))], [(None, None, False)])


def test_a_null_code_is_unknown_even_beside_a_version_without_a_code(spark):
    nameless = (None, 9, date(2024, 3, 1), None, Decimal("1"))
    assert_priced(spark, [*VERSIONS, nameless], [(None, instant(CHANGED))], [(None, None, False)])


def test_a_null_date_has_no_price_but_a_known_product(spark):
    assert_priced(spark, VERSIONS, [("A", None)], [(None, None, True)])


def test_codes_that_differ_by_case_are_different_products(spark):
    purchases = [("a", instant(CHANGED)), ("A", instant(CHANGED))]
    assert_priced(spark, VERSIONS, purchases, [(3, Decimal("7"), True), (2, Decimal("12.5"), True)])


def test_a_purchase_in_a_gap_between_versions_has_no_price(spark):
    gap = [
        ("A", 1, date(2024, 3, 1), date(2024, 3, 5), Decimal("10")),
        ("A", 2, CHANGED, date(2024, 3, 20), Decimal("12")),
    ]
    days = [date(2024, 3, 4), date(2024, 3, 5), CHANGED - timedelta(1), CHANGED, date(2024, 3, 20)]
    expected = [(1, Decimal("10"), True), *[(None, None, True)] * 2, (2, Decimal("12"), True), (None, None, True)]
    assert_priced(spark, gap, [("A", instant(day)) for day in days], expected)


def test_a_price_change_on_every_day_of_three_years_is_found(spark):
    start, days = date(1969, 1, 1), 1096
    daily = [
        ("A", k, start + timedelta(k), start + timedelta(k + 1) if k < days - 1 else None, Decimal(k))
        for k in range(days)
    ]
    purchases = [("A", instant(start + timedelta(k))) for k in range(days)]
    assert_priced(spark, daily, purchases, [(k, Decimal(k), True) for k in range(days)])


def test_a_version_of_many_years_is_in_effect_on_all_its_days(spark):
    long = [
        ("A", 1, date(1990, 1, 1), date(2020, 1, 1), Decimal("10")),
        ("A", 2, date(2020, 1, 1), None, Decimal("12")),
    ]
    days = [date(1990, 1, 1), date(2005, 6, 15), date(2019, 12, 31), date(2020, 1, 1)]
    expected = [(1, Decimal("10"), True)] * 3 + [(2, Decimal("12"), True)]
    assert_priced(spark, long, [("A", instant(day)) for day in days], expected)


def test_two_versions_of_one_day_do_not_double_a_purchase(spark):
    doubled = [
        ("A", 1, CHANGED, CHANGED, Decimal("10")),
        ("A", 2, CHANGED, None, Decimal("12")),
        ("A", 3, CHANGED, None, Decimal("13")),
    ]
    rows = spark.createDataFrame([("T0", "A", instant(CHANGED))], TRANSACTION)
    assert attach_version(rows, spark.createDataFrame(doubled, VERSION)).count() == 1


def test_without_versions_every_purchase_comes_out_unknown(spark):
    assert_priced(spark, [], [("A", instant(CHANGED)), (None, None)], [(None, None, False)] * 2)


def test_any_history_gives_what_a_plain_as_of_gives(spark):
    chance, start = random.Random(20240310), date(2023, 1, 1)
    codes = [f"P{number}" for number in range(40)] + [f"p{number}" for number in range(10)]
    versions: list[tuple[str, int, date, date | None, Decimal]] = []
    for code in codes:
        begins = sorted(chance.sample(range(400), chance.choice([1, 2, 5, 50, 300])))
        for begin, following in zip(begins, [*begins[1:], None], strict=True):
            end = None if following is None else start + timedelta(following)
            price = Decimal(chance.randrange(10**6)) / 100
            versions.append((code, len(versions), start + timedelta(begin), end, price))

    purchases = [
        (
            chance.choice([*codes, "unknown", None]),
            instant(date(2022, 12, 1)) + timedelta(seconds=chance.randrange(460 * 86400)),
        )
        for _ in range(3000)
    ]

    def as_of(code: str | None, at: datetime) -> tuple[int | None, Decimal | None, bool]:
        of_product = [version for version in versions if version[0] == code]
        begun = [version for version in of_product if version[2] <= at.date()]
        newest = max(begun, key=lambda version: version[2], default=None)
        return (newest[1] if newest else None, newest[4] if newest else None, bool(of_product))

    assert_priced(spark, versions, purchases, [as_of(*purchase) for purchase in purchases])
