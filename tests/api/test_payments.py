"""Payments over HTTP: staff's desk, webhooks, and what never gets out."""

import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from beanie import PydanticObjectId
from fastapi import FastAPI

from models.audit import AuditEntry
from models.base import now
from models.database import Database
from models.payments import Payment, PaymentState, Refund, Transaction
from models.users import Role
from scripts.sandbox.gateway import signed
from services.payments.exchanges import scrubbed, scrubbed_text
from services.payments.gateways import Gateways
from services.payments.payments import PaymentService
from services.payments.sandbox import SandboxGateway
from services.settings import Settings
from tests.api.conftest import Headers, SignIn
from tests.commands import CommandLog
from tests.factories.payments import RecordingListener, captured_payment, create_payment
from tests.sandbox import SANDBOX_SECRET, RunningSandbox


@pytest.fixture
async def desk(app: FastAPI, sandbox: RunningSandbox) -> AsyncIterator[RecordingListener]:
    """The application with the sandbox as its gateway, and with a listener that remembers."""
    listener = RecordingListener()
    app.state.payment_listener = listener
    app.state.gateways = Gateways([SandboxGateway(sandbox.url, SANDBOX_SECRET, timeout=5)])
    yield listener
    await app.state.gateways.close()


@pytest.fixture
async def staff(as_role: SignIn) -> Headers:
    return await as_role(Role.MANAGER)


def keyed(headers: Headers) -> Headers:
    return {**headers, "Idempotency-Key": str(PydanticObjectId())}


def money(amount: str, currency: str = "USD") -> dict[str, Any]:
    return {"amount": {"amount": amount, "currency": currency}}


async def charged(app: FastAPI, settings: Settings, **over: Any) -> Payment:
    payment = await create_payment(**over)
    return await PaymentService.execute(payment.id, gateways=app.state.gateways, listener=RecordingListener(), settings=settings)


class TestRead:
    async def test_list_is_filtered_newest_first_and_paged(
        self, client: httpx2.AsyncClient, staff: Headers, desk: RecordingListener, commands: CommandLog
    ) -> None:
        rows = [await create_payment(subject="order:1") for _ in range(3)]
        await captured_payment(subject="order:2")
        with commands.counting() as sent:
            page = (await client.get("/api/v1/payments?subject=order:1&limit=2", headers=staff)).json()
        assert [item["id"] for item in page["items"]] == [str(rows[2].id), str(rows[1].id)]
        rest = await client.get(
            "/api/v1/payments", params={"subject": "order:1", "limit": 2, "cursor": page["next_cursor"]}, headers=staff
        )
        assert ([item["id"] for item in rest.json()["items"]], rest.json()["next_cursor"]) == ([str(rows[0].id)], None)
        captured = (await client.get("/api/v1/payments?state=captured", headers=staff)).json()["items"]
        assert [(item["captured"], item["refundable"]) for item in captured] == [
            ({"amount": "49.90", "currency": "USD"}, {"amount": "49.90", "currency": "USD"})
        ]
        assert [name for name in sent.sent if "payments" in name] == ["find payments"]

    async def test_detail_has_the_log_and_the_refunds(
        self, client: httpx2.AsyncClient, app: FastAPI, staff: Headers, desk: RecordingListener, settings: Settings
    ) -> None:
        payment = await charged(app, settings)
        body = {**money("9.90"), "reason": "Broken"}
        await client.post(f"/api/v1/payments/{payment.id}/refunds", json=body, headers=keyed(staff))
        detail = (await client.get(f"/api/v1/payments/{payment.id}", headers=staff)).json()
        assert [(row["kind"], row["status"]) for row in detail["transactions"]] == [
            ("charge", "succeeded"),
            ("refund", "succeeded"),
        ]
        assert [(row["amount"]["amount"], row["state"], row["reason"]) for row in detail["refunds"]] == [
            ("9.90", "succeeded", "Broken")
        ]
        assert (detail["state"], detail["refunded"]["amount"], detail["refundable"]["amount"]) == ("captured", "9.90", "40.00")
        listed = (await client.get(f"/api/v1/payments/{payment.id}/refunds", headers=staff)).json()
        assert listed == detail["refunds"]


