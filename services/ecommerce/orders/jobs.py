"""What happens to orders by itself: they are picked up, they expire, and what they owe is given back."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from beanie import PydanticObjectId

from models.base import LONG_AGO, to_milliseconds
from models.base import now as present
from models.database import Session, heed_cancellation, run_transaction
from models.ecommerce.orders import PAY_LATER, Order, OrderStatus
from models.payments import PaymentState
from services.ecommerce.orders.cancellation import cancel_unpaid
from services.ecommerce.orders.effects import order_owner, variants_of
from services.ecommerce.orders.owing import settle_owed
from services.ecommerce.orders.settlement import OrderSettlement
from services.ecommerce.orders.transitions import SYSTEM_MOVER, change_order, move_order
from services.inventory.reservations import ReservationService
from services.jobs import RecurringJob
from services.payments.gateways import Gateways, make_gateways
from services.payments.payments import PaymentService
from services.settings import Settings

log = structlog.get_logger(__name__)

PROCESS_EVERY = timedelta(minutes=5)
EXPIRE_EVERY = timedelta(seconds=15)
SETTLE_EVERY = timedelta(seconds=30)
_SETTLE_LEASE = timedelta(seconds=15)  # renewed while it runs; so long money waits after its worker was killed
BATCH = 200
NOT_PAID_IN_TIME = "not paid in time"
_UNDER_WAY = (PaymentState.PROCESSING, PaymentState.IN_REVIEW)


class OrderJobService:
    @staticmethod
    async def process_due(*, now: datetime | None = None) -> int:
        """Pick up what may be packed: confirmed orders, and pending ones whose payer promised to pay later.

        Held orders stay where they are. Any number of processes may run it, and again: each order is moved by one of them; one
        that cannot be moved does not keep the others. Returns how many orders this call moved.
        """
        now = to_milliseconds(now or present())

        async def process(order_id: PydanticObjectId) -> bool:
            return await run_transaction(partial(_process, order_id, now=now), hot=[order_id])

        moved = 0
        for status in (OrderStatus.CONFIRMED, OrderStatus.PENDING):
            moved += await _each({"status": status.value}, process, job="process_orders")
        return moved

    @staticmethod
    async def expire_due(*, now: datetime | None = None) -> int:
        """Cancel what was not paid in time and give its stock back; returns how many orders this call let go.

        Where a payment is still under way only the stock is given back: the order waits for the outcome, and a success takes the
        stock anew or is paid back.
        """
        now = to_milliseconds(now or present())
        # One step beyond: the embedded server loses the boundary of a range behind an equality.
        due = {"status": OrderStatus.PENDING.value, "expires_at": {"$gt": LONG_AGO, "$lt": now + timedelta(milliseconds=1)}}
        rows = await Order.find_rows(due, sort=[("expires_at", 1)], limit=BATCH)
        expired = 0
        for order in map(Order.from_row, rows):
            work = partial(_expire, order.id, now=now)
            expire = partial(run_transaction, work, hot=[order.id, *variants_of(order)])
            expired += await _tolerating(expire, order.id, "expire_orders")
        return expired

    @staticmethod
    async def settle_owed(*, gateways: Gateways, settings: Settings, now: datetime | None = None) -> int:
        """Void and refund what cancelled orders hold; returns how many orders owe nothing any more after this call."""
        listener = OrderSettlement(settings)

        async def settle(order_id: PydanticObjectId) -> bool:
            return await settle_owed(order_id, gateways=gateways, listener=listener, settings=settings, now=now)

        return await _each({"is_owing": True}, settle, job="settle_owed")


async def _each(query: Mapping[str, Any], work: Callable[[PydanticObjectId], Awaitable[bool]], *, job: str) -> int:
    """Do the work for every order that meets the query, oldest first; returns for how many it said true."""
    done = 0
    last: PydanticObjectId | None = None
    while True:
        beyond = {} if last is None else {"_id": {"$gt": last}}
        rows = await Order.find_rows({**query, **beyond}, {"_id": 1}, sort=[("_id", 1)], limit=BATCH)
        for row in rows:
            done += await _tolerating(partial(work, row["_id"]), row["_id"], job)
        if len(rows) < BATCH:
            return done
        last = rows[-1]["_id"]


async def _tolerating(work: Callable[[], Awaitable[bool]], order_id: PydanticObjectId, job: str) -> bool:
    """False, and a line in the log, for an order that fails: the next run tries it again."""
    heed_cancellation()
    try:
        return await work()
    except Exception:
        heed_cancellation()
        log.exception("order_job_failed", job=job, order_id=str(order_id))
        return False


async def _process(order_id: PydanticObjectId, session: Session, *, now: datetime) -> bool:
    order = await _load(order_id, session)
    if order is None or order.is_held or not is_ready(order):
        return False
    await move_order(order, OrderStatus.PROCESSING, by=SYSTEM_MOVER, session=session, now=now, reason="picked up")
    return True


def is_ready(order: Order) -> bool:
    """Whether it may be packed: it is confirmed, or it is pending and its payer promised to pay later."""
    if order.status is OrderStatus.PENDING:
        return order.payment_method in PAY_LATER and order.payment_id is not None
    return order.status is OrderStatus.CONFIRMED


async def _expire(order_id: PydanticObjectId, session: Session, *, now: datetime) -> bool:
    order = await _load(order_id, session)
    if order is None or order.status is not OrderStatus.PENDING or order.expires_at is None or order.expires_at > now:
        return False
    payments = await PaymentService.list_of(order_owner(order_id), session=session)
    if any(payment.state in _UNDER_WAY for payment in payments):
        await ReservationService.release(order_owner(order_id), session=session, now=now)
        await change_order(order, {"expires_at": None}, session=session)
    else:
        await cancel_unpaid(order, by=SYSTEM_MOVER, session=session, now=now, reason=NOT_PAID_IN_TIME)
    return True


async def _load(order_id: PydanticObjectId, session: Session) -> Order | None:
    row = await Order.find_row({"_id": order_id}, session=session)
    return None if row is None else Order.from_row(row)


def order_jobs(settings: Settings) -> list[RecurringJob]:
    """The jobs of orders, for the worker."""

    async def process() -> str:
        return f"{await OrderJobService.process_due()} orders picked up"

    async def expire() -> str:
        return f"{await OrderJobService.expire_due()} unpaid orders let go"

    async def settle() -> str:
        async with make_gateways(settings) as gateways:
            return f"{await OrderJobService.settle_owed(gateways=gateways, settings=settings)} orders paid back"

    return [
        RecurringJob("process_orders", PROCESS_EVERY, process),
        RecurringJob("expire_orders", EXPIRE_EVERY, expire),
        RecurringJob("settle_owed", SETTLE_EVERY, settle, _SETTLE_LEASE),
    ]
