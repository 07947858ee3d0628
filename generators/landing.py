"""Write files of the landing zone: named as the contract says, there whole or not at all."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, NamedTuple, TextIO, cast

TRANSACTION_COLUMNS = (
    "transaction_id",
    "order_id",
    "stock_code",
    "quantity",
    "invoice_date",
    "customer_id",
    "country_id",
)
PRODUCT_COLUMNS = ("stock_code", "description", "category", "unit_price", "stock_quantity")
COUNTRY_COLUMNS = ("country_id", "country_name", "region", "latitude", "longitude")
WINDOW_HOURS = 4


class GeneratorError(Exception):
    """A user's mistake, told in one line; the command line exits with 2."""


class Window(NamedTuple):
    """A 4-hour window by its day and first hour; windows sort by time."""

    day: date
    hour: int

    @classmethod
    def of(cls, instant: datetime) -> Window:
        return cls(instant.date(), instant.hour - instant.hour % WINDOW_HOURS)

    @property
    def batch_id(self) -> str:
        """The window as the contract writes it."""
        return f"{self.day.isoformat()}T{self.hour:02d}"


def transactions_path(window: Window, *, part: str = "", compress: bool = False) -> Path:
    """Path in the landing zone; `part` tells the files of one window apart."""
    name = f"transactions_{window.batch_id}{part}{_suffix(compress)}"
    return Path("transactions", name)


def snapshot_path(master: str, day: date, *, compress: bool = False) -> Path:
    """Path in the landing zone of the snapshot of `master` (`products` or `countries`) for a day."""
    return Path(master, f"{master}_{day.isoformat()}{_suffix(compress)}")


@contextmanager
def open_landing_file(path: Path) -> Iterator[TextIO]:
    """Open a text file that gets its name only once it is complete; gzip when the name ends in `.gz`.

    The bytes depend on the text alone (the gzip header carries neither a time nor a name).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.tmp")
    try:
        with ExitStack() as stack:
            raw: IO[bytes] = stack.enter_context(partial.open("wb"))
            if path.suffix == ".gz":
                packed = gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0)
                raw = cast("IO[bytes]", stack.enter_context(packed))
            yield stack.enter_context(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header line and rows as one landing file."""
    with open_landing_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ready-made bytes as one landing file: for files that are broken on purpose."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.tmp")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def csv_text(rows: Iterable[Sequence[object]], line_end: str = "\n") -> str:
    """Rows as CSV text."""
    text = io.StringIO()
    csv.writer(text, lineterminator=line_end).writerows(rows)
    return text.getvalue()


def _suffix(compress: bool) -> str:
    return ".csv.gz" if compress else ".csv"


def money_text(price: Decimal) -> str:
    """A price as it lands: at least two places, more only where it has them."""
    pence = price.quantize(Decimal("0.01"))
    return str(pence if pence == price else price)
