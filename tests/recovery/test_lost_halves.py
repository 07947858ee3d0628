"""What is lost is made anew: Gold, the star, halves of either; and maintenance changes no row."""

import shutil
from typing import Any

import pytest
from against_oracle import assert_agrees_with_oracle
from command_line import one_line
from harness import Warehouse, assert_same_state, crash
from two_months import land_masters, land_window, run_shop

from jobs import build_star_schema, ingest_products, ingest_transactions, maintain
from warehouse import lake
from warehouse.landing import Scope
from warehouse.session import SimulatedCrash

pytestmark = pytest.mark.slow

EVERYTHING = Scope()
DROP_GOLD = "drop schema public, ops, staging cascade"


@pytest.fixture
def shop(warehouse: Warehouse) -> Warehouse:
    """Two months of a very small shop, all of it loaded."""
    return warehouse.prepared(run_shop)


def test_init_on_a_warehouse_in_use_changes_nothing(shop, command):
    before, ledger_before = shop.state(), shop.query("select * from ops.etl_runs order by run_id, job")
    marks = shop.query("select name, snapshot_id from ops.watermarks order by name")
    files = shop.query("select * from ops.landed_files order by path")
    said = command("init")
    assert (said.code, said.out) == (0, "init: created or upgraded\n")
    assert_same_state(shop.state(), before)
    assert shop.query("select * from ops.etl_runs order by run_id, job") == ledger_before
    assert shop.query("select name, snapshot_id from ops.watermarks order by name") == marks
    assert shop.query("select * from ops.landed_files order by path") == files
    assert {outcome.line for outcome in shop.run()} == {"nothing pending"}


def test_a_lost_gold_is_made_anew_from_the_lake(shop, command):
    before = shop.state()
    shop.change(DROP_GOLD)
    for file in shop.landing.rglob("*.csv"):  # moved away since: Bronze has them
        file.unlink()
    assert command("init").code == 0
    assert command("run").code == 0
    assert_same_state(shop.state(), before)
    landed, *placed = shop.books()
    assert landed == sum(placed) == 12
    assert {outcome.line for outcome in shop.run()} == {"nothing pending"}


def test_lost_star_tables_are_made_anew(shop, command):
    before = shop.state()
    for lost in (
        ["fact_transactions"],
        ["dim_customers", "dim_dates"],
        ["fact_transactions", "dim_products", "dim_customers", "dim_dates", "dim_countries"],
    ):
        for table in lost:
            shop.lake(f"drop table lake.ecommerce_dw.{table} purge")
        assert command("run").code == 0
        assert_same_state(shop.state(), before)
    for table in lost:  # made again, but empty, as `init` would
        shop.lake(f"drop table lake.ecommerce_dw.{table} purge")
    assert command("init").code == 0
    assert command("star").code == 0
    assert_same_state(shop.state(), before)


def test_a_star_that_lost_rows_says_so_and_a_rebuild_mends_it(shop, command):
    before = shop.state()
    shop.lake("delete from lake.ecommerce_dw.fact_transactions where customer_sk <> 0 and quantity = 2")
    shop.lake("delete from lake.ecommerce_dw.dim_customers")
    said = command("star")
    assert said.code == 1
    assert "star --rebuild" in one_line(said)
    assert command("star", "--rebuild").code == 0
    assert_same_state(shop.state(), before)


def test_a_rebuild_of_the_star_that_is_cut_short_is_taken_up_by_the_next_run(shop, monkeypatch):
    before = shop.state()
    with monkeypatch.context() as patch:
        patch.setattr(build_star_schema.lake, "identity", cut_short)
        with pytest.raises(KeyboardInterrupt):
            shop.job(build_star_schema.run, True)
    shop.run()
    assert_same_state(shop.state(), before)


def cut_short(*_: Any, calls: list[int] = []) -> int:  # noqa: B006 - counts its calls
    """Lets the rebuild begin, and ends it between its Iceberg commits and its Postgres commit."""
    calls.append(1)
    if len(calls) > 1:
        raise KeyboardInterrupt
    return 0


@pytest.mark.parametrize("half", ["ledger", "all of Gold", "tables", "folder"])
def test_a_reset_works_when_half_of_the_warehouse_is_gone_already(shop, command, half):
    if half == "ledger":
        shop.change("drop schema ops cascade")
    elif half == "all of Gold":
        shop.change(DROP_GOLD)
    elif half == "tables":
        shop.change("drop table fact_transactions, ops.watermarks cascade")
        shop.lake("drop table lake.ecommerce_db.products purge")
        shop.lake("drop table lake.ecommerce_dw.fact_transactions purge")
    else:
        shutil.rmtree(shop.home.folder / "lake" / "ecommerce_db" / "products_raw")
    said = command("init", "--reset")
    assert (said.code, said.out) == (0, "init: dropped and created\n"), said
    assert command("run").code == 0
    assert_agrees_with_oracle(shop)


def test_a_reset_that_is_cut_short_is_as_good_as_none(shop, command, monkeypatch):
    before = shop.state()
    with monkeypatch.context() as patched:
        patched.setattr(lake, "drop", crash)
        with pytest.raises(SimulatedCrash):
            shop.make_anew()
    assert command("run").code == 0
    assert_same_state(shop.state(), before)


def test_maintenance_after_many_runs_compacts_and_expires_and_changes_no_row(warehouse):
    def lake_size(table: str) -> tuple[int, int]:
        ((files,),) = warehouse.lake(f"select count(*) from lake.ecommerce_db.{table}.files")
        ((snapshots,),) = warehouse.lake(f"select count(*) from lake.ecommerce_db.{table}.snapshots")
        return files, snapshots

    def maintain_all() -> None:
        assert "files rewritten" in warehouse.job(maintain.run, keep_snapshots_days=0).line

    for day in range(1, 6):  # as many files as Iceberg takes the trouble for
        land_masters(warehouse, f"2011-01-0{day}", str(day))
        land_window(warehouse, f"2011-01-0{day}T08")
        warehouse.job(ingest_products.run, EVERYTHING)
        warehouse.job(ingest_transactions.run, EVERYTHING)
    warehouse.run()
    before = warehouse.state()
    files, snapshots = lake_size("transactions_raw")
    assert files >= 5 and snapshots >= 5
    maintain_all()
    assert lake_size("transactions_raw") == (1, 1)
    assert lake_size("products_raw") == (1, 1)
    warehouse.run()
    assert_same_state(warehouse.state(), before)

    # products that changed after the last settle are followed although their snapshots were due to expire
    land_masters(warehouse, "2010-12-31", "9", ("GB", "FR"))
    land_masters(warehouse, "2011-01-07", "7", ("GB", "FR"))
    warehouse.job(ingest_products.run, EVERYTHING)
    maintain_all()
    land_window(warehouse, "2011-01-07T08")
    warehouse.run()
    assert_agrees_with_oracle(warehouse)
    maintain_all()
    maintain_all()
    land_window(warehouse, "2011-01-08T08")
    warehouse.run()
    assert_agrees_with_oracle(warehouse)
    before = warehouse.state()
    warehouse.reset()
    warehouse.run()
    assert_same_state(warehouse.state(), before)
