"""As-of join: `attach_version` beside DuckDB's ASOF JOIN and the join-and-rank of the tutorials.

python -m benchmarks.asof [--rows 5000000,20000000] [--versions 10,100,1000] [--repeats 3] [--quick]

4,000 products of Zipf popularity; purchases in random order over 1,000 days, 0.1 % of an unknown
product; the price changes are spread over the same days, so that 1,000 versions are one a day. All
methods read the same Parquet files with two cores, take turns, and end in one row that must agree.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT / "spark")]

from warehouse.rules.asof import attach_version  # noqa: E402 - needs the path

CORES, PRODUCTS, SPAN_DAYS, FILE_ROWS = 2, 4_000, 1_000, 1_000_000
RANK_ROWS, RANK_BOUND = 5_000_000, 300
DAILY_ROWS, DAILY_VERSIONS = 100_000, 100

Method = Callable[[str, str], tuple[Any, ...] | None]


def generate_transactions(folder: Path, rows: int, kind: str) -> str:
    """`kind`: zipf, skewed (half of all rows are one product) or daily (zipf, all on one day)."""
    target = folder / f"transactions_{kind}_{rows}"
    target.mkdir()
    rank = f"floor(exp(hash(i, 3) % 1000000007 / 1000000007.0 * ln({PRODUCTS + 1})))::int"
    if kind == "skewed":
        rank = f"case when hash(i, 4) % 2 = 0 then 1 else {rank} end"
    days = (SPAN_DAYS - 100, 1) if kind == "daily" else (0, SPAN_DAYS)
    for first in range(0, rows, FILE_ROWS):
        duckdb.sql(f"""
            copy (
                select
                    i as transaction_id,
                    case
                        when hash(i, 5) % 1000 = 0 then 'unknown'
                        -- popularity must not follow the order of the codes
                        else 'P' || lpad((({rank}) * 2741 % {PRODUCTS + 1})::varchar, 5, '0')
                    end as stock_code,
                    (1 + hash(i, 1) % 24)::int as quantity,
                    timestamp '2020-01-01' + to_days({days[0]})
                        + to_seconds((hash(i, 2) % {days[1] * 86_400})::bigint) as invoice_date
                from range({first}, {min(rows, first + FILE_ROWS)}) as numbers(i)
            ) to '{target}/part-{first // FILE_ROWS:03d}.parquet' (format parquet)
        """)
    return f"{target}/*.parquet"


def generate_versions(folder: Path, versions: int) -> str:
    target = folder / f"versions_{versions}.parquet"
    duckdb.sql(f"""
        copy (
            with changes as (
                select
                    code.range as code,
                    k.range as k,
                    floor((k.range + hash(code.range, k.range) % 1000 / 1000.0) * {SPAN_DAYS} / {versions})::int as day
                from range(1, {PRODUCTS + 1}) as code, range({versions}) as k
            )
            select
                'P' || lpad(code::varchar, 5, '0') as stock_code,
                (code * 10000 + k)::bigint as product_sk,
                date '2020-01-01' + day as effective_date,
                date '2020-01-01' + lead(day) over (partition by code order by k) as end_date,
                ((1 + hash(code, k) % 100000) / 100.0)::decimal(12, 4) as unit_price
            from changes
        ) to '{target}' (format parquet)
    """)
    return str(target)


def duckdb_asof(transactions: str, versions: str) -> tuple[Any, ...]:
    with duckdb.connect() as connection:
        connection.execute(f"set threads = {CORES}; set preserve_insertion_order = false")
        return connection.execute(f"""
            select sum(unit_price * quantity), count(*), count(unit_price), sum(product_sk)
            from '{transactions}' as t asof left join '{versions}' as v
                on t.stock_code = v.stock_code and t.invoice_date >= v.effective_date
        """).fetchall()[0]


def join_and_rank(transactions: DataFrame, versions: DataFrame) -> DataFrame:
    newest = Window.partitionBy("transaction_id").orderBy(F.desc_nulls_last("effective_date"))
    begun = (F.col("stock_code") == F.col("code")) & (F.to_date("invoice_date") >= F.col("effective_date"))
    return (
        transactions.join(versions.withColumnRenamed("stock_code", "code"), begun, "left")
        .withColumn("place", F.row_number().over(newest))
        .where("place = 1")
    )


@dataclass
class Spark:
    """Spark as a method: reads, joins, aggregates. None when it does not end within `bound` seconds."""

    session: SparkSession
    join: Callable[[DataFrame, DataFrame], DataFrame]
    bound: float = 3600

    def __call__(self, transactions: str, versions: str) -> tuple[Any, ...] | None:
        read = self.session.read.parquet
        total = self.join(read(transactions), read(versions)).agg(
            F.sum(F.col("unit_price") * F.col("quantity").cast("decimal(10,0)")),
            F.count("*"),
            F.count("unit_price"),
            F.sum("product_sk"),
        )
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self.session.sparkContext.cancelAllJobs()

        timer = threading.Timer(self.bound, give_up)
        timer.start()
        try:
            return tuple(total.collect()[0])
        except Exception:
            if late.is_set():
                return None
            raise
        finally:
            timer.cancel()


@dataclass
class Timing:
    """Seconds of each repeat: by the clock, and of processor time, which a busy machine disturbs less."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    ended: bool = True

    @property
    def seconds(self) -> float:
        return statistics.median(self.wall)

    @property
    def cpu(self) -> float:
        return statistics.median(self.processor)

    def __str__(self) -> str:
        return f"{'' if self.ended else '> '}{self.seconds:.1f} ({self.cpu:.1f})"


