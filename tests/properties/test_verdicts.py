"""The promise with stewards: the final state is a function of what landed and what they decided."""

import json
import shutil
from typing import Any

import pytest
from harness import SOAK, Home, Warehouse, assert_same_state
from histories import DAYS, Delivery, arrivals
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_promise import arrive, landing  # noqa: F401 - a fixture

pytestmark = [pytest.mark.slow, *([pytest.mark.timeout(7200)] if SOAK else [])]

_corrections = st.fixed_dictionaries(
    {},
    optional={
        "transaction_id": st.sampled_from(["T1", " T2", "T6", ""]),
        "order_id": st.just("O1"),
        "stock_code": st.sampled_from(["P1", "P2", "PX"]),
        "quantity": st.sampled_from([1, "2", "x"]),
        "invoice_date": st.sampled_from([f"{day} 10:00:00" for day in DAYS[:3]]),
        "customer_id": st.sampled_from(["C1", None]),
        "country_id": st.sampled_from(["GB", "FR", "ZZ"]),
    },
).filter(bool)
# which of the errors (by their number, round and round), and what of it
_verdicts = st.lists(
    st.tuples(st.integers(0, 9), st.one_of(_corrections, _corrections, st.sampled_from(["discard", "retry"]))),
    max_size=3,
)


@settings(
    max_examples=100 if SOAK else 8,
    deadline=None,
    derandomize=not SOAK,
    phases=tuple(Phase) if SOAK else (Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(deliveries=arrivals(), verdicts=st.lists(_verdicts, min_size=4, max_size=4))
def test_any_arrival_and_any_moment_of_a_verdict_give_what_a_rebuild_gives(
    home: Home,
    landing: Any,  # noqa: F811
    deliveries: list[Delivery],
    verdicts: list[list[tuple[int, Any]]],
) -> None:
    shutil.rmtree(landing, ignore_errors=True)
    warehouse = home.empty_warehouse(landing)
    for delivery, decided in zip([*deliveries, Delivery((), None)], verdicts, strict=False):
        arrive(warehouse, delivery)
        assert_the_books_balance(warehouse)
        for number, verdict in decided:
            decide(warehouse, number, verdict)
    warehouse.run()
    assert_the_books_balance(warehouse)

    arrived = warehouse.state()
    kept = warehouse.query("select to_jsonb(v)::text from ops.error_verdicts as v")
    warehouse.reset()
    for verdict in kept:
        call(
            warehouse,
            "insert into ops.error_verdicts select * from jsonb_populate_record(null::ops.error_verdicts, %s)",
            *verdict,
        )
    warehouse.run()
    assert_the_books_balance(warehouse)
    assert_same_state(arrived, warehouse.state())


def assert_the_books_balance(warehouse: Warehouse) -> None:
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