class TestRefund:
    @pytest.mark.parametrize(
        "amount",
        [money("0.00"), money("-1.00"), money("1.001"), money("1.00", "EUR"), money("1e2"), money("1.00", "ZZZ"), {}],
    )
    async def test_r4_zero_negative_third_decimal_and_other_currency_are_422(
        self, client: httpx2.AsyncClient, staff: Headers, desk: RecordingListener, amount: dict[str, Any]
    ) -> None:
        payment = await captured_payment()
        body = {**amount, "reason": "Broken"}
        answer = await client.post(f"/api/v1/payments/{payment.id}/refunds", json=body, headers=keyed(staff))
        assert answer.status_code == 422
        assert await Refund.count_rows({}) == 0
        assert (await PaymentService.get(payment.id)).refundable == 4990

    async def test_too_much_is_400_and_says_what_is_left(
        self, client: httpx2.AsyncClient, staff: Headers, desk: RecordingListener
    ) -> None:
        payment = await captured_payment(refunded=4000, refundable=990)
        body = {**money("9.91"), "reason": "Broken"}
        answer = await client.post(f"/api/v1/payments/{payment.id}/refunds", json=body, headers=keyed(staff))
        assert (answer.status_code, answer.json()["code"]) == (400, "refund_too_large")
        assert "9.90 USD" in answer.json()["detail"]

    async def test_same_key_refunds_once_and_is_audited(
        self, client: httpx2.AsyncClient, app: FastAPI, staff: Headers, desk: RecordingListener, settings: Settings
    ) -> None:
        payment = await charged(app, settings)
        headers, body = keyed(staff), {**money("9.90"), "reason": "Broken"}
        first, second = [
            await client.post(f"/api/v1/payments/{payment.id}/refunds", json=body, headers=headers) for _ in range(2)
        ]
        assert (first.status_code, first.content) == (201, second.content)
        assert second.headers["idempotent-replayed"] == "true"
        assert (await PaymentService.get(payment.id)).refunded == 990
        assert await AuditEntry.count_rows({"action": "payment.refund"}) == 1
        assert not desk.was_outside

    async def test_without_a_key_nothing_moves(self, client: httpx2.AsyncClient, staff: Headers, desk: RecordingListener) -> None:
        payment = await captured_payment()
        answer = await client.post(f"/api/v1/payments/{payment.id}/refunds", json={**money("1.00"), "reason": "x"}, headers=staff)
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_required")
        assert await Refund.count_rows({}) == 0


class TestCaptureAndVoid:
    async def test_captures_a_part_and_refuses_a_second_time(
        self, client: httpx2.AsyncClient, app: FastAPI, staff: Headers, desk: RecordingListener, settings: Settings
    ) -> None:
        payment = await charged(app, settings, captures_later=True)
        path = f"/api/v1/payments/{payment.id}"
        answer = await client.post(f"{path}/capture", json=money("10.00"), headers=keyed(staff))
        assert (answer.status_code, answer.json()["captured"]["amount"]) == (200, "10.00")
        again = await client.post(f"{path}/capture", json={}, headers=keyed(staff))
        assert (again.status_code, again.json()["code"]) == (409, "payment_state")
        voided = await client.post(f"{path}/void", headers=keyed(staff))
        assert (voided.status_code, voided.json()["code"]) == (409, "payment_state")
        assert desk.payments == [PaymentState.CAPTURED]

    async def test_what_the_gateway_refuses_is_400_and_replayed(
        self, client: httpx2.AsyncClient, app: FastAPI, staff: Headers, desk: RecordingListener, settings: Settings
    ) -> None:
        payment = await charged(app, settings, captures_later=True, token="tok_capture_refused")
        headers = keyed(staff)
        answers = [await client.post(f"/api/v1/payments/{payment.id}/capture", json={}, headers=headers) for _ in range(2)]
        assert [(row.status_code, row.json()["code"]) for row in answers] == [(400, "gateway_refused")] * 2
        assert (await PaymentService.get(payment.id)).state is PaymentState.AUTHORISED


