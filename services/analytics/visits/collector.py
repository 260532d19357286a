"""What the API itself sees of visits: noted in memory while it answers, written by a task."""

import asyncio
import secrets
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice

import structlog

from models.analytics.events import VisitEvent, VisitKind, day_of, event_key, quarter_of
from models.base import now as present
from models.database import after_commit
from services.analytics.visits.intake import keep_events, lasting
from services.analytics.visits.places import name_of
from services.analytics.visits.visitors import Visitor, VisitorSalts
from services.flushing import Flushing
from services.settings import Settings

log = structlog.get_logger(__name__)

MAX_PENDING = 20_000  # beyond it, what is new is dropped: a database that is away must not fill the memory
BATCH = 500


@dataclass(frozen=True, slots=True)
class _Noted:
    kind: VisitKind
    visitor: Visitor
    at: datetime
    key: str
    subject: str
    term: str


class VisitCollector(Flushing):
    """One per process. Delays no request: what it is told is kept in memory and written a moment later."""

    what = "visits"

    def __init__(self, settings: Settings, *, salts: VisitorSalts, max_pending: int = MAX_PENDING) -> None:
        self._settings = settings
        self._salts = salts
        self._max_pending = max_pending
        self._noted: deque[_Noted] = deque()
        self._flushing = asyncio.Lock()
        self.dropped = 0

    @property
    def pending(self) -> int:
        return len(self._noted)

    def note(
        self,
        kind: VisitKind,
        visitor: Visitor,
        *,
        subject: str = "",
        term: str = "",
        key: str | None = None,
        now: datetime | None = None,
    ) -> None:
        """Keep what a visitor did, once the running transaction has been committed if there is one.

        What carries a `key` counts once under it, also when the request it came with is repeated. Nothing is kept of robots,
        nor of who asks not to be counted.
        """
        if visitor.is_counted:
            noted = _Noted(kind, visitor, now or present(), key or secrets.token_hex(16), subject, name_of(term))
            after_commit(partial(self._keep, noted))

    def _keep(self, noted: _Noted) -> None:
        if len(self._noted) < self._max_pending:
            self._noted.append(noted)
        else:
            self.dropped += 1

    async def flush(self) -> int:
        """Write what was noted until now, and return how much of it is new. What fails to be written is kept.

        Written again after a failure of which nobody knows how far it went, nothing counts twice: the ids are made when it is
        noted.
        """
        written = 0
        async with self._flushing:
            for _ in range(-(-len(self._noted) // BATCH)):
                batch = list(islice(self._noted, BATCH))
                written += await keep_events([await self._to_row(noted) for noted in batch])
                for _ in batch:
                    self._noted.popleft()
        if self.dropped:
            log.warning("visits_dropped", dropped=self.dropped)
            self.dropped = 0
        return written

    async def _to_row(self, noted: _Noted) -> VisitEvent:
        at, now = quarter_of(noted.at), present()
        row = VisitEvent(
            id=event_key(noted.kind, await self._salts.key_hash(noted.key, day=day_of(at), now=now)),
            kind=noted.kind,
            at=at,
            visitor=await self._salts.hash_of(noted.visitor, day=day_of(at), now=now),
            subject=noted.subject,
            term=noted.term,
            expires_at=at,
        )
        return lasting(row, self._settings)
