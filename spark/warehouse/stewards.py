"""What data stewards do at the command line: look at rows in error and say what is to become of them."""

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psycopg2

from jobs import postgres_load_fact
from warehouse.errors import UsageError
from warehouse.gold import Verdict
from warehouse.landing import Scope
from warehouse.monitor import plain, records, show_rows
from warehouse.session import Context

REASONS = ("MALFORMED", "DUPLICATE_CONFLICT", "UNKNOWN_COUNTRY", "UNKNOWN_PRODUCT", "NO_PRICE", "AMOUNT_OVERFLOW")
STATUSES = ("OPEN", "RESOLVED", "DISCARDED")
REFUSED = (psycopg2.DataError, psycopg2.errors.NoDataFound)
"""What the functions for stewards raise where a call is wrong."""
Action = Callable[[Context, Any], int]
IN_LIST = ("error_id", "status", "reason", "detail", "transaction_id", "batch_id", "attempts", "correction")

_ERRORS = """
select e.error_id, e.status, e.reason, e.detail, e.transaction_id, e.order_id, e.stock_code, e.quantity,
    e.invoice_date, e.customer_id, e.country_id, e.correction, coalesce(v.judged < v.version, false) as waits_for_gold,
    e.attempts, v.notes, e.resolved_by, e.resolved_at, e.created_at, e.batch_id, e.source_file, e.raw_record
from transactions_error as e
left join ops.error_verdicts as v on e.error_id = v.error_id
"""


def actions_of(parser: argparse.ArgumentParser) -> Callable[[str, Action, str], argparse.ArgumentParser]:
    """Let a command have actions: a function that adds one, by name, what to do (`act`) and help."""
    actions = parser.add_subparsers(required=True, dest="action", metavar="ACTION")

    def action(name: str, act: Action, text: str) -> argparse.ArgumentParser:
        added = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.set_defaults(act=act)
        added.add_argument("--json", action="store_true", help="print JSON for scripts")
        return added

    return action


def add_error_commands(parser: argparse.ArgumentParser) -> None:
    """`warehouse errors list|show|correct|discard|retry`; `act` is what to do."""
    action = actions_of(parser)
    added = action("list", _list, "rows in error, the newest first")
    added.add_argument("--reason", type=str.upper, choices=REASONS)
    added.add_argument("--status", type=str.upper, choices=[*STATUSES, "ALL"], default="OPEN", help="default: open")
    added.add_argument("--limit", type=_count, default=50, metavar="N", help="at most N (default: 50; 0: all)")
    added = action("show", _show, "all that is known of a row in error")
    added.add_argument("error_id", type=int)
    added = action("correct", _correct, "values for a row, by which the next `gold` judges it")
    added.add_argument("error_id", type=int)
    added.add_argument(
        "values", nargs="+", type=text, metavar="COLUMN=VALUE", help="the whole correction; COLUMN= for no value"
    )
    _with_dry_run(added)
    added = action("discard", _discard, "never let a row become a fact")
    added.add_argument("error_id", type=int)
    added.add_argument("--notes", type=text, required=True, help="why")
    added = action("retry", _retry, "run `gold` now: corrected rows, and those named here, are judged again")
    added.add_argument("error_ids", type=int, nargs="*", metavar="error_id")
    _with_dry_run(added)


def _with_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="say what would become of each row, and change nothing")


def text(typed: str) -> str:
    """An argument that Postgres takes as text."""
    with suppress(UnicodeEncodeError):
        typed.encode()
        return typed
    raise argparse.ArgumentTypeError(f"{typed!r} is not UTF-8")


def _count(text: str) -> int:
    with suppress(ValueError):
        if (number := int(text)) >= 0:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows")


