"""What Agora asks of a payment gateway, and how it answers; nothing here knows any gateway."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from models.money import Money
from services.errors import RuleViolatedError, UnavailableError


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    PENDING = "pending"  # the gateway has it and has not decided
    UNKNOWN = "unknown"  # no answer came, or none that can be believed: it may have happened
    ABSENT = "absent"  # asked about, the gateway has never heard of it


class GatewayState(StrEnum):
    """How far a payment is at the gateway, by its own word."""

    PENDING = "pending"
    AUTHORISED = "authorised"
    CAPTURED = "captured"
    FAILED = "failed"
    VOIDED = "voided"


@dataclass(frozen=True, slots=True)
class GatewayResult:
    """One answer. Amounts are minor units of the payment's currency; `data` is what else it said, for the log."""

    outcome: Outcome
    state: GatewayState | None = None  # of the payment; None when the answer is about a refund, or is none
    reference: str | None = None
    captured: int = 0
    instrument: str | None = None  # `visa ****4242`
    code: str | None = None
    message: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Charge:
    """What is to be taken. `key` makes it happen once, however often it is sent."""

    key: str
    amount: Money
    method: str
    token: str | None
    captures_later: bool
    description: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """How a payment or a refund is named to a gateway that is asked about it: by our key, and by its own id once known."""

    key: str
    reference: str | None
    asked_at: datetime | None = None


class ReportKind(StrEnum):
    PAYMENT = "payment"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One row of a gateway's own books. `amount` is what moved: captured (authorised, while it is not) or given back."""

    kind: ReportKind
    key: str  # ours, empty when the gateway has none
    reference: str
    state: str  # of GatewayState for payments; succeeded, pending or failed for refunds
    amount: Money
    created_at: datetime


@dataclass(frozen=True, slots=True)
class GatewayNotice:
    """An inbound webhook that was verified: facts about one payment or one refund as they were when it was sent."""

    event_id: str
    kind: str
    subject: ReportKind | None  # None: about something Agora does not follow
    key: str | None = None  # ours
    reference: str | None = None
    result: GatewayResult | None = None


class InvalidWebhookError(RuleViolatedError):
    """A webhook whose signature or time is not right, or that cannot be read."""

    code = "invalid_webhook"

    def __init__(self, reason: str) -> None:
        super().__init__(f"This webhook cannot be trusted: {reason}.")


class GatewayUnavailableError(UnavailableError):
    """The payment gateway does not answer."""

    code = "gateway_unavailable"

    def __init__(self, gateway: str) -> None:
        super().__init__(f"The payment gateway {gateway} does not answer: try again in a moment.", retry_after=5)
        self.gateway = gateway


class Gateway(Protocol):
    """A payment gateway.

    The calls never raise for what the gateway or the line to it does: that is the outcome. Every call that moves money carries
    a key under which the gateway does it once. `status` calls answer `ABSENT` only when the gateway itself says that it
    has never heard of the key.
    """

    name: str

    async def charge(self, charge: Charge) -> GatewayResult: ...

    async def capture(self, payment: Remembered, amount: Money, *, key: str) -> GatewayResult: ...

    async def void(self, payment: Remembered, *, key: str) -> GatewayResult: ...

    async def refund(self, payment: Remembered, amount: Money, *, key: str, reason: str) -> GatewayResult: ...

    async def payment_status(self, payment: Remembered) -> GatewayResult: ...

    async def refund_status(self, refund: Remembered, payment: Remembered) -> GatewayResult: ...

    async def report(self, since: datetime, until: datetime) -> list[ReportLine]:
        """The gateway's own books of that time. Raises GatewayUnavailableError."""
        ...

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> GatewayNotice:
        """Raises InvalidWebhookError."""
        ...

    async def close(self) -> None: ...
