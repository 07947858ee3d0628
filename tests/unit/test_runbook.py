"""The runbook is true: what it names is there, and what it says to type is accepted."""

import argparse
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from warehouse import cli, stewards
from warehouse.config import PROJECT

RUNBOOK = (PROJECT / "docs" / "runbook.md").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text(encoding="utf-8"))
SQL = "\n".join(file.read_text(encoding="utf-8") for file in sorted((PROJECT / "postgres").glob("*.sql")))
CODE = "\n".join(file.read_text(encoding="utf-8") for file in sorted((PROJECT / "spark").rglob("*.py")))
OF_OTHERS = {"password authentication failed", "No space left on device"}
"""What Postgres and the kernel say."""


def code_spans() -> list[str]:
    """What is in backticks, and the lines of the blocks without their remarks, a continued one whole."""
    lines = RUNBOOK.replace("\\\n", " ").splitlines()
    prose = "\n".join(line for line in lines if not line.startswith("    "))
    block = [re.split(r" {2,}#", line.strip())[0] for line in lines if line.startswith("    ")]
    return [" ".join(span.split()) for span in [*re.findall("`([^`]+)`", prose), *block]]


def commands(start: str) -> list[list[str]]:
    """The words of every command that begins so, here or in the client's container."""
    begins = re.compile(rf"(?:^|until |exec (?:-T )?spark-client )(?={re.escape(start)})")
    parts = [part for span in code_spans() for part in re.split(r" && |; | \|\|? ", span)]
    return [shlex.split(re.split(r" [<>]", part[at.end() :])[0]) for part in parts for at in begins.finditer(part)]


def table_rows(title: str) -> list[list[str]]:
    """The cells of the table whose first column is titled so."""
    lines = RUNBOOK.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {title} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def spans(cell: str) -> list[str]:
    return re.findall("`([^`]+)`", cell)


def test_every_script_is_there_and_every_target_of_make():
    named = set(re.findall(r"scripts/[\w.]+", RUNBOOK))
    assert {"scripts/rerun.sh", "scripts/run_restore.sh", "scripts/run_backup.sh"} <= named
    assert not [name for name in named if not (PROJECT / name).is_file()]
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make ([a-z-]+)", RUNBOOK)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_file_and_heading_that_it_links_to_is_there():
    for link in re.findall(r"\]\(([^)]+)\)", RUNBOOK):
        name, _, anchor = link.partition("#")
        file = PROJECT / "docs" / (name or "runbook.md")
        headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, link


def test_every_warehouse_command_is_accepted():
    called = [words[1:] for words in commands("warehouse ") if words[1:] != ["…"]]
    assert {command for command, *_ in called} == {"status", "backfill", "backup", "restore", "errors", "run", "stop"}
    for words in called:
        cli._parser().parse_args(words)


def job_of(script: Path) -> list[str]:
    """The command behind a wrapper."""
    text = script.read_text(encoding="utf-8")
    if submitted := re.search(r'submit\.sh" (\w+)', text):
        job = (PROJECT / "spark" / "jobs" / f"{submitted[1]}.py").read_text(encoding="utf-8")
        return re.findall(r'"([^"]+)"', re.search(r"job_main\(([^)]*)\)", job)[1])  # type: ignore[index]
    called = re.search(r"exec warehouse (\w+)", text)
    return [called[1]] if called else []


def test_every_wrapper_takes_the_options_that_it_is_given():
    for words in commands("scripts/"):
        job = job_of(PROJECT / words[0])
        if job and words[1:]:
            cli._parser().parse_args([*job, *words[1:]])
    [*_, rerun] = [words for words in commands("scripts/rerun.sh") if len(words) > 2]
    said = subprocess.run([PROJECT / "scripts" / "rerun.sh", "--help"], capture_output=True, text=True)
    assert said.returncode == 0
    assert not [word for word in rerun[1:] if word.startswith("--") and word not in said.stdout]


def test_an_option_that_does_not_exist_is_found():
    with pytest.raises(SystemExit):
        cli._parser().parse_args([*job_of(PROJECT / "scripts" / "run_backup.sh"), "--no-such-option"])
    assert isinstance(cli._parser(), argparse.ArgumentParser)


