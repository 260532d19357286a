"""The return that paths lead to is the member's, of a delivered order of two pieces that were paid for."""

from datetime import timedelta

from models.base import now
from models.ecommerce.orders import Order, OrderStatus, PaymentStatus
from models.ecommerce.returns import Disposition, ReturnLine, ReturnReason, ReturnRequest, ReturnStatus
from models.money import Money
from tests.api.world import Body, Operation, Provider, Query, World, fixed
from tests.factories.orders import create_order, make_line
from tests.factories.payments import captured_payment

_STATUS = {"receive_return": ReturnStatus.APPROVED, "refund_return": ReturnStatus.RECEIVED}
_WORTH = Money(amount=1000, currency="USD")


async def delivered_order(world: World, *, returning: int) -> Order:
    """Two pieces that are not counted in stock, one of which a return speaks of if `returning`."""

    async def make() -> Order:
        moment = now() - timedelta(days=1)
        line = make_line(quantity=2, tracks_inventory=False, fulfilled_quantity=2, returning_quantity=returning)
        order = await create_order(
            status=OrderStatus.DELIVERED,
            payment_status=PaymentStatus.COMPLETED,
            lines=[line],
            user_id=(await world.person("member")).id,
            is_stock_taken=True,
            shipped_at=moment,
            delivered_at=moment,
        )
        payment = await captured_payment(
            subject=f"order:{order.id}", amount=order.totals.total, method="invoice", gateway="offline"
        )
        paid = await Order.change({"_id": order.id}, {"$set": {"payment_id": payment.id}})
        assert paid is not None
        return paid

    order: Order = await world.once(f"delivered order, {returning} on its way back", make)
    return order


async def the_return(world: World, status: ReturnStatus) -> ReturnRequest:
    async def make() -> ReturnRequest:
        order = await delivered_order(world, returning=1)
        bought = order.lines[0]
        line = ReturnLine(
            line_id=bought.id,
            sku=bought.sku,
            name=bought.name,
            variant_id=bought.variant_id,
            quantity=1,
            reason=ReturnReason.DOES_NOT_FIT,
        )
        facts: dict[str, object] = {}
        if status is ReturnStatus.RECEIVED:
            line = line.model_copy(
                update={"received_quantity": 1, "disposition": Disposition.WRITE_OFF, "refund": _WORTH},
            )
            facts = {"refund": _WORTH}
        return await ReturnRequest(
            number=f"RMA-{order.id}-{status}",
            order_id=order.id,
            user_id=order.user_id,
            lines=[line],
            status=status,
            requested_at=now(),
            **facts,
        ).store()

    request: ReturnRequest = await world.once(f"{status} return", make)
    return request


async def _return_id(world: World, operation: Operation, variant: str) -> str:
    return str((await the_return(world, _STATUS.get(operation.id, ReturnStatus.REQUESTED))).id)


async def _wish(world: World) -> dict[str, object]:
    order = await delivered_order(world, returning=0)
    return {"lines": [{"line_id": str(order.lines[0].id), "quantity": 1, "reason": "does_not_fit"}]}


async def _arrived(world: World) -> dict[str, object]:
    line = (await the_return(world, ReturnStatus.APPROVED)).lines[0]
    return {"lines": [{"line_id": str(line.line_id), "quantity": 1, "disposition": "write_off"}]}


VALUES: dict[str, Provider] = {"return_id": _return_id}
QUERIES: dict[str, Query] = {}
BODIES: dict[str, Body] = {
    "request_return": _wish,
    "approve_return": fixed(staff_notes="Looks fine."),
    "reject_return": fixed(staff_notes="Worn."),
    "receive_return": _arrived,
    "refund_return": fixed(amount={"amount": "5.00", "currency": "USD"}),
}
