"""What becomes of an order when its payment moves: in the same transaction, whoever brought the news and however late."""

from datetime import datetime
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session
from models.ecommerce.orders import PAY_LATER, Order, OrderStatus, PaymentStatus
from models.events import EventType
from models.money import Money
from models.payments import Payment, PaymentState, Refund, RefundState
from services.ecommerce.customers import CustomerService
from services.ecommerce.orders.cancellation import cancel, cancel_unpaid
from services.ecommerce.orders.effects import (
    count_purchase,
    give_back_stock,
    move_sales,
    order_id_of,
    order_owner,
    take_stock,
)
from services.ecommerce.orders.transitions import (
    EDGES,
    SYSTEM_MOVER,
    Mover,
    change_order,
    move_order,
    record_order_event,
)
from services.inventory.reservations import OutOfStockError
from services.payments.listeners import PaymentListener
from services.settings import Settings

PAYMENT_REVIEW = "payment_review"
_UNSHIPPED = (OrderStatus.CONFIRMED, OrderStatus.PROCESSING)
_UNDECIDED = (PaymentState.CREATED, PaymentState.PROCESSING)  # of a payment: nothing an order would do anything about


def checkout_payment_key(order_id: PydanticObjectId) -> str:
    """The key of the payment that belongs to the placing of the order: if it fails, so does the order."""
    return f"{order_owner(order_id)}:checkout"


class OrderSettlement(PaymentListener):
    """Moves orders with their payments. Holds nothing but the settings; any number of them agree."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def payment_changed(self, session: Session, payment: Payment) -> None:
        """Confirm, cancel, hold, or mark for giving back, as the payment's new state asks."""
        if payment.state in _UNDECIDED:
            return
        order = await _order_of(payment.subject, session)
        if order is None:
            return
        now = present()
        match payment.state:
            case PaymentState.AUTHORISED | PaymentState.CAPTURED:
                await self._money_is_there(order, payment, session=session, now=now)
            case PaymentState.FAILED:
                await _failed(order, payment, session=session, now=now)
            case PaymentState.VOIDED:
                await _voided(order, payment, session=session, now=now)
            case _:
                held = await change_order(order, {"is_held": True, "hold_reason": PAYMENT_REVIEW}, session=session)
                await _note_update(held, payment, session=session)

    async def refund_changed(self, session: Session, payment: Payment, refund: Refund) -> None:
        """Count what went back; an order of which everything went back is refunded."""
        order = await _order_of(refund.subject, session)
        if order is None or refund.state is not RefundState.SUCCEEDED or payment.id != order.payment_id:
            return
        now = present()
        by = Mover.gateway(payment.gateway)
        is_whole = payment.refunded >= payment.captured
        fields: dict[str, Any] = {"payment_status": PaymentStatus.REFUNDED if is_whole else PaymentStatus.PARTIALLY_REFUNDED}
        if order.customer_id is not None:
            taken = await CustomerService.note_refund(
                session, order.customer_id, order_id=order.id, key=f"refund:{refund.id}", amount=refund.amount
            )
            fields["points_earned"] = max(0, order.points_earned - taken)
        more = {"$inc": {"refunded.amount": refund.amount.amount}}
        if not is_whole or (order.status, OrderStatus.REFUNDED) not in EDGES:
            changed = await change_order(order, fields, session=session, more=more)
            kind = EventType.ORDER_REFUNDED if is_whole else EventType.ORDER_UPDATED
            await record_order_event(kind, changed, by=by, session=session, payload=_refund_payload(refund))
            return
        if order.status in _UNSHIPPED and order.is_stock_taken:
            # Paid back before it left: what is still here will not leave, and was not sold.
            await give_back_stock(order, session=session, now=now, key="refund")
            if order.is_counted:
                unsent = {line.id: line.fulfilled_quantity - line.quantity for line in order.lines}
                await move_sales(order, unsent, session=session)
        payload = _refund_payload(refund)
        await move_order(
            order,
            OrderStatus.REFUNDED,
            by=SYSTEM_MOVER,
            session=session,
            now=now,
            reason=refund.reason,
            fields=fields,
            more=more,
            payload=payload,
        )

    async def _money_is_there(self, order: Order, payment: Payment, *, session: Session, now: datetime) -> None:
        is_captured = payment.state is PaymentState.CAPTURED
        if order.payment_id not in (None, payment.id):
            await change_order(order, {"is_owing": True}, session=session)  # paid before: this comes on top
        elif order.status is OrderStatus.CANCELLED:
            # It came too late. The order is over, also when its stock is still there: whoever cancelled it was told so.
            status = PaymentStatus.COMPLETED if is_captured else PaymentStatus.AUTHORISED
            fields = {"payment_id": payment.id, "payment_status": status, "is_owing": True}
            late = await change_order(order, fields, session=session)
            await _note_update(late, payment, session=session)
        elif order.status is OrderStatus.PENDING:
            await self._accept(order, payment, session=session, now=now)
        elif is_captured and order.payment_status is not PaymentStatus.COMPLETED:
            fields = await self._paid(order, payment, session=session)
            await _note_update(await change_order(order, fields, session=session), payment, session=session)

    async def _accept(self, order: Order, payment: Payment, *, session: Session, now: datetime) -> None:
        """Take the stock and confirm. A promise to pay later takes the stock and leaves the order to the job."""
        by = Mover.gateway(payment.gateway)
        is_captured = payment.state is PaymentState.CAPTURED
        try:
            await take_stock(order, session=session, now=now)
        except OutOfStockError:
            # The stock was let go when its time was over and somebody else has it. Nothing was written for this order yet.
            reason = "paid too late: out of stock"
            cancelled = await cancel(order, by=by, session=session, now=now, reason=reason)
            status = PaymentStatus.COMPLETED if is_captured else PaymentStatus.AUTHORISED
            fields = {"payment_id": payment.id, "payment_status": status, "is_owing": True}
            await change_order(cancelled, fields, session=session)
            return
        fields = {"payment_id": payment.id, "is_stock_taken": True, "expires_at": None, **_released(order)}
        if is_captured:
            fields |= await self._paid(order, payment, session=session)
        elif order.payment_method in PAY_LATER:
            await _note_update(await change_order(order, fields, session=session), payment, session=session)
            return
        else:
            fields["payment_status"] = PaymentStatus.AUTHORISED
        await move_order(order, OrderStatus.CONFIRMED, by=by, session=session, now=now, reason="paid", fields=fields)

    async def _paid(self, order: Order, payment: Payment, *, session: Session) -> dict[str, Any]:
        """The fields of an order whose money was taken, once it is counted."""
        amount = Money(amount=payment.captured, currency=payment.amount.currency)
        points = await count_purchase(order, amount, session=session, settings=self._settings)
        return {
            "payment_id": payment.id,
            "payment_status": PaymentStatus.COMPLETED,
            "paid_at": payment.settled_at,
            "is_counted": True,
            "points_earned": points,
        }


