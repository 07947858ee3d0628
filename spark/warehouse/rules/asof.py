"""The as-of join: the product version in effect on a transaction's day."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

BIN_DAYS = 30


def attach_version(transactions: DataFrame, versions: DataFrame, bin_days: int = BIN_DAYS) -> DataFrame:
    """Give each transaction the product version in effect on the UTC date of its invoice_date.

    Adds `product_sk` and `unit_price` (GBP, DECIMAL(12,4)), null where no version had begun, and
    `known_product`, whether the stock_code has any version. Every transaction comes out exactly once,
    provided that each stock_code has one open version (end_date null) and that no two overlap: what
    `scd.versions` guarantees. A version is in effect on [effective_date, end_date).

    The open versions are one row a product. The closed ones are cut into bins of `bin_days` days and
    found by an equi-join on a hash of product and bin, with the interval as the residual condition.
    """

    def bin_of(day: str) -> Column:
        return F.floor(F.unix_date(F.col(day)) / F.lit(bin_days)).cast("int")

    open_versions = versions.where("end_date is null").select(
        F.col("stock_code").alias("_open_code"),
        F.col("effective_date").alias("_open_from"),
        F.col("product_sk").alias("_open_sk"),
        F.col("unit_price").alias("_open_price"),
    )
    closed = (
        versions.where("end_date is not null")
        .select(
            F.col("stock_code").alias("_code"),
            F.col("effective_date").alias("_from"),
            F.date_sub("end_date", 1).alias("_to"),
            F.col("product_sk").alias("_sk"),
            F.col("unit_price").alias("_price"),
        )
        .withColumn("_bin", F.explode(F.sequence(bin_of("_from"), bin_of("_to"))))
        .withColumn("_bin_key", F.xxhash64("_code", "_bin"))
    )
    found = (
        transactions.withColumn("_day", F.to_date("invoice_date"))
        .withColumn("_key", F.xxhash64("stock_code", bin_of("_day")))
        .join(F.broadcast(open_versions), F.col("stock_code") == F.col("_open_code"), "left")
        .join(
            closed,
            (F.col("_key") == F.col("_bin_key"))
            & (F.col("stock_code") == F.col("_code"))
            & F.col("_day").between(F.col("_from"), F.col("_to")),
            "left",
        )
    )
    in_open = F.col("_day") >= F.col("_open_from")
    return found.withColumns(
        {
            "product_sk": F.when(in_open, F.col("_open_sk")).otherwise(F.col("_sk")),
            "unit_price": F.when(in_open, F.col("_open_price")).otherwise(F.col("_price")),
            "known_product": F.col("_open_code").isNotNull(),
        }
    ).select(*transactions.columns, "product_sk", "unit_price", "known_product")
