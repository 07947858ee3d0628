"""What an operator meets: dry runs, waiting runs, a server that is gone, and JSON for scripts."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from against_oracle import assert_agrees_with_oracle
from command_line import PROGRAM, CommandLine, finish, one_line
from harness import PRODUCTS, TRANSACTIONS, Warehouse, assert_same_state
from pyspark.errors import PySparkException
from two_months import land_masters, land_shop, land_window, run_shop

from jobs import build_star_schema, ingest_products, ingest_transactions, maintain
from warehouse import gold, lake, landing, ledger
from warehouse.landing import Scope
from warehouse.session import SimulatedCrash

pytestmark = pytest.mark.slow

EVERYTHING = Scope()


@pytest.fixture
def process(tmp_path: Path, own_home: Path) -> CommandLine:
    """`warehouse …` as processes on a home of their own, which nobody has set up."""
    (tmp_path / "landing").mkdir()
    return CommandLine(own_home, tmp_path / "landing")


@pytest.fixture
def shop(warehouse: Warehouse) -> Warehouse:
    """The very small shop, all of it loaded."""
    return warehouse.prepared(run_shop)


# --- wrong usage, wrong settings, wrong queries -----------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["frobnicate"], {}),
        (["run", "--until", "yesterday"], {}),
        (["ingest", "orders"], {}),
        (["backfill", "--from", "2011-02-01", "--to", "2011-01-01"], {}),
        (["backfill", "--from", "2011-02-01"], {}),
        (["run"], {"WAREHOUSE_CONFIG": "{bad}"}),
        (["run"], {"WAREHOUSE_CONFIG": "{none}"}),
        (["run"], {"WAREHOUSE_TIMEZONE": "Europe/Atlantis"}),
        (["run"], {"WAREHOUSE_LOCK_WAIT": "soon"}),
        (["run"], {"SPARK_MASTER": "my-cluster"}),
    ],
)
def test_wrong_usage_ends_with_2_and_starts_nothing(process, tmp_path, arguments, settings):
    (tmp_path / "bad.yaml").write_text("sources: [unclosed\n  - {")
    files = {"bad": tmp_path / "bad.yaml", "none": tmp_path / "none.yaml"}
    said = process.run(*arguments, **{name: value.format(**files) for name, value in settings.items()})
    assert said.code == 2, said
    assert said.out == ""
    assert "Traceback" not in said.err
    assert said.err.splitlines()[-1].startswith("warehouse"), said.err
    assert not process.home.exists()


def test_a_bad_query_is_told_in_one_line_and_ends_with_2(command):
    for query, told in {
        "selec 1": "syntax error",
        "select * from ecommerce_db.nowhere": "nowhere",
        "select nothing from ecommerce_db.products": "nothing",
        "select cast('x' as int)": "cast",
        "drop table ecommerce_db.products": "only reads",
        "with x as (select 1) insert into ecommerce_db.countries select * from x": "only reads",
        "call lake.system.expire_snapshots(table => 'ecommerce_db.products')": "only reads",
        "execute immediate 'drop table ecommerce_db.products'": "only reads",
        "": "",
    }.items():
        said = command("sql", query)
        assert said.code == 2, (query, said)
        assert told in one_line(said).lower()
        assert said.out == ""


def test_every_report_is_json_on_request(warehouse, command):
    land_shop(warehouse)
    warehouse.land("products/products_2011-01-09.csv", ["A,Mug,Home,-1,5"], PRODUCTS)  # rejected
    for arguments, code in {
        ("ingest", "products"): 3,
        ("ingest", "countries"): 0,
        ("ingest", "transactions"): 0,
        ("gold",): 0,
        ("star",): 0,
        ("run",): 0,
        ("backfill", "--from", "2011-01-01", "--to", "2011-02-28"): 0,
        ("maintain",): 0,
    }.items():
        said = command(*arguments, "--json")
        assert said.code == code, said
        for job in json.loads(said.out):
            assert job["job"] and job["summary"]
    assert json.loads(command("sql", "select 1 as n, cast(2.50 as decimal(6,2)) as p", "--json").out) == [
        {"n": 1, "p": "2.50"}
    ]
    status = json.loads(command("status", "--json").out)
    assert {run["job"]: run["status"] for run in status["runs"]}["gold"] == "DONE"
    assert status["books"] == {"landed": 12, "facts": 12, "errors": 0, "duplicates": 0}
    assert status["backlog"]["files_not_loaded"] == 0


# --- what a run takes -------------------------------------------------------------------------------


def test_until_takes_windows_that_end_and_snapshots_that_begin_by_then(warehouse, command):
    land_shop(warehouse)

    def loaded() -> list[str]:
        rows = warehouse.query("select path from ops.landed_files where status = 'LOADED' order by path")
        return [re.sub(r".*_(.*)\.csv", r"\1", path) for (path,) in rows]

    assert command("ingest", "transactions", "--until", "2011-01-03T11:59:59").code == 0
    assert loaded() == []
    assert command("ingest", "transactions", "--until", "2011-01-03T12:00").code == 0
    assert loaded() == ["2011-01-03T08"]
    assert command("ingest", "products", "--until", "2011-01-03T23:59:59").code == 0
    assert loaded() == ["2011-01-01", "2011-01-03T08"]
    assert command("ingest", "products", "--until", "2011-01-04").code == 0
    assert loaded() == ["2011-01-01", "2011-01-04", "2011-01-03T08"]
    assert command("run", "--until", "2011-01-05").code == 0
    assert_agrees_with_oracle(
        warehouse,
        files=[file for file in warehouse.landing.rglob("*.csv") if "2011-01" in file.name],
    )
    assert command("run").code == 0
    assert_agrees_with_oracle(warehouse)


def test_gold_until_leaves_what_ends_later_for_later(warehouse, command):
    land_shop(warehouse)
    for source in ("products", "countries", "transactions"):
        assert command("ingest", source).code == 0

    def settled() -> list[str]:
        rows = warehouse.query("select distinct batch_id from fact_transactions order by 1")
        return [batch for (batch,) in rows]

    assert command("gold", "--until", "2011-01-03T11:59").code == 0
    assert settled() == []
    assert command("gold", "--until", "2011-01-03T12:00").code == 0
    assert settled() == ["2011-01-03T08"]
    assert command("gold", "--until", "2011-01-04T12:00").code == 0
    assert settled() == ["2011-01-03T08", "2011-01-03T12", "2011-01-04T08"]
    assert command("run").code == 0
    assert settled()[-1] == "2011-02-01T20"
    assert_agrees_with_oracle(warehouse)


def test_a_backfill_month_by_month_equals_one_run(warehouse, command):
    land_shop(warehouse)
    said = command("backfill", "--from", "2011-01-01", "--to", "2011-02-28")
    assert said.code == 0, said
    assert [line for line in said.out.splitlines() if " to " in line] == [
        "2011-01-01 to 2011-01-31",
        "2011-02-01 to 2011-02-28",
    ]
    assert len(warehouse.query("select distinct run_id from ops.etl_runs where job = 'gold'")) == 2
    assert_agrees_with_oracle(warehouse)
    filled = warehouse.state()
    warehouse.reset()
    warehouse.run()
    assert_same_state(warehouse.state(), filled)


def test_from_takes_windows_and_snapshots_that_begin_then_or_later(warehouse, command):
    land_shop(warehouse)

    def loaded() -> list[str]:
        rows = warehouse.query("select path from ops.landed_files where status = 'LOADED' order by path")
        return [re.sub(r".*_(.*)\.csv", r"\1", path) for (path,) in rows]

    assert command("ingest", "products", "--from", "2011-01-04T00:00:01").code == 0
    assert loaded() == ["2011-02-01"]
    assert command("ingest", "products", "--from", "2011-01-04", "--until", "2011-01-31").code == 0
    assert loaded() == ["2011-01-04", "2011-02-01"]
    assert command("ingest", "transactions", "--from", "2011-01-03T12:00", "--until", "2011-01-04T12:00").code == 0
    assert loaded()[2:] == ["2011-01-03T12", "2011-01-04T08"]
    assert command("ingest", "countries").code == 0
    assert command("gold", "--from", "2011-01-04T08:00").code == 0
    assert warehouse.query("select distinct batch_id from fact_transactions union select batch_id from"
                           " transactions_error") == [("2011-01-04T08",)]  # fmt: skip
    assert command("run", "--from", "2011-02-01").code == 0
    assert "2011-01-03T08" not in loaded()
    assert command("run").code == 0
    assert_agrees_with_oracle(warehouse)


def test_baselines_can_be_made_as_of_a_time_but_not_of_one_to_come(warehouse, command):
    land_shop(warehouse)
    assert command("baselines", "--until", "2011-01-04").out == "baselines: nothing pending\n"
    warehouse.run()
    for until, end in (("2011-01-04T10:30", "2011-01-04 10:30"), ("2031-01-01", "2011-02-02 00:00")):
        said = command("baselines", "--until", until)
        assert (said.code, said.out) == (0, f"baselines: 0 baselines by sales before {end}\n")
        newest = "select period_end::text from ops.baseline_refreshes order by computed_at desc limit 1"
        assert warehouse.query(newest) == [(f"{end}:00",)]


# --- what is pending ---


def everything(warehouse: Warehouse) -> dict[str, Any]:
    """Every row of Gold, every snapshot of the lake, every file: what a dry run may not change."""
    tables = warehouse.query(
        "select schemaname || '.' || tablename from pg_tables where schemaname in ('public', 'ops', 'staging')"
    )
    held: dict[str, Any] = {
        table: warehouse.query(f"select md5(string_agg(t::text, ' ' order by t::text)) from {table} as t")
        for (table,) in tables
    }
    for namespace, names in lake.TABLES.items():
        for name in names:
            held[f"lake.{namespace}.{name}"] = lake.snapshot_id(warehouse.home.spark, f"{namespace}.{name}")
    folders = (warehouse.landing, warehouse.home.folder / "outbox", warehouse.home.folder / "lake")
    held["files"] = {file: file.stat().st_mtime_ns for folder in folders for file in folder.rglob("*")}
    return held


@pytest.fixture
def pending(warehouse, command) -> Callable[..., str]:
    """`warehouse … --dry-run`: what it says, after its JSON and both changing nothing are looked at."""

    def run(*arguments: str) -> str:
        before = everything(warehouse)
        said = command(*arguments, "--dry-run")
        assert (said.code, said.err) == (0, ""), said
        told = json.loads(command(*arguments, "--dry-run", "--json").out)
        assert [f"{job['job']}: {job['summary']}" for job in told] == said.out.splitlines()
        assert everything(warehouse) == before
        return said.out.removesuffix("\n")

    return run


def test_a_dry_run_tells_what_each_job_would_find(warehouse, command, pending):
    land_shop(warehouse)
    warehouse.land("transactions/nonsense.csv", "x")
    to_come = "now; then what the jobs before it bring"
    told = json.loads(command("run", "--dry-run", "--json").out)
    for job in told[:3]:
        folder = warehouse.landing / job["job"].removeprefix("ingest ")
        assert job["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    assert re.sub(r"[\d.]+ (bytes|kB)", "SIZE", pending("run")).splitlines() == [
        "ingest products: 3 files pending (SIZE, 2011-01-01 to 2011-02-01)",
        "ingest countries: 3 files pending (SIZE, 2011-01-01 to 2011-02-01)",
        "ingest transactions: 5 files pending (SIZE, 2011-01-03T08 to 2011-02-01T20, 1 to be refused by name or size)",
        f"gold: nothing pending {to_come}",
        f"star: to be made anew from 0 facts in Gold {to_come}",
        f"detect: nothing pending {to_come}",
        f"alerts: nothing pending {to_come}",
    ]
    assert "2011-01-03T12 to 2011-01-04T08" in pending(
        "ingest", "transactions", "--from", "2011-01-03T12:00", "--until", "2011-01-04T12:00"
    )
    assert "1 file pending (" in pending("ingest", "products", "--from", "2011-02-01")
    assert pending("baselines") == "baselines: nothing pending"

    for source in ("products", "countries", "transactions"):
        command("ingest", source)
        assert pending("ingest", source) == f"ingest {source}: nothing pending"
    changed = "what a change of products and countries touches"
    assert pending("gold") == f"gold: 4 files pending (12 rows, 2011-01-03T08 to 2011-02-01T20); {changed}"
    assert pending("gold", "--from", "2011-02-01") == f"gold: 1 file pending (3 rows, 2011-02-01T20); {changed}"
    assert pending("gold", "--until", "2011-01-03") == f"gold: {changed}"

    command("gold")
    assert pending("gold") == "gold: nothing pending"
    assert pending("star") == "star: to be made anew from 12 facts in Gold; products and countries changed"
    assert pending("detect") == "detect: 12 sales pending (2011-01 to 2011-02)"
    assert pending("baselines") == "baselines: 2 products pending (by sales before 2011-02-02 00:00)"
    assert pending("baselines", "--until", "2011-01-03T08:01") == (
        "baselines: 1 product pending (by sales before 2011-01-03 08:01)"
    )

    command("run")
    assert {line.partition(": ")[2] for line in pending("run").splitlines()} == {"nothing pending"}
    assert pending("star", "--rebuild") == "star: to be made anew from 12 facts in Gold"
    land_window(warehouse, "2011-02-02T08")
    land_masters(warehouse, "2011-01-04", "9")  # refused: the date has one
    land_masters(warehouse, "2011-01-02", "2.5", ("GB", "FR", "DE"))
    assert command("ingest", "transactions").code == 0
    assert command("ingest", "products").code == 3
    command("gold")
    assert pending("star") == "star: 1 settle pending (7 facts written, 4 changed or gone); products changed"
    assert pending("detect") == "detect: 3 sales pending (2011-02)"
    assert re.fullmatch(
        r"maintain: \d+ files in 10 tables to look at, up to 0 snapshots to expire and 0 cases to archive",
        pending("maintain"),
    )


def test_a_dry_run_tells_what_stewards_decided_and_what_a_run_that_was_killed_left(warehouse, command, pending):
    land_shop(warehouse)
    warehouse.land("transactions/transactions_2011-01-05T08.csv", ["X,O,A,none,2011-01-05 08:00:00,C,GB"], TRANSACTIONS)
    command("run")
    [(error,)] = warehouse.query("select error_id from transactions_error")
    assert command("errors", "correct", str(error), "quantity=3").code == 0
    assert pending("gold") == "gold: 1 decision of stewards to judge"
    command("gold")
    assert pending("gold") == "gold: nothing pending"
    land_window(warehouse, "2011-02-02T08")
    land_masters(warehouse, "2011-02-02", "6")
    for job, failpoint in (
        (ingest_transactions.run, "after-transactions-commit:raise"),
        (ingest_products.run, "after-products-commit:raise"),
    ):
        with pytest.raises(SimulatedCrash):
            warehouse.job(job, EVERYTHING, failpoint=failpoint)
    first = "Bronze holds files of a run that was cut short, which are recorded first"
    assert pending("ingest", "transactions").endswith(f"2011-02-02T08); {first}")
    assert pending("gold") == f"gold: {first}"
    assert pending("ingest", "products").endswith(f"2011-02-02); {first}")
    assert command("run").code == 0
    assert {line.partition(": ")[2] for line in pending("run").splitlines()} == {"nothing pending"}


def test_a_dry_run_of_init_tells_what_there_is_and_what_a_reset_would_destroy(shop, command, pending):
    assert pending("init") == "init: set up by this version"
    told = pending("init", "--reset")
    assert told.startswith(
        "init: set up by this version; --reset would destroy ecommerce_db.transactions_raw (12 rows), "
    )
    assert "ecommerce_dw.fact_transactions (12 rows)" in told and ", fact_transactions (12 rows)" in told
    assert told.endswith("; the landing zone stays")
    shop.change("update ops.watermarks set snapshot_id = 1 where name = 'init'")
    assert pending("init") == "init: set up by another version"

    # half of it is gone: what is left is told
    shop.change("drop schema ops cascade")
    shop.lake("drop table lake.ecommerce_db.products purge")
    shutil.rmtree(shop.home.folder / "lake" / "ecommerce_db" / "products_raw")
    said = command("init", "--reset", "--dry-run")
    assert said.code == 0 and said.out.startswith("init: not set up, or not to the end; --reset would destroy ")
    assert "ecommerce_db.transactions_raw (12 rows)" in said.out and ", fact_transactions (12 rows)" in said.out
    assert "ecommerce_db.products" not in said.out and "ops.error_verdicts" not in said.out
    assert shop.query("select to_regclass('ops.watermarks')") == [(None,)]


def test_a_dry_run_sets_nothing_up_and_cannot_write(warehouse, command, monkeypatch):
    warehouse.change("update ops.watermarks set snapshot_id = 1 where name = 'init'")
    url = warehouse.context().gold_url()
    for arguments in (["run"], ["star"], ["maintain"]):
        said = command(*arguments, "--dry-run")
        assert said.code == 2 and "run `warehouse init`" in one_line(said)
        said = command(*arguments, "--dry-run", GOLD_URL=url)
        assert said.code == 2 and "scripts/run_setup.sh" in one_line(said)
    assert warehouse.query("select snapshot_id from ops.watermarks where name = 'init'") == [(1,)]
    assert command("init").code == 0

    def writes(context: Any) -> None:
        with context.gold.cursor() as cursor:
            cursor.execute("delete from ops.watermarks")

    monkeypatch.setattr(maintain, "pending", writes)
    said = command("maintain", "--dry-run")
    assert said.code == 1 and "read-only transaction" in one_line(said)


def test_a_run_reports_itself(warehouse, command, tmp_path):
    land_shop(warehouse)
    warehouse.land("transactions/transactions_2011-01-05T08.csv", ["X,O,A,none,2011-01-05 08:00:00,C,GB"], TRANSACTIONS)
    warehouse.land("products/products_2011-01-09.csv", ["A,Mug,Home,-1,5"], PRODUCTS)
    assert command("run", WAREHOUSE_RUN_ID="nightly").code == 3
    said = command("report", "nightly", "--into", str(tmp_path / "report"))
    assert (said.code, said.out) == (
        0,
        "countries 2011-01-01 to 2011-02-01, products 2011-01-01 to 2011-02-01,"
        " transactions 2011-01-03T08 to 2011-02-01T20: 13 landed = 12 facts + 1 errors; 1 rejected file\n",
    )
    checks = ElementTree.parse(tmp_path / "report" / "checks.xml")
    assert [case.get("name") for case in checks.iter("testcase")][:7] == [
        *[f"ingest {source}" for source in ("products", "countries", "transactions")],
        *("gold", "star", "detect", "alerts"),
    ]
    [failure, share] = checks.iter("failure")
    assert "products/products_2011-01-09.csv: NEGATIVE_PRICE" in str(failure.text)
    assert share.get("message") == "1 of 13 rows are in error, more than 5%" and "MALFORMED: 1" in str(share.text)
    page = (tmp_path / "report" / "summary.html").read_text(encoding="utf-8")
    assert '<td>MALFORMED</td><td align="right">1</td><td align="right">1</td>' in page

    land_window(warehouse, "2011-02-02T08")
    assert command("run", WAREHOUSE_RUN_ID="nightly2").code == 0
    said = command("report", "nightly2", "--into", str(tmp_path / "report"))
    assert said.out == "transactions 2011-02-02T08: 3 landed = 3 facts\n"
    assert not list(ElementTree.parse(tmp_path / "report" / "checks.xml").iter("failure"))


# --- where and when the machine stands -----------------------------------------------------------------


def test_the_time_zone_of_the_machine_moves_no_sale(warehouse):
    """Of an hour that Britain's clocks leave out in spring, read back from Gold for a price that comes late."""
    land_masters(warehouse, "2011-01-01", "1")
    sale = "SPRING,O,A,2,2011-03-27 01:30:00,C,GB"
    warehouse.land("transactions/transactions_2011-03-27T00.csv", [sale], TRANSACTIONS)
    warehouse.run()
    land_masters(warehouse, "2011-03-01", "3")
    process = CommandLine(warehouse.home.folder, warehouse.landing)
    assert process.run("run", TZ="Europe/London").code == 0
    facts = warehouse.query("select invoice_date::text, unit_price::int from fact_transactions")
    assert facts == [("2011-03-27 01:30:00", 3)]
    assert_agrees_with_oracle(warehouse)


