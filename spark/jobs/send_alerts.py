"""Tell the stewards of new cases by mail: each mail once to each of them, whatever the mail server does."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from email.message import EmailMessage

from warehouse import alerts, ledger
from warehouse.ledger import NOTHING, Outcome, counted
from warehouse.session import Context

CASES = """
select anomaly_id, order_id, customer_id, country_id, invoice_date, quantity,
    coalesce(description, stock_code) as description, tier, z_score, explanation
from anomaly_cases where mail_id = %s
"""
PENDING = """
select
    count(*), (
        select count(*) from anomalies as a inner join ops.outbox as o on a.mail_id = o.mail_id where o.sent_at is null
    ), count(*) filter (where m.attempts > 0), (array_agg(m.last_error) filter (where m.attempts > 0))[1],
    exists (select from ops.outbox where kind = 'digest' and run_id = %s)
from ops.outbox as m where m.sent_at is null
"""
BY_AGE = """
select
    subject, count(*) filter (where since >= %(now)s - interval '7 days'),
    count(*) filter (where since < %(now)s - interval '7 days' and since >= %(now)s - interval '30 days'),
    count(*) filter (where since < %(now)s - interval '30 days'), min(since)
from (
    select 'cases, ' || tier as subject, created_at as since from anomalies where status in ('NEW', 'REVIEWED')
    union all
    select 'errors, ' || reason, created_at from transactions_error where status = 'OPEN'
) as opened
group by subject order by subject
"""


def run(context: Context) -> Outcome:
    with ledger.job(context, "alerts") as outcome:
        _write_digest(context)
        sent, delayed = 0, []
        for mail_id in _unsent(context):
            result = _send(context, mail_id)
            sent += result.problem == ""
            delayed += [result.problem] if result.problem else []
        _note_told(context)
        outcome.numbers |= {"sent": sent, "delayed": len(delayed)}
        outcome.delayed = len(delayed)
        if sent or delayed:
            outcome.line = f"{counted(sent, 'mail')} sent" if sent else "no mail sent"
        if delayed:
            outcome.line += f", {len(delayed)} delayed: {delayed[0]}"
    return outcome


def pending(context: Context) -> Outcome:
    day = _digest_day(context)
    with context.gold.cursor() as cursor:
        cursor.execute(PENDING, (f"digest of {day}",))
        mails, cases, delayed, problem, digest_written = cursor.fetchone() or (0, 0, 0, None, False)
    digest = day is not None and not digest_written
    told = []
    if mails:
        told.append(f"{counted(mails, 'mail')} pending ({counted(cases, 'case')} to tell")
        told[-1] += f", {delayed} delayed: {problem})" if delayed else ")"
    if digest:
        told.append(f"the digest of {day} to write")
    numbers = {"mails": mails, "cases": cases, "delayed": delayed, "digest": digest}
    return Outcome("alerts", "; ".join(told) or NOTHING, numbers=numbers)


def _digest_day(context: Context) -> date | None:
    """The newest day of the week that the settings name for digests; None for no digests."""
    if context.config.mail.digest is None:
        return None
    today = context.clock().astimezone(context.config.timezone).date()
    return today - timedelta(days=(today.weekday() - context.config.mail.digest) % 7)


def _write_digest(context: Context) -> None:
    """Once a week, from the day that the settings name, a mail about what is still open."""
    day = _digest_day(context)
    if day is None:
        return
    with context.gold.cursor() as cursor:
        cursor.execute(
            "insert into ops.outbox (kind, run_id) values ('digest', %s)"
            " on conflict (run_id) where kind = 'digest' do nothing",
            (f"digest of {day}",),
        )
    context.gold.commit()


def _unsent(context: Context) -> list[int]:
    with context.gold.cursor() as cursor:
        cursor.execute("select mail_id from ops.outbox where sent_at is null order by mail_id")
        return [mail_id for (mail_id,) in cursor]


@dataclass(frozen=True)
class Result:
    """How an attempt ended: `problem` is None where there was nothing to do, empty where all were reached."""

    problem: str | None
    reached: Sequence[str] = ()
    again: bool = False


def _send(context: Context, mail_id: int) -> Result:
    """Send one mail to whom it has not reached, with some patience."""
    waits = [*context.config.mail.retry_seconds, None]
    for wait in waits:
        result = _try(context, mail_id)
        context.failpoint("before-alert-commit")
        if result.problem is not None:
            _note(context, mail_id, result)
        context.gold.commit()
        if not result.again or wait is None:
            break
        time.sleep(wait)
    return result


def _note(context: Context, mail_id: int, result: Result) -> None:
    with context.gold.cursor() as cursor:
        for recipient in result.reached:
            cursor.execute("insert into ops.deliveries (mail_id, recipient) values (%s, %s)", (mail_id, recipient))
        cursor.execute(
            "update ops.outbox set attempts = attempts + 1, last_error = nullif(%s, ''),"
            " sent_at = case when %s = '' then now() end where mail_id = %s",
            (result.problem, result.problem, mail_id),
        )


def _note_told(context: Context) -> None:
    """Note at the cases whose mail has reached somebody when it did, also those of a run that was cut short.

    Apart from the mails: a case that a steward is just at must not undo what is known of them.
    """
    with context.gold.cursor() as cursor:
        cursor.execute(
            """
            update anomalies as a set alerted_at = d.accepted_at
            from (select mail_id, min(accepted_at) as accepted_at from ops.deliveries group by mail_id) as d
            where a.mail_id = d.mail_id and a.alerted_at is null
            """
        )


def _try(context: Context, mail_id: int) -> Result:
    """One attempt, with the mail's line in the outbox locked until the caller commits."""
    mail = context.config.mail
    with context.gold.cursor() as cursor:
        cursor.execute(
            "select kind, created_at from ops.outbox where mail_id = %s and sent_at is null for update skip locked",
            (mail_id,),
        )
        row = cursor.fetchone()
        if row is None:  # another run has it
            return Result(None)
        cursor.execute("select recipient from ops.deliveries where mail_id = %s", (mail_id,))
        reached = {recipient for (recipient,) in cursor}
    missing = [recipient for recipient in mail.recipients if recipient not in reached]
    message = _message(context, mail_id, *row)
    if mail.host is None:
        alerts.write(context.config.home / "outbox", message)
        return Result("", missing)
    accepted, problem, again = alerts.send(mail, message, missing)
    return Result(problem, accepted, again)


def _message(context: Context, mail_id: int, kind: str, written_at: datetime) -> EmailMessage:
    mail = context.config.mail
    with context.gold.cursor() as cursor:
        if kind == "digest":
            cursor.execute(BY_AGE, {"now": written_at})
            return alerts.digest(mail, mail_id, written_at, [alerts.Open(*row) for row in cursor])
        cursor.execute(CASES, (mail_id,))
        return alerts.alert(mail, mail_id, written_at, [alerts.Case(*case) for case in cursor])


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("alerts"))
