"""Small landing folders and, written out by hand, what must come of them: why the oracle is trusted."""

import gzip
import sys
import zlib
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import Expected, expected, sorted_rows

HEADER = "transaction_id,order_id,stock_code,quantity,invoice_date,customer_id,country_id\n"
PRODUCT_HEADER = "stock_code,description,category,unit_price,stock_quantity\n"
COUNTRY_HEADER = "country_id,country_name,region,latitude,longitude\n"

LATE = "transactions/transactions_2024-01-05T12.csv"
EARLY = "transactions/transactions_2024-01-05T08.csv"
PRODUCTS = "products/products_2024-01-01.csv"
COUNTRIES = "countries/countries_2024-01-01.csv"

GOOD = "T1,O1,A,2,2024-01-05 09:00:00,C1,GB"
GOOD_FACT = (
    "T1",
    "O1",
    "2024-01-05 09:00:00",
    "A",
    date(2024, 1, 1),
    2,
    Decimal("10.0000"),
    Decimal("20.0000"),
    "C1",
    "GB",
    "2024-01-05T08",
)
MASTERS = {
    PRODUCTS: PRODUCT_HEADER + "A,Apple,Fruit,10,5\n",
    COUNTRIES: COUNTRY_HEADER + "GB,United Kingdom,Europe,54.5,-2.5\n",
}


