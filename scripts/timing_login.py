"""Does the time of an answer tell who is registered? Median times of login, reset and registration, known against unknown.

Run by hand (`python -m scripts.timing_login`): it starts a database of its own and asks the application, known and unknown in
turn. Exits 1 when a pair of medians differs by more than a fifth.
"""

import asyncio
import statistics
import tempfile
import time
import uuid
from pathlib import Path

import httpx2
import typer
from rich.console import Console
from rich.table import Table

from api.app import create_app
from models.users import User
from scripts.database.connection import Launch, connected, embedded_settings
from scripts.database.embedded import EmbeddedServer
from services.indexes import IndexService
from services.logs import configure_logs
from services.settings import Settings
from services.users.passwords import PasswordService

ALLOWED = 0.2
GENEROUS = 10**9


async def measure(settings: Settings, tries: int) -> int:
    """Print the medians; 1 when a pair differs too much, else 0."""
    async with connected(settings) as database:
        await IndexService.create_missing()
        password_hash = await PasswordService.hash("a right password", settings=settings)
        await User(
            username="known",
            email="known@example.com",
            email_normalized="known@example.com",
            first_name="Known",
            last_name="Person",
            password_hash=password_hash,
            is_verified=True,
        ).store()
        application = create_app(settings, database=database)
        transport = httpx2.ASGITransport(app=application)
        async with (
            application.router.lifespan_context(application),
            httpx2.AsyncClient(transport=transport, base_url="http://agora.test") as client,
        ):
            return await _compare(client, tries)


async def _compare(client: httpx2.AsyncClient, tries: int) -> int:
    def login(email: str) -> tuple[str, dict[str, str]]:
        return "login", {"login": email, "password": "a wrong password"}

    def forgot(email: str) -> tuple[str, dict[str, str]]:
        return "password/forgot", {"email": email}

    def register(email: str) -> tuple[str, dict[str, str]]:
        account = {
            "username": f"u{uuid.uuid4().hex[:12]}",
            "first_name": "A",
            "last_name": "B",
            "password": "a good long password",
        }
        return "register", {"email": email, **account}

    table = Table("request", "known ms", "unknown ms", "difference")
    worst = 0.0
    for make in (login, forgot, register):
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(tries):
            for known in (True, False):
                path, body = make("known@example.com" if known else f"{uuid.uuid4().hex[:12]}@example.com")
                started = time.perf_counter()
                await client.post(f"/api/v1/auth/{path}", json=body)
                seconds[known].append(time.perf_counter() - started)
        yes, no = statistics.median(seconds[True]), statistics.median(seconds[False])
        difference = abs(yes - no) / min(yes, no)
        worst = max(worst, difference)
        table.add_row(make.__name__, f"{yes * 1000:.1f}", f"{no * 1000:.1f}", f"{difference:.1%}")
    Console().print(table)
    return int(worst > ALLOWED)


def main(tries: int = 200) -> None:
    configure_logs("ERROR", style="json")
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder))
        server.start()
        try:
            limits = dict.fromkeys(
                ("login_attempts", "account_login_attempts", "register_attempts", "reset_attempts", "anonymous_requests"),
                GENEROUS,
            )
            settings = embedded_settings(Launch(data=Path(folder)), server.uri, **limits)
            code = asyncio.run(measure(settings, tries))
        finally:
            server.stop()
    raise SystemExit(code)


if __name__ == "__main__":
    typer.run(main)
