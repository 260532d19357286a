"""What a gateway's word does to a payment or a refund: one transaction that moves it, logs it, records it and tells the listener.

States only move forward, in an order in which later facts outweigh earlier ones, so it does not matter in which order, or how
often, the facts arrive. That money was taken outweighs everything: also a failure or a void that Agora believed in.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session, run_transaction, start_again
from models.events import EventType
from models.payments import GatewayEvent, Payment, PaymentState, Refund, RefundState
from services.errors import NotFoundError
from services.events import EventService
from services.payments.exchanges import Exchange, scrubbed_text
from services.payments.listeners import PaymentListener
from services.payments.port import GatewayState, Outcome

FIRST_CHECK = timedelta(seconds=1)
LONGEST_CHECK = timedelta(minutes=10)
NO_ANSWER = "no_answer"

_REACHED = {
    GatewayState.FAILED: PaymentState.FAILED,
    GatewayState.AUTHORISED: PaymentState.AUTHORISED,
    GatewayState.VOIDED: PaymentState.VOIDED,
    GatewayState.CAPTURED: PaymentState.CAPTURED,
}
# From which states the gateway's word leads to each. Only for payments that were sent to it.
SETTLES_FROM: dict[PaymentState, tuple[PaymentState, ...]] = {
    PaymentState.FAILED: (PaymentState.PROCESSING,),
    PaymentState.AUTHORISED: (PaymentState.PROCESSING, PaymentState.FAILED),
    PaymentState.VOIDED: (PaymentState.PROCESSING, PaymentState.FAILED, PaymentState.AUTHORISED),
    PaymentState.CAPTURED: (PaymentState.PROCESSING, PaymentState.FAILED, PaymentState.AUTHORISED, PaymentState.VOIDED),
}
_EVENTS = {
    PaymentState.FAILED: EventType.PAYMENT_FAILED,
    PaymentState.AUTHORISED: EventType.PAYMENT_AUTHORISED,
    PaymentState.VOIDED: EventType.PAYMENT_VOIDED,
    PaymentState.CAPTURED: EventType.PAYMENT_CAPTURED,
    PaymentState.IN_REVIEW: EventType.PAYMENT_HELD,
}


class PaymentNotFoundError(NotFoundError):
    """There is no such payment."""

    code = "payment_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("payment", key)


class RefundNotFoundError(NotFoundError):
    """There is no such refund."""

    code = "refund_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("refund", key)


@dataclass(frozen=True, slots=True)
class Settled:
    """A payment as it is now, and whether this word moved it."""

    payment: Payment
    has_moved: bool


async def load_payment(payment_id: PydanticObjectId, *, session: Session | None = None) -> Payment:
    """Raises PaymentNotFoundError."""
    row = await Payment.find_row({"_id": payment_id}, session=session)
    if row is None:
        raise PaymentNotFoundError(payment_id)
    return Payment.from_row(row)


async def load_refund(refund_id: PydanticObjectId, *, session: Session | None = None) -> Refund:
    """Raises RefundNotFoundError."""
    row = await Refund.find_row({"_id": refund_id}, session=session)
    if row is None:
        raise RefundNotFoundError(refund_id)
    return Refund.from_row(row)


def next_check(checks_count: int, now: datetime) -> datetime:
    """When to ask next: after 1, 2, 4, ... seconds, ten minutes at most."""
    pause: timedelta = FIRST_CHECK * 2 ** min(checks_count, 16)
    return now + min(LONGEST_CHECK, pause)


async def settle_payment(
    payment: Payment,
    spoken: Exchange,
    *,
    listener: PaymentListener,
    now: datetime,
    event: GatewayEvent | None = None,
    hot: Sequence[Hashable] = (),
) -> Settled:
    """Write the exchange down and move the payment as far as it says. `hot` names what the listener will contend for.

    With `event`, the webhook that brought it is written in the same transaction: raises DuplicateKeyError when it was before.
    """
    state = _state_said(spoken)

    async def settle(session: Session) -> Settled:
        if event is not None:
            await event.store(session=session)
        await spoken.entry(payment).store_later(session=session)
        if state is None:
            return Settled(await _note_open_outcome(payment, spoken, session), has_moved=False)
        current = await load_payment(payment.id, session=session)
        if current.state not in SETTLES_FROM[state] or current.asked_at is None:
            return Settled(current, has_moved=False)
        facts = {**_facts(payment, spoken, state, now), **_overtaken(current), "updated_at": present()}
        as_read = {"_id": payment.id, "state": current.state}
        overtaken = start_again("the payment was moved meanwhile")
        await Payment.change_later(as_read, {"$set": facts}, session=session, unmet=overtaken)
        moved = current.model_copy(update=facts)
        await announce(moved, session=session, listener=listener)
        return Settled(moved, has_moved=True)

    return await run_transaction(settle, hot=[payment.id, *hot])


async def announce(
    payment: Payment, *, session: Session, listener: PaymentListener, actor_id: PydanticObjectId | None = None
) -> None:
    """Record the event of the state a payment has just reached and tell the listener. In the transaction of the move."""
    await record_payment_event(payment, session=session, actor_id=actor_id)
    await listener.payment_changed(session, payment)


async def record_payment_event(payment: Payment, *, session: Session, actor_id: PydanticObjectId | None = None) -> None:
    """The event of the state a payment has just reached, if that is one to tell of."""
    kind = _EVENTS.get(payment.state)
    if kind is not None:
        money = payment.amount
        if payment.state is PaymentState.CAPTURED:
            money = money.model_copy(update={"amount": payment.captured})
        payload = {"subject": payment.subject, "amount": money.amount, "currency": money.currency, "code": payment.failure_code}
        await EventService.record(session, kind, f"payment:{payment.id}", actor_id=actor_id, payload=payload)


async def settle_refund(
    refund: Refund,
    payment: Payment,
    spoken: Exchange,
    *,
    listener: PaymentListener,
    now: datetime,
    event: GatewayEvent | None = None,
) -> Refund:
    """Write the exchange down; a success moves the refund's amount to `refunded`, a failure gives it back to `refundable`.

    Of success and failure the first word holds. `event` as in `settle_payment`.
    """
    result = spoken.result
    reached = {Outcome.SUCCEEDED: RefundState.SUCCEEDED, Outcome.DECLINED: RefundState.FAILED}.get(result.outcome)
    known = {"gateway_reference": result.reference} if result.reference else {}

    async def settle(session: Session) -> Refund:
        if event is not None:
            await event.store(session=session)
        await spoken.entry(payment).store_later(session=session)
        if reached is None:
            noted = await Refund.change({"_id": refund.id}, {"$set": known}, session=session) if known else None
            return noted or await load_refund(refund.id, session=session)
        facts = {**known, "state": reached, "settled_at": now, "check_at": None}
        if reached is RefundState.FAILED:
            facts |= {"failure_code": result.code or "declined", "failure_message": scrubbed_text(result.message)}
        moved = await Refund.change({"_id": refund.id, "state": RefundState.PENDING}, {"$set": facts}, session=session)
        if moved is None:
            return await load_refund(refund.id, session=session)
        counter = "refunded" if reached is RefundState.SUCCEEDED else "refundable"
        # Read afterwards: the image of the change would cost the embedded server a walk over all payments.
        await Payment.change_row({"_id": payment.id}, {"$inc": {counter: moved.amount.amount}}, session=session)
        owner = await load_payment(payment.id, session=session)
        kind = EventType.REFUND_SUCCEEDED if reached is RefundState.SUCCEEDED else EventType.REFUND_FAILED
        await EventService.record(session, kind, f"payment:{payment.id}", payload=refund_payload(moved))
        await listener.refund_changed(session, owner, moved)
        return moved

    return await run_transaction(settle, hot=[payment.id])


def refund_payload(refund: Refund) -> dict[str, Any]:
    """What the events of a refund say."""
    return {
        "refund_id": str(refund.id),
        "subject": refund.subject,
        "amount": refund.amount.amount,
        "currency": refund.amount.currency,
    }


def _state_said(spoken: Exchange) -> PaymentState | None:
    """The state the answer puts the payment in; None when it does not tell one."""
    result = spoken.result
    if result.outcome in (Outcome.UNKNOWN, Outcome.ABSENT, Outcome.PENDING):
        return None
    if result.state is not None:
        return _REACHED.get(result.state)
    return PaymentState.FAILED if result.outcome is Outcome.DECLINED else None


def as_said(payment: Payment, spoken: Exchange, now: datetime) -> Payment:
    """A payment as the answer leaves it, before anything is written. Only for an answer that tells a state."""
    state = _state_said(spoken)
    assert state is not None
    said: Payment = payment.model_copy(update=dict(_facts(payment, spoken, state, now)))
    return said


def _facts(payment: Payment, spoken: Exchange, state: PaymentState, now: datetime) -> Mapping[str, Any]:
    result = spoken.result
    facts: dict[str, Any] = {
        "state": state,
        "settled_at": now,
        "check_at": None,
        "token": None,
        "operation": None,
        "failure_code": None,
        "failure_message": None,
    }
    if result.reference:
        facts["gateway_reference"] = result.reference
    if result.instrument:
        facts["instrument"] = scrubbed_text(result.instrument)
    if state is PaymentState.FAILED:
        facts |= {"failure_code": result.code or "declined", "failure_message": scrubbed_text(result.message)}
        facts["declined_at"] = now
    if state is PaymentState.CAPTURED:
        captured = result.captured or payment.amount.amount
        facts |= {"captured": captured, "refundable": captured}
    return facts


def _overtaken(payment: Payment) -> Mapping[str, Any]:
    """What the present state tells, before another one takes its place: that it happened counts in reports all the same."""
    match payment.state:
        case PaymentState.FAILED:
            return {"failed_at": payment.settled_at, "failed_code": payment.failure_code}
        case PaymentState.VOIDED:
            return {"voided_at": payment.settled_at}
        case _:
            return {}


async def _note_open_outcome(payment: Payment, spoken: Exchange, session: Session) -> Payment:
    """The payment as it is, with the gateway's id for it if that is new."""
    reference = spoken.result.reference
    if reference and not payment.gateway_reference:
        noted = await Payment.change({"_id": payment.id}, {"$set": {"gateway_reference": reference}}, session=session)
        if noted is not None:
            return noted
    return await load_payment(payment.id, session=session)
