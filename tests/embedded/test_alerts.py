"""Mails to the stewards, against a real mail server: each case told once, whatever the server does."""

import email
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from harness import Warehouse, ordered
from mail_server import PASSWORD, USER, MailServer, hang_up
from test_cases import HISTORY, land_masters, review, sell

from jobs import maintain, send_alerts
from warehouse import alerts, monitor
from warehouse.ledger import Outcome
from warehouse.session import SimulatedCrash

ANNA, BERT = "anna@shop.example", "bert@shop.example"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MailServer]:
    server = MailServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def shop(warehouse: Warehouse, server: MailServer) -> Warehouse:
    """An empty warehouse whose stewards have a mail server."""
    with_mail(warehouse, host="127.0.0.1", port=server.port, ca_file=str(server.ca_file))
    return warehouse


def with_mail(warehouse: Warehouse, **changes: Any) -> None:
    settings = {"user": USER, "password": PASSWORD, "sender": "robot@shop.example", "recipients": (ANNA, BERT)}
    settings |= {"tls": "starttls", "retry_seconds": (0.1, 0.1)}
    warehouse.config = replace(warehouse.config, mail=replace(warehouse.config.mail, **(settings | changes)))


def tell(
    warehouse: Warehouse, *quantities: int, description: str = "Mug", run: str = "r1", one_order: str = ""
) -> None:
    """Cases of a run with the mail that is to tell them, as detection leaves them."""
    connection = warehouse.context().connect()
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "insert into product_baselines (stock_code, median_qty, std_deviation, order_count, period_start,"
            " period_end, method, level, p99_qty) values ('A', 2, 1.5, 30, '2010-02-01', '2011-02-01', 'zscore',"
            " 'product', 5) on conflict do nothing"
        )
        cursor.execute(
            "insert into dim_products (product_sk, stock_code, description, unit_price, effective_date, is_current)"
            " values (1, 'A', %s, 2, '2011-01-01', true) on conflict do nothing",
            (description,),
        )
        cursor.execute("create table staging.x as select * from anomalies limit 0; create table staging.x_parts ()")
        for n, quantity in enumerate(quantities):
            cursor.execute(
                "insert into staging.x (transaction_id, order_id, stock_code, quantity, country_id, invoice_date,"
                " baseline_id, median_qty, std_deviation, z_score, tier) select %s, %s, 'A', %s, 'GB',"
                " '2011-02-01 10:00', baseline_id, 2, 1.5, %s, 'critical' from product_baselines",
                (f"{run}T{n}", one_order or f"O{n}", quantity, (quantity - 2) / 1.5),
            )
        cursor.execute("call ops.open_cases('x', %s, '2011-02-01')", (run,))
    connection.close()


def send(warehouse: Warehouse, **changes: Any) -> Outcome:
    return warehouse.job(send_alerts.run, **changes)


