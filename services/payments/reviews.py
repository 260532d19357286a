"""The queue of payments that a fraud rule holds back, and what people decide about them."""

from datetime import datetime
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session, run_transaction
from models.fraud import FraudReview, FraudReviewRead, FraudReviewState
from models.payments import Payment, PaymentState
from services.audit import AuditService
from services.errors import InvalidStateError, NotFoundError
from services.pagination import CursorCodec, CursorPage, find_stretch
from services.payments.charging import send_charge, sent
from services.payments.gateways import Gateways
from services.payments.listeners import PaymentListener
from services.payments.payments import PaymentService
from services.payments.settlement import announce
from services.settings import Settings
from services.users.permissions import Permission, Viewer


class FraudReviewNotFoundError(NotFoundError):
    """There is no such review."""

    code = "fraud_review_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("review", key)


class FraudReviewDecidedError(InvalidStateError):
    """Someone has decided already, or the payment was given up."""

    code = "fraud_review_decided"

    def __init__(self, review: FraudReview) -> None:
        super().__init__(f"This review was {review.state} already.")
        self.state = review.state


class FraudReviewService:
    """Every method raises PermissionDeniedError for who may not manage payments."""

    @staticmethod
    async def list_reviews(
        *,
        viewer: Viewer,
        cursors: CursorCodec,
        state: FraudReviewState = FraudReviewState.OPEN,
        cursor: str | None = None,
        limit: int = 20,
    ) -> CursorPage[FraudReviewRead]:
        """Reviews of one state, newest first. Raises InvalidCursorError."""
        viewer.require(Permission.MANAGE_PAYMENTS)
        query: dict[str, Any] = {"state": state}
        rows, next_cursor = await find_stretch(
            FraudReview, query, listing=f"fraud_reviews:{state}", cursors=cursors, cursor=cursor, limit=limit
        )
        items = [_read(FraudReview.from_row(row)) for row in rows]
        return CursorPage[FraudReviewRead](items=items, next_cursor=next_cursor)

    @staticmethod
    async def approve_review(
        review_id: PydanticObjectId,
        *,
        viewer: Viewer,
        note: str,
        gateways: Gateways,
        listener: PaymentListener,
        settings: Settings,
        now: datetime | None = None,
    ) -> FraudReviewRead:
        """Let the payment go on: it is charged now, for the first time.

        Approving again what the same person approved tells how it stands. Raises FraudReviewNotFoundError and
        FraudReviewDecidedError.
        """
        viewer.require(Permission.MANAGE_PAYMENTS)
        moment = now or present()
        facts = sent(settings, moment)
        decided, payment = await _decide(
            review_id,
            FraudReviewState.APPROVED,
            facts,
            viewer=viewer,
            note=note,
            listener=listener,
            now=moment,
        )
        if payment is not None:
            await send_charge(payment, gateways=gateways, listener=listener, now=now)
        else:  # this person's call before was cut short
            await PaymentService.execute(decided.payment_id, gateways=gateways, listener=listener, settings=settings, now=now)
        return _read(decided)

    @staticmethod
    async def reject_review(
        review_id: PydanticObjectId,
        *,
        viewer: Viewer,
        note: str,
        listener: PaymentListener,
        now: datetime | None = None,
    ) -> FraudReviewRead:
        """Refuse the payment; nothing was or will be charged. As `approve_review` otherwise."""
        viewer.require(Permission.MANAGE_PAYMENTS)
        moment = now or present()
        facts = {
            "state": PaymentState.FAILED,
            "failure_code": "rejected",
            "failure_message": "This payment was refused.",
            "settled_at": moment,
            "token": None,
        }
        decided, _ = await _decide(
            review_id, FraudReviewState.REJECTED, facts, viewer=viewer, note=note, listener=listener, now=moment
        )
        return _read(decided)


async def _decide(
    review_id: PydanticObjectId,
    decision: FraudReviewState,
    facts: dict[str, Any],
    *,
    viewer: Viewer,
    note: str,
    listener: PaymentListener,
    now: datetime,
) -> tuple[FraudReview, Payment | None]:
    """The decided review and its payment, moved; without the payment when this person had decided so before."""

    async def decide(session: Session) -> tuple[FraudReview, Payment | None]:
        decided = await FraudReview.change(
            {"_id": review_id, "state": FraudReviewState.OPEN},
            {"$set": {"state": decision, "decided_by": viewer.user_id, "decided_at": now, "note": note}},
            session=session,
        )
        if decided is None:
            return await _decided_before(review_id, decision, viewer, session), None
        update = {"$set": facts, "$inc": {"sent_count": 1 if decision is FraudReviewState.APPROVED else 0}}
        query = {"_id": decided.payment_id, "state": PaymentState.IN_REVIEW}
        moved = await Payment.change(query, update, session=session)
        if moved is None:  # every way out of this state closes the review as well
            raise FraudReviewDecidedError(decided)
        await AuditService.record(
            session,
            f"payment.review_{decision}",
            subject=f"payment:{moved.id}",
            actor_id=viewer.user_id,
            details={"rule": decided.rule, "amount": str(decided.amount)},
        )
        await announce(moved, session=session, listener=listener, actor_id=viewer.user_id)
        return decided, moved

    return await run_transaction(decide, hot=[review_id])


async def _decided_before(
    review_id: PydanticObjectId, decision: FraudReviewState, viewer: Viewer, session: Session
) -> FraudReview:
    row = await FraudReview.find_row({"_id": review_id}, session=session)
    if row is None:
        raise FraudReviewNotFoundError(review_id)
    review = FraudReview.from_row(row)
    if (review.state, review.decided_by) != (decision, viewer.user_id):
        raise FraudReviewDecidedError(review)
    return review


def _read(review: FraudReview) -> FraudReviewRead:
    return FraudReviewRead.model_validate({**review.model_dump(), "id": review.id})
