"""Files that come again: the same, under other names, changed, replaced and replaced back."""

import os
from datetime import UTC, datetime

import pytest
from against_oracle import assert_agrees_with_oracle
from harness import COUNTRIES, PRODUCTS, TRANSACTIONS, assert_same_state, crash
from small_shop import (
    BRITAIN,
    BRUSH,
    FRANCE,
    amounts,
    assert_balanced,
    exit_code,
    land_masters,
    land_sales,
    open_shop,
    reasons,
    refused,
    sale,
)

from jobs import ingest_transactions, init_warehouse, postgres_load_fact
from warehouse import landing
from warehouse.landing import Scope
from warehouse.session import SimulatedCrash

pytestmark = pytest.mark.slow


def assert_is_what_a_rebuild_gives(warehouse):
    """Reset and load the landing zone once more: nothing differs."""
    before = warehouse.state()
    warehouse.reset()
    warehouse.run()
    assert_same_state(warehouse.state(), before)


def sources(warehouse):
    return sorted(warehouse.query("select transaction_id, source_file from transactions_error"))


def test_a_file_that_comes_again_changes_nothing_whatever_its_name(warehouse):
    open_shop(warehouse)
    rows = [sale("T1"), sale("T2", code="Z"), sale("T3", quantity="x")]
    first = warehouse.landing / land_sales(warehouse, "2011-01-01T08_m", *rows)
    away = warehouse.landing / land_sales(warehouse, "2011-01-01T12", sale("T4"))
    warehouse.run()

    # touched; moved away; under a greater name and a lesser one; in another window
    os.utime(first, (1_600_000_000, 1_600_000_000))
    moved = away.read_bytes()
    away.unlink()
    land_sales(warehouse, "2011-01-01T08_z", *rows)
    land_sales(warehouse, "2011-01-01T16", *rows)
    assert exit_code(warehouse.run()) == 0
    assert any(line.startswith("ingest transactions: 3 rows from 1 files") for line in said(warehouse))
    assert sources(warehouse) == [
        ("T2", "transactions/transactions_2011-01-01T08_m.csv"),
        ("T3", "transactions/transactions_2011-01-01T08_m.csv"),
        ("T3", "transactions/transactions_2011-01-01T16.csv"),
    ]
    assert_balanced(warehouse, 7)

    land_sales(warehouse, "2011-01-01T08_a", *rows)
    away.write_bytes(moved)
    assert exit_code(warehouse.run()) == 0
    assert [row[1] for row in sources(warehouse)[:2]] == ["transactions/transactions_2011-01-01T08_a.csv"] * 2
    assert_balanced(warehouse, 7)
    assert_agrees_with_oracle(warehouse)
    assert {outcome.line for outcome in warehouse.run()} == {"nothing pending"}


def said(warehouse):
    """The lines of all ingests so far, from the ledger."""
    return [
        f"ingest transactions: {detail['rows']} rows from {detail['files']} files, {detail['skipped']} skipped"
        for (detail,) in warehouse.query("select detail from ops.etl_runs where job = 'ingest transactions'")
        if detail
    ]


def test_a_loaded_name_with_other_bytes_is_refused_and_what_was_loaded_stays(warehouse):
    open_shop(warehouse)
    names = ["2011-01-01T00", "2011-01-01T04", "2011-01-01T08", "2011-01-01T12"]
    paths = [warehouse.landing / land_sales(warehouse, name, sale(f"T{name[-2:]}")) for name in names]
    warehouse.run()
    before, kept = warehouse.state(), [path.read_bytes() for path in paths]

    paths[0].write_text(f"{TRANSACTIONS}\n{sale('NEW')}\n")
    paths[1].write_bytes(b"\xff broken")
    paths[2].write_bytes(b"")
    warehouse.land("products/products_2011-01-01.csv", ["A,Apple,Fruit,9.99,1"], PRODUCTS)
    warehouse.land("countries/countries_2011-01-01.csv", [FRANCE], COUNTRIES)
    assert exit_code(warehouse.run()) == 3
    assert refused(warehouse) == {
        **{f"transactions/{path.name}": "CHANGED_FILE" for path in paths[:3]},
        "products/products_2011-01-01.csv": "CHANGED_FILE",
        "countries/countries_2011-01-01.csv": "CHANGED_FILE",
    }
    assert f"ingest transactions: REJECTED transactions/{paths[2].name}: CHANGED_FILE" in warehouse.said
    assert_same_state(warehouse.state(), before)

    # told to replace, it takes what can be read; what cannot leaves the old rows in force
    land_masters(warehouse)
    assert exit_code(warehouse.run(replace=True)) == 3
    reason = refused(warehouse)
    assert reason[f"transactions/{paths[1].name}"].startswith("WRONG_ENCODING")
    assert reason[f"transactions/{paths[2].name}"].startswith("EMPTY")
    assert sorted(amounts(warehouse)) == ["NEW", "T04", "T08", "T12"]
    for path, content in zip(paths, kept, strict=True):
        path.write_bytes(content)
    assert exit_code(warehouse.run(replace=True)) == 0
    assert_same_state(warehouse.state(), before)
    assert_balanced(warehouse, 4)


