"""Refunds from the page of a payment."""

from typing import Any

import pytest
from fastapi import FastAPI

from models.audit import AuditEntry
from models.payments import Payment, Refund, RefundState
from services.payments.gateways import Gateways
from services.payments.payments import PaymentService
from services.settings import Settings
from tests.api.web.admin.conftest import Clerk
from tests.factories.payments import RecordingListener, create_payment


@pytest.fixture
async def payment(app: FastAPI, gateway: Gateways, settings: Settings) -> Payment:
    """49.90 USD, taken by the sandbox."""
    return await charged(gateway, settings)


async def charged(gateway: Gateways, settings: Settings, **over: Any) -> Payment:
    made = await create_payment(**over)
    return await PaymentService.execute(made.id, gateways=gateway, listener=RecordingListener(), settings=settings)


async def books(payment: Payment) -> tuple[int, int, int]:
    """Refunded, refundable, and how many refunds there are."""
    row = await Payment.find_row({"_id": payment.id})
    assert row is not None
    return row["refunded"], row["refundable"], await Refund.count_rows({"payment_id": payment.id})


class TestRefund:
    async def test_is_given_back_listed_and_noted(self, manager: Clerk, payment: Payment) -> None:
        page = f"/admin/payments/{payment.id}"

        answer = await manager.send(f"{page}/refund", amount="9.90", reason="Broken", form_key=await manager.key(page))

        assert (answer.status_code, answer.headers["location"]) == (303, f"{page}?done=refund")
        assert await books(payment) == (990, 4000, 1)
        shown = await manager.page(page)
        assert "Broken" in shown
        assert "$9.90" in shown
        assert "At most $40.00" in shown
        noted = await AuditEntry.find_rows({"action": "payment.refund"})
        assert [(row["actor_id"], row["details"]["amount"]) for row in noted] == [(manager.user.id, "9.90 USD")]

    async def test_the_same_form_twice_gives_back_once(self, manager: Clerk, payment: Payment) -> None:
        page = f"/admin/payments/{payment.id}"
        key = await manager.key(page)

        answers = [await manager.send(f"{page}/refund", amount="9.90", reason="Broken", form_key=key) for _ in range(2)]

        assert [answer.status_code for answer in answers] == [303, 303]
        assert await books(payment) == (990, 4000, 1)

    async def test_a_form_that_was_changed_under_its_key_is_refused(self, manager: Clerk, payment: Payment) -> None:
        page = f"/admin/payments/{payment.id}"
        key = await manager.key(page)
        await manager.send(f"{page}/refund", amount="9.90", reason="Broken", form_key=key)

        answer = await manager.send(f"{page}/refund", amount="19.90", reason="Broken", form_key=key)

        assert answer.status_code == 422
        assert await books(payment) == (990, 4000, 1)

    @pytest.mark.parametrize(
        ("amount", "reason", "status"),
        [
            ("49.91", "Broken", 400),
            ("0.00", "Broken", 422),
            ("-1.00", "Broken", 422),
            ("1.001", "Broken", 422),
            ("", "Broken", 422),
            ("1e2", "Broken", 422),
            ("1.00", "", 422),
        ],
    )
    async def test_what_cannot_be_given_back_changes_nothing(
        self, manager: Clerk, payment: Payment, amount: str, reason: str, status: int
    ) -> None:
        page = f"/admin/payments/{payment.id}"

        answer = await manager.send(f"{page}/refund", amount=amount, reason=reason, form_key=await manager.key(page))

        assert answer.status_code == status
        assert 'role="alert"' in answer.text
        assert await books(payment) == (0, 4990, 0)

    async def test_without_the_key_of_a_form_nothing_happens(self, manager: Clerk, payment: Payment) -> None:
        answer = await manager.send(f"/admin/payments/{payment.id}/refund", amount="9.90", reason="Broken")

        assert answer.status_code == 400
        assert await books(payment) == (0, 4990, 0)

    async def test_what_the_gateway_refuses_is_told_and_stays_in_the_list(
        self, manager: Clerk, gateway: Gateways, settings: Settings
    ) -> None:
        payment = await charged(gateway, settings, token="tok_refund_refused")
        page = f"/admin/payments/{payment.id}"

        answer = await manager.send(f"{page}/refund", amount="9.90", reason="Broken", form_key=await manager.key(page))

        assert answer.status_code == 400
        assert "The payment gateway refused" in answer.text
        assert await books(payment) == (0, 4990, 1)
        refund = await Refund.find_row({"payment_id": payment.id})
        assert refund is not None
        assert refund["state"] == RefundState.FAILED


class TestAuthorised:
    @pytest.fixture
    async def authorised(self, gateway: Gateways, settings: Settings) -> Payment:
        return await charged(gateway, settings, captures_later=True)

    async def test_a_part_is_captured_once_however_often_it_is_pressed(self, manager: Clerk, authorised: Payment) -> None:
        page = f"/admin/payments/{authorised.id}"
        fields = {"amount": "20.00", "form_key": "the-key-of-one-form"}

        answers = [await manager.send(f"{page}/capture", **fields) for _ in range(2)]

        assert [answer.status_code for answer in answers] == [303, 303]
        row = await Payment.find_row({"_id": authorised.id})
        assert row is not None
        assert (row["state"], row["captured"], row["refundable"]) == ("captured", 2000, 2000)
        noted = await AuditEntry.find_rows({"subject": f"payment:{authorised.id}"})
        assert [(one["action"], one["actor_id"]) for one in noted] == [("payment.capture", manager.user.id)]
        assert f'action="{page}/capture"' not in await manager.page(page)

    async def test_more_than_was_authorised_is_refused_and_the_amount_stays_in_the_form(
        self, manager: Clerk, authorised: Payment
    ) -> None:
        page = f"/admin/payments/{authorised.id}"

        answer = await manager.send(f"{page}/capture", amount="50.00", form_key="a-key")

        assert answer.status_code == 400
        assert "At most 49.90 USD can be captured." in answer.text
        assert 'value="50.00"' in answer.text

    async def test_let_go_nothing_is_taken(self, manager: Clerk, authorised: Payment) -> None:
        page = f"/admin/payments/{authorised.id}"

        assert (await manager.send(f"{page}/void", form_key="a-key")).status_code == 303

        row = await Payment.find_row({"_id": authorised.id})
        assert row is not None
        assert (row["state"], row["captured"]) == ("voided", 0)
        noted = await AuditEntry.find_rows({"subject": f"payment:{authorised.id}"})
        assert [(one["action"], one["actor_id"]) for one in noted] == [("payment.void", manager.user.id)]
        assert (await manager.send(f"{page}/capture", amount="1.00", form_key="another")).status_code == 409
