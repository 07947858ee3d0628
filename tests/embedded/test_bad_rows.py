"""Rows that do not parse, and rows that look wrong and are not: each keeps what it says."""

import pytest
from against_oracle import assert_agrees_with_oracle
from harness import PRODUCTS, TRANSACTIONS
from small_shop import (
    APPLE,
    BRUSH,
    amounts,
    assert_balanced,
    exit_code,
    land_masters,
    land_sales,
    open_shop,
    reasons,
    sale,
)

pytestmark = pytest.mark.slow

NO_NUMBER, NO_TIME = "is not a whole number of 32 bits", "is not a time YYYY-MM-DD HH:MM:SS"
QUOTING = "a quote is opened or closed in the wrong place"
LONG = "x" * 1_000_000
MALFORMED = {
    "M01,O1,A,1,2011-01-01 10:00:00,C1": "6 fields, not 7",
    "M02,O1,A,1,2011-01-01 10:00:00,C1,GB,": "8 fields, not 7",
    "M03": "1 fields, not 7",
    sale("M04", quantity="1.5"): f"quantity '1.5' {NO_NUMBER}",
    sale("M05", quantity="1e3"): f"quantity '1e3' {NO_NUMBER}",
    sale("M06", quantity="0"): "quantity is 0",
    sale("M07", quantity="-00"): "quantity is 0",
    sale("M08", quantity=""): "quantity is empty",
    sale("M09", quantity="2147483648"): f"quantity '2147483648' {NO_NUMBER}",
    sale("M10", quantity=" 6"): f"quantity ' 6' {NO_NUMBER}",
    sale("M11", quantity="6\n"): f"quantity '6\n' {NO_NUMBER}",
    sale("M12", quantity="٣"): f"quantity '٣' {NO_NUMBER}",
    sale("M13", quantity="9" * 400): f"quantity '{'9' * 60}…' {NO_NUMBER}",
    sale("M14", at="2011-02-30 10:00:00"): f"invoice_date '2011-02-30 10:00:00' {NO_TIME}",
    sale("M15", at="2011-01-01T10:00:00"): f"invoice_date '2011-01-01T10:00:00' {NO_TIME}",
    sale("M16", at="2011-01-01 24:00:00"): f"invoice_date '2011-01-01 24:00:00' {NO_TIME}",
    sale("M17", at="2011-01-01 10:00:00\n"): f"invoice_date '2011-01-01 10:00:00\n' {NO_TIME}",
    sale("M18", at=""): "invoice_date is empty",
    sale("M19", code=" \t"): "stock_code is empty",
    sale("M20", order="", quantity="many"): f"order_id is empty; quantity 'many' {NO_NUMBER}",
    sale("M21", order=LONG, quantity="0"): "quantity is 0",
    sale("M22", order="a\0b"): "the record has a NUL character",
    sale(LONG): "transaction_id is longer than 255 characters",
    sale("M24", customer=LONG, country="x" * 256): "customer_id is longer than 255 characters;"
    " country_id is longer than 255 characters",
    sale(""): "transaction_id is empty",
    ",,,,,,": "; ".join(f"{column} is empty" for column in TRANSACTIONS.split(",")[:5]),
    'M27,"O1" ,A,1,2011-01-01 10:00:00,C1,GB': QUOTING,
    'M28,"O1,A,1,2011-01-01 10:00:00,C1,GB': QUOTING,
}
ORDERS = [
    '"', "''; drop table fact_transactions; --", "\\", "\\N", "\\.", "a\n\\.\nb", "tab\there", "a\r\nb\rc", "x,y;z|",
    '=HYPERLINK("https://example.org","x")', "<script>alert(1)</script>", "NULL", "null", "  inner  outer", "é😀\u200b",
    "{\"a\": [1]}", "%s%(x)s {0} $1", LONG,
]  # fmt: skip


def test_each_malformed_row_is_an_error_with_its_raw_text_and_the_others_load(warehouse):
    open_shop(warehouse)
    land_sales(warehouse, "2011-01-01T08", sale("T1"), *MALFORMED, sale("T2"), "", "  ", sale("T3", quantity="+6"))

    outcomes = warehouse.load()

    assert exit_code(outcomes) == 0, "a malformed row is no reason to refuse anything"
    found = warehouse.query("select raw_record, detail from transactions_error where reason = 'MALFORMED'")
    assert dict(found) == {text.replace("\0", "␀"): detail for text, detail in MALFORMED.items()}
    assert len(found) == len(MALFORMED)
    as_landed = "select quantity, invoice_date, status from transactions_error where transaction_id = %s"
    assert warehouse.query(as_landed, ["M10"]) == [(" 6", "2011-01-01 10:00:00", "OPEN")]
    assert warehouse.query(as_landed, ["M20"]) == [("many", "2011-01-01 10:00:00", "OPEN")]
    assert amounts(warehouse) == {"T1": "1.5000", "T2": "1.5000", "T3": "9.0000"}
    assert_balanced(warehouse, len(MALFORMED) + 3)


