"""The generators: what they write, literally; and that the truth file is the truth.

The truth is checked by the oracle, which reads the landing files alone.
"""

import csv
import gzip
import hashlib
import io
import json
import os
import stat
import sys
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle import expected

from generators import online_retail, synthetic
from generators.countries import country_id, load_countries
from generators.faults import DEFAULT_FAULTS
from generators.landing import GeneratorError, open_landing_file
from generators.online_retail import replay
from generators.reference import Product, Reference, warehouse_reference
from generators.synthetic import generate
from generators.truth import DUPLICATE, Truth

ROOT = Path(__file__).resolve().parents[2]

# --- replay -----------------------------------------------------------------------------------------

HEADER = next(csv.reader(["InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"]))
SOURCE = list(
    csv.reader(
        [
            "536365,85123A,WHITE HEART T-LIGHT HOLDER,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom",
            '536365,71053,"CAF\u00c9 ""NOIR"", SIGN ",6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom',
            "536366,85123A,WHITE HEART T-LIGHT HOLDER,40,2010-12-01 11:59:00,2.95,,EIRE",
            "536365,POST,POSTAGE,1,2010-12-01 12:00:00,18,17850.0,Channel Islands",
            "C536367,71053,,-1,2010-12-03 09:00:00,0,12583.0,Unspecified",
            "536368,22139,,500,2010-12-03 09:01:00,0,,European Community",
        ]
    )
)
TRANSACTIONS = "transaction_id,order_id,stock_code,quantity,invoice_date,customer_id,country_id\n"
PRODUCTS = "stock_code,description,category,unit_price,stock_quantity\n"
REPLAYED = {
    "transactions/transactions_2010-12-01T08.csv": TRANSACTIONS
    + "536365-1,536365,85123A,6,2010-12-01 08:26:00,17850,GB\n"
    + "536365-2,536365,71053,6,2010-12-01 08:26:00,17850,GB\n"
    + "536366-1,536366,85123A,40,2010-12-01 11:59:00,,IE\n",
    "transactions/transactions_2010-12-01T12.csv": TRANSACTIONS
    + "536365-3,536365,POST,1,2010-12-01 12:00:00,17850,JE\n",
    "transactions/transactions_2010-12-03T08.csv": TRANSACTIONS
    + "C536367-1,C536367,71053,-1,2010-12-03 09:00:00,12583,\n"
    + "536368-1,536368,22139,500,2010-12-03 09:01:00,,EU\n",
    "products/products_2010-12-01.csv": PRODUCTS
    + '71053,"CAF\u00c9 ""NOIR"", SIGN",Home,3.39,494\n'
    + "85123A,WHITE HEART T-LIGHT HOLDER,Candles & lights,2.55,454\n"
    + "POST,POSTAGE,Postage & fees,18.00,499\n",
    "products/products_2010-12-03.csv": PRODUCTS
    + '71053,"CAF\u00c9 ""NOIR"", SIGN",Home,3.39,495\n'
    + "85123A,WHITE HEART T-LIGHT HOLDER,Candles & lights,2.55,454\n"
    + "POST,POSTAGE,Postage & fees,18.00,499\n",
}


def month_first(text: str) -> str:
    instant = datetime.fromisoformat(text)
    return f"{instant.month}/{instant.day}/{instant.year} {instant.hour}:{instant.minute:02d}"


def source_text(convert=str) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([HEADER, *([*row[:4], convert(row[4]), *row[5:]] for row in SOURCE)])
    return out.getvalue()


