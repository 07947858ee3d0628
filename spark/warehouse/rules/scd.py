"""Slowly changing dimensions: product versions (type 2) and countries (type 0)."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from warehouse.rules import with_values

VERSION_COLUMNS = (
    "product_sk",
    "stock_code",
    "description",
    "category",
    "unit_price",
    "stock_quantity",
    "effective_date",
    "end_date",
    "is_current",
)


def product_sk() -> Column:
    """The surrogate key of a version: a function of its business key, so a rebuild gives it again."""
    return F.xxhash64("stock_code", "effective_date")


def versions(snapshots: DataFrame, tracked: Sequence[str]) -> DataFrame:
    """Fold snapshots into versions: a new one wherever a `tracked` column changes.

    `snapshots`: stock_code, snapshot_date, the tracked columns and stock_quantity, at most one row a
    product and date. A product absent from a snapshot keeps its version open. stock_quantity is the
    newest value within each version. To extend a history, pass its open versions as snapshots of
    their effective_date: they come out again, extended or closed.
    """
    by_date = Window.partitionBy("stock_code").orderBy("snapshot_date")
    values = F.struct(*tracked)
    before = F.lag(F.struct(*tracked)).over(by_date)
    starts = F.when(F.lag("snapshot_date").over(by_date).isNull() | ~values.eqNullSafe(before), 1).otherwise(0)
    numbered = snapshots.withColumn("_starts", starts).withColumn("_version", F.sum("_starts").over(by_date))
    folded = numbered.groupBy("stock_code", "_version").agg(
        F.min("snapshot_date").alias("effective_date"),
        *[F.min_by(c, "snapshot_date").alias(c) for c in tracked],
        F.max_by("stock_quantity", "snapshot_date").alias("stock_quantity"),
    )
    ends = F.lead("effective_date").over(Window.partitionBy("stock_code").orderBy("effective_date"))
    derived = {"product_sk": product_sk(), "end_date": ends, "is_current": F.col("end_date").isNull()}
    return folded.select(*with_values(VERSION_COLUMNS, derived))


def first_values(snapshots: DataFrame, key: str, date: str) -> DataFrame:
    """Keep, for each key, the row of the earliest date (SCD type 0)."""
    columns = snapshots.columns
    rank = F.row_number().over(Window.partitionBy(key).orderBy(date))
    return snapshots.withColumn("_rank", rank).where("_rank = 1").select(*columns)


def differences(after: DataFrame, before: DataFrame, key: str) -> DataFrame:
    """The rows by which `after` differs from `before`, with `op`: U (upsert) or D (delete, key only)."""
    columns = after.columns
    new = after.select(F.struct(*columns).alias("new"), F.col(key).alias("new_key"))
    old = before.select(F.struct(*columns).alias("old"), F.col(key).alias("old_key"))
    return (
        new.join(old, F.col("new_key") == F.col("old_key"), "full")
        .where(~F.col("new").eqNullSafe(F.col("old")))
        .select(
            F.when(F.col("new_key").isNull(), F.lit("D")).otherwise(F.lit("U")).alias("op"),
            *[F.coalesce(f"new.{c}", f"old.{c}").alias(c) if c == key else F.col(f"new.{c}") for c in columns],
        )
    )


def net(changes: DataFrame, key: str) -> DataFrame:
    """What a table's change feed comes to, as `differences` are: U (the row as it is now) or D (it went).

    `changes`: the table's columns and `_weight`, 1 for a row that came, -1 for one that went. Rows that
    were only rewritten cancel out.
    """
    columns = [c for c in changes.columns if c != "_weight"]
    left = changes.groupBy(*columns).agg(F.sum("_weight").alias("_weight")).where("_weight <> 0")
    last = left.groupBy(key).agg(F.max_by(F.struct(*columns), "_weight").alias("_row"), F.max("_weight").alias("_w"))
    return last.select(F.when(F.col("_w") > 0, F.lit("U")).otherwise(F.lit("D")).alias("op"), "_row.*")


def collisions(new: DataFrame, existing: DataFrame) -> DataFrame:
    """Surrogate keys of new versions that stand for two business keys: product_sk, `one` and `other`."""
    keys = ("product_sk", "stock_code", "effective_date")
    met = existing.select(*keys).join(F.broadcast(new.select("product_sk")), "product_sk", "left_semi")
    business_key = F.struct(*keys[1:])
    return (
        new.select(*keys)
        .union(met)
        .groupBy("product_sk")
        .agg(F.min(business_key).alias("one"), F.max(business_key).alias("other"))
        .where("one <> other")
    )
