"""Who is told when a payment or a refund moves: the owner of what is paid, without payments knowing who that is."""

from typing import Protocol

from models.database import Session
from models.payments import Payment, Refund


class PaymentListener(Protocol):
    """Called inside the transaction of every move, so that what hangs on it (an order, its stock) moves with it or not at all.

    It must not speak to the outside, and may run several times, as all work in a transaction.
    """

    async def payment_changed(self, session: Session, payment: Payment) -> None: ...

    async def refund_changed(self, session: Session, payment: Payment, refund: Refund) -> None: ...


class NobodyListens:
    """For payments that nothing hangs on."""

    async def payment_changed(self, session: Session, payment: Payment) -> None:
        return None

    async def refund_changed(self, session: Session, payment: Payment, refund: Refund) -> None:
        return None
