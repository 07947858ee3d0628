"""Back-ups and restores: what was restored and run again is what never was restored, or nothing has changed."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from command_line import CommandLine, Said, finish
from harness import TRANSACTIONS, Rows, Warehouse, assert_same_state

from generators.synthetic import generate
from jobs import backup as backup_job
from jobs import maintain
from warehouse import backups, embedded, lake, ledger
from warehouse.errors import WarehouseError
from warehouse.session import CATALOG_DATABASE, GOLD_DATABASE, SimulatedCrash

pytestmark = pytest.mark.slow

START, FOURTH_DAY = date(2011, 1, 3), "2011-01-06"
FAULTS = {"too_few_fields": 6, "country_unknown": 6, "no_price": 10, "conflict_across_windows": 10}
TABLES = [f"{namespace}.{table}" for namespace, tables in lake.TABLES.items() for table in tables]
Command = Callable[..., Said]


@pytest.fixture
def empty(warehouse: Warehouse, tmp_path: Path) -> Warehouse:
    """Nothing has landed; back-ups have a folder of their own."""
    warehouse.config = replace(warehouse.config, backups=tmp_path / "backups")
    return warehouse


@pytest.fixture
def shop(empty: Warehouse) -> Warehouse:
    """Five days have landed, three of them are loaded."""
    return empty.prepared(load_three_of_five_days)


@pytest.fixture
def gone_on(empty: Warehouse) -> Warehouse:
    """Three of five days were loaded and backed up, and the others were loaded since."""
    return empty.prepared(go_on_after_a_back_up)


def land_five_days(warehouse: Warehouse) -> None:
    generate(warehouse.landing, seed=6, start=START, days=5, rows_per_day=60, products=20, customers=40, faults=FAULTS)


def load_three_of_five_days(warehouse: Warehouse) -> None:
    land_five_days(warehouse)
    warehouse.run(until=FOURTH_DAY)


def go_on_after_a_back_up(warehouse: Warehouse) -> None:
    load_three_of_five_days(warehouse)
    warehouse.job(backup_job.run)
    warehouse.run()
    # a price that stays for one more snapshot, and changes in the next
    newest = max((warehouse.landing / "products").iterdir()).read_text()
    warehouse.land("products/products_2011-02-01.csv", newest)
    warehouse.run()
    warehouse.land("products/products_2011-02-02.csv", re.sub(r"\d\.\d\d", "7.77", newest))
    warehouse.run()


@pytest.fixture
def command(command: Command, tmp_path: Path, monkeypatch) -> Command:
    """The same with something to read on standard input, and back-ups in a folder of their own."""

    def with_input(*arguments: str, typed: str = "", **settings: str) -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        return command(*arguments, WAREHOUSE_BACKUPS=str(tmp_path / "backups"), **settings)

    return with_input


def restore(command: Command, *arguments: str) -> Said:
    """A restore that is confirmed."""
    return command("restore", *arguments, typed=f"{GOLD_DATABASE}\n")


def folders(shop: Warehouse) -> list[str]:
    return sorted(path.name for path in shop.config.backups.iterdir())


def manifest(shop: Warehouse) -> dict[str, Any]:
    """The only back-up's."""
    [file] = shop.config.backups.glob("*/manifest.json")
    return dict(json.loads(file.read_text()))


