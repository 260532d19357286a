"""How every script reaches the database.

`MONGODB_URI` names a server, or else the data folder does: the server that a running Agora keeps there, or one of the script's
own for as long as the script runs.
"""

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.database import Database, PyMongoError
from models.documents import DOCUMENTS
from scripts.database.covering import create_covering_indexes
from scripts.database.embedded import EmbeddedServer, LaunchError, running_server
from scripts.sandbox.process import SandboxProcess, kept_secret, kept_url
from scripts.sandbox.process import running as running_sandbox
from services.settings import Environment, Settings


class Launch(BaseSettings):
    """What decides where the data is, before there are settings; the same names as in `services.settings`."""

    model_config = SettingsConfigDict(env_prefix="AGORA_", env_file=".env", env_ignore_empty=True, extra="ignore")

    data: Path = Path(".agora")
    environment: Environment = Environment.DEVELOPMENT
    secret_key: SecretStr | None = None
    base_url: str | None = None
    sandbox_gateway_url: str | None = None
    mongodb_uri: str | None = Field(default=None, validation_alias=AliasChoices("MONGODB_URI", "DATABASE_URL"))


def embedded_settings(launch: Launch, uri: str, **values: Any) -> Settings:
    """The settings of an Agora on the embedded server at `uri`. In development the secret is made once and kept with the data."""
    values = {**_development_secret(launch), "embedded": True, **values}
    return Settings(mongodb_uri=uri, **values)


@dataclass(frozen=True, slots=True)
class Reached:
    """Settings whose database is there to be used, and the server that this process started for it, if it did."""

    settings: Settings
    server: EmbeddedServer | None = None
    sandbox: SandboxProcess | None = None


@contextlib.contextmanager
def reach_database(*, alone: bool = False, url: str | None = None) -> Iterator[Reached]:
    """Find the database, or start one and stop it afterwards. `url` is where Agora is reached unless AGORA_BASE_URL says.

    With `alone`, a running Agora on the same data folder is an error instead of a help. Raises LaunchError, and
    ValidationError for settings that are refused, the latter before anything is started.
    """
    launch = Launch()
    values: dict[str, Any] = {"base_url": url} if url is not None and launch.base_url is None else {}
    if launch.mongodb_uri is not None:
        yield Reached(Settings(**_development_secret(launch), **values))
        return
    running = None if alone else running_server(launch.data)
    if running is not None:
        yield Reached(embedded_settings(launch, running, **_running_sandbox(launch), **values))
        return
    embedded_settings(launch, "mongodb://127.0.0.1", **values)
    server = EmbeddedServer(launch.data)
    server.start()
    try:
        yield Reached(embedded_settings(launch, server.uri, **values), server)
    finally:
        server.stop()


@contextlib.contextmanager
def sandbox_beside(reached: Reached, url: str) -> Iterator[Reached]:
    """In development, a sandbox gateway for the Agora at `url`, unless settings name one; what was reached, with it."""
    launch, settings = Launch(), reached.settings
    if settings.environment is not Environment.DEVELOPMENT or settings.sandbox_gateway_url is not None:
        yield reached
        return
    with running_sandbox(SandboxProcess(launch.data, f"{url}/api/v1/payments/webhooks/sandbox")) as sandbox:
        shared = {"sandbox_gateway_url": sandbox.url, "sandbox_gateway_secret": SecretStr(sandbox.secret)}
        yield Reached(settings.model_copy(update=shared), reached.server, sandbox)


@contextlib.asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Database]:
    """The database with the documents bound to it, and on the embedded server with the indexes that only that one needs."""
    database = Database.connect(
        settings.mongodb_uri, settings.database, pool_size=settings.pool_size, timeout_ms=settings.database_timeout_ms
    )
    try:
        await database.ping()
        await database.bind(DOCUMENTS)
        if settings.embedded:
            await create_covering_indexes()
        yield database
    finally:
        await database.close()


def run_connected(work: Callable[[Settings], Awaitable[int]]) -> NoReturn:
    """Run a script's work on the bound database and exit with what it returns; what goes wrong is told in one sentence."""

    async def connect_and_work(settings: Settings) -> int:
        async with connected(settings):
            return await work(settings)

    with explained():
        with reach_database() as reached:
            code = asyncio.run(connect_and_work(reached.settings))
        raise SystemExit(code)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what a person can put right into one sentence on the error output and exit code 1."""
    try:
        yield
    except (LaunchError, PyMongoError, ValidationError) as error:
        print(explanation(error), file=sys.stderr)
        raise SystemExit(1) from None


def explanation(error: LaunchError | PyMongoError | ValidationError) -> str:
    """One sentence that says what to do."""
    if isinstance(error, LaunchError):
        return str(error)
    if isinstance(error, PyMongoError):
        return f"The database does not answer: {str(error).partition(', Timeout')[0]}"
    reasons = []
    for entry in error.errors(include_input=False, include_url=False):
        name = "_".join(str(part) for part in entry["loc"]).upper()
        reasons.append(f"{name}: {entry['msg']}" if name else entry["msg"].removeprefix("Value error, "))
    return "The settings cannot be used: " + "; ".join(reasons)


def _running_sandbox(launch: Launch) -> dict[str, Any]:
    """The sandbox gateway of a running Agora, for the scripts that work beside it."""
    url = kept_url(launch.data)
    if url is None or launch.environment is not Environment.DEVELOPMENT or launch.sandbox_gateway_url is not None:
        return {}
    return {"sandbox_gateway_url": url, "sandbox_gateway_secret": SecretStr(kept_secret(launch.data))}


def _development_secret(launch: Launch) -> dict[str, Any]:
    """In development the secret is made once and kept beside the data; elsewhere it must be given."""
    if launch.secret_key is not None or launch.environment is not Environment.DEVELOPMENT:
        return {}
    return {"secret_key": SecretStr(_kept_secret(launch.data))}


def _kept_secret(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "secret"
    with contextlib.suppress(FileExistsError), os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as new:
        new.write(secrets.token_urlsafe(48))
    return file.read_text()
