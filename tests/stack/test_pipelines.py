"""Jenkins' pipelines in its agent's container: each stage's line as its Jenkinsfile has it.

Jenkins itself is not here: what follows an exit code is what the stand-in of tests/jenkins says.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import pytest
from harness import TRANSACTIONS, Warehouse, assert_same_state
from pipelines import Build, environment, play
from small_shop import sale
from stack import IN_ONE_EXECUTOR, IN_THE_DRIVER, Said, Stack, one_line

from generators.synthetic import generate

DAY = date(2011, 2, 14)
WORKSPACE = "/tmp/workspace"


@dataclass(frozen=True)
class Done:
    """A build that was played: how it ended, what each line said, and what its report's line said."""

    build: Build
    run_id: str
    codes: dict[str, int]
    said: list[Said]
    report: Said | None

    @property
    def result(self) -> str:
        return str(self.build.result)


@dataclass
class Agent:
    """The container in which Jenkins' builds run; `spark`: what their sessions start with."""

    stack: Stack
    spark: str = IN_THE_DRIVER
    numbers: dict[str, int] = field(default_factory=dict)

    def sh(self, line: str, variables: dict[str, str]) -> Said:
        """A line of a Jenkinsfile, with parameters and what Jenkins sets as its environment."""
        variables = {"SPARK_SUBMIT_OPTIONS": self.spark} | variables
        return self.stack.execute("jenkins-agent", "sh", "-xe", "-c", line, **variables)

    def build(self, pipeline: str, **parameters: object) -> Done:
        number = self.numbers[pipeline] = self.numbers.get(pipeline, 0) + 1
        run_id = f"jenkins-{pipeline}-{number}"
        said: list[Said] = []

        def run(line: str, variables: dict[str, str]) -> int:
            said.append(self.sh(line, variables))
            return said[-1].returncode

        build, codes = play(pipeline, run, run_id, **parameters)
        report = None
        if build.report_line:
            self.sh(f"rm -rf {WORKSPACE}; mkdir {WORKSPACE}", {})
            report = self.sh(build.report_line, environment(build, parameters) | {"WORKSPACE": WORKSPACE})
        return Done(build, run_id, codes, said, report)

    def kept(self, name: str) -> str:
        """A file of the last build's report."""
        said = self.sh(f"cat {WORKSPACE}/report/{name}", {})
        assert said.returncode == 0, said
        return said.stdout

    def ledger(self, done: Done) -> list[str]:
        """The jobs of which a build has a ledger line, all of them done."""
        lines = self.stack.gold(
            "select job, status from ops.etl_runs where run_id = %s order by started_at", [done.run_id]
        )
        assert {status for _, status in lines} <= {"DONE"}, lines
        return [job for job, _ in lines]


@pytest.fixture(scope="module")
def agent(stack: Stack) -> Iterator[Agent]:
    scheduler = {"COMPOSE_PROFILES": "scheduler"}
    up = stack.script("compose.sh", "up", "-d", "--no-build", "jenkins-agent", **scheduler)
    assert up.returncode == 0, up
    yield Agent(stack)
    stack.script("compose.sh", "rm", "--stop", "--force", "jenkins-agent", **scheduler)


def land_sales(stack: Stack, window: str, *lines: str, header: str = TRANSACTIONS) -> None:
    file = stack.landing / "transactions" / f"transactions_{window}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in (header, *lines)))
    stack.land(file)


def a_sale(quantity: int) -> str:
    return sale("jenkins", "S-NOT-SOLD", quantity, f"{DAY} 10:00:00", "C-NEW", "GB", order="O-jenkins")


def assert_reported(agent: Agent, done: Done) -> None:
    """The build's report was made: its line, the page and the checks."""
    assert done.report is not None and done.report.returncode == 0, done.report
    assert done.report.stdout.count("\n") == 1, done.report
    assert "<html" in agent.kept("summary.html")
    assert "<testcase" in agent.kept("checks.xml")


def test_setup_changes_nothing_when_it_runs_dry_and_destroys_nothing_without_the_name(agent: Agent) -> None:
    everything = "select count(*) from ops.etl_runs", "select count(*) from fact_transactions"
    before = [agent.stack.gold(query) for query in everything]
    dry = agent.build("setup", DRY_RUN=True)
    assert (dry.result, dry.codes, dry.report) == ("SUCCESS", {"Set up": 0}, None), dry
    for name in ("ecommerce", "$(echo ecommerce_gold)"):
        refused = agent.build("setup", RESET=name)
        assert (refused.result, refused.codes) == ("FAILURE", {"Set up": 2}), refused
        assert "nothing was changed" in refused.said[0].stderr
    assert [agent.stack.gold(query) for query in everything] == before


