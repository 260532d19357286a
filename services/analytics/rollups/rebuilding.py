"""Rollups from the raw documents: what is read of the orders, and the new generation that a rebuild fills with it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from beanie import PydanticObjectId

from models.analytics.rollups import PERMANENT, FactMark, GenerationState, MonthRollup, Rollup, RollupGeneration
from models.base import now as present
from models.database import DuplicateKeyError, Session, run_transaction, start_again
from models.ecommerce.orders import Order
from models.ecommerce.returns import ReturnRequest
from models.payments import Payment, Refund
from services.analytics.rollups.counting import Fact, count_facts
from services.analytics.rollups.facts import ORDER_FIELDS, PAYMENT_FIELDS, REFUND_FIELDS, RETURN_FIELDS, Row, facts_of_order
from services.errors import InvalidStateError
from services.heavy import heavy_work

BATCH = 100  # orders read, and counted in one transaction
DELETED = 1_000  # rows deleted by one command


class RebuildOvertakenError(InvalidStateError):
    """Another rebuild was begun after this one, and replaces it."""

    code = "rebuild_overtaken"

    def __init__(self) -> None:
        super().__init__("Another rebuild of the rollups began meanwhile: this one ends here.")


async def facts_of_orders(orders: Sequence[Row]) -> list[Fact]:
    """The facts of these stored orders. Three commands."""
    owners = {f"order:{order['_id']}": order["_id"] for order in orders}
    subjects = {"subject": {"$in": list(owners)}}
    payments = grouped(await Payment.find_rows(subjects, PAYMENT_FIELDS), "subject")
    refunds = grouped(await Refund.find_rows(subjects, REFUND_FIELDS), "subject")
    listed = {"order_id": {"$in": list(owners.values())}}
    returns = grouped(await ReturnRequest.find_rows(listed, RETURN_FIELDS), "order_id")
    return facts_of_books(orders, payments=payments, refunds=refunds, returns=returns)


def facts_of_books(
    orders: Iterable[Row],
    *,
    payments: Mapping[Any, Sequence[Row]],
    refunds: Mapping[Any, Sequence[Row]],
    returns: Mapping[Any, Sequence[Row]],
) -> list[Fact]:
    """The facts of these orders; payments and refunds by their subject, returns by their order's id."""
    return [
        fact
        for order in orders
        for owner in [f"order:{order['_id']}"]
        for fact in facts_of_order(
            order,
            payments=payments.get(owner, ()),
            refunds=refunds.get(owner, ()),
            returns=returns.get(order["_id"], ()),
        )
    ]


async def read_facts(order_id: PydanticObjectId | None = None) -> AsyncIterator[list[Fact]]:
    """The facts of all orders by the orders' ids, or of one order. Four commands for a batch."""
    if order_id is not None:
        yield await facts_of_orders(await Order.find_rows({"_id": order_id}, ORDER_FIELDS))
        return
    async for orders in Order.walk(ORDER_FIELDS, batch=BATCH):
        yield await facts_of_orders(orders)


async def rebuild(*, pause: timedelta) -> int:
    number = await run_transaction(_open)
    counted = 0
    async for facts in read_facts():
        async with heavy_work():  # for each batch anew, so that exports and other reports come in between
            await count_facts(facts, generation=number)
        counted += len(facts)

    async def replace(session: Session) -> None:
        fields = {"state": GenerationState.READY.value, "facts": counted, "ready_at": present()}
        query = {"number": number, "state": GenerationState.BUILDING.value}
        if not await RollupGeneration.change_row(query, {"$set": fields}, session=session):
            raise RebuildOvertakenError
        older = {"number": {"$lt": number}, "state": GenerationState.READY.value}
        await RollupGeneration.change_many(older, {"$set": {"state": GenerationState.DROPPED.value}}, session=session)

    await run_transaction(replace)
    await asyncio.sleep(pause.total_seconds())
    await _delete_before(number)
    return counted


async def _open(session: Session) -> int:
    """Begin a generation of its own and give up any that somebody else began."""
    rows = await RollupGeneration.find_rows({}, {"number": 1}, sort=[("number", -1)], limit=1, session=session)
    number = rows[0]["number"] + 1 if rows else 1
    begun = {"state": GenerationState.BUILDING.value}
    await RollupGeneration.change_many(begun, {"$set": {"state": GenerationState.DROPPED.value}}, session=session)
    try:
        await RollupGeneration(number=number, state=GenerationState.BUILDING).store(session=session)
    except DuplicateKeyError as error:
        raise start_again("another rebuild began just now") from error
    return number


async def _delete_before(number: int) -> None:
    """Delete what older generations left, some at a time; what was killed before it came to that is deleted by the next."""
    for document in (Rollup, MonthRollup, FactMark):
        old = {"generation": {"$gt": PERMANENT, "$lt": number}}
        while rows := await document.find_rows(old, {"_id": 1}, limit=DELETED):
            await document.collection().delete_many({"_id": {"$in": [row["_id"] for row in rows]}})


def grouped(rows: Iterable[dict[str, Any]], field: str) -> dict[Any, list[dict[str, Any]]]:
    found: defaultdict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row[field]].append(row)
    return dict(found)