class TestWebhook:
    async def test_signed_body_settles_and_a_bad_signature_is_400(
        self, client: httpx2.AsyncClient, app: FastAPI, desk: RecordingListener, sandbox: RunningSandbox
    ) -> None:
        moment = now()
        payment = await create_payment(state=PaymentState.PROCESSING, asked_at=moment, sent_count=1)
        sandbox.books.charge(
            key=payment.key, amount=4990, currency="USD", method="card", token="tok_ok", capture=True, description="x"
        )
        event = next(event for event in reversed(sandbox.books.events) if event.data["key"] == payment.key)
        path, plain = "/api/v1/payments/webhooks/sandbox", {"content-type": "application/json"}
        forged = {**plain, **signed("whsec_b3RoZXI=", event.id, event.body)}
        refused = await client.post(path, content=event.body, headers=forged)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_webhook")
        assert (await PaymentService.get(payment.id)).state is PaymentState.PROCESSING
        headers = {**plain, **signed(SANDBOX_SECRET, event.id, event.body)}
        answers = [await client.post(path, content=event.body, headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [204, 204]
        assert (await PaymentService.get(payment.id)).state is PaymentState.CAPTURED
        assert desk.payments == [PaymentState.CAPTURED]
        unknown = await client.post("/api/v1/payments/webhooks/paypigeon", content=event.body, headers=headers)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "gateway_not_found")


@pytest.mark.usefixtures("one_window")
class TestWebhookWindow:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"anonymous_requests": 3})

    async def test_only_refused_ones_count_against_the_address(
        self, client: httpx2.AsyncClient, app: FastAPI, desk: RecordingListener, sandbox: RunningSandbox
    ) -> None:
        payment = await create_payment(state=PaymentState.PROCESSING, asked_at=now(), sent_count=1)
        sandbox.books.charge(
            key=payment.key, amount=4990, currency="USD", method="card", token="tok_ok", capture=True, description="x"
        )
        event = next(event for event in reversed(sandbox.books.events) if event.data["key"] == payment.key)

        async def told(secret: str) -> int:
            headers = {"content-type": "application/json", **signed(secret, event.id, event.body)}
            return (await client.post("/api/v1/payments/webhooks/sandbox", content=event.body, headers=headers)).status_code

        assert {await told(SANDBOX_SECRET) for _ in range(5)} == {204}
        assert [await told("whsec_b3RoZXI=") for _ in range(4)] == [400, 400, 400, 429]
        assert await told(SANDBOX_SECRET) == 429


class TestReconciliation:
    async def test_names_every_difference(
        self, client: httpx2.AsyncClient, app: FastAPI, staff: Headers, desk: RecordingListener, settings: Settings
    ) -> None:
        # Books of its own: those of the run hold what other tests paid.
        since = now() - timedelta(seconds=1)
        agreed = await charged(app, settings)
        cheaper, other = await charged(app, settings), await charged(app, settings)
        await Payment.change({"_id": cheaper.id}, {"$set": {"captured": 4000}})
        await Payment.change({"_id": other.id}, {"$set": {"state": PaymentState.VOIDED}})
        lost = await captured_payment(asked_at=now())
        forgotten = await charged(app, settings)
        await Payment.collection().delete_one({"_id": forgotten.id})
        query = {"gateway": "sandbox", "since": since.isoformat(), "until": (now() + timedelta(seconds=1)).isoformat()}
        report = (await client.get("/api/v1/payments/reconciliation", params=query, headers=staff)).json()
        mine = {row.key for row in (agreed, cheaper, other, lost, forgotten)}
        found = {row["key"]: row for row in report["differences"] if row["key"] in mine}
        assert {key: row["kind"] for key, row in found.items()} == {
            cheaper.key: "amount_differs",
            other.key: "state_differs",
            lost.key: "missing_there",
            forgotten.key: "missing_here",
        }
        assert found[cheaper.key]["amount_here"]["amount"] == "40.00"
        assert found[cheaper.key]["amount_there"]["amount"] == "49.90"
        assert (found[forgotten.key]["id"], found[lost.key]["amount_there"]) == (None, None)

    async def test_a_gateway_that_is_away_is_503(
        self, client: httpx2.AsyncClient, app: FastAPI, staff: Headers, desk: RecordingListener
    ) -> None:
        app.state.gateways.add(SandboxGateway("http://127.0.0.1:9", SANDBOX_SECRET, timeout=1))
        query = {"gateway": "sandbox", "since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"}
        answer = await client.get("/api/v1/payments/reconciliation", params=query, headers=staff)
        assert (answer.status_code, answer.json()["code"]) == (503, "gateway_unavailable")

    @pytest.mark.parametrize(
        ("since", "until"),
        [
            ("2026-11-21T00:00:00Z", "2026-11-20T00:00:00Z"),
            ("2026-01-01T00:00:00Z", "2026-11-20T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-02T00:00:00Z"),
            ("9999-12-30T00:00:00Z", "9999-12-31T00:00:00Z"),
        ],
    )
    async def test_impossible_times_are_422(
        self, client: httpx2.AsyncClient, staff: Headers, desk: RecordingListener, since: str, until: str
    ) -> None:
        query = {"gateway": "sandbox", "since": since, "until": until}
        answer = await client.get("/api/v1/payments/reconciliation", params=query, headers=staff)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_span")


