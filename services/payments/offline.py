"""Payments that no gateway takes part in: an invoice that is paid by transfer, cash at the door.

They go through the same states: promised (authorised), received (captured, by a person's word), written off (voided), given back.
"""

from collections.abc import Mapping
from datetime import datetime

from models.money import Money
from services.payments.port import (
    Charge,
    GatewayNotice,
    GatewayResult,
    GatewayState,
    InvalidWebhookError,
    Outcome,
    Remembered,
    ReportLine,
)

OFFLINE = "offline"
PROMISED = GatewayResult(Outcome.SUCCEEDED, GatewayState.AUTHORISED)
IMPORTED = "import"


class OfflineGateway:
    """Says yes at once; nobody is called."""

    name = OFFLINE

    async def charge(self, charge: Charge) -> GatewayResult:
        return PROMISED

    async def capture(self, payment: Remembered, amount: Money, *, key: str) -> GatewayResult:
        return GatewayResult(Outcome.SUCCEEDED, GatewayState.CAPTURED, captured=amount.amount)

    async def void(self, payment: Remembered, *, key: str) -> GatewayResult:
        return GatewayResult(Outcome.SUCCEEDED, GatewayState.VOIDED)

    async def refund(self, payment: Remembered, amount: Money, *, key: str, reason: str) -> GatewayResult:
        return GatewayResult(Outcome.SUCCEEDED)

    async def payment_status(self, payment: Remembered) -> GatewayResult:
        """Nobody has heard of it, so whoever asks does again what a crash interrupted."""
        return GatewayResult(Outcome.ABSENT)

    async def refund_status(self, refund: Remembered, payment: Remembered) -> GatewayResult:
        return GatewayResult(Outcome.ABSENT)

    async def report(self, since: datetime, until: datetime) -> list[ReportLine]:
        return []

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> GatewayNotice:
        raise InvalidWebhookError("nobody sends any for payments without a gateway")

    async def close(self) -> None:
        return None


class ImportedGateway(OfflineGateway):
    """Of payments that were made elsewhere and imported: what is given back of them is given back by hand."""

    name = IMPORTED