def write_workbook(path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(HEADER)
    for invoice, code, description, quantity, instant, price, customer, country in SOURCE:
        book.active.append(
            [
                int(invoice) if invoice.isdigit() else invoice,
                int(code) if code.isdigit() else code,
                description or None,
                int(quantity),
                datetime.fromisoformat(instant),
                float(price),
                float(customer) if customer else None,
                country,
            ]
        )
    book.save(path)


def write_source(folder: Path, form: str) -> Path:
    plain = folder / "online.csv"
    if form == "utf-8":
        plain.write_text(source_text(), encoding="utf-8")
    elif form == "bom":
        plain.write_text(source_text(), encoding="utf-8-sig")
    elif form == "latin-1, month first":
        plain.write_bytes(source_text(month_first).encode("latin-1"))
    elif form == "gzip":
        plain = folder / "online.csv.gz"
        plain.write_bytes(gzip.compress(source_text().encode()))
    elif form == "excel":
        plain = folder / "online.xlsx"
        write_workbook(plain)
    return plain


def landed(landing: Path) -> dict[str, str]:
    """Every landing file's text, the countries left out."""
    return {
        path.relative_to(landing).as_posix(): path.read_bytes().decode()
        for path in landing.rglob("*")
        if path.is_file() and path.parent.name != "countries"
    }


@pytest.mark.parametrize("form", ["utf-8", "bom", "latin-1, month first", "gzip", "excel"])
def test_every_form_of_the_source_gives_the_same_landing_files(tmp_path, form):
    summary = replay([write_source(tmp_path, form)], tmp_path / "landing")
    assert landed(tmp_path / "landing") == REPLAYED
    assert (summary.transactions, summary.transaction_files, summary.trading_days) == (6, 3, 2)


def test_each_trading_day_has_the_whole_country_master(tmp_path):
    replay([write_source(tmp_path, "utf-8")], tmp_path / "landing")
    files = sorted((tmp_path / "landing" / "countries").iterdir())
    assert [file.name for file in files] == ["countries_2010-12-01.csv", "countries_2010-12-03.csv"]
    rows = list(csv.reader(files[0].open(encoding="utf-8")))
    assert rows[0] == ["country_id", "country_name", "region", "latitude", "longitude"]
    assert len(rows) == 1 + len(load_countries()) >= 60
    assert "EU" not in [row[0] for row in rows]


def test_gzip_changes_the_packing_and_nothing_else(tmp_path):
    replay([write_source(tmp_path, "utf-8")], tmp_path / "landing", compress=True)
    files = {
        path.relative_to(tmp_path / "landing").as_posix().removesuffix(".gz"): gzip.decompress(path.read_bytes())
        for path in (tmp_path / "landing").glob("[pt]*/*.gz")
    }
    assert {name: content.decode() for name, content in files.items()} == REPLAYED


def test_a_later_range_carries_on_from_the_days_before_it(tmp_path):
    source = write_source(tmp_path, "utf-8")
    replay([source], tmp_path / "landing", since=date(2010, 12, 2), until=date(2010, 12, 3))
    assert landed(tmp_path / "landing") == {name: text for name, text in REPLAYED.items() if "12-03" in name}


def test_days_keeps_the_first_trading_days(tmp_path):
    replay([write_source(tmp_path, "utf-8")], tmp_path / "landing", days=1)
    assert landed(tmp_path / "landing") == {name: text for name, text in REPLAYED.items() if "12-01" in name}


def test_lines_of_an_invoice_count_on_from_one_source_file_to_the_next(tmp_path):
    lines = source_text().splitlines(keepends=True)
    folder = tmp_path / "months"
    folder.mkdir()
    (folder / "1.csv").write_text("".join(lines[:3]), encoding="utf-8")
    (folder / "2.csv").write_text(lines[0] + "".join(lines[3:]), encoding="utf-8")
    (folder / "README.md").write_text("not a source")
    replay([folder], tmp_path / "landing")
    assert landed(tmp_path / "landing") == REPLAYED


def test_the_days_price_is_the_most_frequent_and_of_two_the_lower(tmp_path):
    def line(day: int, price: str, description: str) -> list[str]:
        return ["1", "A", description, "1", f"2010-12-0{day} 10:00:00", price, "", "France"]

    rows = [
        line(1, "5", "B SIDE"),
        line(1, "4.123", "A SIDE"),
        line(2, "9", "C"),
        line(2, "7", ""),
        line(2, "9.00", "D"),
    ]
    rows += [line(2, "9", "D"), line(3, "-3", "?"), line(3, "abc", "?")]
    source = tmp_path / "s.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    replay([source], tmp_path / "landing")
    snapshots = sorted((tmp_path / "landing" / "products").iterdir())
    assert [path.read_text(encoding="utf-8").splitlines()[1] for path in snapshots] == [
        "A,A SIDE,Other,4.1230,498",
        "A,D,Other,9.00,494",
        "A,?,Other,9.00,492",
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.csv", None, "not a file"),
        ("notes.txt", b"x", "neither of"),
        ("empty.csv", b"", "missing columns: InvoiceNo"),
        ("other.csv", b"InvoiceNo,StockCode,Quantity\n1,A,2\n", "missing columns: Description, InvoiceDate"),
        (
            "date.csv",
            (",".join(HEADER) + "\n1,A,x,1,31/12/2010 8:00,1,,France\n").encode(),
            "line 2: InvoiceDate",
        ),
        ("cut.csv.gz", gzip.compress(bytes(5000), mtime=0)[:20], "not readable as CSV"),
        ("text.csv.gz", b"InvoiceNo", "not readable as CSV"),
        ("book.xlsx", b"no workbook", "not readable as an Excel workbook"),
    ],
)
def test_a_bad_source_is_one_line_and_exit_2_and_nothing_lands(tmp_path, capsys, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert online_retail.main([str(tmp_path / name), "--landing", str(tmp_path / "landing")]) == 2
    error = capsys.readouterr().err
    assert words in error and name in error and error.count("\n") == 1
    assert not (tmp_path / "landing").exists()


def test_every_country_of_the_data_set_has_a_code():
    names = """Australia,Austria,Bahrain,Belgium,Brazil,Canada,Channel Islands,Cyprus,Czech Republic,Denmark,
        EIRE,European Community,Finland,France,Germany,Greece,Hong Kong,Iceland,Israel,Italy,Japan,Lebanon,
        Lithuania,Malta,Netherlands,Norway,Poland,Portugal,RSA,Saudi Arabia,Singapore,Spain,Sweden,
        Switzerland,USA,United Arab Emirates,United Kingdom"""
    names = [name.strip() for name in names.split(",")]
    assert [name for name in names if len(country_id(name)) != 2] == []
    assert [country_id(name) for name in ("EIRE", "RSA", "USA", "Channel Islands")] == [
        "IE",
        "ZA",
        "US",
        "JE",
    ]
    assert (country_id("Unspecified"), country_id("Atlantis")) == ("", "Atlantis")


def test_a_file_that_fails_halfway_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), open_landing_file(tmp_path / "products" / "p.csv.gz") as file:
        file.write("half")
        raise RuntimeError
    assert list((tmp_path / "products").iterdir()) == []


