"""What clients tell of visits: checked, stripped of what was somebody's, and kept once."""

import asyncio
import random
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

from beanie import PydanticObjectId
from pydantic import Field, StringConstraints
from pymongo import InsertOne
from pymongo.errors import BulkWriteError

from models.analytics.events import (
    ClientKind,
    EventsTaken,
    Screen,
    VisitEvent,
    VisitKind,
    day_of,
    event_key,
    quarter_of,
)
from models.base import UtcDatetime
from models.base import now as present
from models.database import start_again
from services.analytics.visits.places import host_of, place_of
from services.analytics.visits.visitors import Visitor, VisitorSalts
from services.inputs import InputPart
from services.ratelimits import RateLimitService, RatePolicy
from services.settings import Settings

MAX_EVENTS = 50
MAX_BYTES = 64 * 1024
OLDEST = timedelta(hours=24)

_DUPLICATE, _CONFLICT = 11000, 112
_ATTEMPTS = 10


class ClientEventDraft(InputPart):
    """One thing a visitor did, as a client tells it. There is no field for who they are."""

    id: UUID = Field(
        description="Made by the client, a random one for each event: sent again, it counts once",
        examples=["3f1f8a52-6f5e-4d0e-9c43-0d2b7f7f3c11"],
    )
    kind: ClientKind
    at: UtcDatetime = Field(description="When; later than now is now", examples=["2026-11-21T10:30:00Z"])
    path: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        description="The page. Of its query nothing but `utm_source`, `utm_medium` and `utm_campaign` is kept",
        examples=["/shirts/linen?utm_source=newsletter&utm_campaign=spring"],
    )
    referrer: Annotated[str, StringConstraints(max_length=500)] = Field(
        default="", description="`document.referrer`; its host is kept", examples=["https://search.example/?q=shirts"]
    )
    screen: Screen | None = None


class VisitService:
    @staticmethod
    async def record_events(
        drafts: Sequence[ClientEventDraft],
        *,
        visitor: Visitor,
        salts: VisitorSalts,
        settings: Settings,
        now: datetime | None = None,
    ) -> EventsTaken:
        """Keep what a client tells of one visitor. An id counts once, however often and by however many it is sent.

        Nothing is kept of robots, nor of who asks not to be counted. Raises TooManyAttemptsError.
        """
        now = now or present()
        if not visitor.is_counted:
            return EventsTaken(accepted=0, duplicates=0, ignored=len(drafts))
        limit = RatePolicy("analytics", settings.analytics_batches, 300)
        await RateLimitService.require(limit, await salts.address_hash(visitor, now=now), now=now)
        own = own_hosts(settings)
        wanted = [draft for draft in drafts if draft.at > now - OLDEST]
        rows: dict[PydanticObjectId, VisitEvent] = {}
        for draft in wanted:
            row = _to_row(draft, visitor=await salts.hash_of(visitor, day=_day(draft, now), now=now), own=own, now=now)
            rows.setdefault(row.id, lasting(row, settings))
        accepted = await keep_events(list(rows.values()))
        return EventsTaken(accepted=accepted, duplicates=len(wanted) - accepted, ignored=len(drafts) - len(wanted))


async def keep_events(rows: Sequence[VisitEvent]) -> int:
    """Write those that are not kept yet, and return how many these were.

    Plain inserts under the unique `_id`: of any number of callers with one event, one writes it. No transaction, which could
    not go on after a duplicate.
    """
    waiting, written = list(rows), 0
    for attempt in range(_ATTEMPTS):
        if not waiting:
            return written
        try:
            await VisitEvent.collection().bulk_write([InsertOne(row.row()) for row in waiting], ordered=False)
        except BulkWriteError as error:
            refused = error.details["writeErrors"]
            if any(one["code"] not in (_DUPLICATE, _CONFLICT) for one in refused):
                raise
            written += len(waiting) - len(refused)
            # A server may refuse what an open transaction holds: whoever has it there keeps it, or gives it up in a moment.
            waiting = [waiting[one["index"]] for one in refused if one["code"] == _CONFLICT]
            await asyncio.sleep(random.uniform(0.5, 1.0) * 0.002 * 2**attempt if waiting else 0)  # jitter, no secret
        else:
            return written + len(waiting)
    raise start_again("others hold these events")


def lasting(row: VisitEvent, settings: Settings) -> VisitEvent:
    """The row with its times as they are kept: no finer than a quarter of an hour, and over when the setting says."""
    expires_at = day_of(row.at) + timedelta(days=settings.analytics_kept_days)
    kept: VisitEvent = row.model_copy(update={"created_at": row.at, "updated_at": row.at, "expires_at": expires_at})
    return kept


def own_hosts(settings: Settings) -> frozenset[str]:
    """The hosts of the shop itself: who comes from there came from nowhere."""
    hosts = (urlsplit(origin).hostname or "" for origin in (settings.base_url, *settings.cors_origins))
    return frozenset(host.removeprefix("www.") for host in hosts)


def _day(draft: ClientEventDraft, now: datetime) -> datetime:
    return day_of(min(draft.at, now))


def _to_row(draft: ClientEventDraft, *, visitor: str, own: Collection[str], now: datetime) -> VisitEvent:
    place = place_of(draft.path)
    at = quarter_of(min(draft.at, now))
    return VisitEvent(
        id=event_key("client", str(draft.id)),
        kind=VisitKind(draft.kind),
        at=at,
        visitor=visitor,
        path=place.path,
        referrer=host_of(draft.referrer, own=own),
        source=place.source,
        medium=place.medium,
        campaign=place.campaign,
        screen=draft.screen,
        expires_at=at,
    )