# --- two at once ------------------------------------------------------------------------------------


def test_first_commands_at_once_make_each_database_once(warehouse):
    url = warehouse.context().gold_url(admin=True).rpartition("/")[0] + "/at_once"
    contexts = [warehouse.context(gold_url=url, gold_admin_url=url) for _ in range(4)]
    with ThreadPoolExecutor() as threads:
        assert list(threads.map(gold.create_databases, contexts)) == [None] * 4
    assert warehouse.query("select count(*) from pg_database where datname = 'at_once'") == [(1,)]
    warehouse.change("drop database at_once", database="postgres")


def test_two_runs_at_once_do_not_interleave(warehouse, command):
    land_shop(warehouse)
    first = CommandLine(warehouse.home.folder, warehouse.landing).start("run")
    while not warehouse.query("select from ops.etl_runs where status = 'RUNNING'"):
        assert first.poll() is None, finish(first)
        time.sleep(0.02)
    second = command("run", WAREHOUSE_LOCK_WAIT="300")
    told = finish(first)
    assert (told.code, second.code) == (0, 0), (told, second)
    assert re.search(r"waiting for ingest \w+ of run \S+ \(since ..:..:.. UTC\)", second.err + told.err)
    assert_agrees_with_oracle(warehouse)
    assert warehouse.query("select from ops.etl_runs where status <> 'DONE'") == []


