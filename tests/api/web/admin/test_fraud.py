"""The queue of payments that a rule holds back."""

from typing import Any

from models.audit import AuditEntry
from models.fraud import FraudReview, FraudReviewState
from models.payments import Payment, PaymentState
from services.payments.gateways import Gateways
from tests.api.web.admin.conftest import Clerk
from tests.factories.payments import create_payment

QUEUE = "/admin/fraud"


async def held(**over: Any) -> FraudReview:
    payment = await create_payment(state=PaymentState.IN_REVIEW, **over)
    return await FraudReview(
        payment_id=payment.id, subject=payment.subject, rule="amount above 40", amount=payment.amount, method=payment.method
    ).store()


async def state_of(review: FraudReview) -> tuple[str, str]:
    """Of the payment and of its review."""
    payment = await Payment.find_row({"_id": review.payment_id})
    row = await FraudReview.find_row({"_id": review.id})
    assert payment is not None
    assert row is not None
    return payment["state"], row["state"]


class TestApprove:
    async def test_the_payment_is_charged_and_the_act_is_noted(self, manager: Clerk, gateway: Gateways) -> None:
        review = await held()
        assert "amount above 40" in await manager.page(QUEUE)

        answer = await manager.send(f"{QUEUE}/{review.id}/approve", note="Called them")

        assert (answer.status_code, answer.headers["location"]) == (303, f"{QUEUE}?done=approve")
        assert await state_of(review) == (PaymentState.CAPTURED, FraudReviewState.APPROVED)
        noted = await AuditEntry.find_rows({"action": "payment.review_approved"})
        assert [row["actor_id"] for row in noted] == [manager.user.id]
        assert "Called them" in await manager.page(f"{QUEUE}?state=approved")

    async def test_what_somebody_else_decided_is_refused(self, manager: Clerk, gateway: Gateways) -> None:
        review = await held()
        await FraudReview.change({"_id": review.id}, {"$set": {"state": FraudReviewState.REJECTED}})

        answer = await manager.send(f"{QUEUE}/{review.id}/approve", note="")

        assert answer.status_code == 409
        assert "This review was rejected already." in answer.text
        assert await state_of(review) == (PaymentState.IN_REVIEW, FraudReviewState.REJECTED)


class TestRefuse:
    async def test_nothing_is_charged(self, manager: Clerk, gateway: Gateways) -> None:
        review = await held()

        answer = await manager.send(f"{QUEUE}/{review.id}/refuse", note="A stolen card")

        assert answer.status_code == 303
        assert await state_of(review) == (PaymentState.FAILED, FraudReviewState.REJECTED)
        noted = await AuditEntry.find_rows({"action": "payment.review_rejected"})
        assert [row["actor_id"] for row in noted] == [manager.user.id]

    async def test_a_note_beyond_its_length_changes_nothing(self, manager: Clerk, gateway: Gateways) -> None:
        review = await held()

        answer = await manager.send(f"{QUEUE}/{review.id}/refuse", note="x" * 501)

        assert answer.status_code == 422
        assert await state_of(review) == (PaymentState.IN_REVIEW, FraudReviewState.OPEN)
