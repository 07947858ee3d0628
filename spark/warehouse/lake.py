"""The Iceberg tables: where they stand, what changed between two snapshots, MERGE."""

import re
import zlib
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from warehouse.config import PROJECT
from warehouse.errors import WarehouseError
from warehouse.session import CATALOG, java_class

BRONZE, STAR = "ecommerce_db", "ecommerce_dw"
TABLES = {
    BRONZE: ("transactions_raw", "products_raw", "countries_raw", "products", "countries"),
    STAR: ("dim_products", "dim_countries", "dim_customers", "dim_dates", "fact_transactions"),
}


SCRIPT = PROJECT / "hive" / "init_hive.sql"
# up to this size, in bytes, a merge writes a table anew sooner than it finds which of its files hold a match
SMALL = 2**20
SEARCH = "spark.sql.optimizer.runtime.rowLevelOperationGroupFilter.enabled"
# what Spark's parser makes of a statement that changes something, and does not call a command
WRITES = ("InsertIntoStatement", "InsertIntoDir", "Call", "UnresolvedExecuteImmediate")


def create(spark: SparkSession) -> list[str]:
    """Create what is missing of Bronze and the star schema; the tables that the catalog had lost and has again."""
    lines = [line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if not line.startswith("--")]
    found = []
    for statement in "\n".join(lines).split(";\n"):
        table = re.match(r"\s*create table if not exists (\S+)", statement)
        if table and _register_again(spark, table[1]):
            found.append(table[1])
        if statement.strip():
            spark.sql(statement.strip().rstrip(";"))
    return found


def drop(spark: SparkSession) -> None:
    """Drop Bronze and the star schema and clean up their folders, whatever is gone and whatever is left."""
    for namespace, tables in TABLES.items():
        for table in tables:
            # the files go with the folder: Iceberg itself stumbles over what a restored table's history has lost
            _catalog(spark).dropTable(_identifier(spark, f"{namespace}.{table}"), False)
            for folder in _folders(spark, f"{namespace}.{table}"):
                delete_folder(spark, folder)


def _catalog(spark: SparkSession) -> Any:
    return spark._jsparkSession.sessionState().catalogManager().catalog(CATALOG).icebergCatalog()


def _identifier(spark: SparkSession, table: str) -> Any:
    return java_class(spark, "org.apache.iceberg.catalog.TableIdentifier").parse(table)


def _folders(spark: SparkSession, table: str) -> list[str]:
    """Where a table's files may be: as the Hive metastore names its folder, and as other catalogs do."""
    warehouse = str(spark.conf.get(f"spark.sql.catalog.{CATALOG}.warehouse")).rstrip("/")
    namespace, name = table.split(".")
    return [f"{warehouse}/{parent}/{name}" for parent in (f"{namespace}.db", namespace)]


@dataclass(frozen=True)
class Description:
    """The file that says all about a table as it stood once, with what is in it: what a catalog points to."""

    location: str
    text: str


def description(spark: SparkSession, table: str) -> Description:
    """Of a table as it stands now."""
    location = str(_iceberg(spark, table).operations().current().metadataFileLocation())
    return Description(location, _text(spark, location))


def lost_file(spark: SparkSession, described: Description) -> str | None:
    """A file that is needed to read a table as it is described, and that is gone; None where all are there."""
    io_class = java_class(spark, "org.apache.iceberg.hadoop.HadoopFileIO")
    io = io_class(spark._jsparkSession.sessionState().newHadoopConf())
    metadata = _parsed(spark, described)
    snapshot = metadata.currentSnapshot()
    if snapshot is None:
        return None

    def gone(path: str) -> bool:
        return not io.newInputFile(path).exists()

    if gone(snapshot.manifestListLocation()):
        return str(snapshot.manifestListLocation())
    if lost := next(filter(gone, [str(manifest.path()) for manifest in snapshot.allManifests(io)]), None):
        return lost
    operations = java_class(spark, "org.apache.iceberg.StaticTableOperations")(metadata, io)
    table = java_class(spark, "org.apache.iceberg.BaseTable")(operations, "described")
    files = (str(task.file().location()) for task in table.newScan().planFiles().iterator())
    return next(filter(gone, files), None)


def _parsed(spark: SparkSession, described: Description) -> Any:
    return java_class(spark, "org.apache.iceberg.TableMetadataParser").fromJson(described.location, described.text)


def put_back(spark: SparkSession, described: Description) -> None:
    """Let the file that describes a table be there, and be its newest."""
    system, path = _file(spark, described.location)
    if system.exists(path):
        system.setTimes(path, java_class(spark, "java.lang.System").currentTimeMillis(), -1)
        return
    with closing(system.create(path, False)) as stream:
        stream.write(bytearray(described.text.encode()))


def forget_lost_snapshots(spark: SparkSession, table: str) -> None:
    """Take out of a table's history what cannot be read any more, on which expiring snapshots would fail.

    A restored table's history has what was expired after the back-up.
    """
    loaded = _iceberg(spark, table)
    lost = [
        snapshot.snapshotId()
        for snapshot in loaded.snapshots().iterator()
        if not loaded.io().newInputFile(snapshot.manifestListLocation()).exists()
    ]
    if lost:
        expiry = loaded.expireSnapshots().cleanExpiredFiles(False)
        for snapshot in lost:
            expiry = expiry.expireSnapshotId(snapshot)
        expiry.commit()