def test_every_service_volume_and_secret_is_in_the_compose_file():
    takes = "exec|restart|stop|start|up|rm|logs|pull"
    for words in commands("scripts/compose.sh"):
        if len(words) > 2 and re.fullmatch(takes, words[1]):
            named = [word for word in words[2:] if not word.startswith("-") and not word.isdigit()]
            services = named[:1] if words[1] == "exec" else named
            assert set(services) <= set(COMPOSE["services"]), words
    for service, *_ in table_rows("service (volume)"):
        for name in spans(service):
            assert name in COMPOSE["services"] or name in COMPOSE["volumes"], name
    assert not [name for name in re.findall(r"PROJECT_(\w+)", RUNBOOK) if name not in COMPOSE["volumes"]]
    told = {name for secret, *_ in table_rows("secret") for name in spans(secret)}
    assert told == set(COMPOSE["secrets"]) - {"smtp_ca"}
    assert not [name for name in re.findall(r"(?<![\w/])secrets/([a-z_]+)", RUNBOOK) if name not in COMPOSE["secrets"]]


def test_every_pipeline_is_told_and_none_that_there_is_not():
    pipelines = {file.stem for file in (PROJECT / "jenkins" / "pipelines").glob("*.Jenkinsfile")}
    assert {name for row in table_rows("pipeline") for name in spans(row[0])} == pipelines


def test_every_table_view_and_function_of_gold_is_there():
    named = set(re.findall(r"\b((?:ops|bi|shop)\.[a-z_]+)\b", RUNBOOK)) | set(
        re.findall(r"from (transactions_\w+)", RUNBOOK)
    )
    assert {"ops.etl_runs", "bi.pipeline_health", "transactions_error"} <= named
    for name in named:
        made = rf"create (?:or replace )?(?:table|view|function|procedure)(?: if not exists)? {re.escape(name)}\b"
        assert re.search(made, SQL), name


def test_every_setting_is_there():
    rules = yaml.safe_load((PROJECT / "config" / "warehouse.yaml").read_text(encoding="utf-8"))
    for part, name in re.findall(r"`(backup|maintenance|alerts|sla|limits|locks)\.(\w+)`", RUNBOOK):
        assert name in rules[part]
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    told = {name for row in (*table_rows("reason"), *table_rows("reason | who mends it")) for name in spans(row[0])}
    for name in set(re.findall(r"`([A-Z]+_[A-Z_]+)=?", RUNBOOK)) - told:
        assert re.search(rf"^#?{name}=", example, re.MULTILINE), name
    defaults = (PROJECT / "spark" / "conf" / "spark-defaults.conf").read_text(encoding="utf-8")
    for name in re.findall(r"`(spark\.[\w.]+)`", RUNBOOK):
        assert re.search(rf"^{re.escape(name)}\s", defaults, re.MULTILINE), name


def test_every_reason_for_which_a_file_is_refused_is_told_and_no_other():
    raised = set(re.findall(r'Rejected\("([A-Z_]+)"', CODE)) | set(re.findall(r'reason=f?"([A-Z_]+)[:"]', CODE))
    raised |= set(re.findall(r'\("([A-Z_]+)", (?:bad|twice|negative)\)', CODE))
    refused, in_error = (
        {name for row in rows for name in spans(row[0])}
        for rows in (table_rows("reason"), table_rows("reason | who mends it"))
    )
    assert {"EMPTY", "BAD_ROWS", "CHANGED_FILE"} <= raised
    assert refused == raised
    assert in_error == set(stewards.REASONS)


def test_every_message_that_it_explains_is_one_of_the_program():
    tried = (PROJECT / "tests" / "stack" / "test_cluster.py").read_text(encoding="utf-8")  # those put together of parts
    said = re.sub(r'"\s*\n\s*f?"', "", CODE)  # and what goes on in the next line of the code
    for row in table_rows("`warehouse: …`"):
        for told in set(spans(row[0])) - OF_OTHERS:
            assert told in said or told in tried, told