def real_data() -> Path:
    return Path(os.environ.get("ONLINE_RETAIL_DATA", ROOT.parent / "shared" / "data" / "online_retail"))


@pytest.mark.skipif(not (real_data() / "2011-01.csv.gz").is_file(), reason="no Online Retail data here")
def test_a_real_month_keeps_every_row_in_its_window(tmp_path):
    source = real_data() / "2011-01.csv.gz"
    with gzip.open(source, "rt", encoding="utf-8", newline="") as file:
        windows = Counter(row["InvoiceDate"][:10] + f"T{int(row['InvoiceDate'][11:13]) // 4 * 4:02d}"
                          for row in csv.DictReader(file))  # fmt: skip
    summary = replay([source], tmp_path / "landing")
    files = sorted((tmp_path / "landing" / "transactions").iterdir())
    replayed, ids = Counter(), set()
    for path in files:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                replayed[path.name[13:26]] += 1
                ids.add(row["transaction_id"])
    assert replayed == windows
    assert len(ids) == summary.transactions == replayed.total() > 35_000
    outcome = expected(tmp_path / "landing")
    assert outcome.rejected == {} and outcome.landed == summary.transactions
    assert {row[7] for row in outcome.errors} <= {"UNKNOWN_COUNTRY", "UNKNOWN_PRODUCT", "NO_PRICE"}


# --- synthetic --------------------------------------------------------------------------------------


def small_shop(landing: Path, **changes) -> Truth:
    arguments = {
        "seed": 7,
        "start": date(2011, 1, 4),
        "days": 6,
        "rows_per_day": 300,
        "products": 40,
        "customers": 90,
    }
    return generate(landing, **(arguments | changes))


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def books(truth: Truth) -> tuple:
    totals = truth.totals
    return (
        totals.rows,
        totals.facts,
        totals.errors,
        totals.duplicates,
        totals.fact_quantity,
        totals.fact_amount,
    )


def books_of_oracle(landing: Path) -> tuple:
    outcome = expected(landing)
    return (
        outcome.landed,
        len(outcome.facts),
        Counter(row[7] for row in outcome.errors),
        outcome.duplicates,
        sum(row[5] for row in outcome.facts),
        sum((row[7] for row in outcome.facts), Decimal(0)),
    )


