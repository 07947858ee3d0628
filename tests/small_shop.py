"""A shop of two products and two countries, and what its tests ask a warehouse again and again."""

import csv
import io
from typing import Any

from harness import COUNTRIES, PRODUCTS, TRANSACTIONS, Warehouse

from warehouse.ledger import Outcome

APPLE, BRUSH = "A,Apple,Fruit,1.50,10", "B,Brush,Home,2.00,5"
BRITAIN, FRANCE = "GB,United Kingdom,Europe,54,-2", "FR,France,Europe,46,2"


def land_masters(
    warehouse: Warehouse, day: str = "2011-01-01", products: tuple[str, ...] = (APPLE, BRUSH), countries: Any = None
) -> None:
    """A snapshot of the products and one of the countries."""
    warehouse.land(f"products/products_{day}.csv", products, PRODUCTS)
    warehouse.land(f"countries/countries_{day}.csv", countries or (BRITAIN, FRANCE), COUNTRIES)


def load_masters(warehouse: Warehouse) -> None:
    land_masters(warehouse)
    warehouse.load()


def open_shop(warehouse: Warehouse) -> None:
    """Bring an empty warehouse to where its masters are loaded, and nothing has been sold yet."""
    warehouse.prepared(load_masters)


def land_sales(warehouse: Warehouse, name: str, *lines: str) -> str:
    """A transaction file `transactions_<name>.csv`; its path in the landing zone."""
    path = f"transactions/transactions_{name}.csv"
    warehouse.land(path, lines, TRANSACTIONS)
    return path


def sale(
    transaction: str,
    code: str = "A",
    quantity: object = 1,
    at: str = "2011-01-01 10:00:00",
    customer: str = "C1",
    country: str = "GB",
    order: str = "O1",
) -> str:
    """A line of a transaction file, quoted where it must be."""
    line = io.StringIO()
    csv.writer(line).writerow([transaction, order, code, quantity, at, customer, country])
    return line.getvalue().removesuffix("\r\n")


def exit_code(outcomes: list[Outcome]) -> int:
    return max(outcome.exit_code for outcome in outcomes)


def refused(warehouse: Warehouse) -> dict[str, str]:
    """Path → reason of every file that is REJECTED."""
    return dict(warehouse.query("select path, reason from ops.landed_files where status = 'REJECTED'"))


def reasons(warehouse: Warehouse) -> dict[str, str]:
    """Transaction → reasons of its errors, in the order of the alphabet."""
    return dict(
        warehouse.query(
            "select transaction_id, string_agg(reason, ' ' order by reason) from transactions_error group by 1"
        )
    )


def amounts(warehouse: Warehouse) -> dict[str, str]:
    """Transaction → amount of every fact."""
    return {
        key: str(amount)
        for key, amount in warehouse.query("select transaction_id, total_amount from fact_transactions")
    }


def loaded_at(warehouse: Warehouse) -> dict[str, Any]:
    """Transaction → when its fact was written."""
    return dict(warehouse.query("select transaction_id, loaded_at from fact_transactions"))


def assert_balanced(warehouse: Warehouse, landed: int) -> None:
    """The books balance, and as many rows landed as the test says."""
    rows, *placed = warehouse.books()
    assert rows == sum(placed) == landed, (rows, placed)
