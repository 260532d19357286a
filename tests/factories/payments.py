"""Payments as the service leaves them, and a listener that remembers what it was told."""

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

from beanie import PydanticObjectId

from models.base import now
from models.database import Session, in_transaction
from models.money import Money
from models.payments import Payment, PaymentState, Refund, RefundState

_numbers = count(1)


@dataclass
class RecordingListener:
    """A subject's owner that only writes down what it hears, and whether it heard it inside the transaction.

    What it hears in a transaction that starts again it hears again: tests of races look at the database instead.
    """

    payments: list[PaymentState] = field(default_factory=list)
    refunds: list[tuple[RefundState, int]] = field(default_factory=list)
    was_outside: bool = False

    async def payment_changed(self, session: Session, payment: Payment) -> None:
        self.was_outside |= session is None or not in_transaction()
        self.payments.append(payment.state)

    async def refund_changed(self, session: Session, payment: Payment, refund: Refund) -> None:
        self.was_outside |= session is None or not in_transaction()
        self.refunds.append((refund.state, payment.refunded))


def usd(amount: str) -> Money:
    return Money.of(amount, "USD")


def make_payment(**over: Any) -> Payment:
    """One of 49.90 USD by card, written down and not sent yet."""
    number = next(_numbers)
    defaults: dict[str, Any] = {
        "subject": f"order:{PydanticObjectId()}",
        "key": f"payment-{number}-{PydanticObjectId()}",
        "customer_key": f"customer:{number}",
        "amount": usd("49.90"),
        "method": "card",
        "gateway": "sandbox",
        "token": "tok_ok",
    }
    return Payment(**{**defaults, **over})


async def create_payment(**over: Any) -> Payment:
    return await make_payment(**over).store()


def make_captured(**over: Any) -> Payment:
    """One whose money was taken, as the books of no gateway know it."""
    payment = make_payment(**over)
    captured = over.get("captured", payment.amount.amount)
    moment = now() - timedelta(minutes=5)
    facts: dict[str, Any] = {
        "state": PaymentState.CAPTURED,
        "captured": captured,
        "refundable": captured,
        "token": None,
        "gateway_reference": f"sbx_{payment.id}",
        "asked_at": moment,
        "sent_count": 1,
        "settled_at": moment,
    }
    made: Payment = Payment.model_validate({**payment.model_dump(), **facts, **over})
    return made


async def captured_payment(**over: Any) -> Payment:
    return await make_captured(**over).store()