def test_replaced_transactions_take_back_all_that_came_from_them(warehouse):
    """Rows vanish, change and come; duplicates and conflicts elsewhere that hung on them move."""
    open_shop(warehouse)
    old = [
        sale("GONE"), sale("CHANGED"), sale("TWIN"), sale("RIVAL"), sale("BAD", quantity="x"), sale("LOST", code="Z"),
    ]  # fmt: skip
    new = [
        sale("CHANGED", quantity=7, at="2011-02-01 10:00:00"), sale("CAME"), sale("LATER", quantity=2),
        sale("EARLIER"), sale("EARLIER_TOO", quantity=3), sale("BAD", quantity="y"), sale("NEWER"), sale("NEWER"),
    ]  # fmt: skip
    land_sales(warehouse, "2011-01-01T04", sale("EARLIER"), sale("EARLIER_TOO"))
    path = land_sales(warehouse, "2011-01-01T08", *old)
    land_sales(warehouse, "2011-01-01T12", sale("TWIN"), sale("RIVAL", quantity=5), sale("LATER"), sale("LOST"))
    warehouse.run()
    before = warehouse.state()
    assert reasons(warehouse) == {
        "RIVAL": "DUPLICATE_CONFLICT", "BAD": "MALFORMED", "LOST": "DUPLICATE_CONFLICT UNKNOWN_PRODUCT",
    }  # fmt: skip
    assert_balanced(warehouse, 12)
    original = (warehouse.landing / path).read_bytes()

    warehouse.land(path, new, TRANSACTIONS)
    assert exit_code(warehouse.run(replace=True)) == 0
    assert amounts(warehouse) == {
        "EARLIER": "1.5000", "EARLIER_TOO": "1.5000", "CHANGED": "10.5000", "CAME": "1.5000", "LATER": "3.0000",
        "NEWER": "1.5000", "TWIN": "1.5000", "RIVAL": "7.5000", "LOST": "1.5000",
    }  # fmt: skip
    assert reasons(warehouse) == {
        "EARLIER_TOO": "DUPLICATE_CONFLICT", "LATER": "DUPLICATE_CONFLICT", "BAD": "MALFORMED",
    }  # fmt: skip
    assert_balanced(warehouse, 14)
    assert_agrees_with_oracle(warehouse)

    # by nothing but a header, and back, without Gold in between; then for good
    warehouse.land(path, [], TRANSACTIONS)
    warehouse.job(ingest_transactions.run, Scope(), True)
    warehouse.land(path, new, TRANSACTIONS)
    warehouse.run(replace=True)
    assert_balanced(warehouse, 14)
    (warehouse.landing / path).write_bytes(original)
    assert exit_code(warehouse.run(replace=True)) == 0
    assert_balanced(warehouse, 12)
    assert_same_state(warehouse.state(), before)
    assert_agrees_with_oracle(warehouse)


def test_replacing_a_file_that_has_copies_loses_and_doubles_nothing(warehouse):
    open_shop(warehouse)
    same, other = [sale("S1"), sale("S2", code="Z")], [sale("O1"), sale("O2", code="Z")]
    land_sales(warehouse, "2011-01-01T08_b", *same)
    land_sales(warehouse, "2011-01-01T08_d", *other)
    land_sales(warehouse, "2011-01-01T12_b", *[line.replace("S", "R") for line in same])
    warehouse.run()
    land_sales(warehouse, "2011-01-01T12_a", *[line.replace("S", "R") for line in same])
    warehouse.run()
    assert sources(warehouse)[1] == ("R2", "transactions/transactions_2011-01-01T12_a.csv")

    # b becomes what d is, while its old content comes under a lesser name; the copy 12_a becomes its own file
    land_sales(warehouse, "2011-01-01T08_b", *other)
    land_sales(warehouse, "2011-01-01T08_a", *same)
    land_sales(warehouse, "2011-01-01T12_a", sale("N1"))
    assert exit_code(warehouse.run(replace=True)) == 0
    assert sorted(amounts(warehouse)) == ["N1", "O1", "R1", "S1"]
    assert sources(warehouse) == [
        ("O2", "transactions/transactions_2011-01-01T08_b.csv"),
        ("R2", "transactions/transactions_2011-01-01T12_b.csv"),
        ("S2", "transactions/transactions_2011-01-01T08_a.csv"),
    ]
    assert_balanced(warehouse, 7)
    assert_agrees_with_oracle(warehouse)


