"""One embedded home and one Spark session for the whole test run; a fresh warehouse for each test."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / folder) for folder in ("tests", "tests/properties", "tests/jenkins", "")]

from command_line import Said, command_here  # noqa: E402 - needs the path
from harness import Home, Warehouse  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--one-session", action="store_true", help="all tests that need Spark in one worker: one session")


@pytest.hookimpl(tryfirst=True)  # before groups are made of marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("one_session"):
        for item in items:
            if {"spark", "warehouse"} & set(getattr(item, "fixturenames", ())):
                item.add_marker(pytest.mark.xdist_group("spark"))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A Postgres server and a Spark session, shared."""
    home = Home(tmp_path_factory.mktemp("home"))
    yield home
    home.close()


@pytest.fixture(scope="session")
def spark(home: Home):
    return home.spark


@pytest.fixture
def warehouse(home: Home, tmp_path: Path) -> Warehouse:
    """An empty warehouse with its own landing zone, on the shared server and session."""
    return home.empty_warehouse(tmp_path / "landing")


@pytest.fixture
def command(warehouse: Warehouse, monkeypatch, capsys) -> Callable[..., Said]:
    """`warehouse …` on the shared server and session."""
    return command_here(warehouse, monkeypatch, capsys)


@pytest.fixture
def own_home(tmp_path: Path) -> Iterator[Path]:
    """A WAREHOUSE_HOME for tests that start the command line as a process; its server is ended."""
    from warehouse import embedded

    yield tmp_path / "home"
    embedded.stop_gold(tmp_path / "home")
