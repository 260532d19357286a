"""Working off what is open: several at once, and one that cannot be settled does not hold up the others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from models.database import DatabaseUnavailableError, PyMongoError, heed_cancellation

log = structlog.get_logger(__name__)

AT_ONCE = 10  # a gateway that has fallen silent takes ten seconds for each

Item = TypeVar("Item")


async def resolve_each(items: Sequence[Item], resolve: Callable[[Item], Awaitable[bool]]) -> int:
    """How many `resolve` took on. One that fails is logged, and tried again when it is due again; an outage ends them all."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(item: Item) -> bool:
        async with slots:
            try:
                return await resolve(item)
            except (PyMongoError, DatabaseUnavailableError):
                raise
            except Exception:
                heed_cancellation()
                log.exception("payment_not_resolved")
                return False

    tasks = [asyncio.create_task(one(item)) for item in items]
    try:
        return sum(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # nobody is at work any more when the lease is given back
