"""`make bench`: Agora with its whole middleware stack against a bare program, on the same server and data, in the same minutes.

Only the ratios travel to other machines. Both programs run one process of uvicorn with uvloop and httptools; they are driven in
turn, a few seconds each, and the medians over the rounds are compared. CPU is that of the application's process per request.
"""

import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from models.base import now
from models.blog.posts import Post, PostStatus
from models.database import Session, run_transaction
from models.users import User
from scripts.benchmark.load import Case, Load, Request, drive, get, post
from scripts.benchmark.middleware import middleware_cost
from scripts.benchmark.shop import shop_cases
from scripts.database.connection import Launch, connected, embedded_settings
from scripts.database.embedded import EmbeddedServer
from scripts.ports import free_port
from scripts.seed import seed
from services.indexes import IndexService
from services.settings import Settings
from services.users.sessions import ClientInfo, SessionService

console = Console()

CHECKOUTS = 500  # a second, at most: for each of them a cart is filled beforehand

_TICKS = os.sysconf("SC_CLK_TCK")
_COMMENT = b'{"content": "Measured, not guessed: a comment of an ordinary length, with a [link](https://example.com)."}'


@dataclass
class Program:
    """A running server process, measured from outside."""

    port: int
    process: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_mib(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextlib.contextmanager
def started(target: str, settings: Settings, ready_path: str, *, factory: bool) -> Iterator[Program]:
    port = free_port()
    environment = {
        **os.environ,
        "MONGODB_URI": settings.mongodb_uri,
        "AGORA_SECRET_KEY": settings.secret_key.get_secret_value(),
        "AGORA_DATABASE": settings.database,
        "AGORA_WORKER_IN_PROCESS": "false",
        "AGORA_ANONYMOUS_REQUESTS": "1000000000",
        "AGORA_USER_REQUESTS": "1000000000",
        "AGORA_TRUSTED_PROXIES": '["127.0.0.1/32"]',
    }
    command = [sys.executable, "-m", "uvicorn", target, "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    command += ["--no-access-log", "--log-level", "warning", *(["--factory"] if factory else [])]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _await_answer(port, ready_path, process)
            yield Program(port, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _await_answer(port: int, path: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120  # a busy machine takes its time
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            answer.read()
            return
        time.sleep(0.1)
    raise SystemExit("a program under test did not start")


async def _prepare(settings: Settings, scale: int, carts: int) -> list[Case]:
    async with connected(settings) as database:
        await IndexService.create_missing()
        await seed(scale=scale, settings=settings, progress=True)
        rows = await Post.find_rows({"status": PostStatus.PUBLISHED}, {"slug": 1}, sort=[("published_at", -1)])
        people = [User.from_row(row) for row in await User.find_rows({"is_active": True}, limit=64)]
        tokens = [await open_session(user, settings) for user in people]
        shop = await shop_cases(database, settings, carts=carts)
    slugs = [row["slug"] for row in rows]
    ids = [row["_id"] for row in rows]
    console.print(f"{len(rows)} published posts, {len(people)} signed-in people, 32 connections")

    def post_page(number: int, etag: str) -> bytes:
        return get(f"/api/v1/blog/posts/{slugs[number * 7919 % len(slugs)]}")

    def same_post(number: int, etag: str) -> bytes:
        return get(f"/api/v1/blog/posts/{slugs[0]}", f"if-none-match: {etag}\r\n" if etag else "")

    def list_page(number: int, etag: str) -> bytes:
        return get("/api/v1/blog/posts?page=1&limit=20")

    def comment(number: int, etag: str) -> bytes:
        token = tokens[number // 1_000_000 % len(tokens)]
        return post(
            f"/api/v1/blog/posts/{ids[number * 7919 % len(ids)]}/comments", _COMMENT, f"authorization: Bearer {token}\r\n"
        )

    return [
        Case("post by slug", post_page, post_page, 1.3),
        Case("post by slug, unchanged since", same_post, same_post, 2.0),
        Case("page of 20 posts", list_page, list_page, 1.0),
        Case("comment created", comment, comment, 0.55),
        *shop,
    ]


async def open_session(user: User, settings: Settings) -> str:
    client = ClientInfo("127.0.0.1", "bench")

    async def work(session: Session) -> str:
        opened = await SessionService.create(session, user, device_id="bench", client=client, settings=settings, now=now())
        return opened.token

    return await run_transaction(work)


@dataclass
class Measured:
    """Medians over the rounds of one case for one program."""

    per_second: float
    cpu_microseconds: float
    p95_ms: float


def _run(program: Program, request: Request, seconds: float) -> tuple[Load, float]:
    before = program.cpu_seconds()
    load = asyncio.run(drive(program.port, request, connections=32, seconds=seconds))
    wrong = {status: count for status, count in load.statuses.items() if status not in (200, 201, 304)}
    if wrong:
        raise SystemExit(f"unexpected answers: {wrong}")
    return load, (program.cpu_seconds() - before) / load.requests * 1e6


def _median(runs: list[tuple[Load, float]]) -> Measured:
    return Measured(
        statistics.median(load.per_second for load, _ in runs),
        statistics.median(cpu for _, cpu in runs),
        statistics.median(sorted(load.latencies)[int(len(load.latencies) * 0.95)] * 1000 for load, _ in runs),
    )


def _compare(agora: Program, bare: Program, case: Case, rounds: int, seconds: float) -> tuple[Measured, Measured]:
    for program, request in ((agora, case.agora), (bare, case.bare)):
        _run(program, request, min(1.0, seconds))  # warm up
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(_run(agora, case.agora, seconds))
        theirs.append(_run(bare, case.bare, seconds))
    return _median(ours), _median(theirs)


def main(rounds: int = 5, seconds: float = 4.0, scale: int = 10, only: str = "") -> None:
    """Print throughput and CPU per request of both programs and their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder))
        server.start()
        try:
            settings = embedded_settings(Launch(data=Path(folder)), server.uri)
            cases = asyncio.run(_prepare(settings, scale, carts=100 + int(CHECKOUTS * (rounds + 1) * seconds)))
            table = Table("work", "req/s", "bare req/s", "ratio", "goal", "CPU us", "bare CPU us", "CPU ratio", "p95 ms")
            with (
                started("api.main:app", settings, "/livez", factory=True) as agora,
                started("scripts.benchmark.baseline:app", settings, "/api/v1/blog/posts", factory=False) as bare,
            ):
                for case in cases:
                    if only in case.name:
                        ours, theirs = _compare(agora, bare, case, rounds, seconds)
                        table.add_row(
                            case.name,
                            f"{ours.per_second:,.0f}",
                            f"{theirs.per_second:,.0f}",
                            f"{ours.per_second / theirs.per_second:.2f}",
                            f"{case.goal:.2f}",
                            f"{ours.cpu_microseconds:,.0f}",
                            f"{theirs.cpu_microseconds:,.0f}",
                            f"{ours.cpu_microseconds / theirs.cpu_microseconds:.2f}",
                            f"{ours.p95_ms:.1f}",
                        )
                console.print(table)
                without, layered = middleware_cost(settings)
                console.print(f"a route that does nothing: FastAPI {without:.0f} us, with all of Agora's layers {layered:.0f} us")
                console.print(f"resident: Agora {agora.resident_mib():.0f} MiB, bare {bare.resident_mib():.0f} MiB")
        finally:
            server.stop()


if __name__ == "__main__":
    typer.run(main)