def decide(shop: Warehouse, reason: str, decision: str) -> None:
    """A steward's decision on an open error of a kind."""
    context = shop.context()
    with closing(context.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute("select min(error_id) from transactions_error where reason = %s and status = 'OPEN'", (reason,))
        [(error_id,)] = cursor.fetchall()
        cursor.execute(f"select {decision}", (error_id,))


def facts(shop: Warehouse) -> int:
    [(count,)] = shop.query("select count(*) from fact_transactions")
    return int(count)


def databases(shop: Warehouse) -> set[str]:
    return {name for (name,) in shop.query("select datname from pg_database where not datistemplate")}


def assert_balanced(shop: Warehouse) -> None:
    landed, *placed = shop.books()
    assert landed == sum(placed)


DISCARD = "discard_error(%s, 'a test')"
CORRECT = """correct_error(%s, '{"country_id": "FR"}')"""


# --- the promise ------------------------------------------------------------------------------------


def test_what_is_restored_and_run_again_is_what_never_was_restored(shop, command):
    decide(shop, "UNKNOWN_COUNTRY", CORRECT)
    shop.run(until=FOURTH_DAY)
    before = facts(shop)
    made = command("backup")
    assert made.code == 0 and re.fullmatch(r"backup: \S+Z, gold.dump \d.\d MB, metastore.dump \d.\d MB\n", made.out)
    shop.run()
    never_restored = shop.state()
    decide(shop, "MALFORMED", DISCARD)
    shop.run()
    assert shop.state()["errors"] != never_restored["errors"]
    idle = shop.context().connect()

    said = restore(command, "latest")
    assert (said.code, said.out) == (
        0,
        f"restore: Gold and the lake's catalog as of {folders(shop)[0]}; `warehouse run` loads what came since\n",
    ), said
    assert "Lost for good: 1 decision on errors and 0 verdicts on cases.\n" in said.err
    with closing(idle), pytest.raises(psycopg2.OperationalError):
        idle.cursor().execute("select")
    assert facts(shop) == before < len(never_restored["facts"])
    assert databases(shop) == {"postgres", GOLD_DATABASE, CATALOG_DATABASE}

    shop.run()
    assert_same_state(shop.state(), never_restored)
    assert_balanced(shop)
    assert {outcome.line for outcome in shop.run()} == {"nothing pending"}
    assert shop.query(
        "select job, status, detail ->> 'backup' from ops.etl_runs where job in ('backup', 'restore') order by 1"
    ) == [("backup", "DONE", None), ("restore", "DONE", folders(shop)[0])]


def test_gold_alone_restored_catches_up_with_a_lake_that_went_on(gone_on, command):
    never_restored = gone_on.state()
    for file in gone_on.landing.rglob("*.csv"):  # moved away since: Bronze has their rows
        file.unlink()

    both = command("restore", "latest", typed="no\n")
    assert both.code == 2 and re.search(r"Lost for good: \d+ files no longer in the landing zone, such as ", both.err)
    said = restore(command, "latest", "--gold-only")
    assert said.code == 0 and "Lost for good" not in said.err, said
    assert facts(gone_on) < len(never_restored["facts"])

    gone_on.run()
    assert_same_state(gone_on.state(), never_restored)
    assert_balanced(gone_on)
    assert {outcome.line for outcome in gone_on.run()} == {"nothing pending"}


def test_a_restore_that_is_killed_between_its_two_databases_is_made_good_by_the_next_run(gone_on, command):
    [(before,)] = gone_on.query("select rows_fact from ops.etl_runs where job = 'gold' order by started_at limit 1")
    never_restored = gone_on.state()
    process = CommandLine(
        gone_on.home.folder,
        gone_on.landing,
        {"WAREHOUSE_BACKUPS": str(gone_on.config.backups), "WAREHOUSE_FAILPOINT": "after-restoring-one"},
    )
    killed = process.run("restore", "latest", typed=f"{GOLD_DATABASE}\n")
    assert killed.code == -signal.SIGKILL, killed
    assert facts(gone_on) == before < len(never_restored["facts"])
    gone_on.run()
    assert_same_state(gone_on.state(), never_restored)
    assert restore(command, "latest").code == 0  # over what the killed one left
    assert databases(gone_on) == {"postgres", GOLD_DATABASE, CATALOG_DATABASE}
    gone_on.run()
    assert_same_state(gone_on.state(), never_restored)


@pytest.mark.parametrize("options", [(), ("--gold-only",)])
def test_what_gold_had_yet_to_follow_when_it_was_backed_up_it_follows_once_restored(shop, command, options):
    for source in ("products", "countries", "transactions"):
        assert command("ingest", source).code in (0, 3)
    assert command("backup").code == 0
    shop.run()
    never_restored = shop.state()
    expire_what_was_before(shop)  # from where Gold would have gone on
    assert restore(command, "latest", *options).code == 0
    shop.run()
    assert_same_state(shop.state(), never_restored)


def expire_what_was_before(shop: Warehouse) -> int:
    """Expire the snapshots before those of the back-up, as `maintain` of a later day; how many."""
    count = "select count(*) from lake.{}.snapshots"
    before = sum(shop.lake(count.format(table))[0][0] for table in TABLES)
    for table, described in manifest(shop)["tables"].items():
        if described["snapshot"]:
            [(taken_at,)] = shop.lake(
                f"select cast(committed_at as string) from lake.{table}.snapshots"
                f" where snapshot_id = {described['snapshot']}"
            )
            shop.lake(f"call lake.system.expire_snapshots(table => '{table}', older_than => timestamp '{taken_at}')")
    return before - sum(shop.lake(count.format(table))[0][0] for table in TABLES)


# --- a lake that went on ----------------------------------------------------------------------------


def test_a_description_that_was_deleted_meanwhile_is_put_back(gone_on, command):
    never_restored = gone_on.state()
    for table in manifest(gone_on)["tables"].values():  # as after twenty commits
        Path(table["metadata"].removeprefix("file:")).unlink(missing_ok=True)
    assert restore(command, "latest").code == 0
    gone_on.run()
    assert_same_state(gone_on.state(), never_restored)


def test_a_lake_whose_snapshots_have_expired_is_not_restored_but_gold_alone_is(gone_on, command):
    before = gone_on.state()
    gone_on.job(maintain.run, keep_snapshots_days=0)
    said = restore(command, "latest")
    assert (said.code, said.out) == (1, ""), said
    assert re.search(r"cannot bring the lake back: ecommerce_\w+\.\w+ needs \S+, which is gone", said.err)
    assert "restore --gold-only" in said.err and "Type the name" not in said.err
    assert_same_state(gone_on.state(), before)

    assert restore(command, "latest", "--gold-only").code == 0
    gone_on.run()
    assert_same_state(gone_on.state(), before)


def test_maintenance_goes_on_after_a_restore_over_what_it_had_expired(shop, command):
    shop.run()
    assert command("backup").code == 0
    before = shop.state()
    assert expire_what_was_before(shop) > 0
    assert restore(command, "latest").code == 0
    shop.job(maintain.run, keep_snapshots_days=0)
    assert {shop.lake(f"select count(*) from lake.{table}.snapshots")[0][0] for table in TABLES} == {1}
    shop.run()
    assert_same_state(shop.state(), before)


def test_maintenance_keeps_what_a_back_up_needs_of_a_table_that_had_not_changed_for_long(shop, command):
    """Its snapshot was made before the time that is kept, and was in force when that begins."""
    assert command("backup").code == 0
    made, before = datetime.now(UTC), shop.state()
    shop.run()
    context = shop.context()
    context.clock = lambda: made + timedelta(days=context.config.keep_snapshots_days)
    maintain.run(context)
    context.close()
    assert restore(command, "latest").code == 0
    assert_same_state(shop.state(), before)


def test_a_catalog_that_has_lost_the_tables_is_told_of_them_again_by_init(shop, command):
    shop.run()
    before = shop.state()
    folder = shop.home.folder / "lake" / "ecommerce_db" / "products" / "metadata"
    (folder / "00099-cut-short.metadata.json").write_text('{"format-version" : 2, "table-u')
    forget_tables(shop)
    said = command("init")
    assert said.code == 0 and f"the catalog had lost {', '.join(TABLES)}, and has them again" in said.out, said
    assert_same_state(shop.state(), before)
    assert {outcome.line for outcome in shop.run()} == {"nothing pending"}

    forget_tables(shop)
    for data in (folder.parent / "data").rglob("*.parquet"):
        data.unlink()
    said = command("init")
    assert said.code == 1 and "the catalog has lost ecommerce_db.products, and files of it are gone" in said.err
    assert command("init", "--reset").code == 0


def forget_tables(shop: Warehouse) -> None:
    """As a metastore whose database was lost."""
    with closing(shop.context().connect(database=CATALOG_DATABASE)) as connection, connection:
        connection.cursor().execute("delete from iceberg_tables")


def test_gold_alone_is_not_restored_over_a_lake_that_was_made_anew(shop, command):
    assert command("backup").code == 0
    shop.make_anew()
    said = restore(command, "latest", "--gold-only")
    assert said.code == 1 and "Bronze is not the one of back-up" in said.err
    assert facts(shop) == 0


# --- all or nothing ---------------------------------------------------------------------------------


def test_a_restore_that_fails_changes_nothing(gone_on, command):
    before = gone_on.state()
    [folder] = gone_on.config.backups.iterdir()
    dump, listed = folder / "metastore.dump", folder / "manifest.json"
    whole, contents = dump.read_bytes(), manifest(gone_on)

    def unconfirmed() -> None:
        said = command("restore", "latest", typed="ecommerce\n")
        assert said.code == 2 and "not confirmed, nothing was changed" in said.err

    def unknown() -> None:
        said = restore(command, "2011-01-01T00-00-00Z")
        assert said.code == 2 and f"there are {folder.name}" in said.err

    def fails_after_the_first_database() -> None:
        with pytest.raises(SimulatedCrash):
            command("restore", "latest", typed=f"{GOLD_DATABASE}\n", WAREHOUSE_FAILPOINT="after-restoring-one:raise")

    def damaged() -> None:
        dump.write_bytes(whole[:-200])
        said = restore(command, "latest")
        assert said.code == 1 and "metastore.dump of back-up" in said.err and "Type the name" not in said.err

    def damaged_and_nobody_noticed() -> None:
        contents["files"][dump.name]["sha256"] = backups._sha256(dump)
        listed.write_text(json.dumps(contents))
        said = restore(command, "latest")
        assert said.code == 1 and "the metastore's database at 127.0.0.1:" in said.err

    for fault in (unconfirmed, unknown, fails_after_the_first_database, damaged, damaged_and_nobody_noticed):
        fault()
        assert_same_state(gone_on.state(), before)
        assert databases(gone_on) == {"postgres", GOLD_DATABASE, CATALOG_DATABASE}
    assert {outcome.line for outcome in gone_on.run()} == {"nothing pending"}


def test_nothing_is_backed_up_or_restored_while_a_job_runs(empty, command):
    assert command("backup").code == 0
    other = empty.context()
    with ledger.job(other, "star"):
        for arguments in (("backup",), ("restore", "latest")):
            said = command(*arguments, typed=f"{GOLD_DATABASE}\n", WAREHOUSE_LOCK_WAIT="0")
            assert said.code == 1 and f"has to wait for star of run {other.run_id}" in said.err
    other.close()
    assert len(folders(empty)) == 1
    newest = "select status from ops.etl_runs where job = 'star' order by started_at desc limit 1"
    assert empty.query(newest) == [("DONE",)]


def test_a_back_up_that_a_job_wrote_into_is_none(empty, monkeypatch):
    def described(*_: Any) -> dict[str, Any]:
        context = empty.context()
        with closing(context.connect()) as connection, connection:
            connection.cursor().execute("insert into ops.etl_runs (run_id, job) values ('meanwhile', 'gold')")
        return {}

    monkeypatch.setattr(backups, "_write_descriptions", described)
    with pytest.raises(WarehouseError, match="`gold` ran meanwhile"):
        empty.job(backup_job.run)
    assert folders(empty) == []
    assert empty.query("select status from ops.etl_runs where job = 'backup'") == [("FAILED",)]


# --- what is kept, and what is in it ----------------------------------------------------------------


def test_the_newest_back_ups_are_kept_and_none_is_ever_half_there(empty, command):
    names = []
    for day in range(1, 5):
        unfinished = empty.config.backups / f".2011-02-{day:02}T00-00-00Z"
        unfinished.mkdir(parents=True)  # of one that was killed
        context = empty.context(backups_kept=2)
        context.clock = lambda day=day: datetime(2026, 1, day, 3, 30, tzinfo=UTC)
        outcome = backup_job.run(context)
        context.close()
        names.append(outcome.numbers["backup"])
        assert folders(empty) == names[-2:]
        assert outcome.numbers["removed"] == (day > 2)
    assert names[0] == "2026-01-01T03-30-00Z"
    (empty.config.backups / "notes").mkdir()
    said = command("backup", "--dry-run")
    assert said.code == 0 and re.fullmatch(
        r"backup: would dump ecommerce_gold \(\S+ MB in Postgres\) and ecommerce_lake \(\S+ MB in Postgres\) to \S+\n",
        said.out,
    )
    assert folders(empty) == [*names[-2:], "notes"]
    assert len(empty.query("select from ops.etl_runs where job = 'backup'")) == 4


def test_a_server_that_is_killed_stopped_or_lost_is_back_with_the_next_command_and_no_password_shows(empty, own_home):
    """As processes, in a home of their own; what can be read of them meanwhile has no password in it."""
    land_five_days(empty)
    started = tell_of_programs(own_home.with_name("started"))
    process = CommandLine(own_home, empty.landing, {"PYTHONPATH": str(started.parent)})
    seen: set[str] = set()
    ends = [watched(process.start("run"), seen)]
    before = sales(own_home)

    os.kill(server_pid(own_home), signal.SIGKILL)
    empty.land("transactions/transactions_2011-01-08T08.csv", ["X,O,A,none,2011-01-08 08:00:00,C,GB"], TRANSACTIONS)
    ends.append(watched(process.start("run"), seen))
    assert "gold: 1 landed = 0 facts + 1 errors + 0 duplicates" in ends[-1].out
    ends.append(watched(process.start("backup"), seen))
    [folder] = (own_home / "backups").iterdir()
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert folder.stat().st_mode & 0o777 == 0o700 and {file.stat().st_mode & 0o777 for file in files} == {0o600}
    password = (own_home / "postgres" / "password").read_text()
    assert len(files) > 10 and not [file for file in files if password.encode() in file.read_bytes()]

    ends += [process.run("stop"), process.run("stop")]
    assert [end.out for end in ends[3:]] == ["stopped\n", "nothing was running\n"]
    assert embedded._running(own_home / "postgres") is None
    shutil.rmtree(own_home / "postgres")
    ends.append(watched(process.start("restore", "latest", "--json", typed=f"{GOLD_DATABASE}\n"), seen))
    assert json.loads(ends[-1].out)[0]["job"] == "restore"
    assert sales(own_home) == before
    ends.append(process.run("run"))
    assert ends[-1].out.count("nothing pending") == 6
    assert sales(own_home) == before

    assert [end.code for end in ends] == [0] * len(ends), ends
    assert [end.err for end in (*ends[:5], ends[-1])] == [""] * 6  # the restore says what it does
    seen.update(started.read_text().splitlines())
    assert all(any(program in line for line in seen) for program in ("java", "pg_dump", "pg_restore"))
    for secret in (password, (own_home / "postgres" / "password").read_text()):
        assert not [line for line in seen if secret in line]
        assert not [end for end in ends if secret in end.out + end.err]


def tell_of_programs(folder: Path) -> Path:
    """A file that gets the arguments of each program which a Python with this file's folder on its path starts.

    Some programs end before they can be seen among all processes.
    """
    folder.mkdir()
    file = folder / "programs"
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def tell(event, arguments):\n"
        "    if event == 'subprocess.Popen':\n"
        f"        with open({str(file)!r}, 'a') as told:\n"
        "            print(*map(os.fsdecode, arguments[1]), file=told)\n"
        "sys.addaudithook(tell)\n"
    )
    return file


