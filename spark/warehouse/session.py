"""What a job works with: its settings, clock, Spark session, Gold connection and voice."""

import importlib
import logging
import os
import secrets
import signal
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partialmethod
from math import inf
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from py4j.java_collections import ListConverter
from py4j.java_gateway import JavaClass, JavaMember
from pyspark.accumulators import AccumulatorUnixServer
from pyspark.sql import SparkSession

from warehouse import embedded, java
from warehouse.config import PROJECT, Config

CATALOG = "lake"
GOLD_DATABASE = "ecommerce_gold"
CATALOG_DATABASE = "ecommerce_lake"
# Java's first compiler alone: little runs often enough to be worth its second. With the room for code that both have:
# in the fifth of it that the first one gets alone, code is thrown out, and compiled again and again
QUICK = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
QUICK_BYTES = 32_000_000  # some 400,000 transactions
GZIP_RATIO = 5  # of landing files
WHOLE_HISTORY = ("baselines", "maintain", "sql")  # jobs whose work is not told by what has landed


class SimulatedCrash(BaseException):
    """Ends a run at a failpoint as a kill would, without ending the process (tests only)."""


@dataclass
class Context:
    """One invocation. Its session and connection are opened when first used."""

    config: Config
    job: str = "warehouse"
    say: Callable[[str], None] = lambda message: print(message, file=sys.stderr)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    run_id: str = ""
    shared_spark: SparkSession | None = None
    _opened: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.run_id = self.run_id or self.config.run_id or new_run_id(self.clock())

    @cached_property
    def spark(self) -> SparkSession:
        if self.shared_spark is not None:
            return self.shared_spark
        session = build_session(self.config, self.job, self.run_id, self._is_quick())
        self._opened.append(session.stop)
        return session

    @cached_property
    def gold(self) -> Connection:
        """The connection that jobs write with; callers commit."""
        connection: Connection = self.connect()
        self._opened.append(connection.close)
        return connection

    def connect(self, admin: bool = False, database: str | None = None) -> Connection:
        """A new connection to Gold (or, as admin, another database of its server)."""
        url = self.gold_url(admin)
        arguments: dict[str, Any] = {"dbname": database} if database else {}
        connection: Connection = psycopg2.connect(
            url, application_name=f"warehouse {self.run_id}", options="-c timezone=UTC", **arguments
        )
        return connection

    def gold_url(self, admin: bool = False) -> str:
        if self.config.gold_url is None:
            server = embedded.start_gold(self.config.home)
            return server.url(GOLD_DATABASE)
        return (self.config.gold_admin_url if admin else None) or self.config.gold_url

    def _is_quick(self) -> bool:
        """Whether the work at hand is over before Java's second compiler is of use (decision 27)."""
        return self.config.embedded and self.job not in WHOLE_HISTORY and _bytes_to_follow(self) <= QUICK_BYTES

    def failpoint(self, name: str) -> None:
        """A place at which a test may end the run: `name` by SIGKILL, `name:raise` by an exception."""
        wanted, _, how = self.config.failpoint.partition(":")
        if wanted == name:
            if how == "raise":
                raise SimulatedCrash(name)
            os.kill(os.getpid(), signal.SIGKILL)

    def close(self) -> None:
        while self._opened:
            self._opened.pop()()
        self.__dict__.pop("spark", None)
        self.__dict__.pop("gold", None)


def new_run_id(now: datetime) -> str:
    return f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def _bytes_to_follow(context: Context) -> float:
    """Bytes of landed files that the last complete run has not seen; infinite where this machine cannot tell."""
    scheme, _, landing = context.config.landing_uri.partition("://")
    if scheme != "file":
        return inf
    seen = set()
    with suppress(psycopg2.Error), closing(context.connect()) as gold, gold.cursor() as cursor:
        cursor.execute(
            "select path, size from ops.landed_files where at <"
            " (select max(started_at) from ops.etl_runs where job = 'star' and status = 'DONE')"
        )
        seen = set(cursor)
    try:
        files = {
            f"{s}/{file.name}": file.stat().st_size
            for s in context.config.sources
            for file in Path(landing, s).glob("*")
        }
    except OSError:
        return inf
    return sum(size * (GZIP_RATIO if path.endswith(".gz") else 1) for path, size in files.items() - seen)


def build_session(config: Config, job: str, run_id: str, quick: bool = False) -> SparkSession:
    """The Spark session of this home. On the cluster, spark-defaults.conf holds what differs.

    `quick`: for some seconds of work, of which Java compiles less.
    """
    named = {"WAREHOUSE_JOB": job.replace(" ", "-"), "WAREHOUSE_RUN_ID": run_id}  # on every line of Spark's logs
    builder = (
        SparkSession.builder.appName(f"{job} {run_id}")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.defaultCatalog", CATALOG)
        # gains these plans nothing, and takes seconds to find that out where they are wide
        .config("spark.sql.constraintPropagation.enabled", "false")
        .config("spark.python.daemon.module", "warehouse.workers")
        # a TCP socket holds the last small message to a worker back for 40 ms
        .config("spark.python.unix.domain.socket.enabled", "true")
        # for notebooks: asks Java several times for every column that is built
        .config("spark.python.sql.dataFrameDebugging.enabled", "false")
        # no table has buckets; each frame that is persisted would get a copy of the session to switch this off
        .config("spark.sql.sources.bucketing.autoBucketedScan.enabled", "false")
    )
    for name, value in named.items():
        builder = builder.config(f"spark.executorEnv.{name}", value)
    if config.embedded:
        for key, value in (_embedded_settings(config, quick) | dict(config.spark)).items():
            builder = builder.config(key, value)
        builder = builder.master(config.spark_master)
    with _environment(named):
        session = _started(builder)
    _ask_java_less(session)
    session.sparkContext.setLogLevel("ERROR")
    _say_nothing_of_failed_tasks(session)
    if config.embedded:
        # set now and not before: what the session starts with can be read in its process arguments
        server = embedded.start_gold(config.home)
        session.conf.set(f"spark.sql.catalog.{CATALOG}.jdbc.password", server.admin_password)
    return session


