"""Stewards mend rows in error: what they decide holds wherever the row is read again, and the books balance."""

import json
from typing import Any

import psycopg2
import pytest
from harness import COUNTRIES, PRODUCTS, TRANSACTIONS, Warehouse, assert_same_state
from small_shop import APPLE, BRUSH, amounts, assert_balanced, land_masters, land_sales, open_shop, sale

from warehouse import gold
from warehouse.session import SimulatedCrash

pytestmark = pytest.mark.slow

JANUARY = "2011-01-01T08"
NO_NUMBER = "quantity 'many' is not a whole number of 32 bits"


def errors(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """(transaction_id as landed, reason, status, attempts) of every error."""
    return warehouse.query(
        "select transaction_id, reason, status, attempts from transactions_error"
        " order by transaction_id, quantity, batch_id, error_id"
    )


def error_id(warehouse: Warehouse, transaction: str, **columns: str) -> int:
    """The one error that landed like this."""
    where = " and ".join(["transaction_id = %s", *[f"{column} = %s" for column in columns]])
    [(found,)] = warehouse.query(
        f"select error_id from transactions_error where {where}", [transaction, *columns.values()]
    )
    return int(found)


def call(warehouse: Warehouse, statement: str, *arguments: Any) -> tuple[Any, ...]:
    """One call of a function, committed; its row."""
    connection = warehouse.context().connect()
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchone()
    finally:
        connection.close()


def correct(warehouse: Warehouse, error: int, **values: Any) -> None:
    call(warehouse, "select correct_error(%s, %s)", error, json.dumps(values))


def discard(warehouse: Warehouse, error: int) -> None:
    call(warehouse, "select discard_error(%s, 'a test sale')", error)


def retry(warehouse: Warehouse, error: int) -> None:
    call(warehouse, "select ops.retry_error(%s)", error)


def assert_whole(warehouse: Warehouse, landed: int) -> None:
    """The books balance, and the ledger's too."""
    assert_balanced(warehouse, landed)
    assert warehouse.query("select sum(rows_in), sum(rows_fact), sum(rows_error) from ops.etl_runs") == [
        warehouse.books()[:3]
    ]
    assert warehouse.query("select count(*) from ops.duplicates") == [warehouse.books()[3:]]


def assert_the_star_follows(warehouse: Warehouse) -> None:
    """The star holds Gold's facts."""
    columns = "transaction_id, product_sk, quantity, unit_price, total_amount"
    assert sorted(warehouse.lake(f"select {columns} from ecommerce_dw.fact_transactions")) == sorted(
        warehouse.query(f"select {columns} from fact_transactions")
    )


def three_sales(warehouse: Warehouse) -> None:
    land_masters(warehouse)
    land_sales(warehouse, JANUARY, sale("GOOD"), sale("ABROAD", country="XX"), sale("MANY", quantity="many"))
    warehouse.load()


@pytest.fixture
def shop(warehouse: Warehouse) -> Warehouse:
    """A good sale, one to an unknown country, one whose quantity is no number."""
    return warehouse.prepared(three_sales)


def test_a_corrected_row_becomes_a_fact_and_its_error_is_resolved_beside_it(shop):
    correct(shop, error_id(shop, "ABROAD"), country_id="GB")
    correct(shop, error_id(shop, "MANY"), quantity=6, customer_id=None)
    assert errors(shop) == [("ABROAD", "UNKNOWN_COUNTRY", "OPEN", 1), ("MANY", "MALFORMED", "OPEN", 1)]

    said = {outcome.job: outcome.line for outcome in shop.run()}

    assert said["gold"] == "0 landed = 2 facts + -2 errors + 0 duplicates (2 corrected)"
    assert said["detect"].startswith("3 scored")
    assert amounts(shop) == {"GOOD": "1.5000", "ABROAD": "1.5000", "MANY": "9.0000"}
    assert errors(shop) == [("ABROAD", "UNKNOWN_COUNTRY", "RESOLVED", 2), ("MANY", "MALFORMED", "RESOLVED", 2)]
    assert shop.query(
        "select transaction_id, quantity, customer_id, country_id, correction, transaction_key, detail,"
        " resolved_by = session_user, resolved_at is not null from transactions_error order by 1"
    ) == [
        ("ABROAD", "1", "C1", "XX", {"country_id": "GB"}, "ABROAD", "no country XX", True, True),
        (
            "MANY", "many", "C1", "GB", {"quantity": 6, "customer_id": None}, "MANY",
            NO_NUMBER, True, True,
        ),
    ]  # fmt: skip
    assert shop.query("select country_id, customer_id from fact_transactions where transaction_id <> 'GOOD'") == [
        ("GB", "C1"),
        ("GB", None),
    ]
    assert_whole(shop, 3)
    assert_the_star_follows(shop)
    assert {outcome.line for outcome in shop.run()} == {"nothing pending"}


def test_a_correction_that_does_not_help_stays_open_with_the_new_reason(shop):
    error = error_id(shop, "MANY")
    correct(shop, error, quantity="2", stock_code="Z")
    shop.load()
    assert errors(shop)[1] == ("MANY", "UNKNOWN_PRODUCT", "OPEN", 2)
    correct(shop, error, quantity="none")
    shop.load()
    assert errors(shop)[1] == ("MANY", "MALFORMED", "OPEN", 3)
    assert shop.query("select detail, correction from transactions_error where error_id = %s", [error]) == [
        ("quantity 'none' is not a whole number of 32 bits", {"quantity": "none"})
    ]
    assert_whole(shop, 3)
    correct(shop, error, quantity="2")
    shop.load()
    assert errors(shop)[1] == ("MANY", "MALFORMED", "RESOLVED", 4)
    assert amounts(shop) == {"GOOD": "1.5000", "MANY": "3.0000"}
    assert_whole(shop, 3)


def test_a_corrected_id_competes_for_the_transaction_that_it_names(warehouse):
    """The earliest window wins, as among landed rows; the loser is an error, corrected or not."""
    open_shop(warehouse)
    land_sales(warehouse, "2011-01-01T08", sale("T1", code="Z"))
    land_sales(warehouse, "2011-01-01T12", sale("T2"))
    land_sales(warehouse, "2011-01-01T16", sale("T3", quantity="x"))
    warehouse.load()
    first, last = error_id(warehouse, "T1"), error_id(warehouse, "T3")

    correct(warehouse, last, transaction_id=" T2 ", quantity=5)
    warehouse.load()
    assert errors(warehouse) == [("T1", "UNKNOWN_PRODUCT", "OPEN", 1), ("T3", "DUPLICATE_CONFLICT", "OPEN", 2)]
    assert amounts(warehouse) == {"T2": "1.5000"}
    assert_whole(warehouse, 3)

    correct(warehouse, first, transaction_id="T2", stock_code="B")
    warehouse.load()
    assert amounts(warehouse) == {"T2": "2.0000"}, "the row of 08:00 is before the fact of 12:00"
    assert errors(warehouse) == [
        ("T1", "UNKNOWN_PRODUCT", "RESOLVED", 2),
        ("T2", "DUPLICATE_CONFLICT", "OPEN", 1),
        ("T3", "DUPLICATE_CONFLICT", "OPEN", 3),
    ]
    assert_whole(warehouse, 3)

    correct(warehouse, first, transaction_id="T4", stock_code="B")
    warehouse.load()
    assert amounts(warehouse) == {"T2": "1.5000", "T4": "2.0000"}, "what it had displaced is back"
    assert errors(warehouse)[0][:3] == ("T1", "UNKNOWN_PRODUCT", "RESOLVED")
    assert len(errors(warehouse)) == 2
    assert_whole(warehouse, 3)


def test_a_row_corrected_into_an_exact_duplicate_counts_as_one(shop):
    land_sales(shop, "2011-01-01T12", sale("GOOD", quantity="one"))
    shop.load()
    error = error_id(shop, "GOOD")
    correct(shop, error, quantity="1")
    shop.load()
    assert amounts(shop) == {"GOOD": "1.5000"}
    assert errors(shop)[1] == ("GOOD", "MALFORMED", "RESOLVED", 2)
    assert shop.query("select row_id from ops.duplicates") == [(error,)]
    assert_whole(shop, 4)
    correct(shop, error, quantity="1", transaction_id="OTHER")
    shop.load()
    assert amounts(shop) == {"GOOD": "1.5000", "OTHER": "1.5000"}
    assert_whole(shop, 4)


def test_a_discarded_row_is_an_error_for_ever_and_competes_with_none(warehouse):
    open_shop(warehouse)
    land_sales(warehouse, "2011-01-01T08", sale("T1", country="DE"), sale("T2", quantity="x"))
    land_sales(warehouse, "2011-01-01T12", sale("T1", quantity=2), sale("T1", quantity=2))
    warehouse.load()
    assert amounts(warehouse) == {}, "the row to DE is taken for T1, and has no country"
    error = error_id(warehouse, "T1", country_id="DE")

    discard(warehouse, error)
    discard(warehouse, error_id(warehouse, "T2"))
    assert [row[2] for row in errors(warehouse)].count("DISCARDED") == 2, "at once"
    warehouse.load()
    assert amounts(warehouse) == {"T1": "3.0000"}
    assert [row[1:3] for row in errors(warehouse)] == [("UNKNOWN_COUNTRY", "DISCARDED"), ("MALFORMED", "DISCARDED")]
    assert_whole(warehouse, 4)

    warehouse.land("countries/countries_2011-01-02.csv", ["DE,Germany,Europe,51,10"], COUNTRIES)
    land_sales(warehouse, "2011-01-01T16", sale("T1", quantity=7))
    warehouse.load()
    assert amounts(warehouse) == {"T1": "3.0000"}, "neither the country nor a rival wakes it"
    assert [row[1:3] for row in errors(warehouse)] == [
        ("UNKNOWN_COUNTRY", "DISCARDED"),
        ("DUPLICATE_CONFLICT", "OPEN"),
        ("MALFORMED", "DISCARDED"),
    ]
    assert_whole(warehouse, 5)

    retry(warehouse, error)
    retry(warehouse, error_id(warehouse, "T2"))
    assert [row[2] for row in errors(warehouse)] == ["OPEN"] * 3
    warehouse.load()
    assert amounts(warehouse) == {"T1": "1.5000"}, "it is the earliest again, and has its country"
    assert [row[1:3] for row in errors(warehouse)] == [("DUPLICATE_CONFLICT", "OPEN")] * 3 + [("MALFORMED", "OPEN")]
    assert warehouse.query("select * from ops.error_verdicts") == []
    assert_whole(warehouse, 5)


def test_a_steward_can_take_back_what_he_corrected(shop):
    error = error_id(shop, "MANY")
    correct(shop, error, quantity=60)
    shop.load()
    correct(shop, error, quantity=6)
    assert errors(shop)[1][2] == "RESOLVED", "until the fact has followed"
    assert_balanced(shop, 3)
    shop.load()
    assert amounts(shop)["MANY"] == "9.0000"
    assert_whole(shop, 3)

    discard(shop, error)
    assert_balanced(shop, 3)
    shop.load()
    assert amounts(shop) == {"GOOD": "1.5000"}
    assert errors(shop)[1] == ("MANY", "MALFORMED", "DISCARDED", 4)
    assert_whole(shop, 3)

    retry(shop, error)
    shop.load()
    assert amounts(shop)["MANY"] == "9.0000", "the correction stands"
    assert_whole(shop, 3)

    correct(shop, error, quantity="many")
    shop.load()
    assert amounts(shop) == {"GOOD": "1.5000"}
    assert errors(shop)[1][1:3] == ("MALFORMED", "OPEN")
    assert_whole(shop, 3)


def test_a_correction_holds_whenever_its_row_is_read_again(shop):
    """A replaced file in the window, an earlier rival, late reference data."""
    correct(shop, error_id(shop, "ABROAD"), country_id="GB")
    correct(shop, error_id(shop, "MANY"), quantity=2, stock_code="NEW")
    other = [sale("OTHER"), sale("GOOD", quantity=9)]
    land_sales(shop, "2011-01-01T08_b", *other)
    shop.load()
    land_sales(shop, "2011-01-01T08_b", sale("OTHER", quantity=3))
    shop.load(replace=True)
    assert amounts(shop) == {"GOOD": "1.5000", "ABROAD": "1.5000", "OTHER": "4.5000"}
    assert [row[1:3] for row in errors(shop)] == [("UNKNOWN_COUNTRY", "RESOLVED"), ("UNKNOWN_PRODUCT", "OPEN")]
    assert_whole(shop, 4)

    shop.land("products/products_2010-12-31.csv", ["NEW,New,,4.00,1", APPLE.replace("1.50", "1.25")], PRODUCTS)
    shop.land("countries/countries_2011-01-02.csv", ["XX,Atlantis,,,"], COUNTRIES)
    said = {outcome.job: outcome.line for outcome in shop.load()}
    assert said["gold"] == "0 landed = 1 facts + -1 errors + 0 duplicates (1 corrected)"
    assert amounts(shop)["MANY"] == "8.0000"
    assert [row[1:3] for row in errors(shop)] == [("UNKNOWN_COUNTRY", "RESOLVED"), ("MALFORMED", "RESOLVED")]
    assert shop.query("select country_id from fact_transactions where transaction_id = 'ABROAD'") == [("GB",)]
    assert_whole(shop, 4)

    land_sales(shop, "2011-01-01T04", sale("ABROAD", quantity=8), sale("MANY", quantity=2, code="NEW"))
    shop.load()
    assert amounts(shop)["ABROAD"] == "12.0000"
    assert [row[1:3] for row in errors(shop)] == [("DUPLICATE_CONFLICT", "OPEN"), ("MALFORMED", "RESOLVED")]
    assert shop.query("select count(*) from ops.duplicates") == [(1,)]
    assert shop.query("select resolved_at, resolved_by from transactions_error where status = 'OPEN'") == [(None, None)]
    assert_whole(shop, 6)


def test_a_correction_goes_with_its_file_and_comes_again_with_it(shop):
    path = shop.landing / f"transactions/transactions_{JANUARY}.csv"
    content = path.read_bytes()
    correct(shop, error_id(shop, "ABROAD"), country_id="GB")
    discard(shop, error_id(shop, "MANY"))
    shop.run()
    before = shop.state()

    land_sales(shop, JANUARY, sale("GOOD"), sale("ABROAD", country="YY"))
    shop.run(replace=True)
    assert errors(shop) == [("ABROAD", "UNKNOWN_COUNTRY", "OPEN", 1)]
    assert_whole(shop, 2)

    path.write_bytes(content)
    shop.run(replace=True)
    assert_same_state(shop.state(), before)
    assert_whole(shop, 3)


def test_it_is_the_same_whether_the_rival_or_the_correction_comes_first(warehouse):
    def three_errors(warehouse: Warehouse) -> None:
        land_masters(warehouse)
        land_sales(warehouse, "2011-01-01T08", sale("T1", quantity="x"), sale("T2", code="NEW"), sale("T3", country=""))
        warehouse.run()

    states = []
    for rival_first in (True, False):
        warehouse.prepared(three_errors)
        rows = [error_id(warehouse, key) for key in ("T1", "T2", "T3")]

        def decide(rows: list[int] = rows) -> None:
            correct(warehouse, rows[0], quantity="3", transaction_id="T4")
            correct(warehouse, rows[1], customer_id="C9")
            discard(warehouse, rows[2])

        def rivals() -> None:
            warehouse.land("products/products_2011-01-01.csv", [APPLE, BRUSH, "NEW,New,,4,1"], PRODUCTS)
            land_sales(warehouse, "2011-01-01T04", sale("T4", code="B"), sale("T2", quantity=2, code="B"))
            land_sales(warehouse, "2011-01-01T12", sale("T3"), sale("T2", code="NEW", customer="C9"))

        for step in (rivals, decide) if rival_first else (decide, rivals):
            step()
            warehouse.run(replace=True)
        assert_whole(warehouse, 7)
        states.append(warehouse.state())
        assert amounts(warehouse) == {"T4": "2.0000", "T2": "4.0000", "T3": "1.5000"}
    for state in states:  # why it was in error when the steward looked at it depends on when that was
        state["errors"] = [
            (*row[:8], *([None] * 2 if row[14] != "OPEN" else row[8:10]), *row[10:]) for row in state["errors"]
        ]
    assert_same_state(*states)


@pytest.mark.parametrize("point", ["before-gold-commit", "after-gold-commit"])
def test_a_run_that_is_killed_loses_no_correction_and_takes_none_twice(shop, point):
    correct(shop, error_id(shop, "ABROAD"), country_id="GB")
    discard(shop, error_id(shop, "MANY"))
    with pytest.raises(SimulatedCrash):
        shop.load(failpoint=f"{point}:raise")
    assert_balanced(shop, 3)
    shop.load()
    assert errors(shop) == [("ABROAD", "UNKNOWN_COUNTRY", "RESOLVED", 2), ("MANY", "MALFORMED", "DISCARDED", 2)]
    assert amounts(shop) == {"GOOD": "1.5000", "ABROAD": "1.5000"}
    assert_whole(shop, 3)


def meanwhile(shop: Warehouse, monkeypatch: pytest.MonkeyPatch, *steps: Any) -> None:
    """Let stewards act while `gold` has decided and not settled yet."""
    settle = gold.settle

    def act_and_settle(*arguments: Any) -> Any:
        for step in steps:
            step()
        return settle(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(gold, "settle", act_and_settle)
        shop.load()
    assert_whole(shop, shop.books()[0])


def test_what_stewards_decide_while_gold_runs_is_carried_out_by_the_next_run(shop, monkeypatch):
    abroad, many = error_id(shop, "ABROAD"), error_id(shop, "MANY")
    correct(shop, abroad, country_id="FR")
    correct(shop, many, quantity=5)
    meanwhile(
        shop,
        monkeypatch,
        lambda: correct(shop, abroad, country_id="GB", transaction_id="HOME"),
        lambda: discard(shop, many),
    )
    assert amounts(shop) == {"GOOD": "1.5000", "ABROAD": "1.5000", "MANY": "7.5000"}
    assert shop.query("select correction from transactions_error where error_id = %s", [abroad]) == [
        ({"country_id": "GB", "transaction_id": "HOME"},)
    ]
    shop.load()
    assert amounts(shop) == {"GOOD": "1.5000", "HOME": "1.5000"}
    assert [row[2] for row in errors(shop)] == ["RESOLVED", "DISCARDED"]
    assert_whole(shop, 3)


def test_a_row_that_heals_while_stewards_decide_on_it_is_not_counted_twice(shop, monkeypatch):
    """Its country comes; one steward gives it another id, another discards its neighbour, a third opens one again."""
    land_sales(shop, "2011-01-01T12", sale("NEXT", country="XX"), sale("THIRD", country="XX"))
    shop.load()
    abroad, neighbour, third = (error_id(shop, key) for key in ("ABROAD", "NEXT", "THIRD"))
    discard(shop, third)
    shop.load()
    retry(shop, third)
    shop.land("countries/countries_2011-01-02.csv", ["XX,Atlantis,,,"], COUNTRIES)
    meanwhile(
        shop,
        monkeypatch,
        lambda: correct(shop, abroad, transaction_id="HOME"),
        lambda: discard(shop, neighbour),
        lambda: correct(shop, third, transaction_id="FOURTH"),
    )
    assert sorted(amounts(shop)) == ["ABROAD", "GOOD", "NEXT", "THIRD"]
    shop.load()
    assert sorted(amounts(shop)) == ["FOURTH", "GOOD", "HOME"]
    assert [row[::2] for row in errors(shop)] == [
        ("ABROAD", "RESOLVED"),
        ("MANY", "OPEN"),
        ("NEXT", "DISCARDED"),
        ("THIRD", "RESOLVED"),
    ]
    assert_whole(shop, 5)


def test_a_record_that_could_not_be_cut_is_mended_by_giving_its_columns(warehouse):
    open_shop(warehouse)
    quoting = 'Q1,"O1" ,A,1,2011-01-01 10:00:00,C1,GB'
    land_sales(warehouse, JANUARY, "SHORT,O1,A,1,2011-01-01 10:00:00,C1", quoting, sale("NUL", order="a\0b"))
    warehouse.load()
    [(uncut,)] = warehouse.query("select error_id from transactions_error where transaction_id is null")
    correct(warehouse, error_id(warehouse, "SHORT"), country_id="GB")
    correct(warehouse, uncut, transaction_id="Q1", quantity=1)
    correct(warehouse, error_id(warehouse, "NUL"), quantity=2)
    warehouse.load()
    assert amounts(warehouse) == {"SHORT": "1.5000"}
    assert warehouse.query("select detail from transactions_error where status = 'OPEN' order by transaction_id") == [
        ("the record has a NUL character",),
        ("order_id is empty; stock_code is empty; invoice_date is empty",),
    ]
    correct(warehouse, error_id(warehouse, "NUL"), order_id="ab")
    whole = dict(zip(TRANSACTIONS.split(","), quoting.replace('"O1" ', "O1").split(","), strict=True))
    correct(warehouse, uncut, **whole)
    warehouse.load()
    assert sorted(amounts(warehouse)) == ["NUL", "Q1", "SHORT"]
    assert warehouse.query("select raw_record from transactions_error where error_id = %s", [uncut]) == [(quoting,)]
    assert_whole(warehouse, 3)


NO_CORRECTION = "a correction is an object of columns and values"
REFUSED = {
    None: NO_CORRECTION,
    "null": NO_CORRECTION,
    "[]": NO_CORRECTION,
    "{}": NO_CORRECTION,
    '"GB"': NO_CORRECTION,
    '{"country": "GB"}': "a transaction has no column country; its columns are transaction_id, order_id,",
    '{"status": "RESOLVED", "quantity": 1}': "a transaction has no column status",
    '{"quantity": [1]}': "the value of quantity is neither text nor a number nor null",
    '{"quantity": {"a": 1}}': "the value of quantity is neither text nor a number nor null",
    '{"customer_id": true}': "the value of customer_id is neither text nor a number nor null",
}


def test_what_is_no_correction_is_refused(warehouse):
    for correction, complaint in REFUSED.items():
        with pytest.raises(psycopg2.errors.InvalidParameterValue, match=complaint):
            call(warehouse, "select correct_error(1, %s)", correction)


def test_an_error_that_is_not_there_and_a_discard_without_a_note_are_refused(warehouse):
    for statement in (
        """select correct_error(7, '{"quantity": 1}')""",
        "select discard_error(7, 'why')",
        "select ops.retry_error(7)",
    ):
        with pytest.raises(psycopg2.errors.NoDataFound, match="there is no error 7"):
            call(warehouse, statement)
    for notes in (None, "", "  \n"):
        with pytest.raises(psycopg2.errors.InvalidParameterValue, match="a note is required: why is error 7 discarded"):
            call(warehouse, "select discard_error(7, %s)", notes)


def test_a_steward_lives_from_the_command_line(shop, command):
    abroad, many = str(error_id(shop, "ABROAD")), str(error_id(shop, "MANY"))
    found = json.loads(command("errors", "list", "--reason", "unknown_country", "--json").out)
    assert [(row["error_id"], row["detail"], row["waits_for_gold"]) for row in found] == [
        (int(abroad), "no country XX", False)
    ]
    assert command("errors", "list", "--limit", "1").err == (
        "errors: only the newest 1 are shown; --limit 0 shows all\n"
    )

    said = command("errors", "correct", abroad, "country_id=GB")
    assert (said.code, said.out) == (0, f"error {abroad}: corrected; the next `gold` judges it again\n")
    said = command("errors", "discard", many, "--notes", "a test sale", "--json")
    assert [json.loads(said.out)[c] for c in ("status", "notes", "waits_for_gold")] == [
        "DISCARDED",
        "a test sale",
        True,
    ]
    said = command("errors", "retry", abroad)
    assert (said.code, said.out.splitlines()) == (
        0,
        [
            "gold: 0 landed = 1 facts + -1 errors + 0 duplicates (1 corrected)",
            f"error {abroad}: RESOLVED, UNKNOWN_COUNTRY: no country XX",
        ],
    )
    shown = command("errors", "show", abroad).out.splitlines()
    assert 'correction: {"country_id": "GB"}' in shown and "country_id: XX" in shown and "status: RESOLVED" in shown
    assert command("errors", "list").out.splitlines()[1:] == []
    assert len(command("errors", "list", "--status", "all").out.splitlines()) == 3
    assert json.loads(command("errors", "retry", "--json").out)["summary"] == "nothing pending"
    assert command("errors", "retry").out == "gold: nothing pending\n"


def test_a_dry_run_says_what_each_row_would_become_and_changes_nothing(shop, command):
    land_sales(shop, "2011-01-01T12", sale("GOOD", quantity="one"), sale("LATE", code="B", at="2010-12-31 10:00:00"))
    shop.load()
    abroad, many, good, late = (str(error_id(shop, key)) for key in ("ABROAD", "MANY", "GOOD", "LATE"))
    before = shop.state()

    def would(*arguments: str) -> list[tuple[Any, ...]]:
        rows = json.loads(command("errors", *arguments, "--dry-run", "--json").out)
        return [(str(row["error_id"]), row["becomes"], row["detail"], row["total_amount"]) for row in rows]

    assert would("correct", abroad, "country_id=GB", "quantity=3") == [(abroad, "FACT", None, "4.5000")]
    assert would("correct", good, "quantity=1") == [(good, "DUPLICATE", None, None)]
    assert would("correct", good, "quantity=2") == [(good, "ERROR", "other values were taken for GOOD", None)]
    assert would("correct", late, "quantity=2") == [(late, "ERROR", "B had no price yet on 2010-12-31", None)]
    assert would("correct", many, "quantity=2", "order_id=") == [(many, "ERROR", "order_id is empty", None)]
    assert would("retry") == []
    assert would("retry", abroad) == [(abroad, "ERROR", "no country XX", None)]
    assert_same_state(shop.state(), before)
    assert shop.query("select * from ops.error_verdicts") == []
    assert shop.query("select tablename from pg_tables where schemaname = 'staging'") == []

    correct(shop, int(abroad), country_id="FR")
    discard(shop, int(many))
    assert sorted(would("retry")) == sorted([(abroad, "FACT", None, "1.5000"), (many, "DISCARDED", NO_NUMBER, None)])
    table = command("errors", "correct", abroad, "country_id=GB", "--dry-run").out.splitlines()
    assert table == [
        "error_id\tbecomes\treason\tdetail\ttransaction_id\tunit_price\ttotal_amount",
        f"{abroad}\tFACT\t\t\tABROAD\t1.5000\t1.5000",
    ]
    shop.load()
    assert shop.query("select country_id from fact_transactions where transaction_id = 'ABROAD'") == [("FR",)]
    assert_whole(shop, 5)


WRONG = {
    ("show", "7"): "there is no error 7",
    ("correct", "7", "quantity=1"): "there is no error 7",
    ("correct", "7", "quantity=1", "--dry-run"): "there is no error 7",
    ("correct", "7", "amount=1"): "a transaction has no column amount; its columns are transaction_id, order_id,",
    ("discard", "7", "--notes", " "): "a note is required: why is error 7 discarded?",
    ("discard", "7", "--notes", "why"): "there is no error 7",
    ("retry", "7"): "there is no error 7",
    ("show", "9" * 30): "bigint out of range",
    ("retry", "9" * 30): "bigint out of range",
}


def test_what_a_steward_gets_wrong_is_told_in_one_line(command):
    for arguments, said in WRONG.items():
        answer = command("errors", *arguments)
        assert (answer.code, answer.out) == (2, ""), arguments
        assert answer.err.startswith(f"warehouse: {said}") and answer.err.count("\n") == 1, arguments


def test_text_that_would_steer_a_terminal_is_shown_as_text(warehouse, command):
    open_shop(warehouse)
    land_sales(warehouse, JANUARY, sale("E\x1b[2J[red]", quantity="1\n2\u202e", order="[bold]"))
    warehouse.load()
    listed = command("errors", "list").out
    assert listed.splitlines()[1].split("\t")[3:5] == [
        "quantity '1\\n2\\u202e' is not a whole number of 32 bits", "E\\x1b[2J[red]",
    ]  # fmt: skip
    [(error,)] = warehouse.query("select error_id from transactions_error")
    shown = command("errors", "show", str(error)).out
    assert "transaction_id: E\\x1b[2J[red]\n" in shown and "order_id: [bold]\n" in shown
    assert all(character.isprintable() or character in "\n\t" for character in listed + shown)