def land(landing: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return landing


def outcome(landing: Path, files: dict[str, str | bytes], masters: dict[str, str] = MASTERS) -> Expected:
    result = expected(land(landing, {**masters, **files}))
    assert result.landed == len(result.facts) + len(result.errors) + result.duplicates
    return result


def transactions(*lines: str) -> str:
    return HEADER + "".join(f"{line}\n" for line in lines)


def products(*lines: str) -> str:
    return PRODUCT_HEADER + "".join(f"{line}\n" for line in lines)


def countries(*lines: str) -> str:
    return COUNTRY_HEADER + "".join(f"{line}\n" for line in lines)


def prices(landing: Path, by_day: dict[str, str]) -> list[tuple[Decimal, date, date | None, bool]]:
    """Land product A at one price a day of January 2024; give its versions' price and validity."""
    files = {f"products/products_2024-01-{day}.csv": products(f"A,Apple,,{p},") for day, p in by_day.items()}
    return [(row[3], *row[4:]) for row in outcome(landing, files, masters={}).products]


def reasons(result: Expected) -> list[tuple[str | None, str]]:
    return [(row[0], row[7]) for row in result.errors]


# --- facts ------------------------------------------------------------------------------------------


def test_an_empty_landing_folder_gives_nothing(tmp_path):
    assert expected(tmp_path) == Expected(
        landed=0,
        facts=[],
        errors=[],
        duplicates_by_batch={},
        products=[],
        stock=[],
        countries=[],
        star_facts=[],
        customers=[],
        dates=[],
        rejected={},
        skipped=[],
    )


def test_a_valid_row_is_a_fact_everywhere(tmp_path):
    assert outcome(tmp_path, {EARLY: transactions(GOOD)}) == Expected(
        landed=1,
        facts=[GOOD_FACT],
        errors=[],
        duplicates_by_batch={},
        products=[("A", "Apple", "Fruit", Decimal("10.0000"), date(2024, 1, 1), None, True)],
        stock=[("A", 5)],
        countries=[("GB", "United Kingdom", "Europe", 54.5, -2.5)],
        star_facts=[
            (
                "T1",
                date(2024, 1, 1),
                "C1",
                20240105,
                "GB",
                2,
                Decimal("10.0000"),
                Decimal("20.0000"),
                2024,
                1,
            )
        ],
        customers=[("C1", "GB", date(2024, 1, 5), date(2024, 1, 5))],
        dates=[20240105],
        rejected={},
        skipped=[],
    )


def test_a_return_has_a_negative_total(tmp_path):
    result = outcome(
        tmp_path,
        {
            PRODUCTS: products("A,Apple,Fruit,2.5501,"),
            EARLY: transactions("T1,O1,A,-3,2024-01-05 09:00:00,C1,GB"),
        },
    )
    assert [row[5:8] for row in result.facts] == [(-3, Decimal("2.5501"), Decimal("-7.6503"))]


def test_a_guest_is_a_fact_without_a_customer(tmp_path):
    result = outcome(tmp_path, {EARLY: transactions("T1,O1,A,2,2024-01-05 09:00:00,,GB")})
    assert [row[8] for row in result.facts] == [None]
    assert [row[2] for row in result.star_facts] == [None]
    assert result.customers == []


def test_codes_are_trimmed_and_keep_their_case(tmp_path):
    result = outcome(
        tmp_path,
        {
            PRODUCTS: products(" A ,Apple,,10,", "a,apricot,,1,"),
            EARLY: transactions(" T1 , O1,A ,2,2024-01-05 09:00:00, C1 ,\tGB", "t1,O1,a,2,2024-01-05 09:00:00,C1,GB"),
        },
    )
    assert [(row[0], row[1], row[3], row[6], row[8], row[9]) for row in result.facts] == [
        ("T1", "O1", "A", Decimal(10), "C1", "GB"),
        ("t1", "O1", "a", Decimal(1), "C1", "GB"),
    ]


@pytest.mark.parametrize(("text", "value"), [("+7", 7), ("007", 7), ("2147483647", 2**31 - 1)])
def test_a_quantity_is_an_optional_sign_and_digits(tmp_path, text, value):
    masters = {**MASTERS, PRODUCTS: products("A,Apple,,0.0001,")}
    row = f"T1,O1,A,{text},2024-01-05 09:00:00,C1,GB"
    assert [fact[5] for fact in outcome(tmp_path, {EARLY: transactions(row)}, masters).facts] == [value]


def test_the_lowest_quantity_is_taken(tmp_path):
    masters = {**MASTERS, PRODUCTS: products("A,Apple,,0.0001,")}
    result = outcome(tmp_path, {EARLY: transactions("T1,O1,A,-2147483648,2024-01-05 09:00:00,C1,GB")}, masters)
    assert [row[5:8] for row in result.facts] == [(-(2**31), Decimal("0.0001"), Decimal("-214748.3648"))]


def test_the_price_is_the_one_in_effect_on_the_day(tmp_path):
    result = outcome(
        tmp_path,
        {
            "products/products_2024-01-05.csv": products("A,Apple,Fruit,12,"),
            "products/products_2024-01-06.csv": products("A,Apple,Fruit,13,"),
            EARLY: transactions(
                "T1,O1,A,1,2024-01-04 23:59:59,C1,GB",
                "T2,O1,A,1,2024-01-05 00:00:00,C1,GB",
                "T3,O1,A,1,2024-01-05 23:59:59,C1,GB",
                "T4,O1,A,1,2024-01-06 00:00:00,C1,GB",
                "T5,O1,A,1,2030-01-01 00:00:00,C1,GB",
            ),
        },
    )
    assert [(row[0], row[4].day, row[6]) for row in result.facts] == [
        ("T1", 1, Decimal(10)),
        ("T2", 5, Decimal(12)),
        ("T3", 5, Decimal(12)),
        ("T4", 6, Decimal(13)),
        ("T5", 6, Decimal(13)),
    ]


# --- errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        ",O1,A,2,2024-01-05 09:00:00,C1,GB",
        "  ,O1,A,2,2024-01-05 09:00:00,C1,GB",
        "T1,,A,2,2024-01-05 09:00:00,C1,GB",
        "T1,O1, ,2,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,2,,C1,GB",
        "T1,O1,A,0,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,-00,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A, 6,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,6 ,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,6.0,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,1e1,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,1_0,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,٣,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,--1,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,six,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,2147483648,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,-2147483649,2024-01-05 09:00:00,C1,GB",
        f"T1,O1,A,{'9' * 5000},2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,2,2024-01-05,C1,GB",
        "T1,O1,A,2,2024-01-05T09:00:00,C1,GB",
        "T1,O1,A,2,2024-01-05 09:00,C1,GB",
        "T1,O1,A,2,2024-01-05 09:00:00.0,C1,GB",
        "T1,O1,A,2,2024-01-05 09:00:00Z,C1,GB",
        "T1,O1,A,2, 2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,2,2024-1-5 9:00:00,C1,GB",
        "T1,O1,A,2,2023-02-29 09:00:00,C1,GB",
        "T1,O1,A,2,2024-01-05 24:00:00,C1,GB",
        "T1,O1,A,2,2024-01-05 09:00:60,C1,GB",
        "T1,O1,A,2,0000-01-05 09:00:00,C1,GB",
        "T1,O1,A,2,05/01/2024 09:00,C1,GB",
    ],
)
def test_a_row_with_an_empty_or_unreadable_value_is_malformed_as_landed(tmp_path, row):
    landed = tuple(field or None for field in row.split(","))
    result = outcome(tmp_path, {EARLY: transactions(row)})
    assert result.facts == []
    assert result.errors == [(*landed, "MALFORMED", "2024-01-05T08", EARLY)]


def test_leap_days_and_the_first_and_last_year_are_instants(tmp_path):
    masters = {**MASTERS, "products/products_0001-01-01.csv": products("A,Apple,,1,")}
    result = outcome(
        tmp_path,
        {EARLY: transactions("T1,O1,A,2,0001-01-01 00:00:00,C1,GB", "T3,O1,A,2,9999-12-31 23:59:59,C1,GB")},
        masters,
    )
    assert [(row[0], row[3], row[8]) for row in result.star_facts] == [
        ("T1", 10101, 1),
        ("T3", 99991231, 9999),
    ]
    leap = outcome(tmp_path / "leap", {EARLY: transactions("T2,O1,A,2,2024-02-29 23:59:59,C1,GB")})
    assert leap.dates == [20240229]


