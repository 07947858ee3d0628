"""What a landing file's name says, and which files a run takes."""

from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest

from warehouse.config import load
from warehouse.landing import LandingFile, Scope, _named, _size, batch_end, span

SOURCES = load({}, Path(__file__).parent).sources
FILE = LandingFile("folder/name", "file:///landing/folder/name", 1, datetime(2011, 1, 5, tzinfo=UTC))


def named(source: str, name: str) -> LandingFile:
    return _named(SOURCES[source], FILE, name)


def window(batch_id: str) -> LandingFile:
    return replace(FILE, batch_id=batch_id)


def snapshot(day: str) -> LandingFile:
    return replace(FILE, snapshot_date=date.fromisoformat(day))


# --- Names ---


@pytest.mark.parametrize(
    ("name", "batch_id"),
    [
        ("transactions_2011-01-04T00.csv", "2011-01-04T00"),
        ("transactions_2011-01-04T20.csv.gz", "2011-01-04T20"),
        ("transactions_2011-01-04T08_part-2.csv", "2011-01-04T08"),
        ("transactions_2011-01-04T08 (copy).csv.gz", "2011-01-04T08"),
        ("transactions_2011-01-04T08é.csv", "2011-01-04T08"),
        ("transactions_2012-02-29T12.csv", "2012-02-29T12"),
    ],
)
def test_a_transaction_file_tells_its_window(name, batch_id):
    assert named("transactions", name) == replace(FILE, batch_id=batch_id)


@pytest.mark.parametrize(
    "name",
    [
        "transactions_2011-01-04T01.csv",
        "transactions_2011-01-04T24.csv",
        "transactions_2011-01-04T8.csv",
        "transactions_2011-01-04.csv",
        "transactions_2011-02-29T08.csv",
        "transactions_2011-13-01T08.csv",
        "transactions_0000-01-01T08.csv",
        "transactions_20110104T08.csv",
        "transactions_٢٠١١-01-04T08.csv",
        "Transactions_2011-01-04T08.csv",
        "transactions-2011-01-04T08.csv",
        "transactions_2011-01-04T08.txt",
        "transactions_2011-01-04T08.csv.bz2",
        "transactions_2011-01-04T08.CSV",
        "transactions_2011-01-04T08.csv\n",
        "products_2011-01-04.csv",
        "my_transactions_2011-01-04T08.csv",
    ],
)
def test_another_name_of_a_transaction_file_is_refused_with_the_name_it_should_have(name):
    wanted = "transactions_YYYY-MM-DDTHH*.csv[.gz], HH in 00 04 08 12 16 20"
    assert named("transactions", name) == replace(FILE, status="REJECTED", reason=f"BAD_NAME: not {wanted}")


@pytest.mark.parametrize("source", ["products", "countries"])
@pytest.mark.parametrize("end", [".csv", ".csv.gz"])
def test_a_snapshot_tells_its_date(source, end):
    assert named(source, f"{source}_2012-02-29{end}") == replace(FILE, snapshot_date=date(2012, 2, 29))


@pytest.mark.parametrize(
    "name",
    [
        "products_2011-02-29.csv",
        "products_2011-01-04_2.csv",
        "products_2011-01-04T00.csv",
        "products_2011-1-4.csv",
        "products.csv",
        "countries_2011-01-04.csv",
        "products_2011-01-04.csv.gz.csv",
        "products_1899-12-31.csv",
        "products_2200-01-01.csv",
    ],
)
def test_another_name_of_a_snapshot_is_refused_with_the_name_it_should_have(name):
    refused = replace(
        FILE, status="REJECTED", reason="BAD_NAME: not products_YYYY-MM-DD.csv[.gz], of the years 1900 to 2199"
    )
    assert named("products", name) == refused


def test_a_name_that_hadoop_cannot_read_is_refused():
    found = named("transactions", "transactions_2011-01-04T08_10:30.csv")
    assert found == replace(FILE, status="REJECTED", reason="BAD_NAME: Hadoop cannot read a name with a colon")


# --- Windows and dates ---


