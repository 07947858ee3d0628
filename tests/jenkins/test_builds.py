"""What a build does: which wrapper a stage calls, what an exit code means, what is kept, who is told."""

import itertools
from typing import Any

import pytest
from pipelines import NAMES, SCRIPTS, Build, build, jobs, try_build

pytestmark = pytest.mark.xdist_group("jenkins")

STAGES = {
    "transactions": {
        "Ingest transactions": "run_ingest_transactions.sh",
        "Gold": "run_fact_postgres.sh",
        "Star schema": "run_star_schema.sh",
        "Detect anomalies": "run_detect_anomalies.sh",
        "Send alerts": "run_send_alerts.sh",
    },
    "masters": {
        "Ingest products": "run_ingest_products.sh",
        "Ingest countries": "run_ingest_countries.sh",
        "Gold": "run_fact_postgres.sh",
        "Star schema": "run_star_schema.sh",
    },
    "readiness": {"Readiness": "check_sla.sh"},
    "baselines": {"Baselines": "run_refresh_baselines.sh", "Maintenance": "run_maintenance.sh"},
    "maintenance": {"Maintenance": "run_maintenance.sh"},
    "backup": {"Back up": "run_backup.sh"},
    "setup": {"Set up": "run_setup.sh"},
    "rerun": {"Rerun": "rerun.sh"},
}
EVERY_STAGE = [(name, stage) for name, stages in STAGES.items() for stage in stages]
KEPT = ["report/summary.html", "report/checks.xml"]
RESULTS = {0: "SUCCESS", 1: "FAILURE", 3: "UNSTABLE"}
FAILED: dict[str, Any] = {"result": "FAILURE", "description": "a line"}
DRY: dict[str, Any] = {"result": "SUCCESS", "description": "dry run"}


def skipped(told: Build) -> list[str]:
    return [stage["name"] for stage in told.stages if stage["skipped"]]


def subject(told: Build) -> str:
    [mail] = told.mails
    assert mail["to"] == "operator@shop.example"
    return str(mail["subject"])


def unwell(told: Build) -> str:
    """The stages that the mail names."""
    [line] = [line for line in told.mails[0]["body"].splitlines() if line.startswith("Stages")]
    return str(line.removeprefix("Stages that did not end well: "))


# --- Stages ---


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_is_its_wrappers_in_order_each_with_one_line(name):
    told = build(name)
    assert [line.stage for line in told.lines] == list(STAGES[name])
    for line, wrapper in zip(told.lines, STAGES[name].values(), strict=True):
        assert line.text.count(SCRIPTS) == 1 and SCRIPTS + wrapper in line.text.split()
    assert (told.result, told.mails, skipped(told)) == ("SUCCESS", [], [])


@pytest.mark.parametrize("name", NAMES)
def test_a_build_has_a_time_within_which_it_waits_for_its_turn_and_for_the_agent(name):
    told = build(name)
    assert [stage["agent"] for stage in told.stages] == ["spark"] + [None] * (len(told.stages) - 1)
    assert [stage["name"] for stage in told.stages if not stage["nested"]] == list(STAGES[name])
    lock = [] if name == "readiness" else [{"name": "lock", "resource": "warehouse"}]
    stamps, timeout, *rest = told.options
    assert (stamps, timeout["name"], rest) == ({"name": "timestamps"}, "timeout", lock)
    minutes = timeout["time"] * {"MINUTES": 1, "HOURS": 60}[timeout["unit"]]
    assert minutes < 240 if name in ("transactions", "masters", "readiness") else 240 <= minutes <= 24 * 60


@pytest.mark.parametrize("name", [name for name in NAMES if name != "readiness"])
def test_a_build_s_tag_is_its_run_id_in_the_ledger(name):
    assert build(name).environment == {"WAREHOUSE_RUN_ID": f"jenkins-{name}-7"}


# --- Exit codes ---


@pytest.mark.parametrize(("name", "stage"), EVERY_STAGE)
def test_3_is_unstable_and_the_rest_goes_on(name, stage):
    told = build(name, codes={stage: 3})
    assert (told.result, skipped(told)) == ("UNSTABLE", [])
    assert len(told.lines) == len(STAGES[name])
    assert (subject(told), unwell(told)) == (f"[warehouse] {name} #7: UNSTABLE", stage)


