"""Money given back: held aside first, then sent, and free again when the gateway refuses."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from beanie import PydanticObjectId

from models.base import now as present
from models.database import DuplicateKeyError, Session, start_again
from models.events import EventType
from models.money import Money
from models.payments import Payment, PaymentState, Refund, RefundState, TransactionKind
from services.errors import RuleViolatedError, UnprocessableError
from services.events import EventService
from services.payments.charging import flight_time
from services.payments.exchanges import exchange
from services.payments.gateways import Gateways
from services.payments.listeners import PaymentListener
from services.payments.operations import PaymentStateError, require_amount
from services.payments.port import Outcome, Remembered
from services.payments.resolving import resolve_each
from services.payments.settlement import (
    RefundNotFoundError,
    load_payment,
    load_refund,
    next_check,
    refund_payload,
    settle_refund,
)
from services.settings import Settings

__all__ = ["RefundKeyReusedError", "RefundNotFoundError", "RefundService", "RefundTooLargeError", "Refundable"]


class RefundTooLargeError(RuleViolatedError):
    """More than is left of what was captured."""

    code = "refund_too_large"

    def __init__(self, refundable: Money) -> None:
        super().__init__(f"At most {refundable} can be refunded.")
        self.refundable = refundable


class RefundKeyReusedError(UnprocessableError):
    """The key of a refund was used before, for another amount or another payment."""

    code = "refund_key_reused"

    def __init__(self) -> None:
        super().__init__("This refund was begun before with other terms: begin a new one.")


@dataclass(frozen=True, slots=True)
class Refundable:
    """How much of one payment can still be given back."""

    payment_id: PydanticObjectId
    amount: Money


class RefundService:
    @staticmethod
    async def request(
        session: Session,
        *,
        payment_id: PydanticObjectId,
        amount: Money,
        reason: str,
        key: str,
        actor_id: PydanticObjectId | None = None,
    ) -> Refund:
        """Hold an amount of a captured payment aside to be given back; under the same key it is the same refund.

        Call `execute` after the commit; should that not happen, the resolver does. Raises PaymentNotFoundError,
        PaymentStateError, InvalidAmountError, RefundTooLargeError and RefundKeyReusedError.
        """
        before = await Refund.find_row({"key": key}, session=session)
        if before is not None:
            refund = Refund.from_row(before)
            if (refund.payment_id, refund.amount) != (payment_id, amount):
                raise RefundKeyReusedError
            return refund
        payment = await load_payment(payment_id, session=session)
        require_amount(amount, payment)
        is_held = await Payment.change_row(
            {"_id": payment_id, "state": PaymentState.CAPTURED, "refundable": {"$gte": amount.amount}},
            {"$inc": {"refundable": -amount.amount}},
            session=session,
        )
        if not is_held:
            if payment.state is not PaymentState.CAPTURED:
                raise PaymentStateError(payment)
            raise RefundTooLargeError(Money(amount=payment.refundable, currency=payment.amount.currency))
        refund = Refund(
            payment_id=payment_id,
            subject=payment.subject,
            gateway=payment.gateway,
            key=key,
            amount=amount,
            reason=reason,
            actor_id=actor_id,
            check_at=present(),
        )
        try:
            await refund.store(session=session)
        except DuplicateKeyError as error:
            raise start_again("a refund was requested by a twin") from error
        subject = f"payment:{payment_id}"
        await EventService.record(session, EventType.REFUND_CREATED, subject, actor_id=actor_id, payload=refund_payload(refund))
        return refund

    @staticmethod
    async def execute(
        refund_id: PydanticObjectId,
        *,
        gateways: Gateways,
        listener: PaymentListener,
        settings: Settings,
        now: datetime | None = None,
    ) -> Refund:
        """Send a refund to its gateway, or ask about one that was sent before; the refund as it then is.

        `failed` gives its amount back to the payment; `pending` means that the outcome is not known yet, and the resolver
        settles it. Must not be called inside a transaction. Raises RefundNotFoundError and UnknownGatewayError.
        """
        refund = await load_refund(refund_id)
        if refund.state is not RefundState.PENDING:
            return refund
        payment = await load_payment(refund.payment_id)
        gateways.get(payment.gateway)
        moment = now or present()
        claimed = await _claim_sending(refund, {"asked_at": None}, settings, moment)
        if claimed is not None:
            return await _send(claimed, payment, gateways=gateways, listener=listener, now=now)
        return await _ask(await load_refund(refund_id), payment, gateways, listener=listener, settings=settings, now=now)

    @staticmethod
    async def refundable(subject: str, *, session: Session | None = None) -> list[Refundable]:
        """What can still be given back of the payments for one subject, oldest payment first; empty when nothing can."""
        fields = {"amount": 1, "refundable": 1, "state": 1}
        rows = await Payment.find_rows({"subject": subject}, fields, sort=[("_id", 1)], limit=100, session=session)
        return [
            Refundable(row["_id"], Money(amount=row["refundable"], currency=row["amount"]["currency"]))
            for row in rows
            if row["state"] == PaymentState.CAPTURED and row["refundable"] > 0
        ]

    @staticmethod
    async def list_of(payment_id: PydanticObjectId) -> list[Refund]:
        """The refunds of a payment, oldest first, 1000 at most."""
        rows = await Refund.find_rows({"payment_id": payment_id}, sort=[("_id", 1)], limit=1000)
        return [Refund.from_row(row) for row in rows]

    @staticmethod
    async def resolve_due(
        *, gateways: Gateways, listener: PaymentListener, settings: Settings, now: datetime | None = None, limit: int = 100
    ) -> int:
        """Send or ask about every refund whose outcome is open and whose time has come; returns how many."""
        due_at = now or present()
        query = {"state": RefundState.PENDING, "check_at": {"$lt": due_at}}
        rows = await Refund.find_rows(query, sort=[("check_at", 1)], limit=limit)

        async def resolve(refund: Refund) -> bool:
            claimed = await Refund.change(
                {"_id": refund.id, "state": RefundState.PENDING, "check_at": refund.check_at},
                {"$set": {"check_at": next_check(refund.checks_count + 1, due_at)}, "$inc": {"checks_count": 1}},
            )
            if claimed is None or not gateways.has(claimed.gateway):
                return False
            await RefundService.execute(claimed.id, gateways=gateways, listener=listener, settings=settings, now=now)
            return True

        return await resolve_each([Refund.from_row(row) for row in rows], resolve)


async def _claim_sending(refund: Refund, condition: dict[str, object], settings: Settings, now: datetime) -> Refund | None:
    facts = {"asked_at": now, "check_at": now + flight_time(settings)}
    query = {"_id": refund.id, "state": RefundState.PENDING, **condition}
    return await Refund.change(query, {"$set": facts, "$inc": {"sent_count": 1}})


async def _send(
    refund: Refund, payment: Payment, *, gateways: Gateways, listener: PaymentListener, now: datetime | None
) -> Refund:
    remembered = Remembered(payment.key, payment.gateway_reference, payment.asked_at)
    call = partial(gateways.get(payment.gateway).refund, remembered, refund.amount, key=refund.key, reason=refund.reason)
    spoken = await exchange(TransactionKind.REFUND, call, amount=refund.amount, refund=refund)
    settled = await settle_refund(refund, payment, spoken, listener=listener, now=now or present())
    if settled.state is not RefundState.PENDING:
        return settled
    soon = next_check(0, now or present())
    query = {"_id": refund.id, "state": RefundState.PENDING}
    return await Refund.change(query, {"$set": {"check_at": soon, "checks_count": 0}}) or settled


async def _ask(
    refund: Refund,
    payment: Payment,
    gateways: Gateways,
    *,
    listener: PaymentListener,
    settings: Settings,
    now: datetime | None,
) -> Refund:
    """Ask what became of a refund. One the gateway never heard of is sent again under its key, as often as it takes."""
    if refund.state is not RefundState.PENDING:
        return refund
    gateway = gateways.get(payment.gateway)
    asked = Remembered(refund.key, refund.gateway_reference, refund.asked_at)
    paid = Remembered(payment.key, payment.gateway_reference, payment.asked_at)
    call = partial(gateway.refund_status, asked, paid)
    spoken = await exchange(TransactionKind.STATUS, call, amount=refund.amount, refund=refund)
    moment = now or present()
    settled = await settle_refund(refund, payment, spoken, listener=listener, now=moment)
    is_over = settled.asked_at is not None and settled.asked_at + flight_time(settings) <= moment
    if settled.state is not RefundState.PENDING or spoken.result.outcome is not Outcome.ABSENT or not is_over:
        return settled
    claimed = await _claim_sending(settled, {"sent_count": settled.sent_count}, settings, moment)
    return settled if claimed is None else await _send(claimed, payment, gateways=gateways, listener=listener, now=now)
