"""A run as a page for people and as checks for a scheduler, by what Gold knows of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from warehouse import monitor
from warehouse.errors import WarehouseError
from warehouse.landing import span
from warehouse.ledger import NOTHING
from warehouse.rendering import rendered
from warehouse.rules.anomalies import TIERS
from warehouse.session import Context

NAMED = 50  # files that are named; all are counted
BARS, BAR_WIDTH, BAR_HEIGHT = 20, 30, 120

_JOBS = r"""
select
    job as name, run_id, status, started_at, finished_at, detail, coalesce(rows_in, 0) as landed,
    coalesce(rows_fact, 0) as facts, coalesce(rows_error, 0) as errors, coalesce(rows_duplicate, 0) as duplicates
from ops.etl_runs
where run_id = %(run)s or (starts_with(run_id, %(run)s || '.') and substr(run_id, length(%(run)s) + 1) ~ '^(\.\d+)+$')
order by started_at, job
"""
_FILES = """
select path, status, reason, split_part(path, '/', 1) as source, coalesce(batch_id, snapshot_date::text) as slot
from ops.landed_files where settled_run = any(%s) and reason is distinct from 'REPLACED'
order by source, slot, path
"""
_ERRORS = """
select e.reason, count(r.run_id) as of_run, count(*) filter (where e.status = 'OPEN') as open
from transactions_error as e
left join ops.etl_runs as r
    on r.run_id = any(%s) and r.job = 'gold' and r.status = 'DONE'
    and e.created_at between r.started_at and r.finished_at
