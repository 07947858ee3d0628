"""What broke, in one line for the person who must act: which service, where, what to do."""

import re
from urllib.parse import urlsplit

import psycopg2
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.errors import PySparkException

from warehouse import embedded
from warehouse.errors import WarehouseError
from warehouse.session import CATALOG, Context

_AGAIN = "Nothing was half-written; run the same command again."
_OURS = "Nothing was half-written. This is a fault of the program, not of the data: report it."
_AWAY = re.compile(
    r"(?:Connection refused|ConnectException|UnknownHostException|NoRouteToHost|SocketTimeout|Call From)",
    re.I,
)
_IN_TASK = re.compile(r"^\s*(psycopg2\.[\w.]+): (.*)$", re.MULTILINE)
_LOST = ("psycopg2.OperationalError", "psycopg2.InterfaceError", "psycopg2.errors.AdminShutdown")
_PASSING = re.compile(r"shutting down|starting up|terminating connection|recovery", re.I)
_NO_DATANODE = re.compile(r"could only be written to 0 of the|BlockMissingException|Could not obtain block")
# Spark gives up on its master, and starts its session nonetheless
_NO_MASTER = re.compile(r"getServletHandlers|stopped SparkContext|SparkContext stopped while waiting")
_ADDRESSES = (
    re.compile(r"(?:\bto\s+|://)([\w.-]+:\d+)"),
    re.compile(r"destination host is: \"?([\w.-]+)\"?(:\d+)"),
    re.compile(r"UnknownHostException: (?!Invalid)([\w.-]+)"),
)


def explain(error: Exception, context: Context) -> WarehouseError:
    """The error as a line of text; what is not known keeps its own first line."""
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        return _gold_failed(context, _first_line(error), away=_is_away(str(error), error.pgcode))
    if isinstance(error, psycopg2.errors.InsufficientPrivilege):
        return WarehouseError(
            f"Gold (Postgres) at {_gold_address(context)}: {_first_line(error)}. The login of GOLD_URL may not do this;"
            " jobs need the one that `init` makes. Nothing was half-written."
        )
    if isinstance(error, psycopg2.IntegrityError | psycopg2.ProgrammingError):
        return WarehouseError(f"{_first_line(error)}. {_OURS}")
    if isinstance(error, Py4JJavaError | PySparkException):
        text = _java_text(error)
        if in_task := _IN_TASK.search(text):  # COPY from an executor
            kind, message = in_task.groups()
            return _gold_failed(context, message.rstrip("."), away=kind in _LOST and _is_away(message))
        if "org.postgresql" in text and _AWAY.search(text):
            return WarehouseError(f"Postgres at {_gold_address(context)} is away. {_AGAIN}")
        if _NO_DATANODE.search(text):
            return WarehouseError(
                f"HDFS at {urlsplit(context.config.landing_uri).netloc}: no datanode is there. {_AGAIN}"
            )
        if _NO_MASTER.search(text):
            return WarehouseError(f"Spark's master{_spark_master()} is away. {_AGAIN}")
        if _AWAY.search(text):
            # HDFS says "Call From"; its own trace may well lead through Iceberg's Hive catalog
            hive = "Call From" not in text and ("hive" in text.lower() or "thrift" in text.lower())
            where = _address(text, _metastore(context) if hive else urlsplit(context.config.landing_uri).netloc)
            return WarehouseError(f"{'the metastore' if hive else 'HDFS'}{where} is away. {_AGAIN}")
        return WarehouseError(f"{_java_cause(text)} {_AGAIN}")
    return WarehouseError(f"{_first_line(error)}. {_AGAIN}")


def _is_away(message: str, code: str | None = None) -> bool:
    """Whether the server is not there: else it refuses, or is short of something."""
    if code:
        return code.startswith(("08", "57P"))
    return "FATAL:" not in message or _PASSING.search(message) is not None


def _gold_failed(context: Context, message: str, away: bool) -> WarehouseError:
    return WarehouseError(
        f"Gold (Postgres) at {_gold_address(context)}{' is away' if away else ''}: {message}. {_AGAIN}"
    )


def _address(text: str, known: str) -> str:
    """Where it was looked for: as the error says, else, where that has no port, as is known."""
    found = ["".join(match.groups()) for address in _ADDRESSES if (match := address.search(text))]
    where = next((address for address in found if ":" in address), known or "".join(found[:1]))
    return f" at {where}" if where else ""


def _metastore(context: Context) -> str:
    """The metastore's address, where a session that knows it has been started."""
    session = context.__dict__.get("spark")
    return urlsplit(session.conf.get(f"spark.sql.catalog.{CATALOG}.uri", "")).netloc if session else ""


def _spark_master() -> str:
    """Its address, by what a driver that could not reach it was started with."""
    java = SparkContext._jvm
    return f" at {urlsplit(java.org.apache.spark.SparkConf().get('spark.master', '')).netloc}" if java else ""


def _gold_address(context: Context) -> str:
    url = context.config.gold_url
    if url is None:
        return f"{embedded.address(context.config.home)} (its log: postgres/server.log in WAREHOUSE_HOME)"
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0].rstrip(".")


def _java_text(error: Exception) -> str:
    if isinstance(error, Py4JJavaError):
        return str(error)
    return f"{error} {getattr(error, 'getStackTrace', lambda: '')() or ''}"


def _java_cause(text: str) -> str:
    """The innermost cause of a Java stack trace, or else the first line."""
    lines = [line for line in (line.strip().removeprefix(": ") for line in text.splitlines()) if line]
    causes = [line for line in lines if line.startswith("Caused by:")]
    if causes:
        return causes[-1].removeprefix("Caused by:").strip().rstrip(".") + "."
    telling = [line for line in lines if not line.startswith(("at ", "An error occurred"))]
    return (telling or lines or ["Spark failed"])[0].rstrip(".") + "."
