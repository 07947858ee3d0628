"""Baselines, detection and verdicts, from landing files to cases."""

import json
import re
import shlex
import statistics
from datetime import UTC, datetime

import psycopg2
import pytest
from harness import COUNTRIES, PRODUCTS, TRANSACTIONS, Warehouse

from jobs import build_star_schema, detect_anomalies, refresh_baselines
from warehouse import cli
from warehouse.errors import UsageError
from warehouse.session import Context, SimulatedCrash

pytestmark = pytest.mark.slow

CASES = "select transaction_id, median_qty, std_deviation, z_score, tier, status from anomalies order by transaction_id"
CURRENT = (
    "select stock_code, median_qty, std_deviation, order_count, period_start::text, period_end::text"
    " from product_baselines where is_current"
)


def land_masters(warehouse: Warehouse, price: str = "2", day: str = "2011-01-01") -> None:
    warehouse.land(f"products/products_{day}.csv", [f"A,Mug,Home,{price},5", "B,Plate,Home,4,5"], PRODUCTS)
    warehouse.land(f"countries/countries_{day}.csv", ["GB,United Kingdom,Europe,54,-2"], COUNTRIES)


def sell(warehouse: Warehouse, window: str, *quantities: int, code: str = "A", mark: str = "") -> None:
    day, hour = window.split("T")
    lines = [
        f"{window}{mark}{n:03},O{window}{n:03},{code},{quantity},{day} {hour}:{n % 60:02}:00,C1,GB"
        for n, quantity in enumerate(quantities)
    ]
    warehouse.land(f"transactions/transactions_{window}{mark}.csv", lines, TRANSACTIONS)


HISTORY = [1, 2, 3, 4] * 6


def load_a_month(warehouse: Warehouse) -> None:
    land_masters(warehouse)
    sell(warehouse, "2011-01-10T08", *HISTORY)
    sell(warehouse, "2011-01-11T08", *[5] * 8, code="B")
    warehouse.load()


@pytest.fixture
def shop(warehouse: Warehouse) -> Warehouse:
    """A month of small orders of A, and a few of B: in Gold, not scored yet."""
    return warehouse.prepared(load_a_month)


def test_a_new_month_is_judged_by_the_months_before_it(shop):
    sell(shop, "2011-02-01T08", 3, 500, -500)
    said = {outcome.job: outcome.line for outcome in shop.run()}
    assert said["detect"] == "34 scored, 1 anomaly (1 critical); 1 baseline refreshed"
    deviation = statistics.stdev(HISTORY)
    [(key, median, std, z, tier, status)] = shop.query(CASES)
    assert (key, median, tier, status) == ("2011-02-01T08001", 2, "critical", "NEW")
    assert std == pytest.approx(deviation) and z == pytest.approx((500 - 2) / deviation)
    assert [row[:2] + row[3:] for row in shop.query(CURRENT)] == [
        ("A", 2, 24, "2010-02-01 00:00:00", "2011-02-01 00:00:00"),
    ]


def test_one_run_over_months_judges_as_a_run_each_month_does(shop, home, tmp_path):
    monthly = shop
    windows = {"2011-02-01T08": [3, 500], "2011-03-01T08": [400, 2], "2011-04-02T12": [9, 600]}
    monthly.run()
    for window, quantities in windows.items():
        sell(monthly, window, *quantities)
        monthly.run()
    step_by_step = monthly.query(CASES)
    assert len(step_by_step) >= 3
    monthly.reset()
    monthly.run()
    assert monthly.query(CASES) == step_by_step


def test_what_was_flagged_stays_out_of_later_baselines_until_it_is_a_false_positive(shop):
    sell(shop, "2011-02-01T08", 3, 500)
    shop.run()
    sell(shop, "2011-03-01T08", 500)
    shop.run()
    [first, second] = shop.query(CASES)
    assert first[2] == pytest.approx(second[2], rel=0.1), "500 would have lifted the deviation"
    before = shop.query(CURRENT)

    [(case,)] = shop.query("select anomaly_id from anomalies where transaction_id = '2011-02-01T08001'")
    review(shop, case, "FALSE_POSITIVE", "a wholesaler")
    said = {outcome.job: outcome.line for outcome in shop.run()}
    assert said["detect"] == "0 scored, 0 anomalies; 1 baseline refreshed"
    [after] = [row for row in shop.query(CURRENT) if row[0] == "A"]
    assert after[3] == before[0][3] + 1 and after[2] > 10 * before[0][2]

    review(shop, case, "REVIEWED")
    shop.run()
    assert shop.query(CURRENT) == before
    versions = "select count(*) from product_baselines where stock_code = 'A'"
    assert shop.query(versions) == [(4,)]


