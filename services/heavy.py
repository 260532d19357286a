"""Heavy pipelines, a few at a time: what runs over whole collections waits here instead of piling up in the database.

The embedded server holds a pipeline's groups and results in memory whole: thirty-two raw reports at once killed it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from services.errors import UnavailableError

AT_ONCE = 2
QUEUE = 20


class OverloadedError(UnavailableError):
    """Too many heavy reports are waiting already."""

    code = "overloaded"

    def __init__(self) -> None:
        super().__init__("Too many reports are being made: try again in a moment.", retry_after=5)


@dataclass
class _Gate:
    """The places of one event loop."""

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    waiting: int = 0


_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, _Gate] = WeakKeyDictionary()


@contextlib.asynccontextmanager
async def heavy_work() -> AsyncIterator[None]:
    """Run the block when one of this process's two places is free. Raises OverloadedError when twenty wait already."""
    gate = _gates.setdefault(asyncio.get_running_loop(), _Gate())
    if gate.waiting >= QUEUE:
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
