"""A Gold without Spark, whose ledger a test writes by hand. Times are UTC where none is named."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from warehouse import monitor
from warehouse.config import Config
from warehouse.landing import batch_end
from warehouse.session import Context


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Ledger:
    """Gold's ledger, written as the jobs would have written it at the given times."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.context = Context(config, clock=lambda: instant("2011-01-05 10:00"))
        self.number = 0

    def query(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        with self.context.gold, self.context.gold.cursor() as cursor:
            cursor.execute(statement, arguments or None)
            return cursor.fetchall() if cursor.description else []

    def views(self, *statements: str) -> list[list[tuple[Any, ...]]]:
        """Rows of queries by one who may read the views, all at one now()."""
        connection = self.context.connect(admin=True)
        try:
            with connection.cursor() as cursor:
                found = []
                for statement in statements:
                    cursor.execute(statement)
                    found.append(cursor.fetchall())
                return found
        finally:
            connection.close()

    def rules(self, timezone: str = "Europe/London", **changes: Any) -> None:
        config = replace(self.config, timezone=ZoneInfo(timezone), sla=replace(self.config.sla, **changes))
        context = Context(config)
        monitor.follow_rules(context)
        context.close()

    def run(self, job: str, start: str | datetime, minutes: float = 1, status: str = "DONE", rows: int = 0) -> str:
        """A run of a job; its id."""
        self.number += 1
        begins = instant(start) if isinstance(start, str) else start
        ends = begins + timedelta(minutes=minutes)
        self.query(
            "insert into ops.etl_runs (run_id, job, started_at, finished_at, status, rows_in)"
            " values (%s, %s, %s, %s, %s, %s)",
            str(self.number), job, begins, ends, status, rows,
        )  # fmt: skip
        return str(self.number)

    def file(self, path: str, at: datetime, run: str | None, reason: str | None = None, rows: int = 1) -> None:
        name = path.split("_")[-1].removesuffix(".csv")
        is_window = path.startswith("transactions/")
        self.query(
            "insert into ops.landed_files (path, sha256, size, rows, batch_id, snapshot_date, status, reason, at,"
            " settled_run) values (%s, md5(random()::text), 1, %s, %s, %s, %s, %s, %s, %s)",
            path, rows, name[:13] if is_window else None, None if is_window else name,
            "REJECTED" if reason else "LOADED", reason, at, run,
        )  # fmt: skip

    def window(self, window: str, at: str | None = None, settles: bool = True, part: str = "") -> None:
        """A file of a window, loaded 20 minutes after the window's end and settled in the five minutes after."""
        loaded = instant(at) if at else batch_end(window) + timedelta(minutes=20)
        run = self.run("gold", loaded, 5) if settles else None
        self.file(f"transactions/transactions_{window}{part}.csv", loaded, run)

    def snapshot(self, source: str, day: str, at: str = "06:00") -> None:
        """A snapshot that is loaded at a time (of its own date, or another) and worked in within two minutes."""
        loaded = instant(at if " " in at else f"{day} {at}")
        self.file(f"{source}/{source}_{day}.csv", loaded, self.run(f"ingest {source}", loaded, 2))

    def masters(self, day: str, at: str = "06:00") -> None:
        self.snapshot("products", day, at)
        self.snapshot("countries", day, at)

    def follow(self, at: str, *jobs: str) -> None:
        """Runs of jobs, a minute each, one after the other."""
        for minute, job in enumerate(jobs or ("gold", "star", "detect")):
            self.run(job, instant(at) + timedelta(minutes=minute))

    def good_day(self, day: str, *windows: str) -> None:
        """Windows in time, the masters at 06:00, and at 06:05 the jobs that follow."""
        for window in windows:
            self.window(window)
        self.masters(day)
        self.follow(f"{day} 06:05")

    def sla(self, at: str, day: str | None = None) -> dict[str, dict[str, Any]]:
        views = self.query("select to_jsonb(s) from ops.sla(%s, %s) as s", instant(at), day)
        return {view["view_name"]: view for (view,) in views}

    def states(self, at: str, day: str | None = None) -> dict[str, str]:
        return {name: view["state"] for name, view in self.sla(at, day).items()}

    def state(self, at: str, day: str | None = None) -> str:
        """The state of all views, where it is one."""
        (state,) = set(self.states(at, day).values())
        return state

    def missing(self, at: str) -> dict[str, str]:
        return {name: view["missing"] for name, view in self.sla(at).items()}
