"""The views of `bi` and the summaries behind them, computed a second time: from the facts, not from summaries."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
from harness import Rows, Warehouse, assert_same_state, ordered
from oracle import expected

SUMMARIES = {
    "sales_by_day": """
        select
            invoice_date::date, country_id, count(*), count(*) filter (where quantity > 0),
            coalesce(sum(quantity) filter (where quantity > 0), 0),
            coalesce(sum(-quantity) filter (where quantity < 0), 0),
            coalesce(sum(total_amount) filter (where quantity > 0), 0),
            coalesce(sum(-total_amount) filter (where quantity < 0), 0)
        from fact_transactions group by 1, 2
    """,
    "sales_by_product": """
        select
            product_sk, count(*), count(*) filter (where quantity > 0),
            coalesce(sum(quantity) filter (where quantity > 0), 0),
            coalesce(sum(-quantity) filter (where quantity < 0), 0),
            coalesce(sum(total_amount) filter (where quantity > 0), 0),
            coalesce(sum(-total_amount) filter (where quantity < 0), 0)
        from fact_transactions group by 1
    """,
    "sales_by_buyer": """
        select
            customer_id, country_id, count(distinct order_id), count(*),
            coalesce(sum(quantity) filter (where quantity > 0), 0),
            coalesce(sum(-quantity) filter (where quantity < 0), 0),
            coalesce(sum(total_amount) filter (where quantity > 0), 0),
            coalesce(sum(-total_amount) filter (where quantity < 0), 0)
        from fact_transactions where customer_id is not null group by 1, 2
    """,
    "activity_by_month": """
        select date_trunc('month', invoice_date)::date, count(distinct order_id), count(distinct customer_id)
        from fact_transactions group by 1
    """,
    "orders_of_month": """
        select date_trunc('month', invoice_date)::date, md5(order_id), count(*) from fact_transactions group by 1, 2
    """,
    "customers_of_month": """
        select date_trunc('month', invoice_date)::date, customer_id, count(*)
        from fact_transactions where customer_id is not null group by 1, 2
    """,
    "orders_of_buyer": """
        select customer_id, country_id, md5(order_id), count(*)
        from fact_transactions where customer_id is not null group by 1, 2, 3
    """,
}

SALES = """
    count(*) as lines,
    coalesce(sum(total_amount) filter (quantity > 0), 0) as gross,
    coalesce(-sum(total_amount) filter (quantity < 0), 0) as returned,
    coalesce(sum(quantity) filter (quantity > 0), 0)::bigint as units,
    coalesce(-sum(quantity) filter (quantity < 0), 0)::bigint as units_back
"""
CASES = """
    count(distinct case_id), round(1000.0 * count(distinct case_id) / nullif(any_value(sales), 0), 2),
    count(*) filter (tier = 'critical'), count(*) filter (tier = 'warning'), count(*) filter (tier = 'notice'),
    count(*) filter (status in ('NEW', 'REVIEWED')), count(*) filter (status = 'RESOLVED'),
    count(*) filter (status = 'FALSE_POSITIVE'), min(z), quantile_cont(z, 0.5), quantile_cont(z, 0.9), max(z),
    count(*) filter (z < 3), count(*) filter (z >= 3 and z < 5), count(*) filter (z >= 5 and z < 10),
    count(*) filter (z >= 10)
