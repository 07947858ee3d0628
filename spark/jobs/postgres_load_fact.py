"""Settle Gold: decide the fate of new and touched rows in Spark, then bring it in, in one transaction."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from warehouse import gather, gold, ledger
from warehouse.gold import Verdict
from warehouse.landing import Scope, is_unrecorded, reconcile, span
from warehouse.ledger import NOTHING, Outcome, counted
from warehouse.rules import facts, with_values
from warehouse.session import Context

IN_FACT = (
    "order_id",
    "invoice_date",
    "stock_code",
    "product_sk",
    "quantity",
    "unit_price",
    "total_amount",
    "customer_id",
    "country_id",
)
IN_ERROR = (*[f"landed_{c}" for c in facts.COLUMNS], "reason", "detail", "raw_record", "source_file")
STAGED = ("origin", "fate", "row_id", "transaction_key", "batch_id", *IN_FACT, *IN_ERROR)


def run(context: Context, scope: Scope) -> Outcome:
    with ledger.job(context, "gold", apart_from=["ingest transactions"]) as outcome:
        reconcile(context, context.config.sources["transactions"])
        window = gather.unsettled(context.gold, scope)
        reference = gather.reference(context)
        if not (window.entries or reference.changed or gather.verdicts_due(context.gold)):
            return outcome
        gold.open_staging(context, window.redecided)
        _decide(context, window, reference)
        outcome.numbers |= gold.settle(context, window.landed)
        gather.mark_settled(context.gold, window, context.run_id)
        gather.follow(context.gold, reference)
        outcome.line = _line(outcome)
        context.failpoint("before-gold-commit")
    context.failpoint("after-gold-commit")
    return outcome


def pending(context: Context, scope: Scope) -> Outcome:
    window = gather.unsettled(context.gold, scope)
    changed = gather.reference(context).changed
    due = gather.verdicts_due(context.gold)
    told = []
    if window.entries:
        files = counted(len(window.entries), "file")
        told.append(f"{files} pending ({counted(window.landed, 'row')}, {span(window.batches)})")
    if changed:
        told.append(f"what a change of {' and '.join(changed)} touches")
    if due:
        told.append(f"{counted(due, 'decision')} of stewards to judge")
    if is_unrecorded(context, context.config.sources["transactions"]):
        told.append("Bronze holds files of a run that was cut short, which are recorded first")
    numbers = {
        "files": len(window.entries),
        "rows": window.landed,
        "first": min(window.batches, default=None),
        "last": max(window.batches, default=None),
        "changed": changed,
        "decisions": due,
    }
    return Outcome("gold", "; ".join(told) or NOTHING, numbers=numbers)


def preview(context: Context, verdicts: Sequence[Verdict], errors: Sequence[int]) -> list[dict[str, Any]]:
    """What the next run would make of rows in error, were these decisions given; Gold stays as it is.

    `errors`: the rows that are asked for; none: all that stewards decided on since the last run.
    """
    with ledger.alone(context, "gold"):
        gold.open_staging(context, ())
        gold.suppose(context, verdicts)
        _decide(context, gather.unsettled(context.gold, Scope()), gather.reference(context))
        return gold.staged_errors(context, errors)


def _decide(context: Context, window: gather.Window, reference: gather.Reference) -> None:
    """Put the fate of all that the run must decide into staging."""
    undecided = []
    if window.contents:
        undecided.append(_of("N", facts.resolve(gather.new_rows(context, window))))
    if reference.changed and gather.touches(context, reference):
        undecided += [_of("T", gather.touched_facts(context)), _of("T", gather.touched_errors(context))]
    due = gather.due_rows(context, window)
    if due is not None:
        undecided.append(_of("V", facts.resolve(due)))
    if undecided:
        _stage(context, facts.judge(reduce(DataFrame.unionByName, undecided), *reference.now))
    batches = gold.find_contested(context)
    if batches:
        groups = facts.resolve(gather.contested(context, batches, window))
        _stage(context, facts.judge(_of("C", groups), *reference.now))


def _of(origin: str, rows: DataFrame) -> DataFrame:
    """Rows to be judged: new (N), touched by reference data (T), decided on by a steward (V) or contested (C)."""
    return rows.select(F.lit(origin).alias("origin"), *gather.UNDECIDED)


def _stage(context: Context, decided: DataFrame) -> None:
    """COPY decided rows to staging; each carries only the columns that its fate has a use for."""
    fate = F.col("fate")
    in_error = (fate == facts.ERROR) | F.col("corrected")  # the error of a corrected row stays beside its fact
    wanted = dict.fromkeys(IN_FACT, fate == facts.FACT) | dict.fromkeys(IN_ERROR, in_error)
    rows = decided.select(*with_values(STAGED, {c: F.when(where, F.col(c)) for c, where in wanted.items()}))
    gold.copy(context, rows, gold.staging_table(context), STAGED, failpoint="during-copy")


def _line(outcome: Outcome) -> str:
    n = outcome.numbers
    line = (
        f"{n['rows_in']} landed = {n['rows_fact']} facts + {n['rows_error']} errors + {n['rows_duplicate']} duplicates"
    )
    changes = [f"{n[c]} {c}" for c in ("repriced", "released", "corrected") if n[c]]
    return f"{line} ({', '.join(changes)})" if changes else line


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("gold"))
