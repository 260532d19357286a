"""Orders as placement would have left them, without stock, payment or customer behind them unless given."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from beanie import PydanticObjectId

from models.ecommerce.orders import Order, OrderLine, PaymentMethod
from models.ecommerce.pricing import Totals
from models.money import Money

_numbers = count(1)

PLACED = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def usd(cents: int) -> Money:
    return Money(amount=cents, currency="USD")


def make_line(*, quantity: int = 1, price: int = 1000, **over: Any) -> OrderLine:
    """A line without discount and tax; `price` is in cents."""
    number = next(_numbers)
    defaults: dict[str, Any] = {
        "product_id": PydanticObjectId(),
        "variant_id": PydanticObjectId(),
        "name": f"Product {number}",
        "sku": f"SKU-{number}",
        "quantity": quantity,
        "unit_price": usd(price),
        "subtotal": usd(price * quantity),
        "discount": usd(0),
        "tax": usd(0),
        "total": usd(price * quantity),
    }
    return OrderLine(**{**defaults, **over})


def make_order(**over: Any) -> Order:
    """A pending order of one piece for 10.00, unsaved. Totals follow from the lines, without shipping, unless given."""
    number = next(_numbers)
    lines = over.pop("lines", None) or [make_line()]
    subtotal = sum(line.subtotal.amount for line in lines)
    discount = sum(line.discount.amount for line in lines)
    tax = sum(line.tax.amount for line in lines)
    defaults: dict[str, Any] = {
        "number": f"ORD-20261101-{number:06d}",
        "placement_key": f"test:{number}",
        "currency": "USD",
        "lines": lines,
        "items_count": sum(line.quantity for line in lines),
        "totals": Totals(
            subtotal=usd(subtotal),
            discount=usd(discount),
            shipping=usd(0),
            tax=usd(tax),
            total=usd(subtotal - discount + tax),
        ),
        "payment_method": PaymentMethod.CARD,
        "placed_at": PLACED,
        "refunded": usd(0),
    }
    return Order(**{**defaults, **over})


async def create_order(**over: Any) -> Order:
    return await make_order(**over).store()
