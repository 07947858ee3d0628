"""The ledger: one line a job and run, its lock, and how far each job has followed the lake."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json

from warehouse.errors import WarehouseError
from warehouse.session import Context


@dataclass
class Outcome:
    """What a job did, in one line; `rejected` inputs make the exit code 3."""

    job: str
    line: str = "nothing pending"
    rejected: int = 0
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        return 3 if self.rejected else 0


@contextmanager
def job(context: Context, name: str) -> Iterator[Outcome]:
    """Run a job's body under its lock, with a ledger line that ends with what the body committed.

    The body leaves its last writes uncommitted in `context.gold` and fills the outcome: the line is
    closed and committed with them. On an exception nothing of it stays but a FAILED line.
    """
    outcome = Outcome(name)
    with _lock(context, name), context.gold as gold:
        with gold.cursor() as cursor:
            # whoever holds the lock is alone: a line still running belongs to a run that was killed
            cursor.execute(
                "update ops.etl_runs set status = 'KILLED', finished_at = now() where job = %s and status = 'RUNNING'",
                (name,),
            )
            cursor.execute(
                "insert into ops.etl_runs (run_id, job) values (%s, %s)"
                " on conflict (run_id, job) do update set started_at = clock_timestamp(), status = 'RUNNING'",
                (context.run_id, name),
            )
        gold.commit()
        try:
            yield outcome
            _close(gold, context.run_id, outcome)
            gold.commit()
        except Exception as error:
            if not gold.closed:
                gold.rollback()
                _fail(gold, context.run_id, name, error)
                gold.commit()
            raise


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
def _lock(context: Context, name: str) -> Iterator[None]:
    """Hold the job's advisory lock; wait for another run of it, then give up."""
    connection = context.connect()
    connection.autocommit = True
    try:
        deadline = time.monotonic() + context.config.lock_wait_seconds
        waited = False
        with connection.cursor() as cursor:
            while True:
                cursor.execute("select pg_try_advisory_lock(hashtext('warehouse'), hashtext(%s))", (name,))
                if cursor.fetchone() == (True,):
                    break
                cursor.execute(
                    "select coalesce(max(run_id || ' (since ' || to_char(started_at, 'HH24:MI:SS') || ' UTC)'),"
                    " 'another run') from ops.etl_runs where job = %s and status = 'RUNNING'",
                    (name,),
                )
                (holder,) = cursor.fetchone() or ("another run",)
                if time.monotonic() >= deadline:
                    raise WarehouseError(f"`{name}` is already running: {holder}. Nothing was done; try again.")
                if not waited:
                    context.say(f"{name}: waiting for {holder}")
                    waited = True
                time.sleep(0.2)
        yield
    finally:
        connection.close()


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
