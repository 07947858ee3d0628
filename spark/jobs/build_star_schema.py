"""Bring the star schema up to date with Gold's facts and Bronze's dimensions, and publish the dimensions."""

from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from warehouse import gold, lake, ledger
from warehouse.errors import WarehouseError
from warehouse.ledger import NOTHING, Outcome, counted
from warehouse.rules import scd, star
from warehouse.session import Context

FACT = f"{lake.STAR}.fact_transactions"
ROWS_A_PART = 500_000


@dataclass(frozen=True)
class Feed:
    """What Gold's settles have written since the star last followed.

    `stale`: facts that they changed or took away; `rewritten`: those of them that are facts still.
    """

    settles: tuple[datetime, ...]
    facts: int
    stale: int
    rewritten: int

    @property
    def bounds(self) -> tuple[str, str]:
        """The first and the last settle, as constants of SQL: the planner must know how few facts lie between.

        No other settle is between them: the feed holds the newest ones, or all.
        """
        return f"'{self.settles[0].isoformat()}'::timestamptz", f"'{self.settles[-1].isoformat()}'::timestamptz"


def run(context: Context, rebuild: bool = False) -> Outcome:
    with ledger.job(context, "star", apart_from=["gold"]) as outcome:
        if _is_strange(context) or rebuild:
            _start_anew(context)
        feed = _feed(context)
        changed = {
            "dim_products": _follow_bronze(context, "products", "product_sk"),
            "dim_countries": _follow_bronze(context, "countries", "country_sk"),
            "dim_customers": _customers(context, feed),
        }
        if feed.settles:
            changed["dim_dates"] = _dates(context)
            changed["fact_transactions"] = _facts(context, feed)
            _forget(context, feed)
        _check(context)
        outcome.numbers |= changed
        if any(changed.values()):
            outcome.line = ", ".join(f"{rows} changed in {table}" for table, rows in changed.items() if rows)
    return outcome


def pending(context: Context, rebuild: bool = False) -> Outcome:
    feed = _feed(context)
    behind = [table for table in ("products", "countries") if _bronze(context, table)]
    anew = rebuild or _is_strange(context)
    told = []
    if anew:
        told.append(f"to be made anew from {counted(_facts_in_gold(context), 'fact')} in Gold")
    elif feed.settles:
        told.append(f"{counted(len(feed.settles), 'settle')} pending ({counted(feed.facts, 'fact')} written,")
        told[-1] += f" {feed.stale} changed or gone)"
    if behind:
        told.append(f"{' and '.join(behind)} changed")
    numbers = {
        "anew": anew,
        "settles": len(feed.settles),
        "facts": feed.facts,
        "stale": feed.stale,
        "changed": behind,
    }
    return Outcome("star", "; ".join(told) or NOTHING, numbers=numbers)


def _is_strange(context: Context) -> bool:
    """Whether Gold did not fill these very tables: they, or Gold itself, were made anew since."""
    tables = lake.identity(context.spark, lake.STAR)
    return tables is None or tables != ledger.watermark(context.gold, "star.tables")


def _feed(context: Context) -> Feed:
    with context.gold.cursor() as cursor:
        cursor.execute("select loaded_at, facts from ops.star_feed order by loaded_at")
        settles = list(cursor)
        cursor.execute(
            "select count(distinct s.transaction_id), count(distinct f.transaction_id) from ops.star_stale as s"
            " left join fact_transactions as f on s.transaction_id = f.transaction_id"
        )
        stale, rewritten = cursor.fetchone() or (0, 0)
    return Feed(tuple(at for at, _ in settles), sum(facts for _, facts in settles), stale, rewritten)


