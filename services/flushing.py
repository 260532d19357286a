"""What is noted in memory while requests are answered, and written by a task of its own."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

import structlog

log = structlog.get_logger(__name__)


class Flushing(ABC):
    """Something noted and not written yet. Loses what was noted since the last flush when the process is killed."""

    what: str  # names it in the log, as in `views_not_written`

    @property
    @abstractmethod
    def pending(self) -> int:
        """How much is noted and not written yet."""

    @abstractmethod
    async def flush(self) -> int:
        """Write what was noted until now, and return how much that was. What fails to be written is kept."""

    @contextlib.asynccontextmanager
    async def running(self, interval_seconds: float) -> AsyncIterator[None]:
        """Flush every `interval_seconds` inside the block, and once more at its end."""
        # Told to stop rather than cancelled: a cancelled commit may have been kept, and would be counted again.
        stopped = asyncio.Event()
        task = asyncio.create_task(self._flush_until(stopped, interval_seconds))
        try:
            yield
        finally:
            stopped.set()
            await task

    async def _flush_until(self, stopped: asyncio.Event, interval_seconds: float) -> None:
        is_last = False
        while not is_last:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), interval_seconds)
            is_last = stopped.is_set()
            await self._try_flush()

    async def _try_flush(self) -> None:
        try:
            await self.flush()
        except Exception as error:  # the next round tries again: the loop must outlive every outage
            reason = f"{type(error).__name__}: {error}"[:200]
            log.warning(f"{self.what}_not_written", pending=self.pending, reason=reason)
