"""Keep the lake small: compact files, expire snapshots that no job has yet to read from; archive resolved cases."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pyspark.sql import functions as F

from warehouse import lake, landing, ledger
from warehouse.ledger import Outcome, counted
from warehouse.session import CATALOG, Context

FOLLOWERS = {
    "products": ("dimension.products", "gold.products", "star.products"),
    "countries": ("dimension.countries", "gold.countries", "star.countries"),
    "transactions_raw": ("landing.transactions",),
    "products_raw": ("landing.products",),
    "countries_raw": ("landing.countries",),
}


def run(context: Context) -> Outcome:
    writers = [f"ingest {source}" for source in context.config.sources] + ["gold", "star"]
    with ledger.job(context, "maintain", apart_from=writers) as outcome:
        for source in context.config.sources.values():
            landing.reconcile(context, source)
        rewritten = expired = 0
        for namespace, tables in lake.TABLES.items():
            for table in tables:
                followers = FOLLOWERS.get(table, ()) if namespace == lake.BRONZE else ()
                rewritten += _compact(context, f"{namespace}.{table}", followers)
                expired += _expire(context, f"{namespace}.{table}", followers)
        archived = _archive(context)
        outcome.numbers = {"files_rewritten": rewritten, "files_deleted": expired, "cases_archived": archived}
        outcome.line = f"{rewritten} files rewritten, {expired} files of old snapshots deleted"
        outcome.line += f", {counted(archived, 'resolved case')} archived" if archived else ""
    return outcome


def pending(context: Context) -> Outcome:
    """What there is to look at. How much of it can go shows when it is done."""
    tables = [f"{namespace}.{table}" for namespace, tables in lake.TABLES.items() for table in tables]
    files = sum(lake.file_count(context.spark, table) for table in tables)
    snapshots = sum(lake.snapshots_before(context.spark, table, _kept_from(context)) for table in tables)
    with context.gold.cursor() as cursor:
        cursor.execute(
            "select count(*) from anomalies where status = 'RESOLVED' and reviewed_at < %s", (_archived_to(context),)
        )
        (cases,) = cursor.fetchone() or (0,)
    line = f"{counted(files, 'file')} in {len(tables)} tables to look at,"
    line += f" up to {counted(snapshots, 'snapshot')} to expire and {counted(cases, 'case')} to archive"
    return Outcome("maintain", line, numbers={"files": files, "snapshots": snapshots, "cases": cases})


def _kept_from(context: Context) -> datetime:
    return context.clock() - timedelta(days=context.config.keep_snapshots_days)


def _archived_to(context: Context) -> datetime:
    return context.clock() - timedelta(days=context.config.keep_resolved_days)


def _compact(context: Context, table: str, followers: Sequence[str]) -> int:
    """Rewrite small files; a job that has followed the table to here need not look at it again."""
    before = lake.snapshot_id(context.spark, table)
    row = context.spark.sql(
        f"call {CATALOG}.system.rewrite_data_files(table => '{table}', options => map("
        f"'target-file-size-bytes', '{context.config.target_file_bytes}', 'min-input-files', '5'))"
    ).head()
    context.spark.sql(f"call {CATALOG}.system.rewrite_manifests(table => '{table}')")
    for name in followers:
        if ledger.watermark(context.gold, name) == before:
            ledger.move_watermark(context.gold, name, lake.snapshot_id(context.spark, table))
    return int(row["rewritten_data_files_count"]) if row else 0


def _expire(context: Context, table: str, followers: Sequence[str]) -> int:
    """Expire snapshots that were in force before the time that is kept, but none from which a job has yet to go on."""
    marks = [mark for name in followers if (mark := ledger.watermark(context.gold, name)) is not None]
    committed = F.unix_micros("committed_at")
    kept = int(_kept_from(context).timestamp() * 1_000_000)
    needed = (
        context.spark.read.table(f"{CATALOG}.{table}.snapshots")
        .agg(
            F.max(F.when(committed <= kept, committed)).alias("in_force"),  # when that time begins
            F.min(F.when(F.col("snapshot_id").isin(marks), committed)).alias("followed"),
        )
        .head()
    )
    before = min(at for at in (kept, *(needed or ())) if at is not None)
    lake.forget_lost_snapshots(context.spark, table)
    row = context.spark.sql(
        f"call {CATALOG}.system.expire_snapshots(table => '{table}',"
        f" older_than => timestamp_micros({before}), retain_last => 1)"
    ).head()
    return int(row["deleted_data_files_count"]) if row else 0


def _archive(context: Context) -> int:
    """Move cases out of the way that were resolved longer ago than they are kept; how many."""
    with context.gold.cursor() as cursor:
        cursor.execute("select ops.archive_cases(%s)", (_archived_to(context),))
        (archived,) = cursor.fetchone() or (0,)
    return int(archived)


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("maintain"))
