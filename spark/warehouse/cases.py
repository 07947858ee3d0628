"""Unusual orders at the command line, as data stewards look at the cases and judge them; Gold alone."""

import argparse
from typing import Any

from warehouse import monitor
from warehouse.errors import UsageError
from warehouse.rules.anomalies import TIERS
from warehouse.session import Context
from warehouse.stewards import REFUSED, actions_of, text, usage_error

STATUSES = ("NEW", "REVIEWED", "RESOLVED", "FALSE_POSITIVE")
_LIST = """
select anomaly_id, status, tier, round(z_score::numeric, 1) as z, invoice_date, order_id, customer_id, explanation
from anomaly_cases
where status = any(%s) and tier = any(%s)
order by z_score desc, anomaly_id limit %s
"""
_AUDIT = """
select changed_at, changed_by, from_status, to_status, notes from anomaly_audit where anomaly_id = %s order by audit_id
"""


def add_case_commands(parser: argparse.ArgumentParser) -> None:
    """`warehouse anomalies list|show|review`; `act` is what to do."""
    action = actions_of(parser)
    added = action("list", _list, "cases, worst first")
    added.add_argument("--status", choices=STATUSES, type=str.upper, help="default: NEW and REVIEWED")
    added.add_argument("--tier", choices=TIERS, help="default: all")
    added.add_argument("--limit", type=int, default=50, metavar="N", help="at most N (default: 50)")
    added = action("show", _show, "all about one case, and how its status changed")
    added.add_argument("case", type=int)
    added = action("review", _review, "a verdict: RESOLVED and FALSE_POSITIVE need notes")
    added.add_argument("case", type=int)
    added.add_argument("status", choices=STATUSES, type=str.upper)
    added.add_argument("--notes", type=text)


def _list(context: Context, options: Any) -> int:
    statuses = [options.status] if options.status else ["NEW", "REVIEWED"]
    tiers = [options.tier] if options.tier else list(TIERS)
    monitor.show_rows(*monitor.rows(context, _LIST, (statuses, tiers, max(options.limit, 0))), options.json)
    return 0


def _show(context: Context, options: Any) -> int:
    query = "select * from anomaly_cases where anomaly_id = %s::bigint"
    try:
        columns, rows = monitor.rows(context, query, (options.case,))
    except REFUSED as error:
        raise usage_error(error) from None
    if not rows:
        raise UsageError(f"there is no case {options.case}")
    audit = monitor.rows(context, _AUDIT, (options.case,))
    monitor.show_record(dict(zip(columns, rows[0], strict=True)), "changes", *audit, options.json)
    return 0


def _review(context: Context, options: Any) -> int:
    """The function review_anomaly in Gold."""
    try:
        with context.gold, context.gold.cursor() as cursor:
            arguments = (options.case, options.status, options.notes)
            cursor.execute("select (review_anomaly(%s::bigint, %s, %s)).status", arguments)
            (now,) = cursor.fetchone() or (options.status,)
    except REFUSED as error:
        raise usage_error(error) from None
    if options.json:
        monitor.show_rows(("anomaly_id", "status"), [(options.case, now)], True)
    else:
        print(f"case {options.case} is {now}")
    return 0
