"""Numbers given out one by one, each once, without looking at what was numbered before."""

import asyncio
import contextlib
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from weakref import WeakValueDictionary

from pymongo import ReturnDocument

from models.database import DuplicateKeyError
from models.sequences import Sequence


class SequenceService:
    @staticmethod
    async def next_value(name: str) -> int:
        """The next number under this name, from 1.

        Never part of a transaction, so that those who number things do not wait for each other: a number whose user fails
        afterwards stays unused. One command, shared by all who ask while another is under way; three for the first number of a
        name.
        """
        key = (asyncio.get_running_loop(), name)
        draw = _waiting.get(key)
        if draw is None:
            draw = _waiting[key] = _Draw()
            draw.first = asyncio.create_task(_draw(name, key, draw))
        place = draw.count
        draw.count += 1
        assert draw.first is not None
        return await asyncio.shield(draw.first) + place

    @staticmethod
    async def next_number(prefix: str, *, now: datetime) -> str:
        """The next number of a UTC day, such as `ORD-20261121-000042`."""
        day = f"{prefix}-{now.astimezone(UTC):%Y%m%d}"
        return f"{day}-{await SequenceService.next_value(day):06d}"


@dataclass(slots=True, eq=False)
class _Draw:
    """Numbers to be drawn together: how many, and the first of them once they are."""

    count: int = 0
    first: asyncio.Task[int] | None = None


_waiting: dict[Hashable, _Draw] = {}
_under_way: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()


async def _draw(name: str, key: Hashable, draw: _Draw) -> int:
    lock = _under_way.setdefault(key, asyncio.Lock())
    try:
        await lock.acquire()
    finally:
        del _waiting[key]  # whoever asks from now on waits for the next
    try:
        return await _advance(name, draw.count) - draw.count + 1
    finally:
        lock.release()


async def _advance(name: str, count: int) -> int:
    """The last of so many numbers, which are now given out."""
    while True:
        row = await Sequence.collection().find_one_and_update(
            {"name": name}, {"$inc": {"value": count}}, {"value": 1}, return_document=ReturnDocument.AFTER
        )
        if row is not None:
            return int(row["value"])
        # Not an upsert: of several callers who open a sequence at once, the embedded server answers some with nothing.
        with contextlib.suppress(DuplicateKeyError):
            await Sequence(name=name).store()
