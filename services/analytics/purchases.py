"""Keeps what customers bought as their orders tell it: always computed anew from all orders of one customer.

So an event that comes twice, late or out of order does no harm, and a rebuild is the same step for every customer.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from beanie import PydanticObjectId
from pymongo import InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from models.analytics.purchases import CustomerSale, CustomerValue
from models.base import now as present
from models.database import Session, heed_cancellation, run_transaction, start_again
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order
from models.events import Event, EventType
from services.events import Consumer

Row = dict[str, Any]

BATCH = 200
ORDER_FIELDS = {"currency": 1, "paid_at": 1, "cancelled_at": 1, "totals.total.amount": 1, "refunded.amount": 1}


class PurchaseService:
    @staticmethod
    async def recount(customer_id: PydanticObjectId) -> bool:
        """Make the customer's rows what their orders say; true when they were not. One transaction: three reads, and the writes.

        Two that overlap both want the rows they change, so the one that read first starts again.
        """

        async def work(session: Session) -> bool:
            orders = await Order.find_rows({"customer_id": customer_id}, ORDER_FIELDS, session=session)
            sales = _sales_of(customer_id, [row for row in orders if row["paid_at"] is not None])
            values = values_of(customer_id, [row for row in orders if row["paid_at"] is not None])
            try:
                has_sold = await _make_so(CustomerSale, "order_id", customer_id, sales, session=session)
                has_moved = await _make_so(CustomerValue, "currency", customer_id, values, session=session)
            except BulkWriteError as error:
                raise start_again("another worker counted the customer") from error
            return has_sold or has_moved

        return await run_transaction(work, hot=[f"purchases of {customer_id}"])

    @staticmethod
    async def rebuild() -> int:
        """Recount every customer, in the order of their ids; returns of how many the rows were not right.

        May be killed and begun again at any point, and run beside the consumer.
        """
        changed, after = 0, None
        while True:
            query: Row = {} if after is None else {"_id": {"$gt": after}}
            rows = await Customer.find_rows(query, {"_id": 1}, sort=[("_id", 1)], limit=BATCH)
            for row in rows:
                heed_cancellation()
                changed += await PurchaseService.recount(row["_id"])
            if len(rows) < BATCH:
                return changed
            after = rows[-1]["_id"]


def _sales_of(customer_id: PydanticObjectId, orders: Iterable[Row]) -> dict[Any, Row]:
    """By order, what its row holds."""
    orders = list(orders)
    first = _firsts(orders)
    return {
        row["_id"]: {
            "order_id": row["_id"],
            "customer_id": customer_id,
            "currency": row["currency"],
            "paid_at": row["paid_at"],
            "first_paid_at": first[row["currency"]],
            "total": row["totals"]["total"]["amount"],
        }
        for row in orders
    }


def values_of(customer_id: PydanticObjectId, orders: Iterable[Row]) -> dict[Any, Row]:
    """By currency, what its row holds."""
    orders = list(orders)
    values: dict[Any, Row] = {}
    for currency, first in _firsts(orders).items():
        own = [row for row in orders if row["currency"] == currency]
        kept = [row["paid_at"] for row in own if row["cancelled_at"] is None]
        paid = sum(row["totals"]["total"]["amount"] for row in own)
        refunded = sum(row["refunded"]["amount"] for row in own)
        values[currency] = {
            "customer_id": customer_id,
            "currency": currency,
            "first_paid_at": first,
            "last_kept_at": max(kept, default=None),
            "sales_count": len(own),
            "kept_count": len(kept),
            "paid": paid,
            "refunded": refunded,
            "net": paid - refunded,
        }
    return values


def _firsts(orders: Iterable[Row]) -> Row:
    first: Row = {}
    for row in orders:
        known = first.get(row["currency"], row["paid_at"])
        first[row["currency"]] = min(known, row["paid_at"])
    return first


async def _make_so(
    document: type[CustomerSale] | type[CustomerValue],
    key: str,
    customer_id: PydanticObjectId,
    wanted: Mapping[Any, Row],
    *,
    session: Session,
) -> bool:
    """Make the stored rows of a customer the wanted ones, by key; true when they were not. Three commands at most."""
    stored = {row[key]: row for row in await document.find_rows({"customer_id": customer_id}, session=session)}
    gone = [row["_id"] for value, row in stored.items() if value not in wanted]
    writes: list[UpdateOne | InsertOne[Row]] = [
        InsertOne(document.model_validate(fields).row()) for value, fields in wanted.items() if value not in stored
    ]
    stamp = present()
    for value, row in stored.items():
        changed = {name: content for name, content in wanted.get(value, {}).items() if row[name] != content}
        if changed:
            writes.append(UpdateOne({"_id": row["_id"]}, {"$set": {**changed, "updated_at": stamp}}))
    if gone:
        await document.collection().delete_many({"_id": {"$in": gone}}, session=session)
    if writes:
        await document.collection().bulk_write(writes, session=session)
    return bool(gone or writes)


async def _note(event: Event) -> None:
    order_id = PydanticObjectId(event.subject.removeprefix("order:"))
    row = await Order.find_row({"_id": order_id}, {"customer_id": 1, "paid_at": 1})
    if row is not None and row["customer_id"] is not None and row["paid_at"] is not None:
        await PurchaseService.recount(row["customer_id"])


PURCHASE_CONSUMER = Consumer(
    "customer_purchases",
    {
        EventType.ORDER_CONFIRMED,
        EventType.ORDER_UPDATED,
        EventType.ORDER_CANCELLED,
        EventType.ORDER_REFUNDED,
        EventType.ORDER_IMPORTED,
    },
    _note,
)
"""Keeps what customers bought. Harmless to repeat."""
