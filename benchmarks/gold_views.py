"""What people wait for: every view of `bi` in full, the shop's views for one customer, at 5,000,000 facts.

    python -m benchmarks.gold_views [--facts 5000000]

4,000 products of ten versions, 50,000 customers (the busiest has thousands of lines, half of them less than a hundred),
40 countries, 24 months, one sale in 26 an anomaly. The facts go into Gold by `ops.settle`, made by SQL instead of by
Spark. Then batches of 100,000 facts, new ones and repriced ones, are settled and rolled back, with the summaries and
without.
"""

import argparse
import io
import statistics
import time
from collections.abc import Sequence

from psycopg2.extensions import cursor as Cursor

from benchmarks.common import show, throwaway_warehouse
from warehouse import gold

REPEAT = 7
BATCH = 100_000
LIMIT_MS = 200
VIEWS = (
    "revenue_by_month",
    "sales_by_category",
    "top_buyers_by_region",
    "price_history",
    "anomaly_trend",
    "anomaly_by_product",
    "anomaly_by_country",
)

DIMENSIONS = """
insert into dim_products
select p * 10 + v, 'P' || p, 'Product ' || p, 'Category ' || p % 20, 1 + p % 97 + v * 0.1, 100,
    date '2010-01-01' + v * 73, case when v < 9 then date '2010-01-01' + (v + 1) * 73 end, v = 9
from generate_series(0, 3999) as p, generate_series(0, 9) as v;
insert into dim_countries
select c, 'N' || c, 'Country ' || c, 'Region ' || c % 7, c, -c, '2010-01-01' from generate_series(0, 39) as c;
"""

# twenty lines an order; a spread in [0, 1) that is the same every time
STAGE = """
insert into staging.decided (
    origin, fate, row_id, transaction_key, batch_id, order_id, invoice_date, stock_code, product_sk, quantity,
    unit_price, total_amount, customer_id, country_id
)
select
    %(origin)s, 'FACT', line, 'T' || line, to_char(at, 'YYYY-MM-DD"T"HH24'), 'O' || line / 20, at, p.stock_code,
    p.product_sk, q.quantity, p.unit_price + %(more)s, q.quantity * (p.unit_price + %(more)s),
    case when line / 20 %% 10 > 0 then 'C' || customer end, 'N' || customer %% 40
from generate_series(%(first)s::bigint, %(last)s::bigint) as line
cross join lateral (
    select
        timestamp '2010-01-01' + (line / 20 * 20)::double precision / %(facts)s * interval '730 days' as at,
        floor(50000 * power((hashint8(line / 20) & 65535) / 65536.0, 1.5))::integer as customer,
        floor(4000 * power((hashint8(line) & 65535) / 65536.0, 2))::integer as product
) as l
cross join lateral (
    select case when line %% 50 = 0 then -1 else 1 end * (1 + (hashint8(line) >> 16 & 7)) as quantity
) as q
inner join dim_products as p on p.product_sk = l.product * 10 + least(l.at::date - date '2010-01-01', 729) / 73
"""

