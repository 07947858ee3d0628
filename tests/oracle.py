"""What the contract says must come out of a landing folder, computed by a second method.

Python's csv module reads and parses, DuckDB decides. Nothing here is shared with the warehouse, and
nothing here may be: a test that compares the two is worth something only while they are independent.

Where the contract leaves a choice, the choice made here is stated in the docstring of the function
that makes it.
"""

import csv
import gzip
import hashlib
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

Row = tuple[Any, ...]

NUL = "\x00"
NUL_SHOWN_AS = "␀"
"""Postgres text cannot hold a NUL, so an error row shows this in its place."""

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

csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class Expected:
    """The state that a landing folder must lead to. Every list is in the order of `sorted_rows`."""

    landed: int
    """Rows of all accepted transaction files: facts + errors + duplicates."""

    facts: list[Row]
    """(transaction_id, order_id, invoice_date text, stock_code, effective_date of the version,
    quantity, unit_price, total_amount, customer_id, country_id, batch_id)"""

    errors: list[Row]
    """(transaction_id, order_id, stock_code, quantity, invoice_date, customer_id, country_id, all as
    landed, reason, batch_id, source_file)"""

    duplicates_by_batch: dict[str, int]
    """Exact duplicates by the batch that they landed in; a batch without any is absent."""

    products: list[Row]
    """(stock_code, description, category, unit_price, effective_date, end_date, is_current)"""

    stock: list[Row]
    """(stock_code, stock_quantity) of each product's current version."""

    countries: list[Row]
    """(country_id, country_name, region, latitude, longitude)"""

    star_facts: list[Row]
    """(transaction_id, effective_date, customer_id or None for a guest, date_sk, country_id,
    quantity, unit_price, total_amount, year, month)"""

    customers: list[Row]
    """(customer_id, country_id of the newest purchase, first and last purchase date), without the
    guest's row."""

    dates: list[int]
    """Every date_sk from the first fact's day to the last one's."""

    rejected: dict[str, str]
    """Path relative to the landing folder -> reason."""

    skipped: list[str]
    """Paths of files that repeat, byte for byte, an accepted one of the same window or date."""

    @property
    def duplicates(self) -> int:
        return sum(self.duplicates_by_batch.values())


def expected(landing: Path, *, files: Iterable[Path] | None = None) -> Expected:
    """Say what must come out once every file of `landing` is processed, or only those in `files`.

    `files` are paths under `landing`, absolute or relative to it; their order says nothing, as
    arrival must not.
    """
    found = _landing_files(landing, files)
    rejected: dict[str, str] = {}
    skipped: list[str] = []
    transactions = _accept(TRANSACTIONS, found, rejected, skipped)
    products = _accept(PRODUCTS, found, rejected, skipped)
    countries = _accept(COUNTRIES, found, rejected, skipped)

    with duckdb.connect() as db:
        _load(db, "landed", LANDED_SCHEMA, [row for file in transactions for row in file.rows])
        _load(db, "product_snapshots", PRODUCT_SCHEMA, [row for file in products for row in file.rows])
        _load(db, "country_snapshots", COUNTRY_SCHEMA, [row for file in countries for row in file.rows])
        db.execute(STATE_SQL)

        def rows(query: str) -> list[Row]:
            return sorted_rows(db.execute(query).fetchall())

        return Expected(
            landed=rows("select count(*) from landed")[0][0],
            facts=rows(FACTS_SQL),
            errors=rows(ERRORS_SQL),
            duplicates_by_batch=dict(rows(DUPLICATES_SQL)),
            products=rows(PRODUCTS_SQL),
            stock=rows("select stock_code, stock_quantity from versions where end_date is null"),
            countries=rows("from countries"),
            star_facts=rows(STAR_FACTS_SQL),
            customers=rows(CUSTOMERS_SQL),
            dates=[day for (day,) in db.execute(DATES_SQL).fetchall()],
            rejected=dict(sorted(rejected.items())),
            skipped=sorted(skipped),
        )


def sorted_rows(rows: Iterable[Sequence[Any]]) -> list[Row]:
    """Give rows as tuples in one fixed order, None before any value, to compare two results whole."""
    return sorted(map(tuple, rows), key=lambda row: [(value is not None, value) for value in row])


