"""Files that cannot be taken: each is refused by itself, with its reason; all else goes through."""

import gzip
from pathlib import Path

import pytest
from against_oracle import assert_agrees_with_oracle
from command_line import CommandLine
from harness import COUNTRIES, PRODUCTS, TRANSACTIONS
from small_shop import (
    APPLE,
    BRITAIN,
    BRUSH,
    amounts,
    assert_balanced,
    exit_code,
    land_masters,
    land_sales,
    open_shop,
    refused,
    sale,
)

pytestmark = pytest.mark.slow

PACKED = gzip.compress(f"{TRANSACTIONS}\n{sale('T1')}\n".encode(), mtime=0)
UNREADABLE = {
    "transactions_2011-01-01T00_column.csv": f"transaction_id,order_id,stock_code,quantity\n{sale('T1')}\n".encode(),
    "transactions_2011-01-01T00_twice.csv": f"{TRANSACTIONS},quantity\n{sale('T1')},1\n".encode(),
    "transactions_2011-01-01T00_latin.csv": f"{TRANSACTIONS}\n{sale('Té')}\n".encode("latin-1"),
    "transactions_2011-01-01T00_utf16.csv": f"{TRANSACTIONS}\n{sale('T1')}\n".encode("utf-16"),
    "transactions_2011-01-01T00_short.csv.gz": PACKED[:-12],
    "transactions_2011-01-01T00_tail.csv.gz": PACKED + b"and more",
    "transactions_2011-01-01T00_plain.csv.gz": b"\x1f\x8bno gzip at all",
    "transactions_2011-01-01T00_header.csv": f"{sale('T1')}\n".encode(),
    "transactions_2011-01-01T00_empty.csv": b"",
    "transactions_2011-01-01T00_empty.csv.gz": gzip.compress(b"", mtime=0),
    "transactions_2011-01-01T00_blank.csv": b"\xef\xbb\xbf \r\n\n \t\n",
    "transactions_2011-01-01T05.csv": f"{TRANSACTIONS}\n{sale('T1')}\n".encode(),
    "transactions_2011-02-30T00.csv": f"{TRANSACTIONS}\n{sale('T1')}\n".encode(),
    "transactions_2011-01-01T04.txt": f"{TRANSACTIONS}\n{sale('T1')}\n".encode(),
}
WHY = {
    "column.csv": "MISSING_COLUMN: invoice_date",
    "twice.csv": "DUPLICATE_COLUMN: quantity",
    "latin.csv": "WRONG_ENCODING: line 2 is not UTF-8 (byte 0xe9)",
    "utf16.csv": "WRONG_ENCODING: line 1 is not UTF-8 (byte 0xff)",
    "short.csv.gz": "BROKEN_GZIP: ",
    "tail.csv.gz": "BROKEN_GZIP: ",
    "plain.csv.gz": "BROKEN_GZIP: ",
    "header.csv": "NO_HEADER: the first line names none of transaction_id, ",
    "empty.csv": "EMPTY: ",
    "empty.csv.gz": "EMPTY: ",
    "blank.csv": "EMPTY: ",
    "T05.csv": "BAD_NAME: not transactions_YYYY-MM-DDTHH*.csv[.gz], HH in 00 04 08 12 16 20",
    "30T00.csv": "BAD_NAME: ",
    "T04.txt": "BAD_NAME: ",
}
UNUSUAL = ["T00 copy of (1)", "T00 [late] {x}", "T00%20 100%", "T00-Übergabe", "T00,comma;semi", "T00#?*", "T00\\back"]
UNFINISHED = [
    ".transactions_2011-01-01T00.csv",
    "_transactions_2011-01-01T00.csv",
    "transactions_2011-01-01T00.csv.tmp",
]


