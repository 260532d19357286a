"""The consumer that keeps the rollups: at every event that may bring a fact, it looks what is true of the order or cart now."""

from beanie import PydanticObjectId

from models.ecommerce.carts import CartAbandonment
from models.ecommerce.returns import ReturnRequest
from models.events import Event, EventType
from models.payments import Payment
from services.analytics.rollups.counting import count_facts
from services.analytics.rollups.facts import CART_FIELDS, facts_of_cart
from services.analytics.rollups.rebuilding import facts_of_one_order
from services.events import Consumer

_OF_CARTS = {EventType.CART_ABANDONED, EventType.CART_REMINDED, EventType.CART_RECOVERED}
_OF_ORDERS = {
    EventType.ORDER_CONFIRMED,  # nothing to pay
    EventType.PAYMENT_HELD,
    EventType.PAYMENT_AUTHORISED,
    EventType.PAYMENT_CAPTURED,
    EventType.PAYMENT_FAILED,
    EventType.PAYMENT_VOIDED,
    EventType.ORDER_CANCELLED,
    EventType.REFUND_SUCCEEDED,
    EventType.REFUND_FAILED,
    EventType.RETURN_RECEIVED,
    EventType.ORDER_IMPORTED,
}


async def _count(event: Event) -> None:
    """What happened is in the documents, so that it does not matter which of an order's events comes, how late, or how often."""
    if event.type is EventType.ORDER_CONFIRMED and event.payload.get("total", {}).get("amount"):
        return  # its payment tells the same
    if event.type in _OF_CARTS:
        left = await CartAbandonment.find_row({"_id": PydanticObjectId(event.payload["abandonment_id"])}, CART_FIELDS)
        await count_facts(facts_of_cart(left) if left else [])
        return
    order_id = await _order_of(event)
    if order_id is not None:
        await count_facts(await facts_of_one_order(order_id))


async def _order_of(event: Event) -> PydanticObjectId | None:
    """The order an event is about; None when it is about none that is known."""
    kind, _, id = event.subject.partition(":")
    if kind == "payment":
        row = await Payment.find_row({"_id": PydanticObjectId(id)}, {"subject": 1})
        kind, _, id = row["subject"].partition(":") if row else ("", "", "")
    elif kind == "return":
        row = await ReturnRequest.find_row({"_id": PydanticObjectId(id)}, {"order_id": 1})
        return row["order_id"] if row else None
    return PydanticObjectId(id) if kind == "order" else None


ROLLUP_CONSUMER = Consumer("rollups", _OF_ORDERS | _OF_CARTS, _count)