@pytest.mark.parametrize("compress", [False, True])
def test_the_same_seed_gives_the_same_bytes(tmp_path, compress):
    first = small_shop(tmp_path / "a", compress=compress)
    second = small_shop(tmp_path / "b", compress=compress)
    assert first.to_json() == second.to_json()
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(small_shop(tmp_path / "c", seed=8) and tmp_path / "c")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"compress": True},
        {"seed": 3, "days": 9, "start": date(2012, 2, 27)},
        {"days": 5, "rows_per_day": 1, "products": 1, "customers": 1},
        {"days": 1},
        {"days": 2},
        {"faults": False},
        {"faults": {kind: 7 for kind in DEFAULT_FAULTS if kind not in ("second_snapshot", "late_snapshot")}},
    ],
)
def test_the_totals_of_the_truth_are_what_the_oracle_counts(tmp_path, changes):
    truth = small_shop(tmp_path / "landing", **changes)
    assert books(truth) == books_of_oracle(tmp_path / "landing")
    assert truth.rejected == expected(tmp_path / "landing").rejected


def test_every_kind_of_fault_is_planted_in_five_days(tmp_path):
    truth = small_shop(tmp_path / "landing", days=5)
    planted = {entry.fault for entries in truth.faults.values() for entry in entries}
    assert planted == DEFAULT_FAULTS.keys()
    reasons = set(truth.totals.errors)
    assert reasons == {
        "MALFORMED",
        "DUPLICATE_CONFLICT",
        "UNKNOWN_COUNTRY",
        "UNKNOWN_PRODUCT",
        "NO_PRICE",
    }
    assert set(truth.rejected.values()) == {
        "MISSING_COLUMN",
        "WRONG_ENCODING",
        "EMPTY",
        "BROKEN_GZIP",
        "SECOND_SNAPSHOT",
    }
    assert len(truth.held_back) == 1


@pytest.mark.parametrize("compress", [False, True])
def test_every_planted_row_lies_on_its_line_and_meets_its_fate(tmp_path, compress):
    landing = tmp_path / "landing"
    truth = small_shop(landing, compress=compress)
    outcome = expected(landing)
    errors = Counter((row[9], row[0], row[7]) for row in outcome.errors)
    facts = {(row[10], row[0]) for row in outcome.facts}
    told_errors, told_facts, told_duplicates = Counter(), set(), Counter()
    for file, entries in truth.faults.items():
        for entry in entries:
            assert entry.file == file and (landing / file).is_file()
            if entry.transaction_id is None:
                continue
            content = (landing / file).read_bytes()
            text = (gzip.decompress(content) if file.endswith(".gz") else content).decode()
            assert next(csv.reader([text.split("\n")[entry.line - 1]]))[0] == entry.transaction_id
            batch = file.removeprefix("transactions/transactions_")[:13]
            if entry.expected_reason is None:
                told_facts.add((batch, entry.transaction_id))
            elif entry.expected_reason == DUPLICATE:
                told_duplicates[batch] += 1
            else:
                told_errors[(file, entry.transaction_id, entry.expected_reason)] += 1
    assert told_errors == errors
    assert told_facts <= facts
    assert told_duplicates == outcome.duplicates_by_batch


def test_every_planted_file_is_broken_as_told(tmp_path):
    landing = tmp_path / "landing"
    truth = small_shop(landing)
    by_reason = {reason: landing / file for file, reason in truth.rejected.items()}
    assert by_reason["EMPTY"].read_bytes() == b""
    assert b"quantity" not in by_reason["MISSING_COLUMN"].read_bytes()
    with pytest.raises(UnicodeDecodeError):
        by_reason["WRONG_ENCODING"].read_bytes().decode()
    with pytest.raises(EOFError):
        gzip.decompress(by_reason["BROKEN_GZIP"].read_bytes())
    first = landing / truth.deliver_after[by_reason["SECOND_SNAPSHOT"].relative_to(landing).as_posix()]
    assert gzip.decompress(by_reason["SECOND_SNAPSHOT"].read_bytes()) != first.read_bytes()
    late = date.fromisoformat(truth.held_back[0][-14:-4])
    assert (date.fromisoformat(truth.last_day), late) == (date(2011, 1, 10), date(2011, 1, 7))
    odd = next(entry for entries in truth.faults.values() for entry in entries if entry.fault == "odd_description")
    lines = (landing / odd.file).read_text(encoding="utf-8").split("\n")
    assert lines[odd.line - 1].startswith("ODD-") and "<script>" in "".join(lines[odd.line : odd.line + 2])


