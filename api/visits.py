"""Who visits, for counting visits: read from the request when something counts, and told to the collector."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Annotated

from beanie import PydanticObjectId
from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from models.analytics.events import VisitKind
from services.analytics.visits.collector import VisitCollector
from services.analytics.visits.intake import MAX_BYTES
from services.analytics.visits.visitors import Visitor, VisitorSalts
from services.views import ViewCounter, Visit

_LOADS_AHEAD = ("sec-purpose", "purpose", "x-purpose", "x-moz")


@dataclass(frozen=True, slots=True)
class Tracker:
    """Notes what the visitor of one request does. Costs a request on which nothing counts no more than its making."""

    request: Request

    def note(self, kind: VisitKind, *, subject: str = "", term: str = "", key: str | None = None) -> None:
        collector: VisitCollector = self.request.app.state.visits
        collector.note(kind, visitor_of(self.request), subject=subject, term=term, key=key)

    def note_search(self, text: str, *, page: int) -> None:
        """A search is what somebody typed: not its further pages, and not a list without words."""
        if page == 1 and text.strip():
            self.note(VisitKind.SEARCH, term=text)

    def visit(self, counter: ViewCounter, kind: VisitKind) -> Visit:
        """A visit to a page: when `counter` counts it, it is noted as well."""
        client = self.request.state.client
        return Visit(counter, client.address, client.user_agent, partial(self._note_view, kind))

    def _note_view(self, kind: VisitKind, subject_id: PydanticObjectId) -> None:
        self.note(kind, subject=f"{kind.removesuffix('_view')}:{subject_id}")


def visitor_of(request: Request) -> Visitor:
    client = request.state.client
    return Visitor(client.address, client.user_agent, is_willing=not _objects(request.headers))


def _objects(headers: Mapping[str, str]) -> bool:
    if headers.get("dnt", "").strip() == "1" or headers.get("sec-gpc", "").strip() == "1":
        return True
    return any(told in headers.get(name, "").lower() for name in _LOADS_AHEAD for told in ("prefetch", "prerender", "preview"))


async def _tracker(request: Request) -> Tracker:
    return Tracker(request)


async def _visitor(request: Request) -> Visitor:
    return visitor_of(request)


async def _salts(request: Request) -> VisitorSalts:
    salts: VisitorSalts = request.app.state.visitor_salts
    return salts


async def within_limit(request: Request) -> None:
    """Batches of events are short; the route has read the body by now."""
    if len(await request.body()) > MAX_BYTES:
        raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {MAX_BYTES} bytes at a time.")


TrackerOf = Annotated[Tracker, Depends(_tracker)]
VisitorOf = Annotated[Visitor, Depends(_visitor)]
SaltsOf = Annotated[VisitorSalts, Depends(_salts)]
