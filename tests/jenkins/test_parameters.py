"""A parameter's value reaches a wrapper as one argument, whatever is in it; what is no value for it is refused.

The stages' lines are run as Jenkins' agent runs them, by `sh -xe` from a file. Spark and Postgres are not started.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pipelines import NAMES, PROJECT, SCRIPTS, build, environment, jobs

from warehouse import cli

pytestmark = pytest.mark.xdist_group("jenkins")

HOSTILE = (
    "2011-01-01; touch executed",
    "2011-01-01 && touch executed",
    "$(touch executed)",
    "`touch executed`",
    "'; touch executed; '",
    '"; touch executed; "',
    "2011-01-01\ntouch executed\n",
    "--reset",
    "-rf *",
    "*",
    "$HOME ${HOME}",
    "a\\tb\\c",
    " ",
    "é€😀",
)
# which of its text parameters count in a pipeline
USING = {
    "transactions": {"FROM", "UNTIL"},
    "masters": {"FROM", "UNTIL"},
    "readiness": {"UNTIL"},
    "baselines": {"UNTIL"},
    "setup": {"RESET"},
    "rerun": {"JOB", "FROM", "UNTIL"},
}
GOOD = {
    "FROM": "2011-01-31",
    "UNTIL": "2011-01-31T08:00",
    "RESET": "ecommerce_gold",
    "JOB": "all",
    "REPLACE": True,
    "DRY_RUN": True,
}
# prints its arguments, their number first, and keeps what it reads
TELL = 'printf \'%s\\0\' $# "$@" >>"$FOLDER/told"; cat >"$FOLDER/read"; echo told\n'


@dataclass
class Shell:
    """An empty folder in which lines are run, with programs of its own in front of the others."""

    folder: Path

    def install(self, name: str, script: str) -> None:
        program = self.folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}")
        program.chmod(0o755)

    def run(self, line: str, variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
        script = self.folder / "script"
        script.write_text(line)
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["sh", "-xe", script],
            cwd=self.folder,
            env=os.environ | variables | {"PATH": path, "FOLDER": str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def run_told(
        self, line: str, variables: dict[str, str], then: str = "exit 0"
    ) -> "subprocess.CompletedProcess[str]":
        """With the wrapper replaced by a program that tells its arguments."""
        self.install("wrapper", f"{TELL}{then}\n")
        return self.run(re.sub(f"{SCRIPTS}[a-z_]+[.]sh", str(self.folder / "bin" / "wrapper"), line), variables)

    def run_wrapped(self, line: str, variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
        """With the wrappers of scripts/, and what these start replaced by programs that tell their arguments."""
        for program in ("spark-submit", "warehouse"):
            self.install(program, TELL)
        return self.run(line.replace(SCRIPTS, f"{PROJECT}/scripts/"), variables | {"WAREHOUSE_PLATFORM": "1"})

    def told(self) -> list[list[str]]:
        """The arguments of each call since the last time."""
        file = self.folder / "told"
        words = file.read_text().split("\0")[:-1] if file.exists() else []
        file.unlink(missing_ok=True)
        calls = []
        while words:
            number = int(words.pop(0))
            calls.append([words.pop(0) for _ in range(number)])
        return calls

    def commands(self) -> list[list[str]]:
        """The same as arguments of `warehouse`, which spark-submit's jobs are with the arguments of their script."""
        return [_command(call) for call in self.told()]


def _command(call: list[str]) -> list[str]:
    [at, *_] = [at for at, word in enumerate(call) if re.fullmatch(r"spark/jobs/\w+\.py", word)] or [None]
    if at is None:
        return call
    [names] = re.findall(r"job_main\(([^)]*)\)", (PROJECT / call[at]).read_text())
    return [*ast.literal_eval(f"({names},)"), *call[at + 1 :]]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def texts(name: str) -> list[str]:
    """The parameters into which anything may be typed, or sent."""
    return [parameter for parameter, default in jobs()[name].parameters.items() if isinstance(default, str)]


