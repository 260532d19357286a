"""Loyalty points and what they come from: a ledger whose sums are a customer's counters."""

from collections.abc import Sequence
from typing import Any

from beanie import PydanticObjectId

from models.database import DuplicateKeyError, Session, start_again
from models.ecommerce.customer_reads import PointsEntryRead, PointsRead
from models.ecommerce.customers import Customer, LoyaltyEntry
from models.money import Money, digits_of
from services.pagination import CursorCodec, PageRequest, find_stretch
from services.settings import Settings
from services.users.permissions import Viewer


class LoyaltyService:
    @staticmethod
    async def record(session: Session, customer_id: PydanticObjectId, *, key: str, points: int, reason: str) -> bool:
        """Give or take points for something that happened; false, and nothing done, when `key` was recorded before."""
        if await LoyaltyEntry.find_row({"key": key}, {"_id": 1}, session=session) is not None:
            return False
        await record_entry(session, LoyaltyEntry(customer_id=customer_id, key=key, points=points, reason=reason))
        return True

    @staticmethod
    async def list_points(*, viewer: Viewer, cursors: CursorCodec, cursor: str | None = None, limit: int = 20) -> PointsRead:
        """One's own balance and its entries, newest first; nothing for who never bought. Raises InvalidCursorError."""
        PageRequest(limit=limit)
        customer = await Customer.find_row({"user_id": viewer.user_id}, {"points_balance": 1})
        if customer is None:
            return PointsRead(balance=0, items=[], next_cursor=None)
        query: dict[str, Any] = {"customer_id": customer["_id"]}
        rows, next_cursor = await find_stretch(
            LoyaltyEntry, query, listing=f"points:{customer['_id']}", cursors=cursors, cursor=cursor, limit=limit
        )
        items = [PointsEntryRead.model_validate({**row, "id": row["_id"]}) for row in rows]
        return PointsRead(balance=customer["points_balance"], items=items, next_cursor=next_cursor)


async def record_entry(session: Session, entry: LoyaltyEntry) -> None:
    """Write an entry and move the counters that are its sums, money only in the currency the customer's is kept in.

    The caller has looked for the key within the transaction; should another one have written it meanwhile, this one starts again.
    """
    await entry.store_later(session=session, refused=_overtaken)
    moved: dict[str, Any] = {
        "points_balance": {"$add": ["$points_balance", entry.points]},
        "orders_count": {"$add": ["$orders_count", entry.orders]},
    }
    if entry.amount:
        is_same = {"$eq": ["$spent.currency", entry.amount.currency]}
        moved["spent.amount"] = {"$add": ["$spent.amount", {"$cond": [is_same, entry.amount.amount, 0]}]}
    # As a pipeline, so that the condition stands beside the key and not in the filter, which then finds by the key alone.
    await Customer.change_later({"_id": entry.customer_id}, [{"$set": moved}], session=session)


def _overtaken(error: DuplicateKeyError) -> Exception:
    return start_again("the entry was made by another transaction")


async def entries_of(order_id: PydanticObjectId, *, session: Session) -> list[LoyaltyEntry]:
    """What an order won and gave back so far, in that order."""
    rows = await LoyaltyEntry.find_rows({"order_id": order_id}, sort=[("_id", 1)], session=session)
    return [LoyaltyEntry.from_row(row) for row in rows]


def points_for(amount: Money, *, settings: Settings) -> int:
    """Points per whole unit of currency: 19.99 USD are 19 units."""
    units: int = amount.amount // 10 ** digits_of(amount.currency)
    return units * settings.points_per_unit


def points_left(entries: Sequence[LoyaltyEntry], *, paid: int, refunded: int) -> int:
    """How many of the points an order won it keeps once `refunded` of `paid` minor units went back, rounded down.

    In proportion to what was won, not to the present rate of points; nothing once everything went back.
    """
    won = sum(entry.points for entry in entries if entry.points > 0)
    return won * max(0, paid - refunded) // paid if paid else 0
