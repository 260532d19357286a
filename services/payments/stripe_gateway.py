"""Stripe, by its own library, which is an extra: `pip install agora[stripe]`.

One PaymentIntent per payment, confirmed at once with the client's payment method and captured at once or later. Our key is the
Idempotency-Key of every call and stands in the metadata of what it makes, by which a lost answer is found again.
"""

import asyncio
import importlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from models.money import Money
from services.payments.port import (
    Charge,
    GatewayNotice,
    GatewayResult,
    GatewayState,
    GatewayUnavailableError,
    InvalidWebhookError,
    Outcome,
    Remembered,
    ReportKind,
    ReportLine,
)

STRIPE = "stripe"
TOLERANCE_SECONDS = 300
MAX_SEARCHED = 1000
_PAGE = 100
_SEARCH_MARGIN = timedelta(minutes=5)  # Stripe dates an intent by its own clock

_STATES = {
    "requires_capture": GatewayState.AUTHORISED,
    "succeeded": GatewayState.CAPTURED,
    "canceled": GatewayState.VOIDED,
    "requires_payment_method": GatewayState.FAILED,
    "requires_action": GatewayState.FAILED,  # nobody is there to act: a new attempt asks the customer
}
_OUTCOMES = {GatewayState.PENDING: Outcome.PENDING, GatewayState.FAILED: Outcome.DECLINED}
_REFUND_STATES = {"succeeded": "succeeded", "failed": "failed", "canceled": "failed"}
_REFUND_OUTCOMES = {"succeeded": Outcome.SUCCEEDED, "failed": Outcome.DECLINED}
# A refusal with one of these did nothing. Everything else may have happened.
_REFUSALS = ("CardError", "InvalidRequestError", "AuthenticationError", "PermissionError")