async def _failed(order: Order, payment: Payment, *, session: Session, now: datetime) -> None:
    """The order falls with the payment it was placed with, or when its time is over; else it can be paid again."""
    if order.status is not OrderStatus.PENDING or order.payment_id is not None:
        return
    order = await change_order(order, {"payment_status": PaymentStatus.FAILED, **_released(order)}, session=session)
    is_over = order.expires_at is None or order.expires_at <= now
    if payment.key == checkout_payment_key(order.id) or is_over:
        by = Mover.gateway(payment.gateway)
        reason = f"payment failed: {payment.failure_code}"
        await cancel_unpaid(order, by=by, session=session, now=now, reason=reason)


async def _voided(order: Order, payment: Payment, *, session: Session, now: datetime) -> None:
    """What was promised is not promised any more: an order that has not left is cancelled with it."""
    if order.payment_id != payment.id:
        return
    order = await change_order(order, {"payment_status": PaymentStatus.VOIDED}, session=session)
    is_here = not any(line.fulfilled_quantity for line in order.lines)
    if is_here and (order.status, OrderStatus.CANCELLED) in EDGES:
        by = Mover.gateway(payment.gateway)
        await cancel(order, by=by, session=session, now=now, reason="payment voided")
    else:
        await _note_update(order, payment, session=session)


def _released(order: Order) -> dict[str, Any]:
    """The fields that let go an order which was held for its payment alone."""
    return {"is_held": False, "hold_reason": ""} if order.hold_reason == PAYMENT_REVIEW else {}


async def _order_of(subject: str, session: Session) -> Order | None:
    order_id = order_id_of(subject)
    row = None if order_id is None else await Order.find_row({"_id": order_id}, session=session)
    return None if row is None else Order.from_row(row)


async def _note_update(order: Order, payment: Payment, *, session: Session) -> None:
    payload = {"payment_id": str(payment.id), "payment_state": payment.state.value}
    by = Mover.gateway(payment.gateway)
    await record_order_event(EventType.ORDER_UPDATED, order, by=by, session=session, payload=payload)


def _refund_payload(refund: Refund) -> dict[str, Any]:
    amount = {"amount": refund.amount.amount, "currency": refund.amount.currency}
    return {"refund_id": str(refund.id), "refund_amount": amount, "reason": refund.reason}
