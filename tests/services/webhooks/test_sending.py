"""RELIABILITY S10: the name that was checked is the name that is spoken to, although the connection goes to an address."""

import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from services.settings import Settings
from services.webhooks.sending import KEPT_BYTES, WebhookSender
from tests.races import patiently
from tests.receivers import Received, receiving, reply, with_loopback

CERTIFICATE = Path(__file__).with_name("hooks.example.pem")


async def to_loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


class TestTls:
    async def test_s10_certificate_host_and_sni_are_those_of_the_name(self, settings: Settings) -> None:
        asked: list[str | None] = []
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(CERTIFICATE)
        server.sni_callback = lambda socket, name, context: asked.append(name)
        trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
        sender = WebhookSender(with_loopback(settings), resolver=to_loopback, tls=trusting)
        async with receiving(tls=server) as receiver:
            good = await sender.send(f"https://hooks.example:{receiver.port}/in", body="{}", headers={})
            other = await sender.send(f"https://other.example:{receiver.port}/in", body="{}", headers={})
            bare = await sender.send(f"https://127.0.0.1:{receiver.port}/in", body="{}", headers={})
        await sender.aclose()

        assert good.status == 204
        assert asked[0] == "hooks.example"
        (received,) = receiver.requests
        assert received.headers["host"] == f"hooks.example:{receiver.port}"
        assert [(refused.status, refused.error) for refused in (other, bare)] == [(None, "ConnectError")] * 2

    async def test_s10_unknown_certificate_gets_nothing(self, settings: Settings) -> None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(CERTIFICATE)
        sender = WebhookSender(with_loopback(settings), resolver=to_loopback)
        async with receiving(tls=server) as receiver:
            outcome = await sender.send(f"https://hooks.example:{receiver.port}/in", body="{}", headers={})
        await sender.aclose()

        assert (outcome.status, outcome.error) == (None, "ConnectError")
        assert receiver.requests == []


class TestSend:
    async def test_next_address_is_tried_when_the_first_does_not_answer(self, settings: Settings) -> None:
        async def two(host: str, port: int) -> list[str]:
            return ["127.0.0.2", "127.0.0.1"]

        sender = WebhookSender(with_loopback(settings), resolver=two)
        async with receiving() as receiver:
            outcome = await sender.send(f"http://hooks.example:{receiver.port}/", body="{}", headers={})
        await sender.aclose()

        assert outcome.status == 204
        assert len(receiver.requests) == 1

    @pytest.mark.parametrize(
        ("wire", "status", "answer"),
        [
            (reply(200, b"\xff\x00ok"), 200, "\ufffd\ufffdok"),
            (reply(500, b"x" * 5000), 500, "x" * KEPT_BYTES),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbroken off", 200, "broken off"),
            (b"SSH-2.0-OpenSSH\r\n", None, ""),
            (b"", None, ""),
        ],
    )
    async def test_whatever_is_answered_is_an_outcome(
        self, settings: Settings, wire: bytes, status: int | None, answer: str
    ) -> None:
        sender = WebhookSender(with_loopback(settings))

        def say(request: Received) -> bytes:
            return wire

        async with receiving() as receiver:
            receiver.answer = say
            outcome = await sender.send(receiver.url, body="{}", headers={})
        await sender.aclose()

        assert (outcome.status, outcome.answer) == (status, answer)
        assert (outcome.error is None) == (status is not None)

    async def test_answer_that_trickles_is_left_after_its_status(self, settings: Settings) -> None:
        sender = WebhookSender(with_loopback(settings, webhook_timeout_seconds=patiently(5)))
        async with receiving() as receiver:
            receiver.keeps_open = timedelta(seconds=patiently(4))
            receiver.answer = lambda request: b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nslow"
            outcome = await sender.send(receiver.url, body="{}", headers={})
        await sender.aclose()

        assert (outcome.status, outcome.answer) == (200, "slow")
        assert outcome.duration_ms < patiently(2500)