@pytest.mark.parametrize("code", [1, 2, 127, 137, -1])
@pytest.mark.parametrize(("name", "stage"), EVERY_STAGE)
def test_any_other_code_is_a_failure_and_nothing_follows_it(name, stage, code):
    told = build(name, codes={stage: code})
    after = list(STAGES[name])[list(STAGES[name]).index(stage) + 1 :]
    assert (told.result, skipped(told)) == ("FAILURE", after)
    assert told.lines[-1].stage == stage
    assert f"{stage}: exit code {code}" in [step.get("message") for step in told.steps if step["step"] == "error"]
    assert (subject(told), unwell(told)) == (f"[warehouse] {name} #7: FAILURE", stage)
    assert told.kept == ([] if name == "readiness" else KEPT)


@pytest.mark.parametrize(("name", "stage"), EVERY_STAGE)
def test_a_timeout_and_a_lost_agent_end_the_stage_that_was_under_way(name, stage):
    for what in ("interrupted", "lost"):
        told = build(name, **{what: stage})
        assert told.result == "ABORTED" and told.lines[-1].stage == stage
        assert (subject(told), unwell(told)) == (f"[warehouse] {name} #7: ABORTED", stage)
        assert told.kept == (KEPT if what == "interrupted" and name != "readiness" else [])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("waiting_for", ["lock", "agent"])
def test_a_build_that_ends_while_it_waits_is_told_of_too(name, waiting_for):
    told = build(name, interrupted=waiting_for)
    if (name, waiting_for) == ("readiness", "lock"):
        assert told.result == "SUCCESS"  # it takes none
    else:
        assert (told.result, told.lines) == ("ABORTED", [])
        assert subject(told) == f"[warehouse] {name} #7: ABORTED"
        assert unwell(told) == "none had begun: it waited for the warehouse, or for the agent"
        assert build(name, interrupted=waiting_for, previous={"result": "ABORTED"}).mails == []


# --- The report ---


def test_the_report_is_asked_for_by_run_id_and_stays_with_the_build():
    told = build("masters", codes={"Ingest products": 3})
    assert told.report_line.startswith(f'{SCRIPTS}run_report.sh "$WAREHOUSE_RUN_ID" --into "$WORKSPACE/report"')
    assert (told.description, told.kept) == ("what the ledger says", KEPT)


@pytest.mark.parametrize("code", RESULTS)
@pytest.mark.parametrize(
    "trouble", [{"report": ""}, {"report": "hangs"}, {"fails": "report/summary.html"}, {"fails": "report/checks.xml"}]
)
def test_a_report_that_cannot_be_had_changes_no_result(code, trouble):
    told = build("transactions", codes={"Gold": code}, **trouble)
    assert told.result == RESULTS[code]
    assert told.kept == [*itertools.takewhile(lambda file: trouble.get("fails") != file, KEPT)] * ("fails" in trouble)
    assert len(told.mails) == (code != 0)


def test_failed_checks_do_not_colour_a_build():
    [junit] = [step for step in build("transactions").steps if step["step"] == "junit"]
    assert junit["skipMarkingBuildUnstable"] is True


# --- Mails ---


@pytest.mark.parametrize("name", ["transactions", "readiness", "rerun"])
@pytest.mark.parametrize("before", [None, "SUCCESS", "UNSTABLE", "FAILURE", "ABORTED"])
@pytest.mark.parametrize("code", RESULTS)
def test_a_mail_tells_of_a_change_alone(name, before, code):
    stage = next(iter(STAGES[name]))
    told = build(name, codes={stage: code}, previous=before and {"result": before, "description": None})
    if RESULTS[code] == (before or "SUCCESS"):
        assert told.mails == []
    else:
        assert subject(told).endswith(": back to normal" if code == 0 else f": {RESULTS[code]}")
        assert f"(before: {before or 'SUCCESS'})\n" in told.mails[0]["body"]


