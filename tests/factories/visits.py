"""Visitors, what clients tell of them, and raw rows."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from models.analytics.events import ClientKind, VisitEvent, VisitKind, event_key, quarter_of
from services.analytics.visits.intake import ClientEventDraft
from services.analytics.visits.visitors import Visitor

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

_numbers = count(1)


def make_visitor(address: str = "203.0.113.7", **over: Any) -> Visitor:
    return Visitor(**{"address": address, "user_agent": BROWSER, **over})


def make_told(**over: Any) -> ClientEventDraft:
    """A page view at noon of 21 November 2026."""
    return ClientEventDraft(**{"id": uuid4(), "kind": ClientKind.PAGE_VIEW, "at": NOON, "path": "/", **over})


def make_event(kind: VisitKind = VisitKind.PAGE_VIEW, visitor: str = "a", at: datetime = NOON, **over: Any) -> VisitEvent:
    at = quarter_of(at)
    kept = {"id": event_key("test", str(next(_numbers))), "created_at": at, "updated_at": at, "expires_at": at + timedelta(90)}
    return VisitEvent(**{**kept, "kind": kind, "visitor": visitor, "at": at, **over})


async def create_event(kind: VisitKind = VisitKind.PAGE_VIEW, visitor: str = "a", at: datetime = NOON, **over: Any) -> VisitEvent:
    return await make_event(kind, visitor, at, **over).store()
