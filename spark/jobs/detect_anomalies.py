"""Score what was loaded since by what is typical, and open a case for each order that is far out."""

from datetime import date, datetime, time

from pyspark.sql import DataFrame

from jobs import refresh_baselines
from warehouse import gold, ledger
from warehouse.landing import span
from warehouse.ledger import NOTHING, Outcome, counted
from warehouse.rules.anomalies import SCORE, TIERS
from warehouse.session import Context

STAGING = "new_anomalies"
SALE = ("transaction_id", "order_id", "stock_code", "quantity", "customer_id", "country_id", "invoice_date")


def run(context: Context) -> Outcome:
    with ledger.job(context, "detect", apart_from=["gold", "baselines"]) as outcome:
        numbers = dict.fromkeys(("scored", *TIERS, "baselines"), 0)
        months = _months(context)
        for month in months:
            numbers["baselines"] += _refresh_if_due(context, month)
            for name, rows in _score(context, month).items():
                numbers[name] += rows
            context.gold.commit()  # the next month's baselines leave out what was flagged in this one
        numbers["baselines"] += refresh_baselines.refresh_due(context)
        outcome.numbers |= numbers
        if months or numbers["baselines"]:
            outcome.line = _line(numbers)
    return outcome


def pending(context: Context) -> Outcome:
    months = {month: sales for month in _months(context) if (sales := _count(context, _waiting(context, month)))}
    with context.gold.cursor() as cursor:
        cursor.execute("select count(*) from ops.baseline_due")
        (due,) = cursor.fetchone() or (0,)
    told = []
    if months:
        within = span([f"{month:%Y-%m}" for month in months])
        told.append(f"{counted(sum(months.values()), 'sale')} pending ({within})")
    if due:
        told.append(f"{counted(due, 'baseline')} to make anew after verdicts")
    return Outcome("detect", "; ".join(told) or NOTHING, numbers={"sales": sum(months.values()), "baselines": due})


def _months(context: Context) -> list[date]:
    with context.gold.cursor() as cursor:
        cursor.execute("select distinct month from ops.score_feed order by month")
        return [month for (month,) in cursor]


def _refresh_if_due(context: Context, month: date) -> int:
    """Baselines as of the first instant of a month, where those in force are of an earlier one; how many were made.

    Of a sale that is dated after all windows, by a clock that is wrong, what is typical in the newest month is known.
    """
    newest = refresh_baselines.newest_end(context)
    begins = datetime.combine(min(month, newest.date().replace(day=1)) if newest else month, time())
    until, method = refresh_baselines.in_force(context) or (begins, "")
    if until >= begins and method == context.config.anomaly_method.name:
        refreshed = refresh_baselines.refresh_due(context)
    else:
        refreshed = refresh_baselines.refresh(context, max(until, begins))
    context.gold.commit()
    return refreshed


def _waiting(context: Context, month: date) -> str:
    """The sales of a month that wait to be scored, as the part of a query from `from` on, with constants as bounds."""
    with context.gold.cursor() as cursor:
        cursor.execute("select min(loaded_at), max(loaded_at) from ops.score_feed where month = %s", (month,))
        first, last = cursor.fetchone() or (None, None)
    return f"""
        from fact_transactions as f
        where
            f.loaded_at between '{first}'::timestamptz and '{last}'::timestamptz and f.quantity > 0
            and f.invoice_date >= '{month}'::date and f.invoice_date < '{month}'::date + interval '1 month'
            and not exists (
                select from ops.score_known as k
                where k.transaction_id = f.transaction_id and k.loaded_at = f.loaded_at
            )
            and not exists (
                select from ops.all_anomalies as a
                where a.transaction_id = f.transaction_id and a.stock_code = f.stock_code and a.quantity = f.quantity
            )
        """


def _count(context: Context, waiting: str) -> int:
    with context.gold.cursor() as cursor:
        cursor.execute(f"select count(*) {waiting}")
        (sales,) = cursor.fetchone() or (0,)
    return int(sales)


def _score(context: Context, month: date) -> dict[str, int]:
    """Score the sales of a month that wait for it; how many, and how many in each tier, once the caller commits."""
    waiting = _waiting(context, month)
    scored = _count(context, waiting)
    with context.gold.cursor() as cursor:
        cursor.execute("select exists (select from product_baselines where is_current)")
        flagged = _flagged(context, waiting) if scored and cursor.fetchone() == (True,) else None
        gold.stage(context, flagged, STAGING, f"select {', '.join((*SALE, *SCORE))} from anomalies")
        cursor.execute("call ops.open_cases(%s, %s, %s)", (STAGING, context.run_id, month))
        cursor.execute("select tier, count(*) from anomalies where created_at = now() group by tier")
        return {"scored": scored} | dict(cursor)


def _flagged(context: Context, waiting: str) -> DataFrame:
    sales = gold.query(context, f"select {', '.join(f'f.{column}' for column in SALE)} {waiting}")
    baselines = gold.query(context, "select * from product_baselines where is_current")
    scores = context.config.anomaly_method.scores(refresh_baselines.with_category(context, sales), baselines)
    return scores.select(*SALE, *SCORE)


def _line(numbers: dict[str, int]) -> str:
    tiers = [f"{numbers[tier]} {tier}" for tier in TIERS if numbers[tier]]
    flagged = sum(numbers[tier] for tier in TIERS)
    line = f"{numbers['scored']} scored, {counted(flagged, 'anomaly', 'anomalies')}"
    line += f" ({', '.join(tiers)})" if tiers else ""
    return line + (f"; {counted(numbers['baselines'], 'baseline')} refreshed" if numbers["baselines"] else "")


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("detect"))
