"""Load every pending transaction file into Bronze, whole or not at all."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from warehouse import landing, ledger
from warehouse.ledger import Outcome
from warehouse.rules import facts
from warehouse.session import Context


def run(context: Context, scope: landing.Scope, replacing: bool = False) -> Outcome:
    source = context.config.sources["transactions"]
    with ledger.job(context, "ingest transactions") as outcome:
        landing.load(context, source, scope, replacing, outcome, _bronze_rows)
    return outcome


def pending(context: Context, scope: landing.Scope, replacing: bool = False) -> Outcome:
    return landing.would_load(context, context.config.sources["transactions"], scope, replacing)


def _bronze_rows(landed: DataFrame) -> DataFrame:
    """Every landed row as text; the whole record only of a row that does not parse, without its line end."""
    return facts.parse(facts.correct(landed)).select(
        *[c for c in landed.columns if c not in (*facts.COLUMNS, "raw_record", "snapshot_date")],
        *[F.col(f"landed_{c}").alias(c) for c in facts.COLUMNS],
        F.when(F.col("malformed").isNotNull(), F.rtrim("raw_record", F.lit("\r\n"))).alias("raw_record"),
    )


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("ingest", "transactions"))
