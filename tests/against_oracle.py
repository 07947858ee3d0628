"""Hold a warehouse against the independent computation in `oracle.py`: every row, both ways."""

from collections.abc import Iterable
from pathlib import Path

from harness import Warehouse, assert_same_state, ordered
from oracle import expected


def assert_agrees_with_oracle(warehouse: Warehouse, files: Iterable[Path] | None = None) -> None:
    """Facts, errors, duplicates, dimensions and the star are what the landing zone says they must be."""
    said = expected(warehouse.landing, files=files)
    lake = warehouse.lake_at_once(
        products="select product_sk, stock_code, description, category, unit_price, effective_date, end_date,"
        " is_current, stock_quantity from ecommerce_db.products",
        countries="select country_id, country_name, region, latitude, longitude from ecommerce_db.countries",
        codes="select country_sk, country_id from ecommerce_dw.dim_countries",
        customers="select customer_sk, customer_id, country_id, first_purchase_date, last_purchase_date"
        " from ecommerce_dw.dim_customers",
        dates="select date_sk from ecommerce_dw.dim_dates",
        star="select transaction_id, product_sk, customer_sk, date_sk, country_sk, quantity, unit_price, total_amount,"
        " year, month from ecommerce_dw.fact_transactions",
    )
    effective = {row[0]: row[5] for row in lake["products"]}
    codes = dict(lake["codes"])
    people = {row[0]: row[1] for row in lake["customers"]}
    facts = warehouse.query(
        "select transaction_id, order_id, to_char(invoice_date, 'YYYY-MM-DD HH24:MI:SS'), stock_code, product_sk,"
        " quantity, unit_price, total_amount, customer_id, country_id, batch_id from fact_transactions"
    )
    actual = {
        "facts": [(*row[:4], effective[row[4]], *row[5:]) for row in facts],
        "errors": warehouse.query(
            "select transaction_id, order_id, stock_code, quantity, invoice_date, customer_id, country_id, reason,"
            " batch_id, source_file from transactions_error"
        ),
        "duplicates": warehouse.query("select batch_id, count(*) from ops.duplicates group by batch_id"),
        "products": [row[1:8] for row in lake["products"]],
        "stock": [(row[1], row[8]) for row in lake["products"] if row[7]],
        "countries": lake["countries"],
        "star": [(row[0], effective[row[1]], people[row[2]], row[3], codes[row[4]], *row[5:]) for row in lake["star"]],
        "customers": [row[1:] for row in lake["customers"] if row[0] != 0],
        "dates": lake["dates"],
        "rejected": [
            (path, reason.partition(":")[0])
            for path, reason in warehouse.query(
                "select path, reason from ops.landed_files where status = 'REJECTED' and reason <> 'REPLACED'"
            )
        ],
    }
    wanted = {
        "facts": said.facts,
        "errors": said.errors,
        "duplicates": list(said.duplicates_by_batch.items()),
        "products": said.products,
        "stock": said.stock,
        "countries": said.countries,
        "star": said.star_facts,
        "customers": said.customers,
        "dates": [(day,) for day in said.dates],
        "rejected": list(said.rejected.items()),
    }
    assert_same_state(
        {name: ordered([tuple(row) for row in rows]) for name, rows in actual.items()},
        {name: ordered([tuple(row) for row in rows]) for name, rows in wanted.items()},
    )
    landed, *placed = warehouse.books()
    assert landed == sum(placed) == said.landed
