"""Show Java once what a run loads, so that later starts map those classes from an archive (JEP 350).

Only speed depends on it: Java passes over an archive that does not fit it or its jars.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import date
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark import SparkContext

from generators.synthetic import generate
from warehouse import cli, embedded, java

AWAY = "127.0.0.1:1"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.class_archive", description=__doc__)
    parser.add_argument("--cluster", action="store_true", help="show it rows, too, and a cluster's clients: 30 s more")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run(arguments.cluster)
    else:
        make(arguments.cluster)


def make(cluster: bool) -> None:
    """Leave the archive where sessions look for it."""
    archive = java.class_archive()
    archive.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="warehouse-setup-") as folder:
        home, fresh = Path(folder) / "home", Path(folder) / archive.name
        environment = {name: value for name, value in os.environ.items() if name not in ("GOLD_URL", "LANDING_URI")}
        environment |= {
            "PYTHONPATH": str(java.PROJECT),
            "WAREHOUSE_HOME": str(home),
            "WAREHOUSE_SPARK_OPTIONS": f"{os.environ.get('WAREHOUSE_SPARK_OPTIONS', '')}"
            f' spark.driver.defaultJavaOptions="-XX:ArchiveClassesAtExit={fresh} -XX:TieredStopAtLevel=1"',
        }
        if cluster:
            generate(home / "landing", seed=1, start=date(2011, 1, 4), days=2, rows_per_day=20, products=9, customers=9)
        try:
            # Java ends after the command, and closes its output last
            command = [sys.executable, "-m", "scripts.class_archive", "--run", *(["--cluster"] if cluster else [])]
            subprocess.run(command, cwd=folder, env=environment, capture_output=True)
        finally:
            embedded.stop_gold(home)
        if fresh.exists():
            shutil.move(fresh, archive)


def run(cluster: bool) -> None:
    """What Java is to be shown."""
    cli.main(["run"])
    if not cluster:
        return
    jvm = SparkContext._jvm
    assert jvm is not None
    settings = jvm.org.apache.hadoop.conf.Configuration()
    for name, value in {
        "ipc.client.connect.max.retries": "0",
        "hive.metastore.connect.retries": "1",
        "hive.metastore.failure.retries": "0",
        "hive.metastore.client.connect.retry.delay": "0s",
    }.items():
        settings.set(name, value)
    root = jvm.org.apache.hadoop.fs.Path(f"hdfs://{AWAY}/")
    metastore = jvm.org.apache.iceberg.hive.HiveCatalog()
    metastore.setConf(settings)
    metastore.initialize("away", {"uri": f"thrift://{AWAY}"})
    with suppress(Py4JJavaError):
        root.getFileSystem(settings).exists(root)
    with suppress(Py4JJavaError):
        metastore.listNamespaces()


if __name__ == "__main__":
    main()
