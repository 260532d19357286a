"""Visits, as clients tell of them."""

from fastapi import Depends

from api.dependencies import Config
from api.routing import make_router, refuses
from api.schemas.visits import ClientEventBatch
from api.visits import SaltsOf, VisitorOf, within_limit
from models.analytics.events import EventsTaken
from services.analytics.visits.intake import VisitService
from services.ratelimits import TooManyAttemptsError

router = make_router("/analytics/events", "Analytics: events")


@router.post("", status_code=202, responses=refuses(TooManyAttemptsError), dependencies=[Depends(within_limit)])
async def record_events(body: ClientEventBatch, visitor: VisitorOf, salts: SaltsOf, settings: Config) -> EventsTaken:
    """Tell what a visitor did, up to 50 events and 64 KiB at a time. An event counts once under its id, however often it is sent.

    Views of products and posts, searches, carts and orders are not told: the API sees them itself. Who visits is kept as a hash
    that nobody can turn back or follow from one day to the next; nothing is kept of those who do not want to be counted.
    """
    return await VisitService.record_events(body.events, visitor=visitor, salts=salts, settings=settings)
