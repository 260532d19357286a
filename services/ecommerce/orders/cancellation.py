"""Orders that come to nothing: stock, code, statistics and money go back to where they were, once."""

from datetime import datetime
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.base import to_milliseconds
from models.database import Session, run_transaction
from models.ecommerce.orders import Order, OrderRead, OrderStatus, PaymentStatus
from models.payments import PaymentState
from services.ecommerce.coupons import CouponService
from services.ecommerce.orders.effects import give_back_stock, order_owner, put_back_into_cart, uncount_purchase
from services.ecommerce.orders.owing import settle_now
from services.ecommerce.orders.reading import OrderAccess, read_order, to_order_read
from services.ecommerce.orders.transitions import GUEST_MOVER, Mover, OrderTransitionError, check_step, move_order
from services.payments.gateways import Gateways
from services.payments.listeners import NobodyListens, PaymentListener
from services.payments.operations import void_unsent
from services.payments.payments import PaymentService
from services.settings import Settings

_GONE = (PaymentStatus.VOIDED, PaymentStatus.REFUNDED)  # nothing of the payer's is held any more


class CancellationService:
    @staticmethod
    async def cancel_order(
        order_id: PydanticObjectId,
        *,
        access: OrderAccess,
        gateways: Gateways,
        listener: PaymentListener,
        settings: Settings,
        reason: str = "",
        now: datetime | None = None,
    ) -> OrderRead:
        """The order, cancelled: by whoever placed it until the job picks it up, by staff until a piece has left.

        One that is cancelled already is returned as it is. What was paid is given back right afterwards, or by the job.
        Raises OrderNotFoundError, OrderTransitionError.
        """
        now = to_milliseconds(now or present())

        async def work(session: Session) -> Order:
            order = await read_order(order_id, access=access, session=session)
            if order.status is OrderStatus.CANCELLED:
                return order
            return await cancel(order, by=mover_of(order, access), session=session, now=now, reason=reason)

        cancelled = await run_transaction(work, hot=[order_id])
        if cancelled.is_owing:
            await settle_now(order_id, gateways=gateways, listener=listener, settings=settings, now=now)
            return to_order_read((await read_order(order_id, access=access, session=None)).row())
        return to_order_read(cancelled.row())


def mover_of(order: Order, access: OrderAccess) -> Mover:
    """As whom somebody moves an order: staff, also on an order of their own; else who placed it."""
    if access.viewer is not None and access.is_staff:
        return Mover.staff(access.viewer)
    if access.viewer is not None and order.user_id == access.viewer.user_id:
        return Mover.customer(access.viewer)
    return GUEST_MOVER


async def cancel(order: Order, *, by: Mover, session: Session, now: datetime, reason: str = "") -> Order:
    """Cancel the order and undo everything it did, in the caller's transaction. Raises OrderTransitionError."""
    check_step(order.status, OrderStatus.CANCELLED, by=by)
    if any(line.fulfilled_quantity for line in order.lines):
        detail = "Parts of this order have left already: they can be returned, not cancelled."
        raise OrderTransitionError(order.status, OrderStatus.CANCELLED, detail)
    await give_back_stock(order, session=session, now=now, key="cancel", actor_id=by.user_id)
    if any(discount.coupon_id for discount in order.discounts):
        await CouponService.release(order.id, session=session)
    await uncount_purchase(order, session=session)
    fields: dict[str, Any] = {
        "cancelled_at": now,
        "expires_at": None,
        "is_stock_taken": False,
        "is_counted": False,
        "points_earned": 0,
        "is_owing": order.is_owing or (order.payment_id is not None and order.payment_status not in _GONE),
    }
    await _drop_unsent_payments(order, by=by, session=session, now=now)
    return await move_order(order, OrderStatus.CANCELLED, by=by, session=session, now=now, reason=reason, fields=fields)


async def cancel_unpaid(order: Order, *, by: Mover, session: Session, now: datetime, reason: str) -> Order:
    """As `cancel` for want of payment: what was ordered from a cart is put back into it."""
    cancelled = await cancel(order, by=by, session=session, now=now, reason=reason)
    await put_back_into_cart(order, session=session, now=now)
    return cancelled


async def _drop_unsent_payments(order: Order, *, by: Mover, session: Session, now: datetime) -> None:
    """Keep payments that no gateway has heard of from being sent. Nobody is told: the order knows."""
    for payment in await PaymentService.list_of(order_owner(order.id), session=session):
        if payment.state in (PaymentState.CREATED, PaymentState.IN_REVIEW):
            await void_unsent(payment, listener=NobodyListens(), actor_id=by.user_id, now=now)
