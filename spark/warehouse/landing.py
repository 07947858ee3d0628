"""The landing zone: which files are pending, which are accepted, and the record of both."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from warehouse import lake, ledger
from warehouse.config import Source
from warehouse.errors import Rejected
from warehouse.ledger import Outcome
from warehouse.parsing import Column, check_snapshot, decode, parse
from warehouse.rules import facts
from warehouse.session import CATALOG, Context, java_class

_ROWS_A_BATCH = 20_000
_NO_BYTES = hashlib.sha256(b"").hexdigest()
Prepare = Callable[[DataFrame], DataFrame]
_GLOB = re.compile(r"([\\{}\[\]*?])")


@dataclass(frozen=True)
class Scope:
    """Which files a run takes: windows and snapshots that begin from `since` to `last`, and are complete by `until`.

    `until` cuts where a window ends, `last` where it begins: what begins on a day is a window that ends with the day,
    but not the snapshot of the next one. A window is complete when it ends, a snapshot when its date begins.
    """

    until: datetime | None = None
    since: datetime | None = None
    last: datetime | None = None

    def takes(self, file: "LandingFile") -> bool:
        return not file.slot or self.covers(file.begins_at, file.complete_at)

    def takes_window(self, batch_id: str) -> bool:
        return self.covers(batch_start(batch_id), batch_end(batch_id))

    def covers(self, begins_at: datetime, complete_at: datetime) -> bool:
        return (
            (self.since is None or begins_at >= self.since)
            and (self.last is None or begins_at <= self.last)
            and (self.until is None or complete_at <= self.until)
        )


@dataclass(frozen=True)
class LandingFile:
    """A file in the landing zone, and, once read, its verdict."""

    path: str  # relative to the landing zone
    uri: str
    size: int
    modified_at: datetime
    batch_id: str | None = None
    snapshot_date: date | None = None
    sha256: str = ""
    rows: int = 0
    status: str = "LOADED"
    reason: str | None = None
    unknown_columns: tuple[str, ...] = ()
    brings_rows: bool = True
    replaces: bool = False

    @property
    def day(self) -> date | None:
        if self.batch_id:
            return date.fromisoformat(self.batch_id[:10])
        return self.snapshot_date

    @property
    def begins_at(self) -> datetime:
        if self.batch_id:
            return batch_start(self.batch_id)
        return datetime.combine(self.snapshot_date or date.min, datetime.min.time(), UTC)

    @property
    def complete_at(self) -> datetime:
        return batch_end(self.batch_id) if self.batch_id else self.begins_at

    @property
    def slot(self) -> str:
        return self.batch_id or str(self.snapshot_date or "")


def batch_start(batch_id: str) -> datetime:
    """When a 4-hour window begins (UTC)."""
    return datetime.strptime(batch_id, "%Y-%m-%dT%H").replace(tzinfo=UTC)


def batch_end(batch_id: str) -> datetime:
    """When a 4-hour window ends (UTC)."""
    start = batch_start(batch_id)
    return start + min(timedelta(hours=4), datetime.max.replace(tzinfo=UTC) - start)


def span(slots: Collection[str]) -> str:
    """The first and the last of windows or dates, in words."""
    first, last = min(slots), max(slots)
    return first if first == last else f"{first} to {last}"


def listing(context: Context, source: Source) -> list[LandingFile]:
    """The complete files of a source, in the order of their windows or dates."""
    folder = java_class(context.spark, "org.apache.hadoop.fs.Path")(f"{context.config.landing_uri}/{source.name}")
    system = folder.getFileSystem(context.spark._jsparkSession.sessionState().newHadoopConf())
    found = []
    for status in system.listStatus(folder) if system.exists(folder) else ():
        name = status.getPath().getName()
        if status.isDirectory() or name.startswith((".", "_")) or name.endswith(".tmp"):
            continue
        modified_at = datetime.fromtimestamp(status.getModificationTime() / 1000, UTC)
        uri, size = status.getPath().toString(), status.getLen()
        file = _named(source, LandingFile(f"{source.name}/{name}", uri, size, modified_at), name)
        if size == 0:
            file = replace(file, status="REJECTED", reason="EMPTY: the file has no bytes", sha256=_NO_BYTES)
        elif size > context.config.file_bytes:
            file = replace(file, status="REJECTED", reason=f"TOO_LARGE: over {context.config.file_bytes} bytes")
        found.append(file)
    if urlsplit(context.config.landing_uri).scheme == "file":
        found += _unreadable_names(source, folder.toUri().getPath())
    return sorted(found, key=lambda file: (file.slot, file.path))


def _unreadable_names(source: Source, folder: str) -> Iterator[LandingFile]:
    """What Java passes over in a folder without a word."""
    for path in Path(folder).iterdir() if Path(folder).is_dir() else ():
        raw = os.fsencode(path.name)
        name = raw.decode(errors="backslashreplace")
        if name == raw.decode(errors="replace") or name.startswith((".", "_")) or name.endswith(".tmp"):
            continue
        with suppress(OSError):  # it has gone
            found = path.stat()
            at = datetime.fromtimestamp(found.st_mtime_ns // 1_000_000 / 1000, UTC)
            file = LandingFile(f"{source.name}/{name}", "", found.st_size, at)
            yield replace(file, status="REJECTED", reason="BAD_NAME: not UTF-8")


def _named(source: Source, file: LandingFile, name: str) -> LandingFile:
    """Read window or date from a file's name, as the contract spells it."""
    if ":" in name:
        return replace(file, status="REJECTED", reason="BAD_NAME: Hadoop cannot read a name with a colon")
    if source.window_hours:
        match = re.fullmatch(r"transactions_(\d{4}-\d{2}-\d{2})T(\d{2}).*\.csv(\.gz)?", name, re.ASCII)
        if match and _is_date(match[1]) and int(match[2]) in source.window_hours:
            return replace(file, batch_id=f"{match[1]}T{match[2]}")
        wanted = "transactions_YYYY-MM-DDTHH*.csv[.gz], HH in " + " ".join(f"{h:02}" for h in source.window_hours)
    else:
        match = re.fullmatch(source.name + r"_(\d{4}-\d{2}-\d{2})\.csv(\.gz)?", name, re.ASCII)
        if match and _is_date(match[1]) and 1900 <= int(match[1][:4]) < 2200:  # a slip would be in force for ages
            return replace(file, snapshot_date=date.fromisoformat(match[1]))
        wanted = f"{source.name}_YYYY-MM-DD.csv[.gz], of the years 1900 to 2199"
    return replace(file, status="REJECTED", reason=f"BAD_NAME: not {wanted}")


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def pending(context: Context, source: Source, scope: Scope, replacing: bool) -> list[LandingFile]:
    """The files of a source that no run has seen as they are now.

    What was replaced counts as not seen: where it is put back, with its old time stamp even, it is another file again.
    """
    limit = f"TOO_LARGE: over {context.config.file_bytes} "

    def again(reason: str) -> bool:
        too_large = reason.startswith("TOO_LARGE") and not reason.startswith(limit)
        return too_large or reason == "REPLACED" or (replacing and reason == "CHANGED_FILE")

    with context.gold.cursor() as cursor:
        cursor.execute(
            "select path, size, modified_at, reason from ops.landed_files where path like %s",
            (f"{source.name}/%",),
        )
        seen: set[tuple[str, int, datetime | None]] = {
            (path, size, modified) for path, size, modified, reason in cursor if not again(reason or "")
        }
    return [
        file
        for file in listing(context, source)
        if (file.path, file.size, file.modified_at) not in seen and scope.takes(file)
    ]


