"""Postgres Gold: its schema, COPY from Spark, reads into Spark, and the settle."""

import hashlib
import io
import itertools
import os
import re
import signal
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg2
import pyarrow as pa
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from psycopg2.extensions import encrypt_password
from pyspark import TaskContext
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from warehouse.config import PROJECT
from warehouse.errors import WarehouseError
from warehouse.session import CATALOG_DATABASE, Context

_INCLUDE = re.compile(r"^\\ir\s+(\S+)$", re.MULTILINE)
_BUFFER = 1 << 20

FETCH_ROWS = 50_000

Verdict = tuple[str, tuple[Any, ...]]
"""A steward's decision as a statement that calls its function, and its arguments."""


def create(context: Context) -> None:
    """Create or upgrade Gold: its database, what is in it, and the login of the jobs."""
    create_databases(context)
    with closing(context.connect(admin=True)) as connection, connection, connection.cursor() as cursor:
        upgrade(context, cursor)


def upgrade(context: Context, cursor: Cursor) -> None:
    """Make the database that an administrator is connected to what this version's Gold is; the caller commits."""
    cursor.execute("select pg_advisory_xact_lock(hashtext('warehouse'), hashtext('init'))")
    cursor.execute(script("init_gold.sql"))
    _set_password(context, cursor)


