"""Tell the stewards of new cases by mail: each mail once to each of them, whatever the mail server does."""

import smtplib
import time
from collections.abc import Sequence

from warehouse import alerts, ledger
from warehouse.ledger import Outcome, counted
from warehouse.session import Context

CASES = """
select anomaly_id, order_id, customer_id, country_id, invoice_date, quantity,
    coalesce(description, stock_code) as description, tier, z_score, explanation
from anomaly_cases where mail_id = %s
"""
NOTICES = """
select count(*) from anomalies as a
inner join ops.outbox as m on m.mail_id = %s and a.created_at between m.created_at - interval '1 day' and m.created_at
where a.tier = 'notice'
"""


def run(context: Context) -> Outcome:
    with ledger.job(context, "alerts") as outcome:
        sent, delayed = 0, []
        for mail_id in _unsent(context):
            problem = _send(context, mail_id)
            if problem:
                delayed.append(problem)
            else:
                sent += 1
        outcome.numbers |= {"sent": sent, "delayed": len(delayed)}
        outcome.delayed = len(delayed)
        if sent or delayed:
            outcome.line = f"{counted(sent, 'mail')} sent" if sent else "no mail sent"
        if delayed:
            outcome.line += f", {len(delayed)} delayed: {delayed[0]}"
    return outcome


def _unsent(context: Context) -> list[int]:
    with context.gold.cursor() as cursor:
        cursor.execute("select mail_id from ops.outbox where sent_at is null order by mail_id")
        return [mail_id for (mail_id,) in cursor]


def _send(context: Context, mail_id: int) -> str:
    """Send one mail to whom it has not reached; why it is delayed, or nothing."""
    problem = ""
    for wait in (*context.config.mail.retry_seconds, None):
        problem, again = _try(context, mail_id)
        with context.gold.cursor() as cursor:
            cursor.execute(
                "update ops.outbox set attempts = attempts + 1, last_error = nullif(%s, ''),"
                " sent_at = case when %s = '' then now() end where mail_id = %s;"
                " update anomalies set alerted_at = now() where mail_id = %s and %s = '' and alerted_at is null",
                (problem, problem, mail_id, mail_id, problem),
            )
        context.gold.commit()
        if not again or wait is None:
            break
        time.sleep(wait)
    return problem


def _try(context: Context, mail_id: int) -> tuple[str, bool]:
    """One attempt: what went wrong, and whether another one may help."""
    mail = context.config.mail
    with context.gold.cursor() as cursor:
        cursor.execute("select created_at from ops.outbox where mail_id = %s for update skip locked", (mail_id,))
        row = cursor.fetchone()
        if row is None:
            return "another run is sending it", False
        cursor.execute("select recipient from ops.deliveries where mail_id = %s", (mail_id,))
        reached = {recipient for (recipient,) in cursor}
        cursor.execute(CASES, (mail_id,))
        cases = [alerts.Case(*case) for case in cursor]
        cursor.execute(NOTICES, (mail_id,))
        (notices,) = cursor.fetchone() or (0,)
    missing = [recipient for recipient in mail.recipients if recipient not in reached]
    message = alerts.alert(mail, mail_id, row[0], cases, notices)
    if mail.host is None:
        alerts.write(context.config.home / "outbox", message)
        _reached(context, mail_id, missing)
        return "", False
    try:
        with alerts.connection(mail) as server:
            refused = server.send_message(message, mail.sender, missing) if missing else {}
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
    except (OSError, smtplib.SMTPException) as error:
        permanent = isinstance(error, smtplib.SMTPAuthenticationError | smtplib.SMTPNotSupportedError)
        return f"{mail.host}:{mail.port}: {_told(error)}", not permanent
    _reached(context, mail_id, [recipient for recipient in missing if recipient not in refused])
    told = [f"{recipient}: {code} {text.decode(errors='replace')}" for recipient, (code, text) in refused.items()]
    return "; ".join(told), False


def _reached(context: Context, mail_id: int, recipients: Sequence[str]) -> None:
    with context.gold.cursor() as cursor:
        for recipient in recipients:
            cursor.execute(
                "insert into ops.deliveries (mail_id, recipient) values (%s, %s) on conflict do nothing",
                (mail_id, recipient),
            )


def _told(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return f"{error.smtp_code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
    return str(error) or type(error).__name__


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("alerts"))
