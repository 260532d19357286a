"""Sending a charge to its gateway, once, and asking about it when no answer came."""

from collections.abc import Hashable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from models.base import now as present
from models.database import Session, run_transaction
from models.fraud import FraudAction, FraudReview
from models.payments import Payment, PaymentState, TransactionKind
from services.payments.exchanges import Exchange, exchange
from services.payments.fraud import FraudService
from services.payments.gateways import Gateways
from services.payments.listeners import PaymentListener
from services.payments.offline import OFFLINE, PROMISED
from services.payments.port import Charge, Outcome, Remembered
from services.payments.settlement import NO_ANSWER, announce, as_said, next_check, record_payment_event, settle_payment
from services.settings import Settings

MAX_SENT = 3  # times a charge is sent that the gateway, asked in between, never heard of
FLIGHT_MARGIN = timedelta(seconds=2)  # beyond the timeout of a call, when nothing of it can be under way any more

_RESTING = {"check_at": None, "token": None}


async def admit(
    payment: Payment, *, listener: PaymentListener, settings: Settings, now: datetime, client_address: str | None
) -> Payment | None:
    """Ask the fraud rules and move the payment on: to its gateway, into review, or nowhere. None when it was moved before.

    Payments of one customer or network address queue here, so that each sees what those before it came to.
    """
    payment = payment.model_copy(update={"client_address": client_address or payment.client_address})

    async def decide(session: Session) -> Payment | None:
        verdict = await FraudService.check(payment, session=session, now=now)
        facts: dict[str, Any] = {"client_address": payment.client_address}
        if verdict.action is FraudAction.ALLOW:
            facts |= sent(settings, now)
        elif verdict.action is FraudAction.REVIEW:
            facts |= {"state": PaymentState.IN_REVIEW}
        else:
            message = "This payment was refused."  # which rule it was helps nobody but thieves; the log says
            facts |= {"state": PaymentState.FAILED, "failure_code": "blocked", "failure_message": message}
            facts |= {**_RESTING, "settled_at": now}
        facts |= {"sent_count": 1 if verdict.action is FraudAction.ALLOW else 0, "updated_at": present()}
        query = {"_id": payment.id, "state": PaymentState.CREATED}
        if not await Payment.change_row(query, {"$set": facts}, session=session):
            return None
        moved: Payment = payment.model_copy(update=facts)  # one that was only just written down has not changed since
        if verdict.action is FraudAction.REVIEW:
            await FraudReview(
                payment_id=moved.id,
                subject=moved.subject,
                rule=verdict.rule or "",
                amount=moved.amount,
                method=moved.method,
            ).store(session=session)
        await announce(moved, session=session, listener=listener)
        return moved

    queue = [name for name in (payment.customer_key, payment.client_address) if name]
    return await run_transaction(decide, hot=[payment.id, *queue])


async def begin_charge(payment: Payment, *, session: Session, settings: Settings, now: datetime) -> Payment:
    """Write a new payment down, by late writes, in the transaction of what it pays for; the payment as it then is.

    Where the fraud rules let it pass it is `processing`, to be sent by whoever began it once that is committed, or `authorised`
    where nobody has to be asked. Where they do not it stays `created`: `admit` sees to that.
    """
    verdict = await FraudService.check(payment, session=session, now=now)
    if verdict.action is not FraudAction.ALLOW:
        return await payment.store_later(session=session)
    admitted: Payment = payment.model_copy(update={**sent(settings, now), "sent_count": 1})
    if payment.gateway != OFFLINE:
        return await admitted.store_later(session=session)
    spoken = Exchange(TransactionKind.CHARGE, PROMISED, payment.amount)
    promised = as_said(admitted, spoken, now)
    await promised.store_later(session=session)
    await spoken.entry(promised).store_later(session=session)
    await record_payment_event(promised, session=session)
    return promised


def sent(settings: Settings, now: datetime) -> dict[str, Any]:
    """What a payment that is about to be sent looks like. Should this process die, it is asked about when the call is over."""
    return {"state": PaymentState.PROCESSING, "asked_at": now, "check_at": now + flight_time(settings)}


def flight_time(settings: Settings) -> timedelta:
    """How long a call to a gateway may be under way."""
    return timedelta(seconds=settings.gateway_timeout_seconds) + FLIGHT_MARGIN


async def send_charge(
    payment: Payment,
    *,
    gateways: Gateways,
    listener: PaymentListener,
    now: datetime | None,
    hot: Sequence[Hashable] = (),
) -> Payment:
    """Make the call for a payment that was moved to `processing` for it, and settle what it comes to."""
    charge = Charge(payment.key, payment.amount, payment.method, payment.token, payment.captures_later, payment.subject)
    kind = TransactionKind.AUTHORISE if payment.captures_later else TransactionKind.CHARGE
    spoken = await exchange(kind, partial(gateways.get(payment.gateway).charge, charge), amount=payment.amount)
    settled = await settle_payment(payment, spoken, listener=listener, now=now or present(), hot=hot)
    return await _wait(settled.payment, now=now)


async def ask_about_charge(
    payment: Payment, *, gateways: Gateways, listener: PaymentListener, settings: Settings, now: datetime | None
) -> Payment:
    """Ask the gateway what became of a charge and settle it.

    A charge that the gateway never heard of, and that cannot be under way any more, is sent again under its key; after
    three times it has failed.
    """
    gateway = gateways.get(payment.gateway)
    asked = Remembered(payment.key, payment.gateway_reference, payment.asked_at)
    spoken = await exchange(TransactionKind.STATUS, partial(gateway.payment_status, asked), amount=payment.amount)
    moment = now or present()
    settled = (await settle_payment(payment, spoken, listener=listener, now=moment)).payment
    is_open = settled.state is PaymentState.PROCESSING
    if not is_open or spoken.result.outcome is not Outcome.ABSENT or not _is_over(settled, settings, moment):
        return settled
    if settled.sent_count >= MAX_SENT:
        return await _give_up(settled, listener=listener, now=moment)
    again = await Payment.change(
        {"_id": settled.id, "state": PaymentState.PROCESSING, "sent_count": settled.sent_count},
        {"$set": sent(settings, moment), "$inc": {"sent_count": 1}},
    )
    return settled if again is None else await send_charge(again, gateways=gateways, listener=listener, now=now)


def _is_over(payment: Payment, settings: Settings, now: datetime) -> bool:
    return payment.asked_at is not None and payment.asked_at + flight_time(settings) <= now


async def _wait(payment: Payment, *, now: datetime | None) -> Payment:
    """Have an open outcome asked about soon."""
    if payment.state is not PaymentState.PROCESSING:
        return payment
    query = {"_id": payment.id, "state": PaymentState.PROCESSING}
    soon = next_check(0, now or present())
    return await Payment.change(query, {"$set": {"check_at": soon, "checks_count": 0}}) or payment


async def _give_up(payment: Payment, *, listener: PaymentListener, now: datetime) -> Payment:
    """Fail a charge that never reached its gateway. Should it get there all the same, the gateway's word still counts."""

    async def fail(session: Session) -> Payment | None:
        facts = {"state": PaymentState.FAILED, "failure_code": NO_ANSWER, "settled_at": now, **_RESTING}
        facts["failure_message"] = "The payment could not be made."
        query = {"_id": payment.id, "state": PaymentState.PROCESSING, "sent_count": payment.sent_count}
        moved = await Payment.change(query, {"$set": facts}, session=session)
        if moved is not None:
            await announce(moved, session=session, listener=listener)
        return moved

    return await run_transaction(fail, hot=[payment.id]) or payment
