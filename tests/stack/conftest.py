"""One cluster for all tests of this folder, and the embedded warehouse that it is compared with."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent)]

from harness import Home, Warehouse  # noqa: E402 - the path of the outer conftest
from stack import Stack  # noqa: E402 - needs the path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """`make up` of a project of its own, with ports of its own; `make down VOLUMES=1` when the tests are over."""
    ports = {name: str(_free_port()) for name in ("GOLD_PORT", "SPARK_MASTER_PORT", "SPARK_HISTORY_PORT")}
    settings = {"COMPOSE_PROJECT_NAME": "warehouse-test", "COMPOSE_PROFILES": "", **ports}  # without Jenkins
    stack = Stack(tmp_path_factory.mktemp("cluster") / "landing", settings)
    try:
        stack.script("stack.sh", "down", "--volumes", stdin="yes\n")  # what a run that was cut short left
        up = stack.script("stack.sh", "up", timeout=1500)  # builds the image, where there is none
        assert up.returncode == 0, up
        yield stack
    finally:
        stack.script("stack.sh", "down", "--volumes", stdin="yes\n")


@pytest.fixture(scope="session")
def embedded(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """The same landing zone in this process: what the cluster must agree with."""
    home = Home(tmp_path_factory.mktemp("embedded"))
    yield home.empty_warehouse(stack.landing)
    home.close()
