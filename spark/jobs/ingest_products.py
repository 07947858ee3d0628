"""Load every pending product snapshot and derive the product versions (SCD type 2) from it."""

from datetime import date
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from warehouse import lake, landing, ledger
from warehouse.config import Source
from warehouse.errors import WarehouseError
from warehouse.ledger import Outcome
from warehouse.rules import scd
from warehouse.session import Context

RAW, VERSIONS = f"{lake.BRONZE}.products_raw", f"{lake.BRONZE}.products"


def run(context: Context, scope: landing.Scope, replacing: bool = False) -> Outcome:
    source = context.config.sources["products"]
    with ledger.job(context, "ingest products") as outcome:
        landing.load(context, source, scope, replacing, outcome, partial(landing.typed, source=source))
        dates, every = landing.unsettled_dates(context, source)
        if dates:
            changed = _derive(context, source, dates, every)
            landing.settle_snapshots(context, source)
            outcome.numbers["versions_changed"] = changed
            outcome.line += f"; {ledger.counted(changed, 'version')} changed"
    return outcome


def pending(context: Context, scope: landing.Scope, replacing: bool = False) -> Outcome:
    return landing.would_load(context, context.config.sources["products"], scope, replacing)


def _derive(context: Context, source: Source, dates: list[date], every: bool) -> int:
    """Bring the versions up to date with the snapshots of `dates`; versions changed.

    The open versions and the new snapshots say all, or it takes `every` snapshot there is.
    """
    spark = context.spark
    existing = lake.read(spark, VERSIONS)
    snapshots = lake.read(spark, RAW)
    if not every:
        existing = existing.where("is_current")
        opened = existing.withColumnRenamed("effective_date", "snapshot_date")
        snapshots = snapshots.where(F.col("snapshot_date").isin(dates)).unionByName(opened, allowMissingColumns=True)
    after = scd.versions(snapshots, source.scd["type_2"])
    differences = scd.differences(after, existing, "product_sk").persist()
    try:
        changed = differences.count()
        if changed:
            _fail_on_collision(differences, lake.read(spark, VERSIONS))
            lake.merge(differences, VERSIONS, "product_sk")
            context.failpoint("after-products-merge")
        return changed
    finally:
        lake.release(spark)


def _fail_on_collision(differences: DataFrame, existing: DataFrame) -> None:
    twice = scd.collisions(differences.where("op = 'U'"), existing).head()
    if twice:
        raise WarehouseError(
            f"two product versions share the surrogate key {twice['product_sk']}:"
            f" {twice['one']['stock_code']} and {twice['other']['stock_code']}."
            " No version was changed; rename one of the stock codes at the source."
        )


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("ingest", "products"))
