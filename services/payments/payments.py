"""A payment's life: written down, checked, sent to its gateway once, asked about when no answer came, captured or voided.

Every call to a gateway stands between two transactions: the first writes down that it is about to be made, the second what
came of it. Whatever dies in between is found by the first and asked about; see `docs/decisions/0008-payments.md`.
"""

import contextlib
from collections.abc import Hashable, Sequence
from datetime import datetime

from beanie import PydanticObjectId

from models.base import LONG_AGO
from models.base import now as present
from models.database import Session, start_again
from models.money import Money
from models.payments import Payment, PaymentOperation, PaymentState
from services.errors import RuleViolatedError, UnprocessableError
from services.payments.charging import admit, ask_about_charge, begin_charge, send_charge
from services.payments.gateways import Gateways
from services.payments.listeners import PaymentListener
from services.payments.operations import (
    CaptureTooLargeError,
    GatewayRefusedError,
    begin_operation,
    continue_operation,
    require_amount,
    send_operation,
    void_unsent,
)
from services.payments.resolving import resolve_each
from services.payments.settlement import load_payment, next_check
from services.settings import Settings


class PaymentKeyReusedError(UnprocessableError):
    """The key of a payment was used before, for another amount or another thing."""

    code = "payment_key_reused"

    def __init__(self) -> None:
        super().__init__("This payment was begun before with other terms: begin a new one.")


class NothingToPayError(RuleViolatedError):
    """A payment of nothing, or of less."""

    code = "nothing_to_pay"

    def __init__(self) -> None:
        super().__init__("There is nothing to pay.")