def test_each_unreadable_file_is_refused_with_its_reason_and_all_others_load(warehouse):
    land_masters(warehouse)
    warehouse.land("products/products_2011-02-30.csv", [APPLE], PRODUCTS)
    warehouse.land("products/products_2011-1-3.csv", [APPLE], PRODUCTS)
    for name, content in UNREADABLE.items():
        (warehouse.landing / "transactions" / name).write_bytes(content)
    for name in UNFINISHED:
        warehouse.land(f"transactions/{name}", [sale("T1")], TRANSACTIONS)
    for number, name in enumerate(UNUSUAL):
        land_sales(warehouse, f"2011-01-01{name}", sale(f"U{number}"), sale(f"M{number}", quantity="x"))
    warehouse.land("transactions/transactions_2011-01-01T00_none.csv", [], TRANSACTIONS)
    warehouse.land("transactions/archive/transactions_2011-01-01T00.csv", [sale("T1")], TRANSACTIONS)
    warehouse.land("transactions/day=1/transactions_2011-01-01T00.csv", [sale("T1")], TRANSACTIONS)

    outcomes = warehouse.run()

    found = refused(warehouse)
    assert exit_code(outcomes) == 3
    for name, reason in WHY.items():
        (path,) = [path for path in found if path.endswith(name)]
        assert found[path].startswith(reason)
        assert f"ingest transactions: REJECTED {path}: {found[path]}" in warehouse.said
    assert len(found) == len(UNREADABLE) + 2
    assert (
        found["products/products_2011-02-30.csv"]
        == "BAD_NAME: not products_YYYY-MM-DD.csv[.gz], of the years 1900 to 2199"
    )
    assert sorted(amounts(warehouse)) == [f"U{number}" for number in range(len(UNUSUAL))]
    assert sorted(warehouse.query("select transaction_id, source_file from transactions_error")) == [
        (f"M{number}", f"transactions/transactions_2011-01-01{name}.csv") for number, name in enumerate(UNUSUAL)
    ]
    assert_balanced(warehouse, 2 * len(UNUSUAL))
    assert_agrees_with_oracle(warehouse)

    again = warehouse.run()
    assert exit_code(again) == 0, "a refused file that stays as it is is not news"
    assert {outcome.line for outcome in again} == {"nothing pending"}

    warehouse.land("transactions/transactions_2011-01-01T00_latin.csv", [sale("Té")], TRANSACTIONS)
    assert exit_code(warehouse.run()) == 0
    assert amounts(warehouse)["Té"] == "1.5000", "mended under its own name, it is taken"


def test_a_file_whose_name_java_cannot_read_is_refused_and_all_others_load(warehouse):
    open_shop(warehouse)
    for name in ("10:30", "10", "\udcff", "\udcfe"):
        land_sales(warehouse, f"2011-01-01T08_{name}", sale(f"T{len(name)}"))
    warehouse.landing.joinpath("transactions", ".hidden\udcff").touch()
    assert exit_code(warehouse.run()) == 3
    folder = "transactions/transactions_2011-01-01T08_"
    assert refused(warehouse) == {
        f"{folder}10:30.csv": "BAD_NAME: Hadoop cannot read a name with a colon",
        rf"{folder}\xff.csv": "BAD_NAME: not UTF-8",
        rf"{folder}\xfe.csv": "BAD_NAME: not UTF-8",
    }
    assert sorted(amounts(warehouse)) == ["T2"]
    assert {outcome.line for outcome in warehouse.run()} == {"nothing pending"}