"""
VIEWS = {
    "revenue_by_month": f"""
        with months as (
            select
                date_trunc('month', bought)::date as month, {SALES}, count(distinct order_id) as orders,
                count(distinct customer_id) as customers
            from fact group by 1
        )
        select
            month, gross - returned, gross, returned, orders, customers, lines, units, units_back,
            round((gross - returned)::double / orders, 2),
            round(100 * (gross - returned)::double / sum(gross - returned) over (), 2),
            case when lag(month) over (order by month) = month - interval 1 month then round(
                100 * ((gross - returned)::double / lag(gross - returned) over (order by month) - 1), 2
            ) end
        from months
    """,
    "sales_by_category": f"""
        with categories as (
            select coalesce(category, '(none)') as category, count(distinct stock_code) as products, {SALES}
            from fact inner join version using (stock_code, effective_date) group by 1
        )
        select
            category, gross - returned, gross, returned, products, lines, units, units_back,
            round(100 * (gross - returned)::double / sum(gross - returned) over (), 2)
        from categories
    """,
    "top_buyers_by_region": f"""
        with there as (
            select *, coalesce(region, '(none)') as place from fact left join country using (country_id)
        ),
        buyers as (
            select place, customer_id, {SALES}, count(distinct (order_id, country_id)) as orders
            from there where customer_id is not null group by all
        ),
        places as (select place, sum(total_amount) as revenue from there group by 1)
        select
            place, row_number() over (partition by place order by gross - returned desc, customer_id) as rank,
            customer_id, gross - returned, gross, returned, orders, lines, units, units_back,
            round(100 * (gross - returned)::double / revenue, 2)
        from buyers inner join places using (place)
        qualify rank <= 10
    """,
    "price_history": """
        select
            v.stock_code, (select count(*) from version as o where o.stock_code = v.stock_code
                and o.effective_date <= v.effective_date),
            v.description, coalesce(v.category, '(none)'), v.effective_date, v.end_date, v.end_date is null,
            v.unit_price, b.unit_price, v.unit_price - b.unit_price,
            round(100 * (v.unit_price - b.unit_price)::double / nullif(b.unit_price, 0)::double, 2)
        from version as v left join version as b on v.stock_code = b.stock_code and v.effective_date = b.end_date
    """,
    "anomaly_trend": f"""
        select day, coalesce(any_value(sales), 0), {CASES}
        from (select bought::date as day, count(*) filter (quantity > 0) as sales from fact group by 1)
        full join (select bought::date as day, * from anomaly) using (day)
        group by day
    """,
    "anomaly_by_product": f"""
        select
            stock_code, any_value(description), coalesce(any_value(category), '(none)'), max(bought),
            coalesce(any_value(sales), 0), {CASES}
        from anomaly
        left join (select stock_code, count(*) filter (quantity > 0) as sales from fact group by 1) using (stock_code)
        left join (from version where end_date is null) using (stock_code)
        group by stock_code
    """,
    "anomaly_by_country": f"""
        select
            country_id, any_value(country_name), coalesce(any_value(region), '(none)'), any_value(latitude),
            any_value(longitude), max(bought), coalesce(any_value(sales), 0), {CASES}
        from (select country_id, count(*) filter (quantity > 0) as sales from fact group by 1)
        full join anomaly using (country_id)
        left join country using (country_id)
        group by country_id
    """,
}


def assert_summaries_follow_the_facts(warehouse: Warehouse) -> None:
    """Every summary is what the facts give, no row more or less."""
    held = {name: ordered(comparable(warehouse.query(f"select * from ops.{name}"))) for name in SUMMARIES}
    given = {name: ordered(comparable(warehouse.query(statement))) for name, statement in SUMMARIES.items()}
    assert_same_state(held, given)


def assert_views_agree_with_duckdb(warehouse: Warehouse) -> None:
    """Every view of `bi`, whole, is what DuckDB says of the landing files (and of the cases in Gold)."""
    said = expected(warehouse.landing)
    cases = "select anomaly_id, stock_code, country_id, invoice_date, z_score, tier, status from {}"
    with duckdb.connect() as db:
        columns = "transaction_id order_id bought stock_code effective_date quantity unit_price total_amount"
        table(db, "fact", f"{columns} customer_id country_id batch_id", said.facts)
        db.execute("alter table fact alter bought type timestamp")
        columns = "stock_code description category unit_price effective_date end_date is_current"
        table(db, "version", columns, said.products)
        table(db, "country", "country_id country_name region latitude longitude", said.countries)
        found = warehouse.query(f"{cases.format('anomalies')} union all {cases.format('anomalies_archive')}")
        assert found, "no case to compare"
        table(db, "anomaly", "case_id stock_code country_id bought z tier status", found)
        wanted = {name: ordered(comparable(db.execute(statement).fetchall())) for name, statement in VIEWS.items()}
    actual = {name: ordered(comparable(warehouse.query(f"select * from bi.{name}"))) for name in VIEWS}
    assert all(wanted.values()), "a view without rows compares nothing"
    assert_same_state(actual, wanted)


def table(db: duckdb.DuckDBPyConnection, name: str, columns: str, rows: Sequence[Any]) -> None:
    data = pa.table(dict(zip(columns.split(), map(list, zip(*rows, strict=True)), strict=True)))
    db.register(f"{name}_rows", data)
    db.execute(f"create table {name} as from {name}_rows")


def comparable(rows: Rows) -> Rows:
    """Numbers without the type that holds them, and floats but for their last digits."""
    return [tuple(round(float(v), 6) if isinstance(v, float | Decimal) else v for v in row) for row in rows]
