"""What a batch costs, however long the history: ingest, gold, star and detect of 100,000 rows, one in 26 unusual.

    python -m benchmarks.batch_cost [--history 1000000,10000000,50000000] [--batches 5]

The history (two years, 4,000 products, 40,000 customers) is written straight into Bronze, Gold and the
star, with the ledger lines that a load would have left; then batches land as files of new windows and are
timed, each job in the same session. Figures are medians; the first batch makes the month's baselines and is left out.
"""

import argparse
import csv
import random
import statistics
import time
from datetime import datetime, timedelta
from pathlib import Path

from pyspark.sql import functions as F

from benchmarks.common import BOTH_COMPILERS, show, throwaway_warehouse
from jobs import (
    build_star_schema,
    detect_anomalies,
    ingest_countries,
    ingest_products,
    ingest_transactions,
    init_warehouse,
    postgres_load_fact,
)
from warehouse import gold, lake
from warehouse.landing import Scope
from warehouse.rules import star
from warehouse.session import Context, new_run_id

BATCH = 100_000
PRODUCTS, CUSTOMERS = 4_000, 40_000
LINES = 20  # of an order, which has one customer and one time
START, DAYS = datetime(2009, 1, 1), 730  # noqa: DTZ001 - UTC without a zone, as in the data
INDEXES = ("product", "customer", "time", "batch", "loaded", "return")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--history", default="1000000,10000000,50000000")
    parser.add_argument("--batches", type=int, default=5)
    options = parser.parse_args()
    rows = []
    with throwaway_warehouse(BOTH_COMPILERS) as context:
        init_warehouse.run(context)
        masters(context)
        held, window = 0, START + timedelta(days=DAYS)
        for history in [int(size) for size in options.history.split(",")]:
            write_history(context, held, history)
            held = history
            timed: list[dict[str, float]] = []
            for _ in range(options.batches + 1):
                land(context, window)
                timed.append(run_batch(context))
                window += timedelta(hours=4)
                held += BATCH
            medians = {job: statistics.median(each[job] for each in timed[1:]) for job in timed[0]}
            total = sum(medians.values())
            rows.append([history, *medians.values(), total, f"{total / rows[0][-2]:.2f} ×" if rows else "1.00 ×"])
            show(f"{BATCH:,} rows a batch, so far", ["history", *medians, "all", "to the first"], rows)


def masters(context: Context) -> None:
    """One snapshot of products and countries, from before the first sale."""
    landing = Path(context.config.home / "landing")
    with (landing / "products" / "products_2008-12-31.csv").open("w") as out:
        writer = csv.writer(out)
        writer.writerow(["stock_code", "description", "category", "unit_price", "stock_quantity"])
        writer.writerows([f"P{n}", f"Product {n}", "", f"{n % 90 + 1}.50", 1] for n in range(PRODUCTS))
    (landing / "countries" / "countries_2008-12-31.csv").write_text(
        "country_id,country_name,region,latitude,longitude\nGB,United Kingdom,Europe,54,-2\n"
    )
    ingest_products.run(context, Scope())
    ingest_countries.run(context, Scope())
    postgres_load_fact.run(context, Scope())
    build_star_schema.run(context)


def write_history(context: Context, first: int, last: int) -> None:
    """Rows `first` to `last` of the history into Bronze, Gold and the star, as if they had been loaded."""
    # orders are spread over the two years whatever their number
    row = F.col("id")
    order = (row / LINES).cast("long")
    at = F.timestamp_seconds(
        F.lit(int((START - datetime(1970, 1, 1)).total_seconds())) + F.pmod(F.xxhash64(order), F.lit(DAYS * 86_400))  # noqa: DTZ001
    ).cast("timestamp_ntz")
    product = F.pmod(F.xxhash64(row, F.lit(1)), F.lit(PRODUCTS))
    customer = F.pmod(F.xxhash64(order, F.lit(2)), F.lit(CUSTOMERS))
    window = F.floor(F.hour(at) / 4) * 4
    rows = context.spark.range(first, last).select(
        F.concat(F.lit("H"), F.lpad(row.cast("string"), 10, "0")).alias("transaction_id"),
        F.concat(F.lit("O"), order.cast("string")).alias("order_id"),
        at.alias("invoice_date"),
        F.concat(F.lit("P"), product.cast("string")).alias("stock_code"),
        (row % 12 + 1).cast("int").alias("quantity"),
        (product % 90 + 1.5).cast("decimal(12,4)").alias("unit_price"),
        F.concat(F.lit("C"), customer.cast("string")).alias("customer_id"),
        F.lit("GB").alias("country_id"),
        F.concat(F.date_format(at, "yyyy-MM-dd'T'"), F.lpad(window.cast("string"), 2, "0")).alias("batch_id"),
    )
    versions = lake.read(context.spark, f"{lake.BRONZE}.products").select("stock_code", "product_sk")
    facts = (
        rows.join(F.broadcast(versions), "stock_code")
        .withColumn("total_amount", (F.col("quantity") * F.col("unit_price")).cast("decimal(18,4)"))
        .withColumn("loaded_at", F.lit(context.clock()))
    )
    path = f"file://{context.config.home}/history"
    facts.repartitionByRange(48, "invoice_date").sortWithinPartitions("invoice_date").write.mode("overwrite").parquet(
        path
    )
    facts = context.spark.read.parquet(path)
    lake.append(star.fact_rows(facts), f"{lake.STAR}.fact_transactions")
    text = F.lit(None).cast("string")
    lake.append(
        facts.select(
            "batch_id",
            F.lit("transactions/history.csv").alias("source_file"),
            F.lit("history").alias("file_sha256"),
            F.lit(1).alias("line_number"),
            *[F.col(c).cast("string") for c in ("transaction_id", "order_id", "stock_code", "quantity")],
            F.date_format("invoice_date", "yyyy-MM-dd HH:mm:ss").alias("invoice_date"),
            "customer_id",
            "country_id",
            text.alias("problem"),
            text.alias("raw_record"),
            F.lit(context.clock()).alias("ingested_at"),
        ),
        f"{lake.BRONZE}.transactions_raw",
    )
    into_gold(context, facts, last - first)


