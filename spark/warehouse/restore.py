"""Bring a back-up back: its databases are restored beside those in use, and take their names once they are whole."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from warehouse import backups, gold, lake, landing, ledger
from warehouse.backups import Backup, Database
from warehouse.errors import WarehouseError
from warehouse.ledger import Outcome, counted
from warehouse.session import Context

RESTORED, REPLACED = "_restored", "_replaced"
"""What the names of databases end with that are not in force yet, and no longer."""
FOLLOWED = {"gold.products": f"{lake.BRONZE}.products", "gold.countries": f"{lake.BRONZE}.countries"}
_ATTEMPTS = 10
_END_SESSIONS = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = %s and pid <> pg_backend_pid() and pid is distinct from %s
"""
_SINCE = """
select
    (select count(*) from ops.error_verdicts where given_at > %(at)s),
    (select count(*) from anomaly_audit where changed_at > %(at)s),
    array(select path from ops.landed_files where status = 'LOADED' and rows > 0 and at > %(at)s order by path)
"""
_LEDGER = """
update ops.etl_runs set status = 'DONE', finished_at = %(taken_at)s where job = 'backup' and run_id = %(made_by)s;
insert into ops.etl_runs (run_id, job, status, finished_at, detail)
values (%(run_id)s, 'restore', 'DONE', clock_timestamp(), %(detail)s) on conflict do nothing
"""


def check(context: Context, backup: Backup, gold_only: bool) -> None:
    """Raise WarehouseError where a back-up cannot be brought back as it is asked for."""
    if damaged := backup.damaged_file():
        raise WarehouseError(f"{damaged} of back-up {backup.name} is not as it was written. Take another back-up.")
    if gold_only:
        if lake.identity(context.spark, lake.BRONZE) != backup.manifest["bronze"]:
            raise WarehouseError(
                f"Bronze is not the one of back-up {backup.name}, by which files are loaded that it does not hold."
                " Where the catalog lost its tables, `init` finds them again; else begin anew with `init --reset`."
            )
        return
    for table, described in backup.descriptions().items():
        if lost := lake.lost_file(context.spark, described):
            raise WarehouseError(
                f"back-up {backup.name} cannot bring the lake back: {table} needs {lost}, which is gone."
                " `restore --gold-only` brings Gold back, and the next run takes it on to where the lake is."
            )


def losses(context: Context, backup: Backup, gold_only: bool) -> list[str]:
    """What no run brings again once a back-up is restored, as far as the Gold that is there can tell."""
    try:
        with closing(context.connect(admin=True)) as connection, connection.cursor() as cursor:
            cursor.execute(_SINCE, {"at": backup.taken_at})
            errors, cases, paths = cursor.fetchone() or (0, 0, [])
    except psycopg2.Error:  # Gold itself is what was lost
        return []
    lost = []
    if errors or cases:
        lost.append(f"{counted(errors, 'decision')} on errors and {counted(cases, 'verdict')} on cases")
    if paths and not gold_only:
        sources = context.config.sources.values()
        landed = {file.path for source in sources for file in landing.listing(context, source)}
        if gone := [path for path in paths if path not in landed]:
            files = f"{counted(len(gone), 'file')} no longer in the landing zone, such as {gone[0]}"
            lost.append(f"{files} (--gold-only keeps their rows)")
    return lost


def run(context: Context, backup: Backup, gold_only: bool) -> Outcome:
    """Restore a back-up that was checked: all of it, or nothing."""
    of_gold = backups.gold_database(context)
    databases = [of_gold] if gold_only else [of_gold, backups.catalog_database(context)]
    try:
        with _no_job(context, of_gold) as lock:
            for database in databases:
                _fill(database, backup)
            _finish_gold(context, of_gold, backup, gold_only)
            for described in () if gold_only else backup.descriptions().values():
                lake.put_back(context.spark, described)
            with of_gold.cursor() as cursor:
                cursor.execute(_END_SESSIONS, (of_gold.name, lock))
        _put_in_force(context, databases)
    finally:
        for database in databases:
            _drop(database, RESTORED)
    for database in databases:
        _drop(database, REPLACED)
    what = "Gold" if gold_only else "Gold and the lake's catalog"
    go_on = "warehouse run" if context.config.embedded else "scripts/rerun.sh all"
    return Outcome("restore", f"{what} as of {backup.name}; `{go_on}` loads what came since")


