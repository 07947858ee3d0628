"""Anomalous orders as stewards look at them and judge them; Gold alone."""

from collections.abc import Sequence
from typing import Any

import psycopg2

from warehouse import monitor
from warehouse.errors import UsageError
from warehouse.session import Context

STATUSES = ("NEW", "REVIEWED", "RESOLVED", "FALSE_POSITIVE")
TIERS = ("critical", "warning", "notice")
_LIST = """
select anomaly_id, status, tier, round(z_score::numeric, 1) as z, invoice_date, order_id, customer_id, explanation
from anomaly_cases
where status = any(%s) and tier = any(%s)
order by z_score desc, anomaly_id limit %s
"""
_AUDIT = """
select changed_at, changed_by, from_status, to_status, notes from anomaly_audit where anomaly_id = %s order by audit_id
"""


def show_list(context: Context, statuses: Sequence[str], tiers: Sequence[str], limit: int, as_json: bool) -> int:
    """The cases of some statuses and tiers, worst first."""
    columns, rows = monitor.rows(context, _LIST, (list(statuses), list(tiers), limit))
    monitor.show_rows(columns, rows, as_json)
    return 0


def show(context: Context, anomaly_id: int, as_json: bool) -> int:
    """All about one case, and how its status changed."""
    columns, rows = monitor.rows(context, "select * from anomaly_cases where anomaly_id = %s", (anomaly_id,))
    if not rows:
        raise UsageError(f"there is no case {anomaly_id}")
    audit = monitor.rows(context, _AUDIT, (anomaly_id,))
    monitor.show_record(dict(zip(columns, rows[0], strict=True)), "changes", *audit, as_json)
    return 0


def review(context: Context, anomaly_id: int, status: str, notes: str | None, as_json: bool) -> int:
    """A verdict on a case (the function review_anomaly in Gold)."""
    try:
        with context.gold.cursor() as cursor:
            cursor.execute("select (review_anomaly(%s, %s, %s)).status", (anomaly_id, status, notes))
            (now,) = cursor.fetchone() or (status,)
        context.gold.commit()
    except (psycopg2.errors.NoDataFound, psycopg2.errors.InvalidParameterValue) as error:
        raise UsageError(str(error.diag.message_primary)) from None
    told: dict[str, Any] = {"anomaly_id": anomaly_id, "status": now}
    monitor.show_rows(list(told), [tuple(told.values())], True) if as_json else print(f"case {anomaly_id} is {now}")
    return 0
