"""The Iceberg tables: where they stand, what changed between two snapshots, MERGE."""

import zlib
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from warehouse.config import PROJECT
from warehouse.session import CATALOG

BRONZE, STAR = "ecommerce_db", "ecommerce_dw"
TABLES = {
    BRONZE: ("transactions_raw", "products_raw", "countries_raw", "products", "countries"),
    STAR: ("dim_products", "dim_countries", "dim_customers", "dim_dates", "fact_transactions"),
}


SCRIPT = PROJECT / "hive" / "init_hive.sql"


def create(spark: SparkSession) -> None:
    """Create what is missing of Bronze and the star schema."""
    lines = [line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if not line.startswith("--")]
    for statement in "\n".join(lines).split(";\n"):
        if statement.strip():
            spark.sql(statement.strip().rstrip(";"))


def drop(spark: SparkSession) -> None:
    """Drop Bronze and the star schema and clean up their folders, whatever is gone and whatever is left."""
    jvm: Any = spark._jvm
    catalog = spark._jsparkSession.sessionState().catalogManager().catalog(CATALOG).icebergCatalog()
    folders = jvm.org.apache.hadoop.fs.Path(spark.conf.get(f"spark.sql.catalog.{CATALOG}.warehouse"))
    for namespace, tables in TABLES.items():
        for table in tables:
            name = jvm.org.apache.iceberg.catalog.TableIdentifier.parse(f"{namespace}.{table}")
            catalog.dropTable(name, True)
            for parent in (f"{namespace}.db", namespace):  # as the Hive metastore names it, and as other catalogs do
                delete_folder(spark, jvm.org.apache.hadoop.fs.Path(folders, f"{parent}/{table}").toString())


def make_folder(spark: SparkSession, uri: str) -> None:
    """Make a folder, and those that it is in, where they are missing."""
    system, path = _file(spark, uri)
    system.mkdirs(path)


def delete_folder(spark: SparkSession, uri: str) -> None:
    """Delete a folder and all that is in it, where there is one."""
    system, path = _file(spark, uri)
    system.delete(path, True)


def _file(spark: SparkSession, uri: str) -> tuple[Any, Any]:
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(uri)
    return path.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf()), path


def snapshot_id(spark: SparkSession, table: str) -> int | None:
    """The current snapshot of a table; None while it is empty."""
    snapshot = _iceberg(spark, table).currentSnapshot()
    return None if snapshot is None else int(snapshot.snapshotId())


def identity(spark: SparkSession, namespace: str) -> int | None:
    """Tells the tables of a namespace from others of the same names; None where one is missing."""
    tables = [f"{namespace}.{table}" for table in TABLES[namespace]]
    if not all(spark.catalog.tableExists(f"{CATALOG}.{table}") for table in tables):
        return None
    return zlib.crc32(" ".join(str(_iceberg(spark, table).uuid()) for table in tables).encode())


def has_snapshot(spark: SparkSession, table: str, snapshot: int | None) -> bool:
    """Whether a snapshot can still be read."""
    return snapshot is not None and _iceberg(spark, table).snapshot(snapshot) is not None


def _iceberg(spark: SparkSession, table: str) -> Any:
    jvm: Any = spark._jvm
    return jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(spark._jsparkSession, f"{CATALOG}.{table}")


def read(spark: SparkSession, table: str, snapshot: int | None = None) -> DataFrame:
    """A table, as of a snapshot where one is given."""
    reader = spark.read.format("iceberg")
    if snapshot is not None:
        reader = reader.option("versionAsOf", snapshot)
    return reader.load(f"{CATALOG}.{table}")


def changes(spark: SparkSession, table: str, since: int | None, until: int) -> DataFrame:
    """The rows that came (`_weight` 1) and went (-1) between two snapshots.

    A row that was only rewritten comes and goes. Where `since` is None or can no longer be read, every
    row has come: whoever follows the table starts anew.
    """
    if not has_snapshot(spark, table, since):
        return read(spark, table, until).withColumn("_weight", F.lit(1))
    return (
        spark.read.format("iceberg")
        .option("start-snapshot-id", since)
        .option("end-snapshot-id", until)
        .load(f"{CATALOG}.{table}.changes")
        .withColumn("_weight", F.when(F.col("_change_type") == "INSERT", 1).otherwise(-1))
        .drop("_change_type", "_change_ordinal", "_commit_snapshot_id")
    )


def append(rows: DataFrame, table: str) -> None:
    """Add rows, as one commit."""
    rows.writeTo(f"{CATALOG}.{table}").append()


def overwrite(spark: SparkSession, table: str, rows: DataFrame | None) -> None:
    """Replace all rows of a table (None: by nothing), as one commit."""
    rows = read(spark, table).limit(0) if rows is None else rows
    rows.writeTo(f"{CATALOG}.{table}").overwrite(F.lit(True))


def row_count(spark: SparkSession, table: str) -> int:
    """The rows of a table, from its metadata."""
    return _total(spark, table, "records")


def file_count(spark: SparkSession, table: str) -> int:
    """The data files of a table, from its metadata."""
    return _total(spark, table, "data-files")


def _total(spark: SparkSession, table: str, what: str) -> int:
    snapshot = _iceberg(spark, table).currentSnapshot()
    return 0 if snapshot is None else int(snapshot.summary().get(f"total-{what}"))


def snapshots_before(spark: SparkSession, table: str, instant: datetime) -> int:
    """How many snapshots of a table are older, the newest left out."""
    iceberg = _iceberg(spark, table)
    times = [snapshot.timestampMillis() / 1000 for snapshot in iceberg.snapshots()]
    return sum(time < instant.timestamp() for time in sorted(times)[:-1])


def release(spark: SparkSession) -> None:
    """Free every cached frame.

    By name none would be found any more: a commit to a table replaces the cached frames that read it, and
    those would be planned anew at each later commit, long after the snapshots that they read are gone.
    """
    spark.catalog.clearCache()


def merge(differences: DataFrame, table: str, key: str, condition: str = "true") -> None:
    """Apply differences (`op` U or D, and the table's columns) by `key`, as one commit.

    `condition` on the target `t` says where matching rows can be, so that the rest is not read.
    """
    target = table.rpartition(".")[2]
    columns = [c for c in differences.columns if c != "op"]
    values = {c: F.col(f"s.{c}") for c in columns}
    matches = (F.col(f"{target}.{key}") == F.col(f"s.{key}")) & F.expr(condition.replace("t.", f"{target}."))
    (
        differences.alias("s")
        .mergeInto(f"{CATALOG}.{table}", matches)
        .whenMatched(F.col("s.op") == "D")
        .delete()
        .whenMatched()
        .update(values)
        .whenNotMatched(F.col("s.op") == "U")
        .insert(values)
        .merge()
    )
