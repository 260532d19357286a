"""Whether what is kept of customers' purchases is what their orders tell."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from beanie import PydanticObjectId

from models.analytics.purchases import CustomerDay, CustomerTotals, CustomerValue
from models.database import Session
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order
from services.analytics.purchases.purchases import ORDER_FIELDS, PURCHASE_CONSUMER, PurchaseService, values_of
from services.analytics.purchases.sums import WrongSum, mend_sum, wrong_sums
from services.drift import Drift
from services.events import EventService

BATCH = 50  # customers at a time, with all their orders

_TOLD = ("currency", "sales_count", "kept_count", "paid", "refunded", "net", "first_paid_at", "last_kept_at")


async def purchase_drift() -> AsyncIterator[Drift]:
    """Customers whose rows are not what their orders amount to, one drift each, and sums and days that are not what rows are.

    Nothing while nothing was ever kept, or their consumer has events to come. What differs is looked at twice: an order that was
    paid in between does not.
    """
    if not await CustomerValue.find_rows({}, {"_id": 1}, limit=1):
        return
    after: dict[str, Any] = {}
    while rows := await Customer.find_rows(after, {"_id": 1}, sort=[("_id", 1)], limit=BATCH):
        ids = [row["_id"] for row in rows]
        suspects = [drift.id for drift in await _differences(ids)]
        if suspects and not await EventService.is_behind(PURCHASE_CONSUMER):
            for drift in await _differences(suspects):
                yield drift
        after = {"_id": {"$gt": ids[-1]}}
    async for wrong in wrong_sums():
        yield _drift_of(wrong)


def is_purchase(row: Drift) -> bool:
    return row.collection in {document.get_collection_name() for document in (CustomerValue, CustomerDay, CustomerTotals)}


async def repair_purchases(row: Drift, *, session: Session) -> bool:
    """Count the customer, the sums or the day anew; false when that changed nothing any more."""
    if row.collection == CustomerValue.get_collection_name():
        return bool(await PurchaseService.recount(row.id))
    currency, _, day = row.field.partition(" ")
    return await mend_sum(currency, datetime.fromisoformat(day).replace(tzinfo=UTC) if day else None, session=session)


def _drift_of(wrong: WrongSum) -> Drift:
    place = wrong.currency if wrong.day is None else f"{wrong.currency} {wrong.day:%Y-%m-%d}"
    stored, counted = (
        ", ".join(f"{name} {value}" for name, value in fields.items() if isinstance(value, int)) or "nothing"
        for fields in (wrong.stored, wrong.counted)
    )
    if stored == counted:
        counted = f"{counted}, by others or at other times"
    return Drift(wrong.document.get_collection_name(), wrong.id, place, stored, counted)


async def _differences(ids: Sequence[PydanticObjectId]) -> list[Drift]:
    within = {"customer_id": {"$in": list(ids)}}
    orders = await Order.find_rows(within, ORDER_FIELDS)
    stored = await CustomerValue.find_rows(within)
    found = []
    for id in ids:
        paid = [row for row in orders if row["customer_id"] == id and row["paid_at"] is not None]
        wanted = _told(values_of(id, paid))
        kept = _told(row for row in stored if row["customer_id"] == id)
        if kept != wanted:
            found.append(Drift(CustomerValue.get_collection_name(), id, "purchases", kept, wanted))
    return found


def _told(rows: Any) -> str:
    lines = ("; ".join(f"{name} {row[name]}" for name in _TOLD) for row in sorted(rows, key=lambda row: row["currency"]))
    return " | ".join(lines) or "nothing"
