"""Refresh what is typical of each product, by the sales of the year before."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from warehouse import gather, gold, lake, ledger
from warehouse.landing import batch_end
from warehouse.ledger import Outcome, counted
from warehouse.rules.anomalies import BASELINE, PRODUCT
from warehouse.session import Context

STAGING, DUE = "new_baselines", "baselines_due"


def run(context: Context, until: datetime | None = None) -> Outcome:
    with ledger.job(context, "baselines", apart_from=["gold", "detect"]) as outcome:
        end = _period_end(context, until)
        if end is not None:
            outcome.numbers["baselines"] = refresh(context, end)
            outcome.line = f"{counted(outcome.numbers['baselines'], 'baseline')} by sales before {end:%Y-%m-%d %H:%M}"
    return outcome


def pending(context: Context, until: datetime | None = None) -> Outcome:
    end = _period_end(context, until)
    if end is None:
        return Outcome("baselines")
    with context.gold.cursor() as cursor:
        cursor.execute(
            "select count(distinct stock_code) from fact_transactions"
            " where quantity > 0 and invoice_date >= %s and invoice_date < %s",
            (_period_start(context, end), end),
        )
        (products,) = cursor.fetchone() or (0,)
    line = f"{counted(products, 'product')} pending (by sales before {end:%Y-%m-%d %H:%M})"
    return Outcome("baselines", line, numbers={"products": products, "until": end})


def _period_end(context: Context, until: datetime | None) -> datetime | None:
    """Where the newest window that is settled ends, or before that `until`; None where nothing is settled (UTC).

    A time to come would put off the refreshes that are due at the beginning of each month.
    """
    newest = newest_end(context)
    return newest and min(filter(None, (until, newest))).replace(tzinfo=None)


def newest_end(context: Context) -> datetime | None:
    """Where the newest window ends of which Gold has sales (UTC); none ends in the time to come."""
    with context.gold.cursor() as cursor:
        cursor.execute("select max(batch_id) from ops.landed_files where in_gold > 0")
        (newest,) = cursor.fetchone() or (None,)
    return newest and min(batch_end(newest), context.clock().astimezone(UTC))


def _period_start(context: Context, end: datetime) -> datetime:
    return end - timedelta(days=context.config.lookback_days)


def refresh(context: Context, until: datetime) -> int:
    """All baselines anew, by the sales before `until` (UTC); how many, once the caller commits."""
    _take_due(context)
    refreshed = _bring(context, until, "true")
    with context.gold.cursor() as cursor:
        cursor.execute(
            f"insert into ops.baseline_refreshes (period_end, method, run_id, computed_at)"
            f" values (%s, %s, %s, clock_timestamp()); {_DUE_IS_DONE}",
            (until, context.config.anomaly_method.name, context.run_id),
        )
    return refreshed


_DUE_IS_DONE = f"""
delete from ops.baseline_due as d using staging.{DUE} as t where d.stock_code = t.stock_code and d.since = t.since;
drop table staging.{DUE}
"""


def _take_due(context: Context) -> None:
    """Note which verdicts there are before any sale is read, for all sessions; what comes later is due once more."""
    with context.gold.cursor() as cursor:
        cursor.execute(
            f"drop table if exists staging.{DUE};"
            f" create unlogged table staging.{DUE} as select d.stock_code, d.since from ops.baseline_due as d"
        )
    context.gold.commit()


def in_force(context: Context) -> tuple[datetime, str] | None:
    """Where the period of the baselines in force ends, and their method."""
    with context.gold.cursor() as cursor:
        cursor.execute("select period_end, method from ops.baseline_refreshes order by computed_at desc limit 1")
        found: tuple[datetime, str] | None = cursor.fetchone()
    return found


def refresh_due(context: Context) -> int:
    """Those anew whose product a verdict concerns, by the period in force; how many, once the caller commits."""
    with context.gold.cursor() as cursor:
        cursor.execute("select exists (select from ops.baseline_due)")
        due, now = cursor.fetchone() == (True,), in_force(context)
        if not due or now is None:
            return 0
        _take_due(context)
        concerned = f"f.stock_code in (select d.stock_code from staging.{DUE} as d)"
        refreshed = _bring(context, now[0], concerned, (PRODUCT,))
        cursor.execute(_DUE_IS_DONE)
    return refreshed


def _bring(context: Context, until: datetime, condition: str, levels: Sequence[str] = ()) -> int:
    """New versions of the baselines of some products' sales; those on `levels` alone, where any is named."""
    since = _period_start(context, until)
    # without those that were flagged and not acquitted
    typical = f"""
        from fact_transactions as f
        where
            f.quantity > 0 and f.invoice_date >= '{since}'::timestamp and f.invoice_date < '{until}'::timestamp
            and {condition}
            and not exists (
                select from ops.all_anomalies as a
                where a.transaction_id = f.transaction_id and a.status <> 'FALSE_POSITIVE'
            )
        """
    shape = f"select {', '.join(BASELINE)} from product_baselines"
    method = context.config.anomaly_method
    with context.gold.cursor() as cursor:
        cursor.execute(f"select count(*) from (select {typical} limit %s) as sales", (method.min_orders,))
        enough = cursor.fetchone() == (method.min_orders,)
    if enough:
        sales = _sales(context, typical).persist()  # a method may pass over them more than once
        new = method.baselines(sales)
        rows = gold.stage(context, new.where(F.col("level").isin(list(levels))) if levels else new, STAGING, shape)
        sales.unpersist()
    else:
        rows = gold.stage(context, None, STAGING, shape)
    concerned = condition.replace("f.stock_code", "b.stock_code")
    with context.gold.cursor() as cursor:
        cursor.execute(
            f"update product_baselines as b set is_current = false where b.is_current and {concerned};"
            f" insert into product_baselines ({', '.join(BASELINE)}, method, period_start, period_end)"
            f" select {', '.join(BASELINE)}, %s, %s, %s from staging.{STAGING};"
            f" drop table staging.{STAGING}, staging.{STAGING}_parts",
            (method.name, since, until),
        )
    return rows


def _sales(context: Context, typical: str) -> DataFrame:
    """The sales of a period with their product's category; `typical` is the part of their query from `from` on."""
    quantities = gold.query(
        context, f"select f.stock_code, f.quantity, count(*) as times {typical} group by f.stock_code, f.quantity"
    )
    return with_category(context, quantities.withColumn("_sale", F.explode(F.sequence(F.lit(1), "times")))).select(
        "stock_code", "category", "quantity"
    )


def with_category(context: Context, sales: DataFrame) -> DataFrame:
    """Sales with the category that their product has now."""
    now = lake.read(context.spark, gather.PRODUCTS).where("is_current").select("stock_code", "category")
    return sales.join(F.broadcast(now), "stock_code", "left")


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("baselines"))