def test_a_row_with_too_few_fields_is_malformed_and_filled_as_far_as_it_goes(tmp_path):
    result = outcome(tmp_path, {EARLY: transactions("T1,O1,A,2,2024-01-05 09:00:00,C1")})
    assert result.errors == [
        ("T1", "O1", "A", "2", "2024-01-05 09:00:00", "C1", None, "MALFORMED", "2024-01-05T08", EARLY)
    ]


def test_a_row_with_too_many_fields_is_malformed_and_loses_the_surplus(tmp_path):
    result = outcome(tmp_path, {EARLY: transactions(GOOD + ",more,")})
    assert result.errors == [
        ("T1", "O1", "A", "2", "2024-01-05 09:00:00", "C1", "GB", "MALFORMED", "2024-01-05T08", EARLY)
    ]


def test_fields_are_filled_by_the_files_own_column_order(tmp_path):
    header = "note,country_id,quantity,invoice_date,stock_code,order_id,transaction_id\n"
    content = header + "x,GB,2,2024-01-05 09:00:00\n"
    result = outcome(tmp_path, {EARLY: content})
    assert result.errors == [
        (None, None, None, "2", "2024-01-05 09:00:00", None, "GB", "MALFORMED", "2024-01-05T08", EARLY)
    ]


def test_a_row_with_a_nul_is_malformed_and_shows_where_it_was(tmp_path):
    result = outcome(tmp_path, {EARLY: transactions("T1,O\x001,A,2,2024-01-05 09:00:00,C1,GB")})
    assert [row[:2] + row[7:8] for row in result.errors] == [("T1", "O␀1", "MALFORMED")]


def test_a_nul_in_an_unknown_column_makes_the_row_malformed(tmp_path):
    result = outcome(tmp_path, {EARLY: HEADER.replace("\n", ",note\n") + GOOD + ",\x00\n"})
    assert reasons(result) == [("T1", "MALFORMED")]


@pytest.mark.parametrize(
    "broken",
    [
        '"T0"x,O1,A,2,2024-01-05 09:00:00,C1,GB',
        '"T0" ,O1,A,2,2024-01-05 09:00:00,C1,GB',
        'T0,"O1,A,2,2024-01-05 09:00:00,C1,GB',
    ],
)
def test_broken_quoting_costs_one_line_and_no_other(tmp_path, broken):
    after = "T2,O2,A,1,2024-01-05 09:30:00,C1,GB"
    result = outcome(tmp_path, {EARLY: transactions(GOOD, broken, after)})
    assert [row[0] for row in result.facts] == ["T1", "T2"]
    assert result.errors == [(*[None] * 7, "MALFORMED", "2024-01-05T08", EARLY)]


def test_a_broken_record_of_several_lines_is_read_again_from_its_second_line(tmp_path):
    result = outcome(tmp_path, {EARLY: transactions('T0,"O', 'x" y,A', GOOD)})
    assert [row[0] for row in result.facts] == ["T1"]
    assert [row[:4] + row[7:8] for row in result.errors] == [
        (None, None, None, None, "MALFORMED"),
        ('x" y', "A", None, None, "MALFORMED"),
    ]


def test_an_open_quote_on_the_last_line_is_one_malformed_row(tmp_path):
    result = outcome(tmp_path, {EARLY: transactions(GOOD) + 'T2,"'})
    assert reasons(result) == [(None, "MALFORMED")]
    assert result.facts == [GOOD_FACT]


def test_quoted_commas_quotes_and_line_breaks_are_part_of_the_value(tmp_path):
    result = outcome(tmp_path, {EARLY: transactions('T1,"O ""1"",\n\r\n x",A,2,2024-01-05 09:00:00,C1,GB')})
    assert [row[1] for row in result.facts] == ['O "1",\n\r\n x']


def test_a_broken_line_after_a_record_of_several_lines_costs_itself_alone(tmp_path):
    several = '"T1\n",O1,A,2,2024-01-05 09:00:00,C1,"G\n\nB"'
    result = outcome(tmp_path, {EARLY: transactions(several, '"T0"x', GOOD.replace("T1", "T2"))})
    assert reasons(result) == [(None, "MALFORMED"), ("T1\n", "UNKNOWN_COUNTRY")]
    assert [row[0] for row in result.facts] == ["T2"]


def test_blank_lines_are_no_rows_and_a_line_of_commas_is_one(tmp_path):
    result = outcome(tmp_path, {EARLY: "\n  \n" + HEADER + "\n\r\n" + GOOD + "\n \t\n\n,,,,,,\n" + '"  "\n' + "\n"})
    assert result.facts == [GOOD_FACT]
    assert [row[:8] for row in result.errors] == [
        (*[None] * 7, "MALFORMED"),
        ("  ", *[None] * 6, "MALFORMED"),
    ]