# --- files ------------------------------------------------------------------------------------------


class RejectedFileError(Exception):
    """A whole file cannot be taken; the argument is the reason's word."""


class BadValueError(Exception):
    """A text is not what its column needs."""


class Record(NamedTuple):
    """A line of a file: the text of each known column, and whether the line as such is sound."""

    values: dict[str, str]
    sound: bool


class AcceptedFile(NamedTuple):
    key: str
    """The batch_id or snapshot date."""
    digest: str
    rows: list[Row]


class Source(NamedTuple):
    folder: str
    name: re.Pattern[str]
    columns: tuple[str, ...]
    required: tuple[str, ...]
    one_file_a_key: bool


DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
TRANSACTIONS = Source(
    folder="transactions",
    name=re.compile(rf"transactions_(?P<key>{DAY}T(?:00|04|08|12|16|20)).*\.csv(?:\.gz)?"),
    columns=TRANSACTION_COLUMNS,
    required=("transaction_id", "order_id", "stock_code", "quantity", "invoice_date"),
    one_file_a_key=False,
)
PRODUCTS = Source(
    folder="products",
    name=re.compile(rf"products_(?P<key>{DAY})\.csv(?:\.gz)?"),
    columns=PRODUCT_COLUMNS,
    required=("stock_code", "description", "unit_price"),
    one_file_a_key=True,
)
COUNTRIES = Source(
    folder="countries",
    name=re.compile(rf"countries_(?P<key>{DAY})\.csv(?:\.gz)?"),
    columns=COUNTRY_COLUMNS,
    required=("country_id", "country_name"),
    one_file_a_key=True,
)


def _landing_files(landing: Path, files: Iterable[Path] | None) -> list[Path]:
    """List the complete files of the three folders in name order."""
    paths = landing.glob("*/*") if files is None else {landing / file for file in files}
    complete = [
        path
        for path in paths
        if path.is_file() and not path.name.startswith((".", "_")) and not path.name.endswith(".tmp")
    ]
    return sorted(complete, key=lambda path: (path.parent.name, path.name))


def _accept(source: Source, found: list[Path], rejected: dict[str, str], skipped: list[str]) -> list[AcceptedFile]:
    """Read a source's files in name order; note the ones that are not taken.

    Only an accepted file makes a later one a repetition or a second snapshot: after a rejected
    file, the next one of its date is the first. A copy of a rejected file is rejected in its own
    name. A file's own faults go before being the second of its date.
    """
    accepted: list[AcceptedFile] = []
    for path in found:
        if path.parent.name != source.folder:
            continue
        relative = f"{source.folder}/{path.name}"
        try:
            key = _key_of_name(source, path.name)
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            siblings = [file for file in accepted if file.key == key]
            if any(file.digest == digest for file in siblings):
                skipped.append(relative)
                continue
            records = _read_records(source, content, compressed=path.name.endswith(".gz"))
            rows = PARSERS[source.folder](records, key, relative)
            if source.one_file_a_key and siblings:
                raise RejectedFileError("SECOND_SNAPSHOT")
        except RejectedFileError as refusal:
            rejected[relative] = str(refusal)
        else:
            accepted.append(AcceptedFile(key, digest, rows))
    return accepted


def _key_of_name(source: Source, name: str) -> str:
    match = source.name.fullmatch(name)
    if match is None:
        raise RejectedFileError("BAD_NAME")
    try:
        date.fromisoformat(match["key"][:10])
    except ValueError:
        raise RejectedFileError("BAD_NAME") from None
    return match["key"]


def _read_records(source: Source, content: bytes, *, compressed: bool) -> list[Record]:
    """Split a file into records by its header; refuse a file that cannot be read as a whole.

    A first record with broken quoting is no header. An optional column may be absent.
    """
    if compressed:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            raise RejectedFileError("BROKEN_GZIP") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RejectedFileError("WRONG_ENCODING") from None
    if not text.strip():
        raise RejectedFileError("EMPTY")

    records = _split_records(text)
    header = [name.strip() for name in next(records) or []]
    times = Counter(header)
    if not any(column in times for column in source.columns):
        raise RejectedFileError("NO_HEADER")
    if any(times[column] > 1 for column in source.columns):
        raise RejectedFileError("DUPLICATE_COLUMN")
    if any(column not in times for column in source.required):
        raise RejectedFileError("MISSING_COLUMN")

    known = [(position, name) for position, name in enumerate(header) if name in source.columns]
    return [_record(fields, known, len(header)) for fields in records]


