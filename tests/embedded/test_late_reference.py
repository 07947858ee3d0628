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
    reasons,
    sale,
)

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
