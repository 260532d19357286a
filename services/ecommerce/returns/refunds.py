"""Paying back what came back."""

from datetime import datetime

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session, run_transaction, start_again
from models.ecommerce.orders import Order
from models.ecommerce.returns import (
    ReturnRequest,
    ReturnStatus,
    StaffReturn,
)
from models.events import Event, EventType
from models.money import Money
from models.payments import Refund, RefundState
from services.audit import AuditService
from services.ecommerce.returns.moves import (
    NothingToRefundError,
    ReturnTransitionError,
    load_return,
    order_of_return,
    to_staff_return,
)
from services.events import Consumer
from services.payments.gateways import Gateways
from services.payments.listeners import PaymentListener
from services.payments.refunds import RefundService
from services.settings import Settings
from services.users.permissions import Permission, Viewer


class ReturnRefundService:
    @staticmethod
    async def refund(
        return_id: PydanticObjectId,
        *,
        viewer: Viewer,
        gateways: Gateways,
        listener: PaymentListener,
        settings: Settings,
        amount: Money | None = None,
        now: datetime | None = None,
    ) -> StaffReturn:
        """Pay back what the received pieces were paid with, or less; once, however often it is asked for.

        The return is refunded as soon as the gateway has said so; until then it is received, with a refund on its way. Must not
        be called inside a transaction. Raises PermissionDeniedError, ReturnNotFoundError, ReturnTransitionError,
        NothingToRefundError, RefundTooLargeError.
        """
        viewer.require(Permission.MANAGE_PAYMENTS)
        order = await order_of_return(await load_return(return_id, None), None)

        async def work(session: Session) -> ReturnRequest:
            request = await load_return(return_id, session)
            if request.refund_id is not None and not await _has_failed(request.refund_id, session):
                return request
            if request.status is not ReturnStatus.RECEIVED:
                raise ReturnTransitionError(request.status, ReturnStatus.REFUNDED)
            return await _request_refund(request, order, amount, viewer=viewer, session=session)

        request = await run_transaction(work, hot=[order.id, order.payment_id])
        assert request.refund_id is not None
        refund = await RefundService.execute(request.refund_id, gateways=gateways, listener=listener, settings=settings, now=now)
        if refund.state is RefundState.SUCCEEDED:
            await _note_refunded(refund.id)
        return to_staff_return(await load_return(return_id, None))


async def _has_failed(refund_id: PydanticObjectId, session: Session) -> bool:
    row = await Refund.find_row({"_id": refund_id}, {"state": 1}, session=session)
    return row is not None and row["state"] == RefundState.FAILED


async def _request_refund(
    request: ReturnRequest, order: Order, amount: Money | None, *, viewer: Viewer, session: Session
) -> ReturnRequest:
    worth = request.refund or Money.zero(order.currency)
    amount = worth if amount is None else amount
    if order.payment_id is None or amount.currency != order.currency or not 0 < amount.amount <= worth.amount:
        raise NothingToRefundError(f"Between nothing and {worth} can be paid back for this return, of what was paid.")
    refund = await RefundService.request(
        session,
        payment_id=order.payment_id,
        amount=amount,
        reason=f"return {request.number}",
        key=f"return:{request.id}:{request.revision}",
        actor_id=viewer.user_id,
    )
    linked = await ReturnRequest.change(
        {"_id": request.id, "revision": request.revision},
        {"$set": {"refund_id": refund.id}, "$inc": {"revision": 1}},
        session=session,
    )
    if linked is None:
        raise start_again("the return was moved meanwhile")
    await AuditService.record(
        session,
        "payment.refund",
        subject=f"payment:{order.payment_id}",
        actor_id=viewer.user_id,
        details={"refund_id": str(refund.id), "amount": str(amount), "return": request.number},
    )
    return linked


async def _note_refunded(refund_id: PydanticObjectId) -> None:
    await ReturnRequest.change(
        {"refund_id": refund_id, "status": ReturnStatus.RECEIVED},
        {"$set": {"status": ReturnStatus.REFUNDED, "settled_at": present()}, "$inc": {"revision": 1}},
    )


async def _follow_refund(event: Event) -> None:
    await _note_refunded(PydanticObjectId(event.payload["refund_id"]))


RETURN_CONSUMER = Consumer("returns", {EventType.REFUND_SUCCEEDED}, _follow_refund)
"""Closes returns whose refund was told of later, by the resolver or a webhook."""