def _start_anew(context: Context) -> None:
    """Empty what follows Gold, and let all of Gold be new to it."""
    with context.gold.cursor() as cursor:  # before the tables are touched, so that a run cut short here starts anew
        cursor.execute("delete from ops.watermarks where name like 'star.%'")
    context.gold.commit()
    if lake.identity(context.spark, lake.STAR) is None:
        lake.create(context.spark)
    for table in (FACT, f"{lake.STAR}.dim_customers", f"{lake.STAR}.dim_dates"):
        lake.overwrite(context.spark, table, None)
    with context.gold.cursor() as cursor:
        cursor.execute(
            "delete from dim_customers; delete from ops.star_stale; delete from ops.star_feed;"
            " insert into ops.star_feed (loaded_at, run_id, facts)"
            " select loaded_at, 'rebuild', count(*) from fact_transactions group by loaded_at"
        )
    ledger.move_watermark(context.gold, "star.tables", lake.identity(context.spark, lake.STAR))
    context.gold.commit()


def _follow_bronze(context: Context, table: str, key: str) -> int:
    """Bring a dimension, in the star and in Gold, to where its Bronze table stands; rows changed."""
    spark, source, dimension = context.spark, f"{lake.BRONZE}.{table}", f"dim_{table}"
    snapshots = _bronze(context, table)
    if snapshots is None:
        return 0
    since, now = snapshots

    def keyed(rows: DataFrame) -> DataFrame:
        return rows if key in rows.columns else rows.withColumn(key, star.country_sk())

    if lake.has_snapshot(spark, source, since) and not _cut_short(context):
        changed = _bring(context, dimension, key, scd.net(keyed(lake.changes(spark, source, since, now)), key))
    else:
        rows = keyed(lake.read(spark, source, now))
        held = lake.read(spark, f"{lake.STAR}.{dimension}").select(*rows.columns)
        changed = _bring(context, dimension, key, scd.differences(rows, held, key), whole=rows)
    ledger.move_watermark(context.gold, f"star.{table}", now)
    return changed


def _bronze(context: Context, table: str) -> tuple[int | None, int] | None:
    """The snapshots from and to which a dimension has to follow its Bronze table; None: it has."""
    now = lake.snapshot_id(context.spark, f"{lake.BRONZE}.{table}")
    since = ledger.watermark(context.gold, f"star.{table}")
    return None if now is None or now == since else (since, now)


def _customers(context: Context, feed: Feed) -> int:
    """Bring dim_customers to what Gold's facts say of the customers that bought; rows changed.

    The row for guests is always there, as a rebuild without a single fact has it.
    """
    differences = []
    if feed.settles:
        found = gold.query(context, f"select * from ops.changed_customers({', '.join(feed.bounds)})")
        op = F.when(F.col("country_id").isNull(), F.lit("D")).otherwise(F.lit("U"))
        differences.append(found.select(op.alias("op"), star.customer_sk().alias("customer_sk"), "*"))
    with context.gold.cursor() as cursor:
        cursor.execute("select exists (select from dim_customers where customer_sk = %s)", (star.GUEST_SK,))
        if cursor.fetchone() == (False,):
            differences.append(star.guest(context.spark).withColumn("op", F.lit("U")))
    if not differences:
        return 0
    return _bring(context, "dim_customers", "customer_sk", reduce(DataFrame.unionByName, differences))


def _bring(context: Context, dimension: str, key: str, differences: DataFrame, whole: DataFrame | None = None) -> int:
    """Apply differences to a dimension in the star and in Gold; rows changed.

    `whole`: what the dimension is to hold, where Gold may differ from it by more than the star does.
    """
    differences = differences.persist()
    try:
        if whole is None:
            changed = gold.publish(context, dimension, key, differences)
        else:
            changed = differences.count()
            gold.publish(context, dimension, key, whole.withColumn("op", F.lit("U")), whole=True)
        if changed:
            lake.merge(differences, f"{lake.STAR}.{dimension}", key)
        return changed
    finally:
        lake.release(context.spark)


