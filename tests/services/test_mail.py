from collections.abc import Iterator
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from structlog.testing import capture_logs

from scripts.ports import free_port
from services.mail import ConsoleMailer, MemoryMailer, Message, SmtpMailer, make_mailer, mime
from services.settings import Settings
from tests.races import patiently

MESSAGE = Message("jane@example.com", "Grüße from Agora", "Hello Jané,\n\nhttps://agora.example/account/verify?token=abc\n")


class Inbox:
    """What a real SMTP server received."""

    def __init__(self) -> None:
        self.envelopes: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.envelopes.append(envelope)
        return "250 OK"


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, int]]:
    port = free_port()  # aiosmtpd does not take port 0
    received = Inbox()

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        is_right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"agora", b"secret")
        return AuthResult(success=is_right)

    controller = Controller(
        received, hostname="127.0.0.1", port=port, ready_timeout=patiently(5), authenticator=authenticate, auth_require_tls=False
    )
    controller.start()
    yield received, port
    controller.stop()


class TestSmtpMailer:
    async def test_a_real_server_receives_the_message(self, inbox: tuple[Inbox, int], settings: Settings) -> None:
        received, port = inbox
        over = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_starttls": False, "mail_from": "Agora <agora@example.com>"}
        await make_mailer(settings.model_copy(update=over)).send(MESSAGE)
        (envelope,) = received.envelopes
        assert (envelope.mail_from, envelope.rcpt_tos) == ("agora@example.com", ["jane@example.com"])
        text = envelope.content.decode()
        assert "From: Agora <agora@example.com>" in text
        assert "Message-ID:" in text
        assert "Auto-Submitted: auto-generated" in text

    async def test_it_signs_in_where_it_must(self, inbox: tuple[Inbox, int], settings: Settings) -> None:
        received, port = inbox
        credentials = {"smtp_username": "agora", "smtp_password": "secret"}
        over = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_starttls": False}
        configured = Settings(
            _env_file=None,
            secret_key=settings.secret_key,
            mongodb_uri=settings.mongodb_uri,
            **over,  # type: ignore[arg-type]  # settings parse what they are given
            **credentials,  # type: ignore[arg-type]
        )
        await SmtpMailer(configured).send(MESSAGE)
        assert len(received.envelopes) == 1

    async def test_a_server_that_is_away_is_an_error_to_try_again(self, settings: Settings) -> None:
        mailer = SmtpMailer(settings.model_copy(update={"smtp_host": "127.0.0.1", "smtp_port": 1, "smtp_starttls": False}))
        with pytest.raises(OSError):
            await mailer.send(MESSAGE)


class TestMakeMailer:
    async def test_without_a_server_mail_is_shown_in_the_log(self, settings: Settings) -> None:
        mailer = make_mailer(settings)
        assert isinstance(mailer, ConsoleMailer)
        with capture_logs() as logs:
            await mailer.send(MESSAGE)
        assert logs[0]["to"] == "jane@example.com"
        assert "token=abc" in logs[0]["text"]

    async def test_memory_keeps_it_by_address(self) -> None:
        mailer = MemoryMailer()
        await mailer.send(MESSAGE)
        assert mailer.to("jane@example.com") == [MESSAGE]
        assert mailer.to("other@example.com") == []


class TestMime:
    @pytest.mark.parametrize("over", [{"to": "a@example.com\r\nBcc: b@example.com"}, {"subject": "x\nBcc: b@example.com"}])
    def test_no_header_can_be_injected(self, over: dict[str, str]) -> None:
        fields = {"to": MESSAGE.to, "subject": MESSAGE.subject, "text": MESSAGE.text, **over}
        with pytest.raises(ValueError):
            mime(Message(**fields), "agora@example.com")

    def test_text_is_kept(self) -> None:
        built = mime(MESSAGE, "agora@example.com")
        assert built.get_content() == MESSAGE.text
        assert built["Subject"] == MESSAGE.subject