def test_text_of_any_kind_reaches_gold_unchanged(warehouse):
    """Quoted commas, newlines, code of other languages, other column orders: one run of files in many shapes."""
    odd = '"He said ""hi"", <b>twice</b>,\r\nand left; \'--"'
    land_masters(warehouse, products=(f"A,{odd},=1+1,1.50,10", "a,small,Fruit,2.50,1", f"B,{'d' * 1_000_000},,2,"))
    land_sales(warehouse, "2011-01-01T08", *[sale(f"T{n}", order=order) for n, order in enumerate(ORDERS)])
    shuffled = ["country_id,note, quantity ,transaction_id,invoice_date,stock_code,order_id,extra one"]
    shuffled += ["GB,n,2,S1,2011-01-01 10:00:00,a,O1,e", "GB,,-1,S2,2011-01-01 10:00:00,A,O1,"]
    warehouse.land("transactions/transactions_2011-01-01T12.csv", "\ufeff" + "\r\n".join(shuffled))
    land_sales(
        warehouse,
        "2011-10-30T00",
        sale("D1", at="2011-10-30 00:30:00"),
        sale("D2", at="2011-10-30 01:30:00"),  # in London this hour comes twice
        sale("D3", at="2011-10-29 23:59:59"),
        sale("D4", at="2011-03-27 01:30:00"),  # and this one never
        sale(" W1\u00a0", code="\tA ", customer="   ", country=" GB "),
        sale("I1", order="same"),
        sale("I2", order="same"),  # a product twice on one invoice
        sale("Q1", code="a b"),
        sale("Q2", code="É"),
    )

    outcomes = warehouse.run()

    assert exit_code(outcomes) == 0
    orders = dict(warehouse.query("select transaction_id, order_id from fact_transactions"))
    assert [orders[f"T{n}"] for n in range(len(ORDERS))] == [order.strip() for order in ORDERS]
    path = "transactions/transactions_2011-01-01T12.csv"
    assert f"ingest transactions: {path}: ignored columns note, extra one" in warehouse.said
    found = amounts(warehouse)
    assert (found["S1"], found["S2"], found["I1"], found["I2"], found["W1"]) == (
        "5.0000", "-1.5000", "1.5000", "1.5000", "1.5000",
    )  # fmt: skip
    times = "select to_char(invoice_date, 'YYYY-MM-DD HH24:MI:SS') from fact_transactions where transaction_id = %s"
    assert warehouse.query(times, ["D2"]) == [("2011-10-30 01:30:00",)]
    assert warehouse.query(times, ["D4"]) == [("2011-03-27 01:30:00",)]
    ((day,),) = warehouse.lake("select date_sk from ecommerce_dw.fact_transactions where transaction_id = 'D2'")
    assert day == 20111030
    assert reasons(warehouse) == {"Q1": "UNKNOWN_PRODUCT", "Q2": "UNKNOWN_PRODUCT"}
    ((description, category),) = warehouse.query(
        "select description, category from dim_products where stock_code = 'A'"
    )
    assert (description, category) == ('He said "hi", <b>twice</b>,\r\nand left; \'--', "=1+1")
    assert_balanced(warehouse, len(ORDERS) + 2 + 9)
    assert_agrees_with_oracle(warehouse)


def test_an_amount_too_large_waits_for_a_price_that_makes_it_fit(warehouse):
    dear = "A,Apple,Fruit,99999999.9999,10"
    land_masters(warehouse, products=(dear, BRUSH))
    warehouse.land(
        "transactions/transactions_2011-01-05T08.csv",
        [
            sale("T1", quantity=2147483647, at="2011-01-05 10:00:00"),
            sale("T2", quantity=-2147483648, at="2011-01-05 10:00:00"),
            sale("T3", quantity=1_000_000, at="2011-01-05 10:00:00"),
            sale("T4", code="B", at="2011-01-05 10:00:00"),
        ],
        TRANSACTIONS,
    )
    assert exit_code(warehouse.run()) == 0
    assert reasons(warehouse) == {"T1": "AMOUNT_OVERFLOW", "T2": "AMOUNT_OVERFLOW"}
    assert amounts(warehouse) == {"T3": "99999999999900.0000", "T4": "2.0000"}
    assert_balanced(warehouse, 4)

    warehouse.land("products/products_2011-01-03.csv", [APPLE, BRUSH], PRODUCTS)
    warehouse.run()
    assert reasons(warehouse) == {}
    assert amounts(warehouse) == {
        "T1": "3221225470.5000", "T2": "-3221225472.0000", "T3": "1500000.0000", "T4": "2.0000",
    }  # fmt: skip
    assert_balanced(warehouse, 4)
    assert_agrees_with_oracle(warehouse)


def test_a_malformed_row_is_in_no_group_whatever_its_transaction_id(warehouse):
    """It lands beside rows of a transaction that Gold knows, which are decided anew as a whole without it."""
    open_shop(warehouse)
    land_sales(warehouse, "2011-01-01T08", sale("T1"), sale("T2", quantity="x"))
    warehouse.run()
    land_sales(warehouse, "2011-01-01T12", sale("T1", quantity=2), sale("T1", quantity="1.5"), sale(" T2 "), sale("T2"))
    warehouse.run()
    assert amounts(warehouse) == {"T1": "1.5000", "T2": "1.5000"}
    assert warehouse.query("select transaction_id, reason, attempts from transactions_error order by quantity") == [
        ("T1", "MALFORMED", 1),
        ("T1", "DUPLICATE_CONFLICT", 1),
        ("T2", "MALFORMED", 1),
    ]
    assert_balanced(warehouse, 6)
    assert_agrees_with_oracle(warehouse)