OLD = {"00": [sale("A1"), sale("A2")], "04": [sale("B1"), sale("B2", code="Z")], "08": [sale("C1"), sale("C2")]}
NEW = {"00": [sale("A3")], "04": [sale("B1", quantity=2)], "08": [sale("C3")]}


def land_windows(warehouse, windows, seconds):
    """A file for each window, with a time stamp of its own."""
    for hour, lines in windows.items():
        os.utime(warehouse.landing / land_sales(warehouse, f"2011-01-01T{hour}", *lines), (seconds, seconds))


def test_contents_that_come_back_before_gold_knew_of_their_replacement_are_there_once(warehouse):
    """Their rows are others', the same with other values, or a copy's."""
    open_shop(warehouse)
    land_windows(warehouse, OLD, 1)
    warehouse.run()
    before = warehouse.state()
    replaced = {"A3": "1.5000", "B1": "3.0000", "C1": "1.5000", "C2": "1.5000", "C3": "1.5000"}

    land_windows(warehouse, NEW, 2)
    copy = warehouse.landing / land_sales(warehouse, "2011-01-01T08_b", *OLD["08"])
    warehouse.job(ingest_transactions.run, Scope(), True)
    land_windows(warehouse, OLD, 3)
    assert exit_code(warehouse.run()) == 3
    assert set(refused(warehouse).values()) == {"CHANGED_FILE"} and len(refused(warehouse)) == 3
    assert amounts(warehouse) == replaced | {"C3": "1.5000"} and reasons(warehouse) == {}
    assert_balanced(warehouse, 5)
    assert {outcome.line for outcome in warehouse.run()} == {"nothing pending"}

    assert exit_code(warehouse.run(replace=True)) == 0
    assert_agrees_with_oracle(warehouse)
    copy.unlink()
    assert_same_state(warehouse.state(), before)

    # the same by a run that is cut short between Bronze and the record
    land_windows(warehouse, NEW, 4)
    warehouse.job(ingest_transactions.run, Scope(), True)
    land_windows(warehouse, OLD, 5)
    with pytest.raises(SimulatedCrash):
        warehouse.run(replace=True, failpoint="after-transactions-commit:raise")
    assert exit_code(warehouse.run(replace=True)) == 0
    assert_same_state(warehouse.state(), before)
    assert_balanced(warehouse, 6)


def test_contents_that_are_put_back_with_their_old_time_stamp_are_seen(warehouse):
    open_shop(warehouse)
    land_windows(warehouse, OLD, 1)
    warehouse.run()
    before = warehouse.state()
    land_windows(warehouse, NEW, 2)
    assert exit_code(warehouse.run(replace=True)) == 0
    land_windows(warehouse, OLD, 1)
    assert exit_code(warehouse.run()) == 3
    assert set(refused(warehouse).values()) == {"CHANGED_FILE"}
    assert sorted(amounts(warehouse)) == ["A3", "B1", "C3"]
    assert exit_code(warehouse.run(replace=True)) == 0
    assert_same_state(warehouse.state(), before)


