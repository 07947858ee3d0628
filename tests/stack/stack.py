"""A cluster of its own for the tests: brought up as a user would, driven by the wrappers, compared frame by frame."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
from harness import LAKE_ROWS, NOT_COMPILED, Rows, Warehouse, assert_same_state, frames

PROJECT = Path(__file__).resolve().parents[2]
INGEST = ("run_ingest_products.sh", "run_ingest_countries.sh", "run_ingest_transactions.sh")
WRAPPERS = (*INGEST, "run_fact_postgres.sh", "run_star_schema.sh", "run_detect_anomalies.sh")
# Where a test is not about executors, the driver's Java does their work. Where it is, their Java compiles quickly.
# Plans are not compiled, but in one job, which runs as it is shipped.
LITTLE = " ".join(f"--conf {setting}" for setting in NOT_COMPILED.split())
IN_THE_DRIVER = f"--master local[1] {LITTLE}"
IN_TWO_EXECUTORS = f"--conf spark.executor.defaultJavaOptions=-XX:TieredStopAtLevel=1 {LITTLE}"
IN_ONE_EXECUTOR = f"--conf spark.cores.max=1 {IN_TWO_EXECUTORS}"
AS_SHIPPED = ""  # in two executors, as spark-defaults.conf has it
JAVA_TRACE = re.compile(r"^\s+at \S+\(", re.MULTILINE)
Said = subprocess.CompletedProcess[str]
RUN_AND_READ = """
import json, sys
from jobs import send_alerts
from warehouse.cli import _steps
from warehouse.config import load
from warehouse.landing import Scope
from warehouse.session import Context

context = Context(load(), "run")
try:
    for job, arguments in _steps(Scope(), False):
        if job is not send_alerts:
            job.run(context, *arguments)
    print(json.dumps([row.asDict() for row in context.spark.sql(sys.argv[1]).collect()]))
finally:
    context.close()
