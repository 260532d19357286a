"""Mail: one message, one port, and three ways to send."""

from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from typing import Protocol

import aiosmtplib
import structlog

from services.settings import Settings

log = structlog.get_logger(__name__)

_TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be said to one address. Mail of Agora is plain text: it reads everywhere and hides no link."""

    to: str
    subject: str
    text: str
    key: str | None = None  # of what it is about: sent twice, it has one Message-ID, by which mailboxes know it


class MailRefusedError(Exception):
    """The mail server will never take mail for this address: trying again is no use."""


class Mailer(Protocol):
    """Takes a message over, or raises; a consumer of the outbox then tries again later, but not after MailRefusedError."""

    async def send(self, message: Message) -> None: ...


class ConsoleMailer:
    """Shows mail in the log, links and all, so that a developer can follow them. Never used in production."""

    async def send(self, message: Message) -> None:
        log.info("mail", to=message.to, subject=message.subject, text=message.text)


class MemoryMailer:
    """Keeps mail for tests to read."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def to(self, address: str) -> Sequence[Message]:
        """What was sent to this address, oldest first."""
        return [message for message in self.sent if message.to == address]


class SmtpMailer:
    """Hands mail to an SMTP server, one connection per message."""

    def __init__(self, settings: Settings) -> None:
        assert settings.smtp_host is not None
        self._settings = settings

    async def send(self, message: Message) -> None:
        settings = self._settings
        password = settings.smtp_password
        try:
            await aiosmtplib.send(
                mime(message, settings.mail_from),
                hostname=settings.smtp_host,
                port=settings.smtp_port,
                username=settings.smtp_username,
                password=None if password is None else password.get_secret_value(),
                start_tls=settings.smtp_starttls,
                timeout=_TIMEOUT_SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            if all(500 <= refused.code < 600 for refused in error.recipients):
                raise MailRefusedError("the mail server refused the recipient") from error
            raise


def make_mailer(settings: Settings) -> Mailer:
    """SMTP where a server is configured, else the console."""
    return SmtpMailer(settings) if settings.smtp_host else ConsoleMailer()


def mime(message: Message, sender: str) -> EmailMessage:
    """The message in wire form. Raises ValueError for a line break in an address or the subject: header injection."""
    built = EmailMessage()
    built["From"] = sender
    built["To"] = message.to
    built["Subject"] = message.subject
    built["Date"] = formatdate()
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    built["Message-ID"] = f"<{message.key}@{domain}>" if message.key else make_msgid(domain=domain)
    built["Auto-Submitted"] = "auto-generated"
    built.set_content(message.text)
    return built