def test_ordinary_rows_are_as_many_as_asked_for_and_look_like_a_shop(tmp_path):
    truth = small_shop(tmp_path / "landing", days=6, rows_per_day=4000, products=300, customers=900, faults=False)
    assert (truth.totals.rows, truth.totals.facts, truth.rejected) == (24_000, 24_000, {})
    outcome = expected(tmp_path / "landing")
    assert not {row[2][:10] for row in outcome.facts} & {"2011-01-08"}, "a Saturday"
    windows = Counter(row[10][-2:] for row in outcome.facts)
    assert windows["12"] > windows["08"] > windows["20"] > windows["04"] > windows["00"] == 0
    assert 0.2 < sum(row[8] is None for row in outcome.facts) / 24_000 < 0.3
    assert 0.01 < sum(row[5] < 0 for row in outcome.facts) / 24_000 < 0.03
    sold = Counter(row[3] for row in outcome.facts).most_common()
    assert sold[0][1] > 20 * sold[len(sold) // 2][1]
    changes = len(outcome.products) - 300
    assert 0.02 * 1500 < changes < 0.09 * 1500


def test_a_longer_run_begins_with_the_same_files(tmp_path):
    small_shop(tmp_path / "a", days=3, faults=False)
    small_shop(tmp_path / "b", days=6, faults=False)
    assert digests(tmp_path / "a").items() <= digests(tmp_path / "b").items()


def test_prices_of_a_reference_go_on_from_there(tmp_path):
    products = tuple(Product(f"P{n}", "A, B", "Home", Decimal("1.2345")) for n in range(60))
    reference = Reference(products, tuple(c for c in load_countries() if c.country_id in ("FR", "DE")))
    truth = small_shop(tmp_path / "landing", days=5, reference=reference)
    assert books(truth) == books_of_oracle(tmp_path / "landing")
    first = sorted((tmp_path / "landing" / "products").iterdir())[0]
    prices = Counter(row["unit_price"] for row in csv.DictReader(first.open(encoding="utf-8", newline="")))
    assert prices["1.2345"] > 50
    assert {row[0] for row in expected(tmp_path / "landing").countries} == {"FR", "DE"}


def fake_warehouse(folder: Path, script: str, monkeypatch) -> None:
    program = folder / "warehouse"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))


def test_the_reference_comes_from_the_installed_warehouse(tmp_path, monkeypatch):
    products = json.dumps([{"stock_code": "A", "description": "Bag", "category": None, "unit_price": "4.2500"}])
    countries = json.dumps(
        [{"country_id": "FR", "country_name": "France", "region": None, "latitude": 46.5, "longitude": "2"}]
    )
    script = f"""[ "$1 $2" = "sql --json" ] || exit 9
case "$3" in *products*) echo '{products}';; *) echo '{countries}';; esac"""
    fake_warehouse(tmp_path, script, monkeypatch)
    reference = warehouse_reference()
    assert reference is not None
    assert reference.products == (Product("A", "Bag", "", Decimal("4.25")),)
    assert reference.countries == (("FR", "France", "", "46.5", "2"),)


def test_an_empty_warehouse_gives_no_reference_and_a_broken_one_an_error(tmp_path, monkeypatch, capsys):
    fake_warehouse(tmp_path, "echo '[]'", monkeypatch)
    assert warehouse_reference() is None
    fake_warehouse(tmp_path, "echo 'Postgres is away' >&2; exit 1", monkeypatch)
    assert synthetic.main(["--landing", str(tmp_path / "landing"), "--from-warehouse"]) == 2
    assert capsys.readouterr().err.endswith("ended with 1: Postgres is away\n")


def test_the_command_line_writes_the_truth_beside_the_landing_folder(tmp_path, capsys):
    arguments = [
        "--landing",
        str(tmp_path / "landing"),
        "--days",
        "5",
        "--rows-per-day",
        "50",
        "--products",
        "20",
    ]
    assert synthetic.main(arguments) == 0
    told = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    totals = told["totals"]
    assert totals["rows"] == totals["facts"] + sum(totals["errors"].values()) + totals["duplicates"]
    assert f"{totals['rows']} transactions" in capsys.readouterr().out


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(GeneratorError, match="days must be at least 1"):
        small_shop(tmp_path, days=0)
    with pytest.raises(GeneratorError, match="unknown fault 'flood'"):
        small_shop(tmp_path, faults={"flood": 1})
    assert list(tmp_path.iterdir()) == []


def test_instants_keep_no_fraction_of_an_excel_day():
    from generators.sources import parse_instant

    almost = datetime(2010, 12, 1, 8, 25, 59, 999_999)  # noqa: DTZ001 (as a workbook gives it)
    assert parse_instant(almost) == datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
