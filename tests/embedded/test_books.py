"""The books: landed = facts + errors + duplicates, checked before a run commits."""

import pytest
from harness import COUNTRIES, PRODUCTS, TRANSACTIONS, Warehouse, assert_same_state

from jobs import ingest_transactions, postgres_load_fact
from warehouse.errors import WarehouseError
from warehouse.landing import Scope

ROWS = [
    "T1,O1,P1,1,2011-01-30 10:00:00,C1,GB",
    "T2,O1,P9,1,2011-01-30 10:00:00,C1,GB",
    "T1,O1,P1,1,2011-01-30 10:00:00,C1,GB",
    "T1,O1,P1,7,2011-01-30 10:00:00,C1,GB",
]


def land(warehouse: Warehouse) -> None:
    warehouse.land("products/products_2011-01-30.csv", ["P1,one,,1.00,5"], PRODUCTS)
    warehouse.land("countries/countries_2011-01-30.csv", ["GB,Here,,,"], COUNTRIES)
    warehouse.land("transactions/transactions_2011-01-30T08.csv", ROWS, TRANSACTIONS)


def test_every_landed_row_is_in_exactly_one_place_and_the_ledger_says_so(warehouse):
    land(warehouse)
    warehouse.run()
    assert warehouse.books() == (4, 1, 2, 1)
    ledger = "select rows_in, rows_fact, rows_error, rows_duplicate from ops.etl_runs where job = 'gold'"
    assert warehouse.query(ledger) == [(4, 1, 2, 1)]


@pytest.mark.slow
def test_a_run_that_does_not_balance_commits_nothing(warehouse):
    land(warehouse)
    warehouse.job(ingest_transactions.run, Scope())
    change = "update ops.landed_files set rows = rows + %s where rows > 0 returning rows"
    connection = warehouse.context().connect()
    with connection, connection.cursor() as cursor:
        cursor.execute(change, (1,))
    before = warehouse.state()

    with pytest.raises(WarehouseError, match=r"the books do not balance: 5 landed, but 0 facts \+ 3 errors \+ 1 dup"):
        warehouse.job(postgres_load_fact.run, Scope())

    assert_same_state(warehouse.state(), before)
    assert warehouse.query("select status from ops.etl_runs where job = 'gold'") == [("FAILED",)]
    with connection, connection.cursor() as cursor:
        cursor.execute(change, (-1,))
    connection.close()
    warehouse.run()
    assert warehouse.books() == (4, 1, 2, 1)
