"""Stewards mend rows in error: what they decide holds wherever the row is read again, and the books balance."""

import json
from typing import Any

import psycopg2
import pytest
from harness import COUNTRIES, PRODUCTS, Warehouse, assert_same_state
from small_shop import (
    APPLE,
    BRITAIN,
    BRUSH,
    FRANCE,
    amounts,
    assert_balanced,
    land_masters,
    land_sales,
    sale,
)

from jobs import build_star_schema, postgres_load_fact
from warehouse import gather
from warehouse.landing import Scope
from warehouse.session import SimulatedCrash

pytestmark = pytest.mark.slow

JANUARY = "2011-01-01T08"


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
    """The books balance, the ledger's too, and the star holds Gold's facts."""
    assert_balanced(warehouse, landed)
    assert warehouse.query("select sum(rows_in), sum(rows_fact), sum(rows_error) from ops.etl_runs") == [
        warehouse.books()[:3]
    ]
    assert warehouse.query("select count(*) from ops.duplicates") == [warehouse.books()[3:]]
    columns = "transaction_id, product_sk, quantity, unit_price, total_amount"
    assert sorted(warehouse.lake(f"select {columns} from ecommerce_dw.fact_transactions")) == sorted(
        warehouse.query(f"select {columns} from fact_transactions")
    )


@pytest.fixture
def shop(warehouse: Warehouse) -> Warehouse:
    """A good sale, one to an unknown country, one whose quantity is no number."""
    land_masters(warehouse)
    land_sales(warehouse, JANUARY, sale("GOOD"), sale("ABROAD", country="XX"), sale("MANY", quantity="many"))
    warehouse.run()
    return warehouse


def test_a_corrected_row_becomes_a_fact_and_its_error_is_resolved_beside_it(shop):
    correct(shop, error_id(shop, "ABROAD"), country_id="GB")
    correct(shop, error_id(shop, "MANY"), quantity=6, customer_id=None)
    assert errors(shop) == [("ABROAD", "UNKNOWN_COUNTRY", "OPEN", 1), ("MANY", "MALFORMED", "OPEN", 1)]

    said = {outcome.job: outcome.line for outcome in shop.run()}

    assert said["gold"] == "0 landed = 2 facts + -2 errors + 0 duplicates (2 corrected)"
    assert said["detect"].startswith("2 scored")
    assert amounts(shop) == {"GOOD": "1.5000", "ABROAD": "1.5000", "MANY": "9.0000"}
    assert errors(shop) == [("ABROAD", "UNKNOWN_COUNTRY", "RESOLVED", 2), ("MANY", "MALFORMED", "RESOLVED", 2)]
    assert shop.query(
        "select transaction_id, quantity, customer_id, country_id, correction, transaction_key, detail,"
        " resolved_by = session_user, resolved_at is not null from transactions_error order by 1"
    ) == [
        ("ABROAD", "1", "C1", "XX", {"country_id": "GB"}, "ABROAD", "no country XX", True, True),
        (
            "MANY", "many", "C1", "GB", {"quantity": 6, "customer_id": None}, "MANY",
            "quantity 'many' is not a whole number of 32 bits", True, True,
        ),
    ]  # fmt: skip
    assert shop.query("select country_id, customer_id from fact_transactions where transaction_id <> 'GOOD'") == [
        ("GB", "C1"),
        ("GB", None),
    ]
    assert_whole(shop, 3)
    assert {outcome.line for outcome in shop.run()} == {"nothing pending"}


def test_a_correction_that_does_not_help_stays_open_with_the_new_reason(shop):
    error = error_id(shop, "MANY")
    correct(shop, error, quantity="2", stock_code="Z")
    shop.run()
    assert errors(shop)[1] == ("MANY", "UNKNOWN_PRODUCT", "OPEN", 2)
    correct(shop, error, quantity="none")
    shop.run()
    assert errors(shop)[1] == ("MANY", "MALFORMED", "OPEN", 3)
    assert shop.query("select detail, correction from transactions_error where error_id = %s", [error]) == [
        ("quantity 'none' is not a whole number of 32 bits", {"quantity": "none"})
    ]
    assert_whole(shop, 3)
    correct(shop, error, quantity="2")
    shop.run()
    assert errors(shop)[1] == ("MANY", "MALFORMED", "RESOLVED", 4)
    assert amounts(shop) == {"GOOD": "1.5000", "MANY": "3.0000"}
    assert_whole(shop, 3)
