"""One exchange with a gateway: made outside every transaction, timed, and written down without anything secret."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from beanie import PydanticObjectId

from models.database import in_transaction
from models.money import Money
from models.payments import Payment, Refund, Transaction, TransactionKind, TransactionStatus
from services.payments.port import GatewayResult, Outcome

log = structlog.get_logger(__name__)

_STATUS = {
    Outcome.SUCCEEDED: TransactionStatus.SUCCEEDED,
    Outcome.DECLINED: TransactionStatus.FAILED,
    Outcome.PENDING: TransactionStatus.PENDING,
    Outcome.UNKNOWN: TransactionStatus.UNKNOWN,
    Outcome.ABSENT: TransactionStatus.ABSENT,
}
_SECRET_NAMES = re.compile(
    r"token|secret|password|authori[sz]ation|cvc|cvv|number|pan$|iban|payment_method|source", re.IGNORECASE
)
_NUMBER = re.compile(r"\d(?:[ -]?\d){12,18}")
_TOKEN = re.compile(r"\b(?:tok|pm|sk|rk|whsec|card|src|seti|pi_\w+_secret)_\w+")
_MAX_TEXT = 300
_MAX_ENTRIES = 40
_MAX_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was asked, what came back, and how long it took."""

    kind: TransactionKind
    result: GatewayResult
    amount: Money
    duration_ms: int = 0
    refund_id: PydanticObjectId | None = None

    def entry(self, payment: Payment) -> Transaction:
        """What is written down about it."""
        result = self.result
        said = {"code": result.code, "message": result.message, **result.data}
        return Transaction(
            payment_id=payment.id,
            refund_id=self.refund_id,
            kind=self.kind,
            status=_STATUS[result.outcome],
            amount=self.amount,
            gateway=payment.gateway,
            gateway_reference=result.reference,
            gateway_data=scrubbed({name: value for name, value in said.items() if value is not None}),
            duration_ms=self.duration_ms,
        )


async def exchange(
    kind: TransactionKind, call: Callable[[], Awaitable[GatewayResult]], *, amount: Money, refund: Refund | None = None
) -> Exchange:
    """Make the call. A gateway that fails in a way it should not leaves the outcome unknown."""
    if in_transaction():
        raise RuntimeError("a gateway must not be called inside a transaction")
    started = time.perf_counter()
    try:
        result = await call()
    except Exception as error:
        log.warning("gateway_failed", kind=kind, reason=type(error).__name__)
        result = GatewayResult(Outcome.UNKNOWN, data={"error": type(error).__name__})
    elapsed = int((time.perf_counter() - started) * 1000)
    return Exchange(kind, result, amount, elapsed, refund.id if refund else None)


def scrubbed(said: Mapping[str, Any]) -> dict[str, Any]:
    """What a gateway said, without secrets, tokens and card numbers, and of bounded size."""
    cleaned = _cleaned(said, 0)
    return cleaned if isinstance(cleaned, dict) else {}


def scrubbed_text(text: str | None) -> str | None:
    """A sentence of a gateway for people to read, without card numbers and tokens."""
    return None if text is None else _TOKEN.sub("[token]", _NUMBER.sub("[number]", text))[:_MAX_TEXT]


def _cleaned(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        kept = [(str(name), part) for name, part in value.items() if not _SECRET_NAMES.search(str(name))]
        return {name.replace(".", "_").lstrip("$"): _cleaned(part, depth + 1) for name, part in kept[:_MAX_ENTRIES]}
    if isinstance(value, str):
        return scrubbed_text(value)
    if isinstance(value, Sequence):
        return [_cleaned(part, depth + 1) for part in value[:_MAX_ENTRIES]]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return value if abs(value) < 10**12 else "[number]"
    return type(value).__name__
