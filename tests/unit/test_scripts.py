"""Wrappers that decide something themselves, with stand-ins for what they call."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from warehouse import cli
from warehouse.config import PROJECT

Said = subprocess.CompletedProcess[str]
DAY = (
    "run_ingest_products.sh",
    "run_ingest_countries.sh",
    "run_ingest_transactions.sh",
    "run_fact_postgres.sh",
    "run_star_schema.sh",
    "run_detect_anomalies.sh",
    "run_send_alerts.sh",
)
WRAPPERS = {
    "ingest-products": DAY[0],
    "ingest-countries": DAY[1],
    "ingest-transactions": DAY[2],
    "gold": DAY[3],
    "star": DAY[4],
    "baselines": "run_refresh_baselines.sh",
    "detect": DAY[5],
    "alerts": DAY[6],
    "maintenance": "run_maintenance.sh",
}
STAND_IN = """#!/usr/bin/env bash
printf '%s' "${0##*/}" >>"$CALLS"
printf ' [%s]' "$@" >>"$CALLS"
printf ' %s\\n' "$WAREHOUSE_RUN_ID" >>"$CALLS"
name=${0##*/run_}
name=ENDS_${name%.sh}
exit "${!name:-0}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of scripts/, to put stand-ins into."""
    shutil.copytree(PROJECT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return tmp_path / "scripts"


def stand_in(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


def start(script: Path, arguments: Sequence[str], stdin: str = "", **environment: str) -> Said:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WAREHOUSE_")}
    return subprocess.run(
        [script, *arguments],
        env=inherited | environment,
        input=stdin,
        capture_output=True,
        text=True,
        cwd=script.parent.parent,
        timeout=60,
    )


# --- rerun.sh ---


@pytest.fixture
def rerun(folder: Path) -> Callable[..., tuple[Said, list[str]]]:
    """`rerun.sh …` with wrappers that end as ENDS_<job> says; how it ended, and who was called with what."""
    for name in WRAPPERS.values():
        stand_in(folder / name, STAND_IN)

    def run(*arguments: str, **environment: str) -> tuple[Said, list[str]]:
        calls = folder / "calls"
        calls.write_text("")
        environment = {"WAREHOUSE_RUN_ID": "r1", "CALLS": str(calls)} | environment
        said = start(folder / "rerun.sh", arguments, **environment)
        return said, calls.read_text().splitlines()

    return run


def test_a_rerun_of_all_is_the_day_in_order_under_one_run_id(rerun):
    said, calls = rerun("all", WAREHOUSE_RUN_ID="")
    assert (said.returncode, said.stderr) == (0, "")
    assert [call.split()[0] for call in calls] == list(DAY)
    [run_id] = {call.split()[-1] for call in calls}
    assert re.fullmatch(r"rerun-\d{8}T\d{6}", run_id)
    assert rerun("all", WAREHOUSE_RUN_ID="jenkins-rerun-3")[1][0].endswith(" jenkins-rerun-3")


@pytest.mark.parametrize("job", WRAPPERS)
def test_a_job_is_its_wrapper_with_the_options_that_the_command_takes(rerun, job):
    given = ["--from", "2011-01-31T08:00", "--until=2011-02-01 00:00", "--replace", "--dry-run"]
    said, [call] = rerun(job, *given)
    assert said.returncode == 0
    name, *options = re.findall(r"\[(.*?)\]|^(\S+)", call)
    assert name[1] == WRAPPERS[job]
    passed = [option for option, _ in options]
    command = {"maintenance": "maintain"}.get(job, job).split("-")
    cli._parser().parse_args([*command, *passed])  # it takes them, and what it was not given it does not take:
    for option in ("--from=2011-01-31T08:00", "--until=2011-02-01 00:00", "--replace", "--dry-run"):
        if option not in passed:
            assert f"rerun: {job} takes no {option.partition('=')[0]}: it is left out\n" in said.stderr
            with pytest.raises(SystemExit):
                cli._parser().parse_args([*command, option])
    assert said.stderr.count("\n") == 4 - len(passed)


def test_a_rerun_of_all_gives_each_job_what_it_takes(rerun):
    said, calls = rerun("all", "--until", "2011-02-01", "--from=2011-01-31", "--replace")
    assert said.stderr == ""
    ingest = " [--until=2011-02-01] [--from=2011-01-31] [--replace] r1"
    assert calls == [
        *[f"{name}{ingest}" for name in DAY[:3]],
        "run_fact_postgres.sh [--until=2011-02-01] [--from=2011-01-31] r1",
        *[f"{name} [] r1" for name in DAY[4:]],
    ]


@pytest.mark.parametrize("code", [1, 2, 137])
def test_a_rerun_of_all_stops_at_the_job_that_fails(rerun, code):
    said, calls = rerun("all", ENDS_ingest_products="3", ENDS_fact_postgres=str(code))
    assert said.returncode == code
    assert [call.split()[0] for call in calls] == list(DAY[:4])


def test_a_rerun_of_all_goes_on_after_3_and_ends_with_it(rerun):
    said, calls = rerun("all", ENDS_ingest_countries="3")
    assert (said.returncode, len(calls)) == (3, len(DAY))
    assert rerun("gold", ENDS_fact_postgres="3")[0].returncode == 3
    assert rerun("gold", ENDS_fact_postgres="1")[0].returncode == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no JOB named"),
        ([""], "no JOB named"),
        (["everything"], "everything is no job"),
        (["ingest-orders"], "ingest-orders is no job"),
        (["../rerun"], "../rerun is no job"),
        (["all;id"], "all;id is no job"),
        (["--dry-run", "gold"], "--dry-run is no job"),
        (["gold", "--from"], "--from needs a time"),
        (["gold", "star"], "star is no option"),
        (["gold", "--json"], "--json is no option"),
        (["gold", "--from", "2011-01-01; rm -rf /"], "--from: 2011-01-01; rm -rf / is not a time"),
        (["star", "--until=$(id)"], "--until: $(id) is not a time"),
        (["gold", "--until="], "--until:  is not a time"),
    ],
)
def test_a_rerun_in_the_wrong_form_is_told_and_starts_nothing(rerun, arguments, told):
    said, calls = rerun(*arguments)
    assert (said.returncode, said.stdout, calls) == (2, "", [])
    assert said.stderr.startswith(f"rerun: {told}") and "usage: scripts/rerun.sh JOB" in said.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["gold", "--help"]])
