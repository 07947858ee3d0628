"""Which of Java's compilers a run starts with: both where much has landed, the first alone for a usual day."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from harness import Warehouse

from warehouse import session
from warehouse.config import load
from warehouse.session import QUICK_BYTES, Context

WINDOW = "transactions/transactions_2011-01-31T08"


@pytest.fixture
def is_quick(monkeypatch) -> Callable[..., bool]:
    """Whether a job would start a quick session; no session is started."""
    asked: list[bool] = []

    def build_session(config: Any, job: str, run_id: str, quick: bool) -> Any:
        asked.append(quick)
        return SimpleNamespace(stop=lambda: None)

    monkeypatch.setattr(session, "build_session", build_session)

    def ask(warehouse: Warehouse, job: str = "run", **changes: Any) -> bool:
        context = Context(replace(warehouse.config, **changes), job)
        assert context.spark
        context.close()
        return asked.pop()

    return ask


def land(warehouse: Warehouse, name: str, size: int) -> None:
    with (warehouse.landing / name).open("wb") as file:
        file.truncate(size)


def test_both_compilers_are_for_what_no_complete_run_has_seen(warehouse, is_quick):
    assert is_quick(warehouse)
    land(warehouse, f"{WINDOW}.csv", QUICK_BYTES)
    assert is_quick(warehouse)
    land(warehouse, "products/products_2011-01-31.csv", 1)
    assert not is_quick(warehouse)
    assert not is_quick(warehouse, "ingest transactions")

    def seen(size: int) -> None:
        warehouse.change(
            "insert into ops.landed_files (path, sha256, size, status, at)"
            f" values ('{WINDOW}.csv', '{size}', {size}, 'LOADED', now() - interval '2 hours')"
        )

    def followed(status: str, hours_ago: int) -> None:
        warehouse.change(
            "insert into ops.etl_runs (run_id, job, status, started_at)"
            f" values ('{status} {hours_ago}', 'star', '{status}', now() - interval '{hours_ago} hours')"
        )

    seen(QUICK_BYTES)
    assert not is_quick(warehouse), "Gold and the star have yet to follow"
    followed("DONE", 3)
    followed("FAILED", 1)
    assert not is_quick(warehouse), "they followed what had landed before"
    followed("DONE", 1)
    assert is_quick(warehouse)
    land(warehouse, f"{WINDOW}.csv", QUICK_BYTES + 1)
    assert not is_quick(warehouse), "its bytes have changed"


def test_a_compressed_file_counts_as_it_unpacks(warehouse, is_quick):
    land(warehouse, f"{WINDOW}.csv.gz", QUICK_BYTES // 5)
    assert is_quick(warehouse)
    land(warehouse, f"{WINDOW}.csv.gz", QUICK_BYTES // 5 + 1)
    assert not is_quick(warehouse)


def test_where_the_work_cannot_be_told_both_are_taken(warehouse, is_quick):
    assert not is_quick(warehouse, landing_uri="s3a://shop/landing")
    assert not is_quick(warehouse, "baselines")
    assert not is_quick(warehouse, "maintain")
    (warehouse.landing / WINDOW).symlink_to("nowhere")
    assert not is_quick(warehouse)


def test_a_home_without_tables_goes_by_what_landed(own_home, is_quick):
    config = load({"WAREHOUSE_HOME": str(own_home)}, own_home.parent)
    new = SimpleNamespace(config=config, landing=own_home / "landing")
    assert is_quick(new)
    (new.landing / "transactions").mkdir(parents=True)
    land(new, f"{WINDOW}.csv", QUICK_BYTES + 1)
    assert not is_quick(new)


def test_what_the_settings_name_wins(warehouse, monkeypatch):
    asked: list[dict[str, str]] = []

    def started(builder: Any) -> None:
        asked.append(builder._options)
        raise InterruptedError

    monkeypatch.setattr(session, "_started", started)
    option = "spark.driver.defaultJavaOptions"
    for settings, quick in (({}, True), ({}, False), ({option: "-Xint"}, True)):
        with pytest.raises(InterruptedError):
            session.build_session(replace(warehouse.config, spark=settings), "run", "1", quick)
    assert [options.get(option) for options in asked] == [session.QUICK, None, "-Xint"]
