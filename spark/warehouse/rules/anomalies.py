"""Anomalous orders: what quantities are typical of a product, and how far out one lies.

A method makes baselines of sales (rows of `stock_code`, `category`, `quantity` > 0) and scores sales by
them. A baseline is a row of `BASELINE`; a score adds `SCORE` to the sale that it flags.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from warehouse.rules import with_values

BASELINE = (
    "level",
    "stock_code",
    "category",
    "median_qty",
    "p99_qty",
    "std_deviation",
    "log_median",
    "log_scale",
    "order_count",
)
SCORE = ("baseline_id", "median_qty", "std_deviation", "z_score", "tier")
TIERS = ("critical", "warning", "notice")
PRODUCT, CATEGORY, SHOP = "product", "category", "shop"
_ACCURACY = 10_000
_NORMAL_95 = 1.6449  # deviations from the median to the 95th percentile of a normal distribution


class Method(Protocol):
    """A way to find anomalies."""

    @property
    def name(self) -> str: ...

    @property
    def min_orders(self) -> int:
        """With fewer sales there is no baseline at all."""

    def baselines(self, sales: DataFrame) -> DataFrame:
        """What is typical, as `BASELINE`; a product without enough history has none of its own."""

    def scores(self, sales: DataFrame, baselines: DataFrame) -> DataFrame:
        """The sales that are flagged, each once, with `SCORE` by the `baselines` (`BASELINE` and `baseline_id`)."""


@dataclass(frozen=True)
class ZScore:
    """Deviations from the median of the product's own quantities (contract, section 7)."""

    min_orders: int
    threshold: float
    tiers: Mapping[str, float]
    name: str = "zscore"

    def baselines(self, sales: DataFrame) -> DataFrame:
        typical = sales.groupBy("stock_code").agg(*_typical())
        enough = typical.where((F.col("order_count") >= self.min_orders) & (F.col("std_deviation") > 0))
        absent = {"category": _no("string"), "log_median": _no("double"), "log_scale": _no("double")}
        return enough.select(*with_values(BASELINE, {"level": F.lit(PRODUCT)} | absent))

    def scores(self, sales: DataFrame, baselines: DataFrame) -> DataFrame:
        own = baselines.select("stock_code", "baseline_id", "median_qty", "std_deviation")
        z = (F.col("quantity") - F.col("median_qty")) / F.col("std_deviation")
        return (
            sales.join(F.broadcast(own), "stock_code")
            .where(F.col("quantity") > F.col("median_qty") + F.lit(float(self.threshold)) * F.col("std_deviation"))
            .select("*", z.alias("z_score"), _tier(self.tiers).alias("tier"))
        )


@dataclass(frozen=True)
class Robust:
    """Deviations of the logarithm of a quantity from its median, in units of a spread that no outlier moves.

    The spread is that of the upper tail, from the median to the 95th percentile, and never less than `scale_floor`.
    A product with fewer than `min_orders` sales is judged by its category, a category with fewer by the shop. An
    order that is large throughout, as a wholesaler's is, is measured against itself: the median of what its lines lie
    above is taken off each, up to the factor `order_allowance`. Sales have an `order_id` besides.
    """

    min_orders: int
    threshold: float
    tiers: Mapping[str, float]
    scale_floor: float
    order_allowance: float
    name: str = "robust"

    def baselines(self, sales: DataFrame) -> DataFrame:
        levels = [
            self._level(sales, PRODUCT, ["stock_code"]),
            self._level(sales.where("category is not null"), CATEGORY, ["category"]),
            self._level(sales, SHOP, []),
        ]
        return reduce(DataFrame.unionByName, levels)

    def scores(self, sales: DataFrame, baselines: DataFrame) -> DataFrame:
        judged = sales
        columns = ("baseline_id", "median_qty", "std_deviation", "log_median", "log_scale")
        for level, key in ((PRODUCT, "stock_code"), (CATEGORY, "category"), (SHOP, None)):
            packed = F.struct(*columns).alias(f"_{level}")
            found = F.broadcast(baselines.where(F.col("level") == level).select(*([key] if key else []), packed))
            judged = judged.join(found, key, "left") if key else judged.join(found, how="left")
        order = Window.partitionBy("order_id")
        throughout = F.percentile_approx("_above", 0.5, _ACCURACY).over(order)
        allowed = F.least(F.greatest(throughout, F.lit(0.0)), F.lit(math.log(self.order_allowance)))
        own = F.when(F.count("*").over(order) > 1, allowed).otherwise(0.0)  # a single line says nothing of its order
        return (
            judged.select(*sales.columns, F.coalesce("_product", "_category", "_shop").alias("_by"))
            .where("_by is not null")
            .select(*sales.columns, "_by.*", (F.ln("quantity") - F.col("_by.log_median")).alias("_above"))
            .withColumn("z_score", (F.col("_above") - own) / F.col("log_scale"))
            .where(F.col("z_score") > self.threshold)
            .select(*with_values((*sales.columns, *SCORE), {"tier": _tier(self.tiers)}))
        )

    def _level(self, sales: DataFrame, level: str, keys: list[str]) -> DataFrame:
        typical = sales.groupBy(*keys).agg(*_typical(), F.percentile_approx("quantity", 0.95, _ACCURACY).alias("_tail"))
        median, tail = F.ln("median_qty"), F.ln("_tail")  # the logarithm of a percentile is that of the logarithms
        scale = F.greatest(F.lit(float(self.scale_floor)), (tail - median) / _NORMAL_95)
        absent = {key: _no("string") for key in ("stock_code", "category") if key not in keys}
        derived = {"level": F.lit(level), "log_median": median, "log_scale": scale} | absent
        return typical.where(F.col("order_count") >= self.min_orders).select(*with_values(BASELINE, derived))


def _typical() -> tuple[Column, ...]:
    return (
        F.percentile_approx("quantity", 0.5, _ACCURACY).alias("median_qty"),
        F.percentile_approx("quantity", 0.99, _ACCURACY).alias("p99_qty"),
        F.stddev_samp("quantity").alias("std_deviation"),
        F.count("*").alias("order_count"),
    )


def _tier(tiers: Mapping[str, float]) -> Column:
    """The first tier whose z a score reaches; tiers are in the order of severity."""
    named = F.lit("notice")
    for tier, least in sorted(tiers.items(), key=lambda item: item[1]):
        named = F.when(F.col("z_score") >= float(least), F.lit(tier)).otherwise(named)
    return named


def _no(kind: str) -> Column:
    return F.lit(None).cast(kind)