def watched(process: "subprocess.Popen[str]", seen: set[str]) -> Said:
    """How a process ends; what could be read of all processes' arguments meanwhile goes into `seen`."""
    while process.poll() is None:
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it has ended
                seen.add(file.read_text(errors="replace").replace("\0", " "))
        time.sleep(0.05)
    return finish(process)


def server_pid(home: Path) -> int:
    return int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])


def sales(home: Path) -> Rows:
    with closing(psycopg2.connect(embedded.start_gold(home).url(GOLD_DATABASE))) as connection:
        cursor = connection.cursor()
        cursor.execute("select * from fact_transactions order by transaction_id")
        return cursor.fetchall()


def test_people_keep_their_logins_on_a_server_that_lost_them(empty, command):
    empty.change("create role anna login password 'before' in role steward, bi_reader")
    empty.change("create role ben login password 'before' in role bi_reader")
    try:
        assert command("backup").code == 0
        empty.change("drop role anna; alter role ben password 'changed since'")
        empty.change(f"drop database {GOLD_DATABASE} with (force)", database="postgres")
        assert restore(command, "latest").code == 0
        server = embedded.start_gold(empty.home.folder)
        for name, password, view in [
            ("anna", "before", "anomaly_cases"),
            ("anna", "before", "bi.revenue_by_month"),
            ("ben", "changed since", "bi.revenue_by_month"),
        ]:
            with closing(psycopg2.connect(server.url(GOLD_DATABASE, name, password))) as connection:
                connection.cursor().execute(f"select * from {view}")
    finally:
        empty.change("drop role if exists anna; drop role if exists ben")