def _record(fields: list[str] | None, known: list[tuple[int, str]], width: int) -> Record:
    if fields is None:
        return Record({}, sound=False)
    values = {name: fields[position] for position, name in known if position < len(fields)}
    return Record(values, sound=len(fields) == width and not any(NUL in field for field in fields))


def _split_records(text: str) -> Iterator[list[str] | None]:
    """Yield the fields of each record, or None for the first line of one with broken quoting.

    After a broken record, reading goes on at the physical line after its first. Lines end with LF,
    CRLF or CR; a line of nothing but whitespace (outside quotes) is no record.
    """
    lines = list(io.StringIO(text, newline=""))
    begin = 0
    while begin < len(lines):
        offset = begin
        reader = csv.reader(islice(lines, offset, None), strict=True)
        try:
            for fields in reader:
                if lines[begin].strip():
                    yield fields
                begin = offset + reader.line_num
        except csv.Error:
            yield None
            begin += 1


# --- values -----------------------------------------------------------------------------------------

INTEGER = re.compile(r"([+-]?)0*([0-9]+)")
DECIMAL = re.compile(r"([+-]?)0*([0-9]+)(?:\.([0-9]+))?")
TIMESTAMP = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})")


def _text(value: str | None) -> str | None:
    """Keep a text as it landed; nothing but whitespace is no value."""
    return value if value and value.strip() else None


def _code(value: str | None) -> str | None:
    """Trim an identifier of outer (Unicode) whitespace; nothing else of it is changed."""
    return (value or "").strip() or None


def _integer(value: str | None) -> int:
    """Read an optional sign and digits that fit 32 bits; outer whitespace is not forgiven."""
    match = INTEGER.fullmatch(value or "")
    if match is None or len(match[2]) > 10:
        raise BadValueError(value)
    number = int(match[1] + match[2])
    if not -(2**31) <= number < 2**31:
        raise BadValueError(value)
    return number


def _decimal(value: str | None) -> Decimal:
    """Read a plain decimal with at most 8 digits before and 4 after the point.

    Leading and trailing zeros are not counted: they do not change the value.
    """
    match = DECIMAL.fullmatch(value or "")
    if match is None or len(match[2]) > 8 or len((match[3] or "").rstrip("0")) > 4:
        raise BadValueError(value)
    return Decimal(f"{match[1]}{match[2]}.{(match[3] or '')[:4].ljust(4, '0')}")


def _degrees(value: str | None, limit: int) -> float | None:
    if not value:
        return None
    if DECIMAL.fullmatch(value) is None or not -limit <= float(value) <= limit:
        raise BadValueError(value)
    return float(value)


def _timestamp(value: str | None) -> str:
    """Check that a text is one real instant; the text itself is canonical and sorts as time does."""
    match = TIMESTAMP.fullmatch(value or "")
    if match is None:
        raise BadValueError(value)
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise BadValueError(value) from None
    return match[0]


def _required(value: str | None) -> str:
    if value is None:
        raise BadValueError(value)
    return value


# --- rows -------------------------------------------------------------------------------------------

