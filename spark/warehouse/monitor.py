"""What the operator looks at: is it set up, what ran, how fresh is it, what waits."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg2
from psycopg2.extras import Json
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from rich.console import Console
from rich.table import Table

from warehouse import landing
from warehouse.config import Source
from warehouse.errors import WarehouseError
from warehouse.faults import explain
from warehouse.session import Context

_RUNS = """
select distinct on (job) job, run_id, status, started_at, finished_at, rows_in, rows_fact, rows_error,
    rows_duplicate, detail ->> 'error' as error
from ops.etl_runs order by job, started_at desc
"""
_FRESHNESS = """
select
    (select max(invoice_date) from fact_transactions) as newest_fact,
    (select max(batch_id) from ops.landed_files where status = 'LOADED' and settled_run is not null) as newest_batch,
    (select max(snapshot_date) from ops.landed_files where status = 'LOADED' and path like 'products/%')
        as newest_products,
    (select max(snapshot_date) from ops.landed_files where status = 'LOADED' and path like 'countries/%')
        as newest_countries
"""
_BACKLOG = """
select
    (select count(*) from ops.unsettled_files)
        + (select count(*) from ops.landed_files where status = 'LOADED' and settled_run is null and batch_id is null)
        as files_not_settled,
    (select count(*) from ops.star_feed) as settles_not_in_star,
    (select count(*) from transactions_error where status = 'OPEN') as open_errors,
    (select count(*) from ops.error_verdicts where judged < version) as verdicts_not_judged,
    (select count(*) from ops.landed_files where status = 'REJECTED' and reason <> 'REPLACED') as rejected_files,
    (select count(*) from anomalies where status in ('NEW', 'REVIEWED')) as open_cases,
    (select count(*) from ops.outbox where sent_at is null) as mails_delayed
"""
_BOOKS = """
select coalesce(sum(rows_in), 0)::bigint as landed, coalesce(sum(rows_fact), 0)::bigint as facts,
    coalesce(sum(rows_error), 0)::bigint as errors, coalesce(sum(rows_duplicate), 0)::bigint as duplicates
from ops.etl_runs where job = 'gold'
"""
_LAST_INGESTS = """
select job, max(started_at) as started_at
from ops.etl_runs where job like 'ingest %%' and started_at <= %(at)s
and (select bool_and(in_operation and not replayed) from ops.sla_needs(%(at)s))
group by job order by job
"""
_SLA_RULES = """
insert into ops.sla_rules as r (time_zone, deadline, masters_due, lead, look_back, windows, holidays)
values (%s, %s, %s, make_interval(mins => %s), make_interval(days => %s), %s, %s::date[])
on conflict (only_row) do update set
    time_zone = excluded.time_zone, deadline = excluded.deadline, masters_due = excluded.masters_due,
    lead = excluded.lead, look_back = excluded.look_back, windows = excluded.windows, holidays = excluded.holidays
where r is distinct from excluded
"""
_SLA_STATES = ("MISSED", "AT_RISK", "NOT_DUE", "MET", "NOT_A_BUSINESS_DAY")


def is_initialised(context: Context, fingerprint: int) -> bool:
    """Whether `init` has completed here with the scripts as they are now."""
    try:
        with context.gold.cursor() as cursor:
            cursor.execute("select snapshot_id from ops.watermarks where name = 'init'")
            return cursor.fetchone() == (fingerprint,)
    except psycopg2.errors.UndefinedTable:
        context.gold.rollback()
        return False
    except psycopg2.OperationalError as error:
        if "does not exist" in str(error):
            return False
        raise


def follow_rules(context: Context) -> None:
    """Bring the SLA's rules in Gold, by which its views judge, to where the configuration stands; commits."""
    rules = context.config.sla
    values = (rules.deadline, rules.masters_due, rules.lead_minutes, rules.look_back_days, Json(rules.business_days))
    with context.gold.cursor() as cursor:
        cursor.execute(_SLA_RULES, (context.config.timezone.key, *values, list(rules.holidays)))
    context.gold.commit()


def sla(context: Context, at: datetime) -> list[dict[str, Any]]:
    """The views with their states by what was known at an instant (the columns of bi.sla_status)."""
    return records(context, "select * from ops.sla(%s)", (at,))


def show_sla(context: Context, at: datetime, as_json: bool) -> int:
    """Print a line a view, and say so where one is late or will be; 1 where one was missed."""
    views = sla(context, at)
    if as_json:
        print(json.dumps(views, default=str))
    else:
        columns = ("view_name", "state", "deadline", "fresh_since", "expected_at", "missing")
        show_rows(columns, [tuple(local(context, view[column]) for column in columns) for view in views], False)
    if any(view["state"] in ("MISSED", "AT_RISK") for view in views):
        context.say(f"sla: {sla_line(context, views)}")
    if gap := schedule_line(context, overdue(context, at)):
        context.say(f"schedule: {gap}")
    return _missed(views)


def sla_line(context: Context, views: Sequence[dict[str, Any]]) -> str:
    """The worst state, how many views are in it, and why."""
    worst = min((view["state"] for view in views), key=_SLA_STATES.index)
    those = [view for view in views if view["state"] == worst]
    due = local(context, those[0]["deadline"])
    missing = dict.fromkeys(part for view in those if view["missing"] for part in view["missing"].split("; "))
    why = "; ".join(missing) or f"fresh since {local(context, max(view['fresh_since'] for view in those))}"
    return f"{worst} ({len(those)} of {len(views)} views, due {due}): {why}"


