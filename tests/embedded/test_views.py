"""What analysts and shoppers read: each view whole, and the summaries behind them against the facts."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from harness import PRODUCTS, Rows, Warehouse, ordered
from small_shop import APPLE, BRITAIN, BRUSH, FRANCE, land_masters, land_sales, open_shop, sale
from view_oracle import SUMMARIES, assert_summaries_follow_the_facts

JANUARY, FEBRUARY = date(2011, 1, 1), date(2011, 2, 1)
NOWHERE = "XX,Atlantis,,,"


def two_months(warehouse: Warehouse) -> None:
    land_masters(warehouse, products=(APPLE, BRUSH, "N,Nameless,,0.50,1"), countries=(BRITAIN, FRANCE, NOWHERE))
    warehouse.land("products/products_2011-02-01.csv", ["A,Apple,Food,3.00,10"], PRODUCTS)
    land_sales(
        warehouse,
        "2011-01-31T20",
        sale("T1", quantity=10, at="2011-01-05 10:00:00", order="O1"),
        sale("T2", code="B", quantity=3, at="2011-01-05 10:00:00", order="O1"),
        sale("T3", quantity=4, at="2011-01-31 23:59:59", customer="", order="O2"),
        sale("T4", code="N", quantity=8, at="2011-01-31 23:00:00", customer="C2", country="FR", order="O3"),
        sale("T5", quantity=2, at="2011-01-31 23:00:00", customer="C3", country="XX", order="O4"),
    )
    land_sales(
        warehouse,
        "2011-02-01T00",
        sale("T6", quantity=-4, at="2011-02-01 00:00:00", order="O5"),
        sale("T7", quantity=5, at="2011-02-01 00:00:00", customer="C2", country="GB", order="O6"),
        sale("T8", code="B", quantity=1, at="2011-02-02 00:00:00", customer="C2", country="FR", order="O6"),
        sale("T9", code="Z", quantity=7, at="2011-02-02 00:00:00", customer=" C2", order="O7"),
    )
    warehouse.run()


@pytest.fixture
def shop(warehouse: Warehouse) -> Warehouse:
    """Two months, three countries, a product without a category, a guest, returns, an error."""
    return warehouse.prepared(two_months)


def shown(rows: Rows) -> Rows:
    """Rows with money as text, where 1.5 and 1.50 are one, and times as text."""
    return [tuple(_shown(value) for value in row) for row in rows]


def _shown(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return str(value) if isinstance(value, datetime) else value


def whole(warehouse: Warehouse, view: str) -> Rows:
    return shown(warehouse.query(f"select * from {view}"))


def test_revenue_by_month(shop):
    assert whole(shop, "bi.revenue_by_month") == [
        # month, revenue, gross, returns, orders, customers, lines, units sold, returned, an order, share, change
        (JANUARY, "34", "34", "0", 4, 3, 5, 27, 0, "8.5", "87.18", None),
        (FEBRUARY, "5", "17", "12", 2, 2, 3, 6, 4, "2.5", "12.82", "-85.29"),
    ]


def test_sales_by_category_go_by_the_category_on_the_day_of_the_purchase(shop):
    assert whole(shop, "bi.sales_by_category") == [
        # category, revenue, gross, returns, products, lines, units sold, returned, share
        ("Fruit", "24", "24", "0", 1, 3, 16, 0, "61.54"),
        ("Home", "8", "8", "0", 1, 2, 4, 0, "20.51"),
        ("(none)", "4", "4", "0", 1, 1, 8, 0, "10.26"),
        ("Food", "3", "15", "12", 1, 2, 5, 4, "7.69"),
    ]


def test_top_buyers_of_a_region_are_no_guests_and_bought_there(shop):
    assert whole(shop, "bi.top_buyers_by_region") == [
        # region, rank, customer, revenue, gross, returns, orders, lines, units sold, returned, share
        ("(none)", 1, "C3", "3", "3", "0", 1, 1, 2, 0, "100"),
        ("Europe", 1, "C2", "21", "21", "0", 3, 3, 14, 0, "58.33"),
        ("Europe", 2, "C1", "9", "21", "12", 2, 3, 13, 4, "25"),
    ]


@pytest.mark.slow
def test_only_ten_buyers_of_a_region_are_shown_and_equals_by_their_id(warehouse):
    open_shop(warehouse)
    lines = [sale(f"T{n:02}", quantity=max(n, 2), customer=f"C{n:02}") for n in range(12)]
    land_sales(warehouse, "2011-01-01T08", *lines)
    warehouse.run()
    assert warehouse.query("select rank, customer_id from bi.top_buyers_by_region") == [
        (1, "C11"), (2, "C10"), (3, "C09"), (4, "C08"), (5, "C07"), (6, "C06"), (7, "C05"), (8, "C04"), (9, "C03"),
        (10, "C00"),
    ]  # fmt: skip


def test_price_history_and_the_price_on_a_day(shop):
    assert whole(shop, "bi.price_history") == [
        ("A", 1, "Apple", "Fruit", JANUARY, FEBRUARY, False, "1.5", None, None, None),
        ("A", 2, "Apple", "Food", FEBRUARY, None, True, "3", "1.5", "1.5", "100"),
        ("B", 1, "Brush", "Home", JANUARY, None, True, "2", None, None, None),
        ("N", 1, "Nameless", "(none)", JANUARY, None, True, "0.5", None, None, None),
    ]
    days = ("2010-12-31", "2011-01-01", "2011-01-31", "2011-02-01", "2030-01-01")
    asked = [("A", day) for day in days] + [("a", "2011-01-01"), ("Z", "2011-01-01"), (None, "2011-01-01")]
    prices = [shop.query("select bi.price_on(%s, %s)", one) for one in asked]
    assert [shown(rows)[0][0] for rows in prices] == [None, "1.5", "1.5", "3", "3", None, None, None]


def test_anomalies_over_time_by_product_and_by_country_count_the_archive_too(shop):
    """Cases by hand: what the views show does not hang on how they were found."""
    cases = [
        # transaction, product, country, at, z, tier, status
        ("T1", "A", "GB", "2011-01-05 10:00:00", 2.5, "notice", "NEW"),
        ("T2", "B", "GB", "2011-01-05 10:00:00", 4.5, "warning", "REVIEWED"),
        ("T3", "A", "GB", "2011-01-31 23:59:59", 12.0, "critical", "FALSE_POSITIVE"),
        ("T9", "Z", "DE", "2011-03-01 00:00:00", 7.0, "warning", "NEW"),
    ]
    execute(
        shop,
        "insert into product_baselines (median_qty, order_count, period_start, period_end, method, level, p99_qty)"
        " values (1, 1, '2010-01-01', '2011-01-01', 'zscore', 'shop', 1)",
    )
    for case in cases:
        execute(
            shop,
            "insert into anomalies (transaction_id, stock_code, country_id, invoice_date, z_score, tier, status,"
            " order_id, quantity, median_qty, baseline_id)"
            " select %s, %s, %s, %s, %s, %s, %s, 'O', 1, 1, max(baseline_id) from product_baselines",
            case,
        )
    execute(shop, "insert into anomalies_archive select *, now() from anomalies where transaction_id = 'T1'")
    execute(shop, "update anomalies_archive set status = 'RESOLVED', z_score = 3.5")
    execute(shop, "delete from anomalies where transaction_id = 'T1'")

    z_of_a = (3.5, 7.75, pytest.approx(11.15), 12.0)
    z_of_gb, z_of_de = (3.5, 4.5, pytest.approx(10.5), 12.0, 0, 2, 0, 1), (7.0, 7.0, 7.0, 7.0, 0, 0, 1, 0)
    nothing = (0, 0, 0, 0, 0, 0, None, None, None, None, 0, 0, 0, 0)
    assert whole(shop, "bi.anomaly_trend") == [
        # day, sales, anomalies, of 1,000, critical, warning, notice, open, resolved, false, z min, median, p90, max,
        # below 3, to 5, to 10, from 10
        (date(2011, 1, 5), 2, 2, "1000", 0, 1, 1, 1, 1, 0, 3.5, 4.0, pytest.approx(4.4), 4.5, 0, 2, 0, 0),
        (date(2011, 1, 31), 3, 1, "333.33", 1, 0, 0, 0, 0, 1, 12.0, 12.0, 12.0, 12.0, 0, 0, 0, 1),
        (date(2011, 2, 1), 1, 0, "0", *nothing),
        (date(2011, 2, 2), 1, 0, "0", *nothing),
        (date(2011, 3, 1), 0, 1, None, 0, 1, 0, 1, 0, 0, 7.0, 7.0, 7.0, 7.0, 0, 0, 1, 0),
    ]
    assert whole(shop, "bi.anomaly_by_product") == [
        ("A", "Apple", "Food", "2011-01-31 23:59:59", 4, 2, "500", 1, 0, 1, 0, 1, 1, *z_of_a, 0, 1, 0, 1),
        ("B", "Brush", "Home", "2011-01-05 10:00:00", 2, 1, "500", 0, 1, 0, 1, 0, 0, 4.5, 4.5, 4.5, 4.5, 0, 1, 0, 0),
        ("Z", None, "(none)", "2011-03-01 00:00:00", 0, 1, None, 0, 1, 0, 1, 0, 0, 7.0, 7.0, 7.0, 7.0, 0, 0, 1, 0),
    ]
    assert whole(shop, "bi.anomaly_by_country") == [
        ("GB", "United Kingdom", "Europe", 54.0, -2.0, "2011-01-31 23:59:59", 4, 3, "750", 1, 1, 1, 1, 1, 1, *z_of_gb),
        ("DE", None, "(none)", None, None, "2011-03-01 00:00:00", 0, 1, None, 0, 1, 0, 1, 0, 0, *z_of_de),
        ("FR", "France", "Europe", 46.0, 2.0, None, 2, 0, "0", *nothing),
        ("XX", "Atlantis", "(none)", None, None, None, 1, 0, "0", *nothing),
    ]


@pytest.mark.slow
def test_a_shopper_tracks_a_sale_that_waits_and_then_is_confirmed(shop):
    as_shopper = "select transaction_id, status from shop.transaction_tracking order by 1"
    assert seen_by(shop, "C2", as_shopper) == [
        ("T4", "confirmed"), ("T7", "confirmed"), ("T8", "confirmed"), ("T9", "being verified"),
    ]  # fmt: skip
    land_masters(shop, "2011-02-02", (APPLE, BRUSH, "Z,New,Home,4,1"))
    shop.run()
    assert seen_by(shop, "C2", as_shopper)[-1] == ("T9", "confirmed")
    assert seen_by(shop, "C2", "select * from shop.purchase_history where transaction_id = 'T9'") == [
        ("O7", "T9", "2011-02-02 00:00:00", "Z", "New", "Home", 7, "4", "28", "GB")
    ]


@pytest.mark.slow
def test_summaries_follow_late_prices_replaced_files_and_what_goes_away(shop):
    assert_summaries_follow_the_facts(shop)

    # a late price in the middle of January, and a new country; some facts change, others come
    land_masters(shop, "2011-01-20", ("A,Apple,Fruit,9.99,1", BRUSH), (BRITAIN, FRANCE, NOWHERE, "DE,Germany,Europe,,"))
    land_sales(shop, "2011-01-31T20b", sale("T5", quantity=99, at="2010-12-31 00:00:00"), sale("T10", country="DE"))
    shop.run()
    assert_summaries_follow_the_facts(shop)
    before = {name: shop.query(f"select * from ops.{name}") for name in SUMMARIES}

    # a file replaced: most of its rows go, one changes its month, its customer and its order
    land_sales(shop, "2011-01-31T20", sale("T1", quantity=3, at="2011-03-05 10:00:00", customer="C9", order="O9"))
    shop.run(replace=True)
    assert_summaries_follow_the_facts(shop)
    assert shop.query("select count(*) from ops.sales_by_buyer where country_id in ('FR', 'XX')") == [(1,)]

    # and all goes
    for path in sorted((shop.landing / "transactions").iterdir()):
        shop.land(f"transactions/{path.name}", [], "transaction_id,order_id,stock_code,quantity,invoice_date")
    shop.run(replace=True)
    assert_summaries_follow_the_facts(shop)
    execute(shop, "call ops.rebuild_summaries()")
    assert_summaries_follow_the_facts(shop)
    assert all(before.values())


def test_a_gold_that_has_facts_and_no_summaries_gets_them_from_init(shop):
    from jobs import init_warehouse

    before = {name: ordered(shop.query(f"select * from ops.{name}")) for name in SUMMARIES}
    for name in SUMMARIES:
        execute(shop, f"drop table ops.{name} cascade")
    shop.job(init_warehouse.run)
    assert {name: ordered(shop.query(f"select * from ops.{name}")) for name in SUMMARIES} == before


def execute(warehouse: Warehouse, statement: str, arguments: Any = None) -> None:
    connection = warehouse.context().connect()
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, arguments)
    connection.close()


def seen_by(warehouse: Warehouse, customer: str, statement: str) -> Rows:
    connection = warehouse.context().connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("set local role shop_app")
        cursor.execute("select set_config('app.customer_id', %s, true)", (customer,))
        cursor.execute(statement)
        rows = cursor.fetchall()
    connection.close()
    return shown(rows)
