"""How often things are looked at: counted in memory per thing and day, each visitor once per half hour, written in batches."""

import asyncio
import hashlib
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from beanie import PydanticObjectId
from pymongo import UpdateOne

from models.base import AgoraDocument
from models.base import now as present
from models.database import Session, run_transaction
from services.flushing import Flushing

WINDOW = timedelta(minutes=30)
MAX_VISITORS = 200_000  # remembered at once; beyond it the one seen longest ago is forgotten, and may count again
MAX_BATCH = 200  # rows of one transaction

_BOTS = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|facebookexternalhit|embedly|preview|feedfetcher|feedly|monitor|uptime|lighthouse|headless"
    r"|curl/|wget/|python-requests|python-httpx|aiohttp|go-http-client|java/|libwww|scrapy",
    re.IGNORECASE,
)

Row = tuple[PydanticObjectId, datetime]


def is_bot(user_agent: str) -> bool:
    """True for crawlers, feed readers, monitors and scripts that say so, and for clients that say nothing."""
    return not user_agent.strip() or _BOTS.search(user_agent) is not None


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted, and where: the sums in `views_count` of the subjects, the days in rows that name them in `key`."""

    subjects: type[AgoraDocument]
    days: type[AgoraDocument]
    key: str


class ViewCounter(Flushing):
    """One per process and kind. Loses at most the views of the last flush interval when the process is killed."""

    what = "views"

    def __init__(self, secret: bytes, counted: Counted, *, max_visitors: int = MAX_VISITORS) -> None:
        self._counted = counted
        self._key = hashlib.blake2b(secret, person=b"agora-visitors").digest()
        self._max_visitors = max_visitors
        self._seen: OrderedDict[bytes, datetime] = OrderedDict()
        self._pending: Counter[Row] = Counter()
        self._flushing = asyncio.Lock()

    @property
    def pending(self) -> int:
        """Views that are counted and not written yet."""
        return self._pending.total()

    def count(self, subject_id: PydanticObjectId, *, address: str, user_agent: str, now: datetime | None = None) -> bool:
        """Note a view; true when it counts. Bots do not, nor the same visitor within half an hour of the last counted view.

        A visitor is a keyed hash of address, user agent and day: it names nobody, and cannot be followed from day to day.
        """
        if is_bot(user_agent):
            return False
        now = now or present()
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        visitor = self._visitor(day, str(subject_id), address, user_agent)
        last = self._seen.get(visitor)
        if last is not None and now - last < WINDOW:
            return False
        self._seen[visitor] = now
        self._seen.move_to_end(visitor)
        while len(self._seen) > self._max_visitors:
            self._seen.popitem(last=False)
        self._pending[subject_id, day] += 1
        return True

    def _visitor(self, day: datetime, subject: str, address: str, user_agent: str) -> bytes:
        told = f"{day.date()}\0{subject}\0{address}\0{user_agent}".encode(errors="replace")
        return hashlib.blake2b(told, key=self._key, digest_size=16).digest()

    async def flush(self) -> int:
        """Write what was counted until now, and return how many views that was. What fails to be written is kept."""
        async with self._flushing:
            self._forget_old()
            counted, self._pending = self._pending, Counter()
            rows = sorted(counted)
            written = 0
            try:
                for start in range(0, len(rows), MAX_BATCH):
                    batch = rows[start : start + MAX_BATCH]
                    await _write(self._counted, {row: counted[row] for row in batch})
                    for row in batch:
                        written += counted.pop(row)
            finally:
                self._pending.update(counted)
            return written

    def _forget_old(self) -> None:
        """Visitors are in the order in which they were last counted, so the old ones are in front."""
        horizon = present() - WINDOW
        while self._seen and next(iter(self._seen.values())) < horizon:
            self._seen.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Visit:
    """Someone reading a page, where that is counted, and who is told when it counts."""

    counter: ViewCounter
    address: str
    user_agent: str
    noted: Callable[[PydanticObjectId], None] | None = None

    def count(self, subject_id: PydanticObjectId) -> None:
        is_new = self.counter.count(subject_id, address=self.address, user_agent=self.user_agent)
        if is_new and self.noted is not None:
            self.noted(subject_id)


async def _write(counted: Counted, views: dict[Row, int]) -> None:
    """The days' rows and the subjects' sums, together."""
    sums: Counter[PydanticObjectId] = Counter()
    for (subject_id, _), count in views.items():
        sums[subject_id] += count

    async def work(session: Session) -> None:
        days = [_day_upsert(counted.key, row, count) for row, count in views.items()]
        await counted.days.collection().bulk_write(days, session=session)
        await counted.subjects.collection().bulk_write(list(_sum_updates(sums)), session=session)

    await run_transaction(work, hot=sorted(sums))


def _day_upsert(key: str, row: Row, count: int) -> UpdateOne:
    subject_id, day = row
    stamp = present()
    return UpdateOne(
        {key: subject_id, "day": day},
        {"$inc": {"views_count": count}, "$set": {"updated_at": stamp}, "$setOnInsert": {"created_at": stamp}},
        upsert=True,
    )


def _sum_updates(sums: Counter[PydanticObjectId]) -> Iterable[UpdateOne]:
    stamp = present()
    for subject_id in sorted(sums):
        yield UpdateOne({"_id": subject_id}, {"$inc": {"views_count": sums[subject_id]}, "$set": {"updated_at": stamp}})
