"""What the tests drive: a warehouse in this process, and all that it holds as comparable rows."""

import gzip
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2

from jobs import init_warehouse, postgres_load_fact
from warehouse import embedded, session
from warehouse.cli import INGEST, run_all
from warehouse.config import Config, load
from warehouse.landing import Scope
from warehouse.ledger import Outcome
from warehouse.session import CATALOG_DATABASE, GOLD_DATABASE, Context, SimulatedCrash, build_session, java_class

Rows = list[tuple[Any, ...]]
SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
NOT_COMPILED = "spark.sql.codegen.wholeStage=false spark.sql.codegen.factoryMode=NO_CODEGEN"
# as a usual run has it; and Spark asks for the stack, a few hundred calls deep, wherever it makes something, and looks
# at the top of it
QUICK = f"{session.QUICK} -XX:MaxJavaStackTraceDepth=24"

GOLD = {
    "facts": "select transaction_id, order_id, to_char(invoice_date, 'YYYY-MM-DD HH24:MI:SS'), stock_code, product_sk,"
    " quantity, unit_price, total_amount, customer_id, country_id, batch_id from fact_transactions",
    "errors": "select error_id, transaction_id, order_id, stock_code, quantity, invoice_date, customer_id, country_id,"
    " reason, detail, raw_record, batch_id, source_file, correction::text, status, transaction_key"
    " from transactions_error",
    "duplicates": "select row_id, transaction_id, batch_id from ops.duplicates",
    "gold.dim_products": "select * from dim_products",
    "gold.dim_customers": "select * from dim_customers",
    "gold.dim_countries": "select * from dim_countries",
    "sales_by_day": "select * from ops.sales_by_day",
    "sales_by_product": "select * from ops.sales_by_product",
    "sales_by_buyer": "select * from ops.sales_by_buyer",
    "activity_by_month": "select * from ops.activity_by_month",
    "orders_of_month": "select * from ops.orders_of_month",
    "customers_of_month": "select * from ops.customers_of_month",
    "orders_of_buyer": "select * from ops.orders_of_buyer",
}
LAKE = {
    "products": "ecommerce_db.products",
    "countries": "ecommerce_db.countries",
    "star.fact_transactions": "ecommerce_dw.fact_transactions",
    "star.dim_products": "ecommerce_dw.dim_products",
    "star.dim_customers": "ecommerce_dw.dim_customers",
    "star.dim_countries": "ecommerce_dw.dim_countries",
    "star.dim_dates": "ecommerce_dw.dim_dates",
}
LAKE_ROWS = " union all ".join(
    f"select '{name}' as name, to_json(struct(*)) as row from {table}" for name, table in LAKE.items()
)