def test_rerun_says_how_it_is_called(rerun, arguments):
    said, calls = rerun(*arguments)
    assert (said.returncode, said.stderr, calls) == (0, "", [])
    for word in ("usage: scripts/rerun.sh JOB", "all", "--from", "--until", "--replace", "--dry-run", *WRAPPERS):
        assert word in said.stdout


# --- run_setup.sh ---


@pytest.fixture
def setup(folder: Path) -> Callable[..., Said]:
    stand_in(folder / "submit.sh", '#!/usr/bin/env bash\necho "called: $*"\ncat\n')
    return lambda *arguments, stdin="": start(folder / "run_setup.sh", arguments, stdin)


@pytest.mark.parametrize(
    "typed", ["", "\n", "no\n", "ecommerce\n", "ecommerce_gold2\n", "Ecommerce_Gold\n", "x\necommerce_gold\n"]
)
def test_a_reset_that_is_not_confirmed_by_the_databases_name_changes_nothing(setup, typed):
    said = setup("--reset", stdin=typed)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.endswith("\nsetup: not confirmed, nothing was changed\n")


@pytest.mark.parametrize("typed", ["ecommerce_gold\n", "ecommerce_gold"])
def test_a_reset_is_confirmed_by_the_databases_name_on_standard_input(setup, typed):
    said = setup("--reset", stdin=typed)
    assert (said.returncode, said.stdout) == (0, "called: init_warehouse --reset\n")


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["--dry-run", "--reset"], ["--reset", "--dry-run", "--json"]])
def test_what_destroys_nothing_asks_nothing(setup, options):
    said = setup(*options, stdin="what is not read\n")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.split() == ["called:", "init_warehouse", *options]


