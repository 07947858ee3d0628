"""The promise: the final state is a function of what landed and what stewards decided, not of how it arrived."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from against_oracle import assert_agrees_with_oracle
from harness import SOAK, Home, Warehouse, assert_same_state
from histories import Delivery, Verdict, arrivals, decisions
from hypothesis import HealthCheck, Phase, given, settings

from warehouse.session import SimulatedCrash

pytestmark = [pytest.mark.slow, pytest.mark.timeout(14400 if SOAK else 1800)]


@pytest.fixture(scope="module")
def landing() -> Path:
    return Path(tempfile.mkdtemp())


@pytest.mark.parametrize("share", range(2 if SOAK else 1))  # one for each worker
@settings(
    max_examples=150 if SOAK else 20,
    deadline=None,
    derandomize=not SOAK,
    # an example takes seconds: a failure in `make test` is shown as it was found, the soak makes it small
    phases=tuple(Phase) if SOAK else (Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(deliveries=arrivals(), decided=decisions)
def test_any_arrival_and_any_moment_of_a_verdict_give_what_a_rebuild_gives(
    home: Home, landing: Path, share: int, deliveries: list[Delivery], decided: list[list[Verdict]]
) -> None:
    assert_any_arrival_gives_what_a_rebuild_gives(home, landing, deliveries, decided)


def assert_any_arrival_gives_what_a_rebuild_gives(
    home: Home, landing: Path, deliveries: list[Delivery], decided: Sequence[Sequence[Verdict]] = ()
) -> None:
    """Also where earlier deliveries left something behind. Where nobody decides anything, the oracle says the same."""
    shutil.rmtree(landing, ignore_errors=True)
    warehouse = home.empty_warehouse(landing)
    for delivery, verdicts in zip_longest(deliveries, decided[: len(deliveries)], fillvalue=()):
        arrive(warehouse, delivery)
        for number, verdict in verdicts:
            decide(warehouse, number, verdict)
    if decided:
        run(warehouse)
    else:
        assert_agrees_with_oracle(warehouse)

    arrived = warehouse.state()
    kept = warehouse.query("select to_jsonb(v)::text from ops.error_verdicts as v")
    warehouse.reset()
    for verdict in kept:
        call(
            warehouse,
            "insert into ops.error_verdicts select * from jsonb_populate_record(null::ops.error_verdicts, %s)",
            *verdict,
        )
    run(warehouse)
    assert_same_state(arrived, warehouse.state())


def arrive(warehouse: Warehouse, delivery: Delivery) -> None:
    """Land the files and run; where the run is killed, run again."""
    for path, text in delivery.files:
        warehouse.land(path, text)
    go_on = run if delivery.whole else Warehouse.ingest
    try:
        go_on(warehouse, replace=delivery.replacing, failpoint=f"{delivery.killed_at}:raise" * bool(delivery.killed_at))
    except SimulatedCrash:
        go_on(warehouse, replace=delivery.replacing)


def run(warehouse: Warehouse, replace: bool = False, failpoint: str = "") -> None:
    """One more run, after which the books balance."""
    warehouse.run(replace=replace, failpoint=failpoint)
    landed, *placed = warehouse.books()
    assert landed == sum(placed)


def decide(warehouse: Warehouse, number: int, verdict: Any) -> None:
    errors = [error for (error,) in warehouse.query("select error_id from transactions_error order by error_id")]
    if not errors:
        return
    error = errors[number % len(errors)]
    if verdict == "discard":
        call(warehouse, "select discard_error(%s, 'a test')", error)
    elif verdict == "retry":
        call(warehouse, "select ops.retry_error(%s)", error)
    else:
        call(warehouse, "select correct_error(%s, %s)", error, json.dumps(verdict))


def call(warehouse: Warehouse, statement: str, *arguments: Any) -> None:
    connection = warehouse.context().connect()
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, arguments)
    connection.close()
