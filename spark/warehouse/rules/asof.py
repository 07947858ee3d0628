"""The as-of join: the product version in effect on a transaction's day."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def attach_version(transactions: DataFrame, versions: DataFrame) -> DataFrame:
    """Give each transaction the product version in effect on the UTC date of its invoice_date.

    Adds `product_sk` and `unit_price` (GBP, DECIMAL(12,4)), null where no version is in effect, and
    `known_product`, whether the stock_code has any version. A version is in effect on
    [effective_date, end_date), the last of overlapping ones. Every transaction comes out exactly once,
    whatever the versions are: they are joined as one row a product.

    Dates are days, so a product's versions are an array indexed by day, and finding one is two array
    look-ups whatever their number. That table goes to every executor: 4 bytes for each product and
    day between its first and last change, 20 for each version (4,000 products with 1,000 versions in
    1,000 days: about 100 MB).
    """
    begun = (
        F.when(F.col("_day") >= F.col("_last_day"), F.col("_last"))
        # before the first day the index is negative: null, as is any beyond the array
        .otherwise(F.get("_version_on", F.col("_day") - F.col("_first_day")))
    )
    ended = F.coalesce(F.col("_day") >= F.get("_ends", "_begun"), F.lit(False))
    found = transactions.join(F.broadcast(_by_product(versions)), F.col("stock_code") == F.col("_code"), "left").select(
        *transactions.columns,
        # each of these reads what stands before it
        F.unix_date(F.to_date("invoice_date")).alias("_day"),
        begun.alias("_begun"),
        F.when(~ended, F.col("_begun")).alias("_in_effect"),
        F.get("_sks", "_in_effect").alias("product_sk"),
        F.get("_prices", "_in_effect").alias("unit_price"),
        F.col("_code").isNotNull().alias("known_product"),
    )
    return found.drop("_day", "_begun", "_in_effect")


def _by_product(versions: DataFrame) -> DataFrame:
    """One row a product: its versions by effective_date, and which had last begun on each day.

    `_version_on` counts days from `_first_day`, the first version's, to the day before `_last_day`,
    the last version's; `_last` is the last version's place.
    """
    version = F.struct(
        F.unix_date("effective_date").alias("begin"),
        F.unix_date("end_date").alias("end"),
        F.col("product_sk").alias("sk"),
        F.col("unit_price").alias("price"),
    )
    days_until_next = "coalesce(get(_versions, i + 1).begin - v.begin, 0)"
    return (
        versions.groupBy(F.col("stock_code").alias("_code"))
        .agg(F.sort_array(F.collect_list(version)).alias("_versions"))
        .select(
            "_code",
            F.expr("_versions[0].begin").alias("_first_day"),
            F.expr("element_at(_versions, -1).begin").alias("_last_day"),
            (F.size("_versions") - 1).alias("_last"),
            F.expr(f"flatten(transform(_versions, (v, i) -> array_repeat(i, {days_until_next})))").alias("_version_on"),
            F.col("_versions.end").alias("_ends"),
            F.col("_versions.sk").alias("_sks"),
            F.col("_versions.price").alias("_prices"),
        )
    )
