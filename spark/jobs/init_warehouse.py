"""Create or upgrade Gold, Bronze and the star schema; destroy only when told to."""

import zlib
from contextlib import closing, suppress

import psycopg2
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from warehouse import embedded, gold, lake, ledger, monitor
from warehouse.ledger import Outcome, counted
from warehouse.session import CATALOG, CATALOG_DATABASE, Context


def run(context: Context, reset: bool = False) -> Outcome:
    gold.create_databases(context)
    for source in context.config.sources:
        lake.make_folder(context.spark, f"{context.config.landing_uri}/{source}")
    if reset:
        context.spark.sql(f"show namespaces in {CATALOG}").collect()  # nothing is dropped where the catalog is away
        gold.drop(context)  # first: cut short after it, the next `init` makes Gold of the lake anew
        lake.drop(context.spark)
    gold.create(context)
    found = lake.create(context.spark)
    ledger.move_watermark(context.gold, "init", fingerprint())
    monitor.follow_rules(context)
    line = "dropped and created" if reset else "created or upgraded"
    return Outcome("init", f"{line}; the catalog had lost {', '.join(found)}, and has them again" if found else line)


def pending(context: Context, reset: bool = False) -> Outcome:
    databases = _databases(context)
    has_gold = bool(databases) and gold.database(context) in databases
    has_lake = not context.config.embedded or CATALOG_DATABASE in databases
    made_by = _made_by(context) if has_gold else None
    line = "not set up, or not to the end"
    if made_by is not None:
        line = f"set up by {'this' if made_by == fingerprint() else 'another'} version"
    destroyed: dict[str, int] = {}
    if reset:
        destroyed |= _lake_rows(context) if has_lake else {}
        destroyed |= _gold_rows(context) if has_gold else {}
        told = ", ".join(f"{table} ({counted(rows, 'row')})" for table, rows in destroyed.items())
        line += f"; --reset would destroy {told or 'nothing'}; the landing zone stays"
    return Outcome("init", line, numbers={"set_up": made_by == fingerprint(), "destroyed": destroyed})


def _databases(context: Context) -> set[str]:
    """The databases of the server; a server that is not made yet is not made here."""
    if context.config.embedded and not embedded.is_made(context.config.home):
        return set()
    with closing(context.connect(admin=True, database="postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("select datname from pg_database")
        return {name for (name,) in cursor}


def _made_by(context: Context) -> int | None:
    """The fingerprint of the version whose `init` was completed here."""
    with closing(context.connect(admin=True)) as connection, suppress(psycopg2.errors.UndefinedTable):
        return ledger.watermark(connection, "init")
    return None


def _lake_rows(context: Context) -> dict[str, int]:
    """The tables of the lake that can be read, with their rows."""
    rows = {}
    for table in [f"{namespace}.{table}" for namespace, tables in lake.TABLES.items() for table in tables]:
        with suppress(Py4JError, PySparkException):  # it is not there, or half of it is gone
            rows[table] = lake.row_count(context.spark, table)
    return rows


def _gold_rows(context: Context) -> dict[str, int]:
    """The tables of Gold that hold facts, or what people decided, with their rows."""
    rows = {}
    with closing(context.connect(admin=True)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for table in ("fact_transactions", "transactions_error", "anomalies", "anomaly_audit", "ops.error_verdicts"):
            with suppress(psycopg2.errors.UndefinedTable):
                cursor.execute(f"select count(*) from {table}")
                (rows[table],) = cursor.fetchone() or (0,)
    return rows


def fingerprint() -> int:
    """Tells the scripts that made a warehouse from those of another version."""
    return zlib.crc32((gold.script("init_gold.sql") + lake.SCRIPT.read_text(encoding="utf-8")).encode())


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("init"))