def test_a_copy_that_was_moved_away_keeps_the_rows_of_a_file_that_is_replaced(warehouse, monkeypatch):
    """Its name is theirs from then on, also where the run is cut short after each step."""
    open_shop(warehouse)
    rows = [sale("T1"), sale("T2", code="Z")]
    path = land_sales(warehouse, "2011-01-01T08_a", *rows)
    copies = [warehouse.landing / land_sales(warehouse, f"2011-01-01T08_{name}", *rows) for name in "bc"]
    warehouse.run()
    kept = [copy.read_bytes() for copy in copies]
    for copy in copies:
        copy.unlink()

    warehouse.land(path, [sale("T3")], TRANSACTIONS)
    with pytest.raises(SimulatedCrash):
        warehouse.run(replace=True, failpoint="after-transactions-commit:raise")
    warehouse.run(replace=True)
    assert sorted(amounts(warehouse)) == ["T1", "T3"]
    assert sources(warehouse) == [("T2", "transactions/transactions_2011-01-01T08_b.csv")]
    assert_balanced(warehouse, 3)

    copies[0].write_text(f"{TRANSACTIONS}\n{sale('T4')}\n")
    with monkeypatch.context() as patched:
        patched.setattr(landing, "record", crash)
        with pytest.raises(SimulatedCrash):
            warehouse.run(replace=True)
    warehouse.run(replace=True)
    assert sources(warehouse) == [("T2", "transactions/transactions_2011-01-01T08_c.csv")]
    assert_balanced(warehouse, 4)
    copies[1].write_bytes(kept[1])
    assert_agrees_with_oracle(warehouse)


def test_a_replacement_without_rows_that_is_cut_short_is_made_good_by_any_run(warehouse, monkeypatch):
    open_shop(warehouse)
    path = land_sales(warehouse, "2011-01-01T08", sale("T1"), sale("T2"))
    land_sales(warehouse, "2011-01-01T12", sale("T3"))
    warehouse.run()
    warehouse.land(path, [], TRANSACTIONS)
    with monkeypatch.context() as patched:
        patched.setattr(landing, "record", crash)
        with pytest.raises(SimulatedCrash):
            warehouse.run(replace=True)
    land_sales(warehouse, "2011-01-01T16", sale("T1", at="2011-01-01 17:00:00"))
    assert exit_code(warehouse.run()) == 0
    assert_balanced(warehouse, 2)
    assert_agrees_with_oracle(warehouse)


def test_gold_for_other_windows_does_not_stumble_over_a_replacement_that_waits(warehouse):
    open_shop(warehouse)
    path = land_sales(warehouse, "2011-01-31T08", sale("T1"), sale("T2"))
    warehouse.run()
    warehouse.land(path, [sale("T1", quantity=2), sale("T2")], TRANSACTIONS)
    land_sales(warehouse, "2011-01-10T08", sale("T1", quantity=3))
    land_sales(warehouse, "2011-02-10T08", sale("T5"))
    warehouse.job(ingest_transactions.run, Scope(), True)
    warehouse.job(postgres_load_fact.run, Scope(until=datetime(2011, 1, 20, tzinfo=UTC)))
    assert amounts(warehouse) == {"T1": "4.5000", "T2": "1.5000"} and reasons(warehouse) == {"T1": "DUPLICATE_CONFLICT"}
    warehouse.run()
    assert_balanced(warehouse, 4)
    assert_agrees_with_oracle(warehouse)


def test_a_file_that_was_too_large_is_read_once_the_limit_is_raised(warehouse):
    open_shop(warehouse)
    land_sales(warehouse, "2011-01-01T08", sale("T1"), sale("T2"))
    warehouse.land("transactions/transactions_2011-01-01T12.csv.gz", [sale("T3"), sale("T4")], TRANSACTIONS)
    ingest = ingest_transactions.run
    for limit, rejected in ((100, 2), (100, 0), (90, 2), (1000, 0)):
        outcome = warehouse.job(ingest, Scope(), file_bytes=limit)
        assert outcome.rejected == rejected, limit
    assert refused(warehouse) == {}
    warehouse.run()
    assert_agrees_with_oracle(warehouse)


