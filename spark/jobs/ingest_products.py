"""Load every pending product snapshot and derive the product versions (SCD type 2) from it."""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from warehouse import lake, landing, ledger
from warehouse.config import Source
from warehouse.errors import WarehouseError
from warehouse.ledger import Outcome
from warehouse.rules import facts, scd
from warehouse.session import Context

RAW, VERSIONS = f"{lake.BRONZE}.products_raw", f"{lake.BRONZE}.products"


def run(context: Context, scope: landing.Scope, replacing: bool = False) -> Outcome:
    source = context.config.sources["products"]
    with ledger.job(context, "ingest products") as outcome:
        landing.load(context, source, scope, replacing, outcome, typed_snapshot)
        dates, late = landing.unsettled_dates(context.gold, source)
        if dates:
            outcome.numbers["versions_changed"] = _derive(context, source, dates, late)
            landing.settle_snapshots(context.gold, source, context.run_id)
            outcome.line += f"; {outcome.numbers['versions_changed']} versions changed"
    return outcome


def typed_snapshot(landed: DataFrame) -> DataFrame:
    """The rows of accepted snapshots (whose texts are known to parse) with their types."""
    return landed.select(
        "snapshot_date",
        "source_file",
        "file_sha256",
        facts.code("stock_code").alias("stock_code"),
        "description",
        "category",
        F.col("unit_price").cast("decimal(12,4)").alias("unit_price"),
        F.nullif(F.trim("stock_quantity"), F.lit("")).cast("int").alias("stock_quantity"),
        "ingested_at",
    )


def _derive(context: Context, source: Source, dates: list[date], late: bool) -> int:
    """Bring the versions up to date with the snapshots of `dates`; versions changed.

    In order, the open versions and the new snapshots say all. Where one is late, all snapshots do.
    """
    spark = context.spark
    existing = lake.read(spark, VERSIONS)
    snapshots = lake.read(spark, RAW)
    if not late:
        snapshots = snapshots.where(F.col("snapshot_date").isin(dates))
        existing = existing.where("is_current")
        snapshots = snapshots.unionByName(
            existing.withColumnRenamed("effective_date", "snapshot_date"), allowMissingColumns=True
        )
    after = scd.versions(snapshots, source.scd["type_2"]).persist()
    try:
        _fail_on_collision(after, lake.read(spark, VERSIONS))
        differences = scd.differences(after, existing, "product_sk").persist()
        changed = differences.count()
        if changed:
            lake.merge(differences, VERSIONS, "product_sk")
            context.failpoint("after-products-merge")
        return changed
    finally:
        lake.release(spark)


def _fail_on_collision(after: DataFrame, existing: DataFrame) -> None:
    keys = ["product_sk", "stock_code", "effective_date"]
    twice = (
        after.select(*keys)
        .union(existing.select(*keys))
        .distinct()
        .groupBy("product_sk")
        .agg(F.count("*").alias("versions"), F.collect_set("stock_code").alias("codes"))
        .where("versions > 1")
        .head()
    )
    if twice:
        raise WarehouseError(
            f"two product versions share the surrogate key {twice['product_sk']}: {', '.join(twice['codes'])}."
            " Nothing was changed; rename one of the stock codes at the source."
        )


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("ingest", "products"))