def _dates(context: Context) -> int:
    """Let dim_dates hold every day between the first and the last fact; its rows where it changed."""
    with context.gold.cursor() as cursor:
        cursor.execute("select min(invoice_date)::date, max(invoice_date)::date from fact_transactions")
        first, last = cursor.fetchone() or (None, None)
    held = lake.read(context.spark, f"{lake.STAR}.dim_dates").agg(F.min("date"), F.max("date")).head()
    if held is not None and (first, last) == tuple(held):
        return 0
    days = star.date_rows(context.spark, first, last) if first else None
    lake.overwrite(context.spark, f"{lake.STAR}.dim_dates", days)
    return (last - first).days + 1 if first else 0


def _facts(context: Context, feed: Feed) -> int:
    """Bring the star's facts to where Gold's are; rows written.

    New facts are appended. Those that the star may hold already are merged, month by month: rows that
    a settle changed or took away, and all of them when the last run of this job was cut short.
    """
    condition = "loaded_at between {} and {}".format(*feed.bounds)
    stale = "transaction_id in (select t.transaction_id from ops.star_stale as t)"
    if not _cut_short(context):
        if feed.rewritten < feed.facts:
            fresh = gold.query_parts(context, "fact_transactions", f"{condition} and not {stale}", _parts(feed.facts))
            lake.append(star.fact_rows(fresh), FACT)
            context.failpoint("after-star-append")
        if not feed.stale:
            return feed.facts
        condition = f"{condition} and {stale}"
    _merge_facts(context, condition, feed)
    return feed.facts


def _merge_facts(context: Context, condition: str, feed: Feed) -> None:
    with context.gold.cursor() as cursor:
        cursor.execute(
            "select distinct date_trunc('month', invoice_date)::date from fact_transactions"
            f" where {condition} union select month from ops.star_stale"
        )
        months = sorted(month for (month,) in cursor)
    now = star.fact_rows(gold.query_parts(context, "fact_transactions", condition, _parts(feed.facts)))
    gone = gold.query(
        context,
        "select distinct t.transaction_id from ops.star_stale as t where not exists"
        " (select from fact_transactions as f where f.transaction_id = t.transaction_id)",
    )
    differences = now.withColumn("op", F.lit("U")).unionByName(
        gone.withColumn("op", F.lit("D")), allowMissingColumns=True
    )
    touched = " or ".join(f"(t.year = {month.year} and t.month = {month.month})" for month in months)
    lake.merge(differences, FACT, "transaction_id", f"({touched})")
    context.failpoint("after-star-merge")


def _cut_short(context: Context) -> bool:
    """Whether the last run of this job may have written to the star what it did not account for."""
    with context.gold.cursor() as cursor:
        cursor.execute(
            "select status from ops.etl_runs where job = 'star' and run_id <> %s order by started_at desc limit 1",
            (context.run_id,),
        )
        return cursor.fetchone() not in (None, ("DONE",))


def _parts(rows: int) -> int:
    return 1 + rows // ROWS_A_PART


def _facts_in_gold(context: Context) -> int:
    """How many facts the settles have left in Gold, by the ledger."""
    with context.gold.cursor() as cursor:
        cursor.execute("select coalesce(sum(rows_fact), 0) from ops.etl_runs where job = 'gold'")
        (facts,) = cursor.fetchone() or (0,)
    return int(facts)


def _forget(context: Context, feed: Feed) -> None:
    """The star has followed these settles, once the caller commits."""
    with context.gold.cursor() as cursor:
        for table in ("ops.star_feed", "ops.star_stale"):
            cursor.execute(f"delete from {table} where loaded_at = any(%s)", (list(feed.settles),))


def _check(context: Context) -> None:
    """The star holds as many facts as Gold, unless a settle came meanwhile."""
    in_star = lake.row_count(context.spark, FACT)
    with context.gold.cursor() as cursor:
        cursor.execute("select exists (select from ops.star_feed)")
        if cursor.fetchone() == (False,) and in_star != _facts_in_gold(context):
            raise WarehouseError(
                f"the star schema holds {in_star} facts and Gold {_facts_in_gold(context)}."
                " Nothing was committed; `warehouse star --rebuild` makes it anew from Gold."
            )


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("star"))
