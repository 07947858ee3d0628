"""Literal rows as DataFrames, and their comparison: small, without a Python worker."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType


def frame(spark: SparkSession, schema: str, rows: Iterable[Sequence[Any]]) -> DataFrame:
    """Rows of a schema such as `code string, day date`."""
    fields = to_arrow_schema(StructType.fromDDL(schema))
    cells = [dict(zip(fields.names, row, strict=True)) for row in rows]
    return spark.createDataFrame(pa.Table.from_pylist(cells, fields), StructType.fromDDL(schema))


def assert_rows(actual: DataFrame, schema: str, *expected: Sequence[Any]) -> None:
    """The columns of the schema are in all rows what is expected, in any order; types too."""
    wanted = frame(actual.sparkSession, schema, expected)
    assert_df_equality(actual.select(*wanted.columns), wanted, ignore_row_order=True, ignore_nullable=True)
