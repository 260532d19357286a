"""A gateway's own books against ours, row by row: nothing is changed, a person looks."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models.money import Money
from models.payments import Payment, PaymentState, Refund, RefundState
from services.errors import UnprocessableError
from services.heavy import heavy_work
from services.payments.gateways import Gateways
from services.payments.port import ReportKind, ReportLine
from services.users.permissions import Permission, Viewer

LONGEST_SPAN = timedelta(days=31)
MAX_DIFFERENCES = 1000
# The gateway dates a row when it got to know of it, we when we sent it.
_MARGIN = timedelta(minutes=15)
_BATCH = 500


class DifferenceKind(StrEnum):
    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    AMOUNT_DIFFERS = "amount_differs"
    STATE_DIFFERS = "state_differs"


class ReconciliationDifference(BaseModel):
    """One row on which the books do not agree. What one side does not have is null."""

    model_config = ConfigDict(frozen=True)

    kind: DifferenceKind
    subject: ReportKind
    key: str = Field(description="Under which Agora sent it")
    gateway_reference: str | None
    id: str | None = Field(description="Of the payment or refund here")
    state_here: str | None
    state_there: str | None
    amount_here: Money | None
    amount_there: Money | None


class ReconciliationReport(BaseModel):
    """Everything two sets of books say about a time. They agree when `differences_count` is 0."""

    model_config = ConfigDict(frozen=True)

    gateway: str
    since: datetime
    until: datetime
    compared_count: int = Field(description="Payments and refunds that both sides know")
    differences_count: int
    differences: list[ReconciliationDifference] = Field(description=f"At most {MAX_DIFFERENCES}, payments first, by key")


class InvalidSpanError(UnprocessableError):
    """A time that ends before it begins, or is too long."""

    code = "invalid_span"

    def __init__(self) -> None:
        super().__init__(f"Name a time of at most {LONGEST_SPAN.days} days that ends after it begins.")


_STATES: dict[str, frozenset[str]] = {
    PaymentState.PROCESSING: frozenset({"pending"}),
    PaymentState.AUTHORISED: frozenset({"authorised"}),
    PaymentState.CAPTURED: frozenset({"captured"}),
    PaymentState.VOIDED: frozenset({"voided"}),
    PaymentState.FAILED: frozenset({"failed", "voided"}),
}
# Of these the gateway must know; of what failed or was never answered it need not.
_KNOWN_THERE = frozenset({PaymentState.AUTHORISED, PaymentState.CAPTURED, PaymentState.VOIDED, RefundState.SUCCEEDED})


class ReconciliationService:
    @staticmethod
    async def compare(
        gateway: str, *, viewer: Viewer, since: datetime, until: datetime, gateways: Gateways
    ) -> ReconciliationReport:
        """What the gateway's books and ours say about payments and refunds begun in that time.

        Raises PermissionDeniedError, UnknownGatewayError, InvalidSpanError, GatewayUnavailableError and OverloadedError.
        """
        viewer.require(Permission.MANAGE_PAYMENTS)
        if not (2000 <= since.year <= 9000 and timedelta(0) < until - since <= LONGEST_SPAN):
            raise InvalidSpanError
        asked = gateways.get(gateway)
        async with heavy_work():
            lines = await asked.report(since - _MARGIN, until + _MARGIN)
            compared, differences = 0, list[ReconciliationDifference]()
            for kind in ReportKind:
                there = {line.key or line.reference: line for line in lines if line.kind is kind}
                here = await _rows(kind, gateway, there, since, until)
                compared += len(there.keys() & here.keys())
                differences += _differences(kind, there, here, since, until)
        return ReconciliationReport(
            gateway=gateway,
            since=since,
            until=until,
            compared_count=compared,
            differences_count=len(differences),
            differences=differences[:MAX_DIFFERENCES],
        )


async def _rows(
    kind: ReportKind, gateway: str, there: Mapping[str, ReportLine], since: datetime, until: datetime
) -> dict[str, dict[str, Any]]:
    """Our rows of that time, and whatever the gateway named, by key."""
    document: type[Payment] | type[Refund] = Payment if kind is ReportKind.PAYMENT else Refund
    fields = {"key": 1, "state": 1, "amount": 1, "captured": 1, "gateway_reference": 1, "asked_at": 1, "gateway": 1}
    span = {"gateway": gateway, "asked_at": {"$gt": since - timedelta(milliseconds=1), "$lt": until}}
    rows = await document.find_rows(span, fields, sort=[("asked_at", 1)])
    found = {str(row["key"]): row for row in rows}
    for keys in _batches([key for key in there if key not in found]):
        for row in await document.find_rows({"key": {"$in": keys}}, fields):
            if row["gateway"] == gateway:
                found[row["key"]] = row
    return found


def _differences(
    kind: ReportKind, there: Mapping[str, ReportLine], here: Mapping[str, dict[str, Any]], since: datetime, until: datetime
) -> list[ReconciliationDifference]:
    found = []
    for key in sorted(there.keys() | here.keys()):
        line, row = there.get(key), here.get(key)
        difference = _difference(line, row, since, until)
        if difference is not None:
            found.append(_told(difference, kind, key, line, row))
    return found


def _difference(line: ReportLine | None, row: dict[str, Any] | None, since: datetime, until: datetime) -> DifferenceKind | None:
    if row is None:
        is_within = line is not None and since <= line.created_at < until
        return DifferenceKind.MISSING_HERE if is_within else None
    if line is None:
        return DifferenceKind.MISSING_THERE if row["state"] in _KNOWN_THERE else None
    if line.state not in _STATES.get(row["state"], frozenset({row["state"]})):
        return DifferenceKind.STATE_DIFFERS
    return DifferenceKind.AMOUNT_DIFFERS if line.amount != _amount(row) else None


def _amount(row: Mapping[str, Any]) -> Money:
    taken = row["captured"] if row["state"] == PaymentState.CAPTURED else row["amount"]["amount"]
    return Money(amount=taken, currency=row["amount"]["currency"])


def _told(
    difference: DifferenceKind, kind: ReportKind, key: str, line: ReportLine | None, row: dict[str, Any] | None
) -> ReconciliationDifference:
    return ReconciliationDifference(
        kind=difference,
        subject=kind,
        key=key,
        gateway_reference=line.reference if line else row["gateway_reference"] if row else None,
        id=str(row["_id"]) if row else None,
        state_here=row["state"] if row else None,
        state_there=line.state if line else None,
        amount_here=_amount(row) if row else None,
        amount_there=line.amount if line else None,
    )


def _batches(keys: Sequence[str]) -> Iterable[list[str]]:
    return (list(keys[start : start + _BATCH]) for start in range(0, len(keys), _BATCH))