class PaymentService:
    @staticmethod
    async def create(
        session: Session | None,
        *,
        subject: str,
        key: str,
        amount: Money,
        method: str,
        gateway: str,
        customer_key: str = "",
        token: str | None = None,
        captures_later: bool = False,
        country: str | None = None,
        payer_since: datetime | None = None,
    ) -> Payment:
        """Write a payment down before anything is asked of a gateway; under the same key it is the same payment.

        `amount` is what the owner of `subject` says it costs. One command. Raises NothingToPayError and PaymentKeyReusedError.
        """
        if amount.amount <= 0:
            raise NothingToPayError
        payment = Payment(
            subject=subject,
            key=key,
            amount=amount,
            method=method,
            gateway=gateway,
            customer_key=customer_key,
            token=token,
            captures_later=captures_later,
            country=country,
            payer_since=payer_since,
        )
        fresh = payment.row()
        for chosen_by_server in ("_id", "key", "updated_at"):
            del fresh[chosen_by_server]
        kept = await Payment.change({"key": key}, {"$setOnInsert": fresh}, session=session, upsert=True)
        if kept is None:  # a twin wrote it at this moment
            raise start_again("a payment was written by a twin")
        if (kept.subject, kept.amount, kept.gateway) != (subject, amount, gateway):
            raise PaymentKeyReusedError
        return kept

    @staticmethod
    async def begin(session: Session, payment: Payment, *, settings: Settings, now: datetime) -> Payment:
        """Write a payment down that is made with what it pays for, and ask the fraud rules at once; the payment as it then is.

        `processing`: the caller hands it to `send` after the commit, or whoever finds it to `execute`. `authorised`: nobody has
        to be asked, and the owner of its subject, who is not told, looks at it. `created`: `execute` it.
        Raises NothingToPayError.
        """
        if payment.amount.amount <= 0:
            raise NothingToPayError
        return await begin_charge(payment, session=session, settings=settings, now=now)

    @staticmethod
    async def send(
        payment: Payment,
        *,
        gateways: Gateways,
        listener: PaymentListener,
        now: datetime | None = None,
        hot: Sequence[Hashable] = (),
    ) -> Payment:
        """Charge a payment that this caller began, and that is `processing` since; as `execute` otherwise."""
        return await send_charge(payment, gateways=gateways, listener=listener, now=now, hot=hot)

    @staticmethod
    async def execute(
        payment_id: PydanticObjectId,
        *,
        gateways: Gateways,
        listener: PaymentListener,
        settings: Settings,
        now: datetime | None = None,
        client_address: str | None = None,
        known: Payment | None = None,
        hot: Sequence[Hashable] = (),
    ) -> Payment:
        """Check and charge a payment; the payment as it then is. `known` is the payment as the caller has just read it.

        `hot` names what the listener will contend for, as in `run_transaction`.

        A decline is no error: look at `state`. `processing` means that the outcome is not known yet: a later `execute`, the
        resolver or a webhook settles it, and none of them charges again. A payment that is settled, or waits for a review, is
        returned as it is. Must not be called inside a transaction. Raises PaymentNotFoundError and UnknownGatewayError.
        """
        payment = await load_payment(payment_id) if known is None else known
        gateways.get(payment.gateway)
        if payment.state is PaymentState.CREATED:
            admitted = await admit(
                payment, listener=listener, settings=settings, now=now or present(), client_address=client_address
            )
            if admitted is not None:
                if admitted.state is not PaymentState.PROCESSING:
                    return admitted
                return await send_charge(admitted, gateways=gateways, listener=listener, now=now, hot=hot)
            payment = await load_payment(payment_id)  # another caller admitted it meanwhile
        if payment.state is PaymentState.PROCESSING:
            return await ask_about_charge(payment, gateways=gateways, listener=listener, settings=settings, now=now)
        return payment

    @staticmethod
    async def capture(
        payment_id: PydanticObjectId,
        *,
        key: str,
        gateways: Gateways,
        listener: PaymentListener,
        settings: Settings,
        amount: Money | None = None,
        now: datetime | None = None,
        actor_id: PydanticObjectId | None = None,
    ) -> Payment:
        """Take what was authorised, or a part of it, after which the rest is let go; the payment as it then is.

        Under the same `key` it is done once. A payment that is still `authorised` with a capture under way has an outcome that
        is not known yet. Raises PaymentStateError, CaptureTooLargeError, InvalidAmountError and GatewayRefusedError.
        """
        payment = await load_payment(payment_id)
        amount = payment.amount if amount is None else amount  # an amount of zero is false, and wrong
        require_amount(amount, payment)
        if amount > payment.amount:
            raise CaptureTooLargeError(payment.amount)
        moment = now or present()
        begun = await begin_operation(
            payment, PaymentOperation.CAPTURE, amount, key=key, settings=settings, now=moment, actor_id=actor_id
        )
        return await _carry_out(payment, begun, gateways=gateways, listener=listener, settings=settings, now=now)

    @staticmethod
    async def void(
        payment_id: PydanticObjectId,
        *,
        key: str,
        gateways: Gateways,
        listener: PaymentListener,
        settings: Settings,
        now: datetime | None = None,
        actor_id: PydanticObjectId | None = None,
    ) -> Payment:
        """Let go what was authorised, or give up a payment that was not sent yet; the payment as it then is.

        As `capture` otherwise. Raises PaymentStateError, also while the outcome of a charge is unknown, and GatewayRefusedError.
        """
        payment = await load_payment(payment_id)
        moment = now or present()
        if payment.state in (PaymentState.CREATED, PaymentState.IN_REVIEW):
            voided = await void_unsent(payment, listener=listener, now=moment, actor_id=actor_id)
            if voided is not None:
                return voided
        begun = await begin_operation(
            payment, PaymentOperation.VOID, payment.amount, key=key, settings=settings, now=moment, actor_id=actor_id
        )
        return await _carry_out(payment, begun, gateways=gateways, listener=listener, settings=settings, now=now)

    @staticmethod
    async def get(payment_id: PydanticObjectId, *, session: Session | None = None) -> Payment:
        """Raises PaymentNotFoundError."""
        return await load_payment(payment_id, session=session)

    @staticmethod
    async def list_of(subject: str, *, session: Session | None = None) -> list[Payment]:
        """What was tried for one subject, newest first, 100 at most."""
        rows = await Payment.find_rows({"subject": subject}, sort=[("_id", -1)], limit=100, session=session)
        return [Payment.from_row(row) for row in rows]

    @staticmethod
    async def resolve_due(
        *, gateways: Gateways, listener: PaymentListener, settings: Settings, now: datetime | None = None, limit: int = 100
    ) -> int:
        """Ask about every payment whose outcome is open and whose time to be asked about has come; returns how many."""
        due_at = now or present()
        due: list[Payment] = []
        for state in (PaymentState.PROCESSING, PaymentState.AUTHORISED):
            query = {"state": state, "check_at": {"$gt": LONG_AGO, "$lt": due_at}}
            rows = await Payment.find_rows(query, sort=[("check_at", 1)], limit=limit)
            due += [Payment.from_row(row) for row in rows]

        async def resolve(found: Payment) -> bool:
            payment = await _claim_check(found, due_at)
            if payment is None or not gateways.has(payment.gateway):
                return False
            if payment.state is PaymentState.PROCESSING:
                await ask_about_charge(payment, gateways=gateways, listener=listener, settings=settings, now=now)
            elif payment.operation is not None:
                with contextlib.suppress(GatewayRefusedError):  # written down; there is nobody here to tell
                    await continue_operation(payment, gateways=gateways, listener=listener, settings=settings, now=now)
            return True

        return await resolve_each(due, resolve)


async def _carry_out(
    payment: Payment,
    begun: Payment | None,
    *,
    gateways: Gateways,
    listener: PaymentListener,
    settings: Settings,
    now: datetime | None,
) -> Payment:
    """Send an operation that was begun just now; ask about one that was begun before, if it is still open."""
    if begun is not None:
        return await send_operation(begun, gateways=gateways, listener=listener, now=now)
    current = await load_payment(payment.id)
    if current.operation is None:
        return current
    return await continue_operation(current, gateways=gateways, listener=listener, settings=settings, now=now)


async def _claim_check(payment: Payment, now: datetime) -> Payment | None:
    """The payment, for the one resolver that moved the time of its next check; None for the others."""
    return await Payment.change(
        {"_id": payment.id, "state": payment.state, "check_at": payment.check_at},
        {"$set": {"check_at": next_check(payment.checks_count + 1, now)}, "$inc": {"checks_count": 1}},
    )
