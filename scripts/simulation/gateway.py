"""The simulated world's payment provider: the sandbox gateway and Agora's adapter for it, without a line between them."""

import json
from collections.abc import Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from models.clock import present
from scripts.sandbox.books import Books, SandboxEvent, SandboxPayment
from scripts.sandbox.gateway import SandboxGatewayServer, signed
from services.payments.sandbox import SandboxGateway

# How cards behave, and how often. The sandbox itself knows what each token means.
GOOD_CARDS = {
    "tok_ok": 80,
    "tok_double_webhook": 5,
    "tok_timeout_after": 4,
    "tok_timeout_before_once": 3,
    "tok_review": 3,
}
BAD_CARDS = {"tok_declined": 3, "tok_insufficient_funds": 2, "tok_expired_card": 1}
CARDS = {**GOOD_CARDS, **BAD_CARDS}


class SimulatedGateway(SandboxGateway):
    """Speaks to a sandbox in this process, whose books stay within reach. What happens in it happens at the simulated time.

    It sends no webhook by itself: `fresh_events` are what is to be told, and whoever simulates decides when they arrive.
    """

    def __init__(self, secret: str) -> None:
        super().__init__("http://sandbox.invalid", secret)
        self.books = Books()
        self._server = SandboxGatewayServer(secret, self.books, pause=0.0)
        self._told = 0
        self._is_silent = False

    def fresh_events(self) -> Sequence[SandboxEvent]:
        """What happened since the last call, in its order."""
        fresh, self._told = self.books.events[self._told :], len(self.books.events)
        return fresh

    def has_kept_silent(self) -> bool:
        """Whether it owed anybody an answer since the last call."""
        was_silent, self._is_silent = self._is_silent, False
        return was_silent

    def decide(self, payment: SandboxPayment, *, approve: bool) -> None:
        """The bank's word on a payment it wanted to look at; nothing when it is decided."""
        if payment.state == "pending":
            self.books.decide(payment, approve=approve)

    def letter(self, event: SandboxEvent) -> tuple[dict[str, str], bytes]:
        """The headers and the body of an event's webhook, signed now."""
        return signed(self._secret, event.id, event.body), event.body

    async def _send(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]] | None:
        headers = [(b"authorization", f"Bearer {self._secret}".encode())]
        if key is not None:
            headers.append((b"idempotency-key", key.encode()))
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": urlencode(params or {}).encode(),
            "headers": headers,
        }
        sent: list[dict[str, Any]] = []
        payments, refunds = len(self.books.payments), len(self.books.refunds)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": json.dumps(body or {}).encode()}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self._server(scope, receive, send)
        for payment in islice(reversed(self.books.payments.values()), len(self.books.payments) - payments):
            payment.created_at = present().isoformat()
        for refund in islice(reversed(self.books.refunds.values()), len(self.books.refunds) - refunds):
            refund.created_at = present().isoformat()
        if len(sent) == 1:  # a line that was dropped has a beginning and no body
            self._is_silent = True
            return None
        return sent[0]["status"], json.loads(sent[1]["body"])
