"""Product versions (SCD type 2) and first values (type 0), from literal snapshots."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from frames import assert_rows, frame
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from warehouse.rules import scd

SK_A_1, SK_A_2, SK_E_1 = 1314557414796095117, 815815591708443866, 587632295155782404
"""xxhash64 of ('A', 2011-01-01), ('A', 2011-01-02) and ('é', 2011-01-01)."""
TRACKED = ("description", "category", "unit_price")
VALUES = "description string, category string, unit_price decimal(12,4), stock_quantity int"
SNAPSHOT = f"stock_code string, snapshot_date date, {VALUES}"
VERSION = f"stock_code string, effective_date date, end_date date, is_current boolean, {VALUES}"


def day(number: int) -> date:
    return date(2011, 1, number)


def row(
    on: int,
    price: str | int,
    stock: int | None = 5,
    description: str = "Apple",
    category: str | None = "Fruit",
    code: str = "A",
) -> tuple[Any, ...]:
    """A snapshot's row of a product."""
    return code, day(on), description, category, Decimal(price), stock


def version(
    start: int,
    end: int | None,
    price: str | int,
    stock: int | None = 5,
    description: str = "Apple",
    category: str | None = "Fruit",
    code: str = "A",
) -> tuple[Any, ...]:
    return code, day(start), end and day(end), end is None, description, category, Decimal(price), stock


def fold(spark: SparkSession, snapshots: Iterable[Sequence[Any]]) -> DataFrame:
    return scd.versions(frame(spark, SNAPSHOT, snapshots), TRACKED)


def extend(
    spark: SparkSession, existing: Iterable[Sequence[Any]], snapshots: Iterable[Sequence[Any]]
) -> list[tuple[Any, ...]]:
    """A history with newer snapshots worked in, by way of its open versions."""
    history = list(existing)
    opened = [(code, start, *values) for code, start, end, _, *values in history if end is None]
    columns = [field.split()[0] for field in VERSION.split(", ")]
    changed = fold(spark, [*opened, *snapshots]).select(*columns).collect()
    return [old for old in history if old[2] is not None] + [tuple(new) for new in changed]


# --- Versions ---


def test_a_price_that_changes_and_changes_back_makes_three_versions(spark):
    assert_rows(
        fold(spark, [row(1, 10), row(2, 12), row(3, 10)]),
        VERSION,
        version(1, 2, 10),
        version(2, 3, 12),
        version(3, None, 10),
    )


def test_a_price_that_stays_makes_one_version(spark):
    assert_rows(fold(spark, [row(1, 10), row(2, "10.0000"), row(9, 10)]), VERSION, version(1, None, 10))


def test_the_order_in_which_snapshots_come_does_not_matter(spark):
    assert_rows(
        fold(spark, [row(3, 10), row(1, 10), row(2, 12)]),
        VERSION,
        version(1, 2, 10),
        version(2, 3, 12),
        version(3, None, 10),
    )


def test_a_late_snapshot_splits_the_version_that_it_falls_in_and_the_price_after_it_comes_back(spark):
    assert_rows(fold(spark, [row(1, 10), row(3, 10)]), VERSION, version(1, None, 10))
    assert_rows(
        fold(spark, [row(1, 10), row(3, 10), row(2, 12)]),
        VERSION,
        version(1, 2, 10),
        version(2, 3, 12),
        version(3, None, 10),
    )


def test_a_late_snapshot_that_is_like_the_next_moves_its_beginning_forward(spark):
    assert_rows(fold(spark, [row(1, 10), row(5, 12), row(3, 12)]), VERSION, version(1, 3, 10), version(3, None, 12))


def test_a_replaced_snapshot_that_is_like_its_neighbours_merges_the_versions_around_it(spark):
    before = fold(spark, [row(1, 10), row(2, 12), row(3, 10, 9)])
    after = fold(spark, [row(1, 10), row(2, 10), row(3, 10, 9)])
    assert_rows(after, VERSION, version(1, None, 10, 9))
    assert_rows(
        scd.differences(after, before, "product_sk"),
        "op string, stock_code string, effective_date date, end_date date, is_current boolean",
        ("U", "A", day(1), None, True),
        ("D", None, None, None, None),
        ("D", None, None, None, None),
    )


def test_a_snapshot_before_all_others_begins_the_history(spark):
    assert_rows(fold(spark, [row(2, 10), row(1, 12)]), VERSION, version(1, 2, 12), version(2, None, 10))


def test_a_product_absent_from_a_snapshot_keeps_its_version_open(spark):
    assert_rows(
        fold(spark, [row(1, 10), row(1, 7, code="B"), row(2, 7, code="B"), row(3, 10), row(3, 8, code="B")]),
        VERSION,
        version(1, None, 10),
        version(1, 3, 7, code="B"),
        version(3, None, 8, code="B"),
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"description": "Apple"}, {"description": "Apricot"}),
        ({"description": "Apple"}, {"description": "apple"}),
        ({"description": "Apple"}, {"description": "Apple "}),
        ({"category": "Fruit"}, {"category": None}),
        ({"category": None}, {"category": "Fruit"}),
    ],
)
def test_a_change_of_description_or_category_makes_a_version_as_a_price_does(spark, before, after):
    assert_rows(
        fold(spark, [row(1, 10, **before), row(2, 10, **after)]),
        VERSION,
        version(1, 2, 10, **before),
        version(2, None, 10, **after),
    )


