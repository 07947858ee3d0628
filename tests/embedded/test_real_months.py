"""Real order lines (UCI Online Retail) as landing files, against the independent computation in DuckDB."""

import os
from datetime import date
from pathlib import Path

import pytest
from against_oracle import assert_agrees_with_oracle
from view_oracle import assert_summaries_follow_the_facts, assert_views_agree_with_duckdb

from generators.online_retail import replay

PROJECT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("ONLINE_RETAIL_DATA") or PROJECT.parent / "shared" / "data" / "online_retail")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.exists(), reason="the Online Retail data is not here (ONLINE_RETAIL_DATA)"),
]


def test_real_weeks_agree_with_duckdb_row_by_row(warehouse):
    replay([DATA], warehouse.landing, since=date(2011, 1, 24), until=date(2011, 2, 8))
    late = sorted(warehouse.landing.glob("products/*.csv"))[3:5]
    for path in late:
        path.rename(path.with_name(f".{path.name}"))
    warehouse.run(until="2011-02-01T00:00")
    warehouse.run()
    for path in late:
        path.with_name(f".{path.name}").rename(path)
    warehouse.run()

    assert_agrees_with_oracle(warehouse)
    assert_summaries_follow_the_facts(warehouse)
    assert_views_agree_with_duckdb(warehouse)
