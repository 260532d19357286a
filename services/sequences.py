"""Numbers given out one by one, each once, without looking at what was numbered before."""

import contextlib
from datetime import UTC, datetime

from pymongo import ReturnDocument

from models.database import DuplicateKeyError
from models.sequences import Sequence


class SequenceService:
    @staticmethod
    async def next_value(name: str) -> int:
        """The next number under this name, from 1.

        Never part of a transaction, so that those who number things do not wait for each other: a number whose user fails
        afterwards stays unused. One command, three for the first number of a name.
        """
        while True:
            row = await Sequence.collection().find_one_and_update(
                {"name": name}, {"$inc": {"value": 1}}, {"value": 1}, return_document=ReturnDocument.AFTER
            )
            if row is not None:
                return int(row["value"])
            # Not an upsert: of several callers who open a sequence at once, the embedded server answers some with nothing.
            with contextlib.suppress(DuplicateKeyError):
                await Sequence(name=name).store()

    @staticmethod
    async def next_number(prefix: str, *, now: datetime) -> str:
        """The next number of a UTC day, such as `ORD-20261121-000042`."""
        day = f"{prefix}-{now.astimezone(UTC):%Y%m%d}"
        return f"{day}-{await SequenceService.next_value(day):06d}"