"""


@dataclass
class Stack:
    """The services of one Compose project, and a landing zone on this side that they have all files of."""

    landing: Path
    settings: dict[str, str]
    landed: set[Path] = field(default_factory=set)

    def script(self, name: str, *arguments: object, stdin: str = "", timeout: float = 600, **settings: str) -> Said:
        """One of scripts/, as a person on the host starts it; `timeout` in seconds."""
        return self._run([PROJECT / "scripts" / name, *map(str, arguments)], stdin, settings, timeout)

    def compose(self, *arguments: str, check: bool = True) -> Said:
        said = self.script("compose.sh", *arguments)
        assert not check or said.returncode == 0, said
        return said

    def start(self, name: str, *arguments: str, **settings: str) -> "subprocess.Popen[str]":
        """One of scripts/ that goes on while the test does something to it."""
        return subprocess.Popen(
            [PROJECT / "scripts" / name, *arguments],
            env=self._environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def execute(
        self, service: str, *command: str, stdin: str = "", spark: str = IN_THE_DRIVER, **variables: str
    ) -> Said:
        """A command in a service's container; a Spark session that it begins starts with the options `spark`."""
        variables = {"PYSPARK_SUBMIT_ARGS": f"{spark} pyspark-shell"} | variables
        options = [option for name, value in variables.items() for option in ("-e", f"{name}={value}")]
        return self._run(["docker", "exec", "-i", *options, self.container(service), *command], stdin, {})

    def inside(self, service: str, *command: str, stdin: str = "", spark: str = IN_THE_DRIVER) -> str:
        """What a command in a service's container prints; it must end well."""
        said = self.execute(service, *command, stdin=stdin, spark=spark)
        assert said.returncode == 0, said
        return said.stdout

    def warehouse(self, *arguments: str) -> Said:
        """The command line in the client's container: all jobs in one session."""
        return self.execute("spark-client", "warehouse", *arguments)

    def land(self, *files: Path) -> None:
        said = self.script("land.sh", *files)
        assert said.returncode == 0, said
        self.landed |= set(files)

    def land_new(self) -> None:
        """Land every file of this side's landing zone that has not landed there, but those that are hidden."""
        here = {file for file in self.landing.glob("*/*") if not file.name.startswith(".")}
        self.land(*sorted(here - self.landed))

    def containers(self, service: str = "") -> list[str]:
        """The ids of what runs, of one service or of all. Compose would take a second of a core for the answer."""
        labels = {"project": self.settings["COMPOSE_PROJECT_NAME"]} | ({"service": service} if service else {})
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        return self.docker("ps", "-q", "--no-trunc", *filters).split()

    def container(self, service: str) -> str:
        [container] = self.containers(service)
        return container

    def docker(self, *arguments: str) -> str:
        return self.output("docker", *arguments)

    def output(self, *command: str | Path) -> str:
        """What a command on this side prints; it must end well."""
        said = self._run(command, "", {})
        assert said.returncode == 0, said
        return said.stdout

    def secrets(self) -> list[str]:
        return [text for file in sorted((PROJECT / "secrets").iterdir()) if (text := file.read_text())]

    def heal(self) -> None:
        """Start again what was stopped or killed, and wait until all is healthy."""
        self.compose("up", "-d", "--no-build")
        said = self.script("stack.sh", "wait", "240")
        assert said.returncode == 0, said

    def gold(self, statement: str, arguments: Sequence[Any] = ()) -> Rows:
        """Rows of a query on Gold, through the port that analysts use."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchall()

    def connect(self, database: str = "ecommerce_gold") -> Any:
        password = (PROJECT / "secrets" / "gold_admin_password").read_text()
        port = int(self.settings["GOLD_PORT"])
        return psycopg2.connect(
            host="127.0.0.1", port=port, user="postgres", password=password, dbname=database, options="-c timezone=UTC"
        )

    def lake(self, statement: str) -> list[dict[str, Any]]:
        said = self.warehouse("sql", "--json", statement)
        assert said.returncode == 0, said
        rows: list[dict[str, Any]] = json.loads(said.stdout)
        return rows

    def state(self) -> dict[str, Rows]:
        """All that the promise covers, as a warehouse in this process gives it."""
        return self._state(self.lake(LAKE_ROWS))

    def state_after_a_run(self, spark: str = IN_THE_DRIVER) -> dict[str, Rows]:
        """The same once everything pending was run but mails, in one session, which is quicker than two."""
        said = self.inside("spark-client", "python", "-c", RUN_AND_READ, LAKE_ROWS, spark=spark)
        return self._state(json.loads(said))

    def _state(self, lake: list[dict[str, Any]]) -> dict[str, Rows]:
        return frames(self.gold, [(row["name"], row["row"]) for row in lake])

    def wait_for(self, what: str, happened: Callable[[], Any], seconds: float = 180, every: float = 0.2) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := happened()):
            assert time.monotonic() < deadline, f"in vain: {what}"
            time.sleep(every)
        return found

    def wait_for_job(self, job: str, run_id: str = "%") -> None:
        """Until a run of a job is under way; one that was killed counts as such until the next begins."""
        running = "select 1 from ops.etl_runs where job = %s and run_id like %s and status = 'RUNNING'"
        self.wait_for(f"{job} runs", lambda: self.gold(running, [job, run_id]))

    def _run(self, command: Sequence[Any], stdin: str, settings: dict[str, str], timeout: float = 600) -> Said:
        return subprocess.run(
            command, env=self._environment(settings), input=stdin, capture_output=True, text=True, timeout=timeout
        )

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        return dict(os.environ) | {"SPARK_SUBMIT_OPTIONS": IN_THE_DRIVER} | self.settings | settings


def assert_a_run_makes_it_as_embedded(stack: Stack, embedded: Warehouse, spark: str = IN_THE_DRIVER) -> None:
    """One more run of both, and the cluster holds what the embedded home makes of the same files."""
    embedded.run()
    assert_same_state(stack.state_after_a_run(spark), embedded.state())


def one_line(said: str) -> bool:
    """Whether a message is for a reader: no stack trace in it."""
    return not JAVA_TRACE.search(said) and "Traceback" not in said
