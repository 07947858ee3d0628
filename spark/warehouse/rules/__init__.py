"""The business rules: pure functions from DataFrame to DataFrame."""

from collections.abc import Iterable, Mapping

from pyspark.sql import Column

LONGEST_CODE = 255
"""Characters of an identifier: what an index of Postgres can hold, two of them in one, in any alphabet."""


def with_values(names: Iterable[str], values: Mapping[str, Column]) -> list[Column | str]:
    """Columns by their names, some with values given here: for one `select`.

    Spark analyzes a frame as soon as it is built, and so with every `withColumn` all that is below it.
    """
    return [values[name].alias(name) if name in values else name for name in names]