def java_class(session: SparkSession, name: str) -> Any:
    """A Java class by its full name. Along a path of attributes Java would seek each part of it in all jars."""
    return getattr(session._jvm, name)


class _Remembering(JavaClass):  # type: ignore[misc]
    """A Java class that asks once for each of its methods. Py4J's own asks with every call, before the call."""

    def __getattr__(self, name: str) -> Any:
        member = super().__getattr__(name)
        if isinstance(member, JavaMember):
            setattr(self, name, member)
        return member


class _TenAtOnce(ListConverter):  # type: ignore[misc]
    """Hands a list over in one message for each ten of its elements. Py4J's own sends one for each."""

    def __init__(self, client: Any) -> None:
        self._java = _Remembering("java.util.List", client)

    def can_convert(self, given: Any) -> bool:
        return isinstance(given, list | tuple) and all(element is not None for element in given)

    def convert(self, given: Sequence[Any], client: Any) -> Any:
        if len(given) <= 10:  # Java knows `of` with so many arguments
            return self._java.of(*given)
        filled = super().convert([], client)
        for start in range(0, len(given), 10):
            filled.addAll(given[start : start + 10])
        return filled


def _ask_java_less(session: SparkSession) -> None:
    """Keep what PySpark asks for with every column it makes, and Java then seeks in all packages of all jars.

    Lists go over in few messages.
    """
    jvm: Any = session._jvm
    client = jvm._gateway_client
    for name in ("functions", "org.apache.spark.sql.functions", "PythonUtils"):
        setattr(jvm, name, _Remembering(java_class(session, name)._fqn, client))
    if not any(isinstance(converter, _TenAtOnce) for converter in client.converters):
        client.converters = [_TenAtOnce(client), *client.converters]


def _say_nothing_of_failed_tasks(session: SparkSession) -> None:
    """In this process: what the job then says of it is the line that people read. Executors' own logs have the rest."""
    configurator = java_class(session, "org.apache.logging.log4j.core.config.Configurator")
    off = java_class(session, "org.apache.logging.log4j.Level").OFF
    for name in ("executor.Executor", "scheduler.TaskSetManager"):
        configurator.setLevel(f"org.apache.spark.{name}", off)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables that a Java started meanwhile inherits, and nothing after it."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _started(builder: SparkSession.Builder) -> SparkSession:
    """Start Spark, and leave Ctrl-C to Python: PySpark's own handler calls Java in the middle of another call."""
    logging.getLogger().addHandler(logging.NullHandler())  # what Py4J logs is told by the error that it raises
    _wait_less()
    if threading.current_thread() is not threading.main_thread():
        return builder.getOrCreate()
    pressed: list[bool] = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        return builder.getOrCreate()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if pressed:
            raise KeyboardInterrupt


def _wait_less() -> None:
    """Let PySpark do at the same time what it does one after the other."""
    # imports pandas, which PySpark does before it first asks Java something: half a second, in which Java starts
    threading.Thread(target=importlib.import_module, args=("pyspark.testing.utils",), daemon=True).start()
    # seconds until it sees that it is to stop; by itself up to a half
    AccumulatorUnixServer.serve_forever = partialmethod(socketserver.BaseServer.serve_forever, 0.02)  # type: ignore[assignment]


def _embedded_settings(config: Config, quick: bool) -> dict[str, str]:
    os.environ["JAVA_HOME"] = str(java.java_home(config.home))
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    if os.environ.get("LC_ALL") in ("C", "POSIX"):
        os.environ["LC_ALL"] = "C.UTF-8"  # else Java passes over files whose names are not ASCII
    server = embedded.start_gold(config.home)
    jars = [str(jar) for jar in java.jars()]
    catalog = f"spark.sql.catalog.{CATALOG}"
    log4j = PROJECT / "spark" / "conf" / "log4j2.properties"
    options = [f"-Dlog4j2.configurationFile={log4j.as_uri()}", "-XX:+UseSerialGC", "-XX:-UsePerfData"]
    options += ["-Duser.timezone=UTC"]  # in which Postgres' driver reads and writes times, wherever the machine stands
    options += ["-XX:MetaspaceSize=256m"]  # else a start outgrows it often, and each time all is collected
    options += java.archive_options(java.class_archive())
    return {
        "spark.driver.extraClassPath": os.pathsep.join(jars),
        "spark.executor.extraClassPath": os.pathsep.join(jars),
        "spark.driver.extraJavaOptions": " ".join(f'"{option}"' for option in options),
        **({"spark.driver.defaultJavaOptions": QUICK} if quick else {}),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.ui.explainMode": "simple",  # nobody reads a plan where there is no page
        "spark.local.dir": str(config.home / "tmp"),
        "spark.sql.warehouse.dir": f"file://{config.home}/tmp",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.type": "jdbc",
        f"{catalog}.uri": f"jdbc:postgresql://{server.host}:{server.port}/{CATALOG_DATABASE}",
        f"{catalog}.jdbc.user": server.admin_user,
        f"{catalog}.jdbc.schema-version": "V1",
        f"{catalog}.cache-enabled": "false",
        f"{catalog}.warehouse": f"file://{config.home}/lake",
    }