def test_masters_load_the_day_s_snapshots(agent: Agent, stack: Stack, tmp_path: Path) -> None:
    generate(tmp_path, seed=11, start=DAY, days=1, rows_per_day=300, products=60, faults=False)
    for file in tmp_path.glob("*/*"):
        folder = stack.landing / file.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder)
    stack.land_new()
    done = agent.build("masters")
    assert (done.result, set(done.codes.values())) == ("SUCCESS", {0}), done
    assert agent.ledger(done) == ["ingest products", "ingest countries", "gold", "star"]
    assert_reported(agent, done)


def test_transactions_go_on_where_a_file_is_bad(agent: Agent, stack: Stack) -> None:
    land_sales(stack, f"{DAY}T00_bad", "1,2", header="transaction_id,order_id")
    land_sales(stack, f"{DAY}T00_good", a_sale(1))
    [(before,)] = stack.gold("select count(*) from fact_transactions")
    done = replace(agent, spark=IN_ONE_EXECUTOR).build("transactions")
    assert list(done.codes.values()) == [3, 0, 0, 0, 0], done
    assert done.result == "UNSTABLE" and all(one_line(said.stderr) for said in done.said)
    assert agent.ledger(done) == ["ingest transactions", "gold", "star", "detect", "alerts"]
    assert_reported(agent, done)
    assert f"transactions_{DAY}T00_bad.csv" in agent.kept("checks.xml")
    [(after,)] = stack.gold("select count(*) from fact_transactions")
    assert after - before == 300


def test_nothing_follows_a_stage_that_failed(agent: Agent, stack: Stack) -> None:
    stack.compose("stop", "gold")
    done = agent.build("transactions")
    stack.heal()
    assert (done.result, done.codes) == ("FAILURE", {"Ingest transactions": 1}), done
    assert "gold:5432 is away" in done.said[0].stderr
    assert done.report is not None and (done.report.returncode, done.report.stdout) == (0, ""), done.report
    assert agent.ledger(done) == []


def test_a_value_that_is_code_is_refused_and_not_executed(agent: Agent) -> None:
    for value in ("$(touch /tmp/executed)", "2011-01-01; touch /tmp/executed"):
        done = agent.build("transactions", UNTIL=value)
        assert (done.result, done.codes) == ("FAILURE", {"Ingest transactions": 2}), done
        assert f"{value!r} is not a time" in done.said[0].stderr
        assert agent.ledger(done) == []
    assert agent.sh("test ! -e /tmp/executed", {}).returncode == 0


def test_rerun_takes_a_changed_file_only_where_it_is_told_to(agent: Agent, stack: Stack, embedded: Warehouse) -> None:
    land_sales(stack, f"{DAY}T00_good", a_sale(2))
    changed = agent.build("rerun", JOB="ingest-transactions")
    assert (changed.result, changed.codes) == ("UNSTABLE", {"Rerun": 3}), changed
    dry = agent.build("rerun", JOB="ingest-transactions", REPLACE=True, DRY_RUN=True)
    assert (dry.result, agent.ledger(dry)) == ("SUCCESS", []), dry
    replaced = agent.build("rerun", JOB="ingest-transactions", REPLACE=True, FROM=str(DAY))
    assert (replaced.result, agent.ledger(replaced)) == ("SUCCESS", ["ingest transactions"]), replaced
    embedded.run(replace=True)
    assert_same_state(stack.state_after_a_run(), embedded.state())


@pytest.mark.parametrize("pipeline", ["baselines", "readiness", "backup"])
def test_the_other_pipelines_run_to_their_ends(agent: Agent, stack: Stack, embedded: Warehouse, pipeline: str) -> None:
    done = agent.build(pipeline)
    assert (done.result, set(done.codes.values())) == ("SUCCESS", {0}), done
    assert all(said.stdout and one_line(said.stderr) for said in done.said), done
    if pipeline == "baselines":
        assert agent.ledger(done)[-1] == "maintain"
        assert_reported(agent, done)