def overdue(context: Context, at: datetime) -> list[dict[str, Any]]:
    """The ingests whose newest run, by then, is older than their schedule would have it: nobody starts them any more.

    One is due where a window ends, and daily when the masters are; how long a schedule waits then is within the lead of
    the SLA. While the SLA has not begun, nothing is due.
    """
    by = at - timedelta(minutes=context.config.sla.lead_minutes)
    due = {f"ingest {source.name}": _last_due(context, source, by) for source in context.config.sources.values()}
    return [
        {**last, "due_at": due[last["job"]]}
        for last in records(context, _LAST_INGESTS, {"at": at})
        if last["started_at"] < due[last["job"]]
    ]


def _last_due(context: Context, source: Source, by: datetime) -> datetime:
    if source.window_hours:
        windows = [f"{by - timedelta(days=days):%Y-%m-%d}T{hour:02}" for days in (0, 1) for hour in source.window_hours]
        return max(end for end in map(landing.batch_end, windows) if end <= by)
    day, zone = by.astimezone(context.config.timezone).date(), context.config.timezone
    times = [datetime.combine(day - timedelta(days=days), context.config.sla.masters_due, zone) for days in (0, 1)]
    return max(instant for instant in times if instant <= by)


def schedule_line(context: Context, jobs: Sequence[dict[str, Any]]) -> str:
    """Which runs did not come, and what to do about it; empty where all came."""
    if not jobs:
        return ""
    gaps = [
        f"{job['job']} began last {local(context, job['started_at'])} and was due {local(context, job['due_at'])}"
        for job in jobs
    ]
    return f"{'; '.join(gaps)}. Is the scheduler down? Nothing is lost: the next run takes everything pending"


def _missed(views: Sequence[dict[str, Any]]) -> int:
    return int(any(view["state"] == "MISSED" for view in views))


def local(context: Context, value: Any) -> Any:
    """An instant as the clocks of the warehouse's time zone show it."""
    return f"{value.astimezone(context.config.timezone):%Y-%m-%d %H:%M %Z}" if isinstance(value, datetime) else value


def status(context: Context) -> dict[str, Any]:
    """Runs, freshness, SLA, backlog and books, as one document."""
    backlog = records(context, _BACKLOG)[0]
    document = {
        "runs": records(context, _RUNS),
        "freshness": records(context, _FRESHNESS)[0],
        "sla": sla(context, context.clock()),
        "overdue": overdue(context, context.clock()),
        "backlog": backlog,
        "books": books(context),
    }
    try:
        backlog["files_not_loaded"] = sum(
            len(landing.pending(context, source, landing.Scope(), False)) for source in context.config.sources.values()
        )
    except (WarehouseError, Py4JError, PySparkException) as error:  # what Gold knows is told all the same
        told = error if isinstance(error, WarehouseError) else explain(error, context)
        backlog["files_not_loaded"] = str(told)
    return document


def books(context: Context) -> dict[str, Any]:
    """What landed and where it is, over all runs."""
    return records(context, _BOOKS)[0]


def show_status(context: Context, as_json: bool) -> int:
    """Print the status; 1 where today's SLA was missed."""
    document = status(context)
    if as_json:
        print(json.dumps(document, default=str))
        return _missed(document["sla"])
    runs = document["runs"]
    show_rows(list(runs[0]) if runs else ["job"], [tuple(map(_to_the_second, run.values())) for run in runs], False)
    for part in ("freshness", "backlog", "books"):
        told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in document[part].items())
        print(f"{part}: {told}")
    if gap := schedule_line(context, document["overdue"]):
        print(f"schedule: {gap}")
    print(f"sla: {sla_line(context, document['sla'])}")
    return _missed(document["sla"])


def _to_the_second(value: Any) -> Any:
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else value


def show_rows(columns: Sequence[str], rows: Sequence[tuple[Any, ...]], as_json: bool) -> None:
    """Print rows: JSON for scripts, a table on a terminal, tab-separated lines elsewhere."""
    if as_json:
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], default=str))
        return
    shown = [["" if value is None else plain(str(value)) for value in row] for row in rows]
    if not sys.stdout.isatty():
        print("\n".join("\t".join(line) for line in [list(columns), *shown]))
        return
    table = Table(*columns)
    for line in shown:
        table.add_row(*line)
    Console(markup=False).print(table)


def show_record(
    record: Mapping[str, Any], part: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], as_json: bool
) -> None:
    """Print one thing, a line a column, and its history, a line a row below `part`."""
    if as_json:
        history = [dict(zip(columns, row, strict=True)) for row in rows]
        print(json.dumps(dict(record) | {part: history}, default=str))
        return
    for name, value in record.items():
        if value is not None:
            print(f"{name}: {plain(str(value))}")
    if rows:
        print(f"{part}:")
        show_rows(columns, rows, False)


def plain(text: str) -> str:
    """Text on one line of a terminal, which it cannot steer: what does not print is shown by its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def rows(context: Context, statement: str, arguments: Any = None) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns and rows of a query on Gold."""
    with context.gold.cursor() as cursor:
        cursor.execute(statement, arguments)
        return [column.name for column in cursor.description or ()], cursor.fetchall()


def records(context: Context, statement: str, arguments: Any = None) -> list[dict[str, Any]]:
    """The rows of a query on Gold, each by its columns."""
    names, found = rows(context, statement, arguments)
    return [dict(zip(names, row, strict=True)) for row in found]
