"""`make demo` as a new user sees it: what it prints is what the truth file says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from warehouse.config import PROJECT

pytestmark = pytest.mark.slow


def demo(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "JAVA_TOOL_OPTIONS"}  # Java tells of it
    environment = inherited | {
        "WAREHOUSE_HOME": str(home),
        "WAREHOUSE_SPARK_OPTIONS": "spark.driver.memory=2g spark.sql.shuffle.partitions=2",
    }
    command = [sys.executable, "-m", "scripts.demo", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


def test_the_demo_shows_what_was_planted_and_a_second_one_finds_nothing_pending(own_home):
    first = demo(own_home)
    assert (first.returncode, first.stderr) == (0, "")
    truth = json.loads((own_home / "demo-truth.json").read_text())
    totals = truth["totals"]
    errors = sum(totals["errors"].values())
    books = f"{totals['rows']:,} rows landed = {totals['facts']:,} facts + {errors} errors"
    assert f"{books} + {totals['duplicates']} duplicates" in first.stdout
    assert f"for {float(totals['fact_amount']):,.2f} GBP" in first.stdout
    assert re.search(r"[1-9]\d* facts were priced anew", first.stdout)
    kinds = {entry["fault"].replace("_", " ") for entries in truth["faults"].values() for entry in entries}
    assert set(re.findall(r"^  (\w[\w ]+?) {2,}.* found *$", first.stdout, re.MULTILINE)) == kinds
    assert "NOT FOUND" not in first.stdout
    assert "\x1b" not in first.stdout

    second = demo(own_home)
    assert (second.returncode, second.stderr) == (0, "")
    assert "Nothing is pending" in second.stdout and "there from before" in second.stdout
    results = [said.stdout.partition("The books")[2] for said in (first, second)]
    assert results[0] == results[1]
    password = (own_home / "postgres" / "password").read_text()
    assert not any(password in said.stdout for said in (first, second))


def test_the_demo_mixes_nothing_with_files_of_others(tmp_path):
    own = tmp_path / "home" / "landing" / "products" / "products_2011-01-04.csv"
    own.parent.mkdir(parents=True)
    own.write_text("stock_code,description,unit_price\n")
    refused = demo(tmp_path / "home")
    assert refused.returncode == 2
    assert re.fullmatch(r"demo: .*`make clean`, or another WAREHOUSE_HOME\n", refused.stderr)
    assert list((tmp_path / "home").rglob("*.*")) == [own]
