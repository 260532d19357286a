"""The present, and new ids: what everything here goes by, and what a simulation plays instead.

Nothing but this module asks the machine what time it is for a thing that is stored or decided; `models.base.now` and the caches
come here. What is played holds for the task that plays it and for the tasks it starts, so that a process may serve beside it.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime

from beanie import PydanticObjectId


@dataclass(frozen=True, slots=True)
class _Played:
    clock: Callable[[], datetime]
    ids: Callable[[], PydanticObjectId]


_played: ContextVar[_Played | None] = ContextVar("played", default=None)


def present() -> datetime:
    """The present in UTC."""
    played = _played.get()
    return datetime.now(UTC) if played is None else played.clock()


def ticks() -> float:
    """Seconds that only go forward, for what is kept for a while."""
    played = _played.get()
    return time.monotonic() if played is None else played.clock().timestamp()


def new_id() -> PydanticObjectId:
    """An id that nothing has: those made later in one process sort behind those made earlier."""
    played = _played.get()
    return PydanticObjectId() if played is None else played.ids()


@contextlib.contextmanager
def playing(*, clock: Callable[[], datetime], ids: Callable[[], PydanticObjectId]) -> Iterator[None]:
    """Let `clock` be the present and `ids` make the ids, within the block. `clock` must not go backwards."""
    token = _played.set(_Played(clock, ids))
    try:
        yield
    finally:
        _played.reset(token)
