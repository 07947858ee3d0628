"""Freshness and the SLA: a Gold without Spark, whose ledger is written by hand. Times are UTC where none is named."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from small_shop import land_masters, land_sales, sale
from written_ledger import instant

from warehouse import cli, landing, monitor
from warehouse.errors import WarehouseError
from warehouse.session import Context

FACTS = {"bi.revenue_by_month"}
PRICES = {"bi.price_history"}
STAR = {
    "bi.sales_by_category",
    "bi.top_buyers_by_region",
    "shop.purchase_history",
    "shop.transaction_tracking",
}
TREND = {"bi.anomaly_trend"}
CASES = {"bi.anomaly_by_product", "bi.anomaly_by_country"}
EVERYTHING = FACTS | PRICES | STAR | TREND | CASES

WEDNESDAY = "2011-01-05"
TUESDAY = ("2011-01-04T08", "2011-01-04T12", "2011-01-04T16")


# --- The states of a day ---


def test_a_view_is_fresh_since_the_last_of_its_needs_was_there(ledger):
    ledger.good_day(WEDNESDAY, *TUESDAY)
    views = ledger.sla("2011-01-05 10:00")
    assert {name: (v["state"], v["fresh"], v["fresh_since"][11:16], v["missing"]) for name, v in views.items()} == {
        **dict.fromkeys(FACTS, ("MET", True, "06:06", None)),
        **dict.fromkeys(PRICES | STAR, ("MET", True, "06:07", None)),
        **dict.fromkeys(TREND | CASES, ("MET", True, "06:08", None)),
    }
    assert {(v["business_day"], v["deadline"], v["expected_at"]) for v in views.values()} == {
        (WEDNESDAY, "2011-01-05T10:00:00+00:00", None)
    }


def test_the_star_may_follow_later_than_detection_does(ledger):
    ledger.good_day(WEDNESDAY, *TUESDAY)
    ledger.query("update ops.etl_runs set started_at = %s, finished_at = %s where job = 'star'",
                 instant("2011-01-05 06:20"), instant("2011-01-05 06:30"))  # fmt: skip
    since = {name: view["fresh_since"][11:16] for name, view in ledger.sla("2011-01-05 10:00").items()}
    assert since == dict.fromkeys(FACTS, "06:06") | dict.fromkeys(PRICES | STAR | CASES, "06:30") | dict.fromkeys(
        TREND, "06:08"
    )


def test_before_the_deadline_what_is_not_there_is_not_due_and_after_it_missed(ledger):
    ledger.window("2011-01-04T08")
    ledger.window("2011-01-04T12")
    assert ledger.state("2011-01-05 09:59:59.999999") == "NOT_DUE"
    assert ledger.state("2011-01-05 10:00") == "MISSED"
    all_there_is = (
        "countries of 2011-01-05 not loaded; products of 2011-01-05 not loaded; window 2011-01-04T16 not loaded"
    )
    assert ledger.missing("2011-01-05 10:00") == dict.fromkeys(EVERYTHING, all_there_is) | {
        "bi.price_history": "products of 2011-01-05 not loaded"
    }


@pytest.mark.parametrize(
    ("lost", "words", "views"),
    [
        ("delete from ops.landed_files where batch_id = '2011-01-04T12'", "window 2011-01-04T12 not loaded",
         EVERYTHING - PRICES),
        ("update ops.landed_files set settled_run = null where batch_id > '2011-01-04T08'",
         "window 2011-01-04T12, 2011-01-04T16 not settled", EVERYTHING - PRICES),
        ("update ops.landed_files set status = 'REJECTED', reason = 'EMPTY' where batch_id = '2011-01-04T12'",
         "window 2011-01-04T12 rejected", EVERYTHING - PRICES),
        ("delete from ops.landed_files where path like 'products/%'", "products of 2011-01-05 not loaded", EVERYTHING),
        ("delete from ops.landed_files where path like 'countries/%'", "countries of 2011-01-05 not loaded",
         EVERYTHING - PRICES),
        ("update ops.landed_files set settled_run = null where path like 'products/%'",
         "products of 2011-01-05 not settled", EVERYTHING),
        ("delete from ops.etl_runs where job = 'gold' and started_at > '2011-01-05'",
         "Gold has not followed the products and countries", EVERYTHING - PRICES),
        ("update ops.etl_runs set status = 'FAILED' where job = 'star'", "the star schema has not followed",
         PRICES | STAR | CASES),
        ("update ops.etl_runs set status = 'KILLED' where job = 'detect'", "detection has not followed", TREND | CASES),
    ],
)  # fmt: skip
def test_what_is_missing_is_told_in_words_and_misses_the_views_that_need_it(ledger, lost, words, views):
    ledger.good_day(WEDNESDAY, *TUESDAY)
    ledger.query(lost)
    found = ledger.sla("2011-01-05 10:00")
    assert {name: (view["state"], view["missing"]) for name, view in found.items()} == {
        name: ("MISSED", words) if name in views else ("MET", None) for name in EVERYTHING
    }


def test_many_windows_are_told_by_the_first_and_the_last(ledger):
    ledger.window("2010-12-31T08")
    ledger.masters(WEDNESDAY)
    missing = ledger.missing("2011-01-05 10:00")["bi.revenue_by_month"]
    assert missing == "10 windows from 2010-12-31T12 to 2011-01-04T16 not loaded"


def test_a_star_that_ran_before_gold_followed_the_masters_has_not_followed(ledger):
    for window in TUESDAY:
        ledger.window(window)
    ledger.masters(WEDNESDAY)
    ledger.follow("2011-01-05 06:05", "star", "gold", "detect")
    assert ledger.states("2011-01-05 10:00") == dict.fromkeys(EVERYTHING, "MET") | dict.fromkeys(STAR | CASES, "MISSED")


def test_a_gold_run_that_was_under_way_when_the_masters_came_has_not_followed_them(ledger):
    for window in TUESDAY:
        ledger.window(window)
    ledger.masters(WEDNESDAY)
    ledger.run("gold", "2011-01-05 06:01", 5)
    assert ledger.missing("2011-01-05 09:00")["bi.revenue_by_month"] == (
        "Gold has not followed the products and countries"
    )
    ledger.run("gold", "2011-01-05 06:02", 5)
    assert ledger.states("2011-01-05 06:07")["bi.revenue_by_month"] == "MET"


def test_where_one_run_did_all_the_jobs_each_file_is_settled_by_the_job_that_does_it(ledger):
    """As `warehouse run` writes it: products at 06:02, transactions at 06:20, of the run that ended gold at 06:30."""
    ledger.masters(WEDNESDAY)
    run = ledger.run("ingest transactions", "2011-01-05 06:19", 1)
    ledger.run("gold", "2011-01-05 06:21", 9)
    ledger.query("update ops.etl_runs set run_id = %s", run)
    ledger.query("update ops.landed_files set settled_run = %s", run)
    ledger.file("transactions/transactions_2011-01-04T16.csv", instant("2011-01-05 06:20"), run)
    assert ledger.missing("2011-01-05 06:25")["bi.revenue_by_month"] == "window 2011-01-04T16 not settled"
    assert ledger.missing("2011-01-05 06:25")["bi.price_history"] == "the star schema has not followed"
    assert ledger.sla("2011-01-05 06:30")["bi.revenue_by_month"]["fresh_since"][11:16] == "06:30"


def test_complete_at_the_very_deadline_is_met_and_a_moment_later_missed(ledger):
    ledger.good_day(WEDNESDAY, *TUESDAY)
    ends = "update ops.etl_runs set started_at = %s, finished_at = %s where job = 'star'"
    ledger.query(ends, instant("2011-01-05 09:50"), instant("2011-01-05 10:00"))
    assert ledger.state("2011-01-05 10:00") == "MET"
    ledger.query(ends, instant("2011-01-05 09:50"), instant("2011-01-05 10:00:00.000001"))
    assert set(ledger.states("2011-01-05 11:00").values()) == {"MET", "MISSED"}
    assert ledger.states("2011-01-05 11:00")["bi.sales_by_category"] == "MISSED"


def test_complete_later_stays_missed_with_the_time_since_when_it_is_fresh(ledger):
    for window in TUESDAY:
        ledger.window(window)
    ledger.masters(WEDNESDAY, at="11:00")
    ledger.follow("2011-01-05 11:05")
    told = {name: (v["state"], v["fresh_since"][:16]) for name, v in ledger.sla("2011-01-05 12:00").items()}
    late = {
        **dict.fromkeys(FACTS, ("MISSED", "2011-01-05T11:06")),
        **dict.fromkeys(PRICES | STAR, ("MISSED", "2011-01-05T11:07")),
        **dict.fromkeys(TREND | CASES, ("MISSED", "2011-01-05T11:08")),
    }
    assert told == late
    weeks_later = ledger.sla("2011-02-01 12:00", WEDNESDAY)
    assert {name: (v["state"], v["fresh_since"][:16]) for name, v in weeks_later.items()} == late


def test_an_instant_of_the_past_is_told_what_was_known_then(ledger):
    ledger.good_day(WEDNESDAY, *TUESDAY)
    assert ledger.missing("2011-01-05 05:59") == dict.fromkeys(
        EVERYTHING, "countries of 2011-01-05 not loaded; products of 2011-01-05 not loaded"
    ) | {"bi.price_history": "products of 2011-01-05 not loaded"}
    assert ledger.missing("2011-01-05 06:01")["bi.price_history"] == "products of 2011-01-05 not settled"
    assert ledger.missing("2011-01-05 06:02")["bi.price_history"] == "the star schema has not followed"
    assert (
        ledger.missing("2011-01-05 06:05:30")["bi.revenue_by_month"]
        == "Gold has not followed the products and countries"
    )
    assert ledger.states("2011-01-05 06:06") == dict.fromkeys(EVERYTHING, "NOT_DUE") | dict.fromkeys(FACTS, "MET")
    assert ledger.state("2011-01-05 06:08") == "MET"


# --- What is usual ---


def test_what_usually_takes_too_long_is_at_risk(ledger):
    for window in TUESDAY:
        ledger.window(window)
    ledger.masters(WEDNESDAY)
    for day, minutes in (("2011-01-02", 10), ("2011-01-03", 20), ("2011-01-04", 60)):
        ledger.run("gold", f"{day} 01:00", minutes, rows=5)
        ledger.run("star", f"{day} 02:00", minutes, rows=5)
        ledger.run("detect", f"{day} 03:00", minutes, rows=5)
        ledger.run("star", f"{day} 04:00", 500)  # had nothing to do: its duration says nothing
    ledger.run("gold", "2011-01-03 05:00", 500, status="FAILED", rows=5)
    assert ledger.state("2011-01-05 09:00") == "NOT_DUE"
    assert {name: (v["state"], v["expected_at"][11:16]) for name, v in ledger.sla("2011-01-05 09:30").items()} == {
        **dict.fromkeys(FACTS, ("NOT_DUE", "09:50")),
        **dict.fromkeys(PRICES, ("NOT_DUE", "09:50")),
        **dict.fromkeys(STAR | TREND, ("AT_RISK", "10:10")),
        **dict.fromkeys(CASES, ("AT_RISK", "10:30")),
    }
    assert set(ledger.states("2011-01-05 09:40").values()) == {"NOT_DUE", "AT_RISK"}
    assert ledger.state("2011-01-05 09:40:01") == "AT_RISK"
    ledger.follow("2011-01-05 09:41")
    assert ledger.state("2011-01-05 09:45") == "MET"


def test_a_window_that_has_not_ended_is_waited_for_before_its_jobs_can_start(ledger):
    ledger.rules(deadline=time(13))  # the window that begins at 08:00 counts
    ledger.good_day(WEDNESDAY, *TUESDAY)
    ledger.run("ingest transactions", "2011-01-03 12:20", 61, rows=5)
    assert ledger.missing("2011-01-05 09:00")["bi.revenue_by_month"] == "window 2011-01-05T08 not loaded"
    assert ledger.states("2011-01-05 09:00")["bi.revenue_by_month"] == "AT_RISK"
    ledger.query(
        "update ops.etl_runs set finished_at = started_at + interval '60 minutes' where job like 'ingest tr%%'"
    )
    assert ledger.states("2011-01-05 09:00")["bi.revenue_by_month"] == "NOT_DUE"


# --- The calendar ---


@pytest.mark.parametrize(
    ("day", "friday", "deadline"),
    [
        ("2011-03-27", "2011-03-25", "09:00"),
        ("2011-10-30", "2011-10-28", "10:00"),
        ("2011-07-03", "2011-07-01", "09:00"),
    ],
)
def test_ten_o_clock_is_local_also_on_the_days_when_the_clock_changes(ledger, day, friday, deadline):
    windows = [f"{friday}T{hour}" for hour in ("08", "12", "16")]
    ledger.window(windows[0])
    due = instant(f"{day} {deadline}")
    assert ledger.state(str(due - timedelta(microseconds=1))[:26]) == "NOT_DUE"
    assert ledger.state(f"{day} {deadline}") == "MISSED"
    assert {view["deadline"] for view in ledger.sla(f"{day} 00:30").values()} == {due.isoformat()}


def test_masters_are_due_on_the_local_clock_of_the_day_before_a_change_too(ledger):
    ledger.good_day("2011-03-27", "2011-03-25T08", "2011-03-25T12", "2011-03-25T16")
    assert ledger.state("2011-03-27 09:00") == "MET"


def test_a_saturday_is_no_business_day_and_shows_how_friday_stands(ledger):
    ledger.good_day("2011-01-07", "2011-01-06T08", "2011-01-06T12", "2011-01-06T16")
    views = ledger.sla("2011-01-08 12:00")
    assert {(v["state"], v["business_day"], v["fresh"]) for v in views.values()} == {
        ("NOT_A_BUSINESS_DAY", "2011-01-07", True)
    }
    assert ledger.state("2011-01-07 23:59:59") == "MET"
    assert ledger.state("2011-01-08 00:00") == "NOT_A_BUSINESS_DAY"
    assert ledger.state("2011-01-09 00:00") == "NOT_DUE"


def test_saturdays_files_are_not_waited_for_and_do_no_harm_when_they_come(ledger):
    ledger.good_day("2011-01-09", "2011-01-07T08", "2011-01-07T12", "2011-01-07T16")
    assert ledger.state("2011-01-09 10:00") == "MET"
    ledger.window("2011-01-08T12", at="2011-01-09 09:59", settles=False)
    ledger.file("products/products_2011-01-08.csv", instant("2011-01-09 09:59"), None)
    assert ledger.state("2011-01-09 10:00") == "MET"


def test_a_holiday_is_no_business_day_and_nothing_is_expected_of_it(ledger):
    ledger.rules(holidays=(date(2011, 1, 5),))
    for window in TUESDAY:
        ledger.window(window)
    assert ledger.state("2011-01-05 12:00") == "NOT_A_BUSINESS_DAY"
    ledger.masters("2011-01-06")
    ledger.follow("2011-01-06 06:05")
    assert ledger.state("2011-01-06 10:00") == "MET"
    ledger.rules()
    assert ledger.state("2011-01-05 12:00") == "MISSED"
    assert ledger.missing("2011-01-06 10:00")["bi.revenue_by_month"] == (
        "window 2011-01-05T08, 2011-01-05T12, 2011-01-05T16 not loaded"
    )


def test_an_empty_night_is_no_problem_and_an_empty_noon_is_one(ledger):
    ledger.good_day(WEDNESDAY, "2011-01-04T08", "2011-01-04T16")
    assert ledger.missing("2011-01-05 10:00")["bi.revenue_by_month"] == "window 2011-01-04T12 not loaded"
    ledger.window("2011-01-04T12")
    ledger.window("2011-01-05T00", settles=False)
    assert ledger.state("2011-01-05 10:00") == "MET"


def test_a_header_alone_says_that_the_window_was_empty(ledger):
    ledger.good_day(WEDNESDAY, "2011-01-04T08", "2011-01-04T16")
    run = ledger.run("ingest transactions", "2011-01-04 16:20", 1)
    ledger.file("transactions/transactions_2011-01-04T12.csv", instant("2011-01-04 16:20"), run, rows=0)
    assert ledger.state("2011-01-05 10:00") == "MET"


def test_a_window_counts_that_ended_long_enough_before_the_deadline(ledger):
    ledger.rules(business_days={3: (0, 4, 8)}, lead_minutes=120)
    ledger.good_day(WEDNESDAY, "2011-01-05T00")
    assert ledger.missing("2011-01-05 10:00")["bi.revenue_by_month"] == "window 2011-01-05T04 not loaded"
    ledger.rules(business_days={3: (0, 4, 8)}, lead_minutes=121)
    assert ledger.states("2011-01-05 10:00")["bi.revenue_by_month"] == "MET"


def test_a_window_that_is_missing_for_long_is_given_up(ledger):
    for day in ("2011-01-04", "2011-01-05", "2011-01-06", "2011-01-07", "2011-01-09", "2011-01-10", "2011-01-11"):
        for hour in ("08", "12", "16"):
            ledger.window(f"{day}T{hour}")
    ledger.query("delete from ops.landed_files where batch_id = '2011-01-04T12'")
    for day in ("2011-01-11", "2011-01-12"):
        ledger.masters(day)
        ledger.follow(f"{day} 06:05")
    assert ledger.missing("2011-01-11 10:00")["bi.revenue_by_month"] == "window 2011-01-04T12 not loaded"
    assert ledger.state("2011-01-12 10:00") == "MET"


def test_east_of_utc_the_business_day_is_the_local_one_and_its_data_are_of_the_utc_date_before(ledger):
    """Monday the 10th, 10:00 in Auckland, is Sunday the 9th, 21:00 UTC."""
    ledger.rules("Pacific/Auckland")
    ledger.window("2011-01-09T08")
    ledger.window("2011-01-09T12")
    ledger.masters("2011-01-09", at="17:00")
    ledger.follow("2011-01-09 17:05")
    assert {(v["business_day"], v["state"], v["deadline"]) for v in ledger.sla("2011-01-09 21:00").values()} == {
        ("2011-01-10", "MET", "2011-01-09T21:00:00+00:00")
    }
    assert {v["business_day"] for v in ledger.sla("2011-01-09 10:59").values()} == {"2011-01-09"}
    assert {v["business_day"] for v in ledger.sla("2011-01-09 11:00").values()} == {"2011-01-10"}
    assert ledger.state("2011-01-08 02:00") == "NOT_A_BUSINESS_DAY"  # Saturday afternoon there


def test_on_a_sunday_east_of_utc_the_snapshot_of_friday_is_needed(ledger):
    """At 06:00 on Sunday in Auckland it is Saturday by UTC, of which no snapshot is expected."""
    ledger.rules("Pacific/Auckland")
    ledger.window("2011-01-07T16")
    assert ledger.missing("2011-01-08 21:00")["bi.price_history"] == "products of 2011-01-07 not loaded"


def test_west_of_utc_an_evening_deadline_takes_in_the_next_utc_date(ledger):
    """23:00 in Los Angeles is 07:00 UTC of the next date."""
    ledger.rules("America/Los_Angeles", deadline=time(23), business_days={3: (20,), 4: (0,)})
    ledger.window("2011-01-05T20")
    ledger.masters("2011-01-05", at="15:00")
    ledger.follow("2011-01-06 01:00")
    assert ledger.missing("2011-01-06 07:00")["bi.revenue_by_month"] == "window 2011-01-06T00 not loaded"
    assert {v["business_day"] for v in ledger.sla("2011-01-06 07:00").values()} == {WEDNESDAY}


# --- What comes beside and afterwards ---


def test_a_backfill_of_another_day_never_turns_today_green_nor_red(ledger):
    ledger.good_day("2011-01-04", "2011-01-03T08", "2011-01-03T12", "2011-01-03T16")
    for hour in ("08", "12", "16"):
        ledger.window(f"2010-12-29T{hour}", at="2011-01-05 09:00")
    ledger.snapshot("products", "2010-12-29", at="2011-01-05 09:00")
    ledger.snapshot("countries", "2010-12-29", at="2011-01-05 09:00")
    ledger.follow("2011-01-05 09:10")
    assert ledger.state("2011-01-05 10:00") == "MISSED"
    assert ledger.missing("2011-01-05 10:00")["bi.price_history"] == "products of 2011-01-05 not loaded"
    assert ledger.state("2011-01-04 12:00") == ledger.state("2011-01-05 10:00", "2011-01-04") == "MET"

    ledger.window("2010-12-20T12", at="2011-01-04 12:00", settles=False)
    ledger.follow("2011-01-04 12:10", "gold")
    assert ledger.state("2011-01-04 13:00") == "MET"


def test_tomorrows_files_do_not_make_up_for_todays(ledger):
    for window in TUESDAY:
        ledger.window(window)
    ledger.masters("2011-01-06", at="2011-01-05 09:00")
    ledger.follow("2011-01-05 09:05")
    assert ledger.missing("2011-01-05 10:00")["bi.price_history"] == "products of 2011-01-05 not loaded"


def test_a_second_file_of_a_window_is_waited_for_only_if_it_came_by_the_deadline(ledger):
    ledger.good_day(WEDNESDAY, *TUESDAY)
    ledger.window("2011-01-04T12", at="2011-01-05 10:00:01", settles=False, part="-late")
    assert ledger.state("2011-01-05 11:00") == "MET"
    ledger.window("2011-01-04T16", at="2011-01-05 09:59", settles=False, part="-more")
    assert ledger.states("2011-01-05 11:00") == dict.fromkeys(EVERYTHING, "MISSED") | dict.fromkeys(PRICES, "MET")
    assert ledger.missing("2011-01-05 11:00")["bi.revenue_by_month"] == "window 2011-01-04T16 not settled"


def test_a_file_that_is_replaced_in_the_afternoon_leaves_the_morning_met(ledger):
    ledger.good_day(WEDNESDAY, *TUESDAY)
    replaced = (
        "update ops.landed_files set status = 'REJECTED', reason = 'REPLACED', settled_run = null where path = %s"
    )
    ledger.query(replaced, "transactions/transactions_2011-01-04T12.csv")
    ledger.window("2011-01-04T12", at="2011-01-05 15:00", settles=False)
    ledger.query(replaced, "products/products_2011-01-05.csv")
    ledger.snapshot("products", WEDNESDAY, at="15:00")
    assert ledger.state("2011-01-05 16:00") == "MET"
    assert ledger.state("2011-01-05 16:00", "2011-01-05") == "MET"


def test_a_file_that_was_rejected_and_came_again_late_is_late(ledger):
    ledger.good_day(WEDNESDAY, "2011-01-04T08", "2011-01-04T16")
    ledger.file("transactions/transactions_2011-01-04T12.csv", instant("2011-01-04 16:20"), None, "EMPTY: no bytes")
    assert ledger.missing("2011-01-05 10:00")["bi.revenue_by_month"] == "window 2011-01-04T12 rejected"
    ledger.window("2011-01-04T12", at="2011-01-05 10:30", part="-again")
    view = ledger.sla("2011-01-05 11:00")["bi.revenue_by_month"]
    assert (view["state"], view["fresh"], view["fresh_since"][:16]) == ("MISSED", True, "2011-01-05T10:35")


def test_a_warehouse_that_holds_nothing_or_history_alone_has_no_deadline_yet(ledger):
    none = "no window has been loaded soon after it ended: the SLA begins with the first"
    assert ledger.state("2011-01-05 12:00") == "NOT_DUE"
    assert {(v["missing"], v["expected_at"]) for v in ledger.sla("2011-01-05 12:00").values()} == {(none, None)}
    ledger.window("2010-12-20T08", at="2011-01-04 12:00")
    assert ledger.state("2011-01-05 12:00") == "NOT_DUE"
    ledger.window("2011-01-04T16")
    assert ledger.state("2011-01-05 12:00") == "MISSED"
    assert ledger.missing("2011-01-05 12:00")["bi.revenue_by_month"] == (
        "countries of 2011-01-05 not loaded; products of 2011-01-05 not loaded"
    )


def test_the_days_of_a_replay_are_judged_as_if_all_had_come_when_it_was_due(ledger):
    """Loaded years later, and asked about the days that it holds."""
    for window in ("2011-01-03T16", *TUESDAY):
        ledger.window(window, at="2020-02-02 12:00")
    assert ledger.state("2011-01-05 05:00") == "NOT_DUE"
    assert ledger.state("2011-01-05 10:00") == "MISSED"
    assert ledger.missing("2011-01-05 10:00")["bi.price_history"] == "products of 2011-01-05 not loaded"
    ledger.masters(WEDNESDAY, at="2020-02-02 12:10")
    assert ledger.missing("2011-01-05 10:00")["bi.revenue_by_month"] == (
        "Gold has not followed the products and countries"
    )
    for job in ("gold", "star", "detect"):
        ledger.run(job, "2020-02-02 12:20")
    day = ledger.sla("2011-01-05 10:00")
    assert {(view["state"], view["fresh_since"]) for view in day.values()} == {("MET", "2011-01-05T06:00:00+00:00")}
    assert ledger.state("2011-01-06 10:00") == "MISSED"
    assert ledger.state("2011-01-08 12:00") == "NOT_A_BUSINESS_DAY"
    for other in ("2011-01-02 12:00", "2011-01-14 12:00", "2020-02-03 12:00"):
        assert ledger.state(other) == "NOT_DUE"
    ledger.window("2020-02-03T08")
    assert ledger.state("2011-01-05 10:00") == "NOT_DUE", "in operation, what comes late is late"


def test_what_came_first_after_the_deadline_has_no_deadline_on_that_day(ledger):
    ledger.window("2011-01-04T16", at="2011-01-05 10:30")
    assert ledger.state("2011-01-05 12:00") == "NOT_DUE"
    assert ledger.state("2011-01-06 10:00") == "MISSED"


# --- Rules, catalog, performance ---


def test_the_rules_in_gold_are_those_of_the_configuration(ledger):
    ledger.rules("Asia/Tokyo", lead_minutes=30, business_days={1: (8, 12)}, holidays=(date(2011, 12, 25),))
    rows = ledger.query("select to_jsonb(r) - 'only_row' from ops.sla_rules as r")
    assert [row for (row,) in rows] == [
        {
            "time_zone": "Asia/Tokyo",
            "deadline": "10:00:00",
            "masters_due": "06:00:00",
            "lead": "00:30:00",
            "look_back": "7 days",
            "windows": {"1": [8, 12]},
            "holidays": ["2011-12-25"],
        }
    ]


def test_rules_that_stay_as_they_were_are_not_written_again(ledger):
    version = "select xmin::text from ops.sla_rules"
    before = ledger.query(version)
    ledger.rules()
    assert ledger.query(version) == before
    ledger.rules(lead_minutes=10)
    assert ledger.query(version) != before


def test_every_view_that_shows_loaded_data_has_its_row(ledger):
    views = ledger.query(
        "select schemaname || '.' || viewname from pg_views where schemaname in ('bi', 'shop')"
        " and viewname not in ('sla_status', 'pipeline_health')"
    )
    ledger.window("2011-01-04T16")
    assert {name for (name,) in views} <= set(ledger.states("2011-01-05 10:00")) == EVERYTHING


def test_the_view_is_the_function_at_now_whatever_the_time_zone_of_the_session(ledger):
    ledger.good_day(WEDNESDAY, *TUESDAY)
    seen, judged = ledger.views("select * from bi.sla_status", "select * from ops.sla(now())")
    assert seen == judged and len(seen) == len(EVERYTHING)
    before = ledger.sla("2011-01-05 10:00")
    ledger.query("set timezone = 'Pacific/Auckland'")
    after = ledger.query("select view_name, state, fresh_since from ops.sla(%s)", instant("2011-01-05 10:00"))
    assert [(name, state, since.astimezone(UTC).isoformat()) for name, state, since in after] == [
        (name, view["state"], view["fresh_since"]) for name, view in sorted(before.items())
    ]


def test_pipeline_health_tells_runs_and_backlog_a_line_a_job(ledger):
    now = datetime.now(UTC).replace(microsecond=0)
    ago = {hours: now - timedelta(hours=hours) for hours in range(500)}
    ledger.run("gold", ago[9], 10, rows=7)
    ledger.run("gold", ago[8], 30, rows=7)
    ledger.run("gold", ago[7], 50, status="FAILED")
    ledger.query("update ops.etl_runs set detail = '{\"error\": \"no disk\"}' where status = 'FAILED'")
    ledger.file("transactions/transactions_2011-01-04T08.csv", ago[5], None)
    ledger.file("transactions/transactions_2011-01-04T12.csv", ago[4], None)
    ledger.file("transactions/transactions_2011-01-04T16.csv", ago[4], None, "EMPTY: no bytes")
    ledger.file("countries/countries_2011-01-04.csv", ago[3], None)
    ledger.file("countries/countries_2011-01-03.csv", ago[3], None, "REPLACED")
    ledger.query("insert into ops.star_feed values (%s, 'r', 5)", ago[2])
    ledger.query("insert into ops.score_feed values (%s, '2011-01-01', 5), (%s, '2011-02-01', 6)", ago[2], ago[1])
    ledger.query("insert into ops.outbox (kind, run_id, created_at) values ('alert', 'r', %s)", ago[1])
    for error_id, hours in enumerate((1, 30, 300)):
        ledger.query(
            "insert into transactions_error (error_id, reason, detail, batch_id, source_file, created_at)"
            " values (%s, 'MALFORMED', '', '', '', %s)",
            error_id, ago[hours],
        )  # fmt: skip
    ledger.query("update transactions_error set status = 'DISCARDED' where error_id = 0")
    (health,) = ledger.views("select * from bi.pipeline_health")
    never = (None,) * 12
    assert health == [
        ("ingest products", *never, "snapshots to work in", 0, None, None, None, None, None),
        ("ingest countries", *never, "snapshots to work in", 1, ago[3], None, None, None, None),
        ("ingest transactions", *never, None, None, None, 1, None, None, None),
        ("gold", "3", ago[7], "FAILED", "no disk", timedelta(minutes=50), timedelta(minutes=20),
         ago[8] + timedelta(minutes=30), 0, None, None, None, 1,
         "transaction files to settle", 2, ago[5], None, 2, 2, 1),
        ("star", *never, "settles to follow", 1, ago[2], None, None, None, None),
        ("baselines", *never, "products with a new verdict", 0, None, None, None, None, None),
        ("detect", *never, "facts to score", 11, ago[2], None, None, None, None),
        ("alerts", *never, "mails to send", 1, ago[1], None, None, None, None),
        ("maintain", *never, None, None, None, None, None, None, None),
        ("backup", *never, None, None, None, None, None, None, None),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_ledger_that_a_run_writes_makes_its_day_fresh(warehouse):
    now = datetime.now(UTC)
    today, ended = now.date(), now - timedelta(hours=4)
    window = f"{ended:%Y-%m-%d}T{ended.hour // 4 * 4:02}"
    context = warehouse.context()
    hours = {ended.isoweekday(): (ended.hour // 4 * 4,), now.isoweekday(): (ended.hour // 4 * 4,)}
    rules = replace(context.config.sla, deadline=time(23, 59), lead_minutes=1, business_days=hours)
    monitor.follow_rules(Context(replace(context.config, timezone=ZoneInfo("UTC"), sla=rules)))

    land_sales(warehouse, window, sale("T1", at=f"{ended:%Y-%m-%d %H}:00:00"))
    warehouse.run()
    judged = "select view_name, fresh, missing from ops.sla(clock_timestamp(), %s)"
    missing = {name: text for name, fresh, text in warehouse.query(judged, (today,)) if not fresh}
    assert missing == dict.fromkeys(EVERYTHING, f"countries of {today} not loaded; products of {today} not loaded") | {
        "bi.price_history": f"products of {today} not loaded"
    }
    land_masters(warehouse, str(today))
    warehouse.run()
    assert {row[1:] for row in warehouse.query(judged, (today,))} == {(True, None)}
    assert warehouse.query("select count(*) from ops.sla(clock_timestamp(), %s)", (today,)) == [(9,)]


# --- The command ---


@pytest.mark.parametrize(
    ("at", "states", "code"),
    [
        ("2011-01-05T05:00", {"NOT_DUE"}, 0),
        ("2011-01-05T09:30", {"AT_RISK", "NOT_DUE", "MET"}, 0),
        ("2011-01-05T10:00", {"MISSED", "MET"}, 1),
        ("2011-01-05T10:00+01:00", {"NOT_DUE", "MET"}, 0),
        ("2011-01-08T12:00", {"NOT_A_BUSINESS_DAY"}, 0),
    ],
)
def test_the_exit_code_is_1_where_a_view_was_missed(ledger, on_ledger, at, states, code):
    for window in TUESDAY[1:]:
        ledger.window(window)
    ledger.run("detect", "2011-01-04 01:00", 40, rows=1)
    ledger.masters(WEDNESDAY)
    ledger.follow("2011-01-05 06:05", "gold", "star")
    if "T09:30" in at:
        ledger.query("delete from ops.etl_runs where job = 'gold' and started_at > '2011-01-05'")
    said = on_ledger("sla", "--at", at, "--json")
    views = json.loads(said[1])
    assert (said[0], {view["state"] for view in views}) == (code, states), said
    assert {view["view_name"] for view in views} == EVERYTHING


def test_a_met_day_is_a_line_a_view_and_nothing_on_standard_error(ledger, on_ledger):
    ledger.good_day(WEDNESDAY, *TUESDAY)
    code, out, err = on_ledger("sla", "--at", "2011-01-05T10:00")
    assert (code, err) == (0, "")
    lines = [line.split("\t") for line in out.splitlines()]
    assert lines[0] == ["view_name", "state", "deadline", "fresh_since", "expected_at", "missing"]
    assert lines[5] == ["bi.revenue_by_month", "MET", "2011-01-05 10:00 GMT", "2011-01-05 06:06 GMT", "", ""]
    assert [line[0] for line in lines[1:]] == sorted(EVERYTHING)


def test_what_is_missed_is_said_on_standard_error_in_one_line(ledger, on_ledger):
    ledger.good_day(WEDNESDAY, *TUESDAY)
    ledger.query("delete from ops.etl_runs where job = 'detect'")
    code, _, err = on_ledger("sla")  # now, by the clock of the run
    assert code == 1
    assert err == "sla: MISSED (3 of 9 views, due 2011-01-05 10:00 GMT): detection has not followed\n"
    code, _, err = on_ledger("sla", "--at", "2011-01-05T09:59", "--json")
    assert (code, err) == (0, "")
    ledger.follow("2011-01-05 10:20", "detect")
    assert on_ledger("sla", clock="2011-01-05 11:00")[::2] == (
        1, "sla: MISSED (3 of 9 views, due 2011-01-05 10:00 GMT): fresh since 2011-01-05 10:21 GMT\n",
    )  # fmt: skip


def test_a_command_brings_the_rules_up_to_date_before_it_judges(ledger, on_ledger):
    ledger.good_day(WEDNESDAY, *TUESDAY)
    code, out, _ = on_ledger("sla", WAREHOUSE_TIMEZONE="Asia/Tokyo")
    assert code == 1 and "2011-01-05 10:00 JST" in out  # the masters came after Tokyo's deadline
    assert on_ledger("sla")[0] == 0


def test_gold_away_and_a_gold_of_another_version_are_one_line(ledger, on_ledger):
    code, out, err = on_ledger("sla", GOLD_URL="postgresql://etl:secret@127.0.0.1:1/ecommerce_gold")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "Gold (Postgres) at 127.0.0.1:1 is away" in err and "secret" not in err
    ledger.query("update ops.watermarks set snapshot_id = snapshot_id + 1 where name = 'init'")
    code, out, err = on_ledger("sla")
    ledger.query("update ops.watermarks set snapshot_id = snapshot_id - 1 where name = 'init'")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "scripts/run_setup.sh" in err


def test_status_tells_the_sla_and_its_exit_code_follows_it(ledger, on_ledger, monkeypatch):
    def away(*_: object) -> None:
        raise WarehouseError("the landing zone is away")

    monkeypatch.setattr(landing, "pending", away)
    code, out, _ = on_ledger("status")
    assert (code, out.splitlines()[-1]) == (
        0,
        "sla: NOT_DUE (9 of 9 views, due 2011-01-05 10:00 GMT):"
        " no window has been loaded soon after it ended: the SLA begins with the first",
    )
    ledger.window("2011-01-04T16")
    code, out, _ = on_ledger("status")
    assert (code, out.splitlines()[-1]) == (
        1,
        "sla: MISSED (9 of 9 views, due 2011-01-05 10:00 GMT): countries of 2011-01-05 not loaded;"
        " products of 2011-01-05 not loaded",
    )
    code, out, _ = on_ledger("status", "--json")
    assert code == 1
    assert {view["state"] for view in json.loads(out)["sla"]} == {"MISSED"}
    assert on_ledger("status", clock="2011-01-08 12:00")[0] == 0


def test_a_home_that_nobody_has_set_up_has_no_deadline_and_needs_no_spark_to_say_so(
    own_home, no_spark, monkeypatch, capsys
):
    monkeypatch.delenv("GOLD_URL", raising=False)
    monkeypatch.setenv("WAREHOUSE_HOME", str(own_home))
    own_home.parent.mkdir(exist_ok=True)
    monkeypatch.chdir(own_home.parent)
    assert cli.main(["sla", "--json", "--at", "2011-01-05T12:00"]) == 0
    assert {view["state"] for view in json.loads(capsys.readouterr().out)} == {"NOT_DUE"}


# --- A schedule that nobody keeps ---

LOST = " Is the scheduler down? Nothing is lost: the next run takes everything pending"


@pytest.mark.parametrize(
    ("job", "last", "at", "due"),
    [
        ("ingest transactions", "2011-01-05 04:20", "2011-01-05T08:44:59", None),
        ("ingest transactions", "2011-01-05 04:20", "2011-01-05T08:45", "2011-01-05 08:00 GMT"),
        ("ingest transactions", "2011-01-05 08:00", "2011-01-05T12:30", None),
        ("ingest transactions", "2011-01-04 20:20", "2011-01-05T00:50", "2011-01-05 00:00 GMT"),
        ("ingest transactions", "2011-01-05 04:20", "2011-03-28T13:00", "2011-03-28 13:00 BST"),
        ("ingest products", "2011-01-04 06:00", "2011-01-05T06:44", None),
        ("ingest products", "2011-01-04 06:00", "2011-01-05T06:45", "2011-01-05 06:00 GMT"),
        ("ingest products", "2011-01-04 05:59", "2011-01-05T00:10", "2011-01-04 06:00 GMT"),
        ("ingest countries", "2011-07-04 05:00", "2011-07-05T05:44", None),
        ("ingest countries", "2011-07-04 05:00", "2011-07-05T05:45", "2011-07-05 06:00 BST"),
    ],
)
def test_an_ingest_that_is_older_than_its_schedule_would_have_it_is_told(ledger, on_ledger, job, last, at, due):
    ledger.window("2011-01-04T04")  # the SLA has begun
    ledger.run(job, last)
    ledger.run("gold", at.replace("T", " "))
    ledger.run(job, "2011-12-01 06:00")  # what nobody knew then
    began = f"{instant(last).astimezone(ZoneInfo('Europe/London')):%Y-%m-%d %H:%M %Z}"
    told = [line for line in on_ledger("sla", "--at", at)[2].splitlines() if line.startswith("schedule")]
    assert told == ([f"schedule: {job} began last {began} and was due {due}.{LOST}"] if due else [])


def test_status_tells_each_ingest_that_is_overdue_and_leaves_the_exit_code_to_the_sla(ledger, on_ledger, monkeypatch):
    monkeypatch.setattr(landing, "pending", lambda *_: [])
    ledger.good_day(WEDNESDAY, *TUESDAY)
    ledger.run("ingest transactions", "2011-01-05 08:20", status="FAILED")  # somebody starts it
    code, out, _ = on_ledger("status")
    assert code == 0 and "schedule" not in out
    code, out, _ = on_ledger("status", clock="2011-01-05 23:00")
    began = "ingest transactions began last 2011-01-05 08:20 GMT and was due 2011-01-05 20:00 GMT"
    assert code == 0 and f"schedule: {began}.{LOST}" in out.splitlines()
    code, out, _ = on_ledger("status", "--json", clock="2011-01-06 07:00")
    assert [job["job"] for job in json.loads(out)["overdue"]] == [
        "ingest countries", "ingest products", "ingest transactions",
    ]  # fmt: skip


def test_nothing_is_overdue_of_history_that_was_loaded_at_once_or_before_the_first_run(ledger, on_ledger):
    for window in TUESDAY:
        ledger.window(window, at="2012-01-01 10:00")
    ledger.run("ingest transactions", "2012-01-01 10:00")
    assert "schedule" not in on_ledger("sla", clock="2012-02-01 10:00")[2]
    ledger.window("2011-12-30T08", at="2012-01-07 10:00")  # a Saturday, whose business day looks back to then
    assert "schedule" not in on_ledger("sla", clock="2012-01-07 18:00")[2]
    ledger.window("2012-01-31T08")
    assert "schedule" in on_ledger("sla", clock="2012-02-01 10:00")[2]
    ledger.query("delete from ops.etl_runs where job = 'ingest transactions'")
    assert "schedule" not in on_ledger("sla", clock="2012-02-01 10:00")[2]
