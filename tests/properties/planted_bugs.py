"""Bugs planted in the code, each of which the promise's property test must find. Run by `make soak`."""

import inspect
from pathlib import Path
from types import ModuleType

import pytest
from harness import Home
from histories import Delivery, arrivals
from hypothesis import HealthCheck, Phase, given, settings
from test_promise import assert_any_arrival_gives_what_a_rebuild_gives, landing  # noqa: F401 - a fixture

from jobs import postgres_load_fact
from warehouse import gather
from warehouse.rules import facts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.mark.parametrize(
    ("module", "function", "code", "bug"),
    [
        pytest.param(facts, "resolve", '("batch_id", *VALUES,', "(*VALUES,", id="the earliest window is not first"),
        pytest.param(
            postgres_load_fact, "_decide", "gather.touches(context, reference)", "False", id="late prices touch nothing"
        ),
        pytest.param(gather, "_bronze", "min(path)", "max(path)", id="a copy takes over the name of its content"),
    ],
)
def test_a_planted_bug_is_found(
    home: Home,
    landing: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    function: str,
    code: str,
    bug: str,
) -> None:
    plant(monkeypatch, module, function, code, bug)

    @settings(
        max_examples=100,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(arrivals())
    def promise(deliveries: list[Delivery]) -> None:
        assert_any_arrival_gives_what_a_rebuild_gives(home, landing, deliveries)

    with pytest.raises(Exception) as found:
        promise()
    print(found.value)


def plant(monkeypatch: pytest.MonkeyPatch, module: ModuleType, function: str, code: str, bug: str) -> None:
    """Let a function of a module have `bug` where it has `code`."""
    source = inspect.getsource(getattr(module, function))
    assert source.count(code) == 1, f"{module.__name__}.{function} has no {code}"
    changed = dict(vars(module))
    exec(compile(source.replace(code, bug), f"<{function} with a bug>", "exec"), changed)
    monkeypatch.setattr(module, function, changed[function])
