"""The jobs as Job DSL defines them, the Groovy that they consist of, and when they run."""

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cron import read
from pipelines import FOLDER, JOBS_SCRIPT, NAMES, PROJECT, build, compile_groovy, define, jobs

from warehouse.config import load

pytestmark = pytest.mark.xdist_group("jenkins")

SHARED = {"FROM": "", "UNTIL": "", "DRY_RUN": False}
YEAR = 2026
ZONES = ("Europe/London", "America/New_York")


# --- Groovy ---


def test_every_script_compiles_and_a_broken_one_does_not():
    whole = [jobs()[name].one("definition.cps.script") for name in NAMES] + [JOBS_SCRIPT.read_text()]
    assert [compile_groovy(text) for text in whole] == [{}] * len(whole)
    for path in (PROJECT / "jenkins" / "init.groovy.d").glob("*.groovy"):
        assert compile_groovy(path.read_text(), syntax=True) == {}, path  # Jenkins' own classes are not here
    for text in (whole[0].replace("{", "", 1), whole[0] + "}", whole[-1].replace("'", '"', 1), "def f( {"):
        assert "refused" in compile_groovy(text)


def test_what_a_job_cannot_say_is_refused():
    good = JOBS_SCRIPT.read_text()
    for changed, told in [
        (good.replace("stringParam('FROM'", "textParam('FROM'"), "parameters: there is no textParam"),
        (good.replace("disableConcurrentBuilds()", "disableConcurrent()"), "properties: there is no disableConcurrent"),
        (good.replace("daysToKeep(92)", "daysToKeep('92')"), "logRotator.daysToKeep takes [Integer], not [String]"),
        (good.replace("pipelineJob(", "job("), "Job DSL: there is no job"),
        (good.replace("sandbox(true)", "sandbox(yes)"), "definition.cps: there is no yes"),
    ]:
        assert changed != good
        assert define(changed) == {"refused": told}


# --- Jobs ---


def test_there_is_a_job_for_every_pipeline_and_a_pipeline_for_every_job():
    assert set(jobs()) == set(NAMES) == {path.stem for path in FOLDER.glob("*.Jenkinsfile")}


@pytest.mark.parametrize("name", NAMES)
def test_a_job_is_its_pipeline_in_the_sandbox_one_build_at_a_time_and_not_for_ever(name):
    job = jobs()[name]
    common = (FOLDER / "common.groovy").read_text()
    assert job.one("definition.cps.script") == (FOLDER / f"{name}.Jenkinsfile").read_text() + common
    assert job.one("definition.cps.sandbox") is True
    assert job.all("properties.disableConcurrentBuilds") == [()]
    assert job.one("logRotator.daysToKeep") == 92
    assert job.one("description")


@pytest.mark.parametrize("name", NAMES)
def test_every_job_has_the_shared_parameters_and_says_where_they_mean_nothing(name):
    own = {"rerun": {"JOB": "all", "REPLACE": False}, "setup": {"RESET": ""}}
    assert jobs()[name].parameters == SHARED | own.get(name, {})
    texts = {arguments[0]: arguments[-1] for where, arguments in jobs()[name].said if where.startswith("parameters.")}
    lines = " ".join(line.text for line in build(name).lines)
    for parameter in ("FROM", "UNTIL"):
        assert (f"${parameter}" in lines) == (texts[parameter] != "Means nothing to this pipeline."), parameter
    assert all(texts.values())


def test_every_plugin_that_a_job_or_a_step_needs_is_listed():
    used = set(define(JOBS_SCRIPT.read_text())["uses"])
    for name in NAMES:
        for line in build(name).lines:
            for code in (0, 1, 3):
                used |= set(build(name, codes={line.stage: code}, previous={"result": "NOT_BUILT"}).uses)
    lines = (PROJECT / "jenkins" / "plugins.txt").read_text().splitlines()
    listed = {line.split(":")[0].strip() for line in lines if line.strip() and not line.startswith("#")}
    assert {"junit", "email-ext", "lockable-resources", "timestamper"} <= used
    assert used <= listed | {"core"}


