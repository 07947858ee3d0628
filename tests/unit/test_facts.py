"""The fate of landed rows: literal rows in, literal fates out (contract, section 4)."""

import sys
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from frames import assert_rows, frame
from pyspark.sql import DataFrame, SparkSession

from warehouse.rules import facts

LANDED = ", ".join(
    [
        "row_id long",
        *[f"{column} string" for column in facts.COLUMNS],
        "batch_id string, source_file string, line_number int, problem string, raw_record string",
    ]
)
GOOD = {
    "transaction_id": "T1",
    "order_id": "O1",
    "stock_code": "A",
    "quantity": "2",
    "invoice_date": "2011-01-04 08:26:00",
    "customer_id": "C1",
    "country_id": "GB",
    "batch_id": "2011-01-04T08",
    "source_file": "transactions/transactions_2011-01-04T08.csv",
}

# product A costs 10 on the 1st and 2nd and 12 from the 3rd; B costs nothing, M a fortune, from the 1st
VERSIONS = [
    ("A", date(2011, 1, 1), date(2011, 1, 3), 1, Decimal("10.0000")),
    ("A", date(2011, 1, 3), None, 2, Decimal("12.5000")),
    ("B", date(2011, 1, 1), None, 3, Decimal("0.0000")),
    ("M", date(2011, 1, 1), None, 4, Decimal("99999999.9999")),
]


def decide(rows: DataFrame, versions: DataFrame, countries: DataFrame) -> DataFrame:
    """All rules, one after the other, as the Gold job applies them."""
    return facts.judge(facts.resolve(facts.parse(rows)), versions, countries)


def landed(spark: SparkSession, *rows: dict[str, Any], corrections: DataFrame | None = None) -> DataFrame:
    """Landed rows, numbered from 1, each GOOD but for what is given, with what stewards decided on them."""
    cells = [{**GOOD, "row_id": i, "line_number": i + 1, **row} for i, row in enumerate(rows, start=1)]
    names = [column.split()[0] for column in LANDED.split(", ")]
    return facts.correct(frame(spark, LANDED, [[row.get(name) for name in names] for row in cells]), corrections)


def prices(spark: SparkSession, rows: list[tuple[Any, ...]] = VERSIONS) -> DataFrame:
    schema = "stock_code string, effective_date date, end_date date, product_sk long, unit_price decimal(12,4)"
    return frame(spark, schema, rows)


def countries(spark: SparkSession, *ids: str) -> DataFrame:
    return frame(spark, "country_id string", [(i,) for i in ids or ("GB", "FR")])


def assert_fates(spark: SparkSession, rows: list[dict[str, Any]], *expected: tuple[str, str | None]) -> None:
    """(fate, reason) of each row, decided together by VERSIONS and two countries."""
    decided = decide(landed(spark, *rows), prices(spark), countries(spark))
    numbered = [(i, *fate) for i, fate in enumerate(expected, start=1)]
    assert_rows(decided, "row_id long, fate string, reason string", *numbered)


FACT, DUPLICATE, CONFLICT = ("FACT", None), ("DUPLICATE", None), ("ERROR", "DUPLICATE_CONFLICT")


def error(reason: str) -> tuple[str, str]:
    return "ERROR", reason


# --- 1: what does not parse ---


def test_codes_are_trimmed_of_all_that_unicode_calls_space_and_nothing_else_is_changed(spark):
    rows = facts.parse(
        landed(
            spark,
            {"transaction_id": " T1\t", "order_id": "\u00a0O 1\u3000", "stock_code": "\u200985123a\r\n"},
            {"customer_id": "\x1c \x85", "country_id": "\u2028gb\u2029", "order_id": "\u200bO1"},
            {"customer_id": "", "country_id": None},
        )
    )
    assert_rows(
        rows,
        "row_id long, transaction_id string, order_id string, stock_code string, customer_id string,"
        " country_id string, malformed string",
        (1, "T1", "O 1", "85123a", "C1", "GB", None),
        (2, "T1", "\u200bO1", "A", None, "gb", None),
        (3, "T1", "O1", "A", None, None, None),
    )


