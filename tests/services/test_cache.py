"""The in-process cache: time to live, bound, single flight, invalidation, counts."""

import asyncio

import pytest

from services.cache import Cache, all_caches, clear_all_caches


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> Cache[str, int]:
    return Cache("under-test", ttl=10, size=2, clock=clock)


class TestGet:
    def test_value_lives_for_its_time(self, cache: Cache[str, int], clock: Clock) -> None:
        cache.put("a", 1)

        clock.seconds = 9.999
        assert cache.get("a") == 1
        clock.seconds = 10
        assert cache.get("a") is None

    def test_hits_and_misses_are_counted(self, cache: Cache[str, int]) -> None:
        cache.get("a")
        cache.put("a", 1)
        cache.get("a")
        cache.get("a")

        assert (cache.hits, cache.misses) == (2, 1)

    def test_least_recently_used_goes_first(self, cache: Cache[str, int]) -> None:
        cache.put("a", 1)
        cache.put("b", 2)
        cache.get("a")
        cache.put("c", 3)

        assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
        assert len(cache) == 2


class TestGetOrLoad:
    async def test_fifty_callers_share_one_load(self, cache: Cache[str, int]) -> None:
        loads = 0

        async def load() -> int:
            nonlocal loads
            loads += 1
            await asyncio.sleep(0.01)
            return loads

        assert await asyncio.gather(*(cache.get_or_load("a", load) for _ in range(50))) == [1] * 50
        assert await cache.get_or_load("a", load) == 1
        assert loads == 1

    async def test_keys_load_independently(self, cache: Cache[str, int]) -> None:
        async def load(value: int) -> int:
            await asyncio.sleep(0)
            return value

        values = await asyncio.gather(cache.get_or_load("a", lambda: load(1)), cache.get_or_load("b", lambda: load(2)))
        assert list(values) == [1, 2]

    async def test_failure_reaches_all_who_waited_and_is_not_remembered(self, cache: Cache[str, int]) -> None:
        async def fail() -> int:
            await asyncio.sleep(0.01)
            raise LookupError

        async def load() -> int:
            return 7

        results = await asyncio.gather(*(cache.get_or_load("a", fail) for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [LookupError] * 3
        assert await cache.get_or_load("a", load) == 7

    async def test_failure_with_nobody_waiting_leaves_no_warning(self, cache: Cache[str, int]) -> None:
        async def fail() -> int:
            raise LookupError

        with pytest.raises(LookupError):
            await cache.get_or_load("a", fail)

    async def test_value_invalidated_while_loading_is_not_kept(self, cache: Cache[str, int]) -> None:
        started, proceed = asyncio.Event(), asyncio.Event()

        async def load() -> int:
            started.set()
            await proceed.wait()
            return 1

        loading = asyncio.create_task(cache.get_or_load("a", load))
        await started.wait()
        cache.invalidate(["a"])
        proceed.set()

        assert await loading == 1
        assert cache.get("a") is None

    async def test_cancelled_waiter_does_not_cancel_the_load(self, cache: Cache[str, int]) -> None:
        proceed = asyncio.Event()

        async def load() -> int:
            await proceed.wait()
            return 1

        first = asyncio.create_task(cache.get_or_load("a", load))
        await asyncio.sleep(0)
        second = asyncio.create_task(cache.get_or_load("a", load))
        await asyncio.sleep(0)
        second.cancel()
        proceed.set()

        assert await first == 1
        with pytest.raises(asyncio.CancelledError):
            await second

    async def test_cancelled_loader_leaves_the_key_free(self, cache: Cache[str, int]) -> None:
        async def hang() -> int:
            await asyncio.sleep(30)
            return 0

        async def load() -> int:
            return 5

        first = asyncio.create_task(cache.get_or_load("a", hang))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

        assert await cache.get_or_load("a", load) == 5


class TestInvalidate:
    def test_named_keys_or_everything(self, cache: Cache[str, int]) -> None:
        cache.put("a", 1)
        cache.put("b", 2)

        cache.invalidate(["a", "absent"])
        assert (cache.get("a"), cache.get("b")) == (None, 2)

        cache.invalidate()
        assert len(cache) == 0

    def test_every_living_cache_is_cleared(self, cache: Cache[str, int]) -> None:
        cache.put("a", 1)

        clear_all_caches()

        assert len(cache) == 0
        assert "under-test" in [known.name for known in all_caches()]
