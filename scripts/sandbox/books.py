"""The sandbox gateway's books: what it took, what it gave back, and how each token makes it behave."""

import json
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# What the token of a payment makes the sandbox do. Any other token is refused, and so is a card without one.
TOKENS: dict[str, str] = {
    "tok_ok": "takes the money",
    "tok_declined": "declines: card_declined",
    "tok_insufficient_funds": "declines: insufficient_funds",
    "tok_expired_card": "declines: expired_card",
    "tok_timeout_before": "drops the line before charging, every time",
    "tok_timeout_before_once": "drops the line before charging, the first time",
    "tok_timeout_after": "takes the money, then drops the line",
    "tok_slow": "takes the money after a while",
    "tok_late_webhook": "answers pending, takes the money later and tells by webhook",
    "tok_early_webhook": "sends the webhook before its answer",
    "tok_double_webhook": "sends every webhook twice",
    "tok_review": "answers pending until somebody decides: POST /v1/payments/{id}/decide",
    "tok_capture_refused": "authorises, and refuses to capture: authorisation_expired",
    "tok_capture_timeout": "captures, then drops the line",
    "tok_refund_refused": "takes the money and refuses to give it back",
    "tok_refund_timeout": "gives money back, then drops the line",
    "tok_refund_late": "answers a refund with pending, gives the money back later and tells by webhook",
}
DECLINES = {"tok_declined": "card_declined", "tok_insufficient_funds": "insufficient_funds", "tok_expired_card": "expired_card"}
PENDING_TOKENS = {"tok_late_webhook", "tok_review"}