@pytest.mark.parametrize(
    ("running", "arguments"),
    [
        ("gold", ["gold"]),
        ("ingest products", ["run"]),
        ("ingest transactions", ["gold"]),  # settles what that records
        ("gold", ["star"]),  # follows what that commits
        ("star", ["maintain"]),  # rewrites what that merges
        ("maintain", ["ingest", "transactions"]),
    ],
)
def test_a_job_that_must_not_run_meanwhile_stops_and_names_the_run(warehouse, command, running, arguments):
    writers = ["ingest products", "ingest transactions", "gold", "star"] if running == "maintain" else []
    other = warehouse.context()
    with ledger.job(other, running, apart_from=writers):
        for wait in ("0", "1"):
            said = command(*arguments, WAREHOUSE_LOCK_WAIT=wait)
            assert said.code == 1
            assert f"has to wait for {running} of run {other.run_id}" in one_line(said)
    other.close()
    assert command(*arguments, WAREHOUSE_LOCK_WAIT="0").code == 0


def test_a_job_whose_lock_is_lost_does_not_commit(warehouse):
    context = warehouse.context()
    with pytest.raises(Exception, match=r"terminat|closed"), ledger.job(context, "gold"):
        warehouse.change(
            "select pg_terminate_backend(l.pid) from pg_locks as l where l.locktype = 'advisory'"
            " and l.database = (select d.oid from pg_database as d where d.datname = current_database())",
        )
    context.close()
    assert warehouse.query("select job, status from ops.etl_runs") == [("gold", "FAILED")]


