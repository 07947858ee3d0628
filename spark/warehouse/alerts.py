"""Mails to the stewards: made of what they tell, and sent."""

import re
import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import css_inline

from warehouse.config import Mail
from warehouse.rendering import one_line, rendered

TIMEOUT = 30  # seconds, for each answer of the mail server
_LONGEST_SUBJECT = 150
_SEVEN_BITS = SMTP.clone(cte_type="7bit")


@dataclass(frozen=True)
class Case:
    """A line of an order that is out of proportion (the view anomaly_cases)."""

    anomaly_id: int
    order_id: str
    customer_id: str | None
    country_id: str
    invoice_date: datetime
    quantity: int
    description: str
    tier: str
    z_score: float
    explanation: str


@dataclass(frozen=True)
class Order:
    """The cases of one order: one entry of a mail."""

    cases: tuple[Case, ...]

    @property
    def worst(self) -> Case:
        return self.cases[0]


@dataclass(frozen=True)
class Open:
    """How many cases or errors of a kind are open: for up to 7 days, up to 30, and longer."""

    subject: str
    week: int
    month: int
    longer: int
    oldest: datetime


def orders(cases: Sequence[Case]) -> list[Order]:
    """Cases by order, the worst order and the worst line first."""
    by_order = sorted(cases, key=lambda case: (case.order_id, -case.z_score, case.anomaly_id))
    found = [Order(tuple(lines)) for _, lines in groupby(by_order, key=lambda case: case.order_id)]
    return sorted(found, key=lambda order: (-order.worst.z_score, order.worst.anomaly_id))


def alert(mail: Mail, mail_id: int, written_at: datetime, cases: Sequence[Case]) -> EmailMessage:
    """The mail about a run's cases, HTML with a plain-text twin. The same arguments give the same mail."""
    entries = orders(cases)
    worst = entries[0].worst
    told = {
        "orders": entries[: mail.at_most],
        "left_out": len(entries) - len(entries[: mail.at_most]),
        "cases": len(cases),
        "tiers": {tier: sum(case.tier == tier for case in cases) for tier in ("critical", "warning")},
        "day": f"{written_at:%Y-%m-%d}",
        "link": lambda case: mail.case_url.replace("{case}", str(case.anomaly_id)),
    }
    count = f"{len(cases)} unusual order line{'' if len(cases) == 1 else 's'}"
    subject = f"{written_at:%Y-%m-%d}: {count}, the worst {worst.quantity} × {worst.description}"
    return _message(mail, f"alert-{mail_id}", written_at, subject, "alert", told)


def digest(mail: Mail, mail_id: int, written_at: datetime, opened: Sequence[Open]) -> EmailMessage:
    """The weekly mail about what is still open."""
    count = sum(kind.week + kind.month + kind.longer for kind in opened)
    subject = f"{written_at:%Y-%m-%d}: {count} open case{'' if count == 1 else 's'} and errors"
    told = {"opened": opened, "day": f"{written_at:%Y-%m-%d}"}
    return _message(mail, f"digest-{mail_id}", written_at, subject, "digest", told)


def _message(
    mail: Mail, name: str, written_at: datetime, subject: str, template: str, told: dict[str, Any]
) -> EmailMessage:
    message = EmailMessage(policy=_SEVEN_BITS)
    message["Message-ID"] = f"<{name}-{written_at:%Y%m%d%H%M%S%f}@{mail.sender.rpartition('@')[2]}>"
    message["Date"] = format_datetime(written_at)
    message["Subject"] = one_line(subject)[:_LONGEST_SUBJECT]
    message["From"] = Address("Warehouse", addr_spec=mail.sender)
    message["To"] = ", ".join(mail.recipients)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(rendered(f"{template}.txt", told))
    message.add_alternative(css_inline.inline(rendered(f"{template}.html", told)), subtype="html")
    return message


def send(mail: Mail, message: EmailMessage, recipients: Sequence[str]) -> tuple[list[str], str, bool]:
    """Hand a mail to the server: who was accepted, what went wrong (empty: nothing), whether to try again soon."""
    if not recipients:
        return [], "", False
    try:
        refused = _handed_over(mail, message, recipients)
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
    except (OSError, smtplib.SMTPException) as error:
        return [], f"{mail.host}:{mail.port}: {_told(error)}", not _for_good(error)
    told = [f"{recipient}: {code} {_text(text)}" for recipient, (code, text) in refused.items()]
    accepted = [recipient for recipient in recipients if recipient not in refused]
    return accepted, f"{mail.host}:{mail.port} refused {'; '.join(told)}" if told else "", False


def _handed_over(mail: Mail, message: EmailMessage, recipients: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    """Send a mail in a session that is encrypted and logged in as the settings say; who was refused."""
    trust = ssl.create_default_context(cafile=mail.ca_file)
    host = str(mail.host)
    server = (
        smtplib.SMTP_SSL(host, mail.port, timeout=TIMEOUT, context=trust)
        if mail.tls == "tls"
        else smtplib.SMTP(host, mail.port, timeout=TIMEOUT)
    )
    try:
        if mail.tls == "starttls":
            server.starttls(context=trust)
        if mail.user:
            server.login(mail.user, mail.password)
        refused = server.send_message(message, mail.sender, recipients)
        with suppress(OSError, smtplib.SMTPException):  # it has the mail: how it says goodbye is its affair
            server.quit()
        return refused
    finally:
        server.close()


def _for_good(error: Exception) -> bool:
    """Whether the same attempt a moment later must fail too."""
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code >= 500
    return isinstance(error, smtplib.SMTPNotSupportedError | ssl.SSLCertVerificationError)


def _told(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    return one_line(str(error)) or type(error).__name__


def _text(said: bytes | str) -> str:
    return one_line(said.decode(errors="replace") if isinstance(said, bytes) else said)


def write(folder: Path, message: EmailMessage) -> None:
    """The mail as a file, whole or not at all; the same mail again takes its own place."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]", "_", message["Message-ID"].strip("<>").partition("@")[0])
    unfinished = folder / f".{name}.tmp"
    unfinished.write_bytes(message.as_bytes())
    unfinished.replace(folder / f"{name}.eml")