def uses(name: str, value: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Each line with a parameter that stands in it, and its environment where that parameter has the value."""
    for parameter in texts(name):
        told = build(name, parameters={parameter: value})
        for line in told.lines:
            if f"${parameter}" in line.text:
                yield parameter, line.text, environment(told, {parameter: value})


# --- The shell ---


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", USING)
def test_a_value_is_one_argument_and_nothing_of_it_is_executed(shell: Shell, name: str, value: str):
    parameters = set()
    for parameter, line, variables in uses(name, value):
        parameters.add(parameter)
        done = shell.run_told(line, variables)
        assert done.returncode == 0, done
        [arguments] = shell.told()
        if parameter == "JOB":
            assert arguments == [value]
        elif parameter == "RESET":
            assert (arguments, (shell.folder / "read").read_text()) == (["--reset"], f"{value}\n")
        else:
            option = "--at" if name == "readiness" else f"--{parameter.lower()}"
            assert arguments == ["all"] * (name == "rerun") + [f"{option}={value}"]
    assert parameters == USING[name]
    assert {path.name for path in shell.folder.iterdir()} == {"bin", "script", "read"}


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_value_and_an_empty_box_are_no_arguments(shell: Shell, name: str):
    nothing = dict.fromkeys(texts(name), "")
    told = build(name, parameters=nothing)
    for line in told.lines:
        assert shell.run_told(line.text, environment(told, nothing)).returncode == 0
        assert shell.told() == [[]]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "readiness"])
def test_a_ticked_box_is_an_option(shell: Shell, name: str):
    ticked = {parameter: True for parameter, default in jobs()[name].parameters.items() if default is False}
    told = build(name, parameters=ticked)
    for line in told.lines:
        assert shell.run_told(line.text, environment(told, ticked)).returncode == 0
        assert shell.told() == [["all", "--replace", "--dry-run"] if name == "rerun" else ["--dry-run"]]


@pytest.mark.parametrize("code", [0, 1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_line_ends_with_the_wrapper_s_exit_code(shell: Shell, name: str, code: int):
    told = build(name)
    for line in told.lines:
        assert shell.run_told(line.text, environment(told, {}), f"exit {code}").returncode == code


@pytest.mark.parametrize(("then", "printed"), [("exit 0", "told\n"), ("exit 1", "told\n")])
def test_the_report_s_line_has_the_run_id_and_a_folder_and_never_fails(shell: Shell, then: str, printed: str):
    told = build("transactions")
    done = shell.run_told(told.report_line, environment(told, {}) | {"WORKSPACE": "/work space"}, then)
    assert (done.returncode, done.stdout) == (0, printed)
    assert shell.told() == [["jenkins-transactions-7", "--into", "/work space/report"]]


# --- The wrappers and the command line behind them ---


def good(name: str) -> dict[str, object]:
    return {parameter: value for parameter, value in GOOD.items() if parameter in jobs()[name].parameters}


@pytest.mark.parametrize("name", NAMES)
def test_every_line_calls_a_wrapper_with_options_that_its_command_takes(shell: Shell, name: str):
    for chosen in (good(name), {}):
        told = build(name, parameters=chosen)
        for line in told.lines:
            done = shell.run_wrapped(line.text, environment(told, chosen))
            assert done.returncode == 0, done
            commands = shell.commands()
            assert commands
            for command in commands:
                options = cli._parser().parse_args(command)
                assert getattr(options, "dry_run", False) is (chosen != {} and name != "readiness"), command
            for parameter in ("FROM", "UNTIL"):
                if chosen and f"${parameter}" in line.text:
                    assert any(GOOD[parameter] in " ".join(command) for command in commands)


def test_every_job_that_rerun_offers_is_one(shell: Shell):
    [choices] = [said[1] for where, said in jobs()["rerun"].said if where == "parameters.choiceParam"]
    for job in choices:
        for chosen in ({"JOB": job}, good("rerun") | {"JOB": job}):
            told = build("rerun", parameters=chosen)
            done = shell.run_wrapped(told.lines[0].text, environment(told, chosen))
            assert done.returncode == 0, done
            commands = shell.commands()
            for command in commands:
                cli._parser().parse_args(command)
            names = [[word for word in command if not word.startswith("-")] for command in commands]
            ingest = [["ingest", source] for source in ("products", "countries", "transactions")]
            everything = [*ingest, ["gold"], ["star"], ["detect"], ["alerts"]]
            assert names == (everything if job == "all" else [job.replace("maintenance", "maintain").split("-")])


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", USING)
def test_what_is_no_value_for_a_parameter_is_refused(shell: Shell, capsys, name: str, value: str):
    for _, line, variables in uses(name, value):
        done = shell.run_wrapped(line, variables)
        commands = [command for command in shell.commands() if any(value in word for word in command)]
        assert commands or done.returncode == 2, done
        for command in commands:
            with pytest.raises(SystemExit) as ended:
                cli._parser().parse_args(command)
            assert ended.value.code == 2
    assert not (shell.folder / "executed").exists()


def test_what_is_refused_ends_the_stage_with_exit_code_2(shell: Shell):
    given = {"UNTIL": "2011-01-01; rm -rf /"}
    told = build("transactions", parameters=given)
    shell.install("spark-submit", f'exec "{sys.executable}" "$@"\n')
    line = told.lines[0].text.replace(SCRIPTS, f"{PROJECT}/scripts/")
    home = {"WAREHOUSE_PLATFORM": "1", "PYTHONPATH": f"{PROJECT / 'spark'}"}
    done = shell.run(line, environment(told, given) | home)
    assert done.returncode == 2 and "'2011-01-01; rm -rf /' is not a time" in done.stderr, done
