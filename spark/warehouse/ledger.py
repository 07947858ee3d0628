"""The ledger: one line a job and run, its lock, and how far each job has followed the lake."""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from warehouse.errors import WarehouseError
from warehouse.session import Context

NOTHING = "nothing pending"


@dataclass
class Outcome:
    """What a job did (or, in a dry run, would find), in one line; `rejected` inputs or `delayed` mails: exit code 3."""

    job: str
    line: str = NOTHING
    rejected: int = 0
    numbers: dict[str, Any] = field(default_factory=dict)
    delayed: int = 0

    @property
    def exit_code(self) -> int:
        return 3 if self.rejected or self.delayed else 0


def counted(number: int, noun: str, nouns: str = "") -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun if number == 1 else nouns or noun + 's'}"


@contextmanager
def job(context: Context, name: str, apart_from: Sequence[str] = ()) -> Iterator[Outcome]:
    """Run a job's body under its lock, with a ledger line that ends with what the body committed.

    The body leaves its last writes uncommitted in `context.gold` and fills the outcome: the line is
    closed and committed with them. On an exception nothing of it stays but a FAILED line.
    `apart_from`: jobs that must not run meanwhile, because this one goes by what they commit.
    """
    outcome = Outcome(name)
    with _locks(context, name, {name, *apart_from}) as locks:
        gold = context.gold
        with gold.cursor() as cursor:
            # whoever holds the lock is alone: a line still running belongs to a run that was killed
            cursor.execute(
                "update ops.etl_runs set status = 'KILLED', finished_at = now() where job = %s and status = 'RUNNING'",
                (name,),
            )
            context.run_id = _open(cursor, context.run_id, name)
        gold.commit()
        try:
            yield outcome
            _fail_unless_alive(locks)
            _close(gold, context.run_id, outcome)
            gold.commit()
        except Exception as error:
            with suppress(psycopg2.Error):  # Gold may be what failed: then the next run closes the line
                gold.rollback()
                _fail(gold, context.run_id, name, error)
                gold.commit()
            raise


def _open(cursor: Cursor, run_id: str, name: str) -> str:
    """Begin a ledger line; its run_id. One that has a line for this job (a scheduler's retry) gets a number more."""
    for number in itertools.count(1):
        own = run_id if number == 1 else f"{run_id}.{number}"
        cursor.execute("insert into ops.etl_runs (run_id, job) values (%s, %s) on conflict do nothing", (own, name))
        if cursor.rowcount:
            break
    return own


def _close(gold: Connection, run_id: str, outcome: Outcome) -> None:
    columns = ("rows_in", "rows_fact", "rows_error", "rows_duplicate")
    detail = {key: value for key, value in outcome.numbers.items() if key not in columns}
    with gold.cursor() as cursor:
        cursor.execute(
            "update ops.etl_runs set status = 'DONE', finished_at = clock_timestamp(), rows_in = %s,"
            " rows_fact = %s, rows_error = %s, rows_duplicate = %s, detail = %s"
            " where run_id = %s and job = %s",
            (*[outcome.numbers.get(c) for c in columns], Json(detail), run_id, outcome.job),
        )


def _fail(gold: Connection, run_id: str, name: str, error: Exception) -> None:
    message = (str(error).strip() or repr(error)).splitlines()[0].replace("\0", "␀")
    with gold.cursor() as cursor:
        cursor.execute(
            "update ops.etl_runs set status = 'FAILED', finished_at = clock_timestamp(), detail = %s"
            " where run_id = %s and job = %s",
            (Json({"error": message}), run_id, name),
        )


@contextmanager
def alone(context: Context, name: str, apart_from: Sequence[str] = ()) -> Iterator[Connection]:
    """Hold a job's lock, as `job` does, for what has no ledger line; the connection that holds it."""
    with _locks(context, name, {name, *apart_from}) as locks:
        yield locks


_HOLDER = """
select coalesce(max(r.job || ' of run ' || r.run_id || ' (since ' || to_char(r.started_at, 'HH24:MI:SS') || ' UTC)'),
    'another run')
from pg_locks as l
inner join pg_stat_activity as a on l.pid = a.pid
inner join ops.etl_runs as r on a.application_name = 'warehouse ' || r.run_id and r.status = 'RUNNING'
where l.locktype = 'advisory' and l.granted and l.database = (select oid from pg_database where datname = a.datname)
    and l.classid = hashtext('warehouse')::oid and l.objid = hashtext(%s)::oid
"""


@contextmanager
def _locks(context: Context, job: str, names: set[str]) -> Iterator[Connection]:
    """Hold the advisory locks of jobs; wait for another run that does, then give up.

    They are taken in one order everywhere, so that no two runs wait for each other.
    """
    connection = context.connect()
    connection.autocommit = True
    try:
        deadline = time.monotonic() + context.config.lock_wait_seconds
        for name in sorted(names):
            _wait_for_lock(context, connection, job, name, deadline)
        yield connection
        with connection.cursor() as cursor:  # a server frees the locks of a closed connection a moment later
            cursor.execute("select pg_advisory_unlock_all()")
    finally:
        connection.close()


def _wait_for_lock(context: Context, connection: Connection, job: str, name: str, deadline: float) -> None:
    waited = False
    with connection.cursor() as cursor:
        while True:
            cursor.execute("select pg_try_advisory_lock(hashtext('warehouse'), hashtext(%s))", (name,))
            if cursor.fetchone() == (True,):
                return
            cursor.execute(_HOLDER, (name,))
            (holder,) = cursor.fetchone() or ("another run",)
            if time.monotonic() >= deadline:
                raise WarehouseError(f"`{job}` has to wait for {holder}. Nothing was done; try again.")
            if not waited:
                context.say(f"{job}: waiting for {holder}")
                waited = True
            time.sleep(0.2)


def _fail_unless_alive(locks: Connection) -> None:
    """Where the session that holds the locks has been ended, another run may be at work by now."""
    with locks.cursor() as cursor:
        cursor.execute("select")


def watermark(gold: Connection, name: str) -> int | None:
    """The Iceberg snapshot up to which `name` has followed its table."""
    with gold.cursor() as cursor:
        cursor.execute("select snapshot_id from ops.watermarks where name = %s", (name,))
        row = cursor.fetchone()
    return None if row is None else int(row[0])


def move_watermark(gold: Connection, name: str, snapshot: int | None) -> None:
    """Follow on from `snapshot`, once the caller commits."""
    if snapshot is None:
        return
    with gold.cursor() as cursor:
        cursor.execute(
            "insert into ops.watermarks (name, snapshot_id) values (%s, %s)"
            " on conflict (name) do update set snapshot_id = excluded.snapshot_id, at = now()",
            (name, snapshot),
        )