# --- services that are gone -------------------------------------------------------------------------


def test_a_run_id_used_again_keeps_the_books_and_heals_what_was_cut_short(warehouse, command):
    nightly = {"WAREHOUSE_RUN_ID": "nightly"}
    land_shop(warehouse)
    for _ in range(2):
        assert command("run", **nightly).code == 0
    land_window(warehouse, "2011-02-02T08")
    for job in (["ingest", "transactions"], ["gold"]):
        assert command(*job, **nightly).code == 0
    with pytest.raises(SimulatedCrash):
        warehouse.job(build_star_schema.run, failpoint="after-star-append:raise", run_id="nightly")
    assert command("star", **nightly).code == 0
    assert warehouse.query("select run_id, status from ops.etl_runs where job = 'star' order by started_at") == [
        ("nightly", "DONE"), ("nightly.2", "DONE"), ("nightly.3", "KILLED"), ("nightly.4", "DONE"),
    ]  # fmt: skip
    landed, *placed = warehouse.books()
    assert landed == sum(placed) == 15
    assert_agrees_with_oracle(warehouse)


def test_a_cluster_that_was_not_set_up_by_this_version_says_what_to_run(warehouse, command):
    url = warehouse.context().gold_url()
    warehouse.change("update ops.watermarks set snapshot_id = 1 where name = 'init'")
    for gold_url in (url, url.rpartition("/")[0] + "/nowhere"):
        said = command("gold", GOLD_URL=gold_url)
        assert said.code == 2
        assert "scripts/run_setup.sh" in one_line(said)