class Home:
    """A Gold server and a Spark session that many warehouses use one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {
            "WAREHOUSE_HOME": str(folder),
            "WAREHOUSE_LOCK_WAIT": "1",
            "WAREHOUSE_SPARK_OPTIONS": "spark.sql.shuffle.partitions=2 spark.driver.memory=2g"
            # many small frames: compiling their plans costs more than it gains, and so does planning anew after each
            # stage. The soak is long enough for Java's second compiler, and plans anew
            f" {NOT_COMPILED} spark.sql.adaptive.enabled={str(SOAK).lower()}"
            f' spark.driver.defaultJavaOptions="-Xmn800m {"" if SOAK else QUICK}"'
            # pages and blocks that are made for large frames are cleared and thrown away for each small one
            " spark.buffer.pageSize=2m spark.broadcast.blockSize=256k"
            " spark.broadcast.compress=false spark.shuffle.compress=false"
            # what a page would show of thousands of queries
            " spark.sql.ui.retainedExecutions=1 spark.ui.retainedJobs=1 spark.ui.retainedStages=1"
            # a restore ends the session's connections to its catalog
            " spark.sql.catalog.lake.retryable_status_codes=57P01",
        }
        self.config = replace(load(environment, folder), spark_master="local[2]")
        with self._server() as cursor:  # no test takes the machine's power away
            cursor.execute("alter system set fsync = off")
            cursor.execute("select pg_reload_conf()")
        self._spark: Any = None
        self._prepared: dict[Callable[[Warehouse], object], str] = {}

    @property
    def spark(self) -> Any:
        if self._spark is None:
            self._spark = build_session(self.config, "tests", "0")
            conf = self._spark._jsparkSession.sessionState().newHadoopConf()  # a checksum is one more file for each
            java_class(self._spark, "org.apache.hadoop.fs.FileSystem").getLocal(conf).setWriteChecksum(False)
            # each scan of a table sends a thousand settings of other file systems along
            self._spark._jsc.hadoopConfiguration().clear()
        return self._spark

    def empty_warehouse(self, landing: Path) -> "Warehouse":
        warehouse = Warehouse(self, replace(self.config, landing_uri=f"file://{landing}"), landing)
        warehouse.reset()
        return warehouse

    def prepare(self, warehouse: "Warehouse", make: Callable[["Warehouse"], object], landing: bool = True) -> None:
        """Bring a warehouse to where `make` leaves it: by `make` once in a home, by a copy from then on.

        `landing`: what is landed, and back-ups, are part of it.
        """
        folders = [self.folder / "lake", *([warehouse.landing, warehouse.config.backups] if landing else [])]
        back = make in self._prepared
        if not back:
            make(warehouse)
            self._prepared[make] = str(len(self._prepared))
        self._copy(folders, self._prepared[make], back)

    def _copy(self, folders: Sequence[Path], name: str, back: bool) -> None:
        """Copy folders and databases to a copy of a name, or back from it."""

        def from_to(own: Any, copied: Any) -> tuple[Any, Any]:
            return (copied, own) if back else (own, copied)

        for folder in folders:
            source, target = from_to(folder, self.folder / "prepared" / name / folder.name)
            shutil.rmtree(target, ignore_errors=True)
            if source.exists():
                shutil.copytree(source, target)
        with self._server() as cursor:
            for database in (GOLD_DATABASE, CATALOG_DATABASE):
                here, there = from_to(database, f"{database}_{name}")
                cursor.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (here,))
                cursor.execute(f"drop database if exists {there} with (force)")
                cursor.execute(f"create database {there} template {here} is_template {not back}")
                cursor.execute(  # what roles may do with a database is not copied with it
                    "update pg_database as t set datacl = s.datacl from pg_database as s"
                    " where s.datname = %s and t.datname = %s",
                    (here, there),
                )

    @contextmanager
    def _server(self) -> Iterator[Any]:
        """Ask Gold's server, as its administrator, apart from any of its databases."""
        with closing(psycopg2.connect(embedded.start_gold(self.folder).url("postgres"))) as server:
            server.autocommit = True
            yield server.cursor()

    def close(self) -> None:
        if self._spark is not None:
            self._spark.stop()
        embedded.stop_gold(self.folder)


