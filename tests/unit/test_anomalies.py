"""What is typical of a product, and what is flagged, from literal sales."""

import math

import pytest
from frames import assert_rows, frame

from warehouse.rules.anomalies import BASELINE, Robust, ZScore

pytestmark = pytest.mark.spark

SALE = "stock_code string, category string, quantity int"
ZSCORE = ZScore(min_orders=4, threshold=2, tiers={"critical": 6, "warning": 3})
ROBUST = Robust(min_orders=4, threshold=4, tiers={"critical": 7, "warning": 5}, scale_floor=0.5)


def sales(spark, *quantities: int, code: str = "A", category: str | None = "Home"):
    return frame(spark, SALE, [(code, category, quantity) for quantity in quantities])


def test_a_baseline_is_the_lower_median_and_the_sample_deviation(spark):
    found = ZSCORE.baselines(sales(spark, 1, 2, 3, 10)).select(
        "level", "stock_code", "median_qty", "std_deviation", "order_count"
    )
    mean = 4
    deviation = math.sqrt(sum((quantity - mean) ** 2 for quantity in (1, 2, 3, 10)) / 3)
    [row] = found.collect()
    assert tuple(row)[:3] == ("product", "A", 2) and row["order_count"] == 4
    assert math.isclose(row["std_deviation"], deviation)


def test_a_product_with_few_sales_or_without_deviation_has_no_baseline(spark):
    few, even = sales(spark, 1, 2, 3), sales(spark, 5, 5, 5, 5, 5, code="B")
    assert ZSCORE.baselines(few.union(even)).collect() == []


def test_more_than_the_threshold_is_flagged_with_its_z_and_tier(spark):
    baselines = frame(
        spark,
        "baseline_id long, level string, stock_code string, category string, median_qty int, std_deviation double",
        [(7, "product", "A", None, 10, 2.0)],
    )
    flagged = ZSCORE.scores(sales(spark, 14, 15, 16, 22, 1), baselines)
    flagged = flagged.union(ZSCORE.scores(sales(spark, 999, code="B"), baselines))
    assert_rows(
        flagged.select("quantity", "baseline_id", "median_qty", "std_deviation", "z_score", "tier"),
        "quantity int, baseline_id long, median_qty int, std_deviation double, z_score double, tier string",
        (15, 7, 10, 2.0, 2.5, "notice"),
        (16, 7, 10, 2.0, 3.0, "warning"),
        (22, 7, 10, 2.0, 6.0, "critical"),
    )


def test_robust_judges_a_product_with_little_history_by_its_category_and_then_by_the_shop(spark):
    history = (
        sales(spark, *[4] * 9).union(sales(spark, 7, code="B")).union(sales(spark, *[6] * 9, code="C", category="X"))
    )
    baselines = ROBUST.baselines(history)
    assert baselines.columns == list(BASELINE)
    assert sorted((row["level"], row["stock_code"] or row["category"] or "") for row in baselines.collect()) == [
        ("category", "Home"),
        ("category", "X"),
        ("product", "A"),
        ("product", "C"),
        ("shop", ""),
    ]
    numbered = baselines.selectExpr("cast(ascii(level) as long) as baseline_id", "*")
    orders = [
        sales(spark, 4000, code=code, category=category)
        for code, category in [("A", "Home"), ("B", "Home"), ("Z", None)]
    ]
    flagged = ROBUST.scores(orders[0].union(orders[1]).union(orders[2]), numbered)
    level = {ord("p"): "product", ord("c"): "category", ord("s"): "shop"}
    assert {row["stock_code"]: level[row["baseline_id"]] for row in flagged.collect()} == {
        "A": "product",
        "B": "category",
        "Z": "shop",
    }


def test_robust_has_a_floor_under_the_spread_and_passes_over_one_giant(spark):
    [row] = ROBUST.baselines(sales(spark, *[4] * 9, 70_000)).where("level = 'product'").collect()
    assert row["median_qty"] == 4 and row["log_scale"] == 0.5
    numbered = ROBUST.baselines(sales(spark, *[4] * 30)).selectExpr("1L as baseline_id", "*")
    [flagged] = ROBUST.scores(sales(spark, 4, 20, 40), numbered.where("level = 'product'")).collect()
    assert flagged["quantity"] == 40
    assert math.isclose(flagged["z_score"], math.log(10) / 0.5)
    assert flagged["tier"] == "notice"