def test_a_country_that_is_empty_or_not_known_is_unknown(tmp_path):
    result = outcome(
        tmp_path,
        {
            EARLY: transactions(
                "T1,O1,A,2,2024-01-05 09:00:00,C1,",
                "T2,O1,A,2,2024-01-05 09:00:00,C1,gb",
                "T3,O1,A,2,2024-01-05 09:00:00,C1,XX",
            )
        },
    )
    assert [(row[0], row[6], row[7]) for row in result.errors] == [
        ("T1", None, "UNKNOWN_COUNTRY"),
        ("T2", "gb", "UNKNOWN_COUNTRY"),
        ("T3", "XX", "UNKNOWN_COUNTRY"),
    ]


def test_a_product_that_begins_later_has_no_price_and_one_never_seen_is_unknown(tmp_path):
    result = outcome(
        tmp_path,
        {
            EARLY: transactions(
                "T1,O1,A,2,2023-12-31 23:59:59,C1,GB",
                "T2,O1,B,2,2024-01-05 09:00:00,C1,GB",
                "T3,O1,A,2,2024-01-01 00:00:00,C1,GB",
            )
        },
    )
    assert reasons(result) == [("T1", "NO_PRICE"), ("T2", "UNKNOWN_PRODUCT")]
    assert [row[0] for row in result.facts] == ["T3"]


def test_the_first_rule_that_fails_gives_the_reason(tmp_path):
    result = outcome(
        tmp_path,
        {
            EARLY: transactions(
                "T1,O1,B,0,2024-01-05 09:00:00,C1,XX",  # malformed, unknown country, unknown product
                "T2,O1,B,1,2024-01-05 09:00:00,C1,XX",  # unknown country, unknown product
                "T3,O1,A,1,2023-01-05 09:00:00,C1,XX",  # unknown country, no price
                "T4,O1,A,1,2024-01-05 09:00:00,C1,GB",
                "T4,O1,B,1,2024-01-05 09:00:00,C1,XX",  # conflict, unknown country, unknown product
            )
        },
    )
    assert reasons(result) == [
        ("T1", "MALFORMED"),
        ("T2", "UNKNOWN_COUNTRY"),
        ("T3", "UNKNOWN_COUNTRY"),
        ("T4", "DUPLICATE_CONFLICT"),
    ]


def test_an_error_row_shows_text_as_it_landed(tmp_path):
    result = outcome(tmp_path, {LATE: transactions('" T1 ",O1, B ,+02,2024-01-05 09:00:00, ,GB ')})
    assert result.errors == [
        (
            " T1 ",
            "O1",
            " B ",
            "+02",
            "2024-01-05 09:00:00",
            " ",
            "GB ",
            "UNKNOWN_PRODUCT",
            "2024-01-05T12",
            LATE,
        )
    ]


# --- duplicates -------------------------------------------------------------------------------------


def test_the_same_values_again_are_dropped_and_counted_where_they_landed(tmp_path):
    same = " T1,O1 ,A,+02,2024-01-05 09:00:00,C1,GB "
    result = outcome(tmp_path, {EARLY: transactions(GOOD, same), LATE: transactions(GOOD, same, GOOD)})
    assert result.facts == [GOOD_FACT]
    assert result.errors == []
    assert (result.duplicates, result.duplicates_by_batch) == (
        4,
        {"2024-01-05T08": 1, "2024-01-05T12": 3},
    )


@pytest.mark.parametrize(
    "other",
    [
        "T1,O2,A,2,2024-01-05 09:00:00,C1,GB",
        "T1,O1,B,2,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,-2,2024-01-05 09:00:00,C1,GB",
        "T1,O1,A,2,2024-01-05 09:00:01,C1,GB",
        "T1,O1,A,2,2024-01-05 09:00:00,C2,GB",
        "T1,O1,A,2,2024-01-05 09:00:00,,GB",
        "T1,O1,A,2,2024-01-05 09:00:00,C1,XX",
        "T1,O1,A,2,2024-01-05 09:00:00,C1,",
    ],
)
def test_one_other_value_is_a_conflict(tmp_path, other):
    result = outcome(tmp_path, {EARLY: transactions(GOOD), LATE: transactions(other)})
    landed = tuple(field or None for field in other.split(","))
    assert result.facts == [GOOD_FACT]
    assert result.errors == [(*landed, "DUPLICATE_CONFLICT", "2024-01-05T12", LATE)]


def test_the_earliest_batch_wins_whatever_its_values(tmp_path):
    result = outcome(
        tmp_path,
        {
            EARLY: transactions("T1,O9,A,9,2024-01-05 11:00:00,C9,GB"),
            LATE: transactions(GOOD),
        },
    )
    assert [(row[0], row[1], row[10]) for row in result.facts] == [("T1", "O9", "2024-01-05T08")]
    assert [(row[1], row[7], row[8]) for row in result.errors] == [("O1", "DUPLICATE_CONFLICT", "2024-01-05T12")]