group by e.reason having count(r.run_id) > 0 or count(*) filter (where e.status = 'OPEN') > 0
order by e.reason
"""
_RECENT = """
select run_id, started_at, rows_in as landed, greatest(rows_error, 0) as errors
from ops.etl_runs where job = 'gold' and status = 'DONE' and rows_in > 0 order by started_at desc limit %s
"""
_DELAYED = "select last_error from ops.outbox where sent_at is null and attempts > 0 order by mail_id"


@dataclass(frozen=True)
class Job:
    """A line of the ledger."""

    name: str
    run_id: str
    status: str
    started_at: datetime
    finished_at: datetime | None
    landed: int
    facts: int
    errors: int
    duplicates: int
    detail: dict[str, Any]

    @property
    def seconds(self) -> float:
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else 0

    @property
    def told(self) -> str:
        """What it counted, or why it did not end well."""
        if self.status != "DONE":
            return str(self.detail.get("error") or "no end is recorded: it was cut short, or is still at work")
        rows = {"landed": self.landed, "facts": self.facts, "errors": self.errors, "duplicates": self.duplicates}
        counts = {what: n for what, n in (rows | dict(sorted(self.detail.items()))).items() if n and isinstance(n, int)}
        return ", ".join(f"{what.replace('_', ' ')} {n:,}" for what, n in counts.items()) or NOTHING


@dataclass(frozen=True)
class Run:
    """What Gold knows of a run. Of a job that ran more than once, `jobs` has every line, in order."""

    jobs: Sequence[Job]
    files: Sequence[dict[str, Any]]
    errors: Sequence[dict[str, Any]]

    @property
    def last(self) -> dict[str, Job]:
        """The newest line of each job."""
        return {job.name: job for job in self.jobs}

    @property
    def done(self) -> set[str]:
        return {name for name, job in self.last.items() if job.status == "DONE"}

    @property
    def rejected(self) -> list[dict[str, Any]]:
        return [file for file in self.files if file["status"] == "REJECTED"]

    @property
    def slots(self) -> dict[str, str]:
        """What was worked in: source → its windows or dates."""
        slots: dict[str, list[str]] = {}
        for file in self.files:
            if file["status"] == "LOADED":
                slots.setdefault(file["source"], []).append(file["slot"])
        return {source: span(its) for source, its in slots.items()}

    @property
    def books(self) -> dict[str, int]:
        parts = ("landed", "facts", "errors", "duplicates")
        return {part: sum(getattr(job, part) for job in self.jobs if job.status == "DONE") for part in parts}

    def counted(self, what: str) -> int:
        """How many of something the jobs counted beside rows."""
        return sum(job.detail.get(what, 0) for job in self.jobs if job.status == "DONE")


@dataclass(frozen=True)
class Check:
    """What should be so after a run: `wrong` says why it is not, `skipped` why that cannot be told."""

    name: str
    skipped: str = ""
    wrong: str = ""
    details: Sequence[str] = ()


def write(context: Context, run_id: str, folder: Path) -> str:
    """Write summary.html and checks.xml about a run into a folder; the run in one line.

    Raises WarehouseError where the ledger has no line of it.
    """
    run = read(context, run_id)
    told = {
        "run_id": run_id,
        "line": line(run),
        "run": run,
        "checks": checks(context, run),
        "named": NAMED,
        "all_books": monitor.books(context),
        "tiers": {tier: run.counted(tier) for tier in TIERS},
        "sla": monitor.sla_line(context, monitor.sla(context, context.clock())),
        "bars": _bars(context, run),
        "chart": {"bars": BARS, "bar": BAR_WIDTH, "height": BAR_HEIGHT},
        "local": partial(monitor.local, context),
    }
    pages = {name: rendered(name, told, monitor.plain) for name in ("summary.html", "checks.xml")}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        unfinished = folder / f".{name}.tmp"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(folder / name)
    return line(run)


def read(context: Context, run_id: str) -> Run:
    jobs = [Job(**row) for row in monitor.records(context, _JOBS, {"run": run_id})]
    if not jobs:
        raise WarehouseError(
            f"the ledger has no run {run_id}: none of its jobs has begun (a dry run, wrong usage, Gold away:"
            " its log says which), or it was called otherwise"
        )
    ids = [job.run_id for job in jobs]
    return Run(jobs, monitor.records(context, _FILES, (ids,)), monitor.records(context, _ERRORS, (ids,)))


def line(run: Run) -> str:
    """The run in one line: what failed, or else what it worked in and what came of it."""
    failed = [f"{job.name} {job.status}: {job.told}" for job in run.last.values() if job.status != "DONE"]
    if failed:
        return monitor.plain("; ".join(failed))
    if "gold" not in run.last:
        return "; ".join(f"{job.name}: {job.told}" for job in run.last.values())
    told = [f"{run.books['landed']:,} landed = {_placed(run.books)}"] if any(run.books.values()) else []
    told += [f"{n:,} {what}" for what in ("repriced", "released", "corrected") if (n := run.counted(what))]
    told += [_some(n, noun) for noun, n in _to_look_at(run).items() if n]
    subject = [f"{source} {slots}" for source, slots in run.slots.items()] or run.last
    return f"{', '.join(subject)}: {'; '.join(told) or NOTHING}"


def _placed(books: dict[str, int]) -> str:
    parts = {part: n for part, n in books.items() if part != "landed" and (n or part == "facts")}
    return " + ".join(f"{n:,} {part}" for part, n in parts.items())


def _to_look_at(run: Run) -> dict[str, int]:
    return {
        "unusual order": sum(run.counted(tier) for tier in TIERS),
        "rejected file": len(run.rejected),
        "delayed mail": run.counted("delayed"),
    }


def _some(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def checks(context: Context, run: Run) -> list[Check]:
    """What a scheduler follows from build to build, by names that stay."""
    return [
        _books(context, run),
        _star(context, run),
        _files(run),
        _mails(context, run),
        _errors(context, run),
    ]


def _books(context: Context, run: Run) -> Check:
    books = {"this run": run.books, "all runs": monitor.books(context)}
    wrong = [
        f"{whose}: {n['landed']:,} landed, but {_placed(n)}"
        for whose, n in books.items()
        if n["landed"] != n["facts"] + n["errors"] + n["duplicates"]
    ]
    return Check("the books balance", _unless(run, "gold"), "; ".join(wrong))


def _star(context: Context, run: Run) -> Check:
    [(waiting,)] = monitor.rows(context, "select count(*) from ops.star_feed")[1]
    wrong = f"the star schema has not followed {_some(waiting, 'settle')}" if waiting else ""
    return Check("the star schema follows Gold", _unless(run, "star"), wrong)


def _files(run: Run) -> Check:
    ingests = [name for name in run.last if name.startswith("ingest ")]
    skipped = _unless(run, *ingests) if ingests else "nothing was ingested"
    wrong = _some(len(run.rejected), "rejected file") if run.rejected else ""
    named = [f"{file['path']}: {file['reason']}" for file in run.rejected[:NAMED]]
    return Check("every file is accepted", "" if wrong else skipped, wrong, named)


def _mails(context: Context, run: Run) -> Check:
    delayed = run.last["alerts"].detail.get("delayed", 0) if "alerts" in run.done else 0
    named = [row["last_error"] for row in monitor.records(context, _DELAYED)] if delayed else []
    wrong = f"{_some(delayed, 'mail')} delayed: the next run tries again" if delayed else ""
    return Check("every mail is delivered", _unless(run, "alerts"), wrong, named)


def _errors(context: Context, run: Run) -> Check:
    landed, errors, limit = run.books["landed"], run.books["errors"], context.config.error_share
    skipped = _unless(run, "gold") or ("" if landed > 0 else "no row landed")
    wrong = f"{errors:,} of {landed:,} rows are in error, more than {limit:.0%}" if errors > limit * landed else ""
    named = [f"{error['reason']}: {error['of_run']:,}" for error in run.errors if error["of_run"]]
    return Check("few rows are in error", skipped, wrong, named)


def _unless(run: Run, *jobs: str) -> str:
    """Why a check is skipped that goes by what these jobs did; empty where they did it."""
    missing = [job for job in jobs if job not in run.done]
    return f"{' and '.join(missing)} did not run to the end" if missing else ""


def _bars(context: Context, run: Run) -> list[dict[str, Any]]:
    """The rows that the last runs landed as bars, the oldest first."""
    recent = monitor.records(context, _RECENT, (BARS,))[::-1]
    scale = BAR_HEIGHT / max((row["landed"] for row in recent), default=1)
    own = {job.run_id for job in run.jobs}
    return [
        {
            "x": BAR_WIDTH * place,
            "height": round(scale * row["landed"], 1),
            "errors_height": round(scale * min(row["errors"], row["landed"]), 1),
            "own": row["run_id"] in own,
            "told": f"{monitor.local(context, row['started_at'])}:"
            f" {_some(row['landed'], 'row')}, {_some(row['errors'], 'error')}",
        }
        for place, row in enumerate(recent)
    ]
