"""A small in-process cache: bounded, short-lived, one load per key at a time, counted.

For small hot things that many requests share (names of authors and categories, totals, popular lists). Never for prices, stock or
anything that belongs to one person. Written here rather than taken from a library because the hot path needs a plain dictionary
look-up: no coroutine, no serialisation, no key template.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar
from weakref import WeakSet

from models.clock import ticks

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_caches: "WeakSet[Cache[Hashable, object]]" = WeakSet()


class Cache(Generic[K, V]):
    """Values by key for `ttl` seconds, at most `size` of them; the least recently used goes first."""

    def __init__(self, name: str, *, ttl: float, size: int, clock: Callable[[], float] = ticks) -> None:
        self.name = name
        self.ttl = ttl
        self.size = size
        self.hits = 0
        self.misses = 0
        self._clock = clock
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._loading: dict[K, tuple[int, asyncio.Future[V]]] = {}
        self._generation = 0
        _caches.add(self)  # type: ignore[arg-type]  # the registry only reads names and counts

    def get(self, key: K) -> V | None:
        """The value, or None when it is absent or too old. Counts as a hit or a miss."""
        entry = self._entries.get(key)
        if entry is None or entry[0] <= self._clock():
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[1]

    def peek(self, key: K) -> V | None:
        """The value if it is held, however old; counts as neither."""
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def put(self, key: K, value: V) -> None:
        self._entries[key] = (self._clock() + self.ttl, value)
        self._entries.move_to_end(key)
        while len(self._entries) > self.size:
            self._entries.popitem(last=False)

    async def get_or_load(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """The value, loaded by the first of the callers who miss it; the others wait for the same load.

        A load that fails is reported to all who waited and not remembered. A value that was invalidated while it was being
        loaded is returned to those who waited then, not kept, and not given to those who ask after the invalidation.
        """
        value = self.get(key)
        if value is not None:
            return value
        generation, pending = self._loading.get(key, (-1, None))
        if pending is not None and generation == self._generation:
            return await asyncio.shield(pending)
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        generation = self._generation
        self._loading[key] = (generation, future)
        try:
            loaded = await load()
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                future.cancel()
            else:
                future.set_exception(error)
                future.exception()  # retrieved: nobody else may be waiting
            raise
        else:
            if generation == self._generation:
                self.put(key, loaded)
            future.set_result(loaded)
            return loaded
        finally:
            if self._loading.get(key, (0, None))[1] is future:
                del self._loading[key]

    def invalidate(self, keys: Iterable[K] | None = None) -> None:
        """Forget these keys, or everything."""
        self._generation += 1
        if keys is None:
            self._entries.clear()
            return
        for key in keys:
            self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)


def all_caches() -> list["Cache[Hashable, object]"]:
    """Every living cache, for the metrics and for tests that need an empty house."""
    return sorted(_caches, key=lambda cache: cache.name)


def clear_all_caches() -> None:
    for cache in all_caches():
        cache.invalidate()
