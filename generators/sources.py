"""Read the UCI Online Retail file in every form that it is handed around in."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, NamedTuple, cast

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from generators.landing import GeneratorError

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
SUFFIXES = (".csv", ".csv.gz", ".xlsx")
_MONTH_FIRST = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}|\d{2}) (\d{1,2}):(\d{2})(?::(\d{2}))?")


class SourceLine(NamedTuple):
    """One order line of the data set, its values as text and as published."""

    invoice: str
    stock_code: str
    description: str
    quantity: str
    instant: datetime
    unit_price: str
    customer: str
    country: str


def find_sources(sources: Iterable[Path]) -> list[Path]:
    """The files that the sources name: a file itself, or a folder's files by name."""
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            inside = [path for path in sorted(source.iterdir()) if _is_source(path)]
            if not inside:
                raise GeneratorError(f"{source}: no {', '.join(SUFFIXES)} file in this folder")
            found += inside
        elif not source.is_file():
            raise GeneratorError(f"{source}: not a file or a folder")
        elif not source.name.endswith(SUFFIXES):
            raise GeneratorError(f"{source}: neither of {', '.join(SUFFIXES)}")
        else:
            found.append(source)
    return found


def read_source(path: Path) -> Iterator[SourceLine]:
    """Every order line of one file, in its order."""
    tables = _excel_tables(path) if path.suffix == ".xlsx" else _csv_tables(path)
    try:
        for table in tables:
            yield from _lines(path, table)
    except (csv.Error, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise GeneratorError(f"{path}: not readable as CSV: {error}") from error
    except (zipfile.BadZipFile, InvalidFileException, KeyError) as error:
        raise GeneratorError(f"{path}: not readable as an Excel workbook: {error}") from error
    except OSError as error:
        raise GeneratorError(f"{path}: {error.strerror or error}") from error


def parse_instant(value: object) -> datetime:
    """The UTC instant of a source's date: an Excel date, ISO text, or `12/1/2010 8:26`, month first."""
    if isinstance(value, datetime):
        # Excel keeps a fraction of a day: the nearest second is what was meant.
        return (value + timedelta(microseconds=500_000)).replace(microsecond=0, tzinfo=UTC)
    text = str(value).strip()
    if match := _MONTH_FIRST.fullmatch(text):
        month, day, year, hour, minute, second = (int(part or 0) for part in match.groups())
        return datetime(year if year > 99 else 2000 + year, month, day, hour, minute, second, tzinfo=UTC)
    return datetime.fromisoformat(text).replace(microsecond=0, tzinfo=UTC)


def _is_source(path: Path) -> bool:
    return path.is_file() and path.name.endswith(SUFFIXES) and not path.name.startswith((".", "_", "~"))


def _lines(path: Path, table: Iterator[tuple[int, list[object]]]) -> Iterator[SourceLine]:
    _, header = next(table, (0, []))
    names = [str(name).strip() for name in header]
    if missing := [column for column in COLUMNS if column not in names]:
        raise GeneratorError(f"{path}: not an Online Retail file, missing columns: {', '.join(missing)}")
    places = [names.index(column) for column in COLUMNS]
    width = max(places) + 1
    for number, row in table:
        values = [*row, *[""] * (width - len(row))]
        cells = [values[place] for place in places]
        try:
            instant = parse_instant(cells[4])
        except ValueError as error:
            raise GeneratorError(f"{path}: line {number}: InvoiceDate {cells[4]!r} is not a date") from error
        invoice, code, description, quantity, _, price, customer, country = map(_text, cells)
        yield SourceLine(invoice, code, description, quantity, instant, price, customer, country)


def _text(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def _csv_tables(path: Path) -> Iterator[Iterator[tuple[int, list[object]]]]:
    encoding = _encoding(path)
    with _open_bytes(path) as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as text:
        reader = csv.reader(text)
        yield ((reader.line_num, cast("list[object]", row)) for row in reader if row)


def _excel_tables(path: Path) -> Iterator[Iterator[tuple[int, list[object]]]]:
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        for sheet in book.worksheets:
            rows = (
                (number, ["" if cell is None else cell for cell in row])
                for number, row in enumerate(sheet.iter_rows(values_only=True), start=1)
                if any(cell is not None for cell in row)
            )
            yield cast("Iterator[tuple[int, list[object]]]", rows)
    finally:
        book.close()


def _open_bytes(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb"))


def _encoding(path: Path) -> str:
    """UTF-8 if the whole file is, else Latin-1, in which any byte is a letter."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _open_bytes(path) as raw:
        try:
            while chunk := raw.read(1 << 20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8-sig"
