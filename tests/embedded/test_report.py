"""A run's report: the page, the checks that Jenkins reads, and the line, from a ledger that is written by hand."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from psycopg2.extras import Json
from written_ledger import Ledger, instant

from warehouse import cli

RUN = "jenkins-transactions-17"
JOBS = ("ingest transactions", "gold", "star", "detect", "alerts")
CHECKS = (
    "the books balance",
    "the star schema follows Gold",
    "every file is accepted",
    "every mail is delivered",
    "few rows are in error",
)
NASTY = "<script>alert(1)</script> & \"'\x01\x1b[31m\x7f\x85\ufffe ]]> --> </failure> {{ 7 * 7 }} \u2028\n"


@pytest.fixture
def report(on_ledger, tmp_path):
    """`warehouse report`: exit code, standard output, standard error; the files are in `tmp_path`/report."""
    return lambda run=RUN, **settings: on_ledger("report", run, "--into", str(tmp_path / "report"), **settings)


def ran(
    ledger: Ledger,
    job: str,
    *books: int,
    run: str = RUN,
    at: str = "2011-01-31 12:20:00",
    status: str = "DONE",
    **detail: Any,
) -> None:
    """A line of the ledger, of a job of 12.5 seconds; books: landed, facts, errors, duplicates."""
    rows = (*books, *[None] * (4 - len(books)))
    ledger.query(
        "insert into ops.etl_runs (run_id, job, started_at, finished_at, status, rows_in, rows_fact, rows_error,"
        " rows_duplicate, detail) values (%s, %s, %s, %s::timestamptz + interval '12.5 s', %s, %s, %s, %s, %s, %s)",
        run, job, instant(at), None if status in ("RUNNING", "KILLED") else instant(at), status, *rows, Json(detail),
    )  # fmt: skip


def in_error(ledger: Ledger, *reasons: str, at: str = "2011-01-31 12:20:05") -> None:
    for number, reason in enumerate(reasons):
        ledger.query(
            "insert into transactions_error (error_id, reason, detail, batch_id, source_file, created_at)"
            " values (hashtext(%s), %s, '', '', '', %s)",
            f"{at} {number}", reason, instant(at),
        )  # fmt: skip


def good_run(ledger: Ledger) -> None:
    """A window of 1,203 rows, 3 of them in error, and 4 unusual orders."""
    ran(ledger, "ingest transactions", files=1, rows=1203, rejected=0, skipped=0)
    ran(ledger, "gold", 1203, 1200, 3, 0, repriced=0, released=0, corrected=0)
    ran(ledger, "star", dim_customers=12, fact_transactions=1200)
    ran(ledger, "detect", scored=1180, critical=1, warning=1, notice=2, baselines=0)
    ran(ledger, "alerts", sent=1, delayed=0)
    ledger.file("transactions/transactions_2011-01-31T08.csv", instant("2011-01-31 12:20"), RUN, rows=1203)
    in_error(ledger, "UNKNOWN_COUNTRY", "MALFORMED", "UNKNOWN_COUNTRY")


def refuse(ledger: Ledger, *paths: str, reason: str = "EMPTY: the file has no bytes", run: str = RUN) -> None:
    for path in paths:
        ledger.file(path, instant("2011-01-31 12:20"), run, reason, rows=0)


def mail(ledger: Ledger, problem: str) -> None:
    ledger.query(
        "insert into ops.outbox (kind, run_id, attempts, last_error) values ('alert', %s, 3, %s)", RUN, problem
    )


def settle(ledger: Ledger) -> None:
    ledger.query("insert into ops.star_feed (loaded_at, run_id, facts) values (now(), 'other', 5)")


# --- The files ---


def cases(folder: Path) -> dict[str, ElementTree.Element]:
    """The test cases of checks.xml by class and name, as Jenkins' junit plugin looks for them; all else is refused."""
    attributes = {
        "testsuites": [],
        "testsuite": ["name", "tests", "failures", "errors", "skipped", "time"],
        "testcase": ["classname", "name", "time"],
        "failure": ["type", "message"],
        "error": ["type", "message"],
        "skipped": ["message"],
        "system-out": [],
    }
    children = {"testsuites": {"testsuite"}, "testsuite": {"testcase"}}
    children["testcase"] = {"failure", "error", "skipped", "system-out"}
    root = ElementTree.fromstring((folder / "report" / "checks.xml").read_bytes())
    assert root.tag == "testsuites"
    found = {}
    for element in root.iter():
        assert list(element.attrib) == attributes[element.tag]
        assert {child.tag for child in element} <= children.get(element.tag, set())
        if "time" in element.attrib:
            assert re.fullmatch(r"\d+(\.\d+)?", element.attrib["time"])
    for suite in root:
        verdicts = {"failures": "failure", "errors": "error", "skipped": "skipped"}
        told = {count: int(suite.attrib[count]) for count in verdicts}
        assert told == {count: len(suite.findall(f"testcase/{tag}")) for count, tag in verdicts.items()}
        assert int(suite.attrib["tests"]) == len(suite)
        for case in suite:
            assert len([child for child in case if child.tag != "system-out"]) <= 1
            assert found.setdefault(f"{case.attrib['classname']}.{case.attrib['name']}", case) is case
    return found


