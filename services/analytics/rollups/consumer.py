"""The consumer that keeps the rollups: at every event that may bring a fact, it looks what is true of the order now."""

from beanie import PydanticObjectId

from models.ecommerce.returns import ReturnRequest
from models.events import Event, EventType
from models.payments import Payment
from services.analytics.rollups.counting import count_facts
from services.analytics.rollups.rebuilding import read_facts
from services.events import Consumer

_TYPES = frozenset(
    {
        EventType.ORDER_CONFIRMED,  # nothing to pay
        EventType.PAYMENT_CAPTURED,
        EventType.PAYMENT_FAILED,
        EventType.ORDER_CANCELLED,
        EventType.REFUND_SUCCEEDED,
        EventType.RETURN_RECEIVED,
        EventType.ORDER_IMPORTED,
    }
)


async def _count(event: Event) -> None:
    """What happened is in the documents, so that it does not matter which of an order's events comes, how late, or how often."""
    if event.type is EventType.ORDER_CONFIRMED and event.payload.get("total", {}).get("amount"):
        return  # its payment tells the same
    order_id = await _order_of(event)
    if order_id is not None:
        async for facts in read_facts(order_id):
            await count_facts(facts)


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


ROLLUP_CONSUMER = Consumer("rollups", _TYPES, _count)