def test_a_date_far_ahead_keeps_nobody_from_being_judged(shop):
    """A sale of which a clock was wrong; a file that was refused; one whose window is yet to come."""
    ahead = "AHEAD,O,A,2,2101-02-01 10:00:00,C1,GB"
    shop.land("transactions/transactions_2011-02-01T08.csv", [ahead], TRANSACTIONS)
    shop.land("transactions/transactions_2101-01-31T08.csv", "nothing,here\n1,2\n")
    shop.run()
    assert [row[-1] for row in shop.query(CURRENT)] == ["2011-02-01 00:00:00"]
    assert shop.job(refresh_baselines.run).line == "1 baseline by sales before 2011-02-01 12:00"
    sell(shop, "2011-02-28T08", 500)
    sell(shop, "2011-03-01T08", 400)
    shop.run()
    assert [row[0][:10] for row in shop.query(CASES)] == ["2011-02-28", "2011-03-01"]
    assert [row[-1] for row in shop.query(CURRENT)] == ["2011-03-01 00:00:00"]

    sell(shop, "2101-01-31T08", 2)
    shop.load()
    end = refresh_baselines.newest_end(shop.context())
    assert end is not None and end <= datetime.now(UTC)


def test_a_verdict_that_is_given_while_baselines_are_made_counts_in_the_next(shop, monkeypatch):
    sell(shop, "2011-01-12T08", *HISTORY, code="B")
    sell(shop, "2011-02-01T08", 500)
    sell(shop, "2011-02-01T12", 500, code="B")
    shop.run()
    (of_a,), (of_b,) = shop.query("select anomaly_id from anomalies order by stock_code")
    stage, reviews = refresh_baselines.gold.stage, []

    def meanwhile(*arguments):
        """A verdict once the sales are read."""
        rows = stage(*arguments)
        if reviews:
            review(shop, *reviews.pop())
        return rows

    monkeypatch.setattr(refresh_baselines.gold, "stage", meanwhile)
    orders = "select stock_code, order_count from product_baselines where is_current order by 1"
    review(shop, of_a, "FALSE_POSITIVE", "wholesale")
    reviews.append((of_b, "FALSE_POSITIVE", "wholesale"))
    shop.job(refresh_baselines.run)
    assert shop.query(orders) == [("A", 25), ("B", 32)]
    reviews.append((of_a, "REVIEWED", "or not"))
    shop.job(detect_anomalies.run)
    assert shop.query(orders) == [("A", 25), ("B", 33)]
    shop.job(detect_anomalies.run)
    assert shop.query(orders) == [("A", 24), ("B", 33)] and shop.query("select from ops.baseline_due") == []


def test_a_sale_that_went_and_came_back_is_no_second_case(shop):
    for lines in ((3, 500), (3,), (3, 500), (3, 600)):
        sell(shop, "2011-02-01T08", *lines)
        shop.run(replace=True)
    assert shop.query("select quantity from anomalies order by anomaly_id") == [(500,), (600,)]


def test_a_sale_is_scored_once_whatever_becomes_of_its_price(shop):
    sell(shop, "2011-02-01T08", 500)
    shop.run()
    land_masters(shop, "3", "2011-01-31")
    said = {outcome.job: outcome.line for outcome in shop.run()}
    assert "1 repriced" in said["gold"] and said["detect"] == "0 scored, 0 anomalies"
    assert len(shop.query(CASES)) == 1
    assert shop.query("select * from ops.score_known") == shop.query("select * from ops.score_feed") == []


def test_a_sale_that_is_repriced_before_it_was_scored_is_scored(shop):
    shop.run()
    sell(shop, "2011-02-01T08", 500)
    for job in ("ingest_transactions", "postgres_load_fact"):
        run_job(shop, job)
    land_masters(shop, "3", "2011-01-31")
    shop.run()
    assert [row[0] for row in shop.query(CASES)] == ["2011-02-01T08000"]


def test_a_run_that_is_killed_before_it_has_scored_scores_next_time(shop):
    sell(shop, "2011-02-01T08", 500)
    with pytest.raises(SimulatedCrash):
        shop.run(failpoint="after-gold-commit:raise")
    shop.run()
    assert len(shop.query(CASES)) == 1
    shop.job(build_star_schema.run)
    assert shop.job(detect_anomalies.run).line == "nothing pending"


def test_baselines_on_demand_take_all_sales_until_now(shop):
    sell(shop, "2011-02-01T08", 3, 2)
    shop.run()
    assert shop.job(refresh_baselines.run).line == "1 baseline by sales before 2011-02-01 12:00"
    assert [row[3:] for row in shop.query(CURRENT)] == [(26, "2010-02-01 12:00:00", "2011-02-01 12:00:00")]


