"""The synthetic days with planted faults, end to end, against the truth file and the oracle."""

from datetime import date

import pytest
from against_oracle import assert_agrees_with_oracle
from harness import assert_same_state

from generators.synthetic import generate

pytestmark = pytest.mark.slow


def test_the_days_agree_with_the_oracle_and_a_second_run_changes_nothing(warehouse):
    truth = generate(
        warehouse.landing, seed=11, start=date(2011, 1, 4), days=6, rows_per_day=300, products=60, faults=True
    )
    held = [warehouse.landing / path for path in truth.held_back]
    for path in held:
        path.rename(path.with_name("." + path.name))
    warehouse.run()
    for path in held:
        path.with_name("." + path.name).rename(path)
    warehouse.run()

    assert_agrees_with_oracle(warehouse)
    landed, facts, errors, duplicates = warehouse.books()
    assert landed == facts + errors + duplicates == truth.totals.rows
    before = warehouse.state()
    outcomes = warehouse.run()
    assert {outcome.line for outcome in outcomes} == {"nothing pending"}
    assert_same_state(warehouse.state(), before)
    warehouse.reset()
    warehouse.run()
    assert_same_state(warehouse.state(), before)
