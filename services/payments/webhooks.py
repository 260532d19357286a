"""Inbound webhooks: verified, taken once, and believed only forwards."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.database import DuplicateKeyError, duplicate_index
from models.payments import GatewayEvent, Payment, Refund, TransactionKind
from services.errors import NotFoundError
from services.payments.exchanges import Exchange
from services.payments.gateways import Gateways
from services.payments.listeners import PaymentListener
from services.payments.port import GatewayNotice, GatewayResult, ReportKind
from services.payments.settlement import load_payment, settle_payment, settle_refund


class GatewayNotFoundError(NotFoundError):
    """There is no gateway of that name here that could send webhooks."""

    code = "gateway_not_found"

    def __init__(self, name: str) -> None:
        super().__init__("gateway", name)


class GatewayWebhookService:
    @staticmethod
    async def receive(
        gateway: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        gateways: Gateways,
        listener: PaymentListener,
        now: datetime | None = None,
    ) -> bool:
        """Let a gateway's word take its effect, once; False when it had before.

        The event is written in the transaction of its effect, so that a failure in between leaves it to be sent again. An event
        about nothing of ours is kept as well. Raises GatewayNotFoundError and InvalidWebhookError, and changes nothing then.
        """
        if not gateways.has(gateway):
            raise GatewayNotFoundError(gateway)
        notice = gateways.get(gateway).read_webhook(headers, body)
        if await GatewayEvent.find_row({"gateway": gateway, "event_id": notice.event_id}, {"_id": 1}) is not None:
            return False
        now = now or present()
        try:
            await _take(gateway, notice, listener, now)
        except DuplicateKeyError as error:
            if duplicate_index(error) != "gateway_event_unique":
                raise
            return False
        return True


async def _take(gateway: str, notice: GatewayNotice, listener: PaymentListener, now: datetime) -> None:
    event = GatewayEvent(gateway=gateway, event_id=notice.event_id, kind=notice.kind, handled_at=now)
    if notice.subject is ReportKind.PAYMENT and notice.result is not None:
        row = await _row(Payment, gateway, notice)
        if row is not None:
            payment = Payment.from_row(row)
            event.payment_id = payment.id
            spoken = _spoken(notice.result, payment, None)
            await settle_payment(payment, spoken, listener=listener, now=now, event=event)
            return
    if notice.subject is ReportKind.REFUND and notice.result is not None:
        row = await _row(Refund, gateway, notice)
        if row is not None:
            refund = Refund.from_row(row)
            event.payment_id, event.refund_id = refund.payment_id, refund.id
            payment = await load_payment(refund.payment_id)
            spoken = _spoken(notice.result, payment, refund)
            await settle_refund(refund, payment, spoken, listener=listener, now=now, event=event)
            return
    await event.store()


async def _row(document: type[Payment] | type[Refund], gateway: str, notice: GatewayNotice) -> dict[str, Any] | None:
    """By our key, which the gateway repeats, or by its own id; and never what belongs to another gateway."""
    if not (notice.key or notice.reference):
        return None
    # By what is indexed alone: a filter with more in it is not served by the index everywhere.
    row = await document.find_row({"key": notice.key} if notice.key else {"gateway_reference": notice.reference})
    return row if row is not None and row["gateway"] == gateway else None


def _spoken(result: GatewayResult, payment: Payment, refund: Refund | None) -> Exchange:
    refund_id: PydanticObjectId | None = refund.id if refund else None
    return Exchange(TransactionKind.WEBHOOK, result, (refund or payment).amount, refund_id=refund_id)
