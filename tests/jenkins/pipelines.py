"""Jobs and pipelines as a stand-in for Jenkins (recorder.groovy) runs them: stages, shell lines, results, mails."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from warehouse import java

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "jenkins" / "pipelines"
JOBS_SCRIPT = PROJECT / "jenkins" / "jobs" / "warehouse.groovy"
SCRIPTS = "/opt/warehouse/scripts/"  # in the agent's container
RECORDER = Path(__file__).with_name("recorder.groovy")
JARS = Path(__file__).with_name("jars.txt")
NAMES = ("transactions", "masters", "readiness", "baselines", "maintenance", "backup", "setup", "rerun")
Answer = dict[str, Any]


@cache
def _recorder(**environment: str) -> "subprocess.Popen[str]":
    """The stand-in: one process for all tests, which ends with them."""
    folder = Path(sys.prefix) / "groovy"
    java.fetch(JARS, folder)
    jars = os.pathsep.join(str(folder / jar.file_name) for jar in java.listed(JARS))
    program = [java.java_home(Path(sys.prefix)) / "bin" / "java", "-XX:TieredStopAtLevel=1", "-cp", jars]
    return subprocess.Popen(
        [*program, "groovy.ui.GroovyMain", RECORDER],
        env=os.environ | {"WAREHOUSE_PIPELINES": str(FOLDER)} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


def ask(request: Mapping[str, Any], **environment: str) -> Answer:
    """The recorder's answer; where it does not know something, `refused` says what."""
    recorder = _recorder(**environment)
    assert recorder.stdin and recorder.stdout
    print(json.dumps(request), file=recorder.stdin, flush=True)
    answer: Answer = json.loads(recorder.stdout.readline())
    return answer


def compile_groovy(text: str, **how: Any) -> Answer:
    return ask({"do": "compile", "text": text, **how})


@dataclass(frozen=True)
class Job:
    """A pipeline as Job DSL defines it."""

    name: str
    said: tuple[tuple[str, tuple[Any, ...]], ...]

    def all(self, path: str) -> list[tuple[Any, ...]]:
        return [arguments for where, arguments in self.said if where == path]

    def one(self, path: str) -> Any:
        [(value,)] = self.all(path)
        return value

    @property
    def crons(self) -> list[str]:
        return [spec for (spec,) in self.all("properties.pipelineTriggers.triggers.cron.spec")]

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameter → its default, as Jenkins has them."""
        kinds = [(where.removeprefix("parameters."), arguments) for where, arguments in self.said]
        return {
            arguments[0]: arguments[1][0] if kind == "choiceParam" else arguments[1]
            for kind, arguments in kinds
            if kind in ("stringParam", "booleanParam", "choiceParam")
        }


def define(script: str, **environment: str) -> Answer:
    """What a Job DSL script defines, or why it is refused."""
    return ask({"do": "jobs", "text": script}, **environment)


@cache
def jobs(timezone: str = "Europe/London") -> dict[str, Job]:
    return {
        job["name"]: Job(job["name"], tuple((line["path"], tuple(line["arguments"])) for line in job["says"]))
        for job in define(JOBS_SCRIPT.read_text(), WAREHOUSE_TIMEZONE=timezone)["jobs"]
    }


@dataclass(frozen=True)
class Line:
    """A shell line of a stage."""

    stage: str
    text: str


@dataclass(frozen=True)
class Build:
    """What a build did, or would do."""

    told: Answer

    def __getattr__(self, name: str) -> Any:
        return self.told[name]

    @property
    def pipeline(self) -> str:
        return str(self.told["name"].split(" ")[0])

    @property
    def lines(self) -> list[Line]:
        """The stages' lines; the report's is not one of them."""
        return [Line(step["stage"], step["script"]) for step in self.steps if step.get("returnStatus")]

    @property
    def report_line(self) -> str | None:
        return next((step["script"] for step in self.steps if step.get("returnStdout")), None)

    @property
    def kept(self) -> list[str]:
        """The files that stay with the build."""
        kept = [step for step in self.steps if "failed" not in step]
        return [step[key] for step in kept for key in ("artifacts", "testResults") if key in step]


def try_build(
    name: str, text: str | None = None, parameters: Mapping[str, Any] | None = None, **scenario: Any
) -> Answer:
    """A build of a pipeline (or of a text in its place). What happens in it:

    `codes`: stage → exit code (0 where it has none); `interrupted`: where a timeout comes, a stage, `lock` or `agent`;
    `lost`: the stage in which the agent goes away; `report`: what run_report.sh prints, or `hangs`; `fails`: what goes
    wrong, `mail` or a file that is kept; `previous`: the build before (`result`, `description`, `previous`).
    """
    given = {
        "text": jobs()[name].one("definition.cps.script") if text is None else text,
        "params": jobs()[name].parameters | dict(parameters or {}),
        "codes": {},
        "report": "what the ledger says",
        "BUILD_TAG": f"jenkins-{name}-7",
        "BUILD_URL": f"http://127.0.0.1:8081/job/{name}/7/",
        "JENKINS_MAIL_TO": "operator@shop.example",
    }
    return ask({"do": "build", "name": f"{name} #7"} | given | scenario)


def build(name: str, **scenario: Any) -> Build:
    told = try_build(name, **scenario)
    assert "refused" not in told, told
    return Build(told)


def environment(build: Build, parameters: Mapping[str, Any]) -> dict[str, str]:
    """What a stage's line finds in its environment: the parameters, and what the pipeline sets."""
    values = jobs()[build.pipeline].parameters | dict(parameters)
    texts = {name: str(value).lower() if isinstance(value, bool) else value for name, value in values.items()}
    return texts | build.environment


def play(
    name: str, run: Callable[[str, dict[str, str]], int], tag: str, **parameters: Any
) -> tuple[Build, dict[str, int]]:
    """A build for real: `run` is given each line and its environment, and what follows is what its exit code leads to.

    The build as it ended, and the exit code of each stage that ran.
    """
    codes: dict[str, int] = {}
    while True:
        played = build(name, parameters=parameters, codes=codes, BUILD_TAG=tag)
        if len(played.lines) == len(codes):
            return played, codes
        line = played.lines[len(codes)]
        codes[line.stage] = run(line.text, environment(played, parameters))
