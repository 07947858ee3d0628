"""The command line as its users start it: a process with an environment, an exit code and two streams."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from harness import NOT_COMPILED, QUICK, Home, Warehouse

from warehouse import cli
from warehouse.config import Config
from warehouse.session import Context

PROGRAM = Path(sys.executable).with_name("warehouse")


class Said(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@dataclass
class CommandLine:
    """Starts `warehouse` processes that work on one home and one landing zone; `spark`: options beside its own."""

    home: Path
    landing: Path
    settings: dict[str, str] = field(default_factory=dict)
    spark: str = ""

    def start(self, *arguments: str, typed: str = "", **settings: str) -> "subprocess.Popen[str]":
        """A process in a group of its own, so that all of it can be killed at once."""
        with tempfile.TemporaryFile("w+") as keyboard:
            keyboard.write(typed)
            keyboard.seek(0)
            return subprocess.Popen(
                [PROGRAM, *arguments],
                env=self.environment(settings),
                cwd=self.landing.parent,
                stdin=keyboard,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )

    def run(self, *arguments: str, typed: str = "", **settings: str) -> Said:
        return finish(self.start(*arguments, typed=typed, **settings))

    def environment(self, settings: dict[str, str]) -> dict[str, str]:
        apart = ("WAREHOUSE_", "GOLD_", "LANDING_", "JAVA_TOOL_OPTIONS")  # Java tells of the last on standard error
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(apart)}
        own = {"WAREHOUSE_HOME": str(self.home), "LANDING_URI": self.landing.as_uri(), "SPARK_MASTER": "local[2]"}
        # parts of a few rows, so that a COPY of a small load has a middle
        parts = "spark.sql.execution.arrow.maxRecordsPerBatch=40"
        quick = f'spark.driver.defaultJavaOptions="{QUICK}" {NOT_COMPILED} spark.sql.adaptive.enabled=false'
        options = f"spark.sql.shuffle.partitions=2 spark.driver.memory=1g {parts} {quick} {self.spark}"
        return inherited | own | {"WAREHOUSE_SPARK_OPTIONS": options} | self.settings | settings


def finish(process: "subprocess.Popen[str]", timeout: float = 600) -> Said:
    out, err = process.communicate(timeout=timeout)
    return Said(process.returncode, out, err)


def one_line(said: Said) -> str:
    """What a failed command complains of: a single line, and no stack trace anywhere."""
    assert "Traceback" not in said.err and "\tat " not in said.err, said.err
    (line,) = [line for line in said.err.splitlines() if line.startswith("warehouse: ")]
    assert said.err.splitlines()[-1] == line and len(line) > len("warehouse: ")
    return line


def command_here(warehouse: Warehouse, monkeypatch: Any, capsys: Any) -> Callable[..., Said]:
    """`warehouse …` in this process, on the shared session: all of the program but its start."""
    home: Home = warehouse.home

    def context(config: Config, job: str) -> Context:
        return Context(config, job, shared_spark=home.spark)

    monkeypatch.setattr(cli, "Context", context)

    def run(*arguments: str, **settings: str) -> Said:
        with monkeypatch.context() as patch:
            for name, value in CommandLine(home.folder, warehouse.landing).environment(settings).items():
                patch.setenv(name, value)
            capsys.readouterr()
            try:
                code = cli.main(list(arguments))
            except SystemExit as stop:  # argparse
                code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run