class Refused(Exception):
    """A request the sandbox understands and does not follow."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message or code.replace("_", " ")


@dataclass
class SandboxPayment:
    id: str
    key: str
    amount: int
    currency: str
    method: str
    description: str
    token: str
    state: str = "pending"
    wants_capture: bool = True
    captured: int = 0
    refunded: int = 0
    instrument: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())

    def shown(self) -> dict[str, Any]:
        """What callers are told; the token is none of it."""
        return {name: value for name, value in asdict(self).items() if name != "token"}


@dataclass
class SandboxRefund:
    id: str
    key: str
    payment: str
    amount: int
    currency: str
    state: str = "pending"
    failure_code: str | None = None
    failure_message: str | None = None
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())

    def shown(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class SandboxEvent:
    """A webhook to be sent: the object as it was then."""

    id: str
    type: str
    data: dict[str, Any]
    copies: int = 1

    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())

    @property
    def body(self) -> bytes:
        return json.dumps({"type": self.type, "timestamp": self.created_at, "data": self.data}).encode()


class Books:
    """Everything the sandbox knows; with a file, also after a restart."""

    def __init__(self, file: Path | None = None) -> None:
        self.payments: dict[str, SandboxPayment] = {}
        self.refunds: dict[str, SandboxRefund] = {}
        self.events: list[SandboxEvent] = []
        self.dropped: set[str] = set()  # keys of charges whose line was dropped before charging
        self._file = file
        if file is not None and file.exists():
            self._read(file)

    def charge(
        self, *, key: str, amount: int, currency: str, method: str, token: str | None, capture: bool, description: str
    ) -> SandboxPayment:
        """Take or hold the money as the token says; under a known key, the payment that was made then."""
        known = self.payment_of(key)
        if known is not None:
            return known
        if amount <= 0:
            raise Refused(400, "invalid_amount")
        token = token or ("" if method == "card" else "tok_ok")
        made = SandboxPayment(f"sbx_{secrets.token_hex(8)}", key, amount, currency, method, description, token)
        made.wants_capture = capture
        made.instrument = "visa ****4242" if method == "card" else method
        self.payments[made.id] = made
        self._tell("payment.created", made)
        if token not in TOKENS or token in DECLINES:
            self._fail(made, DECLINES.get(token, "invalid_token"))
        elif token in PENDING_TOKENS:
            self._tell("payment.pending", made)
        else:
            self._take(made)
        self._write(made)
        return made

    def decide(self, payment: SandboxPayment, *, approve: bool) -> None:
        """End a pending payment."""
        if payment.state != "pending":
            raise Refused(402, "not_pending")
        if approve:
            self._take(payment)
        else:
            self._fail(payment, "rejected")
        self._write(payment)

    def capture(self, payment: SandboxPayment, amount: int) -> None:
        if payment.state == "captured" and payment.captured == amount:
            return
        if payment.state != "authorised":
            raise Refused(402, "not_authorised")
        if payment.token == "tok_capture_refused":
            raise Refused(402, "authorisation_expired")
        if not 0 < amount <= payment.amount:
            raise Refused(402, "amount_too_large")
        payment.state, payment.captured = "captured", amount
        self._tell("payment.captured", payment)
        self._write(payment)

    def void(self, payment: SandboxPayment) -> None:
        if payment.state == "voided":
            return
        if payment.state != "authorised":
            raise Refused(402, "not_authorised")
        payment.state = "voided"
        self._tell("payment.voided", payment)
        self._write(payment)

    def refund(self, payment: SandboxPayment, *, key: str, amount: int) -> SandboxRefund:
        known = self.refund_of(key)
        if known is not None:
            return known
        if payment.state != "captured":
            raise Refused(402, "not_captured")
        if not 0 < amount <= payment.captured - payment.refunded:
            raise Refused(402, "amount_too_large")
        made = SandboxRefund(f"sbr_{secrets.token_hex(8)}", key, payment.id, amount, payment.currency)
        self.refunds[made.id] = made
        self._tell("refund.created", made, payment)
        if payment.token == "tok_refund_refused":
            made.state, made.failure_code, made.failure_message = "failed", "refund_refused", "The bank refused it."
            self._tell("refund.failed", made, payment)
        elif payment.token == "tok_refund_late":
            payment.refunded += amount
        else:
            payment.refunded += amount
            self.finish_refund(made)
        self._write(made)
        self._write(payment)
        return made

    def finish_refund(self, refund: SandboxRefund) -> None:
        refund.state = "succeeded"
        self._tell("refund.succeeded", refund, self.payments[refund.payment])
        self._write(refund)

    def payment(self, payment_id: str) -> SandboxPayment:
        if payment_id not in self.payments:
            raise Refused(404, "not_found")
        return self.payments[payment_id]

    def payment_of(self, key: str) -> SandboxPayment | None:
        return next((payment for payment in self.payments.values() if payment.key == key), None)

    def refund_of(self, key: str) -> SandboxRefund | None:
        return next((refund for refund in self.refunds.values() if refund.key == key), None)

    def report(self, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """What moved for whatever was begun in that time, oldest first."""
        lines = []
        for payment in self.payments.values():
            amount = payment.captured if payment.state == "captured" else payment.amount
            lines.append(_line("payment", payment, amount))
        lines += [_line("refund", refund, refund.amount) for refund in self.refunds.values()]
        within = [line for line in lines if since <= datetime.fromisoformat(line["created_at"]) < until]
        return sorted(within, key=lambda line: str(line["created_at"]))

    def shown(self) -> dict[str, Any]:
        """The whole of the books, for people and tests."""
        return {
            "tokens": TOKENS,
            "taken": sum(payment.captured for payment in self.payments.values()),
            "given_back": sum(payment.refunded for payment in self.payments.values()),
            "payments": [payment.shown() for payment in self.payments.values()],
            "refunds": [refund.shown() for refund in self.refunds.values()],
        }

    def _take(self, payment: SandboxPayment) -> None:
        if payment.wants_capture:
            payment.state, payment.captured = "captured", payment.amount
            self._tell("payment.captured", payment)
        else:
            payment.state = "authorised"
            self._tell("payment.authorised", payment)

    def _fail(self, payment: SandboxPayment, code: str) -> None:
        payment.state, payment.failure_code = "failed", code
        payment.failure_message = f"The card was declined: {code.replace('_', ' ')}."
        self._tell("payment.failed", payment)

    def _tell(self, kind: str, about: SandboxPayment | SandboxRefund, payment: SandboxPayment | None = None) -> None:
        token = about.token if isinstance(about, SandboxPayment) else payment.token if payment else ""
        copies = 2 if token == "tok_double_webhook" else 1
        self.events.append(SandboxEvent(f"evt_{secrets.token_hex(8)}", kind, about.shown(), copies))

    def _write(self, changed: SandboxPayment | SandboxRefund) -> None:
        if self._file is not None:
            kind = "payment" if isinstance(changed, SandboxPayment) else "refund"
            with self._file.open("a") as lines:
                lines.write(json.dumps({kind: asdict(changed)}) + "\n")

    def _read(self, file: Path) -> None:
        """Later lines about one thing replace earlier ones; a line that a kill cut short is passed over."""
        for line in file.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if "payment" in row:
                self.payments[row["payment"]["id"]] = SandboxPayment(**row["payment"])
            else:
                self.refunds[row["refund"]["id"]] = SandboxRefund(**row["refund"])


def _line(kind: str, row: SandboxPayment | SandboxRefund, amount: int) -> dict[str, Any]:
    return {
        "kind": kind,
        "id": row.id,
        "key": row.key,
        "state": row.state,
        "amount": amount,
        "currency": row.currency,
        "created_at": row.created_at,
    }
