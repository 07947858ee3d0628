"""The demo on the cluster: the same ten days, landed on HDFS and run by the wrappers, in the client's container."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts import demo
from scripts.demo import JOBS, Home, Landing, Narrator
from warehouse.config import PROJECT
from warehouse.errors import UsageError, WarehouseError
from warehouse.ledger import Outcome
from warehouse.session import Context

WRAPPERS = (
    "run_ingest_products.sh",
    "run_ingest_countries.sh",
    "run_ingest_transactions.sh",
    "run_fact_postgres.sh",
    "run_star_schema.sh",
    "run_detect_anomalies.sh",
    "run_send_alerts.sh",
)


class ClusterLanding(Landing):
    """Files are written to a folder of the client, and landed on HDFS from there."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, context.config.home / "demo")
        self._context = context

    def have_synthetic(self) -> str:
        super().have_synthetic()
        return self._land([file for file in self.folder.glob("*/*") if not file.name.startswith(".")])

    def have_replay(self, source: Path) -> str:
        raise UsageError("the demo on the cluster has no DATA: land your own files with scripts/land.sh")

    def release(self, held_back: Sequence[str]) -> list[str]:
        released = super().release(held_back)
        if released:
            self._land([self.folder / path for path in released])
        return released

    def _land(self, files: Sequence[Path]) -> str:
        own = {path.relative_to(self.folder).as_posix().replace("/.", "/") for path in self.folder.glob("*/*")}
        with self._context.gold, self._context.gold.cursor() as cursor:
            cursor.execute("select path from ops.landed_files where path <> all(%s) limit 1", (sorted(own),))
            if other := cursor.fetchone():
                raise UsageError(
                    f"the warehouse holds other files ({other[0]}); the demo does not mix: scripts/run_setup.sh --reset"
                )
        told = _script("land.sh", *sorted(files))
        return told.stdout.strip().removeprefix("land: ")


def cluster_home(context: Context) -> Home:
    if context.config.embedded:
        raise UsageError("this demo runs on the cluster: make up, then make cluster-demo")
    return Home(ClusterLanding(context), lambda *_: None, _run_jobs, _show_more)


def _run_jobs(context: Context, narrator: Narrator) -> list[Outcome]:
    """Each job by its wrapper, told as it ends."""
    outcomes = []
    narrator.begin(JOBS[0])
    for wrapper in WRAPPERS:
        said = _script(wrapper, "--json")
        for line in said.stderr.splitlines():
            narrator.note(line)
        for report in json.loads(said.stdout):
            outcomes.append(
                Outcome(report["job"], report["summary"], report["rejected"], delayed=report.get("delayed", 0))
            )
            narrator.done(outcomes[-1].job, outcomes[-1].line)
    return outcomes


def _script(name: str, *arguments: Any) -> "subprocess.CompletedProcess[str]":
    said = subprocess.run([PROJECT / "scripts" / name, *arguments], capture_output=True, text=True)
    if said.returncode not in (0, 3):
        raise WarehouseError((said.stderr.strip().splitlines() or [f"{name} failed"])[-1].removeprefix("warehouse: "))
    return said


def _show_more(narrator: Narrator, landing: Landing) -> None:
    narrator.title("How to go on")
    narrator.command("scripts/land.sh FILE…", "lands files of your own; the wrappers in scripts/ load them")
    inside = "scripts/compose.sh exec spark-client"
    narrator.command(f"{inside} warehouse status", "runs, freshness, backlog")
    narrator.command(f'{inside} warehouse sql "select * from ecommerce_dw.dim_products limit 5"', "the lake")
    narrator.command("scripts/compose.sh exec gold psql -U postgres ecommerce_gold", "Gold")
    narrator.command("make down", "stops the cluster and keeps the data; make down VOLUMES=1 deletes it")


if __name__ == "__main__":
    raise SystemExit(demo.main(home=cluster_home))
