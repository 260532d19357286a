"""The Stripe gateway against a stand-in of Stripe's API on loopback."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from models.base import now
from models.payments import PaymentState, RefundState
from scripts.sandbox.books import Books, Refused, SandboxPayment, SandboxRefund
from services.payments.gateways import Gateways
from services.payments.payments import PaymentService
from services.payments.port import (
    Charge,
    GatewayState,
    GatewayUnavailableError,
    InvalidWebhookError,
    Outcome,
    Remembered,
    ReportKind,
)
from services.payments.refunds import RefundService
from services.payments.stripe_gateway import StripeGateway
from services.payments.webhooks import GatewayWebhookService
from services.settings import Settings
from tests.factories.payments import RecordingListener, create_payment, usd
from tests.races import patiently

WEBHOOK_SECRET = "whsec_of_stripe_for_tests"
TOKENS = {
    "pm_card_visa": "tok_ok",
    "pm_card_chargeDeclinedInsufficientFunds": "tok_insufficient_funds",
    "pm_lost": "tok_timeout_after",
}
STATES = {"authorised": "requires_capture", "captured": "succeeded", "voided": "canceled", "failed": "requires_payment_method"}


class StripeStandIn(ThreadingHTTPServer):
    """As much of PaymentIntents and Refunds as the gateway asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.books = Books()
        self.keys: list[str] = []
        self.is_away = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: StripeStandIn

    def do_GET(self) -> None:
        self._answer("GET", dict(parse_qsl(urlsplit(self.path).query)))

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        self.server.keys.append(self.headers["idempotency-key"])
        self._answer("POST", dict(parse_qsl(raw)))

    def log_message(self, format: str, *arguments: Any) -> None:
        return None

    def _answer(self, method: str, form: dict[str, str]) -> None:
        if self.server.is_away:
            return self._send(500, {"error": {"type": "api_error", "message": "away"}})
        try:
            status, body = self._act(method, [part for part in urlsplit(self.path).path.split("/") if part][1:], form)
        except Refused as refused:
            status, body = 400, {"error": {"type": "invalid_request_error", "code": refused.code, "message": refused.message}}
        if form.get("payment_method") == "pm_lost":
            self.close_connection = True
            return None
        return self._send(status, body)

    def _act(self, method: str, path: list[str], form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        books = self.server.books
        if path[0] == "refunds":
            return self._refunds(method, path, form)
        if method == "GET" and len(path) == 1:
            return 200, {"object": "list", "has_more": False, "data": [intent(row) for row in books.payments.values()]}
        if method == "GET":
            return 200, intent(books.payment(path[1]))
        if len(path) == 1:
            made = books.charge(
                key=form["metadata[agora_key]"],
                amount=int(form["amount"]),
                currency=form["currency"],
                method="card",
                token=TOKENS.get(form["payment_method"], "unknown"),
                capture=form["capture_method"] == "automatic",
                description=form["description"],
            )
            if made.state == "failed":
                error = {"type": "card_error", "code": "card_declined", "decline_code": made.failure_code}
                return 402, {"error": {**error, "message": made.failure_message, "payment_intent": intent(made)}}
            return 200, intent(made)
        payment = books.payment(path[1])
        if path[2] == "capture":
            books.capture(payment, int(form["amount_to_capture"]))
        else:
            books.void(payment)
        return 200, intent(payment)

    def _refunds(self, method: str, path: list[str], form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        books = self.server.books
        if method == "POST":
            payment = books.payment(form["payment_intent"])
            return 200, refund(books.refund(payment, key=form["metadata[agora_key]"], amount=int(form["amount"])))
        if len(path) == 1:
            return 200, {"object": "list", "has_more": False, "data": [refund(row) for row in books.refunds.values()]}
        return 200, refund(books.refunds[path[1]])

    def _send(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def intent(row: SandboxPayment) -> dict[str, Any]:
    card = {"brand": "visa", "last4": "4242"}
    return {
        "object": "payment_intent",
        "id": row.id,
        "status": STATES[row.state],
        "amount": row.amount,
        "amount_received": row.captured,
        "currency": row.currency.lower(),
        "metadata": {"agora_key": row.key},
        "client_secret": f"{row.id}_secret_canary",
        "latest_charge": {"object": "charge", "id": "ch_1", "payment_method_details": {"card": card}},
        "last_payment_error": {"decline_code": row.failure_code, "message": "no"} if row.failure_code else None,
        "created": int(datetime.fromisoformat(row.created_at).timestamp()),
    }


def refund(row: SandboxRefund) -> dict[str, Any]:
    return {
        "object": "refund",
        "id": row.id,
        "status": row.state,
        "amount": row.amount,
        "currency": row.currency.lower(),
        "metadata": {"agora_key": row.key},
        "failure_reason": row.failure_code,
        "created": int(datetime.fromisoformat(row.created_at).timestamp()),
    }


@pytest.fixture
def stand_in() -> Iterator[StripeStandIn]:
    with StripeStandIn() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(patiently(5))


@pytest.fixture
async def stripe(stand_in: StripeStandIn, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StripeGateway]:
    monkeypatch.setattr("stripe._http_client.HTTPClient.INITIAL_DELAY", 0.01)  # before it asks again
    gateway = StripeGateway("sk_test_canary", WEBHOOK_SECRET, timeout=patiently(5), api_url=stand_in.url)
    yield gateway
    await gateway.close()


def charge(key: str, token: str, *, captures_later: bool = False) -> Charge:
    return Charge(key, usd("49.90"), "card", token, captures_later, "order:1")


class TestCalls:
    async def test_charge_takes_the_money_under_our_key(self, stripe: StripeGateway, stand_in: StripeStandIn) -> None:
        done = await stripe.charge(charge("k1", "pm_card_visa"))
        assert (done.outcome, done.state, done.captured, done.instrument) == (
            Outcome.SUCCEEDED,
            GatewayState.CAPTURED,
            4990,
            "visa ****4242",
        )
        assert stand_in.keys == ["k1"]
        assert "secret" not in json.dumps(dict(done.data))

    async def test_decline_carries_the_reason(self, stripe: StripeGateway) -> None:
        done = await stripe.charge(charge("k1", "pm_card_chargeDeclinedInsufficientFunds"))
        assert (done.outcome, done.state, done.code) == (Outcome.DECLINED, GatewayState.FAILED, "insufficient_funds")
        assert done.reference is not None

    async def test_lost_line_is_unknown_and_found_again_by_our_key(self, stripe: StripeGateway, stand_in: StripeStandIn) -> None:
        began = now()
        assert (await stripe.charge(charge("k1", "pm_lost"))).outcome is Outcome.UNKNOWN
        found = await stripe.payment_status(Remembered("k1", None, began))
        assert (found.outcome, found.captured) == (Outcome.SUCCEEDED, 4990)
        assert (await stripe.payment_status(Remembered("k2", None, began))).outcome is Outcome.ABSENT
        assert len(stand_in.books.payments) == 1

    async def test_a_server_that_is_away_leaves_the_outcome_unknown(self, stripe: StripeGateway, stand_in: StripeStandIn) -> None:
        stand_in.is_away = True
        assert (await stripe.charge(charge("k1", "pm_card_visa"))).outcome is Outcome.UNKNOWN
        assert (await stripe.payment_status(Remembered("k1", None, now()))).outcome is Outcome.UNKNOWN
        with pytest.raises(GatewayUnavailableError):
            await stripe.report(now() - timedelta(days=1), now())

    async def test_authorise_capture_a_part_and_give_back_a_part(self, stripe: StripeGateway) -> None:
        held = await stripe.charge(charge("k1", "pm_card_visa", captures_later=True))
        assert held.state is GatewayState.AUTHORISED
        paid = Remembered("k1", held.reference)
        taken = await stripe.capture(paid, usd("20.00"), key="c1")
        assert (taken.state, taken.captured) == (GatewayState.CAPTURED, 2000)
        back = await stripe.refund(paid, usd("5.00"), key="r1", reason="Broken")
        assert back.outcome is Outcome.SUCCEEDED
        assert (await stripe.refund_status(Remembered("r1", None, now()), paid)).outcome is Outcome.SUCCEEDED
        assert (await stripe.refund_status(Remembered("r1", back.reference), paid)).reference == back.reference
        too_much = await stripe.refund(paid, usd("15.01"), key="r2", reason="Broken")
        assert (too_much.outcome, too_much.code) == (Outcome.DECLINED, "amount_too_large")
        lines = await stripe.report(now() - timedelta(minutes=1), now() + timedelta(minutes=1))
        assert [(line.kind, line.key, line.state, line.amount) for line in lines] == [
            (ReportKind.PAYMENT, "k1", "captured", usd("20.00")),
            (ReportKind.REFUND, "r1", "succeeded", usd("5.00")),
        ]

    async def test_void_lets_go(self, stripe: StripeGateway) -> None:
        held = await stripe.charge(charge("k1", "pm_card_visa", captures_later=True))
        assert (await stripe.void(Remembered("k1", held.reference), key="v1")).state is GatewayState.VOIDED
        assert (await stripe.payment_status(Remembered("k1", held.reference))).state is GatewayState.VOIDED


def event(row: dict[str, Any], *, at: float | None = None, secret: str = WEBHOOK_SECRET) -> tuple[dict[str, str], bytes]:
    kind = "payment_intent.succeeded" if row["object"] == "payment_intent" else f"{row['object']}.updated"
    body = json.dumps({"id": "evt_1", "object": "event", "type": kind, "data": {"object": row}}).encode()
    stamp = int(at or time.time())
    signature = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={stamp},v1={signature}"}, body


class TestWebhooks:
    def test_reads_what_stripe_signed(self, stripe: StripeGateway) -> None:
        row = SandboxPayment("pi_1", "k1", 4990, "USD", "card", "", "tok_ok", state="captured", captured=4990)
        notice = stripe.read_webhook(*event(intent(row)))
        assert (notice.subject, notice.key, notice.reference) == (ReportKind.PAYMENT, "k1", "pi_1")
        assert notice.result is not None
        assert (notice.result.state, notice.result.captured) == (GatewayState.CAPTURED, 4990)
        given = stripe.read_webhook(*event(refund(SandboxRefund("re_1", "r1", "pi_1", 500, "USD", state="failed"))))
        assert (given.subject, given.key) == (ReportKind.REFUND, "r1")
        assert stripe.read_webhook(*event({"object": "dispute", "id": "dp_1"})).subject is None

    def test_refuses_what_is_old_forged_or_unsigned(self, stripe: StripeGateway) -> None:
        row = {"object": "dispute", "id": "dp_1"}
        for headers, body in (
            event(row, at=time.time() - 301),
            event(row, secret="whsec_of_someone"),
            ({}, event(row)[1]),
            (event(row)[0], b"{}"),
        ):
            with pytest.raises(InvalidWebhookError):
                stripe.read_webhook(headers, body)


@pytest.mark.usefixtures("database")
async def test_a_payment_goes_through_stripe_as_through_any_gateway(stripe: StripeGateway, settings: Settings) -> None:
    tools: dict[str, Any] = {"gateways": Gateways([stripe]), "listener": RecordingListener(), "settings": settings}
    payment = await create_payment(gateway="stripe", token="pm_card_visa")
    done = await PaymentService.execute(payment.id, **tools)
    assert (done.state, done.captured, done.token) == (PaymentState.CAPTURED, 4990, None)
    asked = await RefundService.request(None, payment_id=payment.id, amount=usd("9.90"), reason="Broken", key="r1")
    assert (await RefundService.execute(asked.id, **tools)).state is RefundState.SUCCEEDED
    open_ = await create_payment(gateway="stripe", state=PaymentState.PROCESSING, asked_at=now(), sent_count=1)
    row = SandboxPayment("pi_9", open_.key, 4990, "USD", "card", "", "tok_ok", state="captured", captured=4990)
    headers, body = event(intent(row))
    tools.pop("settings")
    assert await GatewayWebhookService.receive("stripe", headers=headers, body=body, **tools)
    assert (await PaymentService.get(open_.id)).state is PaymentState.CAPTURED
