"""Load every pending country snapshot; the first values of a country stay (SCD type 0)."""

from datetime import date
from functools import partial

from pyspark.sql import functions as F

from warehouse import lake, landing, ledger
from warehouse.config import Source
from warehouse.ledger import Outcome
from warehouse.rules import scd
from warehouse.session import Context

RAW, COUNTRIES = f"{lake.BRONZE}.countries_raw", f"{lake.BRONZE}.countries"


def run(context: Context, scope: landing.Scope, replacing: bool = False) -> Outcome:
    source = context.config.sources["countries"]
    with ledger.job(context, "ingest countries") as outcome:
        landing.load(context, source, scope, replacing, outcome, partial(landing.typed, source=source))
        dates, every = landing.unsettled_dates(context, source)
        if dates:
            changed, refused = _derive(context, source, dates, every)
            landing.settle_snapshots(context, source)
            outcome.numbers |= {"countries_changed": changed, "values_not_applied": refused}
            outcome.line += f"; {ledger.counted(changed, 'country', 'countries')} new"
            if refused:
                context.say(
                    f"ingest countries: {ledger.counted(refused, 'changed value')} not applied (the first ones stay)"
                )
    return outcome


def pending(context: Context, scope: landing.Scope, replacing: bool = False) -> Outcome:
    return landing.would_load(context, context.config.sources["countries"], scope, replacing)


def _derive(context: Context, source: Source, dates: list[date], every: bool) -> tuple[int, int]:
    """Bring the countries up to date with the snapshots of `dates`, or of `every` one: (changed, not applied)."""
    spark = context.spark
    values = source.scd["type_0"]
    columns = [F.col("country_id"), *[F.col(c) for c in values], F.col("snapshot_date").alias("first_seen")]
    existing = lake.read(spark, COUNTRIES)
    new = lake.read(spark, RAW).where(F.col("snapshot_date").isin(dates)).select(*columns)
    known = lake.read(spark, RAW).select(*columns) if every else existing.unionByName(new)
    after = scd.first_values(known, "country_id", "first_seen").persist()
    first, other = F.struct(*[f"f.{c}" for c in values]), F.struct(*[f"n.{c}" for c in values])
    try:
        differences = scd.differences(after, existing, "country_id").persist()
        changed = differences.count()
        refused = new.alias("n").join(after.alias("f"), "country_id").where(~first.eqNullSafe(other)).count()
        if changed:
            lake.merge(differences, COUNTRIES, "country_id")
        return changed, refused
    finally:
        lake.release(spark)


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("ingest", "countries"))
