"""What the operator looks at: is it set up, what ran, how fresh is it, what waits."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg2
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from rich.console import Console
from rich.table import Table

from warehouse import landing
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
    (select count(*) from ops.landed_files where status = 'LOADED' and settled_run is null) as files_not_settled,
    (select count(*) from ops.star_feed) as settles_not_in_star,
    (select count(*) from transactions_error where status = 'OPEN') as open_errors,
    (select count(*) from ops.error_verdicts where judged < version) as verdicts_not_judged,
    (select count(*) from ops.landed_files where status = 'REJECTED' and reason <> 'REPLACED') as rejected_files
"""
_BOOKS = """
select coalesce(sum(rows_in), 0)::bigint as landed, coalesce(sum(rows_fact), 0)::bigint as facts,
    coalesce(sum(rows_error), 0)::bigint as errors, coalesce(sum(rows_duplicate), 0)::bigint as duplicates
from ops.etl_runs where job = 'gold'
"""


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


def status(context: Context) -> dict[str, Any]:
    """Runs, freshness, backlog and books, as one document."""
    backlog = _rows(context, _BACKLOG)[0]
    document = {
        "runs": _rows(context, _RUNS),
        "freshness": _rows(context, _FRESHNESS)[0],
        "backlog": backlog,
        "books": _rows(context, _BOOKS)[0],
    }
    try:
        backlog["files_not_loaded"] = sum(
            len(landing.pending(context, source, landing.Scope(), False)) for source in context.config.sources.values()
        )
    except (WarehouseError, Py4JError, PySparkException) as error:  # what Gold knows is told all the same
        told = error if isinstance(error, WarehouseError) else explain(error, context)
        backlog["files_not_loaded"] = str(told)
    return document


def show_status(context: Context, as_json: bool) -> int:
    document = status(context)
    if as_json:
        print(json.dumps(document, default=str))
        return 0
    runs = document["runs"]
    show_rows(list(runs[0]) if runs else ["job"], [tuple(map(_to_the_second, run.values())) for run in runs], False)
    for part in ("freshness", "backlog", "books"):
        told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in document[part].items())
        print(f"{part}: {told}")
    return 0


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


def plain(text: str) -> str:
    """Text on one line of a terminal, which it cannot steer: what does not print is shown by its escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _rows(context: Context, statement: str) -> list[dict[str, Any]]:
    with context.gold.cursor() as cursor:
        cursor.execute(statement)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]