LANDED_SCHEMA = pa.schema(
    [("batch_id", pa.string()), ("source_file", pa.string()), ("line", pa.int64())]
    + [(f"landed_{column}", pa.string()) for column in TRANSACTION_COLUMNS]
    + [("well_formed", pa.bool_())]
    + [(column, pa.int32() if column == "quantity" else pa.string()) for column in TRANSACTION_COLUMNS]
)
PRODUCT_SCHEMA = pa.schema(
    [
        ("snapshot_date", pa.date32()),
        ("stock_code", pa.string()),
        ("description", pa.string()),
        ("category", pa.string()),
        ("unit_price", pa.decimal128(12, 4)),
        ("stock_quantity", pa.int32()),
    ]
)
COUNTRY_SCHEMA = pa.schema(
    [
        ("snapshot_date", pa.date32()),
        ("country_id", pa.string()),
        ("country_name", pa.string()),
        ("region", pa.string()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
    ]
)


def _load(db: duckdb.DuckDBPyConnection, table: str, schema: pa.Schema, rows: list[Row]) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrow = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
    db.register("arriving", arrow)
    db.execute(f"create table {table} as from arriving")
    db.unregister("arriving")


def _transactions(records: list[Record], batch_id: str, relative: str) -> list[Row]:
    """Give each record its text as landed and, where it is well formed, its values."""
    rows: list[Row] = []
    for line, record in enumerate(records):
        landed = [
            (record.values.get(column) or "").replace(NUL, NUL_SHOWN_AS) or None for column in TRANSACTION_COLUMNS
        ]
        values = _transaction_values(record)
        parsed = values or (None,) * len(TRANSACTION_COLUMNS)
        rows.append((batch_id, relative, line, *landed, values is not None, *parsed))
    return rows


def _transaction_values(record: Record) -> Row | None:
    get = record.values.get
    if not record.sound:
        return None
    try:
        quantity = _integer(get("quantity"))
        if quantity == 0:
            return None
        return (
            _required(_code(get("transaction_id"))),
            _required(_code(get("order_id"))),
            _required(_code(get("stock_code"))),
            quantity,
            _timestamp(get("invoice_date")),
            _code(get("customer_id")),
            _code(get("country_id")),
        )
    except BadValueError:
        return None


def _product_snapshot(records: list[Record], day: str, _: str) -> list[Row]:
    rows = _snapshot(records, day, _product_values)
    if any(row[PRODUCT_SCHEMA.get_field_index("unit_price")] < 0 for row in rows):
        raise RejectedFileError("NEGATIVE_PRICE")
    return rows


def _country_snapshot(records: list[Record], day: str, _: str) -> list[Row]:
    return _snapshot(records, day, _country_values)


def _snapshot(records: list[Record], day: str, values_of: Any) -> list[Row]:
    """Read a whole snapshot or refuse it: a part of one would be read as news about the rest."""
    try:
        rows = [(date.fromisoformat(day), *values_of(record)) for record in records]
    except BadValueError:
        raise RejectedFileError("BAD_ROWS") from None
    if len({row[1] for row in rows}) < len(rows):
        raise RejectedFileError("DUPLICATE_KEY")
    return rows


def _product_values(record: Record) -> Row:
    get = record.values.get
    if not record.sound:
        raise BadValueError(record)
    return (
        _required(_code(get("stock_code"))),
        _required(_text(get("description"))),
        _text(get("category")),
        _decimal(get("unit_price")),
        _integer(get("stock_quantity")) if get("stock_quantity") else None,
    )


def _country_values(record: Record) -> Row:
    get = record.values.get
    if not record.sound:
        raise BadValueError(record)
    return (
        _required(_code(get("country_id"))),
        _required(_text(get("country_name"))),
        _text(get("region")),
        _degrees(get("latitude"), 90),
        _degrees(get("longitude"), 180),
    )


PARSERS = {"transactions": _transactions, "products": _product_snapshot, "countries": _country_snapshot}


# --- decisions --------------------------------------------------------------------------------------

STATE_SQL = """
-- One row a version: gaps and islands over the dates of the snapshots that name the product.
create table versions as
with marked as (
    select
        *,
        description is distinct from lag(description) over own
        or category is distinct from lag(category) over own
        or unit_price is distinct from lag(unit_price) over own as begins
    from product_snapshots
    window own as (partition by stock_code order by snapshot_date)
),
numbered as (
    select
        *,
        sum(begins::integer) over (partition by stock_code order by snapshot_date) as island
    from marked
),
islands as (
    select
        stock_code,
        min(snapshot_date) as effective_date,
        first(description order by snapshot_date) as description,
        first(category order by snapshot_date) as category,
        first(unit_price order by snapshot_date) as unit_price,
        first(stock_quantity order by snapshot_date desc) as stock_quantity
    from numbered
    group by stock_code, island
)
select
    *,
    lead(effective_date) over (partition by stock_code order by effective_date) as end_date
from islands;

-- One row a country: its first snapshot's values, for ever.
create table countries as
select country_id, country_name, region, latitude, longitude
from country_snapshots
qualify row_number() over (partition by country_id order by snapshot_date) = 1;

-- One row a landed row; fate is FACT, DUPLICATE or the reason of the error. Rows that agree in
-- everything within a batch are told apart by file name and line: the first is the winner.
create table fates as
with ranked as (
    select
        *,
        row_number() over (
            partition by transaction_id
            order by
                batch_id, invoice_date, order_id, stock_code, quantity,
                customer_id nulls first, country_id nulls first, source_file, line
        ) as place
    from landed
    where well_formed
),
winners as (
    select transaction_id, order_id, stock_code, quantity, invoice_date, customer_id, country_id
    from ranked
    where place = 1
),
priced as (
    select
        ranked.*,
        versions.effective_date,
        versions.unit_price
    from ranked
    asof left join versions
        on ranked.stock_code = versions.stock_code
        and left(ranked.invoice_date, 10)::date >= versions.effective_date
),
decided as (
    select
        priced.*,
        case
            when
                priced.place > 1
                and priced.order_id = winners.order_id
                and priced.stock_code = winners.stock_code
                and priced.quantity = winners.quantity
                and priced.invoice_date = winners.invoice_date
                and priced.customer_id is not distinct from winners.customer_id
                and priced.country_id is not distinct from winners.country_id
                then 'DUPLICATE'
            when priced.place > 1 then 'DUPLICATE_CONFLICT'
            when
                priced.country_id is null
                or priced.country_id not in (select country_id from countries)
                then 'UNKNOWN_COUNTRY'
            when priced.stock_code not in (select stock_code from versions) then 'UNKNOWN_PRODUCT'
            when priced.effective_date is null then 'NO_PRICE'
            else 'FACT'
        end as fate
    from priced
    inner join winners on priced.transaction_id = winners.transaction_id
)
select * exclude (place) from decided
union all by name
select *, 'MALFORMED' as fate from landed where not well_formed;

create table facts as
select
    *,
    left(invoice_date, 10)::date as invoice_day,
    (quantity::decimal(10, 0) * unit_price)::decimal(18, 4) as total_amount
from fates
where fate = 'FACT';
"""

FACTS_SQL = """
select
    transaction_id, order_id, invoice_date, stock_code, effective_date, quantity, unit_price,
    total_amount, customer_id, country_id, batch_id
from facts
"""

ERRORS_SQL = """
select
    landed_transaction_id, landed_order_id, landed_stock_code, landed_quantity, landed_invoice_date,
    landed_customer_id, landed_country_id, fate, batch_id, source_file
from fates
where fate not in ('FACT', 'DUPLICATE')
"""

DUPLICATES_SQL = "select batch_id, count(*) from fates where fate = 'DUPLICATE' group by batch_id"

PRODUCTS_SQL = """
select
    stock_code, description, category, unit_price, effective_date, end_date,
    end_date is null as is_current
from versions
"""

STAR_FACTS_SQL = """
select
    transaction_id, effective_date, customer_id,
    10000 * year(invoice_day) + 100 * month(invoice_day) + day(invoice_day) as date_sk,
    country_id, quantity, unit_price, total_amount, year(invoice_day), month(invoice_day)
from facts
"""

# Returns count as purchases here: every customer of a fact has a row.
CUSTOMERS_SQL = """
select
    customer_id,
    country_id,
    min(invoice_day) over customer as first_purchase_date,
    max(invoice_day) over customer as last_purchase_date
from facts
where customer_id is not null
window customer as (partition by customer_id)
qualify row_number() over (
    partition by customer_id order by invoice_date desc, transaction_id desc
) = 1
"""

DATES_SQL = """
with days as (
    select unnest(generate_series(min(invoice_day), max(invoice_day), interval 1 day)) as day
    from facts
)
select 10000 * year(day) + 100 * month(day) + day(day) from days order by 1
"""
