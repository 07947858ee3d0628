"""What broke, in one line: service, address, what to do."""

from pathlib import Path
from types import SimpleNamespace

import psycopg2
import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from warehouse.config import load
from warehouse.faults import explain
from warehouse.session import Context

AGAIN = "Nothing was half-written; run the same command again."
CLUSTER = "postgresql://etl:secret@gold.shop:6543/ecommerce_gold"
REFUSED = "java.net.ConnectException: Connection refused"


class JavaError(Py4JJavaError):
    """An error of the Java side as Py4J shows it, without a Java side."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


class SparkError(PySparkException):
    """An error that PySpark translated, with the stack trace that it keeps."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace

    def getStackTrace(self) -> str:  # noqa: N802 - PySpark's name
        return self.trace


def said(error: Exception, gold_url: str = CLUSTER, landing_uri: str = "", metastore: str = "") -> str:
    context = Context(load({"GOLD_URL": gold_url, "LANDING_URI": landing_uri}, Path(__file__).parent))
    if metastore:
        context.__dict__["spark"] = SimpleNamespace(conf=SimpleNamespace(get=lambda name, default: metastore))
    explained = explain(error, context)
    assert explained.exit_code == 1
    assert "\n" not in str(explained)
    assert "secret" not in str(explained)
    return str(explained)


def test_gold_away_names_its_host_and_port():
    error = psycopg2.OperationalError('connection to server at "gold.shop", port 6543 failed: refused\n\tIs it up?')
    assert said(error) == (
        "Gold (Postgres) at gold.shop:6543 is away:"
        f' connection to server at "gold.shop", port 6543 failed: refused. {AGAIN}'
    )


def test_gold_away_without_a_port_in_its_url_names_the_usual_one():
    assert "at gold.shop:5432 is away" in said(
        psycopg2.OperationalError("refused"), "postgresql://gold.shop/ecommerce_gold"
    )


def test_the_embedded_gold_away_names_its_log():
    assert said(psycopg2.OperationalError(""), "").startswith(
        "Gold (Postgres) at 127.0.0.1:0 (its log: postgres/server.log in WAREHOUSE_HOME) is away: "
    )


@pytest.mark.parametrize(
    "refusal",
    [
        'connection to server at "gold.shop", port 6543 failed: FATAL:  password authentication failed for user "etl"',
        'connection to server at "gold.shop", port 6543 failed: FATAL:  database "ecommerce_gold" does not exist',
    ],
)
def test_gold_that_refuses_is_not_told_as_away(refusal):
    assert said(psycopg2.OperationalError(refusal)) == f"Gold (Postgres) at gold.shop:6543: {refusal}. {AGAIN}"


def test_gold_that_shuts_down_is_away():
    shutting = "FATAL:  terminating connection due to administrator command\nSSL connection has been closed"
    assert "gold.shop:6543 is away: FATAL:  terminating connection" in said(psycopg2.OperationalError(shutting))


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (
            'OperationalError: connection to server at "gold.shop" (10.0.0.2), port 6543 failed: Connection refused',
            ' is away: connection to server at "gold.shop" (10.0.0.2), port 6543 failed: Connection refused',
        ),
        (
            "OperationalError: server closed the connection unexpectedly",
            " is away: server closed the connection unexpectedly",
        ),
        (
            "errors.AdminShutdown: terminating connection due to administrator command",
            " is away: terminating connection due to administrator command",
        ),
        (
            'errors.DiskFull: could not extend file "base/1/2": No space left on device',
            ': could not extend file "base/1/2": No space left on device',
        ),
    ],
)
def test_gold_that_fails_an_executor_is_told_as_what_it_says(raised, told):
    error = SparkError(
        "Job aborted due to stage failure: Task 1 in stage 8.0 failed 4 times:"
        " org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n"
        '  File "/opt/warehouse/spark/warehouse/gold.py", line 170, in _copy_part\n'
        f"    with closing(psycopg2.connect(url)) as connection:\npsycopg2.{raised}\n\tIs the server running?\n\n"
        "\tat org.apache.spark.api.python.BasePythonRunner.handlePythonException(PythonRunner.scala:1)"
    )
    assert said(error) == f"Gold (Postgres) at gold.shop:6543{told}. {AGAIN}"


@pytest.mark.parametrize("kind", [JavaError, SparkError])
def test_gold_away_from_spark_names_its_host_and_port(kind):
    error = kind(f"org.postgresql.util.PSQLException: Connection to gold.shop:6543 refused.\nCaused by: {REFUSED}")
    assert said(error) == f"Postgres at gold.shop:6543 is away. {AGAIN}"


def test_a_cause_that_stands_in_the_stack_trace_alone_is_found():
    error = SparkError("Job aborted", f"org.postgresql.util.PSQLException\nCaused by: {REFUSED}")
    assert said(error) == f"Postgres at gold.shop:6543 is away. {AGAIN}"


