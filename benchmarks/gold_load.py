"""Gold load: rows a second through staging and settle, against a bare COPY of the same rows.

    python -m benchmarks.gold_load [--rows 5000000]

The rows are decided beforehand (a Parquet file), so that only the load is timed. The bare COPY reads
a CSV file into the same table, with the same indexes, in one transaction.
"""

import argparse
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.common import BOTH_COMPILERS, Stopwatch, show, throwaway_warehouse
from jobs import init_warehouse, postgres_load_fact
from warehouse import gold
from warehouse.session import Context

FACT = (
    "transaction_id, order_id, invoice_date, stock_code, product_sk, quantity, unit_price, total_amount,"
    " customer_id, country_id, batch_id"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    rows = parser.parse_args().rows
    with throwaway_warehouse(BOTH_COMPILERS) as context:
        init_warehouse.run(context)
        path = str(context.config.home / "decided.parquet")
        decided(context, rows).write.parquet(path)
        clock = Stopwatch()
        load(context, path, rows, clock)
        bare_copy(context, rows, clock)
    bare = rows / clock.seconds["bare COPY"]
    show(
        f"Gold load of {rows:,} facts",
        ["step", "seconds", "rows/s", "of bare COPY"],
        [
            [name, seconds, int(rows / seconds), f"{rows / seconds / bare:.0%}"]
            for name, seconds in clock.seconds.items()
        ],
    )


def decided(context: Context, rows: int) -> DataFrame:
    """Facts as `rules.facts.judge` leaves them: two months, 4,000 products, 40,000 customers."""
    number = F.col("id")
    order = (number / 20).cast("long")
    text = F.lit(None).cast("string")
    at = F.timestamp_seconds(F.lit(1_293_840_000) + number).cast("timestamp_ntz")
    quantity = (number % 12 + 1).cast("int")
    price = ((number * 7919) % 2000 / 100 + 1).cast("decimal(12,4)")
    return context.spark.range(rows).select(
        F.lit("N").alias("origin"),
        F.lit("FACT").alias("fate"),
        number.alias("row_id"),
        F.concat(F.lit("T"), F.lpad(number.cast("string"), 10, "0")).alias("transaction_key"),
        F.date_format(at, "yyyy-MM-dd'T'HH").alias("batch_id"),
        F.concat(F.lit("O"), order.cast("string")).alias("order_id"),
        at.alias("invoice_date"),
        F.concat(F.lit("P"), (F.xxhash64(number) % 2000 + 2000).cast("string")).alias("stock_code"),
        F.xxhash64(number % 4000).alias("product_sk"),
        quantity.alias("quantity"),
        price.alias("unit_price"),
        (quantity * price).cast("decimal(18,4)").alias("total_amount"),
        F.concat(F.lit("C"), (F.xxhash64(order, F.lit(1)) % 20000 + 20000).cast("string")).alias("customer_id"),
        F.lit("GB").alias("country_id"),
        *[text.alias(c) for c in postgres_load_fact.IN_ERROR],
        F.lit(False).alias("corrected"),
    )


def load(context: Context, path: str, rows: int, clock: Stopwatch) -> None:
    """The load as the Gold job does it."""
    frame = context.spark.read.parquet(path)
    gold.open_staging(context, [])
    with clock.time("staging (Spark → COPY)"):
        postgres_load_fact._stage(context, frame)
    with clock.time("settle"):
        gold.find_contested(context)
        gold.settle(context, rows)
        context.gold.commit()
    clock.seconds["both"] = clock.seconds["staging (Spark → COPY)"] + clock.seconds["settle"]


def bare_copy(context: Context, rows: int, clock: Stopwatch) -> None:
    """COPY the same rows from a file into the emptied table."""
    file = Path(context.config.home / "facts.csv")
    columns = f"{FACT}, loaded_at"
    with context.gold.cursor() as cursor:
        with file.open("w") as out:
            cursor.copy_expert(f"copy (select {columns} from fact_transactions) to stdout (format csv)", out)
        cursor.execute("truncate fact_transactions")
        context.gold.commit()
        with clock.time("bare COPY"), file.open() as source:
            cursor.copy_expert(f"copy fact_transactions ({columns}) from stdin (format csv)", source)
            context.gold.commit()
        cursor.execute("select count(*) from fact_transactions")
        assert cursor.fetchone() == (rows,)


if __name__ == "__main__":
    main()
