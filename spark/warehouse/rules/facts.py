"""The fate of a landed transaction row: fact, error with its reason, or exact duplicate.

A landed row carries the seven columns of a transaction file as text (`COLUMNS`), `batch_id`,
`source_file`, `line_number`, `row_id` and `problem` (why its record could not be cut into columns,
else null); `correct` first puts what a steward decided on it in place. The rules and their order are
those of the contract, section 4.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from warehouse.rules import LONGEST_CODE, with_values
from warehouse.rules.asof import attach_version

COLUMNS = (
    "transaction_id",
    "order_id",
    "stock_code",
    "quantity",
    "invoice_date",
    "customer_id",
    "country_id",
)
VALUES = ("invoice_date", "order_id", "stock_code", "quantity", "customer_id", "country_id")
"""What makes two rows of one transaction equal, in the order in which ties are broken."""

FACT, ERROR, DUPLICATE = "FACT", "ERROR", "DUPLICATE"

WHITESPACE = (
    " \t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
# \z, because $ would let a line end follow, which the casts pass over
_INTEGER = r"^[+-]?[0-9]+\z"
_INSTANT = r"^(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\z"
_LARGEST_AMOUNT = "99999999999999.9999"


def code(column: str) -> Column:
    """An identifier: outer whitespace gone, null when nothing is left."""
    return F.nullif(F.trim(F.col(column), F.lit(WHITESPACE)), F.lit(""))


def whole_number(column: str) -> Column:
    """An optional sign and digits that fit 32 bits, else null."""
    return F.when(F.col(column).rlike(_INTEGER), F.expr(f"try_cast({column} as int)"))


def instant(column: str) -> Column:
    """A UTC instant written `YYYY-MM-DD HH:MM:SS`, else null."""
    return F.when(F.col(column).rlike(_INSTANT), F.expr(f"try_cast({column} as timestamp_ntz)"))


def correct(rows: DataFrame, corrections: DataFrame | None = None) -> DataFrame:
    """Put what stewards gave in the place of what landed, which stays beside it as `landed_<column>`.

    `corrections`: row_id, `discarded`, and for each column `given_<column>`, the text to take (empty: none, null: as
    landed). Adds `corrected`; a discarded row has a `problem`. Who corrects a record that could not be cut into
    columns vouches for those that he leaves as they are.
    """
    landed = [F.col(c).alias(f"landed_{c}") for c in COLUMNS]
    if corrections is None:
        return rows.select("*", *landed, F.lit(False).alias("corrected"))
    given = {c: F.col(f"given_{c}") for c in COLUMNS}
    in_place = {c: F.when(text.isNull(), F.col(c)).otherwise(F.nullif(text, F.lit(""))) for c, text in given.items()}
    corrected = F.coalesce(*given.values()).isNotNull()
    still_in_the_way = ~corrected | F.concat_ws("", *in_place.values()).contains("\0")
    problem = F.when(F.col("discarded"), F.lit("discarded")).when(still_in_the_way, F.col("problem"))
    taken = in_place | {"problem": problem}
    return rows.join(F.broadcast(corrections), "row_id", "left").select(
        *with_values(rows.columns, taken), *landed, corrected.alias("corrected")
    )


def parse(rows: DataFrame) -> DataFrame:
    """Give each row, as `correct` leaves it, its typed values; `malformed` says what does not parse (null: nothing)."""
    texts = [F.col(c).alias(f"given_{c}") for c in ("quantity", "invoice_date")]
    values = {c: code(c) for c in COLUMNS}
    values |= {"quantity": whole_number("quantity"), "invoice_date": instant("invoice_date")}
    typed = rows.select(*with_values(rows.columns, values), *texts)
    return typed.select(*rows.columns, _what_is_malformed().alias("malformed"))


def _what_is_malformed() -> Column:
    def shown(column: str) -> Column:
        text = F.col(f"given_{column}")
        return F.when(F.length(text) > 60, F.concat(F.substring(text, 1, 60), F.lit("…"))).otherwise(text)

    def empty(column: str) -> Column:
        return F.when(F.col(column).isNull(), F.lit(f"{column} is empty"))

    def unreadable(column: str, what: str) -> Column:
        return F.when(F.col(f"given_{column}").isNull(), F.lit(f"{column} is empty")).when(
            F.col(column).isNull(), F.concat(F.lit(f"{column} '"), shown(column), F.lit(f"' is not {what}"))
        )

    def too_long(column: str) -> Column:
        return F.when(F.length(column) > LONGEST_CODE, F.lit(f"{column} is longer than {LONGEST_CODE} characters"))

    zero = F.when(F.col("quantity") == 0, F.lit("quantity is 0"))
    complaints = F.concat_ws(
        "; ",
        empty("transaction_id"),
        empty("order_id"),
        empty("stock_code"),
        F.coalesce(unreadable("quantity", "a whole number of 32 bits"), zero),
        unreadable("invoice_date", "a time YYYY-MM-DD HH:MM:SS"),
        *[too_long(c) for c in ("transaction_id", "stock_code", "customer_id", "country_id")],
    )
    return F.coalesce(F.col("problem"), F.nullif(complaints, F.lit("")))


def resolve(parsed: DataFrame) -> DataFrame:
    """Among the rows of one transaction_id, say which is taken.

    Adds `fate` and `reason`: both null for the row that is taken. A malformed or discarded row competes with none.
    The row taken is the earliest batch's, then the least by `VALUES` (null first); a row equal to it
    is a duplicate, any other a conflict.
    """
    malformed = F.col("malformed").isNotNull()
    key = F.when(~malformed, F.col("transaction_id"))
    order = [F.asc_nulls_first(c) for c in ("batch_id", *VALUES, "source_file", "line_number")]
    # a row that competes with none is a group of its own
    group = Window.partitionBy(key, F.when(malformed, F.col("row_id"))).orderBy(*order)
    ranked = parsed.select(
        "*",
        key.alias("transaction_key"),
        F.row_number().over(group).alias("_rank"),
        F.first(F.struct(*VALUES)).over(group).alias("_taken"),
    )
    other = F.col("_rank") > 1
    conflict = other & ~F.struct(*VALUES).eqNullSafe(F.col("_taken"))
    taken_for = F.concat(F.lit("other values were taken for "), F.col("transaction_id"))
    return ranked.select(
        *parsed.columns,
        "transaction_key",
        F.when(malformed | conflict, F.lit(ERROR)).when(other, F.lit(DUPLICATE)).alias("fate"),
        F.when(malformed, F.lit("MALFORMED")).when(conflict, F.lit("DUPLICATE_CONFLICT")).alias("reason"),
        F.when(malformed, F.col("malformed")).when(conflict, taken_for).alias("detail"),
    )


def judge(rows: DataFrame, versions: DataFrame, countries: DataFrame) -> DataFrame:
    """Price every row whose `fate` is null, or say why it has no price.

    `versions`: stock_code, effective_date, end_date, product_sk, unit_price; `countries`: country_id.
    """
    known_countries = F.broadcast(countries.select(F.col("country_id").alias("_country")).distinct())
    looked_up = attach_version(rows, versions).join(known_countries, F.col("country_id") == F.col("_country"), "left")
    amount = F.col("quantity").cast("decimal(10,0)") * F.col("unit_price")
    undecided = F.col("fate").isNull()
    reason = (
        F.when(F.col("_country").isNull(), F.lit("UNKNOWN_COUNTRY"))
        .when(~F.col("known_product"), F.lit("UNKNOWN_PRODUCT"))
        .when(F.col("product_sk").isNull(), F.lit("NO_PRICE"))
        .when(F.abs(amount) > F.lit(_LARGEST_AMOUNT).cast("decimal(22,4)"), F.lit("AMOUNT_OVERFLOW"))
    )
    detail = (
        F.when(F.col("country_id").isNull(), F.lit("country_id is empty"))
        .when(F.col("_country").isNull(), F.concat(F.lit("no country "), F.col("country_id")))
        .when(~F.col("known_product"), F.concat(F.lit("no product "), F.col("stock_code")))
        .when(
            F.col("product_sk").isNull(),
            F.concat(F.col("stock_code"), F.lit(" had no price yet on "), F.to_date("invoice_date").cast("string")),
        )
        .when(reason.isNotNull(), F.lit(f"quantity × unit_price is beyond {_LARGEST_AMOUNT}"))
    )
    verdict = {
        "fate": F.when(~undecided, F.col("fate")).when(reason.isNull(), F.lit(FACT)).otherwise(F.lit(ERROR)),
        "reason": F.when(undecided, reason).otherwise(F.col("reason")),
        "detail": F.when(undecided, detail).otherwise(F.col("detail")),
    }
    return looked_up.select(
        *with_values(rows.columns, verdict),
        "product_sk",
        "unit_price",
        amount.try_cast("decimal(18,4)").alias("total_amount"),
    )
