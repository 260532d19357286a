"""How often products are looked at, and which of them by the same visitor on one day."""

from collections import OrderedDict
from datetime import datetime

from beanie import PydanticObjectId
from pymongo import UpdateOne

from models.base import now as present
from models.database import Session, run_transaction
from models.ecommerce.catalog import Product, ProductViews, ProductVisit
from services.views import MAX_BATCH, MAX_VISITORS, Counted, ViewCounter

MAX_REMEMBERED = 30  # products of one visitor and day, the latest
MAX_PENDING = 20_000  # visitors waiting to be written; beyond it new ones are not noted

_PRODUCTS = Counted(Product, ProductViews, "product_id")
_Visit = tuple[str, datetime]  # the visitor's hash and the day


class ProductViewCounter(ViewCounter):
    """As for posts; a view that counts is also noted under its visitor, whose hash takes the day with it."""

    def __init__(self, secret: bytes, *, max_visitors: int = MAX_VISITORS) -> None:
        super().__init__(secret, _PRODUCTS, max_visitors=max_visitors)
        self._visits: OrderedDict[_Visit, list[PydanticObjectId]] = OrderedDict()

    def count(self, subject_id: PydanticObjectId, *, address: str, user_agent: str, now: datetime | None = None) -> bool:
        now = now or present()
        if not super().count(subject_id, address=address, user_agent=user_agent, now=now):
            return False
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        self._note((self._visitor(day, "visit", address, user_agent).hex(), day), [subject_id])
        return True

    async def flush(self) -> int:
        written = await super().flush()
        await self._flush_visits()
        return written

    def _note(self, visit: _Visit, product_ids: list[PydanticObjectId]) -> None:
        noted = self._visits.get(visit)
        if noted is not None:
            noted.extend(product_ids[: MAX_REMEMBERED - len(noted)])
        elif len(self._visits) < MAX_PENDING:
            self._visits[visit] = product_ids[:MAX_REMEMBERED]

    async def _flush_visits(self) -> None:
        """What fails to be written is kept for the next time."""
        noted, self._visits = self._visits, OrderedDict()
        try:
            while noted:
                batch = [noted.popitem(last=False) for _ in range(min(MAX_BATCH, len(noted)))]
                try:
                    await _write(batch)
                except BaseException:
                    noted.update(batch)
                    raise
        finally:
            for visit, product_ids in noted.items():
                self._note(visit, product_ids)


async def _write(visits: list[tuple[_Visit, list[PydanticObjectId]]]) -> None:
    stamp = present()
    updates = [
        UpdateOne(
            {"visitor": visitor},
            {
                "$push": {"product_ids": {"$each": product_ids, "$slice": -MAX_REMEMBERED}},
                "$set": {"updated_at": stamp},
                "$setOnInsert": {"day": day, "created_at": stamp},
            },
            upsert=True,
        )
        for (visitor, day), product_ids in sorted(visits, key=_visitor_of)
    ]

    async def work(session: Session) -> None:
        await ProductVisit.collection().bulk_write(updates, session=session)

    await run_transaction(work)


def _visitor_of(visit: tuple[_Visit, list[PydanticObjectId]]) -> str:
    return visit[0][0]
