"""SIM-1: a simulated world is the same world for the same seed, and its books add up, also when it ends in the middle."""

import asyncio
import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from pymongo import MongoClient
from rich.console import Console

from models import clock
from models.base import now
from models.database import Database
from models.documents import DOCUMENTS
from models.ecommerce.orders import Order
from models.events import Event, EventType
from models.users import User
from scripts.database.embedded import EmbeddedServer
from scripts.simulate import main, simulate, without_sweeps
from scripts.simulation import shop, visitors
from scripts.simulation.course import telling
from scripts.simulation.report import Report
from scripts.simulation.story import list_sold_out
from scripts.simulation.tables import Table
from scripts.simulation.world import World
from services.indexes import IndexService
from services.reconcile import ReconcileService
from services.settings import Settings
from tests import books
from tests.databases import DatabasePool
from tests.factories.catalog import create_product
from tests.races import patiently
from tests.scripts.processes import ROOT, environment, is_alive, wait_until

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


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Signals are the tests' own again, whatever a program that ran in their process made of them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class TestSimulate:
    @pytest.mark.usefixtures("small_world")
    async def test_sim_1_same_seed_is_the_same_report(self, settings: Settings, databases: DatabasePool) -> None:
        """SIM-1, to the byte; and every world's books add up, by the checks of `make reconcile` and by those of the tests."""
        told = [await _played(7, settings, databases) for _ in range(2)]

        assert told[0].text() == told[1].text()
        assert told[0].disagreements == []
        figures = {table.title: {row[0]: row[1] for row in table.rows} for table in told[0].tables}
        assert all(figures["Visits"][name] != "0" for name in ("page views", "product views", "cart adds", "checkouts"))
        assert figures["In short"]["orders paid"] == figures["Orders"]["orders paid"] != "0"
        assert figures["In short"]["revenue"] == figures["Orders"]["revenue"]
        assert figures["In short"]["visitors, each once a day"] == figures["The shop by day"]["all"]

    def test_dice_of_one_kind_and_seed_do_not_depend_on_those_of_another(self, settings: Settings) -> None:
        first, second, other = (World(seed, days=1, settings=settings) for seed in (7, 7, 8))

        first.dice("somebody new").random()

        expected = second.dice("visit", 3).random()
        assert first.dice("visit", 3).random() == expected
        assert expected not in (second.dice("visit", 4).random(), other.dice("visit", 3).random())

    @pytest.mark.usefixtures("own_signals")
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

    def test_world_that_is_told_to_stop_leaves_nothing(self, tmp_path: Path) -> None:
        """By SIGTERM, which goes the way of Ctrl-C: no folder and no process stays."""
        left = tmp_path / "temporary"
        left.mkdir()
        program = subprocess.Popen(
            [sys.executable, "-m", "scripts.simulate"],
            env=environment(tmp_path, TMPDIR=str(left)),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert wait_until(lambda: _state_in(left).get("port"), patiently(15))
            state = _state_in(left)
            with MongoClient[dict[str, Any]]("127.0.0.1", state["port"]) as client:
                assert wait_until(lambda: client["simulation"]["users"].count_documents({}), patiently(15))
            program.send_signal(signal.SIGTERM)
            said, _ = program.communicate(timeout=patiently(10))
        finally:
            program.kill()
            program.wait()

        assert program.returncode == 130
        assert said.startswith("Stopped after 0:00:")
        assert list(left.iterdir()) == []
        assert not is_alive(state["server"])


class TestTelling:
    def test_without_a_terminal_each_tenth_of_the_way_is_a_line(self) -> None:
        console = Console(file=StringIO(), width=200)
        with telling(console, 5) as on_progress:
            for hour in range(1, 24 * 5 + 1):
                on_progress(hour / 24)

        assert isinstance(console.file, StringIO)
        told = console.file.getvalue().splitlines()
        assert [line.partition(" in ")[0] for line in told] == [f"{days:.1f} of 5 days" for days in (n / 2 for n in range(1, 11))]
        assert told[0].endswith("in 0:00:00, about 0:00:00 to go")


class TestTable:
    def test_names_stand_left_and_figures_right(self) -> None:
        table = Table("Sold best", [["A lamp", "12", "1,200.00"], ["Tea", "3", "9.00"]], ("product", "pieces", "gross"))

        assert table.lines() == [
            "Sold best",
            "---------",
            "product  pieces     gross",
            "A lamp       12  1,200.00",
            "Tea           3      9.00",
            "",
        ]
        assert Table("Sold out", [], ("product",)).lines() == ["Sold out", "--------", "nothing", ""]


class TestListSoldOut:
    @pytest.mark.usefixtures("database")
    async def test_times_and_days_of_all_variants_are_added_up(self, settings: Settings) -> None:
        """One variant is away for two days and again for the last half day, another for the last day; a third never was."""
        product, other = await create_product(name="Lamp"), await create_product(name="Tea")
        world = World(7, days=1, settings=settings, start=START)
        world.missed[product.id] = 4
        for variant, days_ago, is_available in (
            ("a", 3, False),
            ("a", 1, True),
            ("b", 1, False),
            ("a", 0.5, False),
            ("c", 2, True),
        ):
            await Event(
                type=EventType.STOCK_CHANGED,
                subject=f"product:{other.id if variant == 'c' else product.id}",
                payload={"variant_id": variant, "is_available": is_available},
                created_at=START - timedelta(days=days_ago),
            ).store()

        assert await list_sold_out(world) == [["Lamp", "3", "3.5", "4"]]


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


def _state_in(folder: Path) -> dict[str, int]:
    """What the server that was started below the folder says of itself; nothing before it does."""
    for file in folder.glob("agora-simulation-*/server.json"):
        state: dict[str, int] = json.loads(file.read_text())
        return state
    return {}


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
