"""Capturing and voiding what was authorised: one operation at a time, asked about when no answer came."""

from datetime import datetime
from functools import partial

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session, run_transaction
from models.fraud import FraudReview, FraudReviewState
from models.money import Money
from models.payments import Payment, PaymentOperation, PaymentState, TransactionKind
from services.audit import AuditService
from services.errors import InvalidStateError, RuleViolatedError, UnprocessableError
from services.payments.charging import flight_time
from services.payments.exchanges import exchange
from services.payments.gateways import Gateways
from services.payments.listeners import PaymentListener
from services.payments.port import GatewayState, Outcome, Remembered
from services.payments.settlement import announce, load_payment, next_check, settle_payment
from services.settings import Settings

_UNSENT = (PaymentState.CREATED, PaymentState.IN_REVIEW)


class PaymentStateError(InvalidStateError):
    """The payment is not in a state that allows this, or something else is being done to it."""

    code = "payment_state"

    def __init__(self, payment: Payment) -> None:
        busy = f", and a {payment.operation} is under way" if payment.operation else ""
        super().__init__(f"This payment is {payment.state.value.replace('_', ' ')}{busy}.")
        self.state = payment.state


class CaptureTooLargeError(RuleViolatedError):
    """More than was authorised."""

    code = "capture_too_large"

    def __init__(self, authorised: Money) -> None:
        super().__init__(f"At most {authorised} can be captured.")
        self.authorised = authorised


class InvalidAmountError(UnprocessableError):
    """Nothing, less than nothing, or another currency than the payment's."""

    code = "invalid_amount"

    def __init__(self, currency: str) -> None:
        super().__init__(f"Name an amount above zero in {currency}.")
        self.currency = currency


class GatewayRefusedError(RuleViolatedError):
    """The gateway refused the operation; nothing was changed."""

    code = "gateway_refused"
    is_final = True

    def __init__(self, gateway_code: str | None) -> None:
        super().__init__(f"The payment gateway refused: {gateway_code or 'without a reason'}.")
        self.gateway_code = gateway_code


def require_amount(amount: Money, payment: Payment) -> None:
    """Raises InvalidAmountError."""
    if amount.amount <= 0 or amount.currency != payment.amount.currency:
        raise InvalidAmountError(payment.amount.currency)


async def begin_operation(
    payment: Payment,
    operation: PaymentOperation,
    amount: Money,
    *,
    key: str,
    settings: Settings,
    now: datetime,
    actor_id: PydanticObjectId | None,
) -> Payment | None:
    """The payment with the operation written onto it, for one caller; None when this very operation was done before.

    Raises PaymentStateError.
    """
    facts = {
        "operation": operation,
        "operation_amount": amount.amount,
        "operation_key": key,
        "check_at": now + flight_time(settings),
        "checks_count": 0,
    }
    query = {"_id": payment.id, "state": PaymentState.AUTHORISED, "operation": None, "operation_key": {"$ne": key}}

    async def begin(session: Session) -> Payment | None:
        begun = await Payment.change(query, {"$set": facts}, session=session)
        if begun is not None:
            details = {"amount": str(amount)}
            subject = f"payment:{payment.id}"
            await AuditService.record(session, f"payment.{operation}", subject=subject, actor_id=actor_id, details=details)
        return begun

    begun = await run_transaction(begin, hot=[payment.id])
    if begun is not None:
        return begun
    current = await load_payment(payment.id)
    if current.operation_key != key:
        raise PaymentStateError(current)
    return None


async def continue_operation(
    payment: Payment,
    *,
    gateways: Gateways,
    listener: PaymentListener,
    settings: Settings,
    now: datetime | None,
) -> Payment:
    """Ask what became of an operation; one that did not happen is sent again under its key."""
    gateway = gateways.get(payment.gateway)
    spoken = await exchange(TransactionKind.STATUS, partial(gateway.payment_status, _remembered(payment)), amount=payment.amount)
    settled = (await settle_payment(payment, spoken, listener=listener, now=now or present())).payment
    # `absent` is the word of payments without a gateway.
    did_not_happen = spoken.result.state is GatewayState.AUTHORISED or spoken.result.outcome is Outcome.ABSENT
    if settled.operation is None or settled.state is not PaymentState.AUTHORISED or not did_not_happen:
        return settled
    if settled.check_at is not None and payment.checks_count == 0 and settled.check_at > (now or present()):
        return settled  # the call may still be under way
    return await send_operation(settled, gateways=gateways, listener=listener, now=now)


async def send_operation(payment: Payment, *, gateways: Gateways, listener: PaymentListener, now: datetime | None) -> Payment:
    """Make the call for the operation written onto the payment and settle what it comes to. Raises GatewayRefusedError."""
    assert payment.operation is not None
    gateway = gateways.get(payment.gateway)
    remembered = _remembered(payment)
    amount = Money(amount=payment.operation_amount, currency=payment.amount.currency)
    key = f"{payment.key}:{payment.operation}:{payment.operation_key}"
    if payment.operation is PaymentOperation.CAPTURE:
        spoken = await exchange(TransactionKind.CAPTURE, partial(gateway.capture, remembered, amount, key=key), amount=amount)
    else:
        spoken = await exchange(TransactionKind.VOID, partial(gateway.void, remembered, key=key), amount=amount)
    settled = (await settle_payment(payment, spoken, listener=listener, now=now or present())).payment
    if settled.state is not PaymentState.AUTHORISED:
        return settled
    query = {"_id": payment.id, "state": PaymentState.AUTHORISED, "operation_key": payment.operation_key}
    if spoken.result.outcome is Outcome.DECLINED:
        await Payment.change(query, {"$set": {"operation": None, "check_at": None}})
        raise GatewayRefusedError(spoken.result.code)
    soon = next_check(0, now or present())
    return await Payment.change(query, {"$set": {"check_at": soon, "checks_count": 0}}) or settled


async def void_unsent(
    payment: Payment, *, listener: PaymentListener, now: datetime, actor_id: PydanticObjectId | None = None
) -> Payment | None:
    """Void a payment no gateway has heard of yet, out of its review if it waits for one; None when it has moved on."""

    async def void(session: Session) -> Payment | None:
        facts = {"state": PaymentState.VOIDED, "settled_at": now, "token": None}
        query = {"_id": payment.id, "state": {"$in": list(_UNSENT)}}
        moved = await Payment.change(query, {"$set": facts}, session=session)
        if moved is None:
            return None
        closed = {"state": FraudReviewState.REJECTED, "decided_at": now, "note": "The payment was voided."}
        review = await FraudReview.find_row({"payment_id": payment.id}, {"_id": 1}, session=session)
        if review is not None:
            query = {"_id": review["_id"], "state": FraudReviewState.OPEN}
            await FraudReview.change(query, {"$set": closed}, session=session)
        await AuditService.record(session, "payment.void", subject=f"payment:{payment.id}", actor_id=actor_id)
        await announce(moved, session=session, listener=listener, actor_id=actor_id)
        return moved

    return await run_transaction(void, hot=[payment.id])


def _remembered(payment: Payment) -> Remembered:
    return Remembered(payment.key, payment.gateway_reference, payment.asked_at)