def test_a_shop_with_too_few_sales_for_a_baseline_is_judged_without_spark(warehouse, no_spark):
    land_masters(warehouse)
    sell(warehouse, "2011-01-10T08", *[1] * 18, 500)
    warehouse.load()
    context = Context(warehouse.config)
    assert detect_anomalies.run(context).line == "19 scored, 0 anomalies"
    assert refresh_baselines.run(context).line == "0 baselines by sales before 2011-01-10 12:00"
    context.close()
    assert warehouse.query("select count(*) from ops.score_feed") == [(0,)]

    sell(warehouse, "2011-01-10T12", 2, 1)
    warehouse.load()
    assert warehouse.job(refresh_baselines.run).line == "1 baseline by sales before 2011-01-10 16:00"
    assert warehouse.job(detect_anomalies.run).line == "2 scored, 0 anomalies"


def test_critical_and_warning_cases_wait_in_the_outbox_and_notices_do_not(shop):
    sell(shop, "2011-02-01T08", 5, 7, 500)
    shop.run()
    assert shop.query("select tier, mail_id is not null from anomalies order by quantity") == [
        ("notice", False),
        ("warning", True),
        ("critical", True),
    ]
    assert shop.query("select kind from ops.outbox") == [("alert",)]


def review(warehouse: Warehouse, case: int, status: str, notes: str | None = None) -> None:
    connection = warehouse.context().connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("select review_anomaly(%s, %s, %s)", (case, status, notes))
    connection.close()


def test_verdicts_follow_their_order_with_notes_and_leave_an_audit(shop):
    sell(shop, "2011-02-01T08", 500)
    shop.run()
    [(case,)] = shop.query("select anomaly_id from anomalies")
    for status, notes, complaint in [
        ("FALSE_POSITIVE", None, "a note is required"),
        ("RESOLVED", "  ", "a note is required"),
        ("CLOSED", "x", "cannot become CLOSED"),
        ("NEW", None, "cannot become NEW"),
    ]:
        with pytest.raises(psycopg2.Error, match=complaint):
            review(shop, case, status, notes)
    with pytest.raises(psycopg2.Error, match="there is no case -1"):
        review(shop, -1, "REVIEWED")
    review(shop, case, "REVIEWED")
    review(shop, case, "RESOLVED", "typed twice")
    review(shop, case, "REVIEWED", "once more")
    assert shop.query("select from_status, to_status, notes from anomaly_audit order by audit_id") == [
        ("NEW", "REVIEWED", None),
        ("REVIEWED", "RESOLVED", "typed twice"),
        ("RESOLVED", "REVIEWED", "once more"),
    ]


def test_cases_are_listed_shown_and_judged_on_the_command_line(shop, capsys):
    sell(shop, "2011-02-01T08", 500, 5, 7)
    shop.run()
    context = shop.context()

    def said(command: str) -> str:
        options = cli._parser().parse_args(["anomalies", *shlex.split(command)])
        assert options.act(context, options) == 0
        return capsys.readouterr().out

    rows = json.loads(said("list --json"))
    assert [(row["tier"], row["order_id"]) for row in rows] == [
        ("critical", "O2011-02-01T08000"),
        ("warning", "O2011-02-01T08002"),
        ("notice", "O2011-02-01T08001"),
    ]
    assert len(said("list --limit 1").splitlines()) == 2 and len(said("list --tier notice").splitlines()) == 2
    case = rows[0]["anomaly_id"]
    assert said(f"review {case} reviewed") == f"case {case} is REVIEWED\n"
    assert json.loads(said(f"review {case} FALSE_POSITIVE --notes 'a wholesaler' --json")) == [
        {"anomaly_id": case, "status": "FALSE_POSITIVE"}
    ]
    assert [row["anomaly_id"] for row in json.loads(said("list --status false_positive --json"))] == [case]
    shown = json.loads(said(f"show {case} --json"))
    assert [(change["from_status"], change["to_status"]) for change in shown["changes"]] == [
        ("NEW", "REVIEWED"),
        ("REVIEWED", "FALSE_POSITIVE"),
    ]
    assert "\nexplanation: 500 units of Mug; typical of the product" in said(f"show {case}")
    for command, complaint in [
        (f"review {case} RESOLVED", f"a note is required: why is case {case} RESOLVED?"),
        ("review 4711 REVIEWED", "there is no case 4711"),
        ("show 4711", "there is no case 4711"),
    ]:
        with pytest.raises(UsageError, match=re.escape(complaint)):
            said(command)
    context.close()


def run_job(warehouse: Warehouse, name: str) -> None:
    from importlib import import_module

    from warehouse.landing import Scope

    warehouse.job(import_module(f"jobs.{name}").run, Scope())
