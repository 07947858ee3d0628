"""What a job costs when nothing is pending: whole processes, session start included.

python -m benchmarks.fixed_cost [--runs 5]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.common import show, throwaway_warehouse
from jobs import init_warehouse

COMMANDS = (
    ["ingest", "products"],
    ["ingest", "transactions"],
    ["gold"],
    ["star"],
    ["run"],
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with throwaway_warehouse() as context:
        init_warehouse.run(context)
        context.close()
        environment = {**os.environ, "WAREHOUSE_HOME": str(context.config.home)}
        program = str(Path(sys.executable).parent / "warehouse")
        rows = []
        for command in COMMANDS:
            seconds = []
            for _ in range(runs + 1):
                start = time.perf_counter()
                subprocess.run([program, *command], env=environment, check=True, stdout=subprocess.DEVNULL)
                seconds.append(time.perf_counter() - start)
            counted = sorted(seconds[1:])
            rows.append(["warehouse " + " ".join(command), counted[0], statistics.median(counted), counted[-1]])
        show(f"Nothing pending, {runs} runs each", ["command", "least s", "median s", "most s"], rows)


if __name__ == "__main__":
    main()
