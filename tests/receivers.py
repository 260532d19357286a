"""Receivers of webhooks: real HTTP servers on loopback that keep what they are sent and answer as they are told."""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network

from services.settings import Settings
from tests.races import patiently


@dataclass(frozen=True)
class Received:
    """One request."""

    target: str
    headers: dict[str, str]
    body: str


@dataclass
class Receiver:
    """`answer` is asked for each request what to send back; it may be changed at any time."""

    answer: Callable[[Received], bytes] = lambda request: reply(204)
    pause: timedelta = timedelta(0)  # before it answers
    keeps_open: timedelta = timedelta(0)  # after it has
    requests: list[Received] = field(default_factory=list)
    connections_count: int = 0
    most_at_once: Counter[str] = field(default_factory=Counter)  # by message id
    port: int = 0
    was_called: asyncio.Event = field(default_factory=asyncio.Event)
    serving: set[asyncio.Task[None]] = field(default_factory=set)
    _now: Counter[str] = field(default_factory=Counter)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def message_ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.requests]

    def hang_up(self) -> None:
        """Leave everybody who waits for an answer without one."""
        for task in self.serving:
            task.cancel()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            await self._serve(reader, writer)
        finally:
            self.serving.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections_count += 1
        self.was_called.set()
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:]) if name}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            received = Received(head[0].split(" ")[1], headers, body.decode())
            name = headers.get("webhook-id", "")
            self._now[name] += 1
            self.most_at_once[name] = max(self.most_at_once[name], self._now[name])
            self.requests.append(received)
            await asyncio.sleep(self.pause.total_seconds())
            self._now[name] -= 1
            writer.write(self.answer(received))
            await writer.drain()
            await asyncio.sleep(self.keeps_open.total_seconds())


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer on the wire."""
    lines = [f"HTTP/1.1 {status} Told", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextlib.asynccontextmanager
async def receiving(*, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    """A receiver that listens until the block ends."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, host, 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        receiver.hang_up()
        await asyncio.gather(*receiver.serving, return_exceptions=True)


def with_loopback(settings: Settings, **over: object) -> Settings:
    """Settings under which webhooks may go to loopback."""
    networks = [ip_network("127.0.0.0/8")]
    return settings.model_copy(update={"webhook_networks": networks, "webhook_timeout_seconds": patiently(1), **over})