def delayed(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.query("select attempts, last_error from ops.outbox where sent_at is null order by mail_id")


@pytest.mark.slow
def test_a_new_case_is_told_in_the_run_that_finds_it_and_never_again(shop: Warehouse, server: MailServer) -> None:
    land_masters(shop)
    sell(shop, "2011-01-10T08", *HISTORY)
    sell(shop, "2011-02-01T08", 7, 500, 5)
    outcomes = shop.run()
    assert (outcomes[-1].job, outcomes[-1].line, outcomes[-1].exit_code) == ("alerts", "1 mail sent", 0)
    [mail] = server.taken
    assert ordered([(address,) for address in server.reached]) == [(ANNA,), (BERT,)]
    assert mail["To"] == f"{ANNA}, {BERT}" and mail["From"] == "Warehouse <robot@shop.example>"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d: 2 unusual order lines, the worst 500 × Mug", mail["Subject"])
    explained = (
        "500 units of Mug; typical of the product since 2010-02-01: 2, 99 % of orders up to 4;"
        " 436.0 deviations above; not cancelled"
    )
    for kind in ("plain", "html"):
        body = mail.get_body((kind,))
        assert body is not None and explained in body.get_content()
    untold = "select count(*) from anomalies where (alerted_at is null) <> (tier = 'notice')"
    assert shop.query(untold) == [(0,)]
    assert [outcome.line for outcome in shop.run()][-2:] == ["nothing pending"] * 2
    assert len(server.taken) == 1


def test_the_worst_comes_first_with_the_lines_of_an_order_together_and_all_are_counted(
    shop: Warehouse, server: MailServer
) -> None:
    tell(shop, *range(100, 140))
    tell(shop, 900, 50, run="r2", one_order="BIG")
    assert send(shop).line == "2 mails sent"
    many, big = server.taken
    body = many.get_body(("plain",))
    assert body is not None
    told = [int(units) for units in re.findall(r"(\d+) units of", body.get_content())]
    assert told == list(range(139, 114, -1))
    assert "40 unusual order lines" in many["Subject"] and "15 more orders, less far out" in body.get_content()
    body = big.get_body(("plain",))
    assert body is not None and body.get_content().count("Order BIG") == 1
    assert [int(units) for units in re.findall(r"(\d+) units of", body.get_content())] == [900, 50]


def test_text_of_data_stays_text_in_headers_and_bodies(shop: Warehouse, server: MailServer) -> None:
    tell(shop, 500, description="<b>Mug</b>\r\nBcc: eve@evil.example\r\n\r\nhello {{ 7 * 7 }} é")
    send(shop)
    [mail] = server.taken
    assert mail["Bcc"] is None and "eve@evil.example" not in server.reached
    assert mail["Subject"].endswith("500 × <b>Mug</b> Bcc: eve@evil.example hello {{ 7 * 7 }} é")
    plain, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None and html is not None
    assert "500 units of <b>Mug</b> Bcc: eve@evil.example hello {{ 7 * 7 }} é" in plain.get_content()
    assert "&lt;b&gt;Mug&lt;/b&gt;" in html.get_content() and "<b>Mug" not in html.get_content()
    assert "{{ 7 * 7 }}" in html.get_content() and "<style" not in html.get_content()


def test_a_refused_login_delays_the_mail_and_is_told(shop: Warehouse, server: MailServer) -> None:
    tell(shop, 500)
    with_mail(shop, password="wrong")
    outcome = send(shop)
    assert outcome.exit_code == 3
    assert outcome.line.startswith(f"no mail sent, 1 delayed: 127.0.0.1:{server.port}: 535 ")
    [(attempts, error)] = delayed(shop)
    assert attempts == 1 and error.endswith("535 5.7.8 Authentication credentials invalid")
    assert "wrong" not in error and shop.query("select count(*) from anomalies where alerted_at is null") == [(1,)]
    with_mail(shop)
    assert send(shop).line == "1 mail sent" and len(server.taken) == 1


def test_a_refused_recipient_gets_it_later_and_the_others_once(shop: Warehouse, server: MailServer) -> None:
    tell(shop, 500)
    server.refuses = {BERT}
    outcome = send(shop)
    assert outcome.exit_code == 3
    assert outcome.line.endswith(f"refused {BERT}: 550 no such  mailbox")
    assert server.reached == [ANNA] and len(delayed(shop)) == 1
    send(shop)
    assert server.reached == [ANNA]
    server.refuses = set()
    assert send(shop).exit_code == 0
    assert server.reached == [ANNA, BERT] and delayed(shop) == []


def test_a_connection_that_drops_after_the_data_is_tried_again_with_the_same_id(
    shop: Warehouse, server: MailServer
) -> None:
    tell(shop, 500)
    server.before_data = hang_up
    outcome = send(shop)
    assert outcome.exit_code == 3 and [attempts for attempts, _ in delayed(shop)] == [3]
    seen: list[str] = []

    def drops_once(server_side: SMTP) -> str | None:
        seen.append(re.findall(rb"(?im)^message-id: (.*?)\r?$", server_side.envelope.content or b"")[0].decode())
        return hang_up(server_side) if len(seen) == 1 else None

    server.before_data = drops_once
    assert send(shop).line == "1 mail sent"
    assert len(seen) == 2 and seen[0] == seen[1] == server.taken[0]["Message-ID"] and len(server.taken) == 1


def test_a_server_that_is_away_for_two_runs_delays_and_loses_nothing(shop: Warehouse, server: MailServer) -> None:
    tell(shop, 500)
    server.stop()
    for _ in range(2):
        outcome = send(shop)
        assert outcome.exit_code == 3 and "Connection refused" in outcome.line
    assert [attempts for attempts, _ in delayed(shop)] == [6]
    assert monitor.status(shop.context())["backlog"]["mails_delayed"] == 1
    again = MailServer(server.ca_file.parent)
    with_mail(shop, port=again.port)
    assert (send(shop).line, send(shop).line) == ("1 mail sent", "nothing pending")
    again.stop()
    assert len(again.taken) == 1


def test_a_run_that_dies_when_the_mail_is_taken_sends_the_same_mail_again(shop: Warehouse, server: MailServer) -> None:
    tell(shop, 500)
    with pytest.raises(SimulatedCrash):
        send(shop, failpoint="before-alert-commit:raise")
    send(shop)
    first, second = server.taken
    assert first["Message-ID"] == second["Message-ID"], "what reads the mails shows one"


def test_a_case_that_a_steward_is_at_does_not_undo_what_is_known_of_a_mail(shop: Warehouse, server: MailServer) -> None:
    tell(shop, 500)
    with closing(shop.context().connect()) as steward, ThreadPoolExecutor() as other:
        steward.cursor().execute("select from anomalies for update")
        sending = other.submit(send, shop)
        until = time.monotonic() + 60
        while not (sent := shop.query("select from ops.outbox where sent_at is not null")) and time.monotonic() < until:
            time.sleep(0.05)
        steward.rollback()
        assert sending.result().line == "1 mail sent"
    assert len(sent) == len(server.taken) == 1
    assert shop.query("select count(*) from anomalies where alerted_at is null") == [(0,)]


def test_what_is_in_the_data_begins_no_line_of_its_own(shop: Warehouse) -> None:
    at = datetime(2011, 1, 1, tzinfo=UTC)
    case = alerts.Case(1, "O1", "C1\nOrder 99", "GB", at, 5, "Mug", "critical", 9.0, "far out")
    mail = alerts.alert(shop.config.mail, 1, at, [case])
    plain = mail.get_body(("plain",))
    assert plain is not None and "Order O1, customer C1 Order 99, GB" in plain.get_content()


def test_a_server_whose_certificate_nobody_trusts_gets_no_password(shop: Warehouse, server: MailServer) -> None:
    tell(shop, 500)
    with_mail(shop, ca_file=None)
    assert "certificate verify failed" in send(shop).line
    assert [attempts for attempts, _ in delayed(shop)] == [1] and server.taken == []


def test_a_mail_that_another_run_is_sending_is_left_to_it_and_new_cases_begin_another(
    shop: Warehouse, server: MailServer
) -> None:
    tell(shop, 500)
    other = shop.context().connect()
    with other.cursor() as cursor:
        cursor.execute("select from ops.outbox for update")
        assert send(shop).line == "nothing pending"
        tell(shop, 600)
    other.close()
    assert shop.query("select count(distinct mail_id), count(*) from anomalies") == [(2, 2)]
    tell(shop, 700)
    assert send(shop).line == "2 mails sent"
    assert sorted(mail["Subject"].partition(": ")[2] for mail in server.taken) == [
        "1 unusual order line, the worst 500 × Mug",
        "2 unusual order lines, the worst 700 × Mug",
    ]


def test_without_a_server_mails_are_files_in_the_outbox(warehouse: Warehouse) -> None:
    with_mail(warehouse, host=None)
    tell(warehouse, 500)
    folder = warehouse.config.home / "outbox"
    before = set(folder.glob("*"))
    assert send(warehouse).line == "1 mail sent"
    [file] = set(folder.glob("*")) - before
    assert email.message_from_bytes(file.read_bytes())["To"] == f"{ANNA}, {BERT}" and file.suffix == ".eml"


def test_a_digest_a_week_tells_what_is_open_by_age(shop: Warehouse, server: MailServer) -> None:
    tell(shop, 500, 600)
    send(shop)
    with_mail(shop, digest=0)
    monday = datetime(2026, 11, 23, 10, tzinfo=UTC)

    def at(instant: datetime) -> str:
        context = shop.context()
        context.clock = lambda: instant
        try:
            return send_alerts.run(context).line
        finally:
            context.close()

    said = [at(monday + timedelta(days=days)) for days in (0, 1, 6, 7)]
    assert said == ["1 mail sent", "nothing pending", "nothing pending", "1 mail sent"]
    [_, first, second] = server.taken
    body = first.get_body(("plain",))
    assert (
        body is not None and "cases, critical: 2 up to 7, 0 up to 30, 0 older; the oldest since" in body.get_content()
    )
    assert first["Subject"].endswith("2 open cases and errors") and first["Message-ID"] != second["Message-ID"]


@pytest.mark.slow
def test_cases_that_were_resolved_a_quarter_ago_are_archived_and_can_be_opened_again(
    shop: Warehouse, server: MailServer
) -> None:
    tell(shop, 500, 600, 700)
    send(shop)
    for number in (1, 2):
        review(shop, number, "RESOLVED", "ordered by telephone")
    age = "update anomalies set reviewed_at = reviewed_at - interval '100 days' where anomaly_id = 1"
    connection = shop.context().connect()
    with connection, connection.cursor() as cursor:
        cursor.execute(age)
    connection.close()
    assert shop.job(maintain.run).line.endswith("1 resolved case archived")
    assert shop.query("select anomaly_id from anomalies order by 1") == [(2,), (3,)]
    archived = "select anomaly_id, status, archived_at is not null from anomaly_cases order by 1"
    assert shop.query(archived) == [(1, "RESOLVED", True), (2, "RESOLVED", False), (3, "NEW", False)]
    review(shop, 1, "FALSE_POSITIVE", "a wholesaler")
    assert shop.query("select count(*) from anomalies_archive") == [(0,)]
    assert shop.query("select status, archived_at from anomaly_cases where anomaly_id = 1") == [
        ("FALSE_POSITIVE", None)
    ]


def test_what_is_pending_is_told_and_nothing_is_sent(shop: Warehouse, server: MailServer) -> None:
    now = datetime(2011, 2, 2, 12, tzinfo=UTC)

    def pending(**changes: Any) -> str:
        outbox = shop.query("select * from ops.outbox order by mail_id")
        outcome = shop.job(lambda context: send_alerts.pending(replace(context, clock=lambda: now)), **changes)
        assert outcome.exit_code == 0
        assert shop.query("select * from ops.outbox order by mail_id") == outbox
        return outcome.line

    weekly = {"mail": replace(shop.config.mail, digest=0)}  # Mondays
    assert pending() == "nothing pending"
    assert pending(**weekly) == "the digest of 2011-01-31 to write"
    tell(shop, 900, 50)
    tell(shop, 70, run="r2")
    assert pending() == "2 mails pending (3 cases to tell)"
    assert server.taken == []
    away = replace(shop.config.mail, port=1, retry_seconds=())
    send(shop, mail=away)
    assert re.fullmatch(r"2 mails pending \(3 cases to tell, 2 delayed: 127.0.0.1:1: .*refused\)", pending())
    assert send(shop).line == "2 mails sent"
    assert pending() == "nothing pending"
    send(shop, **weekly)
    written = shop.query("select run_id from ops.outbox where kind = 'digest'")
    now = datetime.fromisoformat(written[0][0].removeprefix("digest of ")).replace(tzinfo=UTC) + timedelta(days=6)
    assert pending(**weekly) == "nothing pending"
    now += timedelta(days=1)
    assert pending(**weekly).startswith("the digest of ")