def test_a_duplicate_of_the_loser_is_a_conflict_of_its_own(tmp_path):
    loser = "T1,O1,A,3,2024-01-05 09:00:00,C1,GB"
    result = outcome(
        tmp_path, {EARLY: transactions(GOOD), LATE: transactions(loser, GOOD, loser), PRODUCTS: products()}
    )
    assert [row[3:4] + row[7:9] for row in result.errors] == [
        ("2", "UNKNOWN_PRODUCT", "2024-01-05T08"),
        ("3", "DUPLICATE_CONFLICT", "2024-01-05T12"),
        ("3", "DUPLICATE_CONFLICT", "2024-01-05T12"),
    ]
    assert result.duplicates_by_batch == {"2024-01-05T12": 1}


def test_a_malformed_row_takes_no_part_in_a_conflict(tmp_path):
    result = outcome(
        tmp_path,
        {EARLY: transactions("T1,O0,A,0,2024-01-05 08:00:00,C1,GB"), LATE: transactions(GOOD)},
    )
    assert [(row[0], row[10]) for row in result.facts] == [("T1", "2024-01-05T12")]
    assert reasons(result) == [("T1", "MALFORMED")]


@pytest.mark.parametrize(
    ("least", "other"),
    [
        ("T1,O2,B,9,2024-01-05 08:59:59,C2,US", GOOD),  # invoice_date first
        ("T1,O0,B,9,2024-01-05 09:00:00,C2,US", GOOD),  # then order_id
        ("T1,O1,A,9,2024-01-05 09:00:00,C2,US", "T1,O1,a,1,2024-01-05 09:00:00,C1,GB"),  # then stock_code
        ("T1,O1,A,9,2024-01-05 09:00:00,C2,US", "T1,O1,A,10,2024-01-05 09:00:00,C1,GB"),  # as a number
        ("T1,O1,A,-1,2024-01-05 09:00:00,C2,US", GOOD),
        ("T1,O1,A,2,2024-01-05 09:00:00,,US", GOOD),  # a guest before any customer
        ("T1,O1,A,2,2024-01-05 09:00:00,C1,", GOOD),  # no country before any country
        ("T1,O1,A,2,2024-01-05 09:00:00,,GB", "T1,O1,A,2,2024-01-05 09:00:00,C1,"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_within_a_batch_the_least_row_wins(tmp_path, least, other, order):
    masters = {
        PRODUCTS: products("A,Apple,,1,", "B,Beet,,1,", "a,apricot,,1,"),
        COUNTRIES: countries("GB,UK,,,", "US,USA,,,"),
    }
    first, second = [least, other][::order]
    result = outcome(
        tmp_path,
        {
            "transactions/transactions_2024-01-05T08_1.csv": transactions(first),
            "transactions/transactions_2024-01-05T08_2.csv": transactions(second),
        },
        masters,
    )
    lost = [row[:7] for row in result.errors if row[7] == "DUPLICATE_CONFLICT"]
    assert lost == [tuple(field or None for field in other.split(","))]
    assert result.duplicates == 0


def test_the_winner_of_a_conflict_is_still_judged_and_a_loser_never_takes_its_place(tmp_path):
    result = outcome(tmp_path, {EARLY: transactions("T1,O1,A,2,2024-01-05 09:00:00,C1,XX"), LATE: transactions(GOOD)})
    assert result.facts == []
    assert [(row[6], row[7]) for row in result.errors] == [
        ("GB", "DUPLICATE_CONFLICT"),
        ("XX", "UNKNOWN_COUNTRY"),
    ]


# --- products ---------------------------------------------------------------------------------------


def test_a_price_that_goes_and_comes_back_has_three_versions(tmp_path):
    assert prices(tmp_path, {"01": "10", "02": "12", "03": "10"}) == [
        (Decimal(10), date(2024, 1, 1), date(2024, 1, 2), False),
        (Decimal(10), date(2024, 1, 3), None, True),
        (Decimal(12), date(2024, 1, 2), date(2024, 1, 3), False),
    ]


def test_an_unchanged_price_has_one_version(tmp_path):
    assert prices(tmp_path, {"01": "10", "03": "10.0000"}) == [(Decimal(10), date(2024, 1, 1), None, True)]


@pytest.mark.parametrize(
    "changed",
    ["A,Apples,Fruit,10,", "A,Apple,Food,10,", "A,Apple,,10,", "A,Apple,Fruit,10.0001,", "A,apple,Fruit,10,"],
)
def test_description_category_and_price_each_begin_a_version(tmp_path, changed):
    result = outcome(tmp_path, {"products/products_2024-01-09.csv": products(changed)})
    _, description, category, price, _ = changed.split(",")
    assert result.products == sorted_rows(
        [
            ("A", "Apple", "Fruit", Decimal(10), date(2024, 1, 1), date(2024, 1, 9), False),
            ("A", description, category or None, Decimal(price), date(2024, 1, 9), None, True),
        ]
    )


def test_a_category_that_stays_empty_is_no_change(tmp_path):
    masters = {
        PRODUCTS: products("A,Apple,,10,"),
        "products/products_2024-01-02.csv": products("A,Apple,  ,10,"),
    }
    assert outcome(tmp_path, {}, masters).products == [("A", "Apple", None, Decimal(10), date(2024, 1, 1), None, True)]


@pytest.mark.parametrize(("newest", "stock"), [("7", 7), ("", None), ("-1", -1), ("0", 0)])
def test_stock_is_the_newest_snapshots_and_no_change_of_version(tmp_path, newest, stock):
    result = outcome(tmp_path, {"products/products_2024-01-09.csv": products(f"A,Apple,Fruit,10,{newest}")})
    assert len(result.products) == 1
    assert result.stock == [("A", stock)]


def test_an_absent_product_keeps_its_version_open_and_resumes_it(tmp_path):
    result = outcome(
        tmp_path,
        {
            "products/products_2024-01-02.csv": products("B,Beet,,1,"),
            "products/products_2024-01-03.csv": products("A,Apple,Fruit,10,3", "B,Beet,,2,"),
            "products/products_2024-01-04.csv": products(),
        },
    )
    assert result.products == [
        ("A", "Apple", "Fruit", Decimal(10), date(2024, 1, 1), None, True),
        ("B", "Beet", None, Decimal(1), date(2024, 1, 2), date(2024, 1, 3), False),
        ("B", "Beet", None, Decimal(2), date(2024, 1, 3), None, True),
    ]
    assert result.stock == [("A", 3), ("B", None)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("-0.00", "0"),
        ("+1.5", "1.5"),
        ("99999999.9999", "99999999.9999"),
        ("1.23450", "1.2345"),
        ("0000000001", "1"),
    ],
)
def test_a_price_is_a_plain_decimal(tmp_path, text, value):
    assert [row[0] for row in prices(tmp_path, {"01": text})] == [Decimal(value)]


# --- countries --------------------------------------------------------------------------------------


def test_the_first_values_of_a_country_stay_and_first_is_by_date(tmp_path):
    result = outcome(
        tmp_path,
        {
            "countries/countries_2023-12-01.csv": countries("GB,Great Britain,,,"),
            "countries/countries_2024-02-01.csv": countries("GB,UK,EU,1,1", "FR,France,Europe,46.5,2"),
        },
    )
    assert result.countries == [
        ("FR", "France", "Europe", 46.5, 2.0),
        ("GB", "Great Britain", None, None, None),
    ]


def test_a_country_named_after_the_purchase_is_known(tmp_path):
    masters = {**MASTERS, COUNTRIES: countries(), "countries/countries_2024-03-01.csv": countries("GB,UK,,,")}
    assert outcome(tmp_path, {EARLY: transactions(GOOD)}, masters).facts == [GOOD_FACT]


# --- star schema ------------------------------------------------------------------------------------


def test_a_customers_country_is_that_of_the_newest_purchase(tmp_path):
    masters = {**MASTERS, COUNTRIES: countries("GB,UK,,,", "FR,France,,,", "US,USA,,,")}
    result = outcome(
        tmp_path,
        {
            EARLY: transactions(
                "T2,O1,A,1,2024-01-05 09:00:00,C1,FR",
                "T10,O1,A,1,2024-01-05 09:00:00,C1,US",  # the same instant: T2 is greater than T10
                "T9,O1,A,1,2024-01-04 09:00:00,C1,GB",
                "T3,O1,A,-1,2024-01-07 00:00:00,C2,GB",  # a return is a purchase too here
                "T4,O1,A,1,2024-01-03 09:00:00,C2,US",
                "T5,O1,A,1,2024-01-09 09:00:00,C2,XX",  # an error tells nothing
            )
        },
        masters,
    )
    assert result.customers == [
        ("C1", "FR", date(2024, 1, 4), date(2024, 1, 5)),
        ("C2", "GB", date(2024, 1, 3), date(2024, 1, 7)),
    ]


def test_dates_cover_every_day_between_the_first_and_the_last_fact(tmp_path):
    result = outcome(
        tmp_path,
        {
            EARLY: transactions(
                "T1,O1,A,1,2024-02-27 23:59:59,C1,GB",
                "T2,O1,A,1,2024-03-02 00:00:00,C1,GB",
                "T3,O1,A,1,2024-03-09 00:00:00,C1,XX",
            )
        },
    )
    assert result.dates == [20240227, 20240228, 20240229, 20240301, 20240302]


# --- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (EARLY, "transaction_id,order_id,stock_code,quantity\nT1,O1,A,2\n", "MISSING_COLUMN"),
        (EARLY, HEADER.replace("order_id", "Order_id"), "MISSING_COLUMN"),
        (EARLY, HEADER.replace("\n", ",quantity\n"), "DUPLICATE_COLUMN"),
        (EARLY, GOOD + "\n", "NO_HEADER"),
        (EARLY, '"' + HEADER + GOOD, "NO_HEADER"),
        (EARLY, "", "EMPTY"),
        (EARLY, "\ufeff \r\n\n\t", "EMPTY"),
        (EARLY, transactions(GOOD).replace("C1", "Ç1").encode("latin-1"), "WRONG_ENCODING"),
        (EARLY, transactions(GOOD).encode("utf-16"), "WRONG_ENCODING"),
        (EARLY, gzip.compress(transactions(GOOD).encode(), mtime=0), "WRONG_ENCODING"),
        (f"{EARLY}.gz", transactions(GOOD), "BROKEN_GZIP"),
        (f"{EARLY}.gz", gzip.compress(transactions(GOOD).encode(), mtime=0)[:-9], "BROKEN_GZIP"),
        (f"{EARLY}.gz", gzip.compress(b"x" * 99, mtime=0)[:10] + b"\xff" * 40, "BROKEN_GZIP"),
        (f"{EARLY}.gz", zlib.compress(b"x"), "BROKEN_GZIP"),
        (f"{EARLY}.gz", b"", "EMPTY"),
        (f"{EARLY}.gz", gzip.compress(b" \n", mtime=0), "EMPTY"),
        ("transactions/transactions_2024-01-05T09.csv", transactions(GOOD), "BAD_NAME"),
        ("transactions/transactions_2024-02-30T08.csv", transactions(GOOD), "BAD_NAME"),
        ("transactions/transactions_2024-01-05T8.csv", transactions(GOOD), "BAD_NAME"),
        ("transactions/2024-01-05T08.csv", transactions(GOOD), "BAD_NAME"),
        ("transactions/transactions_2024-01-05T08.txt", transactions(GOOD), "BAD_NAME"),
        ("products/products_2024-01-01_2.csv", products(), "BAD_NAME"),
        ("products/products_2024-01-02.csv", "stock_code,description\nA,Apple\n", "MISSING_COLUMN"),
        ("products/products_2024-01-02.csv", products(",Apple,,1,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,,,1,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A, ,,1,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,Apple,,,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,Apple,,1.23456,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,Apple,,100000000,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,Apple,, 1,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,Apple,,1.,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,Apple,,.5,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,Apple,,1e2,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,Apple,,NaN,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,Apple,,1,many"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,Apple,,1,1.5"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,Apple,,1"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,Apple,,1,,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,App\x00le,,1,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products('A,"Apple,,1,'), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("A,Apple,,1,", "A ,Apple,,1,"), "DUPLICATE_KEY"),
        ("products/products_2024-01-02.csv", products("A,Apple,,-0.0001,"), "NEGATIVE_PRICE"),
        ("products/products_2024-01-02.csv", products("A,,,1,", "B,Beet,,-1,", "B,Beet,,-1,"), "BAD_ROWS"),
        ("products/products_2024-01-02.csv", products("B,Beet,,-1,", "B,Beet,,-1,"), "DUPLICATE_KEY"),
        ("countries/countries_2024-01-02.csv", "country_id\nGB\n", "MISSING_COLUMN"),
        ("countries/countries_2024-01-02.csv", countries(",UK,,,"), "BAD_ROWS"),
        ("countries/countries_2024-01-02.csv", countries("GB,,,,"), "BAD_ROWS"),
        ("countries/countries_2024-01-02.csv", countries("GB,UK,,90.01,0"), "BAD_ROWS"),
        ("countries/countries_2024-01-02.csv", countries("GB,UK,,0,-180.01"), "BAD_ROWS"),
        ("countries/countries_2024-01-02.csv", countries("GB,UK,,north,0"), "BAD_ROWS"),
        ("countries/countries_2024-01-02.csv", countries("GB,UK,,,", "GB,UK,,,"), "DUPLICATE_KEY"),
    ],
)
def test_a_bad_file_is_rejected_whole_and_changes_nothing(tmp_path, name, content, reason):
    good = {LATE: transactions(GOOD)}
    result = outcome(tmp_path / "bad", {**good, name: content})
    assert result.rejected == {name: reason}
    without = outcome(tmp_path / "good", good)
    assert result == Expected(**{**vars(without), "rejected": {name: reason}})


def test_a_bom_crlf_gzip_any_column_order_and_unknown_columns_are_fine(tmp_path):
    content = (
        "\ufeffcountry_id, quantity ,note,invoice_date,stock_code,customer_id,order_id,transaction_id\r\n"
        "GB,2,n,2024-01-05 09:00:00,A,C1,O1,T1\r\n"
    )
    result = outcome(tmp_path, {f"{EARLY}.gz": gzip.compress(content.encode())})
    assert (result.facts, result.errors, result.rejected) == ([GOOD_FACT], [], {})


def test_a_file_without_its_optional_columns_is_taken(tmp_path):
    result = outcome(
        tmp_path,
        {
            "countries/countries_2024-01-02.csv": "country_id,country_name\nFR,France\n",
            "products/products_2024-01-02.csv": "stock_code,description,unit_price\nB,Beet,1\n",
            EARLY: HEADER.replace(",customer_id,country_id", "") + "T1,O1,A,2,2024-01-05 09:00:00\n",
        },
    )
    assert result.rejected == {}
    assert ("FR", "France", None, None, None) in result.countries
    assert ("B", "Beet", None, Decimal(1), date(2024, 1, 2), None, True) in result.products
    assert reasons(result) == [("T1", "UNKNOWN_COUNTRY")]


def test_a_window_may_come_in_several_files_and_a_header_alone_is_a_file(tmp_path):
    result = outcome(
        tmp_path,
        {
            EARLY: transactions(GOOD),
            "transactions/transactions_2024-01-05T08-part 2.csv": transactions(GOOD.replace("T1", "T2")),
            "transactions/transactions_2024-01-05T08_3.csv": HEADER,
        },
    )
    assert [(row[0], row[10]) for row in result.facts] == [("T1", "2024-01-05T08"), ("T2", "2024-01-05T08")]
    assert result.rejected == {}


def test_unfinished_files_are_left_alone(tmp_path):
    junk = {
        f"{folder}/{name}": "junk"
        for folder in ("transactions", "products", "countries")
        for name in (".x.csv", "_SUCCESS", f"{folder}_2024-01-05.csv.tmp")
    }
    assert outcome(tmp_path, junk) == outcome(tmp_path / "without", {})


def test_the_same_bytes_again_in_a_window_are_skipped(tmp_path):
    again = "transactions/transactions_2024-01-05T08_again.csv"
    result = outcome(tmp_path, {EARLY: transactions(GOOD), again: transactions(GOOD)})
    assert (result.landed, result.facts, result.duplicates) == (1, [GOOD_FACT], 0)
    assert result.skipped == [again]


def test_the_same_bytes_in_another_window_land_there_too(tmp_path):
    result = outcome(tmp_path, {EARLY: transactions(GOOD), LATE: transactions(GOOD)})
    assert (result.landed, result.duplicates_by_batch, result.skipped) == (2, {"2024-01-05T12": 1}, [])


def test_the_same_rows_in_other_bytes_land(tmp_path):
    result = outcome(tmp_path, {EARLY: transactions(GOOD), f"{EARLY}.gz": gzip.compress(transactions(GOOD).encode())})
    assert (result.landed, result.duplicates, result.skipped) == (2, 1, [])


def test_a_copy_of_a_rejected_file_is_rejected_too(tmp_path):
    again = "transactions/transactions_2024-01-05T08_again.csv"
    assert outcome(tmp_path, {EARLY: "", again: ""}).rejected == {EARLY: "EMPTY", again: "EMPTY"}


def test_a_second_snapshot_of_a_date_is_rejected(tmp_path):
    second = gzip.compress(products("A,Apple,Fruit,12,").encode())
    result = outcome(tmp_path, {f"{PRODUCTS}.gz": second})
    assert result.rejected == {f"{PRODUCTS}.gz": "SECOND_SNAPSHOT"}
    assert [row[3] for row in result.products] == [Decimal(10)]


def test_after_a_rejected_snapshot_the_next_of_its_date_is_the_first(tmp_path):
    second = gzip.compress(products("A,Apple,Fruit,12,").encode())
    result = outcome(tmp_path, {PRODUCTS: products("A,Apple,Fruit,-1,"), f"{PRODUCTS}.gz": second})
    assert result.rejected == {PRODUCTS: "NEGATIVE_PRICE"}
    assert [row[3] for row in result.products] == [Decimal(12)]


def test_a_part_of_the_files_may_be_asked_for_by_either_kind_of_path(tmp_path):
    land(tmp_path, {**MASTERS, EARLY: transactions(GOOD), LATE: transactions(GOOD), "products/bad.csv": ""})
    result = expected(tmp_path, files=[tmp_path / EARLY, Path(COUNTRIES), tmp_path / PRODUCTS, Path(PRODUCTS)])
    assert (result.landed, result.facts, result.rejected) == (1, [GOOD_FACT], {})


def test_rows_are_sorted_with_none_first():
    assert sorted_rows([["b", 1], ["a", None], ["a", 1], [None, 2]]) == [
        (None, 2),
        ("a", None),
        ("a", 1),
        ("b", 1),
    ]
