"""Keep the lake small: compact files, expire snapshots that no job has yet to read from."""

from datetime import timedelta

from pyspark.sql import functions as F

from warehouse import lake, landing, ledger
from warehouse.ledger import Outcome
from warehouse.session import CATALOG, Context

FOLLOWED = {
    "products": ("gold.products", "star.products"),
    "countries": ("gold.countries", "star.countries"),
}


def run(context: Context) -> Outcome:
    writers = [f"ingest {source}" for source in context.config.sources] + ["gold", "star"]
    with ledger.job(context, "maintain", apart_from=writers) as outcome:
        for source in context.config.sources.values():
            landing.reconcile(context, source)
        rewritten = expired = 0
        for namespace, tables in lake.TABLES.items():
            for table in tables:
                rewritten += _compact(context, f"{namespace}.{table}")
                expired += _expire(context, namespace, table)
        for source in context.config.sources.values():
            snapshot = lake.snapshot_id(context.spark, f"{lake.BRONZE}.{source.name}_raw")
            ledger.move_watermark(context.gold, f"landing.{source.name}", snapshot)
        outcome.numbers = {"files_rewritten": rewritten, "files_deleted": expired}
        outcome.line = f"{rewritten} files rewritten, {expired} files of old snapshots deleted"
    return outcome


def _compact(context: Context, table: str) -> int:
    row = context.spark.sql(
        f"call {CATALOG}.system.rewrite_data_files(table => '{table}', options => map("
        f"'target-file-size-bytes', '{context.config.target_file_bytes}', 'min-input-files', '5'))"
    ).head()
    context.spark.sql(f"call {CATALOG}.system.rewrite_manifests(table => '{table}')")
    return int(row["rewritten_data_files_count"]) if row else 0


def _expire(context: Context, namespace: str, table: str) -> int:
    """Expire snapshots beyond the time that is kept, but none from which a job has yet to go on."""
    before = context.clock() - timedelta(days=context.config.keep_snapshots_days)
    if namespace == lake.BRONZE:
        marks = [ledger.watermark(context.gold, name) for name in FOLLOWED.get(table, ())]
        needed = (
            context.spark.read.table(f"{CATALOG}.{namespace}.{table}.snapshots")
            .where(F.col("snapshot_id").isin([mark for mark in marks if mark is not None]))
            .agg(F.min(F.unix_millis("committed_at")))
            .head()
        )
        if needed is not None and needed[0] is not None:
            before = min(before, context.clock().fromtimestamp(needed[0] / 1000, before.tzinfo))
    row = context.spark.sql(
        f"call {CATALOG}.system.expire_snapshots(table => '{namespace}.{table}',"
        f" older_than => timestamp '{before:%Y-%m-%d %H:%M:%S.%f}', retain_last => 1)"
    ).head()
    return int(row["deleted_data_files_count"]) if row else 0


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("maintain"))
