"""One landing file: bytes to rows, or the reason why it is refused. No I/O, no Spark.

RFC 4180 through Python's own `csv`: the record is the unit, and what cannot be cut into columns
stays as it landed, with its line number.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from warehouse.errors import Rejected
from warehouse.rules import LONGEST_CODE

csv.field_size_limit(2**31 - 1)

COLUMN_TYPES = ("text", "code", "money", "integer", "latitude", "longitude")
_COMPLAINTS_SHOWN = 10
_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_LINE_END = re.compile(rb"\r\n?|\n")


@dataclass(frozen=True)
class Column:
    """A column of a source; its `type` is one of COLUMN_TYPES."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True)
class Parsed:
    """The rows of one file, column by column; all sequences are equally long.

    `values[i]` are the texts of the i-th column as landed, None where empty. `problems` says why a
    record could not be cut into columns (None where it could); `records` is its text as landed.
    """

    lines: Sequence[int]
    problems: Sequence[str | None]
    records: Sequence[str]
    values: Sequence[Sequence[str | None]]
    unknown_columns: Sequence[str]


def decode(data: bytes, compressed: bool, limit: int = 1 << 32) -> str:
    """The text of a file, of up to `limit` bytes. Raises Rejected: BROKEN_GZIP, TOO_LARGE, WRONG_ENCODING or EMPTY."""
    if compressed and data:
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
                data = packed.read(limit + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise Rejected("BROKEN_GZIP", str(error)) from None
        if len(data) > limit:
            raise Rejected("TOO_LARGE", f"over {limit} bytes when unpacked")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # its position counts from behind a byte order mark
        before, byte = error.object[: error.start], error.object[error.start]
        line = len(_LINE_END.findall(before)) + 1
        raise Rejected("WRONG_ENCODING", f"line {line} is not UTF-8 (byte {byte:#04x})") from None
    if not text.strip():
        raise Rejected("EMPTY", "the file has no header line")
    return text


def parse(text: str, columns: Sequence[Column]) -> Parsed:
    """Cut a file's text into rows of `columns`. Raises Rejected where the header will not do."""
    lines = list(io.StringIO(text, newline=""))
    records = _records(lines)
    _, _, header = next(records, (0, 0, None))
    positions, unknown = _positions(header, columns)
    width = len(header or ())
    absent = width in positions

    starts: list[int] = []
    problems: list[str | None] = []
    raws: list[str] = []
    values: list[tuple[str | None, ...]] = []
    nothing = (None,) * len(columns)
    for start, end, fields in records:
        raw = lines[start] if end == start + 1 else "".join(lines[start:end])
        starts.append(start + 1)
        raws.append(raw)
        if fields is None:
            problems.append("a quote is opened or closed in the wrong place")
            values.append(nothing)
            continue
        if len(fields) == width:
            problems.append("the record has a NUL character" if "\0" in raw else None)
        else:
            problems.append(f"{len(fields)} fields, not {width}")
            fields = fields[:width] + [""] * (width - len(fields))
        if absent:
            fields.append("")
        values.append(tuple([fields[i] or None for i in positions]))
    by_column = list(zip(*values, strict=True)) if values else [() for _ in columns]
    return Parsed(starts, problems, raws, by_column, unknown)


def _records(lines: Sequence[str]) -> Iterator[tuple[int, int, list[str] | None]]:
    """Each record as (first line, line after its last, fields); blank lines are none.

    Where the quoting is broken, the record's first line alone comes with fields None, and reading
    goes on at the next line: one stray quote must not swallow the rest of the file.
    """
    position = start = doomed = 0

    def feed() -> Iterator[str]:
        nonlocal position
        while position < len(lines):
            # a record that went on into this line has failed already: another one would, at the same place
            if start < position < doomed:
                raise csv.Error
            position += 1
            yield lines[position - 1]

    reader = csv.reader(feed(), strict=True)
    while True:
        start = position
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            doomed = max(doomed, position)
            position = start + 1
            reader = csv.reader(feed(), strict=True)
            yield start, position, None
            continue
        if fields and not (len(fields) == 1 and lines[start].isspace()):
            yield start, position, fields


def _positions(header: list[str] | None, columns: Sequence[Column]) -> tuple[list[int], list[str]]:
    names = [name.strip() for name in header or ()]
    wanted = [column.name for column in columns]
    known = [name for name in names if name in wanted]
    if not known:
        raise Rejected("NO_HEADER", f"the first line names none of {', '.join(wanted)}")
    twice = sorted({name for name in known if known.count(name) > 1})
    if twice:
        raise Rejected("DUPLICATE_COLUMN", ", ".join(twice))
    missing = [column.name for column in columns if column.required and column.name not in names]
    if missing:
        raise Rejected("MISSING_COLUMN", ", ".join(missing))
    # a column that may be left out reads as empty: one past the last field
    absent = len(names)
    return [names.index(name) if name in names else absent for name in wanted], [
        name for name in names if name not in wanted
    ]


def check_snapshot(parsed: Parsed, columns: Sequence[Column], key: str) -> None:
    """Raise Rejected where a snapshot is not whole: BAD_ROWS, DUPLICATE_KEY or NEGATIVE_PRICE."""
    at = {column.name: i for i, column in enumerate(columns)}
    keys = [(value or "").strip() for value in parsed.values[at[key]]] if parsed.lines else []
    bad: list[str] = []
    negative: list[str] = []
    seen: dict[str, int] = {}
    twice: list[str] = []
    for row, line in enumerate(parsed.lines):
        where = f"line {line} ({_short(keys[row]) or 'no ' + key})"
        if problem := parsed.problems[row]:
            bad.append(f"{where}: {problem}")
            continue
        for column in columns:
            value = parsed.values[at[column.name]][row]
            if complaint := complain(column, value):
                bad.append(f"{where}: {complaint}")
            elif column.type == "money" and value and Decimal(value) < 0:
                negative.append(f"{where}: {column.name} {value}")
        if keys[row] in seen:
            twice.append(f"{_short(keys[row])} on lines {seen[keys[row]]} and {line}")
        seen.setdefault(keys[row], line)
    for reason, complaints in (("BAD_ROWS", bad), ("DUPLICATE_KEY", twice), ("NEGATIVE_PRICE", negative)):
        if complaints:
            more = len(complaints) - _COMPLAINTS_SHOWN
            shown = "; ".join(complaints[:_COMPLAINTS_SHOWN])
            raise Rejected(reason, shown + (f"; and {more} more" if more > 0 else ""))


def complain(column: Column, value: str | None) -> str | None:
    """What is wrong with a value of a snapshot, or None."""
    if value is None or (column.type in ("text", "code") and not value.strip()):
        return f"{column.name} is empty" if column.required else None
    shown = _short(value)
    if column.type == "code" and len(value.strip()) > LONGEST_CODE:
        return f"{column.name} '{shown}' is longer than {LONGEST_CODE} characters"
    if column.type == "money":
        if not _DECIMAL.fullmatch(value):
            return f"{column.name} '{shown}' is not a decimal number"
        whole, _, fraction = value.lstrip("+-").partition(".")
        if len(whole.lstrip("0")) > 8 or len(fraction.rstrip("0")) > 4:
            return f"{column.name} '{shown}' does not fit DECIMAL(12,4)"
    elif column.type == "integer":
        if not _INTEGER.fullmatch(value) or len(value) > 20 or not -(2**31) <= int(value) < 2**31:
            return f"{column.name} '{shown}' is not a whole number of 32 bits"
    elif column.type in ("latitude", "longitude"):
        bound = 90 if column.type == "latitude" else 180
        if not _DECIMAL.fullmatch(value) or abs(float(value)) > bound:
            return f"{column.name} '{shown}' is not a number of degrees"
    return None


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"
