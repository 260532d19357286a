"""Money that came in for an order that does not want it: void it or give it back, again and again until it is gone.

An order owes from the transaction on in which it is cancelled, or in which money arrives too late or twice (`is_owing`). The
payments say what is owed, so this can be cut off anywhere and begun again.
"""

from collections.abc import Sequence
from datetime import datetime

import structlog
from beanie import PydanticObjectId

from models.database import DatabaseUnavailableError, PyMongoError, Session, heed_cancellation, run_transaction
from models.ecommerce.orders import Order, OrderStatus
from models.money import Money
from models.payments import Payment, PaymentState, Refund, RefundState
from services.ecommerce.orders.effects import order_owner
from services.ecommerce.orders.transitions import change_order
from services.errors import AppError
from services.payments.gateways import Gateways
from services.payments.listeners import PaymentListener
from services.payments.payments import PaymentService
from services.payments.refunds import RefundService
from services.settings import Settings

log = structlog.get_logger(__name__)

MAX_REFUSALS = 5  # of the refunds of one payment by its gateway; then a person has to look
_VOID_KEY = "order"


async def settle_now(
    order_id: PydanticObjectId,
    *,
    gateways: Gateways,
    listener: PaymentListener,
    settings: Settings,
    now: datetime | None = None,
) -> bool:
    """As `settle_owed`, for whoever just cancelled: what fails now is left to the job."""
    try:
        return await settle_owed(order_id, gateways=gateways, listener=listener, settings=settings, now=now)
    except (AppError, PyMongoError, DatabaseUnavailableError) as error:
        heed_cancellation()
        log.warning("refund_waits_for_job", order_id=str(order_id), reason=type(error).__name__)
        return False


async def settle_owed(
    order_id: PydanticObjectId,
    *,
    gateways: Gateways,
    listener: PaymentListener,
    settings: Settings,
    now: datetime | None = None,
) -> bool:
    """Void and refund what an order owes; true when nothing is owed any more. Speaks to gateways: never in a transaction."""
    order = await _load(order_id, session=None)
    if order is None or not order.is_owing:
        return True
    for payment in owed_payments(order, await PaymentService.list_of(order_owner(order_id))):
        if payment.state is PaymentState.AUTHORISED:
            await PaymentService.void(payment.id, key=_VOID_KEY, gateways=gateways, listener=listener, settings=settings, now=now)
            continue
        refund = await _open_refund(order, payment)
        if refund is not None:
            await RefundService.execute(refund.id, gateways=gateways, listener=listener, settings=settings, now=now)
    return await _note_settled(order_id)


def owed_payments(order: Order, payments: Sequence[Payment]) -> list[Payment]:
    """The payments that hold money of this order's payer without a right to it: all but the one that paid a living order."""
    kept = None if order.status is OrderStatus.CANCELLED else order.payment_id
    return [
        payment
        for payment in payments
        if payment.id != kept
        and (
            payment.state is PaymentState.AUTHORISED
            or (payment.state is PaymentState.CAPTURED and payment.refunded < payment.captured)
        )
    ]


async def _open_refund(order: Order, payment: Payment) -> Refund | None:
    """The refund of everything that is left, requested if it was not; None when its gateway refused it too often."""
    refunds = await RefundService.list_of(payment.id)
    for refund in refunds:
        if refund.state is RefundState.PENDING:
            return refund
    refusals = sum(refund.state is RefundState.FAILED for refund in refunds)
    if refusals >= MAX_REFUSALS:
        log.error("refund_refused", order_id=str(order.id), payment_id=str(payment.id), refusals=refusals)
        return None

    async def request(session: Session) -> Refund:
        return await RefundService.request(
            session,
            payment_id=payment.id,
            amount=Money(amount=payment.refundable, currency=payment.amount.currency),
            reason="order cancelled" if order.status is OrderStatus.CANCELLED else "paid twice",
            key=f"{order_owner(order.id)}:owed:{payment.id}:{len(refunds)}",
        )

    return await run_transaction(request, hot=[payment.id])


async def _note_settled(order_id: PydanticObjectId) -> bool:
    """True, and written down, when no payment holds anything any more."""

    async def work(session: Session) -> bool:
        order = await _load(order_id, session=session)
        if order is None or not order.is_owing:
            return True
        if owed_payments(order, await PaymentService.list_of(order_owner(order_id), session=session)):
            return False
        await change_order(order, {"is_owing": False}, session=session)
        return True

    return await run_transaction(work, hot=[order_id])


async def _load(order_id: PydanticObjectId, *, session: Session | None) -> Order | None:
    row = await Order.find_row({"_id": order_id}, session=session)
    return None if row is None else Order.from_row(row)
