"""What the benchmarks share: a throw-away warehouse, a stop watch, a table."""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from warehouse import embedded
from warehouse.config import load
from warehouse.session import Context

PROJECT = Path(__file__).resolve().parents[1]
BOTH_COMPILERS = {"WAREHOUSE_SPARK_OPTIONS": "spark.driver.defaultJavaOptions=-XX:TieredStopAtLevel=4"}
"""As a run has it where much has landed. A benchmark starts its session before it makes its data."""
REAL_DATA = PROJECT.parent / "shared" / "data" / "online_retail"


@contextmanager
def throwaway_warehouse(settings: Mapping[str, str] | None = None) -> Iterator[Context]:
    """An empty embedded warehouse in a folder of its own, which is removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="warehouse-bench-"))
    config = load({"WAREHOUSE_HOME": str(home)} | dict(settings or {}), home)
    context = Context(config, say=lambda message: None)
    try:
        yield context
    finally:
        context.close()
        embedded.stop_gold(home)
        shutil.rmtree(home, ignore_errors=True)


@dataclass
class Stopwatch:
    """Seconds by name; `rate` rows a second."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    cells = [[_cell(value) for value in row] for row in rows]
    print(f"\n{title}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in cells:
        print("| " + " | ".join(row) + " |")
    sys.stdout.flush()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if value >= 10 else f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
