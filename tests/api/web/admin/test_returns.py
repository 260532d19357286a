"""Returns: decided, taken in and paid back."""

from datetime import timedelta
from typing import Any

from models.audit import AuditEntry
from models.base import now
from models.ecommerce.orders import Order, OrderStatus, PaymentStatus
from models.ecommerce.returns import ReturnReason, ReturnRequest, ReturnStatus
from models.inventory.stock import StockLevel
from models.payments import Payment
from services.ecommerce.orders.reading import OrderAccess
from services.ecommerce.returns.pieces import ReturnPart
from services.ecommerce.returns.requests import ReturnService
from services.payments.gateways import Gateways
from services.payments.payments import PaymentService
from services.settings import Settings
from tests.api.web.admin.conftest import Clerk
from tests.factories.orders import create_order, make_line
from tests.factories.payments import RecordingListener, create_payment
from tests.factories.users import viewer_of

QUEUE = "/admin/returns"


async def delivered(**over: Any) -> Order:
    line = make_line(name="Linen shirt", quantity=3, fulfilled_quantity=3, tracks_inventory=False)
    moment = now() - timedelta(days=1)
    return await create_order(
        **{
            "status": OrderStatus.DELIVERED,
            "payment_status": PaymentStatus.COMPLETED,
            "lines": [line],
            "delivered_at": moment,
            "is_stock_taken": True,
            **over,
        }
    )


async def asked_for(order: Order, clerk: Clerk, settings: Settings, quantity: int = 2) -> ReturnRequest:
    parts = [ReturnPart(line_id=order.lines[0].id, quantity=quantity, reason=ReturnReason.DOES_NOT_FIT)]
    made = await ReturnService.request(order.id, parts, access=OrderAccess(viewer_of(clerk.user)), settings=settings)
    return await stored(made.id)


async def stored(return_id: Any) -> ReturnRequest:
    row = await ReturnRequest.find_row({"_id": return_id})
    assert row is not None
    return ReturnRequest.from_row(row)


async def acts(subject: str) -> list[str]:
    rows = await AuditEntry.find_rows({"subject": subject}, sort=[("_id", 1)])
    return [row["action"] for row in rows]


async def test_from_the_queue_to_the_money(manager: Clerk, gateway: Gateways, settings: Settings) -> None:
    order = await delivered()
    payment = await create_payment(subject=f"order:{order.id}", amount=order.totals.total)
    listener = RecordingListener()
    await PaymentService.execute(payment.id, gateways=gateway, listener=listener, settings=settings)
    await Order.change({"_id": order.id}, {"$set": {"payment_id": payment.id}})
    request = await asked_for(order, manager, settings)
    here, line = f"{QUEUE}/{request.id}", order.lines[0]
    assert request.number in await manager.page(QUEUE)
    assert request.number in await manager.page(f"{QUEUE}?status=refunded&search={request.number.lower()}")
    assert "No such return." in await manager.page(f"{QUEUE}?search=RMA-1")
    assert f"{QUEUE}/{request.id}" in await manager.page(f"/admin/orders/{order.id}")

    await manager.send(f"{here}/approve", staff_notes="A good customer")
    page = await manager.page(here)
    assert "Linen shirt" in page
    assert "A good customer" in page
    none = await manager.send(f"{here}/receive", **{f"pieces_{line.id}": "0"})
    many = await manager.send(f"{here}/receive", **{f"pieces_{line.id}": "3", f"where_{line.id}": "restock"})
    assert (none.status_code, many.status_code) == (422, 400)
    assert (await stored(request.id)).status is ReturnStatus.APPROVED

    await manager.send(f"{here}/receive", **{f"pieces_{line.id}": "1", f"where_{line.id}": "write_off"})
    received = await stored(request.id)
    assert (received.status, received.lines[0].received_quantity, received.lines[0].disposition) == ("received", 1, "write_off")
    assert received.refund is not None
    worth = received.refund
    assert f"At most ${worth.amount / 100:.2f}, what the pieces were paid with" in await manager.page(here)
    too_much = await manager.send(f"{here}/refund", amount="999.00")
    assert too_much.status_code == 400
    answers = [await manager.send(f"{here}/refund", amount="1.50") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [303, 303]
    assert (await stored(request.id)).status is ReturnStatus.REFUNDED
    row = await Payment.find_row({"_id": payment.id})
    assert row is not None
    assert row["refunded"] == 150
    assert await acts(f"return:{request.id}") == ["return.approved", "return.received"]
    assert await acts(f"payment:{payment.id}") == ["payment.refund"]
    assert await StockLevel.count_rows({}) == 0  # written off


async def test_what_was_decided_on_an_old_page_is_told_and_what_was_rejected_is_over(manager: Clerk, settings: Settings) -> None:
    request = await asked_for(await delivered(user_id=manager.user.id), manager, settings)
    here = f"{QUEUE}/{request.id}"

    await manager.send(f"{here}/approve", staff_notes="Fine by me", revision=request.revision)
    stale = await manager.send(f"{here}/reject", staff_notes="Worn", revision=request.revision)
    assert (stale.status_code, "By now it is: Fine by me" in stale.text) == (412, True)
    assert (await stored(request.id)).status is ReturnStatus.APPROVED

    await manager.send(f"{here}/reject", staff_notes="Worn")
    refused = await manager.send(f"{here}/approve")

    assert refused.status_code == 409
    assert "A return that is rejected cannot become approved." in refused.text
    assert (await stored(request.id)).status is ReturnStatus.REJECTED
    assert await acts(f"return:{request.id}") == ["return.approved", "return.rejected"]