def test_a_dry_run_that_is_not_written_out_does_not_pass_for_one(setup):
    for option in ("--dry", "--dry-run=yes", "x--dry-run"):
        assert setup("--reset", option).returncode == 2


# --- run_report.sh ---


@pytest.fixture
def client(folder: Path) -> Path:
    """A stand-in for the client's container: what is to run there runs here, with a `warehouse` of its own."""
    stand_in(folder / "compose.sh", '#!/usr/bin/env bash\n[ "${*:1:3}" = "exec -T spark-client" ] && "${@:4}"\n')
    program = folder / "bin" / "warehouse"
    program.parent.mkdir()
    stand_in(
        program,
        "#!/usr/bin/env bash\n"
        '[ "$2" != unknown ] || { echo "warehouse: the ledger has no run unknown" >&2; exit 1; }\n'
        'echo page >"$4/summary.html"; echo checks >"$4/checks.xml"; echo "$2: 5 landed"\n',
    )
    return folder / "run_report.sh"


def report(client: Path, *arguments: str, **settings: str) -> Said:
    return start(client, arguments, PATH=f"{client.parent / 'bin'}{os.pathsep}{os.environ['PATH']}", **settings)


def test_a_report_comes_out_of_the_clients_container(client, tmp_path):
    said = report(client, "r1", "--into", "new/folder")
    assert (said.returncode, said.stdout, said.stderr) == (0, "r1: 5 landed\n", "")
    files = {file.name: file.read_text() for file in (tmp_path / "new" / "folder").iterdir()}
    assert files == {"summary.html": "page\n", "checks.xml": "checks\n"}


def test_a_report_that_fails_leaves_no_files(client, tmp_path):
    said = report(client, "unknown", "--into", "out")
    assert (said.returncode, said.stdout, said.stderr) == (1, "", "warehouse: the ledger has no run unknown\n")
    assert not (tmp_path / "out").exists()


def test_in_the_clients_container_a_report_goes_to_the_folder_where_it_is_asked_for(client, tmp_path):
    (tmp_path / "here").mkdir()
    said = report(client, "r1", "--into", "here", WAREHOUSE_PLATFORM="1")
    assert (said.returncode, said.stdout) == (0, "r1: 5 landed\n")
    assert (tmp_path / "here" / "checks.xml").exists()


@pytest.mark.parametrize("arguments", [[], ["r1"], ["--into", "out", "r1"], ["r1", "--into"]])
def test_a_report_in_the_wrong_form_is_told(client, arguments):
    said = report(client, *arguments)
    assert (said.returncode, said.stderr) == (2, "usage: scripts/run_report.sh RUN_ID --into FOLDER\n")


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., list[str]]:
    """Docker's question whether the history server does its work; what was called for the answer, which comes last."""
    calls = tmp_path / "calls"
    for name in ("curl", "sleep"):
        stand_in(tmp_path / name, f'#!/bin/sh\necho {name} >>"{calls}"\n[ {name} = sleep ] || exit "$CURL"\n')

    def ask(*arguments: str, works: bool) -> list[str]:
        calls.write_text("")
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path), "CURL": str(int(not works))}
        ended = start(PROJECT / "spark" / "bin" / "healthy", ["history", *arguments], **environment).returncode
        return [*calls.read_text().split(), "works" if ended == 0 else "fails"]

    return ask


def test_a_role_is_asked_for_its_health_at_once_until_it_was_healthy_and_later_from_then_on(asked):
    assert asked("rarely", works=False) == ["curl", "fails"]
    assert asked("rarely", works=True) == ["curl", "works"]
    assert asked("rarely", works=True) == ["sleep", "curl", "works"]
    assert asked("rarely", works=False) == ["sleep", "curl", "fails"]
    assert asked("rarely", works=False) == ["curl", "fails"]


def test_a_person_who_asks_for_a_roles_health_is_answered_at_once(asked):
    assert asked("rarely", works=True) == ["curl", "works"]
    assert asked(works=True) == ["curl", "works"]
    assert asked(works=False) == ["curl", "fails"]
