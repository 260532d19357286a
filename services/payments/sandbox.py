"""The gateway of `scripts/sandbox/gateway.py`, a program that plays a payment provider so that Agora can be tried without one."""

import asyncio
import random
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx2
from standardwebhooks import Webhook

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

SANDBOX = "sandbox"
ATTEMPTS = 3  # of a request that certainly was not worked on; always the same key
FIRST_PAUSE = 0.05

# By these the gateway says that it did not begin: another request with the key is running, too many, not now.
_TRANSIENT = {409, 429, 503}


class SandboxGateway:
    """Speaks to the sandbox over HTTP. `timeout` bounds a call as a whole, per attempt."""

    name = SANDBOX

    def __init__(
        self, url: str, secret: str, *, timeout: float = 10.0, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._url = url
        self._secret = secret
        self._timeout = timeout
        self._transport = transport
        self._client: httpx2.AsyncClient | None = None

    async def charge(self, charge: Charge) -> GatewayResult:
        body = {
            "key": charge.key,
            "amount": charge.amount.amount,
            "currency": charge.amount.currency,
            "method": charge.method,
            "token": charge.token,
            "capture": not charge.captures_later,
            "description": charge.description,
        }
        return _payment_result(await self._send("POST", "/v1/payments", key=charge.key, body=body))

    async def capture(self, payment: Remembered, amount: Money, *, key: str) -> GatewayResult:
        path = f"/v1/payments/{payment.reference}/capture"
        return _payment_result(await self._send("POST", path, key=key, body={"amount": amount.amount}))

    async def void(self, payment: Remembered, *, key: str) -> GatewayResult:
        return _payment_result(await self._send("POST", f"/v1/payments/{payment.reference}/void", key=key, body={}))

    async def refund(self, payment: Remembered, amount: Money, *, key: str, reason: str) -> GatewayResult:
        body = {"key": key, "amount": amount.amount, "reason": reason}
        return _refund_result(await self._send("POST", f"/v1/payments/{payment.reference}/refunds", key=key, body=body))

    async def payment_status(self, payment: Remembered) -> GatewayResult:
        return _asked(_payment_result(await self._send("GET", "/v1/payments", params={"key": payment.key})))

    async def refund_status(self, refund: Remembered, payment: Remembered) -> GatewayResult:
        return _asked(_refund_result(await self._send("GET", "/v1/refunds", params={"key": refund.key})))

    async def report(self, since: datetime, until: datetime) -> list[ReportLine]:
        answer = await self._send("GET", "/v1/report", params={"since": since.isoformat(), "until": until.isoformat()})
        if answer is None or answer[0] != 200:
            raise GatewayUnavailableError(self.name)
        return [
            ReportLine(
                kind=ReportKind(row["kind"]),
                key=row["key"],
                reference=row["id"],
                state=row["state"],
                amount=Money(amount=row["amount"], currency=row["currency"]),
                created_at=datetime.fromisoformat(row["created_at"]),
            )
            for row in answer[1]["lines"]
        ]

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> GatewayNotice:
        try:
            event = Webhook(self._secret).verify(body, dict(headers))
            return _notice(headers["webhook-id"], event)
        except Exception as error:  # the library raises whatever a malformed header makes it raise
            raise InvalidWebhookError(str(error) if type(error).__name__ == "WebhookVerificationError" else "malformed") from None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _send(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]] | None:
        """Status and body; None when no answer came that tells what happened."""
        headers = {"authorization": f"Bearer {self._secret}"}
        if key is not None:
            headers["idempotency-key"] = key
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await self._connected().request(method, path, json=body, params=params, headers=headers)
                    status, said = answer.status_code, answer.json()
            except httpx2.ConnectError:  # it never left
                if attempt == ATTEMPTS:
                    return None
            except (httpx2.HTTPError, TimeoutError, ValueError):
                return None
            else:
                if status not in _TRANSIENT or attempt == ATTEMPTS:
                    return (status, said) if isinstance(said, dict) else None
            await asyncio.sleep(random.uniform(0.5, 1.0) * FIRST_PAUSE * 2**attempt)  # jitter, no secret
        raise AssertionError("unreachable")

    def _connected(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                base_url=self._url, timeout=self._timeout, transport=self._transport, trust_env=False
            )
        return self._client


Said = tuple[int, dict[str, Any]]


def _payment_result(answer: Said | None) -> GatewayResult:
    if answer is None:
        return GatewayResult(Outcome.UNKNOWN)
    status, said = answer
    return _payment_facts(said) if status == 200 else _refusal(status, said)


def _asked(result: GatewayResult) -> GatewayResult:
    """An answer to a question: a refusal to answer it says nothing about what was asked."""
    if result.outcome is Outcome.DECLINED and result.reference is None:
        return GatewayResult(Outcome.UNKNOWN, code=result.code, message=result.message, data=result.data)
    return result


def _refund_result(answer: Said | None) -> GatewayResult:
    if answer is None:
        return GatewayResult(Outcome.UNKNOWN)
    status, said = answer
    return _refund_facts(said) if status == 200 else _refusal(status, said)


def _refusal(status: int, said: dict[str, Any]) -> GatewayResult:
    """A request that was understood and refused did nothing; of any other the outcome is unknown."""
    error = said.get("error", {})
    code, message = error.get("code"), error.get("message")
    if status == 404 and code == "absent":
        return GatewayResult(Outcome.ABSENT)
    refused = 400 <= status < 500 and status not in _TRANSIENT
    return GatewayResult(Outcome.DECLINED if refused else Outcome.UNKNOWN, code=code, message=message, data={"status": status})


_OUTCOMES = {
    GatewayState.PENDING: Outcome.PENDING,
    GatewayState.FAILED: Outcome.DECLINED,
}
_REFUND_OUTCOMES = {"succeeded": Outcome.SUCCEEDED, "failed": Outcome.DECLINED}


def _payment_facts(said: Mapping[str, Any]) -> GatewayResult:
    state = GatewayState(said["state"])
    return GatewayResult(
        _OUTCOMES.get(state, Outcome.SUCCEEDED),
        state,
        reference=said["id"],
        captured=said["captured"],
        instrument=said["instrument"],
        code=said["failure_code"],
        message=said["failure_message"],
        data=said,
    )


def _refund_facts(said: Mapping[str, Any]) -> GatewayResult:
    return GatewayResult(
        _REFUND_OUTCOMES.get(said["state"], Outcome.PENDING),
        reference=said["id"],
        code=said["failure_code"],
        message=said["failure_message"],
        data=said,
    )


def _notice(event_id: str, event: Mapping[str, Any]) -> GatewayNotice:
    kind, said = event["type"], event["data"]
    if kind.startswith("payment."):
        return GatewayNotice(event_id, kind, ReportKind.PAYMENT, said["key"], said["id"], _payment_facts(said))
    if kind.startswith("refund."):
        return GatewayNotice(event_id, kind, ReportKind.REFUND, said["key"], said["id"], _refund_facts(said))
    return GatewayNotice(event_id, kind, None)