@pytest.mark.parametrize(
    ("batch_id", "end"),
    [
        ("2011-01-04T08", datetime(2011, 1, 4, 12, tzinfo=UTC)),
        ("2011-12-31T20", datetime(2012, 1, 1, 0, tzinfo=UTC)),
        ("2011-03-27T00", datetime(2011, 3, 27, 4, tzinfo=UTC)),
        ("0001-01-01T00", datetime(1, 1, 1, 4, tzinfo=UTC)),
        ("9999-12-31T20", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_window_ends_four_hours_after_its_start_in_utc(batch_id, end):
    assert batch_end(batch_id) == end


def test_a_file_knows_its_day_its_slot_and_when_it_is_complete():
    assert (window("2011-01-04T20").day, window("2011-01-04T20").slot) == (date(2011, 1, 4), "2011-01-04T20")
    assert window("2011-01-04T20").complete_at == datetime(2011, 1, 5, tzinfo=UTC)
    assert (snapshot("2011-01-04").day, snapshot("2011-01-04").slot) == (date(2011, 1, 4), "2011-01-04")
    assert snapshot("2011-01-04").complete_at == datetime(2011, 1, 4, tzinfo=UTC)
    assert window("2011-01-04T20").begins_at == datetime(2011, 1, 4, 20, tzinfo=UTC)
    assert snapshot("2011-01-04").begins_at == datetime(2011, 1, 4, tzinfo=UTC)
    assert (FILE.day, FILE.slot) == (None, "")


def test_windows_and_dates_are_told_by_the_first_and_the_last():
    assert span(["2011-01-04T08"]) == span(["2011-01-04T08"] * 2) == "2011-01-04T08"
    assert span(["2011-01-05", "2011-01-04", "2011-01-06"]) == "2011-01-04 to 2011-01-06"


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (12_345_678, "12.3 MB"),
        (5 * 10**12, "5000.0 GB"),
    ],
)
def test_a_size_is_told_in_the_unit_that_fits(size, told):
    assert _size(size) == told


# --- Scope ---


@pytest.mark.parametrize(
    ("until", "taken"),
    [
        (datetime(2011, 1, 4, 11, 59, 59, tzinfo=UTC), False),
        (datetime(2011, 1, 4, 12, 0, 0, tzinfo=UTC), True),
        (None, True),
    ],
)
def test_a_window_is_taken_until_its_end_included(until, taken):
    assert Scope(until).takes(window("2011-01-04T08")) is taken


@pytest.mark.parametrize(
    ("until", "taken"),
    [(datetime(2011, 1, 3, 23, 59, 59, tzinfo=UTC), False), (datetime(2011, 1, 4, tzinfo=UTC), True)],
)
def test_a_snapshot_is_taken_from_the_beginning_of_its_date(until, taken):
    assert Scope(until).takes(snapshot("2011-01-04")) is taken


@pytest.mark.parametrize(
    ("since", "taken"),
    [
        (datetime(2011, 1, 4, 8, tzinfo=UTC), True),
        (datetime(2011, 1, 4, 8, 0, 1, tzinfo=UTC), False),  # though it has not ended
        (None, True),
    ],
)
def test_a_window_is_taken_from_its_beginning_on(since, taken):
    assert Scope(since=since).takes(window("2011-01-04T08")) is taken
    assert Scope(since=since).takes_window("2011-01-04T08") is taken


@pytest.mark.parametrize(
    ("since", "taken"),
    [(datetime(2011, 1, 4, tzinfo=UTC), True), (datetime(2011, 1, 4, 0, 0, 1, tzinfo=UTC), False)],
)
def test_a_snapshot_is_taken_from_its_date_on(since, taken):
    assert Scope(since=since).takes(snapshot("2011-01-04")) is taken


def test_a_window_that_is_not_wholly_between_from_and_until_is_not_taken():
    scope = Scope(until=datetime(2011, 1, 4, 16, tzinfo=UTC), since=datetime(2011, 1, 4, 8, tzinfo=UTC))
    windows = [f"2011-01-04T{hour:02}" for hour in range(0, 24, 4)]
    assert [w for w in windows if scope.takes_window(w)] == ["2011-01-04T08", "2011-01-04T12"]


@pytest.mark.parametrize(
    ("day", "taken"), [("2011-01-03", False), ("2011-01-04", True), ("2011-01-05", True), ("2011-01-06", False)]
)
def test_days_are_taken_from_the_first_to_the_last_both_included(day, taken):
    scope = Scope(since=datetime(2011, 1, 4, tzinfo=UTC), last=datetime.combine(date(2011, 1, 5), time.max, UTC))
    assert scope.takes(snapshot(day)) is taken
    assert scope.takes(window(f"{day}T20")) is taken


def test_a_file_whose_name_says_nothing_is_always_taken_so_that_its_refusal_is_told():
    past = datetime(2000, 1, 1, tzinfo=UTC)
    assert Scope(past, past, past).takes(FILE)