def test_a_category_that_stays_empty_is_no_change(spark):
    assert_rows(
        fold(spark, [row(1, 10, category=None), row(2, 10, category=None)]),
        VERSION,
        version(1, None, 10, category=None),
    )


def test_a_stock_that_changes_makes_no_version_and_the_newest_is_kept_in_each(spark):
    snapshots = [row(1, 10, 5), row(2, 10, 3), row(3, 12, 8), row(4, 12, None), row(5, 12, 0)]
    assert_rows(fold(spark, snapshots), VERSION, version(1, 3, 10, 3), version(3, None, 12, 0))


def test_a_stock_that_the_newest_snapshot_leaves_empty_is_empty(spark):
    assert_rows(fold(spark, [row(1, 10, 5), row(2, 10, None)]), VERSION, version(1, None, 10, None))


def test_products_that_differ_in_case_have_each_a_history(spark):
    assert_rows(
        fold(spark, [row(1, 10, code="85123a"), row(2, 12, code="85123A")]),
        VERSION,
        version(1, None, 10, code="85123a"),
        version(2, None, 12, code="85123A"),
    )


def test_the_surrogate_key_is_a_hash_of_code_and_date_and_the_same_for_ever(spark):
    assert_rows(
        fold(spark, [row(1, 10), row(2, 12, description="Apricot"), row(1, 1, code="é")]),
        "stock_code string, effective_date date, product_sk long",
        ("A", day(1), SK_A_1),
        ("A", day(2), SK_A_2),
        ("é", day(1), SK_E_1),
    )
    by_spark = spark.sql("select xxhash64('A', date'2011-01-01')").head()
    assert tuple(by_spark) == (SK_A_1,)


def test_versions_have_the_columns_of_the_table_in_its_order(spark):
    assert tuple(fold(spark, []).columns) == scd.VERSION_COLUMNS
    assert fold(spark, []).count() == 0


# --- A history extended ---


@pytest.mark.parametrize(
    ("snapshots", "expected"),
    [
        ([row(4, 12, 9)], [version(1, 2, 10, 4), version(2, None, 12, 9)]),
        ([row(4, 13, 9)], [version(1, 2, 10, 4), version(2, 4, 12, 7), version(4, None, 13, 9)]),
        ([row(4, 12, 9), row(5, 10)], [version(1, 2, 10, 4), version(2, 5, 12, 9), version(5, None, 10)]),
        ([row(4, 1, code="B")], [version(1, 2, 10, 4), version(2, None, 12, 7), version(4, None, 1, code="B")]),
        ([], [version(1, 2, 10, 4), version(2, None, 12, 7)]),
    ],
    ids=["kept open", "closed", "several days", "another product", "nothing"],
)
def test_newer_snapshots_extend_or_close_the_open_version_and_leave_closed_ones(spark, snapshots, expected):
    existing = [version(1, 2, 10, 4), version(2, None, 12, 7)]
    assert sorted(extend(spark, existing, snapshots)) == sorted(expected)


# --- Any history ---