def test_spark_and_python_call_the_same_characters_space():
    spaces = {chr(i) for i in range(sys.maxunicode + 1) if chr(i).isspace()}
    assert set(facts.WHITESPACE) == spaces
    assert all(not character.strip() for character in facts.WHITESPACE)


def test_the_texts_stay_as_they_landed_beside_what_they_mean(spark):
    assert_rows(
        facts.parse(landed(spark, {"quantity": "+07", "customer_id": " C1 "})),
        "quantity int, landed_quantity string, customer_id string, landed_customer_id string, landed_order_id string",
        (7, "+07", "C1", " C1 ", "O1"),
    )


def verdicts(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    """What stewards decided: row_id, `discarded` where it is not False, and the texts that they gave."""
    schema = ", ".join(["row_id long, discarded boolean", *[f"given_{column} string" for column in facts.COLUMNS]])
    return frame(
        spark, schema, [(row["row_id"], row.get("discarded", False), *map(row.get, facts.COLUMNS)) for row in rows]
    )


def test_what_a_steward_gives_stands_in_the_place_of_what_landed(spark):
    given = verdicts(
        spark,
        {"row_id": 2, "quantity": "6", "customer_id": "", "country_id": " FR "},
        {"row_id": 3, "discarded": True, "quantity": "6"},
        {"row_id": 4, "quantity": "six"},
        {"row_id": 9, "quantity": "7"},
    )
    rows = [{}, {"quantity": "many"}, {"quantity": "many"}, {"quantity": "many"}]
    assert_rows(
        facts.parse(landed(spark, *rows, corrections=given)),
        "row_id long, quantity int, customer_id string, country_id string, landed_quantity string,"
        " landed_customer_id string, landed_country_id string, corrected boolean, malformed string",
        (1, 2, "C1", "GB", "2", "C1", "GB", False, None),
        (2, 6, None, "FR", "many", "C1", "GB", True, None),
        (3, 6, "C1", "GB", "many", "C1", "GB", True, "discarded"),
        (4, None, "C1", "GB", "many", "C1", "GB", True, "quantity 'six' is not a whole number of 32 bits"),
    )


def test_a_correction_vouches_for_a_record_that_could_not_be_cut_but_not_for_a_nul(spark):
    given = verdicts(spark, *[{"row_id": i, "country_id": "FR"} for i in (1, 2)], {"row_id": 3, "order_id": "ab"})
    uncut = {"problem": "6 fields, not 7", "country_id": None}
    nul = {"problem": "the record has a NUL character", "order_id": "a\0b"}
    assert_rows(
        facts.parse(landed(spark, uncut, nul, nul, uncut, corrections=given)),
        "row_id long, country_id string, malformed string",
        (1, "FR", None),
        (2, "FR", "the record has a NUL character"),
        (3, "GB", None),
        (4, None, "6 fields, not 7"),
    )


def test_a_discarded_row_competes_with_none(spark):
    rows = landed(spark, {}, {"quantity": "3"}, {}, corrections=verdicts(spark, {"row_id": 1, "discarded": True}))
    assert_rows(
        facts.resolve(facts.parse(rows)),
        "row_id long, fate string, transaction_key string",
        (1, "ERROR", None),
        (2, "ERROR", "T1"),
        (3, None, "T1"),
    )


QUANTITIES = {
    "5": 5,
    "+5": 5,
    "-5": -5,
    "007": 7,
    "0": 0,
    "-0": 0,
    "2147483647": 2147483647,
    "-2147483648": -2147483648,
    "2147483648": None,
    "-2147483649": None,
    "99999999999999999999": None,
    "5.0": None,
    "1e3": None,
    "5,000": None,
    "five": None,
    "--5": None,
    "+": None,
    "": None,
    " ": None,
    " 5": None,
    "5 ": None,
    "5\n": None,
    "5\r\n": None,
    "\n5": None,
    "5\n6": None,
    "5\x85": None,
    "5\u2028": None,
    "٥": None,
    "５": None,
    "0x5": None,
    "5L": None,
    "5\0": None,
    None: None,
}


def test_a_quantity_is_an_optional_sign_and_digits_of_32_bits(spark):
    rows = landed(spark, *[{"quantity": text} for text in QUANTITIES])
    assert_rows(
        rows.withColumn("number", facts.whole_number("quantity")), "quantity string, number int", *QUANTITIES.items()
    )


def at(*parts: int) -> datetime:
    return datetime(*parts)  # noqa: DTZ001 - UTC without a zone, as in the files


INSTANTS = {
    "2011-01-04 08:26:00": at(2011, 1, 4, 8, 26),
    "2012-02-29 23:59:59": at(2012, 2, 29, 23, 59, 59),
    "2011-03-27 01:30:00": at(2011, 3, 27, 1, 30),
    "0001-01-01 00:00:00": at(1, 1, 1),
    "9999-12-31 23:59:59": at(9999, 12, 31, 23, 59, 59),
    "0000-01-01 00:00:00": None,
    "2011-02-29 00:00:00": None,
    "2011-13-01 00:00:00": None,
    "2011-01-04 24:00:00": None,
    "2011-01-04 08:60:00": None,
    "2011-01-04 08:26:60": None,
    "2011-01-04 08:26": None,
    "2011-01-04": None,
    "2011-01-04T08:26:00": None,
    "2011-01-04 08:26:00.000": None,
    "2011-01-04 08:26:00Z": None,
    "2011-01-04 08:26:00+01:00": None,
    "2011-1-4 8:26:00": None,
    "04/01/2011 08:26": None,
    "+2011-01-04 08:26:00": None,
    " 2011-01-04 08:26:00": None,
    "2011-01-04 08:26:00 ": None,
    "2011-01-04 08:26:00\n": None,
    "2011-01-04  08:26:00": None,
    "٢٠١١-01-04 08:26:00": None,
    "now": None,
    "epoch": None,
    "": None,
    None: None,
}


def test_an_invoice_date_is_a_real_second_in_one_spelling(spark):
    rows = landed(spark, *[{"invoice_date": text} for text in INSTANTS])
    assert_rows(
        rows.withColumn("at", facts.instant("invoice_date")),
        "invoice_date string, at timestamp_ntz",
        *INSTANTS.items(),
    )


def test_a_malformed_row_is_told_all_that_is_wrong_with_it(spark):
    rows = facts.parse(
        landed(
            spark,
            {"transaction_id": None},
            {"order_id": " ", "stock_code": "\u3000"},
            {"quantity": None, "invoice_date": None},
            {"quantity": "0"},
            {"quantity": "many", "invoice_date": "tomorrow"},
            {"quantity": "9" * 70},
            {"transaction_id": None, "quantity": "x", "problem": "6 fields, not 7"},
            {"customer_id": None, "country_id": None},
        )
    )
    assert_rows(
        rows,
        "row_id long, malformed string",
        (1, "transaction_id is empty"),
        (2, "order_id is empty; stock_code is empty"),
        (3, "quantity is empty; invoice_date is empty"),
        (4, "quantity is 0"),
        (
            5,
            "quantity 'many' is not a whole number of 32 bits;"
            " invoice_date 'tomorrow' is not a time YYYY-MM-DD HH:MM:SS",
        ),
        (6, f"quantity '{'9' * 60}…' is not a whole number of 32 bits"),
        (7, "6 fields, not 7"),
        (8, None),
    )


# --- 2 and 3: rows of one transaction ---


def test_the_same_row_again_is_a_duplicate_wherever_it_comes_from(spark):
    assert_fates(
        spark,
        [
            {},
            {},
            {"source_file": "transactions/transactions_2011-01-04T08_2.csv"},
            {"batch_id": "2011-01-04T12", "source_file": "transactions/transactions_2011-01-04T12.csv"},
        ],
        FACT,
        DUPLICATE,
        DUPLICATE,
        DUPLICATE,
    )


def test_rows_are_the_same_by_what_they_mean_and_not_by_how_they_are_written(spark):
    assert_fates(
        spark,
        [{}, {"quantity": "+02", "customer_id": " C1", "stock_code": "A\u00a0", "transaction_id": "T1 "}],
        FACT,
        DUPLICATE,
    )


def test_an_empty_customer_is_the_same_however_it_is_empty(spark):
    assert_fates(spark, [{"customer_id": None}, {"customer_id": "  "}], FACT, DUPLICATE)


@pytest.mark.parametrize(
    "other",
    [
        {"order_id": "O2"},
        {"stock_code": "B"},
        {"quantity": "3"},
        {"invoice_date": "2011-01-04 08:26:01"},
        {"customer_id": "C2"},
        {"country_id": "GBR"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_every_value_that_differs_makes_a_conflict_and_the_least_is_taken(spark, other):
    assert_fates(spark, [other, {}], CONFLICT, FACT)


def test_transaction_ids_that_differ_in_case_do_not_compete(spark):
    assert_fates(spark, [{}, {"transaction_id": "t1", "quantity": "3"}], FACT, FACT)


def test_the_earliest_window_is_taken_whatever_its_values(spark):
    assert_fates(
        spark,
        [
            {"batch_id": "2011-01-04T12", "invoice_date": "2011-01-04 00:00:00", "order_id": "A"},
            {"batch_id": "2011-01-04T08", "invoice_date": "2011-01-05 00:00:00", "order_id": "Z"},
            {"batch_id": "2011-01-05T00", "invoice_date": "2011-01-03 00:00:00", "order_id": "A"},
        ],
        CONFLICT,
        FACT,
        CONFLICT,
    )


def test_within_a_window_values_decide_in_their_order_with_nothing_before_anything(spark):
    early = "2011-01-04 08:00:00"
    ladder = [
        {"invoice_date": early, "order_id": "O1", "stock_code": "A", "quantity": "-1", "customer_id": None},
        {"invoice_date": early, "order_id": "O1", "stock_code": "A", "quantity": "9", "customer_id": None,
         "country_id": None},
        {"invoice_date": early, "order_id": "O1", "stock_code": "A", "quantity": "9", "customer_id": None,
         "country_id": "FR"},
        {"invoice_date": early, "order_id": "O1", "stock_code": "A", "quantity": "9", "customer_id": "C1",
         "country_id": "FR"},
        {"invoice_date": early, "order_id": "O1", "stock_code": "A", "quantity": "10", "customer_id": None},
        {"invoice_date": early, "order_id": "O1", "stock_code": "B", "quantity": "1"},
        {"invoice_date": early, "order_id": "O1", "stock_code": "a", "quantity": "1"},
        {"invoice_date": early, "order_id": "O10", "stock_code": "A"},
        {"invoice_date": early, "order_id": "O2", "stock_code": "A"},
        {"invoice_date": early, "order_id": "Oz", "stock_code": "A"},
        {"invoice_date": early, "order_id": "Oé", "stock_code": "A"},
        {"invoice_date": early, "order_id": "O\uffee", "stock_code": "A"},
        {"invoice_date": early, "order_id": "O\U0001f600", "stock_code": "A"},
        {"invoice_date": "2011-01-04 08:00:01", "order_id": "A"},
    ]  # fmt: skip
    pairs = [{**row, "transaction_id": f"T{i}"} for i in range(len(ladder) - 1) for row in (ladder[i + 1], ladder[i])]
    resolved = facts.resolve(facts.parse(landed(spark, *pairs)))
    expected = [
        row
        for i in range(len(ladder) - 1)
        for row in ((2 * i + 1, "ERROR", "DUPLICATE_CONFLICT"), (2 * i + 2, None, None))
    ]
    assert_rows(resolved, "row_id long, fate string, reason string", *expected)


def test_a_row_equal_to_one_that_lost_lost_too(spark):
    assert_fates(spark, [{}, {"quantity": "3"}, {"quantity": "3"}, {}], FACT, CONFLICT, CONFLICT, DUPLICATE)


def test_a_conflict_names_the_transaction(spark):
    resolved = facts.resolve(facts.parse(landed(spark, {}, {"quantity": "3"})))
    assert_rows(
        resolved,
        "row_id long, detail string, transaction_key string",
        (1, None, "T1"),
        (2, "other values were taken for T1", "T1"),
    )


def test_among_equal_rows_the_first_file_and_line_is_taken(spark):
    assert_fates(
        spark,
        [
            {"source_file": "b.csv", "line_number": 2},
            {"source_file": "a.csv", "line_number": 10},
            {"source_file": "a.csv", "line_number": 9},
        ],
        DUPLICATE,
        DUPLICATE,
        FACT,
    )


def test_a_malformed_row_competes_with_none(spark):
    assert_fates(
        spark,
        [
            {"batch_id": "2011-01-04T12"},
            {"quantity": "0", "batch_id": "2011-01-04T04"},
            {"quantity": "0", "batch_id": "2011-01-04T04"},
            {"transaction_id": None},
            {"transaction_id": None},
        ],
        FACT,
        *[error("MALFORMED")] * 4,
    )


def test_a_row_that_lost_stays_a_conflict_where_the_winner_becomes_an_error(spark):
    assert_fates(
        spark, [{"country_id": "XX"}, {"invoice_date": "2011-01-05 00:00:00"}], error("UNKNOWN_COUNTRY"), CONFLICT
    )


# --- 4 to 6, and the price ---


def test_the_first_rule_that_fails_gives_the_reason(spark):
    nothing_right = {
        "stock_code": "none",
        "country_id": "XX",
        "invoice_date": "2010-12-31 00:00:00",
        "quantity": "0",
    }
    rows = [
        {**nothing_right, "transaction_id": "T1"},
        {**nothing_right, "transaction_id": "T2", "quantity": "2"},
        {**nothing_right, "transaction_id": "T2", "quantity": "3"},
        {**nothing_right, "transaction_id": "T3", "quantity": "2"},
        {**nothing_right, "transaction_id": "T4", "quantity": "2", "country_id": "GB"},
        {**nothing_right, "transaction_id": "T5", "quantity": "2", "country_id": "GB", "stock_code": "A"},
        {"transaction_id": "T6", "stock_code": "M", "quantity": "1000001"},
        {"transaction_id": "T7"},
    ]
    assert_fates(
        spark,
        rows,
        error("MALFORMED"),
        error("UNKNOWN_COUNTRY"),
        CONFLICT,
        error("UNKNOWN_COUNTRY"),
        error("UNKNOWN_PRODUCT"),
        error("NO_PRICE"),
        error("AMOUNT_OVERFLOW"),
        FACT,
    )


def test_every_reason_is_explained_to_the_person_who_mends_it_and_a_fact_has_none(spark):
    rows = [
        {"transaction_id": "T1", "country_id": " "},
        {"transaction_id": "T2", "country_id": "gb"},
        {"transaction_id": "T3", "stock_code": "a"},
        {"transaction_id": "T4", "invoice_date": "2010-12-31 23:59:59"},
        {"transaction_id": "T5", "stock_code": "M", "quantity": "-1000001"},
        {"transaction_id": "T6"},
        {"transaction_id": "T6"},
        {"transaction_id": "T7", "quantity": "x"},
    ]
    assert_rows(
        decide(landed(spark, *rows), prices(spark), countries(spark)),
        "row_id long, reason string, detail string",
        (1, "UNKNOWN_COUNTRY", "country_id is empty"),
        (2, "UNKNOWN_COUNTRY", "no country gb"),
        (3, "UNKNOWN_PRODUCT", "no product a"),
        (4, "NO_PRICE", "A had no price yet on 2010-12-31"),
        (5, "AMOUNT_OVERFLOW", "quantity × unit_price is beyond 99999999999999.9999"),
        (6, None, None),
        (7, None, None),
        (8, "MALFORMED", "quantity 'x' is not a whole number of 32 bits"),
    )


def test_a_price_holds_from_the_first_second_of_its_day_to_the_last_before_the_next(spark):
    days = [
        ("2010-12-31 23:59:59", "NO_PRICE", None, None, None),
        ("2011-01-01 00:00:00", None, 1, "10.0000", "20.0000"),
        ("2011-01-02 23:59:59", None, 1, "10.0000", "20.0000"),
        ("2011-01-03 00:00:00", None, 2, "12.5000", "25.0000"),
        ("2011-07-01 23:30:00", None, 2, "12.5000", "25.0000"),
        ("9999-12-31 23:59:59", None, 2, "12.5000", "25.0000"),
        ("0001-01-01 00:00:00", "NO_PRICE", None, None, None),
    ]
    rows = [{"transaction_id": day, "invoice_date": day} for day, *_ in days]
    assert_rows(
        decide(landed(spark, *rows), prices(spark), countries(spark)),
        "transaction_id string, reason string, product_sk long, unit_price decimal(12,4), total_amount decimal(18,4)",
        *[(day, reason, sk, *[x and Decimal(x) for x in amounts]) for day, reason, sk, *amounts in days],
    )


def test_a_version_is_found_on_each_of_its_days_however_long_or_short_it_was(spark):
    cuts = [date(1999, 12, 31), date(2000, 1, 1), date(2000, 1, 2), date(2000, 2, 29), date(2010, 11, 7), None]
    versions = [("A", start, end, i, Decimal(i)) for i, (start, end) in enumerate(pairwise(cuts), start=1)]
    days = {
        "1999-12-30": None,
        "1999-12-31": 1,
        "2000-01-01": 2,
        "2000-01-02": 3,
        "2000-02-28": 3,
        "2000-02-29": 4,
        "2005-06-15": 4,
        "2010-11-06": 4,
        "2010-11-07": 5,
        "2030-01-01": 5,
    }
    rows = [{"transaction_id": day, "invoice_date": f"{day} 12:00:00"} for day in days]
    assert_rows(
        decide(landed(spark, *rows), prices(spark, versions), countries(spark)),
        "transaction_id string, product_sk long",
        *days.items(),
    )


def test_products_that_differ_in_case_have_each_their_own_price(spark):
    versions = [
        ("85123a", date(2011, 1, 1), None, 1, Decimal("1.0000")),
        ("85123A", date(2011, 1, 1), None, 2, Decimal("2.0000")),
    ]
    rows = [{"transaction_id": f"<{code}>", "stock_code": code} for code in ("85123a", "85123A", " 85123A")]
    assert_rows(
        decide(landed(spark, *rows), prices(spark, versions), countries(spark)),
        "transaction_id string, product_sk long",
        ("<85123a>", 1),
        ("<85123A>", 2),
        ("< 85123A>", 2),
    )


def test_amounts_are_exact_to_the_last_digit_up_to_the_largest_that_fits(spark):
    amounts = [
        ("A", "2", "25.0000"),
        ("A", "-3", "-37.5000"),
        ("B", "2147483647", "0.0000"),
        ("M", "1000000", "99999999999900.0000"),
        ("M", "-1000000", "-99999999999900.0000"),
        ("M", "1000001", None),
        ("M", "2147483647", None),
        ("M", "-2147483648", None),
    ]
    rows = [
        {"transaction_id": f"{code} × {quantity}", "stock_code": code, "quantity": quantity}
        for code, quantity, _ in amounts
    ]
    assert_rows(
        decide(landed(spark, *rows), prices(spark), countries(spark)),
        "transaction_id string, fate string, reason string, total_amount decimal(18,4)",
        *[
            (
                f"{code} × {quantity}",
                "FACT" if total else "ERROR",
                None if total else "AMOUNT_OVERFLOW",
                total and Decimal(total),
            )
            for code, quantity, total in amounts
        ],
    )


def test_a_country_that_is_listed_twice_takes_no_row_twice(spark):
    decided = decide(landed(spark, {}), prices(spark), countries(spark, "GB", "GB"))
    assert_rows(decided, "row_id long, fate string", (1, "FACT"))


def test_without_any_product_or_country_every_row_still_has_a_fate(spark):
    decided = decide(landed(spark, {}, {}), prices(spark, []), countries(spark).limit(0))
    assert_rows(
        decided, "row_id long, fate string, reason string", (1, "ERROR", "UNKNOWN_COUNTRY"), (2, "DUPLICATE", None)
    )


def test_a_row_decided_already_is_not_judged_again(spark):
    resolved = facts.resolve(facts.parse(landed(spark, {}, {"quantity": "3", "country_id": "XX"}, {})))
    judged = facts.judge(resolved, prices(spark), countries(spark))
    assert_rows(
        judged,
        "row_id long, fate string, reason string, detail string",
        (1, "FACT", None, None),
        (2, "ERROR", "DUPLICATE_CONFLICT", "other values were taken for T1"),
        (3, "DUPLICATE", None, None),
    )