class StripeGateway:
    """Speaks to Stripe from a thread. `api_url` is for stand-ins of its API."""

    name = STRIPE

    def __init__(self, secret_key: str, webhook_secret: str, *, timeout: float = 10.0, api_url: str | None = None) -> None:
        # By name, and not before someone wants it: Agora runs without the extra.
        self._stripe = importlib.import_module("stripe")
        self._webhook_secret = webhook_secret
        self._timeout = timeout
        addresses = {"api": api_url} if api_url else None
        self._http = self._stripe.RequestsClient(timeout=timeout)
        client = self._stripe.StripeClient(secret_key, base_addresses=addresses, max_network_retries=1, http_client=self._http)
        self._intents = client.v1.payment_intents
        self._refunds = client.v1.refunds

    async def charge(self, charge: Charge) -> GatewayResult:
        params = {
            "amount": charge.amount.amount,
            "currency": charge.amount.currency.lower(),
            "payment_method": charge.token,
            "confirm": True,
            "error_on_requires_action": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "capture_method": "manual" if charge.captures_later else "automatic",
            "description": charge.description,
            "metadata": {"agora_key": charge.key},
            "expand": ["latest_charge"],
        }
        return await self._pay(partial(self._intents.create, params, {"idempotency_key": charge.key}))

    async def capture(self, payment: Remembered, amount: Money, *, key: str) -> GatewayResult:
        params = {"amount_to_capture": amount.amount}
        return await self._pay(partial(self._intents.capture, payment.reference, params, {"idempotency_key": key}))

    async def void(self, payment: Remembered, *, key: str) -> GatewayResult:
        return await self._pay(partial(self._intents.cancel, payment.reference, {}, {"idempotency_key": key}))

    async def refund(self, payment: Remembered, amount: Money, *, key: str, reason: str) -> GatewayResult:
        params = {
            "payment_intent": payment.reference,
            "amount": amount.amount,
            "metadata": {"agora_key": key, "reason": reason[:400]},
        }
        answer = await self._call(partial(self._refunds.create, params, {"idempotency_key": key}))
        return answer if isinstance(answer, GatewayResult) else _refund_facts(answer)

    async def payment_status(self, payment: Remembered) -> GatewayResult:
        answer = await self._ask(payment, self._intents.retrieve, partial(self._search, self._intents, payment, {}))
        return answer if isinstance(answer, GatewayResult) else _payment_facts(answer)

    async def refund_status(self, refund: Remembered, payment: Remembered) -> GatewayResult:
        of_payment = {"payment_intent": payment.reference}
        search = partial(self._search, self._refunds, refund, of_payment)
        answer = await self._ask(refund, self._refunds.retrieve, search)
        return answer if isinstance(answer, GatewayResult) else _refund_facts(answer)

    async def report(self, since: datetime, until: datetime) -> list[ReportLine]:
        span = {"created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())}, "limit": _PAGE}

        def read() -> list[ReportLine]:
            intents = [_line(ReportKind.PAYMENT, row.to_dict()) for row in self._intents.list(span).auto_paging_iter()]
            return intents + [_line(ReportKind.REFUND, row.to_dict()) for row in self._refunds.list(span).auto_paging_iter()]

        try:
            return await asyncio.to_thread(read)
        except self._stripe.StripeError as error:
            raise GatewayUnavailableError(self.name) from error

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> GatewayNotice:
        signature = headers.get("stripe-signature", "")
        try:
            event = self._stripe.Webhook.construct_event(body, signature, self._webhook_secret, tolerance=TOLERANCE_SECONDS)
            return _notice(event.to_dict())
        except (ValueError, KeyError, TypeError, self._stripe.StripeError):
            raise InvalidWebhookError("the signature is not right, too old, or missing") from None

    async def close(self) -> None:
        await asyncio.to_thread(self._http.close)

    async def _pay(self, call: Callable[[], Any]) -> GatewayResult:
        answer = await self._call(call)
        return answer if isinstance(answer, GatewayResult) else _payment_facts(answer)

    async def _ask(self, named: Remembered, retrieve: Callable[[str], Any], search: Callable[[], Any]) -> Any:
        """The object, or what is known without one. A refusal to answer says nothing about what was asked."""
        answer = await self._call(partial(retrieve, named.reference) if named.reference else search)
        if isinstance(answer, GatewayResult) and answer.outcome is Outcome.DECLINED:
            return GatewayResult(Outcome.UNKNOWN, code=answer.code, message=answer.message)
        return answer

    def _search(self, service: Any, named: Remembered, narrowed: dict[str, Any]) -> Any:
        """The object that carries our key, among those made since it was sent."""
        began = (named.asked_at or datetime.now(UTC)) - _SEARCH_MARGIN
        params = {**narrowed, "created": {"gte": int(began.timestamp())}, "limit": _PAGE}
        for count, row in enumerate(service.list(params).auto_paging_iter()):
            if (row.to_dict().get("metadata") or {}).get("agora_key") == named.key:
                return row
            if count >= MAX_SEARCHED:
                return GatewayResult(Outcome.UNKNOWN, code="too_many_to_search")
        return GatewayResult(Outcome.ABSENT)

    async def _call(self, call: Callable[[], Any]) -> Any:
        """What Stripe answers with, as a dictionary; a result when it refuses, or when nothing is known."""
        try:
            async with asyncio.timeout(self._timeout):
                answer = await asyncio.to_thread(call)
        except TimeoutError:
            return GatewayResult(Outcome.UNKNOWN, code="timeout")
        except self._stripe.StripeError as error:
            return self._refused(error)
        return answer if isinstance(answer, GatewayResult) else answer.to_dict()

    def _refused(self, error: Any) -> GatewayResult:
        known = error.error
        code = getattr(known, "decline_code", None) or error.code or type(error).__name__
        told = {"code": code, "message": error.user_message, "data": {"status": error.http_status}}
        if not isinstance(error, tuple(getattr(self._stripe, name) for name in _REFUSALS)):
            return GatewayResult(Outcome.UNKNOWN, **told)
        intent = getattr(known, "payment_intent", None)
        state = GatewayState.FAILED if type(error).__name__ == "CardError" and intent else None
        return GatewayResult(Outcome.DECLINED, state, reference=intent.id if intent else None, **told)


def _payment_facts(intent: Mapping[str, Any]) -> GatewayResult:
    status = intent["status"]
    state = _STATES.get(status, GatewayState.PENDING)
    failure = (intent.get("last_payment_error") or {}) if state is GatewayState.FAILED else {}
    return GatewayResult(
        _OUTCOMES.get(state, Outcome.SUCCEEDED),
        state,
        reference=intent["id"],
        captured=intent.get("amount_received") or 0,
        instrument=_instrument(intent),
        code=failure.get("decline_code") or failure.get("code"),
        message=failure.get("message"),
        data={"status": status, "amount": intent["amount"], "currency": intent["currency"]},
    )


def _instrument(intent: Mapping[str, Any]) -> str | None:
    charge = intent.get("latest_charge")
    card = (charge.get("payment_method_details") or {}).get("card") if isinstance(charge, dict) else None
    return f"{card['brand']} ****{card['last4']}" if card else None


def _refund_facts(refund: Mapping[str, Any]) -> GatewayResult:
    state = _REFUND_STATES.get(refund["status"], "pending")
    return GatewayResult(
        _REFUND_OUTCOMES.get(state, Outcome.PENDING),
        reference=refund["id"],
        code=refund.get("failure_reason"),
        data={"status": refund["status"], "amount": refund["amount"], "currency": refund["currency"]},
    )


def _notice(event: Mapping[str, Any]) -> GatewayNotice:
    """What an event says. Those about anything but intents and refunds, disputes among them, are kept and not followed."""
    thing = event["data"]["object"]
    if thing.get("object") not in ("payment_intent", "refund"):
        return GatewayNotice(event["id"], event["type"], None)
    key, reference = (thing.get("metadata") or {}).get("agora_key"), thing["id"]
    if thing["object"] == "payment_intent":
        return GatewayNotice(event["id"], event["type"], ReportKind.PAYMENT, key, reference, _payment_facts(thing))
    return GatewayNotice(event["id"], event["type"], ReportKind.REFUND, key, reference, _refund_facts(thing))


def _line(kind: ReportKind, row: Mapping[str, Any]) -> ReportLine:
    if kind is ReportKind.PAYMENT:
        state = _STATES.get(row["status"], GatewayState.PENDING).value
        amount = row["amount_received"] if state == GatewayState.CAPTURED else row["amount"]
    else:
        state, amount = _REFUND_STATES.get(row["status"], "pending"), row["amount"]
    return ReportLine(
        kind=kind,
        key=(row.get("metadata") or {}).get("agora_key") or "",
        reference=row["id"],
        state=state,
        amount=Money(amount=amount, currency=row["currency"].upper()),
        created_at=datetime.fromtimestamp(row["created"], UTC),
    )