def test_a_mail_has_the_run_s_line_the_stages_the_link_and_the_end_of_the_log():
    told = build("transactions", codes={"Ingest transactions": 3, "Star schema": 1})
    assert told.mails == [
        {
            "to": "operator@shop.example",
            "mimeType": "text/plain",
            "subject": "[warehouse] transactions #7: FAILURE",
            "body": "transactions #7: FAILURE (before: SUCCESS)\n"
            "what the ledger says\n"
            "Stages that did not end well: Ingest transactions, Star schema\n"
            "http://127.0.0.1:8081/job/transactions/7/\n"
            "\n"
            "The end of its log:\n\n${BUILD_LOG, maxLines=120}\n",
        }
    ]
    assert "BUILD_LOG" not in build("transactions", previous=FAILED).mails[0]["body"]


@pytest.mark.parametrize("address", [None, ""])
def test_nobody_is_told_where_there_is_no_address(address):
    told = build("transactions", codes={"Gold": 1}, JENKINS_MAIL_TO=address)
    assert (told.result, told.mails) == ("FAILURE", [])


@pytest.mark.parametrize("code", RESULTS)
def test_a_mail_that_cannot_be_sent_changes_no_result(code):
    told = build("transactions", codes={"Gold": code}, previous={"result": "NOT_BUILT"}, fails="mail")
    assert (told.result, told.mails) == (RESULTS[code], [])
    assert {"step": "echo", "stage": "post", "message": "No mail: java.lang.Exception: cannot: mail"} in told.steps


@pytest.mark.parametrize("code", RESULTS)
def test_a_dry_run_is_no_news_and_has_no_report(code):
    told = build("transactions", parameters={"DRY_RUN": True}, codes={"Gold": code}, previous=FAILED)
    assert (told.result, told.description) == (RESULTS[code], "dry run")
    assert (told.mails, told.kept, told.report_line) == ([], [], None)


@pytest.mark.parametrize("dry_runs", [1, 3])
@pytest.mark.parametrize("before", ["SUCCESS", "FAILURE"])
@pytest.mark.parametrize("code", [0, 1])
def test_a_build_is_compared_with_the_last_that_was_no_dry_run(dry_runs, before, code):
    previous = FAILED | {"result": before}
    for _ in range(dry_runs):
        previous = DRY | {"previous": previous}
    assert len(build("transactions", codes={"Gold": code}, previous=previous).mails) == (before != RESULTS[code])


def test_a_first_build_after_dry_runs_alone_is_a_first_build():
    assert build("transactions", previous=DRY).mails == []


# --- The stand-in knows its limits ---


@pytest.mark.parametrize(
    ("there", "instead", "told"),
    [
        ("sh(returnStatus", "bat(returnStatus", "there is no step bat"),
        ("sh(returnStatus: true", "sh(returnCode: true", "sh: returnCode: true"),
        ("returnStatus: true", "returnStatus: 'true'", "sh: returnStatus: true"),
        ("label: 'maintain', script:", "label:", "sh: needs [script]"),
        ("timestamps()", "timestamp()", "options: there is no timestamp"),
        ("timestamps()", "disableConcurrentBuilds()", "options: there is no disableConcurrentBuilds"),
        ("time: 4", "time: '4'", "timeout: time: 4"),
        ("agent none", "agent any", "pipeline: there is no any"),
        ("agent none", "", "pipeline: agent none and stages have to be there"),
        ("agent { label 'spark' }", "agent { node 'spark' }", "agent: there is no node"),
        ("steps {", "step {", "stage Maintenance: there is no step"),
        ("script {", "scripted {", "there is no step scripted"),
        ("tell()\n", "inform()\n", "there is no step inform"),
        ("always {\n      tell", "whenever {\n      tell", "post: there is no whenever"),
        ("params.DRY_RUN ?", "parameters.DRY_RUN ?", "environment: there is no parameters"),
        ("env.BUILD_TAG", "env.BUILD_TAGS", "env: nothing sets BUILD_TAGS"),
        ("currentBuild.previousBuild", "currentBuild.rawBuild", "a build's rawBuild"),
        ("emailext(to:", "emailext(too:", "emailext: too: operator@shop.example"),
        ("'/opt/", '"$FROM" + \'/opt/', "there is no FROM"),
    ],
)
def test_what_jenkins_would_not_know_is_refused(there, instead, told):
    good = jobs()["maintenance"].one("definition.cps.script")
    assert there in good
    answer = try_build("maintenance", good.replace(there, instead), codes={"Maintenance": 1})
    assert told in answer.get("refused", "")
