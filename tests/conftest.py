"""One embedded server for the run, one database for each test."""

import gc
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from models import database as seam
from models.database import Database
from scripts.database.embedded import EmbeddedServer
from services.cache import clear_all_caches
from services.settings import Settings
from tests.commands import CommandLog
from tests.databases import DatabasePool
from tests.races import patiently, register_profiles

pytest_plugins = ["tests.sandbox", "tests.smallshop"]
register_profiles()

TEST_SECRET = "a-secret-for-tests-only-0123456789abcdef"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What was imported and collected stays until the end: garbage, which `tests/__init__.py` kept Python from, is not there."""
    yield
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # tests leave little garbage, and the search for it was a fourteenth of their time
    gc.enable()


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The embedded server; every test uses a database of its own on it."""
    embedded = EmbeddedServer(tmp_path_factory.mktemp("server"), durable=False)
    embedded.start()
    yield embedded
    embedded.stop()


@pytest.fixture(scope="session", autouse=True)
def patient_transactions() -> Iterator[None]:
    """Dozens of callers that collide take their time on a busy machine; that they all get there in the end is what is tested."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(seam, "_TRANSACTION_SECONDS", patiently(seam._TRANSACTION_SECONDS))
        yield


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """Lines of logs as they come: the usual ones are drawn for a terminal, which is a twentieth of what a request costs."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ]
    )


@pytest.fixture(scope="session")
def databases(embedded_server: EmbeddedServer) -> Iterator[DatabasePool]:
    """Databases that one test after the other uses."""
    with DatabasePool.opened(embedded_server.uri) as pool:
        yield pool


@pytest.fixture
def database_name(request: pytest.FixtureRequest, embedded_server: EmbeddedServer, databases: DatabasePool) -> Iterator[str]:
    """An empty database with every declared index, for this test alone; for one that is marked `swept` exactly as declared."""
    server = embedded_server.process
    if server is None or server.poll() is not None:
        pytest.exit(f"The database of the tests died; see {embedded_server.log_file}.", returncode=1)
    name = databases.take(swept=request.node.get_closest_marker("swept") is not None)
    yield name
    databases.give_back(name)


@pytest.fixture(scope="session")
def usual_settings(embedded_server: EmbeddedServer) -> Settings:
    """Of no database yet."""
    return Settings(
        _env_file=None,
        secret_key=TEST_SECRET,
        mongodb_uri=f"{embedded_server.uri}&serverMonitoringMode=poll",  # one connection less to open for each test
        password_hash_time_cost=1,
        password_hash_memory_kib=8,
        anonymous_requests=100_000,
        user_requests=100_000,
        worker_in_process=False,
        live_poll_seconds=0,  # it would be counted against query budgets; tests of it turn it on
    )


@pytest.fixture
def settings(usual_settings: Settings, database_name: str) -> Settings:
    """What the application runs with under test: cheap password hashing, generous limits, no worker of its own."""
    return usual_settings.model_copy(update={"database": database_name})


@pytest.fixture
def commands() -> CommandLog:
    """The commands the test's database received, for query budgets."""
    return CommandLog()


@pytest.fixture
async def database(settings: Settings, databases: DatabasePool, commands: CommandLog) -> AsyncIterator[Database]:
    """The test's database, with the documents bound to it."""
    connected = Database.connect(
        settings.mongodb_uri, settings.database, timeout_ms=int(patiently(settings.database_timeout_ms)), listeners=[commands]
    )
    await databases.bind(connected)
    clear_all_caches()
    yield connected
    await connected.close()
