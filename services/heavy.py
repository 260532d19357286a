"""Heavy pipelines, a few at a time: what runs over whole collections waits here instead of piling up in the database.

The embedded server holds a pipeline's groups and results in memory whole: thirty-two raw reports at once killed it. What readers
of dashboards ask of rollups has a gate of its own, so that exports, rebuilds and raw reports never stand before them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from services.errors import UnavailableError

AT_ONCE = 2
QUEUE = 20
READERS_AT_ONCE = 4
READERS_QUEUE = 500


class OverloadedError(UnavailableError):
    """Too many heavy reports are waiting already."""

    code = "overloaded"

    def __init__(self) -> None:
        super().__init__("Too many reports are being made: try again in a moment.", retry_after=5)


@dataclass
class _Gate:
    """The places of one event loop."""

    places: asyncio.Semaphore
    waiting: int = 0


_Gates = WeakKeyDictionary[asyncio.AbstractEventLoop, _Gate]
_heavy: _Gates = WeakKeyDictionary()
_readers: _Gates = WeakKeyDictionary()


@contextlib.asynccontextmanager
async def heavy_work() -> AsyncIterator[None]:
    """Run the block when one of this process's two places is free. Raises OverloadedError when twenty wait already."""
    async with _place(_heavy, AT_ONCE, QUEUE):
        yield


@contextlib.asynccontextmanager
async def rollup_reads() -> AsyncIterator[None]:
    """As `heavy_work`, for milliseconds of rollups of many keys: a place is free soon, so many may wait for it."""
    async with _place(_readers, READERS_AT_ONCE, READERS_QUEUE):
        yield


@contextlib.asynccontextmanager
async def _place(gates: _Gates, at_once: int, queue: int) -> AsyncIterator[None]:
    gate = gates.setdefault(asyncio.get_running_loop(), _Gate(asyncio.Semaphore(at_once)))
    if gate.waiting >= queue:
        raise OverloadedError
    gate.waiting += 1
    try:
        await gate.places.acquire()
    finally:
        gate.waiting -= 1
    try:
        yield
    finally:
        gate.places.release()
