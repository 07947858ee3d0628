"""Show Java once what a run loads, so that later starts map those classes from an archive (JEP 350).

Only speed depends on it: Java passes over an archive that does not fit it or its jars.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from generators.synthetic import generate
from warehouse import embedded, java


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.class_archive", description=__doc__)
    parser.add_argument("--rows", action="store_true", help="run over two small days, for what rows load: 20 s more")
    rows = parser.parse_args().rows
    archive = java.class_archive()
    archive.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="warehouse-setup-") as folder:
        home, fresh = Path(folder) / "home", Path(folder) / archive.name
        environment = {name: value for name, value in os.environ.items() if name not in ("GOLD_URL", "LANDING_URI")}
        environment |= {
            "WAREHOUSE_HOME": str(home),
            "WAREHOUSE_SPARK_OPTIONS": f"{os.environ.get('WAREHOUSE_SPARK_OPTIONS', '')}"
            f" spark.driver.defaultJavaOptions=-XX:ArchiveClassesAtExit={fresh}",
        }
        if rows:
            generate(home / "landing", seed=1, start=date(2011, 1, 4), days=2, rows_per_day=20, products=9, customers=9)
        try:
            # Java ends after the command, and closes its output last
            subprocess.run(
                [sys.executable, "-m", "warehouse.cli", "run"], cwd=folder, env=environment, capture_output=True
            )
        finally:
            embedded.stop_gold(home)
        if fresh.exists():
            shutil.move(fresh, archive)


if __name__ == "__main__":
    main()
