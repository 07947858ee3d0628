"""The jobs on executors that are processes of their own, as on a cluster: the same state as in one process."""

from datetime import date
from pathlib import Path

import pyspark
import pytest
from command_line import CommandLine
from harness import QUICK, assert_same_state
from small_shop import exit_code

from generators.synthetic import generate

pytestmark = pytest.mark.slow

EXECUTORS = {"0", "1"}  # each started once: none was lost and replaced


@pytest.fixture
def spark_home(tmp_path: Path) -> Path:
    """PySpark under another path: a local cluster's workers leave their folders in the SPARK_HOME of its driver."""
    home = tmp_path / "spark"
    home.mkdir()
    for part in ("bin", "jars", "python"):
        (home / part).symlink_to(Path(pyspark.__file__).with_name(part))
    return home


def tasks_finished(spark_home: Path) -> dict[str, int]:
    """Executor → the number of tasks that its log says it finished."""
    logs = spark_home.glob("work/app-*/*/stderr")
    return {log.parent.name: log.read_text().count(" INFO Executor: Finished task ") for log in logs}


def test_two_executor_processes_bring_the_warehouse_into_the_state_of_a_run_in_one_process(warehouse, spark_home):
    generate(warehouse.landing, seed=23, start=date(2011, 1, 4), days=2, rows_per_day=100, products=40, faults=True)
    code = exit_code(warehouse.run())
    expected = warehouse.state()
    assert all(expected.values()), "a frame without rows proves nothing"
    warehouse.reset()

    options = f'spark.sql.adaptive.enabled=true spark.executor.defaultJavaOptions="{QUICK}"'
    command = CommandLine(warehouse.home.folder, warehouse.landing, spark=options)
    said = command.run("run", SPARK_MASTER="local-cluster[2,1,1024]", SPARK_HOME=str(spark_home))

    assert said.code == code, said
    assert_same_state(warehouse.state(), expected)
    finished = tasks_finished(spark_home)
    assert finished.keys() == EXECUTORS and all(finished.values()), finished