CASES = """
insert into product_baselines (median_qty, order_count, period_start, period_end, method, level, p99_qty)
values (4, 1, '2010-01-01', '2011-01-01', 'zscore', 'shop', 8);
insert into anomalies (
    transaction_id, order_id, stock_code, quantity, median_qty, z_score, customer_id, country_id, invoice_date, tier,
    baseline_id
)
select
    transaction_id, order_id, stock_code, quantity, 4, 2 + (hashtext(transaction_id) & 1023) / 64.0, customer_id,
    country_id, invoice_date, 'notice', (select max(baseline_id) from product_baselines)
from fact_transactions
where quantity > 0 and hashtext(transaction_id) % 26 = 0;
insert into transactions_error (
    error_id, transaction_id, order_id, stock_code, quantity, invoice_date, customer_id, country_id, reason, detail,
    batch_id, source_file, transaction_key
)
select
    e, 'E' || e, 'O' || e, 'P9999', '1', '2011-01-01 10:00:00', 'C' || e % 50000, 'N1', 'UNKNOWN_PRODUCT', 'unknown',
    '2011-01-01T08', 'made', 'E' || e
from generate_series(1, 50000) as e;
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--facts", type=int, default=5_000_000)
    facts = parser.parse_args().facts
    with throwaway_warehouse() as context:
        gold.create(context)
        with context.gold.cursor() as cursor:
            cursor.execute(DIMENSIONS)
            stage(cursor, facts, 0, facts - 1)
            seconds = settle(cursor)
            cursor.execute(CASES)
            context.gold.commit()
            context.gold.autocommit = True
            cursor.execute("vacuum analyze")  # what autovacuum does within a minute
            show(
                f"Settle of {facts:,} facts into an empty Gold: {seconds:.1f} s. A batch of {BATCH:,}, seconds",
                ["batch", "without summaries", "with", "more"],
                batches(cursor, facts),
            )
            show(f"{facts:,} facts, warm, median of {REPEAT}", ["query", "rows", "ms"], queries(cursor))


def stage(cursor: Cursor, facts: int, first: int, last: int, origin: str = "N", more: int = 0) -> None:
    """Decided facts as the Gold job leaves them; `more` is what their price went up by."""
    cursor.execute("call ops.clear_staging(); call ops.create_staging('decided_bench', '{}')")
    cursor.execute(STAGE, {"facts": facts, "first": first, "last": last, "origin": origin, "more": more})
    cursor.execute("call ops.find_contested('decided_bench')")


def settle(cursor: Cursor) -> float:
    start = time.perf_counter()
    cursor.execute("select * from ops.settle('bench')")
    return time.perf_counter() - start


def batches(cursor: Cursor, facts: int) -> list[Sequence[object]]:
    """(batch, seconds without summaries, with, their difference), medians of three, all rolled back."""
    found: list[Sequence[object]] = []
    for name, first, origin, more in (("new facts", facts, "N", 0), ("repriced", facts // 2, "T", 1)):
        medians = []
        for summaries in (False, True):
            taken = []
            for _ in range(3):
                cursor.execute("begin")
                if not summaries:
                    cursor.execute("create or replace procedure ops.summarize() language sql as ''")
                stage(cursor, facts, first, first + BATCH - 1, origin, more)
                taken.append(settle(cursor))
                cursor.execute("rollback")
            medians.append(statistics.median(taken))
        found.append((name, *medians, medians[1] - medians[0]))
    return found


def queries(cursor: Cursor) -> list[Sequence[object]]:
    """(query, its rows, milliseconds until all of them are here)."""
    cursor.execute("select customer_id, count(*) from fact_transactions group by 1 order by 2 desc, 1")
    customers = [row for row in cursor if row[0]]
    found = [measure(cursor, f"bi.{view}", f"select * from bi.{view}") for view in VIEWS]
    found.append(measure(cursor, "bi.price_on", "select bi.price_on('P77', '2010-12-24')"))
    cursor.execute("set role shop_app")
    for who, customer in (("the busiest", customers[0][0]), ("a usual one", customers[len(customers) // 2][0])):
        cursor.execute("select set_config('app.customer_id', %s, false)", (customer,))
        views = ("purchase_history", "transaction_tracking")
        found += [measure(cursor, f"shop.{view}, {who}", f"select * from shop.{view}") for view in views]
    cursor.execute("reset role")
    return found


def measure(cursor: Cursor, name: str, statement: str) -> Sequence[object]:
    """By COPY, so that all rows are sent and taken, and Python's own work on them is left out."""
    taken, rows = [], 0
    for _ in range(REPEAT + 1):
        start = time.perf_counter()
        cursor.copy_expert(f"copy ({statement}) to stdout", io.BytesIO())
        rows = cursor.rowcount
        taken.append(1000 * (time.perf_counter() - start))
    ms = statistics.median(taken[1:])
    return name, rows, f"{ms:,.1f}" + ("" if ms < LIMIT_MS else f" (over {LIMIT_MS})")


if __name__ == "__main__":
    main()
