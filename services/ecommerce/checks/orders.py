"""Whether every order agrees with itself and with all other books."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from typing import Any

from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.ecommerce.orders import Order
from services.drift import Drift
from services.ecommerce.checks import ledgers, money, stock
from services.ecommerce.checks.books import OrderBooks, read_books, read_orders

BATCH = 200

_RULES: tuple[Callable[[OrderBooks], Iterator[Drift]], ...] = (
    money.arithmetic,
    money.payments,
    money.refunds,
    stock.reservation,
    stock.ledger,
    stock.lines,
    ledgers.coupons,
    ledgers.points,
    ledgers.returns,
    ledgers.history,
)


async def order_drift() -> AsyncIterator[Drift]:
    """Orders against payments, refunds, reservations, the stock ledger, coupons, points, returns, parcels and their history.

    What looks wrong is looked at again within one snapshot. Nine commands for two hundred orders.
    """
    after: Mapping[str, Any] = {}
    while orders := await read_orders(after, limit=BATCH):
        for books in await read_books(orders):
            if any(_differences(books)):
                for drift in await run_transaction(partial(_look_again, id=books.order["_id"])):
                    yield drift
        after = {"_id": {"$gt": orders[-1]["_id"]}}


async def repair_order(row: Drift, *, session: Session) -> bool:
    """Store what was counted; false when the order has changed since, or no machine may decide."""
    if not row.is_derived:
        return False
    update = {"$set": {row.field: row.counted}, "$inc": {"revision": 1}}
    return await Order.change({"_id": row.id, row.field: row.stored}, update, session=session) is not None


def _differences(books: OrderBooks) -> Iterator[Drift]:
    for rule in _RULES:
        yield from rule(books)


async def _look_again(session: Session, *, id: PydanticObjectId) -> list[Drift]:
    orders = await read_orders({"_id": id}, session=session)
    return [drift for books in await read_books(orders, session=session) for drift in _differences(books)]
