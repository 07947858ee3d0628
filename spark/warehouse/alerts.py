"""Mails to the stewards: made of the cases that they tell, sent once to each recipient."""

import re
import smtplib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from warehouse.config import Mail

TEMPLATES = Path(__file__).with_name("templates")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LONGEST_SUBJECT = 150


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


def orders(cases: Sequence[Case]) -> list[Order]:
    """Cases by order, the worst order and the worst line first."""
    by_order = sorted(cases, key=lambda case: (case.order_id, -case.z_score, case.anomaly_id))
    found = [Order(tuple(lines)) for _, lines in groupby(by_order, key=lambda case: case.order_id)]
    return sorted(found, key=lambda order: (-order.worst.z_score, order.worst.anomaly_id))


def alert(mail: Mail, mail_id: int, written_at: datetime, cases: Sequence[Case], notices: int) -> EmailMessage:
    """The mail about a run's cases, HTML with a plain-text twin. The same arguments give the same mail."""
    entries = orders(cases)
    told = {
        "orders": entries[: mail.at_most],
        "left_out": len(entries) - len(entries[: mail.at_most]),
        "cases": len(cases),
        "notices": notices,
        "tiers": {tier: sum(case.tier == tier for case in cases) for tier in ("critical", "warning")},
        "day": f"{written_at:%Y-%m-%d}",
        "link": lambda case: mail.case_url.replace("{case}", str(case.anomaly_id)),
    }
    worst = entries[0].worst
    count = f"{len(cases)} unusual order line{'' if len(cases) == 1 else 's'}"
    subject = f"{written_at:%Y-%m-%d}: {count}, the worst {worst.quantity} × {worst.description}"
    message = EmailMessage(policy=SMTP)
    message["Message-ID"] = f"<alert-{mail_id}-{written_at:%Y%m%d%H%M%S}@{mail.sender.rpartition('@')[2]}>"
    message["Date"] = format_datetime(written_at)
    message["Subject"] = _one_line(subject)[:_LONGEST_SUBJECT]
    message["From"] = Address("Warehouse", addr_spec=mail.sender)
    message["To"] = ", ".join(mail.recipients)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_rendered("alert.txt", **told))
    message.add_alternative(css_inline.inline(_rendered("alert.html", **told)), subtype="html")
    return message


def _one_line(text: str) -> str:
    """Text from data for a header: no line break or other control character can end it."""
    return _CONTROL.sub(" ", text).strip()


def _rendered(template: str, **told: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["one_line"] = _one_line
    return environment.get_template(template).render(**told)


@contextmanager
def connection(mail: Mail) -> Iterator[smtplib.SMTP]:
    """A session with the mail server, encrypted and logged in as the settings say."""
    context = ssl.create_default_context()
    host = str(mail.host)
    server = (
        smtplib.SMTP_SSL(host, mail.port, timeout=30, context=context)
        if mail.tls == "tls"
        else smtplib.SMTP(host, mail.port, timeout=30)
    )
    with server:
        if mail.tls == "starttls":
            server.starttls(context=context)
        if mail.user:
            server.login(mail.user, mail.password)
        yield server


def write(folder: Path, message: EmailMessage) -> None:
    """The mail as a file, whole or not at all; the same mail again takes its own place."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]", "_", message["Message-ID"].strip("<>").partition("@")[0])
    unfinished = folder / f".{name}.tmp"
    unfinished.write_bytes(message.as_bytes())
    unfinished.replace(folder / f"{name}.eml")
