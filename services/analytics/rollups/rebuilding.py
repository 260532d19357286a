"""Rollups from the raw documents: what is read of the orders, and the new generation that a rebuild fills with it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from beanie import PydanticObjectId

from models.analytics.rollups import PERMANENT, VERSION, FactMark, GenerationState, RollupGeneration
from models.base import now as present
from models.database import DuplicateKeyError, Session, run_transaction, start_again
from models.ecommerce.carts import CartAbandonment
from models.ecommerce.orders import Order
from models.ecommerce.returns import ReturnRequest
from models.fraud import FraudReview
from models.payments import Payment, Refund
from services.analytics.rollups.counting import ROLLUPS, Fact, count_facts
from services.analytics.rollups.facts import (
    CART_FIELDS,
    ORDER_FIELDS,
    PAYMENT_FIELDS,
    REFUND_FIELDS,
    RETURN_FIELDS,
    REVIEW_FIELDS,
    Row,
    facts_of_cart,
    facts_of_order,
)
from services.errors import InvalidStateError
from services.heavy import heavy_work

R = TypeVar("R", bound=Row)

BATCH = 100  # orders read, and counted in one transaction
DELETED = 1_000  # rows deleted by one command


class RebuildOvertakenError(InvalidStateError):
    """Another rebuild was begun after this one, and replaces it."""

    code = "rebuild_overtaken"

    def __init__(self) -> None:
        super().__init__("Another rebuild of the rollups began meanwhile: this one ends here.")


async def facts_of_orders(orders: Sequence[Row]) -> list[Fact]:
    """The facts of these stored orders. Four commands, three where nothing was tried to pay for them."""
    owners = {f"order:{order['_id']}": order["_id"] for order in orders}
    subjects = {"subject": {"$in": list(owners)}}
    payments = await Payment.find_rows(subjects, PAYMENT_FIELDS)
    refunds = await Refund.find_rows(subjects, REFUND_FIELDS)
    returns = await ReturnRequest.find_rows({"order_id": {"$in": list(owners.values())}}, RETURN_FIELDS)
    tried = {"payment_id": {"$in": [payment["_id"] for payment in payments]}}
    reviews = await FraudReview.find_rows(tried, REVIEW_FIELDS) if payments else []
    return facts_of_books(orders, payments=payments, refunds=refunds, returns=returns, reviews=reviews)


def facts_of_books(
    orders: Iterable[Row],
    *,
    payments: Iterable[Row],
    refunds: Iterable[Row],
    returns: Iterable[Row],
    reviews: Iterable[Row] = (),
) -> list[Fact]:
    """The facts of these orders, of all that belongs to them."""
    paid, given_back = grouped(payments, "subject"), grouped(refunds, "subject")
    sent_back, held = grouped(returns, "order_id"), grouped(reviews, "payment_id")
    facts = []
    for order in orders:
        own = paid.get(f"order:{order['_id']}", [])
        facts += facts_of_order(
            order,
            payments=own,
            refunds=given_back.get(f"order:{order['_id']}", ()),
            returns=sent_back.get(order["_id"], ()),
            reviews=[review for payment in own for review in held.get(payment["_id"], ())],
        )
    return facts


async def facts_of_one_order(order_id: PydanticObjectId) -> list[Fact]:
    """None when there is no such order. Five commands at most."""
    return await facts_of_orders(await Order.find_rows({"_id": order_id}, ORDER_FIELDS))


async def read_facts() -> AsyncIterator[list[Fact]]:
    """All there are of money, by the ids of orders and then of carts left alone. Five commands for a batch of orders."""
    async for orders in Order.walk(ORDER_FIELDS, batch=BATCH):
        yield await facts_of_orders(orders)
    async for carts in CartAbandonment.walk(CART_FIELDS, batch=BATCH):
        yield [fact for left in carts for fact in facts_of_cart(left)]


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
        await RollupGeneration(number=number, state=GenerationState.BUILDING, version=VERSION).store(session=session)
    except DuplicateKeyError as error:
        raise start_again("another rebuild began just now") from error
    return number


async def _delete_before(number: int) -> None:
    """Delete what older generations left, some at a time; what was killed before it came to that is deleted by the next."""
    for document in (*ROLLUPS, FactMark):
        old = {"generation": {"$gt": PERMANENT, "$lt": number}}
        while rows := await document.find_rows(old, {"_id": 1}, limit=DELETED):
            await document.collection().delete_many({"_id": {"$in": [row["_id"] for row in rows]}})


def grouped(rows: Iterable[R], field: str) -> dict[Any, list[R]]:
    found: defaultdict[Any, list[R]] = defaultdict(list)
    for row in rows:
        found[row[field]].append(row)
    return dict(found)
