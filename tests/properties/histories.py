"""Small random histories of landing files, how they arrive, and what stewards decide meanwhile."""

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from harness import COUNTRIES, PRODUCTS, TRANSACTIONS
from hypothesis import strategies as st

FIRST = date(2011, 1, 30)  # the days cross a month's end
DAYS = [FIRST + timedelta(days=i) for i in range(4)]
FAILPOINTS = (
    "after-products-commit",
    "after-products-merge",
    "after-countries-commit",
    "after-transactions-commit",
    "before-gold-commit",
    "after-gold-commit",
    "after-star-append",
    "after-star-merge",
)


@dataclass(frozen=True)
class Delivery:
    """One run's worth of files (path → text), where that run is killed, if it is, and whether it may replace files.

    `whole`: whether it goes on to Gold and the star once the files are in Bronze.
    """

    files: tuple[tuple[str, str], ...]
    killed_at: str | None
    replacing: bool
    whole: bool = True


def _text(header: str, rows: list[tuple[str, ...]]) -> str:
    return "".join(f"{line}\n" for line in [header, *[",".join(row) for row in rows]])


codes = st.sampled_from(["P1", "P2", "p1"])
_rows = st.tuples(
    st.sampled_from(["T1", "T2", "T3", "T4", "T5", " T1"]),
    st.sampled_from(["O1", "O1", "O2", ""]),
    st.sampled_from(["P1", "P2", "p1", "PX"]),
    st.sampled_from(["1", "2", "-1", "+1", "0", "1.5"]),
    st.sampled_from([f"{day} 10:00:00" for day in DAYS] + ["2011-02-30 10:00:00"]),
    st.sampled_from(["C1", "C2", ""]),
    st.sampled_from(["GB", "FR", "ZZ", ""]),
)
# most rows are valid and of few kinds, so that duplicates and conflicts are common
_plain = st.tuples(
    st.sampled_from(["T1", "T2", "T3"]),
    st.just("O1"),
    st.sampled_from(["P1", "P2"]),
    st.sampled_from(["1", "2"]),
    st.sampled_from([f"{day} 10:00:00" for day in DAYS[:3]]),
    st.sampled_from(["C1", ""]),
    st.sampled_from(["GB", "FR"]),
)
_windows = st.tuples(st.sampled_from(DAYS), st.sampled_from(["00", "08", "12"]), st.sampled_from(["", "_b"]))
_products = st.dictionaries(
    codes, st.tuples(st.sampled_from(["one", "two"]), st.sampled_from(["1.00", "2.50", "3"]), st.sampled_from("57"))
)
_countries = st.dictionaries(st.sampled_from(["GB", "FR"]), st.sampled_from(["Here", "There"]))
_contents = {
    "products": _products.map(
        lambda found: _text(PRODUCTS, [(code, name, "", price, stock) for code, (name, price, stock) in found.items()])
    ),
    "countries": _countries.map(
        lambda found: _text(COUNTRIES, [(code, name, "", "", "") for code, name in found.items()])
    ),
    "transactions": st.lists(st.one_of(_plain, _plain, _rows), max_size=6).map(lambda rows: _text(TRANSACTIONS, rows)),
}


@st.composite
def landing_files(draw: st.DrawFn) -> dict[str, str]:
    """A landing zone: path → text."""
    days = draw(st.lists(st.sampled_from(DAYS), unique=True, min_size=1, max_size=3))
    paths = [f"products/products_{day}.csv" for day in days]
    days = draw(st.lists(st.sampled_from(DAYS), unique=True, min_size=1, max_size=2))
    paths += [f"countries/countries_{day}.csv" for day in days]
    windows = draw(st.lists(_windows, unique=True, min_size=1, max_size=4))
    paths += [f"transactions/transactions_{day}T{hour}{suffix}.csv" for day, hour, suffix in windows]
    files = {path: draw(_contents[_source(path)]) for path in paths}
    for path in draw(st.lists(st.sampled_from(sorted(files)), unique=True, max_size=1)):
        if _source(path) == "transactions":  # the same bytes, in the same window, under another name
            files[path.replace(".csv", draw(st.sampled_from(["_a.csv", "_c.csv"])))] = files[path]
    return files


def _source(path: str) -> str:
    return path.partition("/")[0]


@st.composite
def arrivals(draw: st.DrawFn) -> list[Delivery]:
    """A landing zone in some order, cut into two or three runs: files replaced, and back; files twice; runs killed."""
    files = draw(landing_files())
    order = draw(st.permutations(sorted(files.items())))
    cuts = sorted(draw(st.sets(st.integers(1, len(order) - 1), min_size=1, max_size=2)) | {len(order)})
    parts = [order[start:end] for start, end in pairwise([0, *cuts])]
    replacing = draw(st.booleans())
    if replacing:
        number = draw(st.integers(1, len(parts) - 1))
        path, text = draw(st.sampled_from(parts[number]))
        parts[number - 1].append((path, draw(_contents[_source(path)])))
        if number > 1:
            parts[0].append((path, text))
    parts[-1] += draw(st.lists(st.sampled_from(order), max_size=2))
    killed = [draw(st.none() | st.sampled_from(FAILPOINTS)) for _ in parts]
    whole = [*(draw(st.booleans()) for _ in parts[1:]), True]
    return [
        Delivery(tuple(part), killed_at, replacing, goes_on)
        for part, killed_at, goes_on in zip(parts, killed, whole, strict=True)
    ]


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
Verdict = tuple[int, Any]
_of_a_run = st.lists(
    st.tuples(st.integers(0, 9), st.one_of(_corrections, _corrections, st.sampled_from(["discard", "retry"]))),
    max_size=3,
)
# what is decided after each delivery; in half of all histories nothing is
decisions: st.SearchStrategy[list[list[Verdict]]] = st.sampled_from([3, 0]).flatmap(
    lambda runs: st.lists(_of_a_run, min_size=runs, max_size=runs)
)