def model(snapshots: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """The versions of one product, as one would keep them by hand."""
    versions: list[list[Any]] = []
    for code, on, *values, stock in sorted(snapshots):
        if versions and versions[-1][4:7] == values:
            versions[-1][7] = stock
            continue
        if versions:
            versions[-1][2:4] = [on, False]
        versions.append([code, on, None, True, *values, stock])
    return [tuple(v) for v in versions]


DAYS = 6
products = st.lists(
    st.lists(
        st.none()
        | st.tuples(
            st.sampled_from(["Apple", "Pear"]),
            st.sampled_from([None, "Fruit"]),
            st.sampled_from([Decimal(10), Decimal(12)]),
            st.sampled_from([None, 0, 5]),
        ),
        min_size=DAYS,
        max_size=DAYS,
    ),
    min_size=20,
    max_size=40,
)


@settings(max_examples=10, deadline=None)
@given(products, st.sets(st.integers(1, DAYS - 1)))
def test_any_history_is_whole_and_is_the_same_folded_at_once_or_in_parts(spark, histories, cuts):
    snapshots = [
        (f"P{i}", day(on), *values)
        for i, history in enumerate(histories)
        for on, values in enumerate(history, start=1)
        if values
    ]
    by_code = {code: [s for s in snapshots if s[0] == code] for code in {s[0] for s in snapshots}}
    expected = sorted(v for rows in by_code.values() for v in model(rows))

    at_once = fold(spark, snapshots).collect()
    names = [field.split()[0] for field in VERSION.split(", ")]
    assert sorted(tuple(v[name] for name in names) for v in at_once) == expected
    assert len({v["product_sk"] for v in at_once}) == len(at_once)
    for code, rows in by_code.items():
        history = sorted((v for v in at_once if v["stock_code"] == code), key=lambda v: v["effective_date"])
        assert history[0]["effective_date"] == min(s[1] for s in rows)
        assert [v["is_current"] for v in history] == [False] * (len(history) - 1) + [True]
        assert history[-1]["end_date"] is None
        for before, after in pairwise(history):
            assert before["effective_date"] < before["end_date"] == after["effective_date"]
            assert [before[c] for c in TRACKED] != [after[c] for c in TRACKED]

    in_parts: list[tuple[Any, ...]] = []
    bounds = [0, *sorted(cuts), DAYS]
    for first, last in pairwise(bounds):
        in_parts = extend(spark, in_parts, [s for s in snapshots if day(first + 1) <= s[1] <= day(last)])
    assert sorted(in_parts) == expected


# --- First values ---


def test_the_first_values_are_those_of_the_earliest_date_and_not_of_the_first_to_come(spark):
    schema = "country_id string, country_name string, region string, first_seen date"
    rows = [
        ("GB", "Great Britain", None, day(3)),
        ("GB", "United Kingdom", "Europe", day(1)),
        ("GB", "England", "Europe", day(2)),
        ("FR", "France", None, day(2)),
        ("FR", "France", "Europe", day(3)),
    ]
    assert_rows(
        scd.first_values(frame(spark, schema, rows), "country_id", "first_seen"),
        schema,
        ("GB", "United Kingdom", "Europe", day(1)),
        ("FR", "France", None, day(2)),
    )


def test_first_values_have_the_columns_of_the_snapshots(spark):
    snapshots = frame(spark, "country_id string, first_seen date, country_name string", [])
    assert scd.first_values(snapshots, "country_id", "first_seen").columns == snapshots.columns


# --- Differences ---


def test_differences_are_what_came_what_changed_and_what_went(spark):
    schema = "price decimal(12,4), sk long, name string, end date"
    before = [
        (Decimal(1), 1, "equal", None),
        (None, 2, None, None),
        (Decimal(1), 3, "price", None),
        (Decimal(1), 4, "to null", day(1)),
        (None, 5, "from null", None),
        (Decimal(1), 6, "gone", None),
    ]
    after = [
        (Decimal(1), 1, "equal", None),
        (None, 2, None, None),
        (Decimal(2), 3, "price", None),
        (Decimal(1), 4, "to null", None),
        (Decimal(1), 5, "from null", None),
        (None, 7, "new", day(2)),
    ]
    differences = scd.differences(frame(spark, schema, after), frame(spark, schema, before), "sk")
    assert differences.columns == ["op", "price", "sk", "name", "end"]
    assert_rows(
        differences,
        f"op string, {schema}",
        ("U", Decimal(2), 3, "price", None),
        ("U", Decimal(1), 4, "to null", None),
        ("U", Decimal(1), 5, "from null", None),
        ("D", None, 6, None, None),
        ("U", None, 7, "new", day(2)),
    )


def test_columns_are_compared_by_name_whatever_their_order(spark):
    after = frame(spark, "sk long, name string", [(1, "a")])
    before = frame(spark, "name string, sk long", [("a", 1)])
    assert scd.differences(after, before.select("name", "sk"), "sk").count() == 0


def test_equal_tables_do_not_differ_and_empty_ones_neither(spark):
    schema = "sk long, name string"
    rows = frame(spark, schema, [(1, None), (2, "b")])
    assert scd.differences(rows, rows, "sk").count() == 0
    assert scd.differences(frame(spark, schema, []), frame(spark, schema, []), "sk").count() == 0


# --- net: a change feed in short ---


def test_a_change_feed_comes_to_the_rows_that_came_and_the_keys_that_went(spark):
    schema = "sk long, name string, end date, _weight int"
    feed = [
        (1, "rewritten", None, -1), (1, "rewritten", None, 1),
        (2, "old", None, -1), (2, "old", day(5), 1),
        (3, "gone", day(2), -1),
        (4, None, None, 1),
        (5, "there", None, -1), (5, "and back", None, 1), (5, "and back", None, -1), (5, "there", None, 1),
        (6, "came", None, 1), (6, "came", None, -1),
    ]  # fmt: skip
    net = scd.net(frame(spark, schema, feed), "sk")
    assert net.columns == ["op", "sk", "name", "end"]
    assert_rows(
        net,
        "op string, sk long, name string, end date",
        ("U", 2, "old", day(5)),
        ("D", 3, "gone", day(2)),
        ("U", 4, None, None),
    )


def test_surrogate_keys_that_stand_for_two_business_keys_are_told(spark):
    schema = "product_sk long, stock_code string, effective_date date"
    held = frame(spark, schema, [(1, "A", day(1)), (2, "B", day(1)), (3, "C", day(1))])
    new = frame(
        spark, schema, [(1, "A", day(1)), (2, "b", day(1)), (3, "C", day(2)), (4, "D", day(1)), (4, "E", day(1))]
    )
    found = {row["product_sk"]: (row["one"][0], row["other"][0]) for row in scd.collisions(new, held).collect()}
    assert found == {2: ("B", "b"), 3: ("C", "C"), 4: ("D", "E")}
