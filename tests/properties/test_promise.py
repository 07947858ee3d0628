"""The promise: the final state is a function of what landed, not of how it arrived."""

import shutil
import tempfile
from pathlib import Path

import pytest
from against_oracle import assert_agrees_with_oracle
from harness import SOAK, Home, Warehouse, assert_same_state
from histories import Delivery, arrivals
from hypothesis import HealthCheck, Phase, given, settings

from warehouse.session import SimulatedCrash

pytestmark = [pytest.mark.slow, *([pytest.mark.timeout(7200)] if SOAK else [])]


@pytest.fixture(scope="module")
def landing() -> Path:
    return Path(tempfile.mkdtemp())


@pytest.mark.parametrize("share", range(2 if SOAK else 1))  # one for each worker
@settings(
    max_examples=100 if SOAK else 20,
    deadline=None,
    derandomize=not SOAK,
    # an example takes seconds: a failure in `make test` is shown as it was found, the soak makes it small
    phases=tuple(Phase) if SOAK else (Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(deliveries=arrivals())
def test_any_arrival_gives_what_a_rebuild_gives(
    home: Home, landing: Path, share: int, deliveries: list[Delivery]
) -> None:
    assert_any_arrival_gives_what_a_rebuild_gives(home, landing, deliveries)


def assert_any_arrival_gives_what_a_rebuild_gives(home: Home, landing: Path, deliveries: list[Delivery]) -> None:
    """Also where earlier deliveries left something behind."""
    shutil.rmtree(landing, ignore_errors=True)
    warehouse = home.empty_warehouse(landing)
    for delivery in deliveries:
        arrive(warehouse, delivery)

    assert_agrees_with_oracle(warehouse)
    arrived = warehouse.state()
    warehouse.reset()
    warehouse.run()
    assert_same_state(arrived, warehouse.state())


def arrive(warehouse: Warehouse, delivery: Delivery) -> None:
    """Land the files and run; where the run is killed, run again."""
    for path, text in delivery.files:
        warehouse.land(path, text)
    if delivery.killed_at:
        try:
            warehouse.run(failpoint=f"{delivery.killed_at}:raise")
        except SimulatedCrash:
            warehouse.run()
    else:
        warehouse.run()
