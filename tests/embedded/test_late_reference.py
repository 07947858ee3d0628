"""Late prices, new products and new countries touch exactly the rows that hang on them."""

import pytest
from against_oracle import assert_agrees_with_oracle
from harness import COUNTRIES, PRODUCTS
from small_shop import (
    APPLE,
    BRITAIN,
    BRUSH,
    FRANCE,
    amounts,
    assert_balanced,
    land_masters,
    land_sales,
    loaded_at,
    open_shop,
    reasons,
    sale,
)

from jobs import ingest_countries, ingest_products
from warehouse.landing import Scope
from warehouse.session import SimulatedCrash

pytestmark = pytest.mark.slow


def test_late_reference_data_touches_exactly_the_rows_that_hang_on_it(warehouse):
    land_masters(warehouse, "2011-01-02", (APPLE, BRUSH), (BRITAIN, FRANCE))
    warehouse.land("products/products_2011-01-06.csv", [APPLE, BRUSH], PRODUCTS)
    land_sales(
        warehouse,
        "2011-01-07T00",
        sale("EARLY", at="2011-01-01 10:00:00"),
        sale("A2", at="2011-01-02 10:00:00"),
        sale("A4", at="2011-01-04 00:00:00"),
        sale("A5", at="2011-01-05 23:59:59"),
        sale("A6", at="2011-01-06 00:00:00"),
        sale("B5", code="B", at="2011-01-05 10:00:00"),
        sale("NEW", code="N", at="2011-01-05 10:00:00"),
        sale("NEW_EARLY", code="N", at="2011-01-03 10:00:00"),
        sale("DE", country="DE"),
        sale("DE_NEW", country="DE", code="N", at="2011-01-05 10:00:00"),
        sale("GUEST", country=""),
    )
    land_sales(warehouse, "2011-01-07T04", sale("A5", quantity=2), sale("A4", at="2011-01-04 00:00:00"), sale("DE"))
    warehouse.run()
    before = loaded_at(warehouse)
    assert sorted(before) == ["A2", "A4", "A5", "A6", "B5"]
    assert reasons(warehouse) == {
        "EARLY": "NO_PRICE", "A5": "DUPLICATE_CONFLICT", "NEW": "UNKNOWN_PRODUCT", "NEW_EARLY": "UNKNOWN_PRODUCT",
        "DE": "DUPLICATE_CONFLICT UNKNOWN_COUNTRY", "DE_NEW": "UNKNOWN_COUNTRY", "GUEST": "UNKNOWN_COUNTRY",
    }  # fmt: skip
    assert_balanced(warehouse, 14)

    # a price of the 4th that is over on the 6th, a product of the 4th, the same price but more stock
    warehouse.land("products/products_2011-01-04.csv", ["A,Apple,Fruit,1.75,1", BRUSH, "N,New,Home,4,1"], PRODUCTS)
    warehouse.land("products/products_2011-01-07.csv", [APPLE.replace("10", "99"), BRUSH], PRODUCTS)
    warehouse.run()
    after = loaded_at(warehouse)
    assert {key for key in after if after[key] != before.get(key)} == {"A4", "A5", "A6", "NEW"}, (
        "A6 has a version of its own now"
    )
    found = amounts(warehouse)
    assert (found["A4"], found["A5"], found["A6"], found["NEW"]) == ("1.7500", "1.7500", "1.5000", "4.0000")
    assert reasons(warehouse)["A5"] == "DUPLICATE_CONFLICT"
    assert reasons(warehouse)["NEW_EARLY"] == "NO_PRICE"
    assert_balanced(warehouse, 14)

    warehouse.land("countries/countries_2011-01-01.csv", ["DE,Germany,Europe,51,10", "GB,Britain,,,"], COUNTRIES)
    warehouse.land("products/products_2011-01-01.csv", ["A,Apple,Fruit,1.10,1"], PRODUCTS)
    warehouse.run()
    last = loaded_at(warehouse)
    assert {key for key in last if last[key] != after.get(key)} == {"EARLY", "DE_NEW", "DE"}
    assert warehouse.lake("select country_name from ecommerce_db.countries where country_id = 'GB'") == [("Britain",)]
    assert_balanced(warehouse, 14)
    assert_agrees_with_oracle(warehouse)


def test_a_run_that_dies_after_it_changed_the_versions_leaves_none_that_overlap(warehouse):
    """One price stays and one changes in what it took: a version would begin anew where its price had not changed."""
    open_shop(warehouse)
    land_sales(warehouse, "2011-02-02T08", *[sale(f"T{day}", at=f"2011-01-{day} 10:00:00") for day in (10, 20, 31)])
    warehouse.run()
    for day, price in (("2011-01-20", "1.50"), ("2011-01-31", "3.00")):
        warehouse.land(f"products/products_{day}.csv", [APPLE.replace("1.50", price), BRUSH], PRODUCTS)
    with pytest.raises(SimulatedCrash):
        warehouse.run(failpoint="after-products-merge:raise")
    warehouse.run()
    assert amounts(warehouse) == {"T10": "1.5000", "T20": "1.5000", "T31": "3.0000"}
    assert_agrees_with_oracle(warehouse)


def test_what_went_is_missed_though_nobody_knows_any_more_what_gold_had_followed(warehouse):
    """A back-up that was made between two jobs has no snapshot to go on from."""
    open_shop(warehouse)
    rows = [
        sale("STAYS"),
        sale("FR", country="FR"),
        sale("B", code="B"),
        sale("NEW", code="N"),
        sale("DE", country="DE"),
    ]
    rows += [sale("EARLY", code="B", at="2010-12-31 10:00:00"), sale("NO", code="Z", country="FR")]
    land_sales(warehouse, "2011-01-02T08", *rows)
    warehouse.run()
    land_masters(warehouse, "2011-01-01", (APPLE, "N,New,Home,4,1"), (BRITAIN, "DE,Germany,Europe,51,10"))
    warehouse.job(ingest_products.run, Scope(), True)
    warehouse.job(ingest_countries.run, Scope(), True)
    warehouse.change("delete from ops.watermarks where name in ('gold.products', 'gold.countries')")
    warehouse.run()
    assert sorted(amounts(warehouse)) == ["DE", "NEW", "STAYS"]
    wrong = {"FR": "UNKNOWN_COUNTRY", "NO": "UNKNOWN_COUNTRY", "B": "UNKNOWN_PRODUCT", "EARLY": "UNKNOWN_PRODUCT"}
    assert reasons(warehouse) == wrong
    assert_agrees_with_oracle(warehouse)


def test_a_price_without_end_holds_on_the_last_day_there_is(warehouse):
    open_shop(warehouse)
    land_sales(
        warehouse, "2011-01-02T08", sale("LAST", at="9999-12-31 23:59:59"), sale("EVE", at="9999-12-30 10:00:00")
    )
    warehouse.load()
    warehouse.land("products/products_2011-01-02.csv", [APPLE.replace("1.50", "3.00"), BRUSH], PRODUCTS)
    warehouse.load()
    assert amounts(warehouse) == {"LAST": "3.0000", "EVE": "3.0000"}