@pytest.mark.parametrize(
    "text",
    [
        f"Call From worker/10.0.0.5 to namenode:8020 failed on connection exception: {REFUSED}",
        "java.net.NoRouteToHostException: No Route to Host from worker/10.0.0.5 to namenode:8020 failed",
        "java.net.UnknownHostException: Invalid host name: local host is: (unknown);"
        ' destination host is: "namenode":8020; java.net.UnknownHostException',
        "org.apache.hadoop.net.ConnectTimeoutException: Call From worker/10.0.0.5 to namenode:8020 failed on socket"
        " timeout exception: SocketTimeoutException",
    ],
)
def test_hdfs_away_names_its_host_and_port(text):
    assert said(JavaError(text)) == f"HDFS at namenode:8020 is away. {AGAIN}"


def test_a_host_that_nobody_knows_is_named():
    error = JavaError("java.lang.IllegalArgumentException: java.net.UnknownHostException: namenode\n\tat a.b")
    assert said(error) == f"HDFS at namenode is away. {AGAIN}"


def test_a_host_that_nobody_knows_is_named_with_the_port_of_the_landing_zone():
    error = JavaError(
        "java.lang.IllegalArgumentException: java.net.UnknownHostException: namenode\n"
        "\tat a.DirectConstructorAccessorImpl.b(DirectConstructorAccessorImpl.java:77)"
    )
    assert said(error, landing_uri="hdfs://namenode:8020/landing") == f"HDFS at namenode:8020 is away. {AGAIN}"


def test_the_metastore_away_is_named_with_the_address_that_the_session_knows():
    error = JavaError(f"MetaException: Could not connect to Hive meta store using any of the URIs provided. {REFUSED}")
    assert said(error, metastore="thrift://ms:9083") == f"the metastore at ms:9083 is away. {AGAIN}"


def test_hdfs_away_under_a_table_of_the_metastore_is_hdfs():
    trace = (
        f"Call From worker/10.0.0.5 to namenode:8020 failed on connection exception: {REFUSED}\n"
        "\tat org.apache.iceberg.hive.HiveTableOperations.doRefresh(HiveTableOperations.java:153)"
    )
    assert said(SparkError("Failed to read", trace)) == f"HDFS at namenode:8020 is away. {AGAIN}"


def test_the_metastore_away_is_named_with_its_address_where_it_is_told():
    error = JavaError(f"org.apache.thrift.transport.TTransportException: thrift://metastore:9083 {REFUSED}")
    assert said(error) == f"the metastore at metastore:9083 is away. {AGAIN}"
    error = JavaError(f"MetaException: Could not connect to Hive meta store using any of the URIs provided. {REFUSED}")
    assert said(error) == f"the metastore is away. {AGAIN}"


@pytest.mark.parametrize(
    "text",
    [
        "RemoteException: File /warehouse/a could only be written to 0 of the 1 minReplication nodes.",
        "org.apache.hadoop.hdfs.BlockMissingException: Could not obtain block: BP-1 file=/landing/a",
    ],
)
def test_hdfs_without_a_datanode_is_told_as_such(text):
    error = SparkError("Job aborted", f"java.io.IOException\nCaused by: {text}")
    assert said(error, landing_uri="hdfs://namenode:8020/landing") == (
        f"HDFS at namenode:8020: no datanode is there. {AGAIN}"
    )


def test_a_master_that_spark_gave_up_on_is_away():
    error = JavaError("java.lang.IllegalStateException: Cannot call methods on a stopped SparkContext.\n\tat a.B(C)")
    assert said(error).startswith("Spark's master") and f"is away. {AGAIN}" in said(error)


def test_another_java_error_is_told_by_its_innermost_cause():
    error = JavaError(
        "An error occurred while calling o1.save.\n: org.apache.spark.SparkException: Job aborted\n"
        "\tat org.apache.spark.Some.method(Some.scala:1)\nCaused by: java.io.IOException: wrapped\n"
        "\tat org.apache.spark.Other.method(Other.scala:2)\nCaused by: java.io.IOException: No space left on device.\n"
    )
    assert said(error) == f"java.io.IOException: No space left on device. {AGAIN}"


def test_a_java_error_without_a_cause_is_told_by_its_first_line():
    error = JavaError(
        "An error occurred while calling o1.save.\n: org.apache.spark.SparkException: Job aborted\n\tat a.b"
    )
    assert said(error) == f"org.apache.spark.SparkException: Job aborted. {AGAIN}"
    assert said(SparkError("[DIVIDE_BY_ZERO] Division by zero.\nat line 1")) == (
        f"[DIVIDE_BY_ZERO] Division by zero. {AGAIN}"
    )


def test_an_error_without_any_text_still_says_something():
    assert said(JavaError("")) == f"Spark failed. {AGAIN}"
    assert said(OSError()) == f"OSError(). {AGAIN}"


def test_any_other_error_keeps_its_first_line():
    assert said(OSError("disk full.\nsecond line")) == f"disk full. {AGAIN}"
