"""What the Gold job must decide: new rows, contested groups, and rows that reference data touches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from warehouse import gold, lake, ledger
from warehouse.landing import Scope
from warehouse.rules import facts
from warehouse.session import Context

UNDECIDED = (
    "row_id",
    "batch_id",
    "transaction_id",
    "transaction_key",
    *facts.VALUES,
    *[f"landed_{c}" for c in facts.COLUMNS],
    "corrected",
    "source_file",
    "raw_record",
    "fate",
    "reason",
    "detail",
)
"""What a row brings to be judged; `fate` is null where that is still open."""
RAW = f"{lake.BRONZE}.transactions_raw"
PRODUCTS, COUNTRIES = f"{lake.BRONZE}.products", f"{lake.BRONZE}.countries"


@dataclass(frozen=True)
class Window:
    """Contents of transaction files that this run settles, and what it takes back.

    `contents` (window, sha256) are new; `entries` (path, sha256, rows in Bronze) are their lines in the record.
    `redecided`: windows that are decided anew as a whole, because a file was replaced or got a lesser
    name. `landed`: by how many rows Bronze grew since the last settle.
    """

    contents: frozenset[tuple[str, str]]
    redecided: tuple[str, ...]
    entries: tuple[tuple[str, str, int], ...]
    landed: int

    @property
    def batches(self) -> set[str]:
        return {batch for batch, _ in self.contents} | set(self.redecided)


def unsettled(gold_connection: Connection, scope: Scope) -> Window:
    """The files that Gold has yet to settle, within the scope; those of windows that lost rows in any.

    Where Bronze has lost rows that Gold still has, no transaction_id of theirs can be decided without.
    """
    with gold_connection.cursor() as cursor:
        cursor.execute("select path, sha256, batch_id, rows, in_gold from ops.unsettled_files")
        found = cursor.fetchall()
    losing = {batch for _, _, batch, rows, in_gold in found if rows < in_gold}
    files = [file for file in found if file[2] in losing or scope.takes_window(file[2])]
    new = [(batch, sha256) for _, sha256, batch, rows, in_gold in files if rows and not in_gold]
    anew = {batch for _, _, batch, rows, in_gold in files if not rows or in_gold}
    landed = sum(rows - in_gold for _, _, _, rows, in_gold in files)
    entries = tuple((path, sha256, rows) for path, sha256, _, rows, _ in files)
    return Window(frozenset(new), tuple(sorted(anew)), entries, landed)


def mark_settled(gold_connection: Connection, window: Window, run_id: str) -> None:
    """Note that these files are in Gold (or, replaced, no longer), once the caller commits."""
    if window.entries:
        with gold_connection.cursor() as cursor:
            execute_values(
                cursor,
                "update ops.landed_files as l set in_gold = n.rows,"
                " settled_run = case when l.status = 'LOADED' then n.run_id"
                " when l.reason is distinct from 'REPLACED' then l.settled_run end"
                " from (values %s) as n (path, sha256, rows, run_id) where l.path = n.path and l.sha256 = n.sha256",
                [(*entry, run_id) for entry in window.entries],
            )


def new_rows(context: Context, window: Window) -> DataFrame:
    """The Bronze rows of contents that no run has settled, parsed."""
    batches = sorted({batch for batch, _ in window.contents})
    return facts.parse(_bronze(context, batches, lambda content, settled: content in window.contents))


def contested(context: Context, batches: Sequence[str], settling: Window) -> DataFrame:
    """The whole groups of staging.contested, and all rows of the windows that are decided anew, parsed.

    `batches`: the windows in which they are. Only contents count that are settled, or are by this run.
    A malformed or discarded row is in no group, whatever its transaction_id.
    """
    keys = gold.query(context, "select transaction_key as _key from staging.contested")
    in_window = F.col("batch_id").isin(list(settling.redecided))
    rows = (
        _bronze(context, batches, lambda content, settled: settled or content in settling.contents)
        .join(keys, facts.code("transaction_id") == F.col("_key"), "left")
        .where(F.col("_key").isNotNull() | in_window)
    )
    return facts.parse(rows).where(F.col("malformed").isNull() | in_window)


def verdicts_due(gold_connection: Connection) -> int:
    """On how many rows stewards decided that Gold has not judged since."""
    with gold_connection.cursor() as cursor:
        cursor.execute("select count(*) from ops.error_verdicts where judged < version")
        (due,) = cursor.fetchone() or (0,)
    return int(due)


def due_rows(context: Context, settling: Window) -> DataFrame | None:
    """The settled rows that stewards decided on since, parsed; a new row meets its verdict as it comes."""
    with context.gold.cursor() as cursor:
        cursor.execute("select distinct batch_id from staging.error_verdicts where judged < version")
        batches = [batch for (batch,) in cursor]
    if not batches:
        return None
    due = gold.query(context, "select error_id as row_id from staging.error_verdicts where judged < version")
    rows = _bronze(context, batches, lambda content, settled: settled and content not in settling.contents)
    return facts.parse(rows.join(F.broadcast(due), "row_id", "left_semi"))


def _corrections(context: Context) -> DataFrame:
    """What stewards had decided when the run began, for `facts.correct`."""
    given = ", ".join(
        f"case when correction -> '{c}' is not null then coalesce(correction ->> '{c}', '') end as given_{c}"
        for c in facts.COLUMNS
    )
    return gold.query(context, f"select error_id as row_id, discarded, {given} from staging.error_verdicts")


def _bronze(context: Context, batches: Sequence[str], wanted: Callable[[tuple[str, str], bool], bool]) -> DataFrame:
    """Rows of the wanted contents, each under the least name that its content landed with in its window.

    What stewards decided on them stands in the place of what landed.
    """
    with context.gold.cursor() as cursor:
        cursor.execute(
            """
            select batch_id, sha256, min(path) filter (where status = 'LOADED') as path, sum(in_gold) > 0 as settled
            from ops.landed_files where batch_id = any(%s)
            group by batch_id, sha256 having bool_or(status = 'LOADED')
            """,
            (list(batches),),
        )
        contents = [
            (batch, sha256, path) for batch, sha256, path, settled in cursor if wanted((batch, sha256), settled)
        ]
        cursor.execute("select exists (select from staging.error_verdicts where batch_id = any(%s))", (list(batches),))
        decided_on = cursor.fetchone() == (True,)
    accepted = context.spark.createDataFrame(contents, "batch_id string, file_sha256 string, path string")
    rows = (
        lake.read(context.spark, RAW)
        .where(F.col("batch_id").isin(list(batches)))
        .join(F.broadcast(accepted), ["batch_id", "file_sha256"])
        .select(
            F.xxhash64("batch_id", "file_sha256", "line_number").alias("row_id"),
            "batch_id",
            F.col("path").alias("source_file"),
            *["line_number", *facts.COLUMNS, "problem", "raw_record"],
        )
    )
    return facts.correct(rows, _corrections(context) if decided_on else None)


@dataclass(frozen=True)
class Reference:
    """Products and countries as this run sees them, and the snapshots that Gold followed them to."""

    now: tuple[DataFrame, DataFrame]
    products: tuple[int | None, int | None]
    countries: tuple[int | None, int | None]

    @property
    def changed(self) -> list[str]:
        """What Gold has not followed."""
        marks = {"products": self.products, "countries": self.countries}
        return [name for name, (followed, now) in marks.items() if followed != now]


def reference(context: Context) -> Reference:
    """Pin the reference data of a run."""
    products = lake.snapshot_id(context.spark, PRODUCTS)
    countries = lake.snapshot_id(context.spark, COUNTRIES)
    return Reference(
        (lake.read(context.spark, PRODUCTS, products), lake.read(context.spark, COUNTRIES, countries)),
        (ledger.watermark(context.gold, "gold.products"), products),
        (ledger.watermark(context.gold, "gold.countries"), countries),
    )


def follow(gold_connection: Connection, reference: Reference) -> None:
    """Note that Gold stands by this reference data, once the caller commits."""
    ledger.move_watermark(gold_connection, "gold.products", reference.products[1])
    ledger.move_watermark(gold_connection, "gold.countries", reference.countries[1])


TOUCHED_FACTS = (
    """
    select f.transaction_id, f.order_id, f.invoice_date, f.stock_code, f.quantity, f.customer_id,
        f.country_id, f.batch_id
    from fact_transactions as f
    where f.country_id in (select c.country_id from staging.touched_countries as c where c.gone)
    """,
    """
    select f.transaction_id, f.order_id, f.invoice_date, f.stock_code, f.quantity, f.customer_id,
        f.country_id, f.batch_id
    from staging.touched_ranges as r
    inner join fact_transactions as f
        on r.stock_code = f.stock_code and f.invoice_date >= r.from_date and f.invoice_date < r.to_date
    """,
)
_ERRORS = """
    select error_id as row_id, transaction_key, batch_id, source_file, raw_record, transaction_id, order_id,
        stock_code, quantity, invoice_date, customer_id, country_id, null::text as problem
    from transactions_error
    where status = 'OPEN' and transaction_key is not null and reason in
    """
TOUCHED_ERRORS = (
    f"""{_ERRORS} ('UNKNOWN_PRODUCT', 'NO_PRICE', 'AMOUNT_OVERFLOW')
    and ops.code(coalesce(correction ->> 'stock_code', stock_code)) in (
        select r.stock_code from staging.touched_ranges as r
    )
    """,
    f"""{_ERRORS} ('UNKNOWN_COUNTRY', 'UNKNOWN_PRODUCT', 'NO_PRICE', 'AMOUNT_OVERFLOW')
    and ops.code(coalesce(correction ->> 'country_id', country_id)) in (
        select c.country_id from staging.touched_countries as c
    )
    """,
)
"""By what was last judged; what a steward decided on since is due anyway, and has no key where it was opened again."""


def touches(context: Context, reference: Reference) -> bool:
    """Whether the change of reference data touches rows in Gold; what changed is in staging then.

    A new day's prices, the common case, touch nothing that was bought before.
    """
    with context.gold.cursor() as cursor:
        cursor.execute("select exists (select from fact_transactions) or exists (select from transactions_error)")
        if cursor.fetchone() == (False,):
            return False
        context.gold.commit()
        if not _stage_changes(context, reference):
            return False
        cursor.execute("analyze staging.touched_ranges, staging.touched_countries")
        cursor.execute("select " + " or ".join(f"exists ({rows})" for rows in (*TOUCHED_FACTS, *TOUCHED_ERRORS)))
        found = cursor.fetchone() == (True,)
    context.gold.commit()
    return found


def _stage_changes(context: Context, reference: Reference) -> int:
    """Put what changed into staging.touched_ranges and staging.touched_countries; how many rows that is.

    Versions whose key and price stay as they were (new stock, an end date that moved because of a
    neighbour) are not among them. Of the countries only those that are gone touch facts: no fact has
    one that just came. Where the snapshot that Gold followed is gone, so is what went since: then all counts as
    touched that Gold has.
    """
    changed = 0
    followed, now = reference.products
    if followed != now and now is not None:
        if not lake.has_snapshot(context.spark, PRODUCTS, followed):
            changed += _stage_all(context, _ALL_PRODUCTS)
        ends = F.when(F.bool_or(F.isnull("end_date")), "infinity").otherwise(F.max("end_date").cast("string"))
        ranges = (
            lake.changes(context.spark, PRODUCTS, followed, now)
            .groupBy("stock_code", F.col("effective_date").alias("from_date"), "unit_price")
            .agg(F.sum("_weight").alias("weight"), ends.alias("to_date"))
            .where("weight <> 0")
        )
        changed += gold.copy(context, ranges, "touched_ranges", ("stock_code", "from_date", "to_date"))
    followed, now = reference.countries
    if followed != now and now is not None:
        if not lake.has_snapshot(context.spark, COUNTRIES, followed):
            changed += _stage_all(context, _ALL_COUNTRIES)
        countries = (
            lake.changes(context.spark, COUNTRIES, followed, now)
            .groupBy("country_id")
            .agg((F.sum("_weight") < 0).alias("gone"), F.sum("_weight").alias("weight"))
            .where("weight <> 0")
        )
        changed += gold.copy(context, countries, "touched_countries", ("country_id", "gone"))
    return changed


_ALL_PRODUCTS = """
insert into staging.touched_ranges (stock_code, from_date, to_date)
select stock_code, '-infinity'::date, 'infinity'::date from fact_transactions group by stock_code
union all
select ops.code(coalesce(correction ->> 'stock_code', stock_code)), null, null
from transactions_error where status = 'OPEN'
"""
_ALL_COUNTRIES = """
insert into staging.touched_countries (country_id, gone)
select country_id, true from fact_transactions group by country_id
union all
select ops.code(coalesce(correction ->> 'country_id', country_id)), false
from transactions_error where status = 'OPEN'
"""


def _stage_all(context: Context, statement: str) -> int:
    with context.gold.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.rowcount
    context.gold.commit()
    return rows


def touched_facts(context: Context) -> DataFrame:
    """Facts whose price or country changed under them, ready to be judged again."""
    rows = gold.query(context, " union ".join(TOUCHED_FACTS))
    text = F.lit(None).cast("string")
    return rows.select(
        *rows.columns,
        F.col("transaction_id").alias("transaction_key"),
        *[text.alias(f"landed_{c}") for c in facts.COLUMNS],
        *[text.alias(c) for c in ("source_file", "raw_record", "fate", "reason", "detail")],
        F.lit(None).cast("long").alias("row_id"),
        F.lit(False).alias("corrected"),
    )


def touched_errors(context: Context) -> DataFrame:
    """Open errors whose product or country changed under them, ready to be judged again."""
    errors = gold.query(context, " union ".join(TOUCHED_ERRORS))
    parsed = facts.parse(facts.correct(errors, _corrections(context)))
    undecided = [F.lit(None).cast("string").alias(c) for c in ("fate", "reason", "detail")]
    return parsed.where("malformed is null").select("*", *undecided)
