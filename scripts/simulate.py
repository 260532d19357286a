"""`make simulate`: play so many days of a shop and a publication through the real services, and say what became of them."""

import asyncio
import contextlib
import logging
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import structlog
import typer
import uvloop
from pymongo import IndexModel
from pymongo.errors import OperationFailure
from rich.console import Console

from models.base import AgoraDocument
from models.database import PyMongoError, heed_cancellation
from models.documents import DOCUMENTS
from scripts.database.connection import Launch, connected, explained, reach_database
from scripts.database.embedded import EmbeddedServer, LaunchError
from scripts.simulation.course import Stopwatch, telling
from scripts.simulation.readers import authors
from scripts.simulation.report import Report, make_report
from scripts.simulation.shop import is_inhabited, open_shop, restock
from scripts.simulation.staff import shifts
from scripts.simulation.visitors import visitors
from scripts.simulation.world import START, World
from services.cache import clear_all_caches
from services.indexes import IndexService, declared_indexes
from services.settings import Settings

# Passwords of people who do not exist are hashed by the same code, and quickly. Answers may take as long as they take: the report
# reads whole collections, and watching the time would cost the driver half as much again for each command.
_PLAYED = {"password_hash_time_cost": 1, "password_hash_memory_kib": 8, "database_timeout_ms": 0}
_STOPPED = 130  # the exit code of what a signal ended
_THROWN_AWAY_SECRET = "the secret of a world that is thrown away"


class InhabitedError(LaunchError):
    """The database holds somebody's data."""

    def __init__(self) -> None:
        super().__init__("There are people in this database: simulate into an empty one, or say --force to add to it.")


class RealWorldError(LaunchError):
    """Nobody simulates customers where there are real ones."""

    def __init__(self) -> None:
        super().__init__("This is a production environment: nothing is simulated here.")


async def simulate(world: World, *, on_progress: Callable[[float], None] = lambda days: None) -> Report:
    """Play the world on the bound database from beginning to end, and report. Needs the indexes; leaves the caches empty.

    `on_progress` is told how many days are over.
    """
    clear_all_caches()
    try:
        await world.play(partial(_opening, world), on_progress)
        return await make_report(world)
    except PyMongoError:
        heed_cancellation()
        raise
    finally:
        clear_all_caches()


async def _opening(world: World) -> None:
    await open_shop(world)
    for actors in (visitors, shifts, restock, authors):
        world.begin(actors(world))


@contextlib.asynccontextmanager
async def without_sweeps() -> AsyncIterator[None]:
    """The declared indexes, but those that have the server forget what its own clock calls old: the world does that itself.

    Afterwards they are as declared.
    """
    swept = [document for document in DOCUMENTS if any(map(_sweeps, declared_indexes(document)))]
    await IndexService.create_missing([document for document in DOCUMENTS if document not in swept])
    for document in swept:
        await _replace(document, sweeping=False)
    try:
        yield
    finally:
        for document in swept:
            await _replace(document, sweeping=True)


def _sweeps(index: IndexModel) -> bool:
    return "expireAfterSeconds" in index.document


async def _replace(document: type[AgoraDocument], *, sweeping: bool) -> None:
    for index in declared_indexes(document):
        if not _sweeps(index):
            continue
        with contextlib.suppress(OperationFailure):  # it was not there yet
            await document.collection().drop_index(index.document["name"])
        if not sweeping:
            keys = list(index.document["key"].items())
            await document.collection().create_indexes([IndexModel(keys, name=index.document["name"])])
    if sweeping:
        await IndexService.create_missing([document])
    else:
        rest = [index for index in declared_indexes(document) if not _sweeps(index)]
        if rest:
            await document.collection().create_indexes(rest)


def main(
    seed: Annotated[int, typer.Option(help="The same seed is the same world")] = 1,
    days: Annotated[int, typer.Option(min=1, max=3_650, help="Days to play")] = 30,
    scale: Annotated[float, typer.Option(min=0.25, max=100, help="Times thirty-six visits a day and as many products")] = 1,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The first day")] = START.replace(tzinfo=None),
    report: Annotated[Path | None, typer.Option(help="Write the report to this file, too")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Into the database of the data folder")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also where people are in it already")] = False,
) -> None:
    """Exits 0 when the books agree at the end, 1 when they do not or nothing could be simulated.

    Without --keep, and without MONGODB_URI, everything happens in a database of its own, which is thrown away.
    """
    # What a refused card and a lost answer log is the order of this world.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    ending = _Ending()
    console = Console()

    async def work(settings: Settings) -> Report:
        if settings.is_production:
            raise RealWorldError
        ending.cancels_this_task()
        played = settings.model_copy(update=_PLAYED)
        async with connected(played):
            if not force and await is_inhabited():
                raise InhabitedError
            world = World(seed, days=days, scale=scale, settings=played, start=start.replace(tzinfo=UTC))
            async with without_sweeps():
                with telling(console, days) as on_progress:
                    return await simulate(world, on_progress=on_progress)

    with explained():
        watch = Stopwatch()
        reached = _kept() if keep or Launch().mongodb_uri else _thrown_away()
        try:
            with reached as settings, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                made = runner.run(work(settings))
        except (KeyboardInterrupt, asyncio.CancelledError):
            console.print(f"Stopped after {watch.elapsed}.")
            raise SystemExit(_STOPPED) from None
        console.print(made.text(), markup=False, highlight=False, soft_wrap=True)
        if report is not None:
            report.write_text(made.text())
        console.print(watch.told(), markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1 if made.disagreements else 0)


class _Ending:
    """What SIGTERM and Ctrl-C do: the stack is unwound, so that what was started is stopped and what was written is removed.

    Once: a second signal, such as `make` sends besides the terminal's, must not cut that off. Who runs in the background of a
    shell does not hear Ctrl-C, as before.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        signal.signal(signal.SIGTERM, self._end)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._end)

    def cancels_this_task(self) -> None:
        """From now on, the running task is cancelled: an exception in the middle of the driver could be lost there."""
        self._task = asyncio.current_task()

    def _end(self, number: int, frame: FrameType | None) -> None:
        for heeded in (signal.SIGINT, signal.SIGTERM):
            signal.signal(heeded, signal.SIG_IGN)
        if self._task is None or self._task.done():
            raise KeyboardInterrupt
        self._task.get_loop().call_soon_threadsafe(self._task.cancel)


@contextlib.contextmanager
def _kept() -> Iterator[Settings]:
    with reach_database() as reached:
        yield reached.settings


@contextlib.contextmanager
def _thrown_away() -> Iterator[Settings]:
    """Settings of a database server of its own, in a folder that is removed. No environment decides anything."""
    with tempfile.TemporaryDirectory(prefix="agora-simulation-") as folder:
        server = EmbeddedServer(Path(folder), durable=False)
        server.start()
        try:
            yield Settings(
                _env_file=None, secret_key=_THROWN_AWAY_SECRET, mongodb_uri=server.uri, database="simulation", embedded=True
            )
        finally:
            server.stop()


if __name__ == "__main__":
    typer.run(main)