# --- Triggers ---


def instants(day: date, at: time, zone: ZoneInfo) -> list[datetime]:
    """When a clock in the zone shows that time on that day: once; never or twice where it is put forward or back."""
    both = {datetime.combine(day, at, zone).replace(fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(
        instant for instant in both if instant.astimezone(zone).replace(tzinfo=None) == datetime.combine(day, at)
    )


DAYS = [date(YEAR, 1, 1) + timedelta(days=number) for number in range(365)]
TABLE = {
    "masters": (time(6), DAYS),
    "readiness": (time(10), DAYS),
    "baselines": (time(3), [day for day in DAYS if day.day == 1]),
    "maintenance": (time(2), [day for day in DAYS if day.isoweekday() == 7]),
    "backup": (time(3, 30), DAYS),
}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("name", TABLE)
def test_a_trigger_means_the_local_time_of_the_table_all_the_year(name, zone):
    at, days = TABLE[name]
    [cron] = jobs(zone)[name].crons
    here = ZoneInfo(zone)
    expected = [instant for day in days for instant in instants(day, at, here) if instant.year == YEAR]
    assert read(cron).times(YEAR) == expected
    never_or_twice = [day for day in days if len(instants(day, at, here)) != 1]
    # in New York there is no 02:00 on the Sunday on which clocks are put forward: the next one compacts
    assert never_or_twice == ([date(YEAR, 3, 8)] if (name, zone) == ("maintenance", "America/New_York") else [])


@pytest.mark.parametrize("zone", ZONES)
def test_transactions_run_20_minutes_after_each_window_s_end_also_in_summer(zone):
    [cron] = jobs(zone)["transactions"].crons
    ends = {(hour + 4) % 24 for hour in load({}).sources["transactions"].window_hours}
    assert read(cron).times(YEAR) == [
        datetime.combine(day, time(hour, 20), UTC) for day in DAYS for hour in sorted(ends)
    ]


def test_what_a_person_starts_has_no_trigger():
    assert Counter({name: len(job.crons) for name, job in jobs().items()}) == Counter(
        {name: int(name not in ("setup", "rerun")) for name in NAMES}
    )


def test_the_zones_of_these_tests_change_their_clocks_twice_a_year():
    for zone in ZONES:
        offsets = [datetime.combine(day, time(12), ZoneInfo(zone)).utcoffset() for day in DAYS]
        assert sum(a != b for a, b in pairwise(offsets)) == 2


@pytest.mark.parametrize(
    ("spec", "count", "first"),
    [
        ("0 6 * * *", 365, "2026-01-01T06:00"),
        ("20 0-23/4 * * *", 6 * 365, "2026-01-01T00:20"),
        ("*/20 1,3 * * *", 6 * 365, "2026-01-01T01:00"),
        ("5-6 0 31 * *", 14, "2026-01-31T00:05"),
        ("0 0 13 * 5", 3, "2026-02-13T00:00"),  # Fridays that are a 13th: both count
        ("0 0 * * 7", 52, "2026-01-04T00:00"),
        ("TZ=Asia/Kolkata\n15 0 1 2 *", 1, "2026-01-31T18:45"),
        ("TZ=Europe/London\n30 1 * * *", 365, "2026-01-01T01:30"),  # 364 days with a 01:30, one of them with two
    ],
)
def test_cron_lines_are_read_as_jenkins_reads_them(spec, count, first):
    times = read(spec).times(YEAR)
    assert (len(times), times[0]) == (count, datetime.fromisoformat(first).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    "spec",
    [
        *("H 6 * * *", "H(0-5) * * * *", "@daily", "x * * * *", "", "TZ=UTC", "0 6 * *", "0 6 * * * *"),
        *("60 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 * * 8", "5-1 * * * *", "*/0 * * * *", "5/2 * * * *"),
        "0 0 * * *\n0 1 * * *",
    ],
)
def test_what_says_no_time_is_refused(spec):
    with pytest.raises(ValueError):
        read(spec)