def test_a_replaced_snapshot_re_decides_what_hung_on_its_rows(warehouse):
    """A product, a price and countries vanish with their snapshots, come back, and a price of the past changes."""
    open_shop(warehouse)
    warehouse.land("countries/countries_2011-01-02.csv", ["US,United States,America,,"], COUNTRIES)
    warehouse.land("products/products_2011-01-03.csv", ["A,Apple,Fruit,3.00,9", BRUSH, "C,Cup,Home,4.00,1"], PRODUCTS)
    rows = [
        sale("A1", at="2011-01-02 10:00:00"), sale("A4", at="2011-01-04 10:00:00"),
        sale(" C4 ", code="C ", quantity="+2", at="2011-01-04 10:00:00"), sale("B4", code="B", country="FR"),
        sale("U4", code="B", country="US"),
    ]  # fmt: skip
    land_sales(warehouse, "2011-01-04T08", *rows)
    warehouse.run()
    before = warehouse.state()
    assert amounts(warehouse) == {"A1": "1.5000", "A4": "3.0000", "C4": "8.0000", "B4": "2.0000", "U4": "2.0000"}

    warehouse.land("products/products_2011-01-03.csv", [BRUSH], PRODUCTS)
    warehouse.land("countries/countries_2011-01-02.csv", [], COUNTRIES)
    warehouse.land("countries/countries_2011-01-01.csv", [BRITAIN], COUNTRIES)
    assert exit_code(warehouse.run(replace=True)) == 0
    assert amounts(warehouse) == {"A1": "1.5000", "A4": "1.5000"}
    assert sorted(
        warehouse.query("select transaction_id, stock_code, quantity, reason, status from transactions_error")
    ) == [
        (" C4 ", "C ", "+2", "UNKNOWN_PRODUCT", "OPEN"),
        ("B4", "B", "1", "UNKNOWN_COUNTRY", "OPEN"),
        ("U4", "B", "1", "UNKNOWN_COUNTRY", "OPEN"),
    ]
    assert_balanced(warehouse, 5)
    assert_agrees_with_oracle(warehouse)
    assert_is_what_a_rebuild_gives(warehouse)

    warehouse.land("products/products_2011-01-03.csv", ["A,Apple,Fruit,3.00,9", BRUSH, "C,Cup,Home,4.00,1"], PRODUCTS)
    land_masters(warehouse)
    warehouse.land("countries/countries_2011-01-02.csv", ["US,United States,America,,"], COUNTRIES)
    warehouse.run(replace=True)
    assert_same_state(warehouse.state(), before)

    warehouse.land("products/products_2011-01-01.csv", ["A,Apple,Fruit,1.25,10", BRUSH], PRODUCTS)
    warehouse.run(replace=True)
    assert amounts(warehouse) == {"A1": "1.2500", "A4": "3.0000", "C4": "8.0000", "B4": "2.0000", "U4": "2.0000"}
    assert_balanced(warehouse, 5)
    assert_agrees_with_oracle(warehouse)


def test_a_country_that_is_taken_back_is_also_missed_where_something_else_was_wrong(warehouse):
    open_shop(warehouse)
    there, gone = ["US,United States,America,,"], []
    warehouse.land("countries/countries_2011-01-02.csv", there, COUNTRIES)
    early = "2010-12-31 10:00:00"
    land_sales(warehouse, "2011-01-04T08", sale("NEW", code="Z", country=" US"), sale("EARLY", at=early, country="US"))
    warehouse.load()
    wrong = {"NEW": "UNKNOWN_PRODUCT", "EARLY": "NO_PRICE"}
    assert reasons(warehouse) == wrong
    for countries, expected in ((gone, dict.fromkeys(wrong, "UNKNOWN_COUNTRY")), (there, wrong)):
        warehouse.land("countries/countries_2011-01-02.csv", countries, COUNTRIES)
        warehouse.load(replace=True)
        assert reasons(warehouse) == expected
        assert_balanced(warehouse, 2)


def test_a_shop_whose_last_fact_is_taken_back_is_what_a_rebuild_gives(warehouse):
    open_shop(warehouse)
    land_sales(warehouse, "2011-01-01T08", sale("T1", customer=""))
    warehouse.run()
    assert amounts(warehouse) == {"T1": "1.5000"}
    land_sales(warehouse, "2011-01-01T08", sale("T1", code="no such product", customer=""))
    warehouse.run(replace=True)
    assert amounts(warehouse) == {}
    assert reasons(warehouse) == {"T1": "UNKNOWN_PRODUCT"}
    assert_is_what_a_rebuild_gives(warehouse)
    assert warehouse.query("select customer_sk from dim_customers") == [(0,)]


def test_a_gold_of_an_earlier_version_learns_what_its_books_hold(warehouse):
    open_shop(warehouse)
    land_windows(warehouse, OLD, 1)
    warehouse.run()
    land_windows(warehouse, {"00": NEW["00"]}, 2)
    warehouse.job(ingest_transactions.run, Scope(), True)
    warehouse.change("alter table ops.landed_files drop column in_gold cascade")
    warehouse.job(init_warehouse.run)
    assert warehouse.query("select rows, in_gold from ops.unsettled_files order by rows") == [(0, 2), (1, 0)]
    warehouse.run()
    assert_balanced(warehouse, 5)
    assert_agrees_with_oracle(warehouse)
