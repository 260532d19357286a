"""SIM-1: a simulated world is the same world for the same seed, and its books add up, also when it ends in the middle."""

import asyncio
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from pymongo import MongoClient

from models import clock
from models.base import now
from models.database import Database
from models.documents import DOCUMENTS
from models.ecommerce.orders import Order
from models.events import Event
from models.users import User
from scripts.database.embedded import EmbeddedServer
from scripts.simulate import main, simulate, without_sweeps
from scripts.simulation import shop, visitors
from scripts.simulation.report import Report
from scripts.simulation.world import World
from services.indexes import IndexService
from services.reconcile import ReconcileService
from services.settings import Settings
from tests import books
from tests.databases import DatabasePool
from tests.races import patiently
from tests.scripts.processes import ROOT, environment, wait_until

# Ahead of the machine's clock: the test database's own sweep finds nothing that is over.
START = datetime(2040, 3, 1, tzinfo=UTC)
DAYS = 1
_SMALL_PROGRAM = """
import sys
import typer
from scripts import simulate
from scripts.simulation import shop
shop.PRODUCTS = 10
sys.argv[1:] = ["--days", "30"]
typer.run(simulate.main)
"""


@pytest.fixture
def small_world() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shop, "PRODUCTS", 10)
        patched.setattr(visitors, "VISITS", 14)
        yield


class TestSimulate:
    @pytest.mark.usefixtures("small_world")
    async def test_sim_1_same_seed_is_the_same_report(self, settings: Settings, databases: DatabasePool) -> None:
        """SIM-1, to the byte; and every world's books add up, by the checks of `make reconcile` and by those of the tests."""
        told = [await _played(7, settings, databases) for _ in range(2)]

        assert told[0].text() == told[1].text()
        assert told[0].disagreements == []
        rows = {name: dict(section) for name, section in told[0].sections}
        assert all(rows["Visits"][name] != "0" for name in ("page views", "product views", "cart adds", "checkouts"))

    def test_dice_of_one_kind_and_seed_do_not_depend_on_those_of_another(self, settings: Settings) -> None:
        first, second, other = (World(seed, days=1, settings=settings) for seed in (7, 7, 8))

        first.dice("somebody new").random()

        expected = second.dice("visit", 3).random()
        assert first.dice("visit", 3).random() == expected
        assert expected not in (second.dice("visit", 4).random(), other.dice("visit", 3).random())

    def test_killed_world_leaves_books_that_add_up(
        self,
        tmp_path: Path,
        embedded_server: EmbeddedServer,
        databases: DatabasePool,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """SIGKILL in the middle of a day; and afterwards nobody simulates into what is there unless told."""
        over = {"MONGODB_URI": embedded_server.uri, "AGORA_DATABASE": f"killed_{uuid.uuid4().hex[:8]}"}
        with MongoClient[dict[str, Any]](embedded_server.uri) as client:
            database = client[over["AGORA_DATABASE"]]
            program = subprocess.Popen(
                [sys.executable, "-c", _SMALL_PROGRAM],
                env=environment(tmp_path, **over),
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                assert wait_until(lambda: database["orders"].count_documents({}) >= 3, patiently(15))
            finally:
                program.send_signal(signal.SIGKILL)
                program.wait()

            assert asyncio.run(_wrong_in(embedded_server.uri, database.name, databases)) == []
            for name, value in {**over, "AGORA_SECRET_KEY": "s" * 32}.items():
                monkeypatch.setenv(name, value)
            monkeypatch.setattr(structlog, "configure", lambda **_: None)  # it would be that of all tests
            with pytest.raises(SystemExit, match="1"):
                main(days=1)
            assert "There are people in this database" in capsys.readouterr().err
            client.drop_database(database.name)


class TestWithoutSweeps:
    @pytest.mark.swept
    @pytest.mark.usefixtures("database")
    async def test_server_forgets_nothing_meanwhile_and_again_afterwards(self) -> None:
        async with without_sweeps():
            assert await _sweeping() == set()

        assert await IndexService.drift() == []
        assert "carts" in await _sweeping()


class TestPlaying:
    def test_present_and_ids_are_those_played_within_the_block_alone(self) -> None:
        key = clock.new_id()
        with clock.playing(clock=lambda: START, ids=lambda: key):
            assert now() == START
            assert clock.new_id() == key
            assert clock.ticks() == START.timestamp()
        assert now() < START
        assert clock.new_id() != key


async def _played(seed: int, settings: Settings, databases: DatabasePool) -> Report:
    """The report of a world that was played in a database of its own."""
    name = databases.take()
    database = Database.connect(settings.mongodb_uri, name)
    try:
        await databases.bind(database)
        report = await simulate(World(seed, days=DAYS, settings=settings, start=START))
        assert await books.differences() == []
        await _require_simulated_times()
        return report
    finally:
        await database.close()
        databases.give_back(name)


async def _require_simulated_times() -> None:
    """What was made says so by its time and by its id, whatever the machine's clock says."""
    for document in (User, Order, Event):
        rows = await document.find_rows({}, {"created_at": 1})
        assert rows
        for row in rows:
            assert START <= row["created_at"] <= START + timedelta(days=DAYS + 4)
            assert timedelta(0) <= row["created_at"] - row["_id"].generation_time < timedelta(seconds=1)


async def _wrong_in(uri: str, name: str, databases: DatabasePool) -> list[str]:
    database = Database.connect(uri, name)
    try:
        await database.release_orphans()
        await databases.bind(database)
        drift = [f"{row.collection} {row.field}" async for row in ReconcileService.drift()]
        return [*drift, *await books.differences()]
    finally:
        await database.close()


async def _sweeping() -> set[str]:
    """The collections that the server sweeps."""
    return {
        document.get_collection_name()
        for document in DOCUMENTS
        for index in (await document.collection().index_information()).values()
        if "expireAfterSeconds" in index
    }
