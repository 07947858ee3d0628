"""The star schema's rows, from Gold's facts."""

from datetime import date

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

GUEST_SK = 0


def customer_sk() -> Column:
    """The surrogate key of a customer: a function of the business key; 0 for a guest."""
    return F.when(F.col("customer_id").isNull(), F.lit(GUEST_SK).cast("long")).otherwise(F.xxhash64("customer_id"))


def country_sk() -> Column:
    """The surrogate key of a country: a function of the business key."""
    return F.xxhash64("country_id")


def guest(spark: SparkSession) -> DataFrame:
    """The row of dim_customers that stands for all guests."""
    return spark.sql(
        f"select cast({GUEST_SK} as bigint) as customer_sk, cast(null as string) as customer_id,"
        " cast(null as string) as country_id, cast(null as date) as first_purchase_date,"
        " cast(null as date) as last_purchase_date"
    )


def fact_rows(facts: DataFrame) -> DataFrame:
    """Gold's facts as rows of the star's fact table, one each; dates are UTC."""
    return facts.select(
        "transaction_id",
        "product_sk",
        customer_sk().alias("customer_sk"),
        F.date_format("invoice_date", "yyyyMMdd").cast("int").alias("date_sk"),
        country_sk().alias("country_sk"),
        "quantity",
        "unit_price",
        "total_amount",
        F.year("invoice_date").alias("year"),
        F.month("invoice_date").alias("month"),
    )


def date_rows(spark: SparkSession, first: date, last: date) -> DataFrame:
    """Every day from `first` to `last`, both included."""
    days = spark.range((last - first).days + 1).select(F.date_add(F.lit(first), F.col("id").cast("int")).alias("date"))
    return days.select(
        F.date_format("date", "yyyyMMdd").cast("int").alias("date_sk"),
        "date",
        F.year("date").alias("year"),
        F.quarter("date").alias("quarter"),
        F.month("date").alias("month"),
        F.dayofmonth("date").alias("day"),
        F.weekofyear("date").alias("week"),
        (F.weekday("date") + 1).alias("day_of_week"),
        F.date_format("date", "MMMM").alias("month_name"),
        F.date_format("date", "EEEE").alias("day_name"),
        (F.weekday("date") >= 5).alias("is_weekend"),
    )
