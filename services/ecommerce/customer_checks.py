"""Whether customers add up: what they spent against the ledger of points and against their orders."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.ecommerce.customers import Customer, LoyaltyEntry
from models.ecommerce.orders import Order
from services.drift import Drift

BATCH = 50  # customers, whose orders are joined with their payments in one command each
SPENT = "spent.amount"
SPENT_ON_ORDERS = "spent.amount by orders"

Row = dict[str, Any]


async def customer_drift() -> AsyncIterator[Drift]:
    """Customers whose `spent` is not the sum of their ledger, which can be repaired, or not what they paid less refunds over all
    orders, which a person must look at: then the ledger itself is wrong.

    What looks wrong is looked at again within one snapshot.
    """
    after: Mapping[str, Any] = {}
    while rows := await Customer.find_rows(after, {"spent": 1}, sort=[("_id", 1)], limit=BATCH):
        for id in [row["_id"] for row, found in zip(rows, await _differences(rows), strict=True) if found]:
            for drift in await run_transaction(partial(_look_at, id=id)):
                yield drift
        after = {"_id": {"$gt": rows[-1]["_id"]}}


def is_spent(row: Drift) -> bool:
    """Whether `repair_spent` is the one to ask."""
    return row.collection == Customer.Settings.name and row.field in (SPENT, SPENT_ON_ORDERS)


async def repair_spent(row: Drift, *, session: Session) -> bool:
    """Store the ledger's sum; false when the customer changed since, or no machine may decide."""
    if row.field != SPENT:
        return False
    as_reported = {"_id": row.id, SPENT: row.stored}
    return await Customer.change(as_reported, {"$set": {SPENT: row.counted}}, session=session) is not None


def ledger_pipeline(customer_ids: Sequence[PydanticObjectId]) -> list[Row]:
    """Rows `{"_id": {"customer_id": ..., "currency": "USD"}, "amount": 1999}`; the currency of entries without money is None."""
    return [
        {"$match": {"customer_id": {"$in": list(customer_ids)}}},
        {
            "$group": {
                "_id": {"customer_id": "$customer_id", "currency": "$amount.currency"},
                "amount": {"$sum": "$amount.amount"},
            }
        },
    ]


def orders_pipeline(customer_ids: Sequence[PydanticObjectId]) -> list[Row]:
    """As `ledger_pipeline`, of what was taken for orders less what was given back.

    Of an order on account a part may have been taken and the rest let go; an order without a payment cost its total, which is 0
    where all is well.
    """
    return [
        {"$match": {"customer_id": {"$in": list(customer_ids)}}},
        {"$match": {"paid_at": {"$ne": None}}},
        # Only what is summed: the embedded server carries the whole orders through the join else, at twice the time.
        {"$project": {"customer_id": 1, "currency": 1, "totals.total.amount": 1, "refunded.amount": 1, "payment_id": 1}},
        {"$lookup": {"from": "payments", "localField": "payment_id", "foreignField": "_id", "as": "payment"}},
        {"$unwind": {"path": "$payment", "preserveNullAndEmptyArrays": True}},
        {
            "$group": {
                "_id": {"customer_id": "$customer_id", "currency": "$currency"},
                "paid": {"$sum": {"$ifNull": ["$payment.captured", "$totals.total.amount"]}},
                "refunded": {"$sum": "$refunded.amount"},
            }
        },
        {"$project": {"amount": {"$subtract": ["$paid", "$refunded"]}}},
    ]


async def _look_at(session: Session, *, id: PydanticObjectId) -> list[Drift]:
    rows = await Customer.find_rows({"_id": id}, {"spent": 1}, session=session)
    return [
        Drift(Customer.get_collection_name(), id, field, row["spent"]["amount"], counted, is_derived=field == SPENT)
        for row, found in zip(rows, await _differences(rows, session), strict=True)
        for field, counted in found.items()
    ]


async def _differences(rows: Sequence[Row], session: Session | None = None) -> list[dict[str, int]]:
    """For each customer the fields that do not add up, with what they should be."""
    ids = [row["_id"] for row in rows]
    by_field = {
        SPENT: _sums(await LoyaltyEntry.aggregate_rows(ledger_pipeline(ids), session=session)),
        SPENT_ON_ORDERS: _sums(await Order.aggregate_rows(orders_pipeline(ids), session=session)),
    }
    return [
        {
            field: counted
            for field, sums in by_field.items()
            if (counted := sums.get((row["_id"], row["spent"]["currency"]), 0)) != row["spent"]["amount"]
        }
        for row in rows
    ]


def _sums(rows: Sequence[Row]) -> dict[tuple[PydanticObjectId, str | None], int]:
    return {(row["_id"]["customer_id"], row["_id"].get("currency")): row["amount"] for row in rows}
