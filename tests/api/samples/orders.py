"""The order that paths lead to is the member's: unpaid, unless the operation needs one that is further on."""

from datetime import UTC, datetime, timedelta

from beanie import PydanticObjectId

from models.base import now
from models.ecommerce.catalog import Product
from models.ecommerce.orders import Fulfilment, FulfilmentLine, Order, OrderStatus, PaymentStatus
from tests.api.samples.returns import delivered_order
from tests.api.world import Body, Operation, Provider, Query, World, fixed
from tests.factories.carts import create_cart
from tests.factories.catalog import create_product
from tests.factories.customers import make_place
from tests.factories.orders import create_order, make_line

_MOMENT = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
_STATUS = {
    "change_order_status": OrderStatus.CONFIRMED,
    "create_fulfilment": OrderStatus.PROCESSING,
    "update_tracking": OrderStatus.SHIPPED,
    "deliver_fulfilment": OrderStatus.SHIPPED,
}


async def the_order(world: World, status: OrderStatus) -> Order:
    """One piece that is not counted in stock, so that it can take any step."""

    async def make() -> Order:
        line = make_line(tracks_inventory=False)
        facts: dict[str, object] = {"expires_at": now() + timedelta(minutes=30)}
        if status is not OrderStatus.PENDING:
            facts = {"payment_status": PaymentStatus.COMPLETED, "is_stock_taken": True}
        if status is OrderStatus.SHIPPED:
            line.fulfilled_quantity = 1
            parcel = Fulfilment(lines=[FulfilmentLine(line_id=line.id, quantity=1)], shipped_at=_MOMENT)
            facts |= {"fulfilments": [parcel], "shipped_at": _MOMENT}
        return await create_order(status=status, lines=[line], user_id=(await world.person("member")).id, **facts)

    order: Order = await world.once(f"{status} order", make)
    return order


async def _order_id(world: World, operation: Operation, variant: str) -> str:
    if operation.id in ("request_return", "list_order_returns"):
        return str((await delivered_order(world, returning=0)).id)
    return str((await the_order(world, _STATUS.get(operation.id, OrderStatus.PENDING))).id)


async def _fulfilment_id(world: World, operation: Operation, variant: str) -> str:
    return str((await the_order(world, OrderStatus.SHIPPED)).fulfilments[0].id)


async def _product(world: World) -> Product:
    product: Product = await world.once("product to order", lambda: create_product(track_inventory=False))
    return product


async def _wish(world: World) -> dict[str, object]:
    product = await _product(world)
    return {"items": [{"product_id": str(product.id), "quantity": 2, "unit_price": "19.90"}]}


async def _checkout(world: World) -> dict[str, object]:
    member, product = await world.person("member"), await _product(world)
    await world.once("cart", lambda: create_cart((product, 2), user=member))
    return {"payment_method": "invoice", "shipping_address": make_place().model_dump(), "email": "jane@example.com"}


async def _many(world: World) -> dict[str, object]:
    order = await the_order(world, OrderStatus.CONFIRMED)
    return {"order_ids": [str(order.id), str(PydanticObjectId())], "status": "processing"}


VALUES: dict[str, Provider] = {"order_id": _order_id, "fulfilment_id": _fulfilment_id}
QUERIES: dict[str, Query] = {}
BODIES: dict[str, Body] = {
    "checkout": _checkout,
    "create_order": _wish,
    "pay_order": fixed(payment_method="invoice"),
    "change_order_status": fixed(status="PROCESSING"),
    "change_many_statuses": _many,
    "create_fulfilment": fixed(carrier="DHL", tracking_number="JD014600003828"),
    "update_tracking": fixed(carrier="UPS"),
    "update_order_notes": fixed(notes="Will be at home on Friday."),
    "hold_order": fixed(reason="The address looks odd."),
}
