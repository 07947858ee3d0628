"""The star schema's rows, from literal facts."""

from datetime import date, datetime
from decimal import Decimal

from frames import assert_rows, frame

from warehouse.rules import star

SK_17850, SK_017850, SK_GB = -3353835496113539356, -3302635008577164097, -4547709431586062253
"""xxhash64 of '17850', '017850' and 'GB'."""
FACT = (
    "transaction_id string, invoice_date timestamp_ntz, product_sk long, quantity int, unit_price decimal(12,4),"
    " total_amount decimal(18,4), customer_id string, country_id string, batch_id string"
)
ROW = (
    "transaction_id string, product_sk long, customer_sk long, date_sk int, country_sk long, quantity int,"
    " unit_price decimal(12,4), total_amount decimal(18,4), year int, month int"
)
DATE = (
    "date_sk int, date date, year int, quarter int, month int, day int, week int, day_of_week int,"
    " month_name string, day_name string, is_weekend boolean"
)


def fact(transaction_id: str, at: str, customer_id: str | None, quantity: int = 2) -> tuple[object, ...]:
    amount = Decimal("12.5000") * quantity
    when = datetime.fromisoformat(at)
    return transaction_id, when, 7, quantity, Decimal("12.5000"), amount, customer_id, "GB", "2011-01-04T08"


def test_a_fact_is_one_row_with_keys_made_of_its_business_keys_and_its_utc_date(spark):
    price = Decimal("12.5000")
    facts = [
        fact("T1", "2011-01-04 08:26:00", "17850"),
        fact("T2", "2011-12-31 23:59:59", None),
        fact("T3", "2012-02-29 00:00:00", "17850", quantity=-2),
        fact("T4", "2011-03-27 01:30:00", "017850"),
    ]
    assert_rows(
        star.fact_rows(frame(spark, FACT, facts)),
        ROW,
        ("T1", 7, SK_17850, 20110104, SK_GB, 2, price, Decimal("25.0000"), 2011, 1),
        ("T2", 7, 0, 20111231, SK_GB, 2, price, Decimal("25.0000"), 2011, 12),
        ("T3", 7, SK_17850, 20120229, SK_GB, -2, price, Decimal("-25.0000"), 2012, 2),
        ("T4", 7, SK_017850, 20110327, SK_GB, 2, price, Decimal("25.0000"), 2011, 3),
    )


def test_a_fact_row_has_the_columns_of_the_table_and_their_types(spark):
    assert_rows(star.fact_rows(frame(spark, FACT, [])), ROW)


def test_surrogate_keys_are_spark_s_hash_of_the_business_key(spark):
    by_spark = spark.sql("select xxhash64('17850'), xxhash64('017850'), xxhash64('GB')").head()
    assert tuple(by_spark) == (SK_17850, SK_017850, SK_GB)


def test_the_guest_is_a_row_of_dim_customers_with_key_0_and_nothing_else(spark):
    assert_rows(
        star.guest(spark),
        "customer_sk long, customer_id string, country_id string, first_purchase_date date, last_purchase_date date",
        (0, None, None, None, None),
    )


def test_every_day_has_a_row_over_a_leap_day(spark):
    assert_rows(
        star.date_rows(spark, date(2012, 2, 28), date(2012, 3, 1)),
        DATE,
        (20120228, date(2012, 2, 28), 2012, 1, 2, 28, 9, 2, "February", "Tuesday", False),
        (20120229, date(2012, 2, 29), 2012, 1, 2, 29, 9, 3, "February", "Wednesday", False),
        (20120301, date(2012, 3, 1), 2012, 1, 3, 1, 9, 4, "March", "Thursday", False),
    )


def test_weeks_are_those_of_iso_8601_over_new_year(spark):
    assert_rows(
        star.date_rows(spark, date(2010, 12, 31), date(2011, 1, 3)),
        DATE,
        (20101231, date(2010, 12, 31), 2010, 4, 12, 31, 52, 5, "December", "Friday", False),
        (20110101, date(2011, 1, 1), 2011, 1, 1, 1, 52, 6, "January", "Saturday", True),
        (20110102, date(2011, 1, 2), 2011, 1, 1, 2, 52, 7, "January", "Sunday", True),
        (20110103, date(2011, 1, 3), 2011, 1, 1, 3, 1, 1, "January", "Monday", False),
    )


def test_one_day_is_one_row_and_a_year_is_all_its_days(spark):
    assert_rows(
        star.date_rows(spark, date(2012, 12, 31), date(2012, 12, 31)),
        DATE,
        (20121231, date(2012, 12, 31), 2012, 4, 12, 31, 1, 1, "December", "Monday", False),
    )
    year = [row["date_sk"] for row in star.date_rows(spark, date(2012, 1, 1), date(2012, 12, 31)).collect()]
    assert len(set(year)) == len(year) == 366
