"""One embedded server for the run, one database for each test."""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from models.database import Database
from models.documents import DOCUMENTS
from scripts.embedded import EmbeddedServer
from services.cache import clear_all_caches
from services.indexes import IndexService
from services.settings import Settings
from tests.commands import CommandLog

TEST_SECRET = "a-secret-for-tests-only-0123456789abcdef"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The embedded server; every test uses a database of its own on it."""
    embedded = EmbeddedServer(tmp_path_factory.mktemp("server"))
    embedded.start()
    yield embedded
    embedded.stop()


@pytest.fixture
def settings(server: EmbeddedServer) -> Settings:
    """What the application runs with under test: cheap password hashing, generous limits, no worker of its own."""
    return Settings(
        _env_file=None,
        secret_key=TEST_SECRET,
        mongodb_uri=server.uri,
        database=f"test_{uuid.uuid4().hex[:16]}",
        password_hash_time_cost=1,
        password_hash_memory_kib=8,
        anonymous_requests=100_000,
        user_requests=100_000,
        worker_in_process=False,
        live_poll_seconds=0,  # it would be counted against query budgets; tests of it turn it on
    )


@pytest.fixture
def commands() -> CommandLog:
    """The commands the test's database received, for query budgets."""
    return CommandLog()


@pytest.fixture
async def database(settings: Settings, commands: CommandLog) -> AsyncIterator[Database]:
    """A database of this test's own, with every declared index; dropped afterwards."""
    connected = Database.connect(settings.mongodb_uri, settings.database, listeners=[commands])
    await connected.bind(DOCUMENTS)
    await IndexService.create_missing()
    clear_all_caches()
    yield connected
    await connected.drop()
    await connected.close()
