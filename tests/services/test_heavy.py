"""Heavy work waits its turn, and is refused rather than piled up."""

import asyncio
import contextlib

import pytest

from services.heavy import AT_ONCE, QUEUE, READERS_AT_ONCE, OverloadedError, heavy_work, rollup_reads
from tests.races import patiently


async def test_few_at_once_the_rest_wait_and_beyond_the_queue_is_refused() -> None:
    running = most = refused = done = 0
    release, all_refused = asyncio.Event(), asyncio.Event()

    async def report() -> None:
        nonlocal running, most, refused, done
        try:
            async with heavy_work():
                running += 1
                most = max(most, running)
                await release.wait()
                running -= 1
                done += 1
        except OverloadedError:
            refused += 1
            if refused == 5:
                all_refused.set()

    reports = [asyncio.create_task(report()) for _ in range(AT_ONCE + QUEUE + 5)]
    await all_refused.wait()
    release.set()
    await asyncio.gather(*reports)

    assert (most, done, refused) == (AT_ONCE, AT_ONCE + QUEUE, 5)


async def test_failed_work_gives_its_place_back() -> None:
    for _ in range(AT_ONCE + 1):
        with pytest.raises(LookupError):
            async with heavy_work():
                raise LookupError


async def test_readers_of_rollups_never_wait_for_heavy_work() -> None:
    async with heavy_work(), heavy_work(), asyncio.timeout(patiently(5)), contextlib.AsyncExitStack() as readers:
        for _ in range(READERS_AT_ONCE):
            await readers.enter_async_context(rollup_reads())