def would_load(context: Context, source: Source, scope: Scope, replacing: bool) -> Outcome:
    """What `load` would find, by names and the record alone: no file is read, and nothing is changed."""
    files = pending(context, source, scope, replacing)
    slots = [file.slot for file in files if file.slot]
    refused = sum(file.status == "REJECTED" for file in files)
    size = sum(file.size for file in files)
    snapshots, _ = unsettled_dates(context, source) if source.key else ([], False)
    told = []
    if files:
        within = [_size(size), *([span(slots)] if slots else [])]
        within += [f"{refused} to be refused by name or size"] if refused else []
        told.append(f"{ledger.counted(len(files), 'file')} pending ({', '.join(within)})")
    if snapshots:
        told.append(f"{ledger.counted(len(snapshots), 'snapshot')} to work in")
    if is_unrecorded(context, source):
        told.append("Bronze holds files of a run that was cut short, which are recorded first")
    return Outcome(
        f"ingest {source.name}",
        "; ".join(told) or ledger.NOTHING,
        numbers={
            "files": len(files),
            "bytes": size,
            "first": min(slots, default=None),
            "last": max(slots, default=None),
            "refused": refused,
            "snapshots": len(snapshots),
        },
    )


def _size(size: int) -> str:
    if size < 1000:
        return ledger.counted(size, "byte")
    power = 3 if size >= 1e9 else 2 if size >= 1e6 else 1
    return f"{size / 1000**power:.1f} {('kB', 'MB', 'GB')[power - 1]}"