def take_turns(
    methods: dict[str, tuple[Method, str, str]], repeats: int, cpu: Callable[[], float], agree: bool = True
) -> dict[str, Timing]:
    """Time the methods in turn, `repeats` times; stop the run where their results differ."""
    timings = {name: Timing() for name in methods}
    results = set()
    for _ in range(repeats):
        for name, (method, transactions, versions) in methods.items():
            timing = timings[name]
            if not timing.ended:
                continue
            start, start_cpu = time.perf_counter(), cpu()
            result = method(transactions, versions)
            timing.wall.append(time.perf_counter() - start)
            timing.processor.append(cpu() - start_cpu)
            timing.ended = result is not None
            if result is not None:
                results.add(result)
    if agree and len(results) != 1:
        sys.exit(f"the methods disagree: {results}")
    return timings


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def ratio(one: Timing, other: Timing) -> str:
    """One by the other, by the clock and (in brackets) by processor time."""
    return f"{'' if one.ended else '> '}{one.seconds / other.seconds:.1f} × ({one.cpu / other.cpu:.1f} ×)"


def measure(folder: Path, sizes: list[int], counts: list[int], repeats: int, rank_rows: int) -> None:
    session = (
        SparkSession.builder.master(f"local[{CORES}]")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.shuffle.partitions", "8")  # as the embedded home
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.extraJavaOptions", "-XX:+UseSerialGC")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")

    def cpu() -> float:
        java = session._jvm.java.lang.ProcessHandle.current().info().totalCpuDuration().get()
        return time.process_time() + java.toMillis() / 1000

    rule = Spark(session, attach_version)
    versions = {count: generate_versions(folder, count) for count in {*counts, DAILY_VERSIONS}}
    rank_input = generate_transactions(folder, rank_rows, "zipf") if rank_rows not in sizes else None
    inputs = {size: generate_transactions(folder, size, "zipf") for size in sizes}
    skewed = generate_transactions(folder, sizes[0], "skewed")
    daily = generate_transactions(folder, DAILY_ROWS, "daily")
    for _ in range(3):
        rule(daily, versions[DAILY_VERSIONS])

    middle = counts[len(counts) // 2]
    print(f"{PRODUCTS:,} products, {SPAN_DAYS:,} days, {CORES} cores; median of {repeats}: seconds (processor seconds)")
    rows = []
    for size in sizes:
        least = None
        for count in counts:
            seen = take_turns(
                {
                    "duckdb": (duckdb_asof, inputs[size], versions[count]),
                    "rule": (rule, inputs[size], versions[count]),
                },
                repeats,
                cpu,
            )
            least = least or seen["rule"]
            rows.append(
                [
                    f"{size:,}",
                    f"{count:,}",
                    str(seen["duckdb"]),
                    str(seen["rule"]),
                    ratio(seen["rule"], seen["duckdb"]),
                    ratio(seen["rule"], least),
                ]
            )
    first = f"to {counts[0]:,} versions"
    table("All sizes", ["rows", "versions", "DuckDB ASOF", "attach_version", "to DuckDB", first], rows)

    rows = []
    for count in [count for count in counts if count <= middle]:
        source = rank_input or inputs[rank_rows]
        ranked = Spark(session, join_and_rank, RANK_BOUND)
        seen = take_turns({"rule": (rule, source, versions[count]), "rank": (ranked, source, versions[count])}, 1, cpu)
        rows.append(
            [f"{rank_rows:,}", f"{count:,}", str(seen["rule"]), str(seen["rank"]), ratio(seen["rank"], seen["rule"])]
        )
    table("Join and rank", ["rows", "versions", "attach_version", "join and rank", "times slower"], rows)

    seen = take_turns(
        {"zipf": (rule, inputs[sizes[0]], versions[middle]), "skewed": (rule, skewed, versions[middle])},
        repeats,
        cpu,
        agree=False,
    )
    take_turns({"duckdb": (duckdb_asof, skewed, versions[middle]), "rule": (rule, skewed, versions[middle])}, 1, cpu)
    table(
        "Half of all rows in one product",
        ["rows", "versions", "Zipf", "skewed", "ratio"],
        [
            [
                f"{sizes[0]:,}",
                f"{middle:,}",
                str(seen["zipf"]),
                str(seen["skewed"]),
                ratio(seen["skewed"], seen["zipf"]),
            ]
        ],
    )

    day = {
        "duckdb": (duckdb_asof, daily, versions[DAILY_VERSIONS]),
        "rule": (rule, daily, versions[DAILY_VERSIONS]),
    }
    seen = take_turns(day, max(repeats, 5), cpu)
    table(
        "One day",
        ["rows", "versions in all", "DuckDB ASOF", "attach_version"],
        [[f"{DAILY_ROWS:,}", f"{PRODUCTS * DAILY_VERSIONS:,}", str(seen["duckdb"]), str(seen["rule"])]],
    )
    session.stop()


def main() -> None:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(prog="python -m benchmarks.asof", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=numbers, default=[5_000_000, 20_000_000], help="transactions, comma-separated")
    parser.add_argument("--versions", type=numbers, default=[10, 100, 1_000], help="versions a product")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="500,000 rows, once: does it run?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="asof-") as folder:
        if options.quick:
            measure(Path(folder), [500_000], options.versions, 1, 100_000)
        else:
            measure(Path(folder), options.rows, options.versions, options.repeats, RANK_ROWS)


if __name__ == "__main__":
    main()
