"""The real command line, killed for real: whatever the moment, the next run ends in the state of a clean rebuild."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from against_oracle import assert_agrees_with_oracle
from command_line import CommandLine, finish
from harness import SOAK, Warehouse, assert_same_state

from generators.synthetic import generate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("kills")]

# where the run dies, and the job whose ledger line says so (none: it had committed); after the commits to Bronze of
# products and countries, which is the code of transactions, the property test ends runs, and the soak kills them
POINTS = {
    "after-products-merge": "ingest products",
    "after-transactions-commit": "ingest transactions",
    "during-copy": "gold",
    "before-gold-commit": "gold",
    "after-gold-commit": None,
    "after-star-append": "star",
    "after-star-merge": "star",
}
if SOAK:
    POINTS |= {"after-products-commit": "ingest products", "after-countries-commit": "ingest countries"}
SEED = 20110104


class Deliveries:
    """A shop's files, out of order: every load brings late snapshots, late windows and repeats among the new."""

    def __init__(self, landing: Path, loads: int) -> None:
        faults = dict.fromkeys(("conflict_across_windows", "duplicate_in_later_window", "no_price"), 30)
        faults |= dict.fromkeys(("conflict_in_window", "too_few_fields", "country_unknown", "product_unknown"), 6)
        self.landing = landing
        self._stock = landing.with_name("not-yet-landed")
        generate(
            self._stock,
            seed=SEED,
            start=date(2011, 1, 4),
            days=2 * loads,
            rows_per_day=120,
            products=40,
            customers=150,
            faults=faults,
        )
        shuffled = random.Random(SEED)
        by_source: dict[str, list[Path]] = {}
        for file in sorted(self._stock.rglob("*.csv")):
            by_source.setdefault(file.parent.name, []).append(file)
        self._loads: list[list[Path]] = [[] for _ in range(loads)]
        for files in by_source.values():
            shuffled.shuffle(files)
            for number, file in enumerate(files):
                self._loads[number % loads].append(file)

    def land(self) -> None:
        """The next load, and once more a file of an earlier one under another name."""
        before = sorted(self.landing.rglob("transactions_*.csv"))
        for file in self._loads.pop(0):
            place = self.landing / file.relative_to(self._stock)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)
        if before:
            first = before[0]
            first.with_name(f"{first.stem}_again{len(self._loads)}.csv").write_bytes(first.read_bytes())


@pytest.fixture(scope="module")
def shop(home, tmp_path_factory) -> Iterator[tuple[Warehouse, CommandLine, Deliveries]]:
    """One warehouse for all kills, each of which meets a load of its own; in the end it equals its rebuild."""
    landing = tmp_path_factory.mktemp("shop") / "landing"
    warehouse = home.empty_warehouse(landing)
    deliveries = Deliveries(landing, loads=1 + len(POINTS) + len(MOMENTS) + len(CUTS))
    deliveries.land()
    warehouse.run()
    yield warehouse, CommandLine(home.folder, landing), deliveries


def assert_recovers(warehouse: Warehouse, run: Callable[[], object]) -> None:
    """One more run, and nothing tells of the kill but a line of the ledger."""
    run()
    assert_agrees_with_oracle(warehouse)
    landed, *placed = warehouse.books()
    assert landed == sum(placed)
    assert warehouse.query("select job from ops.etl_runs where status = 'RUNNING'") == []
    assert warehouse.query("select tablename from pg_tables where schemaname = 'staging'") == []
    ((unbalanced,),) = warehouse.query(
        "select count(*) from ops.etl_runs where rows_in <> rows_fact + rows_error + rows_duplicate"
    )
    assert unbalanced == 0


def newest_run(warehouse: Warehouse) -> dict[str, str]:
    """Status of each job of the run that began last."""
    return dict(
        warehouse.query(
            "select job, status from ops.etl_runs"
            " where run_id = (select run_id from ops.etl_runs order by started_at desc limit 1)"
        )
    )


def statuses(warehouse: Warehouse, job: str) -> list[str]:
    return [
        status
        for (status,) in warehouse.query("select status from ops.etl_runs where job = %s order by started_at", (job,))
    ]


@pytest.mark.parametrize("point", POINTS)
def test_a_run_killed_at_a_named_point_is_made_good_by_the_next(shop, point):
    warehouse, command, deliveries = shop
    deliveries.land()
    killed = command.run("run", WAREHOUSE_FAILPOINT=point)
    assert killed.code == -signal.SIGKILL, (killed.out, killed.err)
    job = POINTS[point]
    assert newest_run(warehouse) == dict.fromkeys(newest_run(warehouse), "DONE") | ({job: "RUNNING"} if job else {})
    if point == "during-copy":
        assert_rows_were_on_their_way(warehouse)
    # a process as its user starts it once, the same code on the shared session otherwise
    again = (lambda: command.run("run")) if point == "during-copy" else warehouse.run
    assert_recovers(warehouse, again)
    if job:
        assert statuses(warehouse, job)[-2:] == ["KILLED", "DONE"]


def assert_rows_were_on_their_way(warehouse: Warehouse) -> None:
    """The staging table of the killed COPY has got pages: rows had reached the server."""
    ((pages,),) = warehouse.query(
        "select coalesce(sum(pg_relation_size(format('staging.%%I', tablename))), 0)"
        " from pg_tables where schemaname = 'staging' and tablename like 'decided%%'"
    )
    assert pages > 0


MOMENTS = [random.Random(SEED + number).random() for number in range(10 if SOAK else 2)]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_from_outside_at_any_moment_is_made_good_by_the_next(shop, moment):
    warehouse, command, deliveries = shop
    deliveries.land()
    process = command.start("run")
    wait_for_job(warehouse, process, "ingest products")
    time.sleep(moment * 12)
    os.killpg(process.pid, signal.SIGKILL)
    finish(process)
    assert_recovers(warehouse, warehouse.run)


CUTS = ["gold", "star"]


@pytest.mark.parametrize("job", CUTS)
def test_a_run_whose_sessions_postgres_ends_fails_in_one_line_and_is_made_good_by_the_next(shop, job):
    warehouse, command, deliveries = shop
    deliveries.land()
    others = [pid for (pid,) in warehouse.query("select pid from pg_stat_activity")]
    process = command.start("run")
    wait_for_job(warehouse, process, job)
    while process.poll() is None:
        warehouse.query(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where backend_type = 'client backend' and pid <> pg_backend_pid() and pid <> all(%s)",
            (others,),
        )
        time.sleep(0.05)
    said = finish(process)
    assert said.code == 1, said
    complaint = [line for line in said.err.splitlines() if not line.startswith("ingest ")]
    assert len(complaint) == 1 and complaint[0].startswith("warehouse: "), said.err
    assert "terminating connection" in complaint[0] or "away" in complaint[0]
    assert "Traceback" not in said.err
    assert_recovers(warehouse, warehouse.run)


def wait_for_job(warehouse: Warehouse, process: "subprocess.Popen[str]", job: str) -> None:
    """Until the run has begun a job."""
    deadline = time.monotonic() + 300
    while (job, "RUNNING") not in newest_run(warehouse).items():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline, f"{job} does not begin"
        time.sleep(0.05)


def test_after_all_kills_the_warehouse_equals_its_rebuild(shop):
    warehouse, _, _ = shop
    before = warehouse.state()
    assert "KILLED" in statuses(warehouse, "gold") + statuses(warehouse, "star")
    warehouse.reset()
    warehouse.run()
    assert_same_state(warehouse.state(), before)
