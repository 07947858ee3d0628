"""Back-ups: dumps of Gold and of the lake's catalog that fit each other, and what describes the lake's tables then.

A back-up is a folder, whole or not there. The rows of the lake are not in it: they stay where they are, for as long as
`maintain` keeps snapshots.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg2
from psycopg2.extensions import cursor as Cursor

from warehouse import embedded, lake
from warehouse.config import SOURCES
from warehouse.errors import UsageError, WarehouseError
from warehouse.session import CATALOG_DATABASE, Context

WRITERS = (
    "init",
    *(f"ingest {source}" for source in SOURCES),
    "gold",
    "star",
    "baselines",
    "detect",
    "alerts",
    "maintain",
)
"""What must not run while a back-up is made or restored."""
LOGINS, MANIFEST, DESCRIPTIONS = "logins.json", "manifest.json", "tables"
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ", re.ASCII)
_LOGINS = """
select a.rolname, a.rolpassword, a.rolvaliduntil::text, array_agg(g.rolname::text order by g.rolname)
from pg_authid as a
inner join pg_auth_members as m on a.oid = m.member
inner join pg_roles as g on m.roleid = g.oid
where a.rolcanlogin and g.rolname in ('bi_reader', 'steward', 'shop_app')
group by a.rolname, a.rolpassword, a.rolvaliduntil order by a.rolname
"""
_MEANWHILE = """
select max(job) from ops.etl_runs
where job <> 'backup' and started_at > (select started_at from ops.etl_runs where job = 'backup' and run_id = %s)
"""


@dataclass(frozen=True)
class Database:
    """One of the databases that are backed up: what people call it, its dump, and its administrator's URL."""

    title: str
    dump: str
    url: str = field(repr=False)  # with its password

    @property
    def name(self) -> str:
        return unquote(urlsplit(self.url).path[1:])

    @contextmanager
    def cursor(self, database: str = "postgres") -> Iterator[Cursor]:
        """Statements on its server, each committed by itself. Raises WarehouseError."""
        try:
            with closing(psycopg2.connect(self.url, dbname=database, application_name="warehouse")) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    yield cursor
        except psycopg2.Error as error:
            raise self.failed(str(error)) from None

    def run(self, program: str, *arguments: str | Path, database: str = "") -> None:
        """One of Postgres' programs on it; the password is in that program's environment alone."""
        parts = urlsplit(self.url)
        login = parts._replace(netloc=f"{parts.username}@{parts.netloc.rpartition('@')[2]}")
        url = (login._replace(path=f"/{database}") if database else login).geturl()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        said = subprocess.run(
            [embedded.program(program), f"--dbname={url}", *arguments],
            env=inherited | {"PGPASSWORD": unquote(parts.password or ""), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            umask=0o077,
        )
        if said.returncode != 0:
            found = re.search(r"error: (.*)", said.stderr)
            raise self.failed(found[1] if found else said.stderr)

    def failed(self, said: str) -> WarehouseError:
        parts, lines = urlsplit(self.url), said.strip().splitlines() or ["no reason given"]
        return WarehouseError(
            f"{self.title} at {parts.hostname}:{parts.port or 5432}: {lines[0].rstrip('.')}."
            " Nothing was half-written; run the same command again."
        )

    def size(self) -> int:
        """Its bytes."""
        with self.cursor() as cursor:
            cursor.execute("select pg_database_size(%s)", (self.name,))
            (size,) = cursor.fetchone() or (0,)
        return int(size)


def gold_database(context: Context) -> Database:
    return Database("Gold (Postgres)", "gold.dump", context.gold_url(admin=True))


def catalog_database(context: Context) -> Database:
    """What knows the tables of the lake: the Hive metastore's database, or in the embedded home Iceberg's own."""
    if context.config.embedded:
        url = urlsplit(context.gold_url(admin=True))._replace(path=f"/{CATALOG_DATABASE}").geturl()
    elif context.config.metastore_url:
        url = context.config.metastore_url
    else:
        raise UsageError("METASTORE_DB_URL is not set: it says where the database of the Hive metastore is")
    return Database("the metastore's database", "metastore.dump", url)


@dataclass(frozen=True)
class Backup:
    """A back-up: its folder, and what its manifest says."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def taken_at(self) -> datetime:
        return datetime.fromisoformat(self.manifest["taken_at"])

    def logins(self) -> list[dict[str, Any]]:
        logins: list[dict[str, Any]] = json.loads((self.folder / LOGINS).read_text(encoding="utf-8"))
        return logins

    def descriptions(self) -> dict[str, lake.Description]:
        """Table of the lake → as it stood."""
        return {
            table: lake.Description(
                entry["metadata"], (self.folder / DESCRIPTIONS / f"{table}.json").read_text(encoding="utf-8")
            )
            for table, entry in self.manifest["tables"].items()
        }

    def damaged_file(self) -> str | None:
        """The first file that is not as it was written; None where all are."""
        for name, file in self.manifest["files"].items():
            path = self.folder / name
            if not path.is_file() or _sha256(path) != file["sha256"]:
                return str(name)
        return None


def existing(context: Context) -> list[Backup]:
    """The back-ups that there are, oldest first."""
    manifests = sorted(context.config.backups.glob(f"*/{MANIFEST}"))
    return [
        Backup(file.parent, json.loads(file.read_text(encoding="utf-8")))
        for file in manifests
        if _NAME.fullmatch(file.parent.name)
    ]


def find(context: Context, name: str) -> Backup:
    """A back-up by its name, or the latest. Raises UsageError naming those that there are."""
    found = {backup.name: backup for backup in existing(context)}
    if name == "latest" and found:
        return found[max(found)]
    if name not in found:
        those = f"there are {', '.join(found)}" if found else "there is none"
        raise UsageError(f"no back-up {name!r} in {context.config.backups}: {those}")
    return found[name]


def make(context: Context) -> Backup:
    """Write a back-up under another name and rename it once it is whole. The caller holds the locks of WRITERS."""
    taken_at = context.clock().astimezone(UTC)
    folder = context.config.backups / f".{taken_at:%Y-%m-%dT%H-%M-%SZ}"
    _remove_unfinished(context)
    folder.mkdir(mode=0o700, parents=True)
    try:
        manifest: dict[str, Any] = {
            "taken_at": taken_at.isoformat(),
            "run_id": context.run_id,
            "warehouse": version("warehouse"),
        }
        manifest |= _write_databases(context, folder) | _write_descriptions(context, folder)
        _fail_if_a_job_ran(context)
        manifest["files"] = {
            path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        _write(folder / MANIFEST, json.dumps(manifest, indent=2))
        return Backup(folder.rename(folder.with_name(folder.name[1:])), manifest)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write_databases(context: Context, folder: Path) -> dict[str, Any]:
    servers = {}
    for database in (gold_database(context), catalog_database(context)):
        # without what a run that was killed has left on its way into Gold
        options = ("--format=custom", "--exclude-table=staging.*", "--lock-wait-timeout=60s")
        database.run("pg_dump", *options, f"--file={folder / database.dump}")
        with database.cursor() as cursor:
            servers[database.dump] = cursor.connection.get_parameter_status("server_version")
    with gold_database(context).cursor() as cursor:
        cursor.execute(_LOGINS)
        logins = [dict(zip(("name", "verifier", "valid_until", "groups"), row, strict=True)) for row in cursor]
    _write(folder / LOGINS, json.dumps(logins, indent=2))
    return {"postgres": servers}


def _write_descriptions(context: Context, folder: Path) -> dict[str, Any]:
    (folder / DESCRIPTIONS).mkdir()
    tables = {}
    for table in (f"{namespace}.{table}" for namespace, names in lake.TABLES.items() for table in names):
        described = lake.description(context.spark, table)
        _write(folder / DESCRIPTIONS / f"{table}.json", described.text)
        tables[table] = {"metadata": described.location, "snapshot": lake.snapshot_id(context.spark, table)}
    return {"tables": tables, "bronze": lake.identity(context.spark, lake.BRONZE)}


def _fail_if_a_job_ran(context: Context) -> None:
    """Where the session with the locks was ended, a job may have: then what was written does not fit together."""
    with context.gold.cursor() as cursor:
        cursor.execute(_MEANWHILE, (context.run_id,))
        (job,) = cursor.fetchone() or (None,)
    context.gold.commit()
    if job:
        raise WarehouseError(f"`{job}` ran meanwhile: the lock was lost. There is no back-up of it; try again.")


def remove_old(context: Context) -> int:
    """Remove the oldest back-ups beyond those that are kept; how many."""
    old = existing(context)[: -context.config.backups_kept]
    for backup in old:
        shutil.rmtree(backup.folder.rename(backup.folder.with_name(f".{backup.name}")))  # never half there by its name
    return len(old)


def _remove_unfinished(context: Context) -> None:
    for folder in context.config.backups.glob(".*"):
        if _NAME.fullmatch(folder.name[1:]):
            shutil.rmtree(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
