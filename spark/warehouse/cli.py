"""The command line: the same jobs for people, schedulers and spark-submit, in both homes."""

import argparse
import json
import os
import select
import sys
from calendar import monthrange
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg2
from py4j.protocol import Py4JError
from pyspark.errors import (
    AnalysisException,
    ArithmeticException,
    DateTimeException,
    NumberFormatException,
    ParseException,
    PySparkException,
)

from jobs import (
    backup,
    build_star_schema,
    detect_anomalies,
    ingest_countries,
    ingest_products,
    ingest_transactions,
    init_warehouse,
    maintain,
    postgres_load_fact,
    refresh_baselines,
    send_alerts,
)
from warehouse import backups, cases, embedded, gold, lake, landing, monitor, report, restore, stewards
from warehouse.config import identifier, load
from warehouse.errors import UsageError, WarehouseError
from warehouse.faults import explain
from warehouse.landing import Scope
from warehouse.ledger import NOTHING, Outcome
from warehouse.session import Context, new_run_id

INGEST = {"products": ingest_products, "countries": ingest_countries, "transactions": ingest_transactions}

QUERY_ERRORS = (AnalysisException, ParseException, ArithmeticException, DateTimeException, NumberFormatException)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code (contract, section 8)."""
    options = _parser().parse_args(arguments)
    try:
        context = Context(load(), " ".join(filter(None, (options.name, getattr(options, "source", None)))))
    except UsageError as error:
        return _failed(error)
    try:
        code = int(options.command(context, options))
        _is_heard()
        return code
    except WarehouseError as error:
        return _failed(error)
    except (psycopg2.Error, PySparkException, Py4JError, OSError) as error:
        return _failed(explain(error, context)) if _is_heard() else 1
    except KeyboardInterrupt:
        return _failed(WarehouseError("interrupted; nothing was half-written, the next run goes on from here"))
    finally:
        context.close()


def job_main(*command: str) -> int:
    """What spark-submit starts: the command that the job is, with the script's own arguments."""
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        # spark-submit sends both streams of its Python to its own standard output, where only results belong
        with suppress(OSError):
            sys.stderr = Path(f"/proc/{os.getppid()}/fd/2").open("a", buffering=1, encoding="utf-8")  # noqa: SIM115
    return main([*command, *sys.argv[1:]])


def _is_heard() -> bool:
    """Whether somebody reads what is printed. Who had enough (`| head`) is told nothing more, not even of that."""
    with suppress(BrokenPipeError):
        print(end="", flush=True)
    output = select.poll()
    output.register(1, 0)  # for errors alone
    if not output.poll(0):
        return True
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return False