def _register_again(spark: SparkSession, table: str) -> bool:
    """Tell a catalog that has lost a table where it stood last; false where there is none to be found.

    What is newest counts, of what is whole: a file that was cut short describes nothing. An older one would bring
    back a table without its last rows, and say nothing of it.
    """
    identifier = _identifier(spark, table)
    if _catalog(spark).tableExists(identifier):
        return False
    files = sorted((file for folder in _folders(spark, table) for file in _metadata_files(spark, folder)), reverse=True)
    for _, location in files:
        described = Description(location, _text(spark, location))
        try:
            _parsed(spark, described)
        except Py4JJavaError:
            continue
        if lost := lost_file(spark, described):
            raise WarehouseError(
                f"the catalog has lost {table}, and files of it are gone ({lost}). It was left as it is;"
                " `init --reset` begins anew."
            )
        _catalog(spark).registerTable(identifier, location)
        return True
    return False


def _metadata_files(spark: SparkSession, folder: str) -> list[tuple[int, str]]:
    """The files in a table's folder that describe it, each with when it was written."""
    system, path = _file(spark, f"{folder}/metadata")
    found = system.listStatus(path) if system.exists(path) else ()
    files = [(int(status.getModificationTime()), str(status.getPath().toString())) for status in found]
    return [file for file in files if file[1].endswith(".metadata.json")]


def _text(spark: SparkSession, uri: str) -> str:
    system, path = _file(spark, uri)
    with closing(system.open(path)) as stream:
        return str(java_class(spark, "org.apache.commons.io.IOUtils").toString(stream, "UTF-8"))


def make_folder(spark: SparkSession, uri: str) -> None:
    """Make a folder, and those that it is in, where they are missing."""
    system, path = _file(spark, uri)
    system.mkdirs(path)


def delete_folder(spark: SparkSession, uri: str) -> None:
    """Delete a folder and all that is in it, where there is one."""
    system, path = _file(spark, uri)
    system.delete(path, True)


def _file(spark: SparkSession, uri: str) -> tuple[Any, Any]:
    path = java_class(spark, "org.apache.hadoop.fs.Path")(uri)
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
    loader = java_class(spark, "org.apache.iceberg.spark.Spark3Util")
    return loader.loadIcebergTable(spark._jsparkSession, f"{CATALOG}.{table}")


def read(spark: SparkSession, table: str, snapshot: int | None = None) -> DataFrame:
    """A table, as of a snapshot where one is given."""
    reader = spark.read if snapshot is None else spark.read.option("versionAsOf", snapshot)
    return reader.table(f"{CATALOG}.{table}")


def changes(spark: SparkSession, table: str, since: int | None, until: int) -> DataFrame:
    """The rows that came (`_weight` 1) and went (-1) between two snapshots.

    A row that was only rewritten comes and goes. Where `since` is None or can no longer be read, every
    row has come; what went is not known then.
    """
    if not has_snapshot(spark, table, since):
        return read(spark, table, until).withColumn("_weight", F.lit(1))
    feed = (
        spark.read.option("start-snapshot-id", since)
        .option("end-snapshot-id", until)
        .table(f"{CATALOG}.{table}.changes")
    )
    columns = [c for c in feed.columns if c not in ("_change_type", "_change_ordinal", "_commit_snapshot_id")]
    return feed.select(*columns, F.when(F.col("_change_type") == "INSERT", 1).otherwise(-1).alias("_weight"))


def is_query(spark: SparkSession, statement: str) -> bool:
    """Whether a statement only reads. Raises PySpark's ParseException."""
    command = java_class(spark, "java.lang.Class").forName("org.apache.spark.sql.catalyst.plans.logical.Command")
    plans = [spark._jsparkSession.sessionState().sqlParser().parsePlan(statement)]
    if plans[0].getClass().getSimpleName().startswith(("Show", "Describe", "Explain")):
        return True
    while plans:
        plan = plans.pop()
        if command.isInstance(plan) or plan.getClass().getSimpleName() in WRITES:
            return False
        plans += [plan.children().apply(i) for i in range(plan.children().size())]
    return True


def append(rows: DataFrame, table: str) -> None:
    """Add rows, as one commit."""
    rows.writeTo(f"{CATALOG}.{table}").append()


def overwrite(spark: SparkSession, table: str, rows: DataFrame | None) -> None:
    """Replace all rows of a table (None: by nothing), as one commit."""
    if rows is not None or row_count(spark, table):
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

    `condition` on the target `t` says where matching rows can be, so that the rest is not read. An empty table
    has none.
    """
    spark, target = differences.sparkSession, table.rpartition(".")[2]
    columns = [c for c in differences.columns if c != "op"]
    size = _total(spark, table, "files-size")
    if not size:
        append(differences.where("op = 'U'").select(*columns), table)
        return
    spark.conf.set(SEARCH, size > SMALL)
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