CANARIES = ("tok_refund_refused", "4000056655665556", "4000 0566 5566 5556", SANDBOX_SECRET.removeprefix("whsec_"))


class TestSecrets:
    async def test_s4_no_answer_log_line_or_transaction_holds_a_token_a_card_number_or_a_secret(
        self,
        client: httpx2.AsyncClient,
        app: FastAPI,
        staff: Headers,
        desk: RecordingListener,
        settings: Settings,
        sandbox: RunningSandbox,
        caplog: pytest.LogCaptureFixture,
        capsys: pytest.CaptureFixture[str],
        database: Database,
    ) -> None:
        caplog.set_level(logging.INFO)  # below it the database driver writes down what it sends
        payment = await charged(app, settings, token="tok_refund_refused")
        booked = sandbox.books.payment_of(payment.key)
        assert booked is not None
        booked.failure_message = "Card 4000 0566 5566 5556 (tok_refund_refused) is gone"
        body = {**money("9.90"), "reason": "Broken"}
        answers = [
            await client.post(f"/api/v1/payments/{payment.id}/refunds", json=body, headers=keyed(staff)),
            await client.get("/api/v1/payments", headers=staff),
            await client.get(f"/api/v1/payments/{payment.id}", headers=staff),
        ]
        open_ = await create_payment(state=PaymentState.PROCESSING, key=payment.key + "x", asked_at=now())
        event = json.dumps({"type": "payment.failed", "data": {**booked.shown(), "key": open_.key, "state": "failed"}}).encode()
        headers = {"content-type": "application/json", **signed(SANDBOX_SECRET, "evt_canary", event)}
        answers.append(await client.post("/api/v1/payments/webhooks/sandbox", content=event, headers=headers))
        answers.append(await client.get(f"/api/v1/payments/{open_.id}", headers=staff))
        assert [answer.status_code for answer in answers] == [201, 200, 200, 204, 200]
        said = "".join(answer.text for answer in answers) + caplog.text + "".join(capsys.readouterr())
        kept = str(await Transaction.find_rows({})) + str(await Payment.find_rows({}, {"token": 0}))
        tokens = await Payment.find_rows({"token": {"$ne": None}}, {"token": 1})
        assert [canary for canary in CANARIES if canary in said + kept] == []
        assert tokens == []

    def test_s4_what_a_gateway_says_is_kept_without_secrets(self) -> None:
        said = {
            "id": "sbx_1",
            "client_secret": "x",
            "card": {"number": "4242424242424242", "last4": "4242"},
            "message": "4242-4242-4242-4242 with tok_visa and whsec_abc",
            "$where": "1",
            "a.b": [1, 4242424242424242],
            "deep": {"a": {"b": {"c": {"d": {"e": 1}}}}},
        }
        assert scrubbed(said) == {
            "id": "sbx_1",
            "card": {"last4": "4242"},
            "message": "[number] with [token] and [token]",
            "where": "1",
            "a_b": [1, "[number]"],
            "deep": {"a": {"b": {"c": {"d": "..."}}}},
        }
        assert scrubbed_text(None) is None
        assert scrubbed_text("x" * 1000) == "x" * 300
