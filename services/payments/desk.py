"""What staff see of payments and do with them."""

from datetime import datetime
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session, run_transaction
from models.money import Money
from models.payments import (
    Payment,
    PaymentDetail,
    PaymentRead,
    PaymentState,
    Refund,
    RefundRead,
    Transaction,
    TransactionRead,
)
from services.audit import AuditService
from services.pagination import CursorCodec, CursorPage
from services.payments.gateways import Gateways
from services.payments.listeners import PaymentListener
from services.payments.payments import PaymentService
from services.payments.refunds import RefundService
from services.payments.settlement import load_payment
from services.settings import Settings
from services.users.permissions import Permission, Viewer

MAX_TRANSACTIONS = 500
MAX_OF_SUBJECT = 1000


class PaymentDeskService:
    """Every method raises PermissionDeniedError for who may not manage payments."""

    @staticmethod
    async def list_payments(
        *,
        viewer: Viewer,
        cursors: CursorCodec,
        state: PaymentState | None = None,
        subject: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> CursorPage[PaymentRead]:
        """Payments, newest first, of one state or one subject if named. Raises InvalidCursorError."""
        viewer.require(Permission.MANAGE_PAYMENTS)
        query: dict[str, Any] = {}
        if subject is not None:
            query["subject"] = subject
        elif state is not None:
            query["state"] = state
        listing = f"payments:{state}:{subject}"
        if cursor is not None:
            (last_id,) = cursors.decode(listing, cursor)
            query["_id"] = {"$lt": last_id}
        # What was tried for one subject is little, and no index has both: its state is looked at here.
        both = subject is not None and state is not None
        rows = await Payment.find_rows(query, sort=[("_id", -1)], limit=MAX_OF_SUBJECT if both else limit + 1)
        if both:
            rows = [row for row in rows if row["state"] == state]
        items = [read_payment(Payment.from_row(row)) for row in rows[:limit]]
        next_cursor = cursors.encode(listing, items[-1].id) if len(rows) > limit else None
        return CursorPage[PaymentRead](items=items, next_cursor=next_cursor)

    @staticmethod
    async def get_payment(payment_id: PydanticObjectId, *, viewer: Viewer) -> PaymentDetail:
        """A payment with its log and its refunds; 3 commands. Raises PaymentNotFoundError."""
        viewer.require(Permission.MANAGE_PAYMENTS)
        payment = await load_payment(payment_id)
        log = await Transaction.find_rows({"payment_id": payment_id}, sort=[("_id", 1)], limit=MAX_TRANSACTIONS)
        refunds = await RefundService.list_of(payment_id)
        return PaymentDetail(
            **read_payment(payment).model_dump(),
            transactions=[TransactionRead.model_validate({**row, "id": row["_id"]}) for row in log],
            refunds=[read_refund(refund) for refund in refunds],
        )

    @staticmethod
    async def capture_payment(
        payment_id: PydanticObjectId,
        *,
        viewer: Viewer,
        amount: Money | None,
        key: str,
        gateways: Gateways,
        listener: PaymentListener,
        settings: Settings,
    ) -> PaymentRead:
        """Take what was authorised, or a part of it. Raises as `PaymentService.capture`."""
        viewer.require(Permission.MANAGE_PAYMENTS)
        captured = await PaymentService.capture(
            payment_id,
            amount=amount,
            key=key,
            gateways=gateways,
            listener=listener,
            settings=settings,
            actor_id=viewer.user_id,
        )
        return read_payment(captured)

    @staticmethod
    async def void_payment(
        payment_id: PydanticObjectId,
        *,
        viewer: Viewer,
        key: str,
        gateways: Gateways,
        listener: PaymentListener,
        settings: Settings,
    ) -> PaymentRead:
        """Let go what was authorised, or give up what was not sent yet. Raises as `PaymentService.void`."""
        viewer.require(Permission.MANAGE_PAYMENTS)
        voided = await PaymentService.void(
            payment_id, key=key, gateways=gateways, listener=listener, settings=settings, actor_id=viewer.user_id
        )
        return read_payment(voided)

    @staticmethod
    async def refund_payment(
        payment_id: PydanticObjectId,
        *,
        viewer: Viewer,
        amount: Money,
        reason: str,
        key: str,
        gateways: Gateways,
        listener: PaymentListener,
        settings: Settings,
        now: datetime | None = None,
    ) -> RefundRead:
        """Give money back. Raises as `RefundService.request`; what the gateway refuses is a refund that `failed`."""
        viewer.require(Permission.MANAGE_PAYMENTS)

        async def request(session: Session) -> Refund:
            refund = await RefundService.request(
                session, payment_id=payment_id, amount=amount, reason=reason, key=key, actor_id=viewer.user_id
            )
            await AuditService.record(
                session,
                "payment.refund",
                subject=f"payment:{payment_id}",
                actor_id=viewer.user_id,
                details={"refund_id": str(refund.id), "amount": str(amount)},
            )
            return refund

        refund = await run_transaction(request, hot=[payment_id])
        done = await RefundService.execute(
            refund.id, gateways=gateways, listener=listener, settings=settings, now=now or present()
        )
        return read_refund(done)

    @staticmethod
    async def list_refunds(payment_id: PydanticObjectId, *, viewer: Viewer) -> list[RefundRead]:
        """The refunds of a payment, oldest first. Raises PaymentNotFoundError."""
        viewer.require(Permission.MANAGE_PAYMENTS)
        await load_payment(payment_id)
        return [read_refund(refund) for refund in await RefundService.list_of(payment_id)]


def read_payment(payment: Payment) -> PaymentRead:
    currency = payment.amount.currency
    sums = {name: Money(amount=getattr(payment, name), currency=currency) for name in ("captured", "refunded", "refundable")}
    return PaymentRead.model_validate({**payment.model_dump(exclude=set(sums)), **sums, "id": payment.id})


def read_refund(refund: Refund) -> RefundRead:
    return RefundRead.model_validate({**refund.model_dump(), "id": refund.id})