def into_gold(context: Context, facts: object, rows: int) -> None:
    """COPY the history into Gold with its indexes taken off, and account for it in the ledger."""
    columns = [
        "transaction_id", "order_id", "invoice_date", "stock_code", "product_sk", "quantity", "unit_price",
        "total_amount", "customer_id", "country_id", "batch_id", "loaded_at",
    ]  # fmt: skip
    with context.gold.cursor() as cursor:
        cursor.execute(
            "create unlogged table if not exists staging.star_parts (part text primary key, rows bigint not null);"
            " alter table fact_transactions drop constraint fact_transactions_pkey;"
            + "".join(f" drop index fact_transactions_{name};" for name in INDEXES)
            + " create unlogged table staging.history (like fact_transactions)"
        )
    context.gold.commit()
    gold.copy(context, facts, "history", columns, parts="star_parts")  # type: ignore[arg-type]
    with context.gold.cursor() as cursor:
        cursor.execute("insert into fact_transactions select * from staging.history")
        cursor.execute("drop table staging.history, staging.star_parts")
        cursor.execute(
            "set local maintenance_work_mem = '2GB'; alter table fact_transactions add primary key (transaction_id)"
        )
        cursor.execute(gold.script("tables.sql"))
        cursor.execute(
            "insert into ops.etl_runs (run_id, job, status, rows_in, rows_fact, rows_error, rows_duplicate)"
            " values (%s, 'gold', 'DONE', %s, %s, 0, 0)",
            (new_run_id(context.clock()), rows, rows),
        )
        cursor.execute(
            "update ops.watermarks set snapshot_id = %s where name = 'landing.transactions'",
            (lake.snapshot_id(context.spark, f"{lake.BRONZE}.transactions_raw"),),
        )
        cursor.execute(
            "insert into ops.watermarks (name, snapshot_id) values ('landing.transactions', %s) on conflict do nothing",
            (lake.snapshot_id(context.spark, f"{lake.BRONZE}.transactions_raw"),),
        )
    context.gold.commit()
    context.gold.autocommit = True
    with context.gold.cursor() as cursor:
        cursor.execute("vacuum analyze fact_transactions")
        cursor.execute("checkpoint")
    context.gold.autocommit = False


def land(context: Context, window: datetime) -> None:
    """One window's file of new sales, like those of the history."""
    draw = random.Random(window.isoformat())
    path = Path(context.config.home / "landing" / "transactions" / f"transactions_{window:%Y-%m-%dT%H}.csv")
    buyers = [draw.randrange(CUSTOMERS) for _ in range(BATCH // LINES)]
    with path.open("w") as out:
        out.write("transaction_id,order_id,stock_code,quantity,invoice_date,customer_id,country_id\n")
        for number in range(BATCH):
            at = window + timedelta(seconds=number * 4 * 3600 // BATCH)
            quantity = draw.randrange(1, 13) if number % 26 else 100
            out.write(
                f"B{window:%m%d%H}{number:08},N{window:%m%d%H}{number // LINES},P{draw.randrange(PRODUCTS)},{quantity},"
                f"{at:%Y-%m-%d %H:%M:%S},C{buyers[number // LINES]},GB\n"
            )


def run_batch(context: Context) -> dict[str, float]:
    """Seconds of each job over what has landed."""
    context.run_id = new_run_id(context.clock())
    seconds = {}
    for name, job in (
        ("ingest", lambda: ingest_transactions.run(context, Scope())),
        ("gold", lambda: postgres_load_fact.run(context, Scope())),
        ("star", lambda: build_star_schema.run(context)),
        ("detect", lambda: detect_anomalies.run(context)),
    ):
        start = time.perf_counter()
        outcome = job()
        seconds[name] = time.perf_counter() - start
        assert outcome.line != "nothing pending"
    return seconds


if __name__ == "__main__":
    main()