@contextmanager
def _no_job(context: Context, of_gold: Database) -> Iterator[int | None]:
    """Hold every job's lock, where there is a Gold that knows of jobs; the session that does."""
    gold.create_databases(context)
    with of_gold.cursor(of_gold.name) as cursor:
        cursor.execute("select to_regclass('ops.etl_runs') is not null")
        jobs_are_known = cursor.fetchone() == (True,)
    if not jobs_are_known:
        yield None
        return
    with ledger.alone(context, "restore", apart_from=("backup", *backups.WRITERS)) as locks:
        yield locks.info.backend_pid


def _fill(database: Database, backup: Backup) -> None:
    """Restore a dump into a database of its own. Who owns and may do what is made anew, as `init` does."""
    for suffix in (RESTORED, REPLACED):  # of a restore that was killed
        _drop(database, suffix)
    with database.cursor() as cursor:
        cursor.execute(sql.SQL("create database {}").format(sql.Identifier(database.name + RESTORED)))
    options = ("--exit-on-error", "--no-owner", "--no-privileges", "--no-policies")
    database.run("pg_restore", *options, backup.folder / database.dump, database=database.name + RESTORED)


def _finish_gold(context: Context, of_gold: Database, backup: Backup, gold_only: bool) -> None:
    """Make of a restored Gold one that jobs and people can go on with.

    The star's tables may be ahead of it: they will follow it anew. What Gold itself had yet to follow of the lake it
    follows from the beginning, since of a lake that comes back older snapshots may be gone.
    """
    with (
        closing(context.connect(admin=True, database=of_gold.name + RESTORED)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        gold.upgrade(context, cursor)
        _add_logins(cursor, backup)
        cursor.execute("delete from ops.watermarks where name like 'star.%'")
        for name, table in () if gold_only else FOLLOWED.items():
            cursor.execute(
                "delete from ops.watermarks where name = %s and snapshot_id is distinct from %s",
                (name, backup.manifest["tables"][table]["snapshot"]),
            )
        entry = {"run_id": context.run_id, "made_by": backup.manifest["run_id"], "taken_at": backup.taken_at}
        cursor.execute(_LEDGER, entry | {"detail": Json({"backup": backup.name, "gold_only": gold_only})})
        cursor.execute("analyze")


def _add_logins(cursor: Cursor, backup: Backup) -> None:
    """Make the logins again that the server has lost; those that it has stay as they are."""
    for login in backup.logins():
        cursor.execute("select from pg_roles where rolname = %s", (login["name"],))
        if cursor.fetchone() is None:
            name = sql.Identifier(login["name"])
            until = login["valid_until"] or "infinity"
            create = sql.SQL("create role {} login password %s valid until %s").format(name)
            cursor.execute(create, (login["verifier"], until))
            groups = sql.SQL(", ").join(map(sql.Identifier, login["groups"]))
            cursor.execute(sql.SQL("grant {} to {}").format(groups, name))


def _put_in_force(context: Context, databases: Sequence[Database]) -> None:
    """Gold first: one that is behind the lake is sound, one that is ahead of it is not."""
    done: list[Database] = []
    try:
        for database in databases:
            _exchange(database, REPLACED, RESTORED)
            done.append(database)
            context.failpoint("after-restoring-one")
    except BaseException:
        for database in reversed(done):
            _exchange(database, RESTORED, REPLACED)
        raise


def _exchange(database: Database, old: str, new: str) -> None:
    """Rename the database in use and the one to take its place, in one transaction, and end who is connected."""
    renames = sql.SQL("alter database {name} rename to {old}; alter database {new} rename to {name}").format(
        name=sql.Identifier(database.name),
        old=sql.Identifier(database.name + old),
        new=sql.Identifier(database.name + new),
    )
    with database.cursor() as cursor:
        for attempt in range(_ATTEMPTS):
            cursor.execute(_END_SESSIONS, (database.name, None))
            try:
                cursor.execute(renames)
                return
            except psycopg2.errors.ObjectInUse:  # somebody was quick to connect again
                if attempt == _ATTEMPTS - 1:
                    raise


def _drop(database: Database, suffix: str) -> None:
    with database.cursor() as cursor:
        cursor.execute(
            sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(database.name + suffix))
        )
