"""Every read of payments, refunds, webhooks and reviews is served by a declared index, as it is really sent."""

from datetime import timedelta
from typing import Any

from models.base import now
from models.database import Database
from models.payments import PaymentState, RefundState
from models.users import Role
from services.pagination import CursorCodec
from services.payments.desk import PaymentDeskService
from services.payments.gateways import Gateways
from services.payments.payments import PaymentService
from services.payments.reconciliation import ReconciliationService
from services.payments.refunds import RefundService
from services.payments.reviews import FraudReviewService
from services.payments.rules import FraudRuleService
from services.payments.webhooks import GatewayWebhookService
from services.settings import Settings
from tests.commands import CommandLog
from tests.factories.payments import RecordingListener, captured_payment, create_payment, usd
from tests.factories.users import create_user, viewer_of
from tests.services.payments.test_webhooks import in_flight, message, said_of
from tests.shapes import serving_index

CURSORS = CursorCodec(b"0" * 32)


async def test_every_list_and_look_up_is_served(
    database: Database, commands: CommandLog, gateways: Gateways, settings: Settings
) -> None:
    manager = viewer_of(await create_user(role=Role.MANAGER))
    payment = await create_payment(amount=usd("12000.00"))
    captured = await captured_payment()
    told = message("evt_1", "payment.captured", said_of(await in_flight(), "captured", captured=4990))
    tools: dict[str, Any] = {"gateways": gateways, "listener": RecordingListener()}

    with commands.counting() as sent:
        await PaymentService.execute(payment.id, settings=settings, client_address="203.0.113.9", **tools)
        await PaymentService.resolve_due(settings=settings, now=now() + timedelta(seconds=60), **tools)
        refund = await RefundService.request(None, payment_id=captured.id, amount=usd("1.00"), reason="", key="r")
        await RefundService.resolve_due(settings=settings, now=now() + timedelta(seconds=60), **tools)
        await RefundService.refundable(captured.subject)
        await GatewayWebhookService.receive("sandbox", headers=told[0], body=told[1], **tools)
        for state in (None, PaymentState.CAPTURED):
            for subject in (None, captured.subject):
                page = await PaymentDeskService.list_payments(
                    viewer=manager, cursors=CURSORS, state=state, subject=subject, limit=1
                )
                if page.next_cursor:
                    await PaymentDeskService.list_payments(
                        viewer=manager, cursors=CURSORS, state=state, subject=subject, cursor=page.next_cursor
                    )
        await PaymentDeskService.get_payment(captured.id, viewer=manager)
        await PaymentService.void(payment.id, key="v", settings=settings, **tools)
        await FraudReviewService.list_reviews(viewer=manager, cursors=CURSORS)
        await FraudRuleService.list_rules(viewer=manager)
        await ReconciliationService.compare(
            "sandbox", viewer=manager, since=now() - timedelta(days=1), until=now(), gateways=gateways
        )

    assert refund.state is RefundState.PENDING
    unserved = [read for read in sent.reads if serving_index(read) is None]
    assert unserved == []
    assert len(sent.reads) > 20
