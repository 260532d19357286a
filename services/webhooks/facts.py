"""What outsiders are told of an event: a list of fields per kind of thing, looked up when the event is handled.

Only what is named here leaves the house. No address, e-mail or name of a person, no token, no note of staff is ever named.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from beanie import PydanticObjectId

from models.base import AgoraDocument
from models.ecommerce.catalog import VISIBLE_STATUSES, Product
from models.ecommerce.orders import Order
from models.ecommerce.returns import ReturnRequest
from models.ecommerce.reviews import Review, ReviewStatus
from models.events import Event, EventType
from models.inventory.purchasing import PurchaseOrder
from models.payments import Payment, Refund
from models.webhooks import WebhookTopic
from services.livefacts import facts_of

Facts = dict[str, Any]
D = TypeVar("D", bound=AgoraDocument)

WEBHOOK_EVENTS = frozenset(EventType(topic) for topic in WebhookTopic if topic is not WebhookTopic.ALL)


async def outside_facts(event: Event) -> Facts | None:
    """What `data` of the message holds, ready for JSON; None for what nobody outside hears of (any more)."""
    kind = event.type.partition(".")[0]
    return await _FACTS[kind](event)


async def _order(event: Event) -> Facts | None:
    order = await _subject(Order, event)
    if order is None:
        return None
    kept = order.model_dump(
        mode="json",
        include={
            **dict.fromkeys(_ORDER_FIELDS, True),
            "lines": {"__all__": _LINE_FIELDS},
            "fulfilments": {"__all__": _PARCEL_FIELDS},
        },
    )
    parcel = event.payload.get("fulfilment_id")
    return {"order_id": str(order.id), **kept, **({"fulfilment_id": str(parcel)} if parcel else {})}


_ORDER_FIELDS = (
    *("number", "customer_id", "currency", "totals", "status", "payment_status", "payment_method", "shipping_method", "source"),
    *("placed_at", "paid_at", "shipped_at", "delivered_at", "cancelled_at", "is_held", "refunded", "revision"),
)
_LINE_FIELDS = {
    *("id", "product_id", "variant_id", "name", "sku", "options", "quantity", "unit_price", "subtotal", "discount", "tax"),
    *("total", "is_digital", "fulfilled_quantity", "returned_quantity"),
}
_PARCEL_FIELDS = {"id", "lines", "carrier", "tracking_number", "shipped_at", "delivered_at"}


async def _payment(event: Event) -> Facts | None:
    payment = await _subject(Payment, event)
    if payment is None:
        return None
    kept = payment.model_dump(mode="json", include={"subject", "amount", "method", "gateway", "state", "failure_code"})
    return {"payment_id": str(payment.id), **kept}


async def _refund(event: Event) -> Facts | None:
    refund = await _by_id(Refund, event.payload.get("refund_id"))
    if refund is None:
        return None
    kept = refund.model_dump(mode="json", include={"payment_id", "subject", "amount", "state"})
    return {"refund_id": str(refund.id), **kept}


async def _return(event: Event) -> Facts | None:
    found = await _subject(ReturnRequest, event)
    if found is None:
        return None
    lines = {"__all__": {"line_id", "variant_id", "quantity", "received_quantity", "disposition"}}
    kept = found.model_dump(
        mode="json", include={"number": True, "order_id": True, "status": True, "requested_at": True, "lines": lines}
    )
    return {"return_id": str(found.id), **kept}


async def _product(event: Event) -> Facts | None:
    """A product that is no longer public is told of by its id alone."""
    product = await _subject(Product, event)
    if product is None:
        return None
    if product.status not in VISIBLE_STATUSES:
        return {"product_id": str(product.id)} if event.type is EventType.PRODUCT_REMOVED else None
    variants = {"__all__": {"id", "sku", "title", "options", "price", "is_active"}}
    kept = product.model_dump(
        mode="json", include={"name": True, "slug": True, "status": True, "is_available": True, "variants": variants}
    )
    return {"product_id": str(product.id), **kept}


async def _stock(event: Event) -> Facts:
    told = {key: event.payload[key] for key in _STOCK_FIELDS if key in event.payload}
    ids = {key: str(value) if isinstance(value, PydanticObjectId) else value for key, value in told.items()}
    return {"product_id": event.subject.partition(":")[2], **ids}


_STOCK_FIELDS = ("variant_id", "location_id", "sku", "available", "is_available", "threshold")


async def _purchase_order(event: Event) -> Facts | None:
    found = await _subject(PurchaseOrder, event)
    if found is None:
        return None
    lines = {"__all__": {"sku", "quantity", "received_quantity"}}
    kept = found.model_dump(mode="json", include={"number": True, "location_id": True, "status": True, "lines": lines})
    return {"purchase_order_id": str(found.id), **kept}


async def _review(event: Event) -> Facts | None:
    """A review that is not public now is told of by its ids alone, and only when it was withdrawn."""
    review = await _subject(Review, event)
    is_public = review is not None and review.status is ReviewStatus.APPROVED
    if review is None or is_public == (event.type is EventType.REVIEW_WITHDRAWN):
        return None
    ids = {"review_id": str(review.id), "product_id": str(review.product_id)}
    return {**ids, "rating": review.rating, "title": review.title} if is_public else ids


async def _publication(event: Event) -> Facts | None:
    """As live connections are told: nothing of a draft but that it was withdrawn."""
    for told in await facts_of([event]):
        return told.fact.model_dump(mode="json", exclude={"type"})
    return None


_FACTS: dict[str, Callable[[Event], Awaitable[Facts | None]]] = {
    "order": _order,
    "payment": _payment,
    "refund": _refund,
    "return": _return,
    "product": _product,
    "purchase_order": _purchase_order,
    "review": _review,
    "stock": _stock,
    "post": _publication,
    "comment": _publication,
}


async def _subject(document: type[D], event: Event) -> D | None:
    return await _by_id(document, event.subject.partition(":")[2])


async def _by_id(document: type[D], key: object) -> D | None:
    row = await document.find_row({"_id": PydanticObjectId(str(key))}) if PydanticObjectId.is_valid(key) else None
    return None if row is None else document.from_row(row)
