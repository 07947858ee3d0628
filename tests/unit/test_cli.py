"""The command line: how it is called, what it prints, which exit code it gives. No job runs here."""

import json
import re
from datetime import UTC, date, datetime, time
from pathlib import Path
from types import SimpleNamespace

import psycopg2
import pytest

from warehouse import cli
from warehouse.errors import UsageError, WarehouseError
from warehouse.ledger import NOTHING, Outcome


@pytest.fixture(autouse=True)
def nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, and no Spark, no Postgres."""

    def started(*_: object) -> None:
        raise AssertionError("a server or session was started")

    monkeypatch.chdir(tmp_path)
    for name in ("WAREHOUSE_HOME", "GOLD_URL", "WAREHOUSE_CONFIG", "WAREHOUSE_LOCK_WAIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("warehouse.embedded.start_gold", started)
    monkeypatch.setattr("warehouse.session.build_session", started)
    for step in ("_ready", "_made"):
        monkeypatch.setattr(cli, step, lambda context: None)


def usage(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a call in the wrong form is told."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def options(*arguments: str) -> dict[str, object]:
    parsed = vars(cli._parser().parse_args(arguments))
    return {name: value for name, value in parsed.items() if name not in ("command", "name")}


# --- Calls ---


def test_no_command_and_an_unknown_command_are_wrong_usage(capsys):
    assert "COMMAND" in usage(capsys)
    assert "invalid choice: 'nonsense'" in usage(capsys, "nonsense")
    assert "invalid choice: 'orders'" in usage(capsys, "ingest", "orders")


def test_help_names_the_commands_and_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "Exit codes: 0 done; 1 failed" in said
    for command in (
        *("init", "ingest", "gold", "star", "baselines", "detect", "alerts", "anomalies", "run", "backfill", "status"),
        *("sla", "report", "gold-url", "sql", "maintain"),
    ):
        assert re.search(rf"^    {command}\b", said, re.MULTILINE)


def test_options_are_read_and_have_their_defaults():
    assert options("run") == {"since": None, "until": None, "replace": False, "dry_run": False, "json": False}
    assert options("ingest", "products", "--replace", "--dry-run", "--json") == {
        "source": "products",
        "since": None,
        "until": None,
        "replace": True,
        "dry_run": True,
        "json": True,
    }
    assert options("gold", "--from=2011-01-31T08:00", "--until", "2011-02-01") == {
        "since": datetime(2011, 1, 31, 8, tzinfo=UTC),
        "until": datetime(2011, 2, 1, tzinfo=UTC),
        "dry_run": False,
        "json": False,
    }
    assert options("baselines") == {"until": None, "dry_run": False, "json": False}
    assert options("star", "--dry-run") == {"rebuild": False, "dry_run": True, "json": False}
    assert options("backfill", "--from", "2011-01-04", "--to", "2011-02-01") == {
        "first": date(2011, 1, 4),
        "last": date(2011, 2, 1),
        "json": False,
    }
    assert options("sla") == {"at": None, "json": False}
    assert options("sla", "--at", "2011-07-04T10:00+01:00")["at"] == datetime(2011, 7, 4, 9, tzinfo=UTC)
    assert options("init") == {"reset": False, "dry_run": False, "json": False}
    assert options("init", "--reset") == {"reset": True, "dry_run": False, "json": False}
    assert options("report", "r1", "--into", "out") == {"run_id": "r1", "into": Path("out")}


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2011-01-31", datetime(2011, 1, 31, tzinfo=UTC)),
        ("2011-01-31T08:00", datetime(2011, 1, 31, 8, tzinfo=UTC)),
        ("2011-01-31 08:00:30", datetime(2011, 1, 31, 8, 0, 30, tzinfo=UTC)),
        ("2011-01-31T08:00Z", datetime(2011, 1, 31, 8, tzinfo=UTC)),
        ("2011-07-31T08:00+01:00", datetime(2011, 7, 31, 7, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_utc(text, instant):
    assert options("gold", "--until", text)["until"] == instant


@pytest.mark.parametrize("text", ["yesterday", "2011-02-29", "", "31.01.2011", "0001-01-01T00:00+01:00"])
def test_what_is_no_time_is_wrong_usage(capsys, text):
    told = f"argument --until: {text!r} is not a time such as 2011-01-31 or 2011-01-31T08:00"
    assert told in usage(capsys, "run", "--until", text)


@pytest.mark.parametrize("text", ["2011-02-29", "2011-01-31T08:00", "today"])
def test_what_is_no_day_is_wrong_usage(capsys, text):
    told = f"argument --from: {text!r} is not a day such as 2011-01-31"
    assert told in usage(capsys, "backfill", "--from", text, "--to", "2011-03-01")


def test_a_backfill_needs_both_days(capsys):
    assert "--to" in usage(capsys, "backfill", "--from", "2011-01-01")


def test_a_backfill_backwards_is_wrong_usage(capsys):
    assert cli.main(["backfill", "--from", "2011-02-01", "--to", "2011-01-01"]) == 2
    assert capsys.readouterr().err == "warehouse: --from 2011-02-01 is after --to 2011-01-01\n"


@pytest.mark.parametrize("command", [["run"], ["gold"], ["ingest", "products"], ["run", "--dry-run"]])
def test_from_after_until_is_wrong_usage(capsys, monkeypatch, command):
    monkeypatch.setattr(cli, "_made", lambda _: pytest.fail("something was done"))
    assert cli.main([*command, "--from", "2011-02-01T08:00:01", "--until", "2011-02-01T08:00"]) == 2
    assert capsys.readouterr().err == "warehouse: --from 2011-02-01 08:00:01 is after --until 2011-02-01 08:00:00\n"


@pytest.mark.parametrize("text", ["2011-01-01; rm -rf /", "$(id)", "`id`", "2011-01-01\n2011-01-02", "--until"])
def test_what_a_scheduler_passes_on_is_a_time_or_refused(capsys, text):
    assert "argument --from: " in usage(capsys, "run", f"--from={text}")


def test_a_report_needs_a_run_and_a_folder(capsys):
    assert "RUN_ID" in usage(capsys, "report", "--into", "x")
    assert "--into" in usage(capsys, "report", "r1")
    assert "argument RUN_ID: '../r1' is not up to 100" in usage(capsys, "report", "../r1", "--into", "x")


# --- Errors ---


def test_open_errors_are_listed_unless_asked_otherwise():
    assert options("errors", "list")["status"] == "OPEN"
    wanted = options("errors", "list", "--reason", "no_price", "--status", "all", "--limit", "0", "--json")
    assert (wanted["reason"], wanted["status"], wanted["limit"], wanted["json"]) == ("NO_PRICE", "ALL", 0, True)


def test_error_ids_may_be_negative():
    assert options("errors", "show", "-5")["error_id"] == -5
    assert options("errors", "retry", "-5", "7", "--dry-run")["error_ids"] == [-5, 7]
    wanted = options("errors", "correct", "-5", "quantity=-6", "customer_id=")
    assert (wanted["error_id"], wanted["values"], wanted["dry_run"]) == (-5, ["quantity=-6", "customer_id="], False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "ACTION"),
        (["mend"], "invalid choice: 'mend'"),
        (["list", "--reason", "bad"], "argument --reason: invalid choice: 'BAD'"),
        (["list", "--limit", "-1"], "argument --limit: '-1' is not a number of rows"),
        (["show", "T1"], "argument error_id: invalid int value: 'T1'"),
        (["correct", "5"], "COLUMN=VALUE"),
        (["discard", "5"], "--notes"),
        (["discard", "5", "--notes", "\udcff"], "argument --notes: '\\udcff' is not UTF-8"),
    ],
)
def test_a_wrong_call_about_errors_is_told(capsys, arguments, said):
    assert said in usage(capsys, "errors", *arguments)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["GB"], "'GB' is not COLUMN=VALUE, such as country_id=GB"),
        (["=GB"], "'=GB' is not COLUMN=VALUE, such as country_id=GB"),
        (["country_id=GB", "country_id=FR"], "country_id is given twice"),
    ],
)
def test_a_correction_in_the_wrong_form_is_told(capsys, words, said):
    assert cli.main(["errors", "correct", "5", *words]) == 2
    assert capsys.readouterr().err == f"warehouse: {said}\n"


# --- Exit codes ---


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (WarehouseError("the books do not balance"), 1, "the books do not balance"),
        (UsageError("no such table"), 2, "no such table"),
        (WarehouseError("no Java 17 or 21"), 1, "no Java 17 or 21"),
        (
            KeyboardInterrupt(),
            1,
            "interrupted; nothing was half-written, the next run goes on from here",
        ),
        (
            OSError(28, "No space left on device", "/data"),
            1,
            "[Errno 28] No space left on device: '/data'. Nothing was half-written; run the same command again.",
        ),
        (
            psycopg2.OperationalError("connection refused\n\tIs the server running?"),
            1,
            "Gold (Postgres) at 127.0.0.1:0 (its log: postgres/server.log in WAREHOUSE_HOME) is away: "
            "connection refused. Nothing was half-written; run the same command again.",
        ),
    ],
)
def test_what_goes_wrong_is_one_line_and_an_exit_code(capsys, monkeypatch, error, code, said):
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(cli, "_status", fail)
    assert cli.main(["status"]) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"warehouse: {said}\n")


def test_a_wrong_setting_is_exit_code_2_before_anything_starts(capsys, monkeypatch):
    monkeypatch.setenv("WAREHOUSE_LOCK_WAIT", "soon")
    assert cli.main(["run"]) == 2
    assert capsys.readouterr().err.startswith("warehouse: WAREHOUSE_LOCK_WAIT is wrong: ")


@pytest.mark.parametrize("error", [None, WarehouseError("failed")])
def test_what_was_opened_is_closed_however_a_command_ends(monkeypatch, error):
    closed = []

    def command(context, _):
        context._opened.append(lambda: closed.append("first"))
        context._opened.append(lambda: closed.append("second"))
        if error:
            raise error
        return 0

    monkeypatch.setattr(cli, "_status", command)
    cli.main(["status"])
    assert closed == ["second", "first"]


def test_an_error_of_the_program_itself_is_not_hidden(monkeypatch):
    def fail(*_: object) -> int:
        raise AssertionError("a bug")

    monkeypatch.setattr(cli, "_status", fail)
    with pytest.raises(AssertionError, match="a bug"):
        cli.main(["status"])


def test_a_job_script_is_its_command_with_the_arguments_of_the_script(monkeypatch):
    called = []
    monkeypatch.setattr("sys.argv", ["ingest_products.py", "--until", "2011-01-31"])
    job = SimpleNamespace(run=lambda _, scope, replacing: called.append((scope, replacing)))
    monkeypatch.setitem(cli.INGEST, "products", job)
    monkeypatch.setattr(cli, "_report", lambda *_: 3)
    assert cli.job_main("ingest", "products") == 3
    assert called == [(cli.Scope(datetime(2011, 1, 31, tzinfo=UTC)), False)]


# --- Dry runs ---


@pytest.fixture
def looking(monkeypatch) -> list[str]:
    """A warehouse whose jobs can be asked what is pending, and do nothing; who was asked."""
    asked = []
    monkeypatch.setattr(cli, "_made", lambda _: pytest.fail("it was set up"))
    monkeypatch.setattr(cli, "_only_look", lambda _: asked.append("only look"))
    modules = [module for name, module in vars(cli).items() if getattr(module, "__name__", "").startswith("jobs.")]
    assert len(modules) == 11
    for module in modules:
        name = module.__name__.removeprefix("jobs.")
        monkeypatch.setattr(module, "run", lambda *_: pytest.fail("a job ran"))

        def pending(_: object, *arguments: object, name: str = name) -> Outcome:
            asked.append(" ".join([name, *map(str, arguments)]))
            return Outcome(name, "2 files pending" if name == "ingest_products" else NOTHING, numbers={"files": 2})

        monkeypatch.setattr(module, "pending", pending)
    return asked


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        ("ingest countries --replace", "ingest_countries {} True"),
        ("gold", "postgres_load_fact {}"),
        ("star --rebuild", "build_star_schema True"),
        ("baselines --until 2011-02-01", "refresh_baselines 2011-02-01 00:00:00+00:00"),
        ("detect", "detect_anomalies"),
        ("alerts", "send_alerts"),
        ("maintain", "maintain"),
        ("backup", "backup"),
    ],
)
def test_a_dry_run_asks_the_job_what_is_pending_and_does_nothing(capsys, looking, command, asked):
    assert cli.main([*command.split(), "--dry-run"]) == 0
    asked = asked.format(cli.Scope())
    assert looking == ["only look", asked]
    assert capsys.readouterr().out == f"{asked.split()[0]}: nothing pending\n"


def test_a_dry_run_of_init_needs_nothing_to_be_set_up(looking):
    assert cli.main(["init", "--reset", "--dry-run"]) == 0
    assert looking == ["init_warehouse True"]


def test_a_dry_run_of_all_jobs_says_where_more_is_to_come(capsys, looking):
    assert cli.main(["run", "--dry-run", "--from", "2011-01-31"]) == 0
    scope = cli.Scope(since=datetime(2011, 1, 31, tzinfo=UTC))
    assert looking == [
        "only look",
        *[f"ingest_{source} {scope} False" for source in ("products", "countries", "transactions")],
        f"postgres_load_fact {scope}",
        "build_star_schema",
        "detect_anomalies",
        "send_alerts",
    ]
    to_come = "nothing pending now; then what the jobs before it bring"
    assert capsys.readouterr().out.splitlines() == [
        "ingest_products: 2 files pending",
        "ingest_countries: nothing pending",
        "ingest_transactions: nothing pending",
        *[f"{j}: {to_come}" for j in ("postgres_load_fact", "build_star_schema", "detect_anomalies", "send_alerts")],
    ]


def test_a_dry_run_is_json_on_request(capsys, looking):
    assert cli.main(["gold", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"job": "postgres_load_fact", "summary": "nothing pending", "rejected": 0, "files": 2}
    ]


@pytest.mark.parametrize("command", ["run --dry-run", "gold --dry-run", "maintain --dry-run", "report r1 --into x"])
def test_what_only_looks_makes_no_home(capsys, tmp_path, command):
    assert cli.main(command.split()) == 2
    told = f"warehouse: nothing has been set up by this version in {tmp_path}/.warehouse: run `warehouse init`\n"
    assert capsys.readouterr().err == told
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_init_makes_no_home(capsys, tmp_path):
    assert cli.main(["init", "--dry-run", "--reset"]) == 0
    told = "init: not set up, or not to the end; --reset would destroy nothing; the landing zone stays\n"
    assert capsys.readouterr().out == told
    assert list(tmp_path.iterdir()) == []


# --- What is printed ---

LOADED = Outcome("ingest products", "2 rows from 1 file, 1 rejected", 1, {"rows": 2, "at": date(2011, 1, 4)})
IDLE = Outcome("star")


def test_outcomes_are_printed_a_line_a_job(capsys, monkeypatch):
    monkeypatch.setattr(cli, "run_all", lambda context, scope, replacing, report: [report(o) or o for o in job_list])
    job_list = [LOADED, IDLE]
    assert cli.main(["run"]) == 3
    assert capsys.readouterr().out == (
        "ingest products: 2 rows from 1 file, 1 rejected\nstar: nothing pending\n"
    )  # fmt: skip
    job_list = [IDLE]
    assert cli.main(["run"]) == 0


def test_outcomes_are_printed_as_json_for_scripts(capsys, monkeypatch):
    monkeypatch.setattr(cli, "run_all", lambda *_: [LOADED, IDLE])
    assert cli.main(["run", "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == [
        {"job": "ingest products", "summary": LOADED.line, "rejected": 1, "rows": 2, "at": "2011-01-04"},
        {"job": "star", "summary": "nothing pending", "rejected": 0},
    ]


def days(first: str, last: str) -> tuple[datetime, datetime]:
    """The first and the last instant of these days."""
    return (
        datetime.combine(date.fromisoformat(first), time.min, UTC),
        datetime.combine(date.fromisoformat(last), time.max, UTC),
    )


def test_a_backfill_goes_month_by_month_each_with_a_run_id_of_its_own(capsys, monkeypatch):
    scopes, run_ids = [], set()

    def run_all(context, scope):
        scopes.append((scope.since, scope.last, scope.until))
        run_ids.add(context.run_id)
        return [LOADED if len(scopes) == 1 else IDLE]

    monkeypatch.setattr(cli, "run_all", run_all)
    monkeypatch.setattr(cli.landing, "days", lambda *_: {date(2011, 1, 31), date(2011, 2, 2), date(2011, 4, 1)})
    assert cli.main(["backfill", "--from", "2011-01-31", "--to", "2011-02-02"]) == 3
    assert scopes == [
        (*days("2011-01-31", "2011-01-31"), None),
        (*days("2011-02-01", "2011-02-02"), None),
    ]
    assert len(run_ids) == 2
    assert capsys.readouterr().out.splitlines() == [
        "2011-01-31 to 2011-01-31",
        f"ingest products: {LOADED.line}",
        "2011-02-01 to 2011-02-02",
        "star: nothing pending",
    ]


def test_a_backfill_passes_over_months_of_which_nothing_landed(monkeypatch):
    scopes = []
    monkeypatch.setattr(cli, "run_all", lambda _, scope: scopes.append((scope.since, scope.last)) or [IDLE])
    monkeypatch.setattr(cli.landing, "days", lambda *_: {date(2011, 3, 5)})
    assert cli.main(["backfill", "--from", "1900-01-01", "--to", "9999-12-31"]) == 0
    assert scopes == [days("2011-03-01", "2011-03-31")]
    scopes.clear()
    monkeypatch.setattr(cli.landing, "days", lambda *_: set())
    assert cli.main(["backfill", "--from", "2011-01-01", "--to", "2011-02-28"]) == 0
    assert scopes == [days("2011-01-01", "2011-02-28")]


@pytest.mark.parametrize(
    ("first", "last", "parts"),
    [
        ("2011-01-04", "2011-01-04", [("2011-01-04", "2011-01-04")]),
        ("2011-01-31", "2011-02-01", [("2011-01-31", "2011-01-31"), ("2011-02-01", "2011-02-01")]),
        (
            "2011-12-15",
            "2012-02-29",
            [("2011-12-15", "2011-12-31"), ("2012-01-01", "2012-01-31"), ("2012-02-01", "2012-02-29")],
        ),
        ("9999-11-30", "9999-12-31", [("9999-11-30", "9999-11-30"), ("9999-12-01", "9999-12-31")]),
        ("2011-02-01", "2011-01-31", []),
    ],
)
def test_days_are_cut_at_the_ends_of_months(first, last, parts):
    days = date.fromisoformat
    assert cli.months(days(first), days(last)) == [(days(a), days(b)) for a, b in parts]