def _failed(error: Exception) -> int:
    print(f"warehouse: {error}", file=sys.stderr)
    return getattr(error, "exit_code", 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="warehouse",
        allow_abbrev=False,
        description="The shop's batch warehouse.",
        epilog="Exit codes: 0 done; 1 failed, nothing half-written; 2 wrong usage or configuration;"
        " 3 done, but some input was rejected or a mail is delayed.",
    )
    commands = parser.add_subparsers(required=True, dest="name", metavar="COMMAND")

    def command(name: str, run: Callable[[Context, Any], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.set_defaults(command=run)
        return added

    def with_json(added: argparse.ArgumentParser) -> None:
        added.add_argument("--json", action="store_true", help="print JSON for scripts")

    def with_options(added: argparse.ArgumentParser, scope: bool = False, replace: bool = False) -> None:
        if scope:
            added.add_argument(
                "--from",
                dest="since",
                type=_instant,
                metavar="T",
                help="only files whose window, or whose snapshot date, begins at T or later (UTC)",
            )
            added.add_argument(
                "--until",
                type=_instant,
                metavar="T",
                help="only files whose window ends, or whose snapshot date begins, by T (UTC)",
            )
        if replace:
            added.add_argument(
                "--replace", action="store_true", help="let a loaded file whose bytes have changed take its own place"
            )
        added.add_argument("--dry-run", action="store_true", help="say what is pending, and change nothing")
        with_json(added)

    added = command("init", _init, "create or upgrade Bronze, star and Gold")
    added.add_argument("--reset", action="store_true", help="destroy all that is there first")
    with_options(added)
    added = command("ingest", _ingest, "load every pending file of a source")
    added.add_argument("source", choices=list(INGEST))
    with_options(added, scope=True, replace=True)
    added = command("gold", _gold, "facts, errors, re-decisions")
    with_options(added, scope=True)
    added = command("star", _star, "bring the star schema up to date")
    added.add_argument("--rebuild", action="store_true", help="make it anew from Gold")
    with_options(added)
    added = command("baselines", _baselines, "refresh what is typical of each product, by all sales until now")
    added.add_argument("--until", type=_instant, metavar="T", help="by sales before T (UTC)")
    with_options(added)
    with_options(command("detect", _detect, "score what was loaded since, and open cases"))
    with_options(command("alerts", _alerts, "tell the stewards of new cases by mail"))
    cases.add_case_commands(command("anomalies", _of_stewards, "unusual orders: look at the cases, give verdicts"))
    stewards.add_error_commands(command("errors", _of_stewards, "rows in error: look at them, correct or discard them"))
    added = command("run", _run, "everything pending, in order, in one session")
    with_options(added, scope=True, replace=True)
    added = command("backfill", _backfill, "what landed from one day to another, month by month")
    added.add_argument("--from", dest="first", type=_day, required=True, metavar="D", help="first day (UTC)")
    added.add_argument("--to", dest="last", type=_day, required=True, metavar="D", help="last day (UTC)")
    with_json(added)
    with_json(command("status", _status, "runs, freshness, SLA and backlog; exit code 1 where the SLA was missed"))
    added = command("sla", _sla, "which views are fresh; exit code 1 where the SLA was missed")
    added.add_argument("--at", type=_instant, metavar="T", help="as it was known then (UTC; default: now)")
    with_json(added)
    added = command("report", _report_run, "a run's summary and checks, as files for a scheduler's pages")
    added.add_argument("run_id", type=_run_id, metavar="RUN_ID", help="WAREHOUSE_RUN_ID of the run")
    added.add_argument("--into", type=Path, required=True, metavar="FOLDER", help="gets summary.html and checks.xml")
    command("gold-url", _gold_url, "print how to connect to Gold")
    added = command("sql", _sql, "one query on the lake")
    added.add_argument("query")
    with_json(added)
    with_options(command("maintain", _maintain, "compact files, expire snapshots, archive resolved cases"))
    with_options(command("backup", _backup, "dump Gold and the lake's catalog, while no job writes"))
    added = command("restore", _restore, "put Gold and the lake's catalog back to where they were; asks first")
    added.add_argument("backup", help="the name of its folder, or latest")
    added.add_argument("--gold-only", action="store_true", help="leave the lake as it is: Gold follows it anew")
    with_json(added)
    command("stop", _stop, "stop the Gold server of the embedded home")
    return parser


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2011-01-31 or 2011-01-31T08:00") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2011-01-31") from None


def _run_id(text: str) -> str:
    try:
        return identifier(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _scope(options: Any) -> Scope:
    """What --from and --until say. Raises UsageError where that can be no file."""
    if options.since and options.until and options.since > options.until:
        since, until = (f"{instant.replace(tzinfo=None)}" for instant in (options.since, options.until))
        raise UsageError(f"--from {since} is after --until {until}")
    return Scope(options.until, options.since)


def _report(options: Any, outcomes: Sequence[Outcome]) -> int:
    """Print a line a job (or JSON); the exit code of all together."""
    if options.json:
        jobs = [{"job": o.job, "summary": o.line, "rejected": o.rejected, **o.numbers} for o in outcomes]
        print(json.dumps(jobs, default=str))
    else:
        for outcome in outcomes:
            print(f"{outcome.job}: {outcome.line}", flush=True)
    return max((outcome.exit_code for outcome in outcomes), default=0)


def _ready(context: Context) -> None:
    """Gold is made, and judges by the configuration."""
    _made(context)
    monitor.follow_rules(context)


def _made(context: Context) -> None:
    """A home that was never set up, or by another version, is set up; a cluster must have been, by `init`."""
    if not _is_set_up(context):
        init_warehouse.run(context)


def _only_look(context: Context) -> None:
    """What only looks sets nothing up; from here on Gold refuses to be changed."""
    home = context.config.home
    if (context.config.embedded and not embedded.is_made(home)) or not _is_set_up(context):
        raise UsageError(f"nothing has been set up by this version in {home}: run `warehouse init`")
    context.gold.rollback()
    context.gold.set_session(readonly=True)


def _is_set_up(context: Context) -> bool:
    """Whether it was set up by this version. Raises UsageError where it was not and nobody but `init` may do so."""
    if monitor.is_initialised(context, init_warehouse.fingerprint()):
        return True
    if not context.config.embedded:
        raise UsageError("the warehouse has not been set up by this version: run scripts/run_setup.sh (warehouse init)")
    return False


def _do(context: Context, options: Any, job: ModuleType, *arguments: Any) -> int:
    """Run a job, or say what it would find."""
    if options.dry_run:
        _only_look(context)
        return _report(options, [job.pending(context, *arguments)])
    _ready(context)
    return _report(options, [job.run(context, *arguments)])


def _init(context: Context, options: Any) -> int:
    act = init_warehouse.pending if options.dry_run else init_warehouse.run
    return _report(options, [act(context, options.reset)])


def _ingest(context: Context, options: Any) -> int:
    return _do(context, options, INGEST[options.source], _scope(options), options.replace)


def _gold(context: Context, options: Any) -> int:
    return _do(context, options, postgres_load_fact, _scope(options))


def _star(context: Context, options: Any) -> int:
    return _do(context, options, build_star_schema, options.rebuild)


def _baselines(context: Context, options: Any) -> int:
    return _do(context, options, refresh_baselines, options.until)


def _detect(context: Context, options: Any) -> int:
    return _do(context, options, detect_anomalies)


def _alerts(context: Context, options: Any) -> int:
    return _do(context, options, send_alerts)


def _of_stewards(context: Context, options: Any) -> int:
    _made(context)  # with a login of their own, which may not change what the SLA is judged by
    return int(options.act(context, options))


def run_all(
    context: Context,
    scope: Scope,
    replacing: bool = False,
    report: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Everything pending within the scope, in order."""
    outcomes = []
    for job, arguments in _steps(scope, replacing):
        outcomes.append(job.run(context, *arguments))
        report(outcomes[-1])
    return outcomes


def _steps(scope: Scope, replacing: bool) -> list[tuple[ModuleType, tuple[Any, ...]]]:
    """The jobs of a run, in order, with their arguments."""
    followers: list[ModuleType] = [build_star_schema, detect_anomalies, send_alerts]
    return [
        *[(ingest, (scope, replacing)) for ingest in INGEST.values()],
        (postgres_load_fact, (scope,)),
        *[(follower, ()) for follower in followers],
    ]


def _would_run(context: Context, scope: Scope, replacing: bool) -> list[Outcome]:
    """What each job of a run would find now; what those before it bring comes to that."""
    outcomes: list[Outcome] = []
    for job, arguments in _steps(scope, replacing):
        outcome = job.pending(context, *arguments)
        if job not in INGEST.values() and any(before.line != NOTHING for before in outcomes):
            outcome.line += " now; then what the jobs before it bring"
        outcomes.append(outcome)
    return outcomes


def _run(context: Context, options: Any) -> int:
    scope = _scope(options)
    if options.dry_run:
        _only_look(context)
        return _report(options, _would_run(context, scope, options.replace))
    _ready(context)
    if options.json:
        return _report(options, run_all(context, scope, options.replace))

    def report(outcome: Outcome) -> None:
        _report(options, [outcome])

    outcomes = run_all(context, scope, options.replace, report)
    return max(outcome.exit_code for outcome in outcomes)


def _backfill(context: Context, options: Any) -> int:
    if options.first > options.last:
        raise UsageError(f"--from {options.first} is after --to {options.last}")
    _ready(context)
    outcomes: list[Outcome] = []
    landed = {(day.year, day.month) for day in landing.days(context, options.first, options.last)}
    parts = [part for part in months(options.first, options.last) if (part[0].year, part[0].month) in landed]
    for first, last in parts or [(options.first, options.last)]:
        context.run_id = new_run_id(context.clock())
        whole_days = Scope(
            since=datetime.combine(first, time.min, UTC),
            last=datetime.combine(last, time.max, UTC),
        )
        done = run_all(context, whole_days)
        if not options.json:
            print(f"{first} to {last}")
            _report(options, done)
        outcomes += done
    return _report(options, outcomes) if options.json else max(outcome.exit_code for outcome in outcomes)


def months(first: date, last: date) -> list[tuple[date, date]]:
    """The days from first to last, cut at the ends of months."""
    parts = []
    while first <= last:
        month_end = first.replace(day=monthrange(first.year, first.month)[1])
        parts.append((first, min(last, month_end)))
        if month_end >= last:
            break
        first = month_end + timedelta(days=1)
    return parts


def _status(context: Context, options: Any) -> int:
    _ready(context)
    return monitor.show_status(context, options.json)


def _sla(context: Context, options: Any) -> int:
    if not _is_set_up(context):
        gold.create(context)  # all that is asked here, and no reason to start Spark
    monitor.follow_rules(context)
    try:
        return monitor.show_sla(context, options.at or context.clock(), options.json)
    except psycopg2.errors.DatetimeFieldOverflow as error:
        raise stewards.usage_error(error) from None


def _report_run(context: Context, options: Any) -> int:
    _only_look(context)
    print(report.write(context, options.run_id, options.into))
    return 0


def _gold_url(context: Context, options: Any) -> int:
    _ready(context)
    print(context.gold_url(admin=True))
    return 0


def _sql(context: Context, options: Any) -> int:
    _ready(context)
    try:
        if not lake.is_query(context.spark, options.query):
            raise UsageError("`sql` only reads (select, show, describe, explain); jobs write to the lake")
        frame = context.spark.sql(options.query)
        rows = [tuple(row) for row in frame.collect()]
    except QUERY_ERRORS as error:
        raise UsageError(" ".join(str(error).strip().splitlines()[:1])) from None
    monitor.show_rows(frame.columns, rows, options.json)
    return 0


def _maintain(context: Context, options: Any) -> int:
    return _do(context, options, maintain)


def _backup(context: Context, options: Any) -> int:
    return _do(context, options, backup)


def _restore(context: Context, options: Any) -> int:
    chosen = backups.find(context, options.backup)
    restore.check(context, chosen, options.gold_only)
    database = backups.gold_database(context).name
    context.say(
        f"This puts Gold{'' if options.gold_only else ' and the lake'} back to {chosen.taken_at:%Y-%m-%d %H:%M:%S} UTC,"
        " ends every session, and sends mails again that were sent since."
    )
    for lost in restore.losses(context, chosen, options.gold_only):
        context.say(f"Lost for good: {lost}.")
    print(f"Type the name of the database ({database}) to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != database:
        raise UsageError("not confirmed, nothing was changed")
    return _report(options, [restore.run(context, chosen, options.gold_only)])


def _stop(context: Context, options: Any) -> int:
    stopped = context.config.embedded and embedded.stop_gold(context.config.home)
    print("stopped" if stopped else "nothing was running")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