def drop(context: Context) -> None:
    """Drop Gold's database, whoever is connected and whatever is left of it."""
    name = database(context)
    with closing(context.connect(admin=True, database="postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()",
                (name,),
            )
            cursor.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def create_databases(context: Context) -> None:
    """Create the databases that are missing: Gold's, and the catalog's in the embedded home."""
    wanted = [database(context), *([CATALOG_DATABASE] if context.config.embedded else [])]
    with closing(context.connect(admin=True, database="postgres")) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select pg_advisory_lock(hashtext('warehouse'), hashtext('databases'))")
            for name in wanted:
                cursor.execute("select from pg_database where datname = %s", (name,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("create database {}").format(sql.Identifier(name)))


def database(context: Context) -> str:
    """The name of Gold's database."""
    return unquote(urlsplit(context.gold_url(admin=True)).path[1:])


def _set_password(context: Context, cursor: Cursor) -> None:
    """Let the jobs log in with the password that their own URL has; it goes over as a SCRAM verifier."""
    login, admin = urlsplit(context.gold_url()), urlsplit(context.gold_url(admin=True))
    if login.username and login.password and login.username != admin.username:
        user = unquote(login.username)
        verifier = encrypt_password(unquote(login.password), user, cursor.connection, "scram-sha-256")
        cursor.execute(sql.SQL("alter role {} login password %s").format(sql.Identifier(user)), (verifier,))


def script(name: str) -> str:
    """An SQL file of postgres/ with the files that it includes."""
    text = (PROJECT / "postgres" / name).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda include: script(include[1]), text)


def query(context: Context, statement: str) -> DataFrame:
    """The rows of a query on Gold, read by Spark in one go."""
    rows: DataFrame = _reader(context).option("query", statement).load()
    return rows


def query_parts(context: Context, table: str, condition: str, parts: int) -> DataFrame:
    """The rows of `table` that meet a condition, read in `parts` parallel parts."""
    if parts == 1:
        return query(context, f"select * from {table} where {condition}")
    url, properties = _jdbc(context)
    predicates = [
        f"{condition} and mod(hashtext(transaction_id) & 2147483647, {parts}) = {part}" for part in range(parts)
    ]
    return context.spark.read.jdbc(url, table, predicates=predicates, properties=properties)


def _reader(context: Context) -> Any:
    url, properties = _jdbc(context)
    return context.spark.read.format("jdbc").options(url=url, **properties)


def _jdbc(context: Context) -> tuple[str, dict[str, str]]:
    parts = urlsplit(context.gold_url())
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    options = f"?{parts.query}" if parts.query else ""  # sslmode and the like mean the same to both drivers
    return f"jdbc:postgresql://{host}:{parts.port or 5432}{parts.path}{options}", {
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "driver": "org.postgresql.Driver",
        "fetchsize": str(FETCH_ROWS),
        "preferTimestampNTZ": "true",
    }


def csv_line(frame: DataFrame, columns: Sequence[str]) -> Column:
    """A row as a line of COPY's CSV format: text quoted, null as nothing at all."""
    types = {field.name: field.dataType for field in frame.schema.fields}

    def written(column: str) -> str:
        if not isinstance(types[column], StringType):
            return f"coalesce(string(`{column}`), '')"
        return f"""coalesce('"' || translate(replace(`{column}`, '"', '""'), '\\0', '␀') || '"', '')"""

    return F.expr(f"concat_ws(',', {', '.join(map(written, columns))}) || '\\n'")


def copy(
    context: Context,
    frame: DataFrame,
    table: str,
    columns: Sequence[str],
    failpoint: str = "",
    parts: str = "parts",
) -> int:
    """COPY a DataFrame into a staging table; rows copied.

    A task's rows and its line in the staging table `parts` are one transaction, so a task that runs twice (a lost
    executor, speculation) leaves its rows once.
    """
    url = context.gold_url()
    label = f"{table}-{uuid.uuid4()}"
    statement = f"copy staging.{table} ({', '.join(columns)}) from stdin (format csv)"
    ends_run = bool(failpoint) and context.config.failpoint == failpoint
    driver = os.getpid()

    def copy_part(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        task = TaskContext.get()
        part = f"{label}-{task.partitionId() if task else 0}"
        rows = _copy_part(url, statement, parts, part, iter(batches), driver if ends_run else None)
        yield pa.RecordBatch.from_pydict({"rows": pa.array([rows], pa.int64())})

    lines = frame.select(csv_line(frame, columns).alias("line"))
    return sum(row[0] for row in lines.mapInArrow(copy_part, "rows bigint").collect())


def _copy_part(
    url: str, statement: str, parts: str, part: str, batches: Iterator[pa.RecordBatch], kills: int | None
) -> int:
    first = next(batches, None)
    if first is None:
        return 0
    with closing(psycopg2.connect(url, application_name="warehouse copy")) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute(f"insert into staging.{parts} (part, rows) values (%s, 0) on conflict do nothing", (part,))
            if cursor.rowcount == 0:  # an earlier attempt of this task has committed
                cursor.execute(f"select rows from staging.{parts} where part = %s", (part,))
                (already,) = cursor.fetchone() or (0,)
                return int(already)
            source = _Lines(itertools.chain([first], batches), kills)
            cursor.copy_expert(statement, source, size=_BUFFER)
            cursor.execute(f"update staging.{parts} set rows = %s where part = %s", (source.rows, part))
        return source.rows


class _Lines(io.RawIOBase):
    """Arrow string batches as one byte stream: their data buffers, end to end, are the COPY text."""

    def __init__(self, batches: Iterator[pa.RecordBatch], kills: int | None = None) -> None:
        self.rows = 0
        self._batches = batches
        self._rest = memoryview(b"")
        self._kills = kills  # tests only: the process that dies when the first rows are on their way

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            batch = next(self._batches, None)
            if batch is None:
                return b""
            if self._kills and self.rows:
                os.kill(self._kills, signal.SIGKILL)
            self.rows += batch.num_rows
            self._rest = _text(batch.column(0))
        taken = self._rest[:size] if size > 0 else self._rest
        self._rest = self._rest[len(taken) :]
        return bytes(taken)


def _text(lines: pa.Array) -> memoryview:
    """The bytes of all strings of an array, without a copy."""
    if len(lines) == 0:
        return memoryview(b"")
    offsets = memoryview(lines.buffers()[1]).cast("q" if pa.types.is_large_string(lines.type) else "i")
    start, end = offsets[lines.offset], offsets[lines.offset + len(lines)]
    return memoryview(lines.buffers()[2])[start:end]


def publish(context: Context, dimension: str, key: str, differences: DataFrame, whole: bool = False) -> int:
    """Apply differences (`op` U or D, and the columns) to a dimension in Gold, once the caller commits; how many.

    `whole`: they are all that the dimension is to hold.
    """
    staging = f"star_{dimension}"
    columns = ", ".join(c for c in differences.columns if c != "op")
    rows = stage(context, differences, staging, f"select *, '' as op from {dimension}")
    with context.gold.cursor() as cursor:
        replaced = "true" if whole else f"{key} in (select s.{key} from staging.{staging} as s)"
        cursor.execute(
            f"delete from {dimension} where {replaced};"
            f" insert into {dimension} ({columns}) select {columns} from staging.{staging} where op = 'U';"
            f" drop table staging.{staging}, staging.{staging}_parts"
        )
    return rows


def stage(context: Context, rows: DataFrame | None, table: str, shape: str) -> int:
    """COPY rows (None: none) into a staging table of their own, which has the columns of a query; how many they are."""
    parts = f"{table}_parts"
    with closing(context.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            f"drop table if exists staging.{table}, staging.{parts};"
            f" create unlogged table staging.{table} as {shape} limit 0;"
            f" create unlogged table staging.{parts} (part text primary key, rows bigint not null)"
        )
    return 0 if rows is None else copy(context, rows, table, rows.columns, parts=parts)


def staging_table(context: Context) -> str:
    """This run's own staging table: a task of a run that was killed cannot write into another's."""
    return f"decided_{hashlib.sha256(context.run_id.encode()).hexdigest()[:16]}"


def open_staging(context: Context, redecided: Sequence[str]) -> None:
    """Make room for a run: empty staging tables, and nothing left of earlier runs."""
    with context.gold.cursor() as cursor:
        cursor.execute("call ops.clear_staging()")
        cursor.execute("call ops.create_staging(%s, %s)", (staging_table(context), list(redecided)))
    context.gold.commit()


def suppose(context: Context, verdicts: Sequence[Verdict]) -> None:
    """Let the staged decisions of stewards be as if these were given, too. They are given, and taken back."""
    with closing(context.connect()) as connection, connection.cursor() as cursor:
        for statement, arguments in verdicts:
            cursor.execute(statement, arguments)
        cursor.execute("select error_id, to_jsonb(v)::text from ops.error_verdicts as v where judged < version")
        given = cursor.fetchall()
        connection.rollback()
    with context.gold.cursor() as cursor:
        for error_id, verdict in given:
            cursor.execute("delete from staging.error_verdicts where error_id = %s", (error_id,))
            cursor.execute(
                "insert into staging.error_verdicts select * from jsonb_populate_record(null::ops.error_verdicts, %s)",
                (verdict,),
            )
    context.gold.commit()


def staged_errors(context: Context, errors: Sequence[int]) -> list[dict[str, Any]]:
    """The staged fate of rows that stewards decided on (or of these only); nothing is left in staging."""
    with context.gold.cursor() as cursor:
        cursor.execute(
            """
            select v.error_id, case when v.discarded then 'DISCARDED' else d.fate end as becomes,
                case when v.discarded then v.reason else d.reason end as reason,
                case when v.discarded then v.detail else d.detail end as detail,
                d.transaction_key as transaction_id, d.unit_price, d.total_amount
            from staging.error_verdicts as v inner join staging.decided as d on v.error_id = d.row_id
            where v.judged < v.version and (%(all)s or v.error_id = any(%(errors)s))
            order by v.error_id
            """,
            {"all": not errors, "errors": list(errors)},
        )
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor]
        cursor.execute("call ops.clear_staging()")
    context.gold.commit()
    return rows


def find_contested(context: Context) -> list[str]:
    """Close staging and take from it what must be decided as a whole; the windows where that is."""
    with context.gold.cursor() as cursor:
        cursor.execute("call ops.find_contested(%s)", (staging_table(context),))
        cursor.execute("select batch_id from staging.contested_batches")
        batches = [batch for (batch,) in cursor]
    context.gold.commit()
    return batches


def settle(context: Context, landed: int) -> dict[str, int]:
    """Bring what is staged into Gold. Raises where the books do not balance; the caller commits."""
    with context.gold.cursor() as cursor:
        cursor.execute(
            "select facts, errors, duplicates, repriced, released, corrected from ops.settle(%s)", (context.run_id,)
        )
        facts, errors, duplicates, repriced, released, corrected = cursor.fetchone() or (0, 0, 0, 0, 0, 0)
        cursor.execute("call ops.clear_staging()")
    if landed != facts + errors + duplicates:
        raise WarehouseError(
            f"the books do not balance: {landed} landed, but {facts} facts + {errors} errors + {duplicates}"
            " duplicates. Nothing was committed. This is a fault of the program, not of the data:"
            f" report it with run {context.run_id}."
        )
    return {
        "rows_in": landed,
        "rows_fact": facts,
        "rows_error": errors,
        "rows_duplicate": duplicates,
        "repriced": repriced,
        "released": released,
        "corrected": corrected,
    }