@dataclass
class Warehouse:
    home: Home
    config: Config
    landing: Path

    def __post_init__(self) -> None:
        self.said: list[str] = []

    def context(self, failpoint: str = "", **changes: Any) -> Context:
        config = replace(self.config, failpoint=failpoint, **changes)
        return Context(config, say=self.said.append, shared_spark=self.home.spark)

    def make_anew(self) -> None:
        """`warehouse init --reset`, in this process."""
        self.job(init_warehouse.run, True)

    def reset(self) -> None:
        """Empty the warehouse; the landing zone stays."""
        self.home.prepare(self, Warehouse.make_anew, landing=False)
        for source in self.config.sources:
            (self.landing / source).mkdir(parents=True, exist_ok=True)

    def prepared(self, make: Callable[["Warehouse"], object]) -> "Warehouse":
        """This warehouse, still empty, brought to where `make` leaves it."""
        self.home.prepare(self, make)
        return self

    def run(self, until: str | None = None, replace: bool = False, failpoint: str = "") -> list[Outcome]:
        """`warehouse run`, in this process."""
        context = self.context(failpoint)
        instant = datetime.fromisoformat(until).replace(tzinfo=UTC) if until else None
        try:
            return run_all(context, Scope(instant), replace)
        finally:
            context.close()

    def load(self, until: str | None = None, replace: bool = False, failpoint: str = "") -> list[Outcome]:
        """`warehouse run` as far as Gold, for tests of what the star and the alerts only follow."""
        scope = Scope(datetime.fromisoformat(until).replace(tzinfo=UTC) if until else None)
        ingests = self.ingest(scope, replace, failpoint)
        return [*ingests, self.job(postgres_load_fact.run, scope, failpoint=failpoint)]

    def ingest(self, scope: Scope | None = None, replace: bool = False, failpoint: str = "") -> list[Outcome]:
        """`warehouse ingest` of each source."""
        return [self.job(ingest.run, scope or Scope(), replace, failpoint=failpoint) for ingest in INGEST.values()]

    def job(self, run: Any, *arguments: Any, failpoint: str = "", **changes: Any) -> Outcome:
        """One job's `run` function, with a context of its own."""
        context = self.context(failpoint, **changes)
        try:
            return run(context, *arguments)
        finally:
            context.close()

    def land(self, path: str, content: str | bytes | Sequence[str], header: str | None = None) -> Path:
        """Put a file into the landing zone: text, bytes, or lines below a header. `.gz` is compressed."""
        if not isinstance(content, str | bytes):
            content = "".join(f"{line}\n" for line in ([header] if header else []) + list(content))
        data = content.encode() if isinstance(content, str) else content
        file = self.landing / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(data, mtime=0) if path.endswith(".gz") and data[:2] != b"\x1f\x8b" else data)
        return file

    def query(self, statement: str, arguments: Sequence[Any] = ()) -> Rows:
        """Rows of a query on Gold."""
        with self._gold() as query:
            return query(statement, arguments)

    @contextmanager
    def _gold(self) -> Iterator[Callable[..., Rows]]:
        """Ask Gold several questions through one connection."""
        with closing(self.context().connect()) as connection, connection.cursor() as cursor:

            def query(statement: str, arguments: Sequence[Any] = ()) -> Rows:
                cursor.execute(statement, arguments)
                return cursor.fetchall()

            yield query

    def change(self, statement: str, database: str = GOLD_DATABASE) -> None:
        """Statements on a database of Gold's server, as its administrator."""
        with closing(self.context().connect(admin=True, database=database)) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement)

    def lake(self, statement: str) -> Rows:
        """Rows of a query on the lake."""
        return [tuple(row) for row in self.home.spark.sql(statement).collect()]

    def lake_at_once(self, **statements: str) -> dict[str, Rows]:
        """Rows of several queries on the lake, in one."""
        branches = [
            f"select {', '.join(f'struct(q.*) as {n}' if n == name else f'null as {n}' for n in statements)}"
            f" from ({statement}) as q"
            for name, statement in statements.items()
        ]
        rows = self.lake(" union all ".join(branches))
        return {name: [tuple(row[i]) for row in rows if row[i]] for i, name in enumerate(statements)}

    def state(self) -> dict[str, Rows]:
        """All that the promise covers, as sorted rows: no times of loading, no run ids, no attempts."""
        with self._gold() as query:
            return frames(query, self.lake(LAKE_ROWS))

    def books(self) -> tuple[int, int, int, int]:
        """landed, facts, errors, duplicates, each counted where it lies."""
        (landed,) = self.lake("select count(*) from ecommerce_db.transactions_raw")[0]
        ((facts, errors, duplicates),) = self.query(
            "select (select count(*) from fact_transactions),"
            " (select count(*) from transactions_error where status <> 'RESOLVED'),"
            " (select coalesce(sum(rows_duplicate), 0)::bigint from ops.etl_runs)"
        )
        return landed, facts, errors, duplicates


def crash(*_: Any) -> None:
    """Stands in for a step before which a run dies."""
    raise SimulatedCrash


def frames(gold: Callable[[str], Rows], lake: Rows) -> dict[str, Rows]:
    """A state: each frame of Gold as the rows of its query, each of the lake as the JSON that `LAKE_ROWS` gives."""
    found = {name: ordered(gold(statement)) for name, statement in GOLD.items()}
    for name in LAKE:
        found[name] = ordered([(row,) for table, row in lake if table == name])
    return found


def ordered(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: tuple((value is not None, str(value)) for value in row))


def assert_same_state(actual: dict[str, Rows], expected: dict[str, Rows]) -> None:
    """Every frame holds the same rows: none lost, none more."""
    for name in expected:
        here, there = Counter(actual[name]), Counter(expected[name])
        lost, more = list((there - here).elements()), list((here - there).elements())
        assert not lost and not more, (
            f"{name}: {len(lost)} rows lost, {len(more)} too many\nlost: {lost[:5]}\ntoo many: {more[:5]}"
        )


TRANSACTIONS = "transaction_id,order_id,stock_code,quantity,invoice_date,customer_id,country_id"
PRODUCTS = "stock_code,description,category,unit_price,stock_quantity"
COUNTRIES = "country_id,country_name,region,latitude,longitude"
