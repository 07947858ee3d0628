"""What is typical of a product, and what is flagged, from literal sales."""

import math

from frames import assert_rows, frame

from warehouse.rules.anomalies import BASELINE, Robust, ZScore

SALE = "stock_code string, category string, quantity int"
ZSCORE = ZScore(min_orders=4, threshold=2, tiers={"critical": 6, "warning": 3})
ROBUST = Robust(min_orders=4, threshold=1.5, tiers={"critical": 3, "warning": 2}, scale_floor=1, order_allowance=10)


def sales(spark, *quantities: int, code: str = "A", category: str | None = "Home"):
    return frame(spark, SALE, [(code, category, quantity) for quantity in quantities])


def orders(spark, *lines: tuple[str, int], code: str = "A"):
    """Sales with the order that each is a line of."""
    return frame(spark, f"order_id string, {SALE}", [(order, code, "Home", quantity) for order, quantity in lines])


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
    three = [("1", "A", "Home", 4000), ("2", "B", "Home", 4000), ("3", "Z", None, 4000)]
    flagged = ROBUST.scores(frame(spark, f"order_id string, {SALE}", three), numbered)
    level = {ord("p"): "product", ord("c"): "category", ord("s"): "shop"}
    assert {row["stock_code"]: level[row["baseline_id"]] for row in flagged.collect()} == {
        "A": "product",
        "B": "category",
        "Z": "shop",
    }


def test_robust_has_a_floor_under_the_spread_and_passes_over_one_giant(spark):
    [row] = ROBUST.baselines(sales(spark, *[4] * 20, 70_000)).where("level = 'product'").collect()
    assert (row["median_qty"], row["log_median"], row["log_scale"]) == (4, math.log(4), 1)


def test_the_spread_of_robust_is_that_of_the_upper_tail(spark):
    [row] = ROBUST.baselines(sales(spark, *[1] * 5, *[2] * 8, *[200] * 2)).where("level = 'product'").collect()
    assert row["log_median"] == math.log(2)
    assert math.isclose(row["log_scale"], math.log(100) / 1.6449)


def test_robust_flags_more_than_its_threshold_with_z_and_tier(spark):
    lines = orders(spark, ("1", 4), ("2", 17), ("3", 18), ("4", 29), ("5", 30), ("6", 80), ("7", 81))
    flagged = ROBUST.scores(lines, fours(spark)).selectExpr("quantity", "round(z_score, 4) as z", "tier")
    assert_rows(
        flagged,
        "quantity int, z double, tier string",
        (18, round(math.log(18 / 4), 4), "notice"),
        (29, round(math.log(29 / 4), 4), "notice"),
        (30, round(math.log(30 / 4), 4), "warning"),
        (80, round(math.log(80 / 4), 4), "warning"),
        (81, round(math.log(81 / 4), 4), "critical"),
    )


def test_robust_measures_an_order_that_is_large_throughout_against_itself(spark):
    wholesale = [("1", 20), ("1", 20), ("1", 400)]  # five times the typical; of it the last line is twenty times
    lines = orders(spark, *wholesale, ("2", 20), ("3", 1), ("3", 1), ("3", 400))
    flagged = ROBUST.scores(lines, fours(spark)).selectExpr("order_id", "quantity", "round(z_score, 4) as z")
    assert_rows(
        flagged,
        "order_id string, quantity int, z double",
        ("1", 400, round(math.log(20), 4)),
        ("2", 20, round(math.log(5), 4)),
        ("3", 400, round(math.log(100), 4)),  # that the others are small makes it no larger
    )


def test_robust_flags_all_lines_of_an_order_that_is_too_large_throughout(spark):
    flagged = ROBUST.scores(orders(spark, ("1", 400), ("1", 400)), fours(spark)).select("quantity", "z_score")
    for row in flagged.collect():
        assert math.isclose(row["z_score"], math.log(10))  # a hundred times the typical, ten of them allowed
    assert flagged.count() == 2


def fours(spark):
    """The baseline of a product of which four at a time are sold."""
    return ROBUST.baselines(sales(spark, *[4] * 30)).where("level = 'product'").selectExpr("1L as baseline_id", "*")
