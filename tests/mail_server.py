"""A real mail server for the tests, on an address of this machine."""

import email
import email.policy
import socket
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

USER, PASSWORD = "robot", "let me in"


class MailServer:
    """A server that takes mail after STARTTLS and login, and can be told to misbehave."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host).configure_cert(context)
        self.port = _free_port(host)
        self.taken: list[EmailMessage] = []
        self.reached: list[str] = []
        self.refuses: set[str] = set()
        self.before_data: Callable[[SMTP], str | None] = lambda server: None
        self._controller = Controller(
            self,
            hostname=host,
            port=self.port,
            require_starttls=True,
            tls_context=context,
            auth_required=True,
            authenticator=self._authenticate,
        )
        self._controller.start()

    def stop(self) -> None:
        if self._controller.loop.is_running():
            self._controller.stop()

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()), handled=False)

    async def handle_RCPT(  # noqa: N802 - the server's name for it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuses:
            return "550 no such\x1b mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if answer := self.before_data(server):
            return answer
        message = email.message_from_bytes(envelope.content or b"", policy=email.policy.default)
        self.taken.append(message)
        self.reached += envelope.rcpt_tos
        return "250 taken"


def hang_up(server: SMTP) -> str:
    """End the connection once the mail is there, without an answer."""
    assert server.transport is not None
    server.transport.abort()
    return "451 nobody hears this"


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
