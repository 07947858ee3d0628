"""A Gold without Spark, and its ledger, for tests of what is read from there."""

from collections.abc import Callable, Iterator

import psycopg2
import pytest
from harness import Home
from written_ledger import Ledger, instant

from jobs import init_warehouse
from warehouse import cli, embedded, gold
from warehouse.config import Config, load
from warehouse.ledger import move_watermark
from warehouse.session import Context


@pytest.fixture(scope="module")
def config(home: Home) -> Iterator[Config]:
    """A home with a Gold of its own on the shared server, as a cluster has it."""
    server = embedded.start_gold(home.folder)
    admin = psycopg2.connect(server.url("postgres"))
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("create database sla")
    urls = {"GOLD_URL": server.url("sla", "warehouse_etl", "a-secret"), "GOLD_ADMIN_URL": server.url("sla")}
    config = load({**urls, "WAREHOUSE_HOME": str(home.folder)}, home.folder)
    context = Context(config)
    gold.create(context)
    move_watermark(context.gold, "init", init_warehouse.fingerprint())
    context.gold.commit()
    yield config
    context.close()
    with admin.cursor() as cursor:
        cursor.execute("drop database sla with (force)")
    admin.close()


@pytest.fixture
def no_spark(monkeypatch) -> None:
    """Whoever starts Spark fails."""

    def started(*_: object) -> None:
        raise AssertionError("Spark was started")

    monkeypatch.setattr("warehouse.session.build_session", started)


@pytest.fixture
def ledger(config: Config, no_spark) -> Iterator[Ledger]:
    """An empty ledger under the rules of the configuration."""
    ledger = Ledger(config)
    for table in ("etl_runs", "landed_files", "star_feed", "score_feed", "outbox"):
        ledger.query(f"delete from ops.{table}")
    ledger.query("delete from transactions_error")
    ledger.rules()
    yield ledger
    ledger.context.close()


@pytest.fixture
def on_ledger(ledger: Ledger, monkeypatch, capsys, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """`warehouse …` on the ledger's Gold: exit code, standard output, standard error."""

    def run(*arguments: str, clock: str = "2011-01-05 10:00", **settings: str) -> tuple[int, str, str]:
        monkeypatch.setattr(cli, "Context", lambda config, job: Context(config, job, clock=lambda: instant(clock)))
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            for name, value in (
                {"GOLD_URL": ledger.config.gold_url, "WAREHOUSE_HOME": str(tmp_path)} | settings
            ).items():
                patch.setenv(name, value)
            code = cli.main(arguments)
        return code, *capsys.readouterr()

    return run
