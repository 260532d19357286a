"""Whether payments add up: what was given back of each, and what still can be, against its refunds."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.payments import Payment, PaymentState, Refund, RefundState
from services.drift import Drift

BATCH = 500

Row = dict[str, Any]
_FIELDS = dict.fromkeys(("state", "amount", "captured", "refunded", "refundable"), 1)


async def payment_drift() -> AsyncIterator[Drift]:
    """Payments whose sums are not those of their refunds, and refunds of payments that are not there.

    It is money: a person must look at each. What looks wrong is looked at again within one snapshot.
    """
    after: Mapping[str, Any] = {}
    while rows := await Payment.find_rows(after, _FIELDS, sort=[("_id", 1)], limit=BATCH):
        for id in dict.fromkeys(drift.id for drift in await _differences(rows)):
            for drift in await run_transaction(partial(_look_at_payment, id=id)):
                yield drift
        after = {"_id": {"$gt": rows[-1]["_id"]}}
    after = {}
    while rows := await Refund.find_rows(after, {"payment_id": 1}, sort=[("_id", 1)], limit=BATCH):
        for drift in await _lost(rows):
            for found in await run_transaction(partial(_look_at_refund, id=drift.id)):
                yield found
        after = {"_id": {"$gt": rows[-1]["_id"]}}


def refunds_pipeline(payment_ids: Sequence[PydanticObjectId]) -> list[dict[str, Any]]:
    """Rows `{"_id": {"payment_id": ..., "state": "succeeded"}, "amount": 1999}`."""
    return [
        {"$match": {"payment_id": {"$in": list(payment_ids)}}},
        {"$group": {"_id": {"payment_id": "$payment_id", "state": "$state"}, "amount": {"$sum": "$amount.amount"}}},
    ]


async def _differences(rows: Sequence[Row], session: Session | None = None) -> list[Drift]:
    sums = await Refund.aggregate_rows(refunds_pipeline([row["_id"] for row in rows]), session=session)
    given = {(row["_id"]["payment_id"], row["_id"]["state"]): row["amount"] for row in sums}
    return [drift for row in rows for drift in _of(row, given)]


def _of(row: Row, given: Mapping[tuple[PydanticObjectId, str], int]) -> list[Drift]:
    refunded = given.get((row["_id"], RefundState.SUCCEEDED), 0)
    running = given.get((row["_id"], RefundState.PENDING), 0)
    # Captured is what the gateway said: of a payment in any other state nothing is, and never more than was asked for.
    captured = min(row["captured"], row["amount"]["amount"]) if row["state"] == PaymentState.CAPTURED else 0
    numbers = (("captured", captured), ("refunded", refunded), ("refundable", captured - refunded - running))
    found = [
        Drift(Payment.get_collection_name(), row["_id"], field, row[field], counted, is_derived=False)
        for field, counted in numbers
        if row[field] != counted
    ]
    if refunded + running > captured:
        text = f"{refunded + running} given back or under way"
        found.append(Drift(Payment.get_collection_name(), row["_id"], "refunds", text, captured, is_derived=False))
    return found


async def _look_at_payment(session: Session, *, id: PydanticObjectId) -> list[Drift]:
    return await _differences(await Payment.find_rows({"_id": id}, _FIELDS, session=session), session)


async def _lost(rows: Sequence[Row], session: Session | None = None) -> list[Drift]:
    wanted = sorted({row["payment_id"] for row in rows})
    there = {row["_id"] for row in await Payment.find_rows({"_id": {"$in": wanted}}, {"_id": 1}, session=session)}
    return [
        Drift(Refund.get_collection_name(), row["_id"], "payment_id", str(row["payment_id"]), "no such payment", False)
        for row in rows
        if row["payment_id"] not in there
    ]


async def _look_at_refund(session: Session, *, id: PydanticObjectId) -> list[Drift]:
    return await _lost(await Refund.find_rows({"_id": id}, {"payment_id": 1}, session=session), session)