def days(context: Context, first: date, last: date) -> set[date]:
    """The days between two, both included, of which there are files in the landing zone."""
    listed = [file.day for source in context.config.sources.values() for file in listing(context, source)]
    return {day for day in listed if day is not None and first <= day <= last}


def parsed(context: Context, source: Source, files: Sequence[LandingFile]) -> DataFrame:
    """Every row of the files as text, and a row a file with its verdict as JSON."""
    columns, key, limit = source.columns, source.key, context.config.file_bytes

    def parse_files(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for uri, content in zip(batch.column(0), batch.column(1), strict=True):
                yield from _parse_file(uri.as_py(), content.as_py(), columns, key, limit)

    paths = [_GLOB.sub(r"\\\1", file.uri) for file in files]
    schema = "path string, sha256 string, verdict string, line_number int, problem string, raw_record string"
    return (
        context.spark.read.format("binaryFile")
        .load(paths)
        .select("path", "content")
        .mapInArrow(parse_files, ", ".join([schema, *[f"{c.name} string" for c in columns]]))
    )


def _parse_file(
    uri: str, content: bytes, columns: Sequence[Column], key: str | None, limit: int
) -> Iterator[pa.RecordBatch]:
    sha256 = hashlib.sha256(content).hexdigest()
    verdict: dict[str, Any] = {}
    rows = None
    try:
        rows = parse(decode(content, uri.endswith(".gz"), limit), columns)
        if key:
            check_snapshot(rows, columns, key)
        verdict = {"rows": len(rows.lines), "unknown_columns": rows.unknown_columns}
    except Rejected as rejected:
        verdict = {"rows": 0, "reason": str(rejected)}
        rows = None
    names = ["path", "sha256", "verdict", "line_number", "problem", "raw_record", *[c.name for c in columns]]

    def batch(size: int, *cells: pa.Array) -> pa.RecordBatch:
        texts = [pa.array([value] * size, pa.string()) for value in (uri, sha256)]
        return pa.RecordBatch.from_arrays([*texts, *cells], names=names)

    text_null = pa.nulls(1, pa.string())
    yield batch(
        1,
        pa.array([json.dumps(verdict)]),
        pa.nulls(1, pa.int32()),
        *[text_null] * (2 + len(columns)),
    )
    for start in range(0, len(rows.lines) if rows else 0, _ROWS_A_BATCH):
        assert rows is not None
        part = slice(start, start + _ROWS_A_BATCH)
        size = len(rows.lines[part])
        yield batch(
            size,
            pa.nulls(size, pa.string()),
            pa.array(rows.lines[part], pa.int32()),
            pa.array(rows.problems[part], pa.string()),
            pa.array(rows.records[part], pa.string()),
            *[pa.array(values[part], pa.string()) for values in rows.values],
        )


Loaded = dict[str, dict[str, str]]
"""What is in force: window or date → path → sha256."""


def judge(
    context: Context, files: Sequence[LandingFile], verdicts: dict[str, tuple[str, str]], replacing: bool
) -> list[LandingFile]:
    """Accept or reject each file, by what it holds and by what is loaded already.

    `verdicts`: uri → (sha256, verdict as JSON). The files come out with hash, status and reason; those
    that bring nothing new (the same file again, a copy under another name) with `brings_rows` false.
    """
    loaded = _loaded(context.gold, sorted({file.path.split("/")[0] for file in files}))
    read = [_with_verdict(file, *verdicts[file.uri]) if file.uri in verdicts else file for file in files]
    replaced = _take_out_replaced(read, loaded) if replacing else set()
    judged = []
    for file in read:
        file = _against_loaded(file, loaded, replacing)
        if file.status == "LOADED" and file.brings_rows:
            loaded.setdefault(file.slot, {})[file.path] = file.sha256
        judged.append(replace(file, replaces=file.path in replaced))
    return judged


def _with_verdict(file: LandingFile, sha256: str, text: str) -> LandingFile:
    verdict = json.loads(text)
    return replace(
        file,
        sha256=sha256,
        rows=verdict["rows"],
        reason=verdict.get("reason"),
        unknown_columns=tuple(verdict.get("unknown_columns", ())),
    )


def _take_out_replaced(files: Sequence[LandingFile], loaded: Loaded) -> set[str]:
    """Drop from `loaded` what replacements put out of force; the paths replaced.

    Done before any file is judged: none may pass for a copy of contents that are about to go.
    """
    replaced = set()
    for file in files:
        here = loaded.get(file.slot, {})
        if file.path in here and here[file.path] != file.sha256 and not file.reason:
            del here[file.path]
            replaced.add(file.path)
    return replaced


def _loaded(gold: Connection, sources: Sequence[str]) -> Loaded:
    loaded: Loaded = {}
    with gold.cursor() as cursor:
        cursor.execute(
            "select coalesce(batch_id, snapshot_date::text), path, sha256 from ops.landed_files"
            " where status = 'LOADED' and split_part(path, '/', 1) = any(%s)",
            (list(sources),),
        )
        for slot, path, sha256 in cursor:
            loaded.setdefault(slot, {})[path] = sha256
    return loaded


def _against_loaded(file: LandingFile, loaded: Loaded, replacing: bool) -> LandingFile:
    here = loaded.get(file.slot, {})
    refused = replace(file, status="REJECTED", rows=0, brings_rows=False)
    if here.get(file.path) == file.sha256:
        return replace(file, brings_rows=False, rows=-1)  # the same file again: as recorded
    if file.path in here and not replacing:
        return replace(refused, reason="CHANGED_FILE")
    if file.reason:
        return refused
    twin = next((path for path, sha256 in sorted(here.items()) if sha256 == file.sha256), None)
    if twin:
        return replace(file, brings_rows=False, rows=0, reason=f"the same bytes as {twin}")
    if here and file.snapshot_date:
        return replace(refused, reason=f"SECOND_SNAPSHOT: {min(here)} is in force for {file.slot}")
    return file


def accepted_rows(rows: DataFrame, files: Sequence[LandingFile], at: datetime) -> DataFrame:
    """The rows of the files that bring any, with window or date, file and hash, and when they were loaded."""
    spark = rows.sparkSession
    accepted = spark.createDataFrame(
        [(file.uri, file.path, file.batch_id, file.snapshot_date) for file in files if file.brings_rows],
        "path string, source_file string, batch_id string, snapshot_date date",
    )
    found = rows.where("verdict is null").join(F.broadcast(accepted), "path")
    kept = [c for c in found.columns if c not in ("path", "sha256", "verdict")]
    return found.select(*kept, F.col("sha256").alias("file_sha256"), F.lit(at).alias("ingested_at"))


def typed(landed: DataFrame, source: Source) -> DataFrame:
    """The rows of accepted snapshots (whose texts are known to parse) with the types of their columns."""

    def number(column: str, kind: str) -> SparkColumn:
        return F.nullif(F.trim(column), F.lit("")).cast(kind)

    types: dict[str, Callable[[str], SparkColumn]] = {
        "text": F.col,
        "code": facts.code,
        "money": lambda column: number(column, "decimal(12,4)"),
        "integer": lambda column: number(column, "int"),
        "latitude": lambda column: number(column, "double"),
        "longitude": lambda column: number(column, "double"),
    }
    values = [types[column.type](column.name).alias(column.name) for column in source.columns]
    return landed.select("snapshot_date", "source_file", "file_sha256", *values, "ingested_at")


def record(gold: Connection, files: Sequence[LandingFile], run_id: str, at: datetime) -> None:
    """Write what became of the files, once the caller commits.

    A file that brings rows is unsettled until a later step has worked them in; so is a copy whose
    name comes before the name under which its window is settled (the least name is the window's).
    """
    rows = [
        (
            f.path,
            f.sha256,
            f.size,
            f.rows,
            f.batch_id,
            f.snapshot_date,
            f.status,
            (f.reason or "").replace("\0", "␀") or None,
            at,
            f.modified_at,
            None if f.brings_rows and (f.rows or f.snapshot_date) else run_id,
        )
        for f in files
    ]
    with gold.cursor() as cursor:
        for file in files:
            if file.replaces:
                cursor.execute(
                    "update ops.landed_files set status = 'REJECTED', reason = 'REPLACED'"
                    " where path = %s and sha256 <> %s and status = 'LOADED'",
                    (file.path, file.sha256),
                )
        if rows:
            execute_values(
                cursor,
                """
                insert into ops.landed_files as l (
                    path, sha256, size, rows, batch_id, snapshot_date, status, reason, at, modified_at, settled_run
                ) values %s
                on conflict (path, sha256) do update set
                    size = excluded.size, modified_at = excluded.modified_at,
                    rows = case when excluded.rows < 0 then l.rows else excluded.rows end,
                    status = case when excluded.rows < 0 then l.status else excluded.status end,
                    reason = case when excluded.rows < 0 then l.reason else excluded.reason end,
                    at = case when excluded.rows < 0 then l.at else excluded.at end,
                    settled_run = case when excluded.rows < 0 then l.settled_run else excluded.settled_run end
                """,
                rows,
            )
            # what was too large to be read, and now is not
            read = [f.path for f in files if f.sha256]
            cursor.execute("delete from ops.landed_files where sha256 = '' and path = any(%s)", (read,))
        cursor.execute(
            """
            update ops.landed_files as l set settled_run = null
            where l.settled_run = %s and l.status = 'LOADED' and l.rows = 0 and l.batch_id is not null
            and l.path < (
                select min(o.path) from ops.landed_files as o
                where o.batch_id = l.batch_id and o.sha256 = l.sha256 and o.status = 'LOADED'
                and o.path <> l.path and o.settled_run is not null
            )
            """,
            (run_id,),
        )


def is_unrecorded(context: Context, source: Source) -> bool:
    """Whether Bronze does not stand where the last run that recorded its files left it."""
    snapshot = lake.snapshot_id(context.spark, f"{lake.BRONZE}.{source.name}_raw")
    return snapshot is not None and snapshot != ledger.watermark(context.gold, f"landing.{source.name}")


def reconcile(context: Context, source: Source) -> None:
    """Let the record say of each file what Bronze holds of it.

    Bronze is what counts: a run that was killed after its Bronze commit, or a Gold that was made anew or restored,
    finds its files again here. Of two contents of one file the newer stays (a replacement that was cut short). Costs
    nothing while Bronze stands where the last run left it.
    """
    if not is_unrecorded(context, source):
        return
    table = f"{lake.BRONZE}.{source.name}_raw"
    snapshot = lake.snapshot_id(context.spark, table)
    slot, slot_type = ("batch_id", "text") if source.window_hours else ("snapshot_date", "date")
    found = (
        lake.read(context.spark, table, snapshot)
        .groupBy(slot, "source_file", "file_sha256")
        .agg(F.count("*").alias("rows"), F.max(F.unix_micros("ingested_at")).alias("at"))
        .orderBy("at")
        .collect()
    )
    contents = [Content(row["source_file"], row[slot], row["file_sha256"], row["rows"]) for row in found]
    newest = {content.path: content for content in contents}
    with context.gold.cursor() as cursor:
        for content in contents:
            if content is not newest[content.path]:
                others = [path for path, stays in newest.items() if stays.sha256 != content.sha256]
                heir = _heir(cursor, content, others)
                _take_back(context, source, content, None if heir in newest else heir)
                if heir:
                    newest.setdefault(heir, content._replace(path=heir))
        columns = [list(column) for column in zip(*newest.values(), strict=True)] or [[]] * len(Content._fields)
        cursor.execute(
            f"""
            create temporary table in_bronze on commit drop as
            select * from unnest(%s::text[], %s::{slot_type}[], %s::text[], %s::bigint[])
                as b (path, slot, sha256, rows);
            insert into ops.landed_files as l (path, sha256, rows, {slot}, size, status)
            select path, sha256, rows, slot, 0, 'LOADED' from in_bronze
            on conflict (path, sha256) do update set
                status = 'LOADED', rows = excluded.rows, reason = null, settled_run = null
            where l.status <> 'LOADED' or l.rows <> excluded.rows;
            update ops.landed_files as l set status = 'REJECTED', reason = 'REPLACED'
            where
                l.status = 'LOADED' and l.path like %s
                and (l.path, l.sha256) not in (select path, sha256 from in_bronze)
                and (l.rows > 0 or l.path in (select path from in_bronze))
            """,
            (*columns, f"{source.name}/%"),
        )
    ledger.move_watermark(context.gold, f"landing.{source.name}", lake.snapshot_id(context.spark, table))
    context.gold.commit()


class Content(NamedTuple):
    """What Bronze holds of a file; `slot`: its window or date."""

    path: str
    slot: Any
    sha256: str
    rows: int


def _heir(cursor: Cursor, content: Content, others: Sequence[str]) -> str | None:
    """The least name of a copy of this content in its window; not one of `others`, which hold something else by now."""
    cursor.execute(
        "select min(path) from ops.landed_files where status = 'LOADED' and sha256 = %s"
        " and coalesce(batch_id, snapshot_date::text) = %s and path <> %s and path <> all(%s)",
        (content.sha256, str(content.slot), content.path, list(others)),
    )
    found: tuple[str | None] = cursor.fetchone() or (None,)
    return found[0]


def _take_back(context: Context, source: Source, content: Content, heir: str | None) -> None:
    """Take a content that was replaced out of Bronze; where a copy of it has landed, it stays under that one's name."""
    table = f"{CATALOG}.{lake.BRONZE}.{source.name}_raw"
    column = "batch_id" if source.window_hours else "snapshot_date"
    context.spark.sql(
        (f"update {table} set source_file = :heir" if heir else f"delete from {table}")
        + f" where {column} = :slot and source_file = :path and file_sha256 = :sha256",
        args={"slot": content.slot, "path": content.path, "sha256": content.sha256} | ({"heir": heir} if heir else {}),
    )


def load(context: Context, source: Source, scope: Scope, replacing: bool, outcome: Outcome, prepare: Prepare) -> None:
    """Bring every pending file of a source into Bronze and note it in the record (the caller commits).

    `prepare` turns accepted rows into the columns of the Bronze table. The rows of all files are one
    Iceberg commit.
    """
    table = f"{lake.BRONZE}.{source.name}_raw"
    reconcile(context, source)
    files = pending(context, source, scope, replacing)
    if not files:
        return
    to_read = [file for file in files if file.status != "REJECTED"]
    rows = parsed(context, source, to_read).persist() if to_read else None
    try:
        verdicts = {}
        if rows is not None:
            found = rows.where("verdict is not null").select("path", "sha256", "verdict").collect()
            verdicts = {row["path"]: (row["sha256"], row["verdict"]) for row in found}
        judged = judge(context, files, verdicts, replacing)
        bringing = [file for file in judged if file.brings_rows]
        if rows is not None and any(file.rows for file in bringing):
            lake.append(prepare(accepted_rows(rows, bringing, context.clock())), table)
            context.failpoint(f"after-{source.name}-commit")
        if replaced := [file.path for file in judged if file.replaces]:
            _take_back_replaced(context, source, replaced)
    finally:
        if rows is not None:
            rows.unpersist()
    record(context.gold, judged, context.run_id, context.clock())
    ledger.move_watermark(context.gold, f"landing.{source.name}", lake.snapshot_id(context.spark, table))
    _report(context, judged, outcome)


def _take_back_replaced(context: Context, source: Source, paths: list[str]) -> None:
    """Take what these files held out of Bronze, or leave it to copies of theirs (which the caller commits)."""
    with context.gold.cursor() as cursor:
        cursor.execute(
            "select path, coalesce(batch_id, snapshot_date::text), sha256, rows from ops.landed_files"
            " where status = 'LOADED' and rows > 0 and path = any(%s)",
            (paths,),
        )
        for content in map(Content._make, cursor.fetchall()):
            heir = _heir(cursor, content, paths)
            _take_back(context, source, content, heir)
            if heir:
                cursor.execute(
                    "update ops.landed_files set rows = %s, reason = null, settled_run = null"
                    " where path = %s and sha256 = %s",
                    (content.rows, heir, content.sha256),
                )


def _report(context: Context, files: Sequence[LandingFile], outcome: Outcome) -> None:
    """Say what became of the files, and count it."""
    loaded = [file for file in files if file.brings_rows]
    refused = [file for file in files if file.status == "REJECTED"]
    skipped = len(files) - len(loaded) - len(refused)
    for file in refused:
        context.say(f"{outcome.job}: REJECTED {file.path}: {file.reason}")
    for file in loaded:
        if file.unknown_columns:
            context.say(f"{outcome.job}: {file.path}: ignored columns {', '.join(file.unknown_columns)}")
    rows = sum(file.rows for file in loaded)
    outcome.rejected = len(refused)
    outcome.numbers |= {"files": len(loaded), "rows": rows, "rejected": len(refused), "skipped": skipped}
    outcome.line = f"{ledger.counted(rows, 'row')} from {ledger.counted(len(loaded), 'file')}"
    if refused:
        outcome.line += f", {len(refused)} rejected"
    if skipped:
        outcome.line += f", {skipped} skipped as already loaded"


def unsettled_dates(context: Context, source: Source) -> tuple[list[date], bool]:
    """The dates of snapshots that the dimension does not hold yet; whether it takes all snapshots to bring them in.

    So it is where one of them is late, or replaces another of its date (what the dimension has of that must go), and
    where the dimension does not stand where the record says: a run that was killed left it ahead, or a restore.
    """
    with context.gold.cursor() as cursor:
        cursor.execute(
            "select coalesce(array_agg(distinct snapshot_date) filter (where waits), '{}'),"
            " min(snapshot_date) filter (where waits) <= max(snapshot_date) filter (where not waits)"
            " from (select snapshot_date, status = 'LOADED' and settled_run is null as waits from ops.landed_files"
            " where (status = 'LOADED' or reason in ('REPLACED', 'CHANGED_FILE')) and path like %s) as snapshots",
            (f"{source.name}/%",),
        )
        dates, late = cursor.fetchone() or ([], False)
    if not dates or late:
        return sorted(dates), bool(late)
    followed = ledger.watermark(context.gold, f"dimension.{source.name}")
    return sorted(dates), followed != lake.snapshot_id(context.spark, f"{lake.BRONZE}.{source.name}")


def settle_snapshots(context: Context, source: Source) -> None:
    """Mark the snapshots of a source as worked into its dimension, once the caller commits."""
    with context.gold.cursor() as cursor:
        cursor.execute(
            "update ops.landed_files set settled_run = %s"
            " where settled_run is null and status = 'LOADED' and path like %s",
            (context.run_id, f"{source.name}/%"),
        )
    snapshot = lake.snapshot_id(context.spark, f"{lake.BRONZE}.{source.name}")
    ledger.move_watermark(context.gold, f"dimension.{source.name}", snapshot)