def test_a_snapshot_with_a_fault_is_refused_whole_and_what_was_in_force_stays(warehouse):
    land_masters(warehouse)
    for day, lines in {
        "02": [APPLE, "B,Brush,Home,two,5", "C,,Home,1,1", "D,Dish,Home,100000000,1", "E,Egg,Food,1.00001,1", "F,Fig"],
        "03": ["A,Apple,Fruit,9.00,10", BRUSH, "A,Apple,Fruit,8.00,10"],
        "04": ["A,Apple,Fruit,9.00,10", BRUSH, '" A\t",Apple,Fruit,9.00,10'],
        "05": ["A,Apple,Fruit,-0.01,10", BRUSH],
        "06": [APPLE, ",Nameless,Home,1,1", f"{'x' * 256},Long,Home,1,1", '"B,Brush'],
    }.items():
        warehouse.land(f"products/products_2011-01-{day}.csv", lines, PRODUCTS)
    warehouse.land("products/products_2011-01-01.csv.gz", ["A,Apple,Fruit,7.00,10"], PRODUCTS)
    warehouse.land("countries/countries_2011-01-02.csv", [BRITAIN, "GB ,Britain,Europe,54,-2"], COUNTRIES)
    warehouse.land("countries/countries_2011-01-03.csv", ["US,United States,America,91,0"], COUNTRIES)
    warehouse.land("countries/countries_2011-01-04.csv", ["GB,Great Britain,Europe,54,-2", "DE,Germany,,,"], COUNTRIES)
    land_sales(warehouse, "2011-01-06T08", sale("T1", at="2011-01-06 10:00:00"), sale("T2", country="DE"))

    outcomes = warehouse.run()

    found = refused(warehouse)
    assert exit_code(outcomes) == 3
    assert {path.split("/")[1]: reason for path, reason in found.items()} == {
        "products_2011-01-02.csv": "BAD_ROWS: line 3 (B): unit_price 'two' is not a decimal number;"
        " line 4 (C): description is empty;"
        " line 5 (D): unit_price '100000000' does not fit DECIMAL(12,4);"
        " line 6 (E): unit_price '1.00001' does not fit DECIMAL(12,4); line 7 (F): 2 fields, not 5",
        "products_2011-01-03.csv": "DUPLICATE_KEY: A on lines 2 and 4",
        "products_2011-01-04.csv": "DUPLICATE_KEY: A on lines 2 and 4",
        "products_2011-01-05.csv": "NEGATIVE_PRICE: line 2 (A): unit_price -0.01",
        "products_2011-01-06.csv": "BAD_ROWS: line 3 (no stock_code): stock_code is empty;"
        f" line 4 ({'x' * 60}…): stock_code '{'x' * 60}…' is longer than 255 characters;"
        " line 5 (no stock_code): a quote is opened or closed in the wrong place",
        "products_2011-01-01.csv.gz": "SECOND_SNAPSHOT: products/products_2011-01-01.csv is in force for 2011-01-01",
        "countries_2011-01-02.csv": "DUPLICATE_KEY: GB on lines 2 and 3",
        "countries_2011-01-03.csv": "BAD_ROWS: line 2 (US): latitude '91' is not a number of degrees",
    }
    assert amounts(warehouse) == {"T1": "1.5000", "T2": "1.5000"}
    assert "ingest countries: 1 changed value not applied (the first ones stay)" in warehouse.said
    assert_balanced(warehouse, 2)
    assert_agrees_with_oracle(warehouse)


def test_the_command_line_tells_what_was_refused_and_how_it_ended(own_home: Path):
    """In a bare POSIX locale too, as in a container: file names are bytes there."""
    landing = own_home / "landing"
    files = {
        "products/products_2011-01-01.csv": f"{PRODUCTS}\n{APPLE}\n",
        "countries/countries_2011-01-01.csv": f"{COUNTRIES}\n{BRITAIN}\n",
        "transactions/transactions_2011-01-01T08 Übergabe.csv": f"{TRANSACTIONS}\n{sale('Tü')}\n{sale('T2', 'Z')}\n",
        "transactions/transactions_2011-01-01T08 für.csv": "",
        "transactions/transactions_2011-01-01T09.csv": f"{TRANSACTIONS}\n{sale('T3')}\n",
    }
    for name, text in files.items():
        (landing / name).parent.mkdir(parents=True, exist_ok=True)
        (landing / name).write_text(text, encoding="utf-8")

    run = CommandLine(own_home, landing, {"LC_ALL": "C"}).run

    done = run("run")
    assert done.code == 3, done.err
    assert done.out.splitlines()[:4] == [
        "ingest products: 1 row from 1 file; 1 version changed",
        "ingest countries: 1 row from 1 file; 1 country new",
        "ingest transactions: 2 rows from 1 file, 2 rejected",
        "gold: 2 landed = 1 facts + 1 errors + 0 duplicates",
    ]
    assert sorted(done.err.splitlines()) == [
        "ingest transactions: REJECTED transactions/transactions_2011-01-01T08 für.csv: EMPTY: the file has no bytes",
        "ingest transactions: REJECTED transactions/transactions_2011-01-01T09.csv:"
        " BAD_NAME: not transactions_YYYY-MM-DDTHH*.csv[.gz], HH in 00 04 08 12 16 20",
    ]

    wrong = run("run", "--until", "yesterday")
    assert (wrong.code, wrong.out) == (2, "")
    assert "'yesterday' is not a time such as 2011-01-31" in wrong.err
    wrong = run("status", WAREHOUSE_TIMEZONE="Mars/Base")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "WAREHOUSE_TIMEZONE" in wrong.err
    away = run("status", GOLD_URL="postgresql://etl:secret@127.0.0.1:1/ecommerce_gold")
    assert (away.code, away.out, away.err.count("\n")) == (1, "", 1)
    assert "Gold (Postgres) at 127.0.0.1:1 is away" in away.err
    assert "secret" not in away.err