def _list(context: Context, options: Any) -> int:
    rows = _rows(
        context,
        _ERRORS
        + " where (%(reason)s is null or e.reason = %(reason)s) and (%(status)s = 'ALL' or e.status = %(status)s)"
        " order by e.created_at desc, e.batch_id desc, e.error_id limit nullif(%(limit)s, 0) + 1",
        {"reason": options.reason, "status": options.status, "limit": options.limit},
    )
    more = options.limit and len(rows) > options.limit
    rows = rows[: options.limit] if more else rows
    if options.json:
        print(json.dumps(rows, default=str))
        return 0
    show_rows(IN_LIST, [tuple(_shown(row[c]) for c in IN_LIST) for row in rows], False)
    if more:
        context.say(f"errors: only the newest {options.limit} are shown; --limit 0 shows all")
    return 0


def _show(context: Context, options: Any) -> int:
    rows = _rows(context, _ERRORS + " where e.error_id = %(error_id)s::bigint", {"error_id": options.error_id})
    if not rows:
        raise UsageError(f"there is no error {options.error_id}")
    if options.json:
        print(json.dumps(rows[0], default=str))
        return 0
    for name, value in rows[0].items():
        if value is not None:
            print(f"{name}: {plain(str(_shown(value)))}")
    return 0


def _correct(context: Context, options: Any) -> int:
    verdict = ("select correct_error(%s::bigint, %s)", (options.error_id, json.dumps(_correction(options.values))))
    if options.dry_run:
        return _preview(context, [verdict], [options.error_id], options.json)
    return _give(context, verdict, options, "corrected; the next `gold` judges it again")


def _correction(values: Sequence[str]) -> dict[str, str | None]:
    """Column → value of `column=value` words."""
    correction: dict[str, str | None] = {}
    for word in values:
        column, equals, value = word.partition("=")
        if not equals or not column:
            raise UsageError(f"{word!r} is not COLUMN=VALUE, such as country_id=GB")
        if column in correction:
            raise UsageError(f"{column} is given twice")
        correction[column] = value or None
    return correction


def _discard(context: Context, options: Any) -> int:
    verdict = ("select discard_error(%s::bigint, %s)", (options.error_id, options.notes))
    return _give(context, verdict, options, "discarded")


def _give(context: Context, verdict: Verdict, options: Any, told: str) -> int:
    _call(context, [verdict])
    if options.json:
        return _show(context, options)
    print(f"error {options.error_id}: {told}")
    return 0


def _retry(context: Context, options: Any) -> int:
    verdicts = [("select ops.retry_error(%s::bigint)", (error_id,)) for error_id in sorted(options.error_ids)]
    if options.dry_run:
        return _preview(context, verdicts, options.error_ids, options.json)
    _call(context, verdicts)
    outcome = postgres_load_fact.run(context, Scope())
    if options.json:
        print(json.dumps({"job": outcome.job, "summary": outcome.line, **outcome.numbers}, default=str))
        return outcome.exit_code
    print(f"{outcome.job}: {outcome.line}")
    for error_id in options.error_ids:
        left = _rows(context, _ERRORS + " where e.error_id = %(error_id)s", {"error_id": error_id})
        told = [f"{row['status']}, {row['reason']}: {plain(row['detail'])}" for row in left]
        print(f"error {error_id}: {told[0] if told else 'none any more'}")
    return outcome.exit_code


def _preview(context: Context, verdicts: Sequence[Verdict], errors: Sequence[int], as_json: bool) -> int:
    try:
        rows = postgres_load_fact.preview(context, verdicts, errors)
    except REFUSED as error:
        raise usage_error(error) from None
    columns = ("error_id", "becomes", "reason", "detail", "transaction_id", "unit_price", "total_amount")
    show_rows(columns, [tuple(row[c] for c in columns) for row in rows], as_json)
    return 0


def _call(context: Context, verdicts: Sequence[Verdict]) -> None:
    """Give these decisions, all or none."""
    try:
        with context.gold, context.gold.cursor() as cursor:
            for statement, arguments in verdicts:
                cursor.execute(statement, arguments)
    except REFUSED as error:
        raise usage_error(error) from None


def usage_error(error: Exception) -> UsageError:
    return UsageError(str(error).strip().splitlines()[0])


def _rows(context: Context, statement: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        with context.gold:
            return records(context, statement, arguments)
    except REFUSED as error:
        raise usage_error(error) from None


def _shown(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
