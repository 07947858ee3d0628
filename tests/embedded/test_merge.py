"""MERGE into the lake: the same rows whether Spark seeks the files that hold a match or writes the table anew."""

from datetime import date

import pytest

from warehouse import lake

TABLE = "ecommerce_db.countries"
COLUMNS = (
    "op string, country_id string, country_name string, region string, latitude double, longitude double,"
    " first_seen date"
)


@pytest.mark.parametrize(("small", "kept"), [(0, 1), (lake.SMALL, 0)], ids=["sought", "written anew"])
def test_a_merge_changes_what_differs_and_a_large_table_s_other_files_stay(warehouse, monkeypatch, small, kept):
    monkeypatch.setattr(lake, "SMALL", small)
    for country in ("GB", "FR", "DE"):
        lake.append(differences(warehouse, ("U", country, "before")).drop("op"), TABLE)
    before = files(warehouse)
    assert len(before) == 3

    changed = [("U", "GB", "after"), ("D", "FR", None), ("U", "IT", "after"), ("D", "ES", None)]
    lake.merge(differences(warehouse, *changed), TABLE, "country_id")

    rows = warehouse.lake(f"select country_id, country_name from {TABLE}")
    assert sorted(rows) == [("DE", "before"), ("GB", "after"), ("IT", "after")]
    assert len(before & files(warehouse)) == kept


def differences(warehouse, *rows):
    values = [(*row, None, None, None, date(2011, 1, 4)) for row in rows]
    return warehouse.home.spark.createDataFrame(values, COLUMNS)


def files(warehouse) -> set[str]:
    return {path for (path,) in warehouse.lake(f"select file_path from {TABLE}.files")}
