"""The four real months: `warehouse run` from empty, against one DuckDB script for the same tables.

    python -m benchmarks.real_months [--data FOLDER]

Both read the same landing files (replayed from the Online Retail data set) and must come to the same
facts, errors and sums. Session start is part of the warehouse's time.
"""

import argparse
import time
from pathlib import Path

import duckdb

from benchmarks.common import PROJECT, REAL_DATA, Stopwatch, show, throwaway_warehouse
from generators.online_retail import replay
from jobs import init_warehouse
from warehouse.cli import run_all
from warehouse.landing import Scope

FACTS = (
    "select transaction_id, order_id, invoice_date, stock_code, quantity, unit_price, total_amount, customer_id,"
    " country_id, batch_id from {}"
)
ERRORS = "select transaction_id, reason, batch_id from {}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=REAL_DATA)
    data = parser.parse_args().data
    with throwaway_warehouse() as context:
        landing = context.config.home / "landing"
        summary = replay([data], landing)
        clock = Stopwatch()
        with clock.time("init and session start"):
            init_warehouse.run(context)
        last = time.perf_counter()

        def note(outcome: object) -> None:
            nonlocal last
            clock.seconds[outcome.job] = time.perf_counter() - last  # type: ignore[attr-defined]
            last = time.perf_counter()

        run_all(context, Scope(), report=note)
        with context.gold.cursor() as cursor:
            cursor.execute(
                "select count(*), sum(total_amount), (select count(*) from transactions_error) from fact_transactions"
            )
            warehouse_says = cursor.fetchone()
            rows = []
            for statement in (FACTS.format("fact_transactions"), ERRORS.format("transactions_error")):
                cursor.execute(statement)
                rows.append(set(cursor))
        start = time.perf_counter()
        connection = duckdb.connect(str(context.config.home / "peer.duckdb"))
        duck_says = by_duckdb(connection, landing)
        peer = time.perf_counter() - start
        for statement, ours in zip((FACTS.format("fact"), ERRORS.format("error")), rows, strict=True):
            assert set(connection.execute(statement).fetchall()) == ours, "the rows differ"
        connection.close()
    total = sum(clock.seconds.values())
    assert warehouse_says == duck_says, f"{warehouse_says} and {duck_says} differ"
    show(
        f"{summary.transactions:,} real transactions in {summary.transaction_files} files,"
        f" {summary.trading_days} days; both say, row by row, {duck_says[0]:,} facts, {duck_says[1]:,},"
        f" {duck_says[2]:,} errors",
        ["step", "seconds"],
        [*clock.seconds.items(), ("warehouse, all", total), ("DuckDB script", peer), ("ratio", total / peer)],
    )


def by_duckdb(connection: duckdb.DuckDBPyConnection, landing: Path) -> tuple[object, ...]:
    """The same tables by the script beside this file; (facts, their sum, errors)."""
    script = (PROJECT / "benchmarks" / "real_months.sql").read_text(encoding="utf-8")
    connection.execute(script.replace("{landing}", str(landing)))
    found = connection.execute(
        "select (select count(*) from fact), (select sum(total_amount) from fact), (select count(*) from error)"
    ).fetchone()
    return tuple(found or ())


if __name__ == "__main__":
    main()