def verdict(case: ElementTree.Element) -> tuple[str, str]:
    """passed, or what it is instead, and the message."""
    told = [(child.tag, child.attrib["message"]) for child in case if child.tag != "system-out"]
    return told[0] if told else ("passed", "")


def verdicts(folder: Path) -> dict[str, tuple[str, str]]:
    return {name.rpartition(".")[2]: verdict(case) for name, case in cases(folder).items()}


class Page(HTMLParser):
    """summary.html: its words, the texts of each table row, its bars. Refuses what a strict policy would not apply."""

    VOID = ("meta", "br", "rect", "line")

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.bars: list[dict[str, str | None]] = []
        self.text = ""
        self.feed((folder / "report" / "summary.html").read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag not in ("style", "script", "link", "iframe", "img", "form", "a")
        assert not [name for name, _ in attributes if name in ("style", "href", "src") or name.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "rect":
            self.bars.append(dict(attributes))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


# --- What it tells ---


def test_a_good_run_is_a_line_a_page_and_checks_that_pass(ledger, report, tmp_path):
    good_run(ledger)
    line = "transactions 2011-01-31T08: 1,203 landed = 1,200 facts + 3 errors; 4 unusual orders"
    assert report() == (0, f"{line}\n", "")
    found = cases(tmp_path)
    assert {name: verdict(case)[0] for name, case in found.items()} == dict.fromkeys(
        [*[f"warehouse.jobs.{job}" for job in JOBS], *[f"warehouse.checks.{check}" for check in CHECKS]], "passed"
    )
    gold = found["warehouse.jobs.gold"]
    assert (gold.attrib["time"], gold.findtext("system-out")) == ("12.500", "landed 1,203, facts 1,200, errors 3")
    page = Page(tmp_path)
    assert page.text.count(line) == 2  # title and heading
    assert ["gold", "DONE", "2011-01-31 12:20 GMT", "12.5", "landed 1,203, facts 1,200, errors 3"] in page.rows
    assert ["this run", "1,203", "=", "1,200", "+", "3", "+", "0"] in page.rows
    assert ["UNKNOWN_COUNTRY", "2", "2"] in page.rows and ["MALFORMED", "1", "1"] in page.rows
    assert "critical 1, warning 1, notice 2" in page.text
    assert "SLA: NOT_DUE (9 of 9 views" in page.text
    assert sorted(file.name for file in (tmp_path / "report").iterdir()) == ["checks.xml", "summary.html"]


def test_masters_tell_their_dates_and_what_they_touched(ledger, report):
    ran(ledger, "ingest products", files=2, rows=800, versions_changed=12)
    ran(ledger, "ingest countries", files=1, rows=40)
    ran(ledger, "gold", 0, 2, -2, 0, repriced=5, released=2)
    ran(ledger, "star", dim_products=12)
    for path in ("products/products_2011-01-30.csv", "products/products_2011-01-31.csv"):
        ledger.file(path, instant("2011-01-31 06:00"), RUN)
    assert report()[1] == "products 2011-01-30 to 2011-01-31: 0 landed = 2 facts + -2 errors; 5 repriced; 2 released\n"


@pytest.mark.parametrize(
    ("jobs", "line"),
    [
        ({"gold": {}, "star": {}}, "gold, star: nothing pending"),
        ({"baselines": {"baselines": 92}, "maintain": {"files_rewritten": 3, "cases_archived": 0}},
         "baselines: baselines 92; maintain: files rewritten 3"),
        ({"maintain": {}}, "maintain: nothing pending"),
    ],
)  # fmt: skip
def test_other_runs_tell_what_their_jobs_counted(ledger, report, jobs, line):
    for job, detail in jobs.items():
        ran(ledger, job, **detail)
    assert report()[1] == f"{line}\n"


def test_jobs_that_did_not_end_well_are_errors_with_what_is_known(ledger, report, tmp_path):
    ran(ledger, "ingest transactions", files=1, rows=5, at="2011-01-31 12:19:00")
    ran(ledger, "gold", status="FAILED", error="Gold (Postgres) at gold:5432 is away")
    ran(ledger, "star", status="RUNNING", at="2011-01-31 12:21:00")
    code, out, _ = report()
    unknown = "no end is recorded: it was cut short, or is still at work"
    assert (code, out) == (0, f"gold FAILED: Gold (Postgres) at gold:5432 is away; star RUNNING: {unknown}\n")
    assert verdicts(tmp_path) == {
        "ingest transactions": ("passed", ""),
        "gold": ("error", "Gold (Postgres) at gold:5432 is away"),
        "star": ("error", unknown),
        "the books balance": ("skipped", "gold did not run to the end"),
        "the star schema follows Gold": ("skipped", "star did not run to the end"),
        "every file is accepted": ("passed", ""),
        "every mail is delivered": ("skipped", "alerts did not run to the end"),
        "few rows are in error": ("skipped", "gold did not run to the end"),
    }


@pytest.mark.parametrize(
    ("happens", "check", "message", "details"),
    [
        (lambda ledger: ledger.query("update ops.etl_runs set rows_fact = 1199 where job = 'gold'"),
         "the books balance",
         "this run: 1,203 landed, but 1,199 facts + 3 errors; all runs: 1,203 landed, but 1,199 facts + 3 errors", []),
        (lambda ledger: ran(ledger, "gold", 10, 9, 0, 0, run="other"),
         "the books balance", "all runs: 1,213 landed, but 1,209 facts + 3 errors", []),
        (settle, "the star schema follows Gold", "the star schema has not followed 1 settle", []),
        (lambda ledger: refuse(ledger, "transactions/b.csv", "transactions/a.csv"),
         "every file is accepted", "2 rejected files",
         ["transactions/a.csv: EMPTY: the file has no bytes", "transactions/b.csv: EMPTY: the file has no bytes"]),
        (lambda ledger: (mail(ledger, "mail:25: 421 busy"),
                         ledger.query("update ops.etl_runs set detail = '{\"delayed\": 1}' where job = 'alerts'")),
         "every mail is delivered", "1 mail delayed: the next run tries again", ["mail:25: 421 busy"]),
        (lambda ledger: ledger.query("update ops.etl_runs set (rows_fact, rows_error) = (1142, 61) where job = 'gold'"),
         "few rows are in error",
         "61 of 1,203 rows are in error, more than 5%", ["MALFORMED: 1", "UNKNOWN_COUNTRY: 2"]),
    ],
)  # fmt: skip
def test_each_check_fails_for_its_own_reason(ledger, report, tmp_path, happens, check, message, details):
    good_run(ledger)
    happens(ledger)
    assert report()[0] == 0
    wrong = {name: told for name, told in verdicts(tmp_path).items() if told[0] != "passed"}
    assert wrong == {check: ("failure", message)}
    [failure] = [case.find("failure") for case in cases(tmp_path).values() if case.find("failure") is not None]
    assert (failure.text or "").strip().splitlines() == [message, *details]
    assert [check, message] in Page(tmp_path).rows


def test_a_share_of_errors_at_the_limit_is_few(ledger, report, tmp_path):
    ran(ledger, "gold", 100, 95, 5, 0)
    report()
    assert verdicts(tmp_path)["few rows are in error"] == ("passed", "")
    ledger.query("delete from ops.etl_runs")
    ran(ledger, "gold", 0, 4, -4, 0)
    report()
    assert verdicts(tmp_path)["few rows are in error"] == ("skipped", "no row landed")


def test_what_is_other_runs_is_not_told(ledger, report, tmp_path):
    good_run(ledger)
    in_error(ledger, "NO_PRICE", at="2011-01-31 12:30:00")
    refuse(ledger, "transactions/other.csv", run="jenkins-transactions-18")
    mail(ledger, "mail:25 is away")  # of a run before
    for other in (f"{RUN}8", f"{RUN}.x", f"{RUN}x1", f"{RUN}.", RUN.replace("-", ".")):
        ran(ledger, "gold", 50, 50, 0, 0, run=other, at="2011-01-31 12:31:00")
    assert "1,203 landed" in report()[1]
    assert {told[0] for told in verdicts(tmp_path).values()} == {"passed"}
    page = Page(tmp_path)
    assert ["NO_PRICE", "0", "1"] in page.rows and ["all runs", "1,453", "=", "1,450", "+", "3", "+", "0"] in page.rows
    assert "transactions/other.csv" not in page.text


def test_a_job_that_ran_again_under_its_run_id_is_one_case_by_its_newest_line(ledger, report, tmp_path):
    ran(ledger, "gold", 10, 10, 0, 0, at="2011-01-31 12:00:00")
    ran(ledger, "gold", status="FAILED", error="a", run=f"{RUN}.2", at="2011-01-31 12:05:00")
    ran(ledger, "gold", 5, 4, 0, 1, run=f"{RUN}.2.2", at="2011-01-31 12:10:00")
    ran(ledger, "gold", 1, 1, 0, 0, run=f"{RUN}.11", at="2011-01-31 12:15:00")
    assert report()[1] == "gold: 16 landed = 15 facts + 1 duplicates\n"
    assert [name for name in cases(tmp_path) if name.startswith("warehouse.jobs")] == ["warehouse.jobs.gold"]
    assert [row[1] for row in Page(tmp_path).rows if row[0] == "gold"] == ["DONE", "FAILED", "DONE", "DONE"]


def test_the_bars_are_the_rows_of_the_last_twenty_runs_that_landed_any(ledger, report, tmp_path):
    for day in range(1, 26):
        ran(ledger, "gold", 10 * day, 9 * day, day, 0, run=f"r{day}", at=f"2011-01-{day:02} 12:20")
    ran(ledger, "gold", 0, 0, 0, 0, run="idle", at="2011-01-26 12:20")
    ran(ledger, "gold", 500, 500, 0, 0, run="failed", status="FAILED", at="2011-01-27 12:20")
    report("r25")
    bars = Page(tmp_path).bars
    rows, errors = bars[::2], bars[1::2]
    assert [round(float(bar["height"] or 0)) for bar in rows] == [round(120 * day / 25) for day in range(6, 26)]
    assert [round(float(bar["height"] or 0)) for bar in errors] == [round(12 * day / 25) for day in range(6, 26)]
    assert [int(bar["x"] or 0) for bar in rows] == [4 + 30 * place for place in range(20)]
    assert [bar["fill"] == rows[-1]["fill"] for bar in rows] == [False] * 19 + [True]
    assert "2011-01-25 12:20 GMT: 250 rows, 25 errors" in Page(tmp_path).text


# --- What stands in data ---


def test_whatever_is_in_the_data_is_shown_as_text(ledger, report, tmp_path):
    ran(ledger, "ingest transactions", files=0, rejected=1)
    ran(ledger, "star", status="FAILED", error=NASTY)
    ran(ledger, "alerts", sent=0, delayed=1)
    refuse(ledger, f"transactions/{NASTY}.csv", reason=f"HEADER: {NASTY}")
    mail(ledger, NASTY)
    code, out, err = report()
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert out.endswith("\n") and out[:-1].isprintable()
    shown = r"""<script>alert(1)</script> & "'\x01\x1b[31m\x7f\x85\ufffe ]]> --> </failure> {{ 7 * 7 }} \u2028\n"""
    found = verdicts(tmp_path)
    assert found["star"] == ("error", shown)
    failures = [case.findtext("failure") or "" for case in cases(tmp_path).values()]
    assert f"transactions/{shown}.csv: HEADER: {shown}" in "".join(failures)
    assert [f"transactions/{shown}.csv", f"HEADER: {shown}"] in Page(tmp_path).rows


def test_of_many_rejected_files_some_are_named_and_all_are_counted(ledger, report, tmp_path):
    ran(ledger, "ingest transactions", files=0, rejected=60)
    refuse(ledger, *[f"transactions/bad{number:02}.csv" for number in range(60)])
    assert report()[1] == "ingest transactions: rejected 60\n"
    assert verdicts(tmp_path)["every file is accepted"] == ("failure", "60 rejected files")
    assert (cases(tmp_path)["warehouse.checks.every file is accepted"].findtext("failure") or "").count(
        ".csv: EMPTY"
    ) == 50
    assert "10 more are rejected" in Page(tmp_path).text
    assert "bad49.csv" in Page(tmp_path).text and "bad50.csv" not in Page(tmp_path).text


def test_a_rejected_file_is_told_also_where_another_ingest_failed(ledger, report, tmp_path):
    ran(ledger, "ingest products", status="FAILED", error="killed")
    assert (report()[0], verdicts(tmp_path)["every file is accepted"][0]) == (0, "skipped")
    ran(ledger, "ingest transactions", files=0, rejected=1)
    refuse(ledger, "transactions/bad.csv")
    report()
    assert verdicts(tmp_path)["every file is accepted"] == ("failure", "1 rejected file")


def test_contents_that_were_replaced_are_not_rejected(ledger, report, tmp_path):
    good_run(ledger)
    refuse(ledger, "transactions/transactions_2011-01-31T04.csv", reason="REPLACED")
    report()
    assert verdicts(tmp_path)["every file is accepted"] == ("passed", "")


# --- How it ends ---


def test_a_run_that_the_ledger_does_not_have_is_a_clear_message_and_exit_code_1(ledger, report, tmp_path):
    good_run(ledger)
    code, out, err = report("jenkins-transactions-18")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("warehouse: the ledger has no run jenkins-transactions-18: none of its jobs has begun")
    assert not (tmp_path / "report").exists()


def test_what_no_run_can_be_called_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["report", "a b; rm -rf /", "--into", "x"])
    assert ended.value.code == 2
    assert "'a b; rm -rf /' is not up to 100 letters, digits and .:_-" in capsys.readouterr().err


def test_gold_away_or_of_another_version_leaves_no_report(ledger, report, tmp_path):
    code, out, err = report(GOLD_URL="postgresql://etl:secret@127.0.0.1:1/ecommerce_gold")
    assert (code, out, err.count("\n")) == (1, "", 1) and "Gold (Postgres) at 127.0.0.1:1 is away" in err
    ledger.query("update ops.watermarks set snapshot_id = snapshot_id + 1 where name = 'init'")
    code, out, err = report()
    ledger.query("update ops.watermarks set snapshot_id = snapshot_id - 1 where name = 'init'")
    assert (code, out, err.count("\n")) == (2, "", 1) and "scripts/run_setup.sh" in err
    assert not (tmp_path / "report").exists()


def test_a_report_takes_the_place_of_an_older_one(ledger, report, tmp_path):
    good_run(ledger)
    report()
    ledger.query("delete from ops.etl_runs where job <> 'gold'")
    report()
    assert [job for job in JOBS if f"warehouse.jobs.{job}" in cases(tmp_path)] == ["gold"]


def test_a_folder_that_cannot_be_written_is_one_line(ledger, report, tmp_path):
    good_run(ledger)
    (tmp_path / "report").write_text("a file")
    code, out, err = report()
    assert (code, out, err.count("\n")) == (1, "", 1) and str(tmp_path / "report") in err
