"""How often products are looked at, and which of them by the same visitor on one day."""

from collections.abc import Iterable
from datetime import datetime

from beanie import PydanticObjectId
from pymongo import UpdateOne

from models.analytics.events import VisitEvent, VisitKind, day_of
from models.database import Session
from models.ecommerce.catalog import Product, ProductViews, ProductVisit
from services.views import MAX_VISITORS, Counted, ViewCounter

MAX_REMEMBERED = 30  # products of one visitor and day, the latest

_PRODUCTS = Counted(Product, ProductViews, "product_id")


def product_views(secret: bytes, *, max_visitors: int = MAX_VISITORS) -> ViewCounter:
    """A counter of the views of products."""
    return ViewCounter(secret, _PRODUCTS, max_visitors=max_visitors)


async def remember_visits(events: Iterable[VisitEvent], *, session: Session) -> None:
    """Note which products these events saw together, under the visitor's name of that day: it is gone with the day's salt.

    To be called once for each event. Who objects to being counted, and robots, are in no event.
    """
    visits: dict[tuple[str, datetime], list[PydanticObjectId]] = {}
    for event in sorted(events, key=lambda event: event.at):
        kind, _, id = event.subject.partition(":")
        if event.kind is VisitKind.PRODUCT_VIEW and kind == "product":
            visits.setdefault((event.visitor, day_of(event.at)), []).append(PydanticObjectId(id))
    if not visits:
        return
    updates = [
        UpdateOne(
            {"visitor": visitor},
            {
                "$push": {"product_ids": {"$each": product_ids, "$slice": -MAX_REMEMBERED}},
                "$set": {"updated_at": day},  # when they came is nobody's business
                "$setOnInsert": {"day": day, "created_at": day},
            },
            upsert=True,
        )
        for (visitor, day), product_ids in sorted(visits.items())
    ]
    await ProductVisit.collection().bulk_write(updates, session=session)
