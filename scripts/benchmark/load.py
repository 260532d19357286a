"""A load generator that costs little: keep-alive connections on bare sockets, each sending its requests in turn."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

IDLE_SECONDS = 4.0  # uvicorn hangs up after five

Request = Callable[[int, str], bytes]
"""The n-th request; the text is the ETag of the answer before."""


@dataclass(frozen=True)
class Case:
    """One kind of work: how to ask either program for it, and the ratio of requests per second to reach."""

    name: str
    agora: Request
    bare: Request
    goal: float


@dataclass
class Load:
    """What one run measured."""

    requests: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


async def drive(port: int, request: Request, *, connections: int, seconds: float) -> Load:
    """Keep `connections` busy for `seconds`. `request(n, etag)` makes the n-th request; `etag` is that of the answer before."""
    load = Load()
    deadline = time.perf_counter() + seconds
    started = time.perf_counter()
    await asyncio.gather(*(_keep_asking(port, request, load, lane, deadline) for lane in range(connections)))
    load.seconds = time.perf_counter() - started
    return load


async def _keep_asking(port: int, request: Request, load: Load, lane: int, deadline: float) -> None:
    line = Line(port)
    number = lane * 1_000_000
    etag = ""
    while time.perf_counter() < deadline:
        sent = time.perf_counter()
        answer = await line.ask(request(number, etag))
        etag = answer.etag or etag
        load.requests += 1
        load.latencies.append(time.perf_counter() - sent)
        load.statuses[answer.status] = load.statuses.get(answer.status, 0) + 1
        number += 1
    await line.close()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    etag: str
    body: bytes


class Line:
    """One client's connection: kept open from request to request, and opened anew where it was idle for long."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used_at = 0.0

    async def ask(self, request: bytes) -> Answer:
        """Raises OSError or EOFError when there is no answer; nothing is asked twice."""
        if time.perf_counter() - self._used_at > IDLE_SECONDS:
            await self.close()
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(request)
            status, etag, length = _parsed(await reader.readuntil(b"\r\n\r\n"))
            body = await reader.readexactly(length) if length else b""
        except BaseException:
            await self.close()
            raise
        self._used_at = time.perf_counter()
        return Answer(status, etag, body)

    async def close(self) -> None:
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _parsed(head: bytes) -> tuple[int, str, int]:
    """Status, ETag and length of the body."""
    etag, length = "", 0
    for line in head.split(b"\r\n"):
        name = line[:15].lower()
        if name.startswith(b"content-length:"):
            length = int(line[15:])
        elif name.startswith(b"etag:"):
            etag = line[5:].strip().decode()
    return int(head[9:12]), etag, length


_HEAD = "host: agora\r\nuser-agent: Mozilla/5.0 (bench)\r\n"  # a reader, whose views are counted


def get(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\n{_HEAD}{headers}\r\n".encode()


def post(path: str, body: bytes, headers: str = "") -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: agora\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body
