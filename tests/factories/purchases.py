"""Orders that were paid, as reports of customers look at them."""

from datetime import datetime
from typing import Any

from beanie import PydanticObjectId

from models.ecommerce.orders import Order, OrderStatus, PaymentStatus
from models.ecommerce.pricing import Totals
from models.events import Event, EventType
from models.money import Money
from tests.factories.orders import make_order


def make_sale(customer_id: PydanticObjectId | None, paid_at: datetime, amount: int = 1000, **over: Any) -> Order:
    """An order that was paid then, unsaved; `amount` in minor units, `cancelled_at` and `refunded_amount` if that happened."""
    currency = over.pop("currency", "USD")
    nothing, total = Money.zero(currency), Money(amount=amount, currency=currency)
    is_cancelled = over.get("cancelled_at") is not None
    defaults: dict[str, Any] = {
        "customer_id": customer_id,
        "currency": currency,
        "totals": Totals(subtotal=total, discount=nothing, shipping=nothing, tax=nothing, total=total),
        "status": OrderStatus.CANCELLED if is_cancelled else OrderStatus.CONFIRMED,
        "payment_status": PaymentStatus.COMPLETED,
        "is_counted": not is_cancelled,
        "placed_at": paid_at,
        "paid_at": paid_at,
        "refunded": Money(amount=over.pop("refunded_amount", 0), currency=currency),
    }
    return make_order(**{**defaults, **over})


async def create_sale(customer_id: PydanticObjectId | None, paid_at: datetime, amount: int = 1000, **over: Any) -> Order:
    return await make_sale(customer_id, paid_at, amount, **over).store()


def told_of(order: Order, kind: EventType = EventType.ORDER_CONFIRMED) -> Event:
    """The event by which consumers hear of an order."""
    return Event(type=kind, subject=f"order:{order.id}")