def test_status_tells_what_gold_knows_when_the_landing_zone_is_away(shop, command, monkeypatch):
    def away(*_: Any) -> None:
        raise PySparkException(
            "Call From client to namenode:8020 failed: java.net.ConnectException: Connection refused"
        )

    monkeypatch.setattr(landing, "pending", away)
    said = command("status", "--json")
    assert said.code == 0
    document = json.loads(said.out)
    assert document["books"]["landed"] == 12
    assert "HDFS at namenode:8020 is away" in document["backlog"]["files_not_loaded"]


def test_gold_away_is_one_line_that_names_host_and_port(process):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    for command in (["run"], ["status"], ["gold"]):
        said = process.run(*command, GOLD_URL=f"postgresql://etl:a-secret@127.0.0.1:{port}/ecommerce_gold")
        assert said.code == 1, said
        assert f"127.0.0.1:{port}" in one_line(said)
        assert len(said.err.splitlines()) == 1 and said.out == ""
        assert "a-secret" not in said.err


def test_who_has_read_enough_hears_no_more(warehouse):
    """`| head`, and a command that is at its end or in the middle of what it says."""
    command = CommandLine(warehouse.home.folder, warehouse.landing)
    for at_once, code in (("", 0), ("1", 1)):
        reads, writes = os.pipe()
        os.close(reads)
        environment = command.environment({"PYTHONUNBUFFERED": at_once})
        said = subprocess.run(
            [PROGRAM, "gold-url"], env=environment, stdout=writes, stderr=subprocess.PIPE, text=True, check=False
        )
        os.close(writes)
        assert (said.returncode, said.stderr) == (code, "")


def test_a_run_leaves_nothing_cached(warehouse):
    land_shop(warehouse)
    warehouse.run()
    assert warehouse.home.spark._jsparkSession.sharedState().cacheManager().isEmpty()