def test_a_restored_gold_lets_everybody_do_what_they_could(empty, command):
    rights = (
        "select 'table', c.oid::regclass::text, c.relacl::text from pg_class as c"
        " inner join pg_namespace as n on c.relnamespace = n.oid where n.nspname in ('public', 'ops', 'bi', 'empty')"
        " union all select 'function', p.oid::regprocedure::text, p.proacl::text from pg_proc as p"
        " inner join pg_namespace as n on p.pronamespace = n.oid where n.nspname in ('public', 'ops', 'bi', 'empty')"
        " union all select 'schema', nspname, nspacl::text from pg_namespace where nspname !~ '^pg_(temp|toast_temp)'"
        " union all select 'database', datname, datacl::text from pg_database where datname = current_database()"
        " union all select 'policy', tablename || ' ' || policyname, concat(roles, cmd, qual, with_check)"
        " from pg_policies"
        " order by 1, 2"
    )

    def asked() -> Rows:
        return empty.query(rights)

    before = asked()
    assert command("backup").code == 0
    assert restore(command, "latest").code == 0
    assert asked() == before


def test_decisions_on_errors_can_be_carried_over_into_a_warehouse_made_anew(shop, tmp_path):
    decide(shop, "UNKNOWN_COUNTRY", CORRECT)
    decide(shop, "MALFORMED", DISCARD)
    shop.run()
    before = shop.state()
    file = tmp_path / "decisions.sql"  # as the runbook has it
    backups.gold_database(shop.context()).run("pg_dump", "--data-only", "--table=ops.error_verdicts", f"--file={file}")
    shop.make_anew()
    backups.gold_database(shop.context()).run("psql", "-q", "-v", "ON_ERROR_STOP=1", f"--file={file}")
    shop.run()
    assert_same_state(shop.state(), before)


# --- where it cannot be done ------------------------------------------------------------------------


def test_a_metastore_s_database_that_is_unknown_or_away_is_named(empty, command):
    cluster = {"GOLD_URL": empty.context().gold_url()}
    said = command("backup", **cluster)
    assert said.code == 2 and "METASTORE_DB_URL is not set" in said.err
    said = command("backup", METASTORE_DB_URL="postgresql://hive:hidden@127.0.0.1:1/metastore", **cluster)
    assert said.code == 1 and "the metastore's database at 127.0.0.1:1: connection to server" in said.err
    assert "hidden" not in said.err and len(said.err.splitlines()) == 1
    assert folders(empty) == []


def test_without_a_back_up_none_can_be_restored(empty, command):
    said = restore(command, "latest")
    assert said.code == 2 and said.err.endswith(": there is none\n")
