"""Histories of sales as orders, payments and refunds would have left them, and their counting into rollups."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from beanie import PydanticObjectId

from models.ecommerce.catalog import Product
from models.ecommerce.coupons import Coupon
from models.ecommerce.orders import Order, OrderLine, OrderStatus
from models.ecommerce.pricing import AppliedDiscount, Totals
from models.money import Money
from models.payments import Payment, Refund, RefundState
from services.analytics.rollups.rebuilding import read_facts
from services.analytics.rollups.rollups import RollupService
from tests.factories.orders import make_line, make_order
from tests.factories.payments import make_captured

SOURCES = ("shop", "api", "import")


def make_sold_line(
    product: Product, *, quantity: int = 1, price: int = 1000, discount: int = 0, tax: int = 0, currency: str = "USD"
) -> OrderLine:
    """A line of the product; amounts are in minor units, discount and tax of the whole line."""

    def money(amount: int) -> Money:
        return Money(amount=amount, currency=currency)

    return make_line(
        product_id=product.id,
        variant_id=product.variants[0].id,
        category_id=product.category_id,
        name=product.name,
        quantity=quantity,
        unit_price=money(price),
        subtotal=money(price * quantity),
        discount=money(discount),
        tax=money(tax),
        total=money(price * quantity - discount + tax),
    )


def make_sale(
    lines: list[OrderLine],
    *,
    paid_at: datetime | None,
    shipping: int = 0,
    coupon: Coupon | None = None,
    cancelled_at: datetime | None = None,
    **over: Any,
) -> Order:
    """An order of these lines, unsaved: paid, unless `paid_at` is None. The coupon gave all the discount there is."""
    currency = lines[0].subtotal.currency

    def money(amount: int) -> Money:
        return Money(amount=amount, currency=currency)

    gross, discount, tax = (sum(getattr(line, name).amount for line in lines) for name in ("subtotal", "discount", "tax"))
    totals = Totals(
        subtotal=money(gross),
        discount=money(discount),
        shipping=money(shipping),
        tax=money(tax),
        total=money(gross - discount + tax + shipping),
    )
    given = (
        [AppliedDiscount(rule=f"coupon:{coupon.code}", coupon_id=coupon.id, label="", amount=money(discount))] if coupon else []
    )
    status = OrderStatus.PENDING if paid_at is None else OrderStatus.CONFIRMED
    return make_order(
        **{
            "currency": currency,
            "lines": lines,
            "totals": totals,
            "discounts": given,
            "refunded": money(0),
            "paid_at": paid_at,
            "placed_at": (paid_at or cancelled_at or datetime(2026, 11, 1, tzinfo=UTC)) - timedelta(minutes=5),
            "cancelled_at": cancelled_at,
            "status": status if cancelled_at is None else OrderStatus.CANCELLED,
            "is_counted": paid_at is not None and cancelled_at is None,
            **over,
        }
    )


def make_refund(payment: Payment, amount: int, *, at: datetime | None, state: RefundState = RefundState.SUCCEEDED) -> Refund:
    """Of this many minor units."""
    return Refund(
        payment_id=payment.id,
        subject=payment.subject,
        gateway="sandbox",
        key=f"refund-{PydanticObjectId()}",
        amount=Money(amount=amount, currency=payment.amount.currency),
        reason="It came back",
        state=state,
        settled_at=at,
    )


def paid_with(order: Order, **over: Any) -> Payment:
    """The captured payment of an order, which then names it. Both unsaved."""
    payment = make_captured(
        subject=f"order:{order.id}", amount=order.totals.total, settled_at=order.paid_at, method=order.payment_method, **over
    )
    order.payment_id = payment.id
    return payment


async def store_history(dice: random.Random, products: Sequence[Product], coupons: Sequence[Coupon], *, orders: int) -> None:
    """Orders of five weeks about the end of summer time in Berlin and New York: in two currencies, some unpaid, some cancelled,
    some paid back in part or whole, in one go or not yet, and some paid twice.
    """
    made: list[Order] = []
    payments: list[Payment] = []
    refunds: list[Refund] = []
    for _ in range(orders):
        currency = "EUR" if dice.random() < 0.2 else "USD"
        offered = [product for product in products if product.currency == currency]
        order = make_sale(
            [_line(dice, product) for product in dice.sample(offered, min(len(offered), dice.randint(1, 3)))],
            paid_at=_moment(dice) if dice.random() < 0.85 else None,
            shipping=dice.choice((0, 500, 1000)),
            coupon=dice.choice(coupons) if dice.random() < 0.4 else None,
            source=dice.choice(SOURCES),
        )
        made.append(order)
        if order.paid_at is None:
            continue
        payment = paid_with(order)
        payments.append(payment)
        if dice.random() < 0.15:
            order.cancelled_at = order.paid_at + timedelta(hours=dice.randint(1, 100))
            order.status, order.is_counted = OrderStatus.CANCELLED, False
            refunds.append(make_refund(payment, order.totals.total.amount, at=order.cancelled_at))
        for _ in range(dice.choice((0, 0, 0, 1, 2))):
            state = dice.choice((RefundState.SUCCEEDED, RefundState.SUCCEEDED, RefundState.FAILED, RefundState.PENDING))
            at = None if state is RefundState.PENDING else order.paid_at + timedelta(hours=dice.randint(1, 500))
            refunds.append(make_refund(payment, dice.randint(1, 900), at=at, state=state))
        if dice.random() < 0.05:  # twice: the second money was never a sale
            second = make_captured(subject=payment.subject, amount=payment.amount, settled_at=order.paid_at)
            payments.append(second)
            refunds.append(make_refund(second, second.amount.amount, at=order.paid_at + timedelta(minutes=1)))
    for documents in (made, payments, refunds):
        if documents:
            await type(documents[0]).collection().insert_many([document.row() for document in documents])


def _line(dice: random.Random, product: Product) -> OrderLine:
    quantity, price = dice.randint(1, 4), dice.randint(100, 9_999)
    discount = dice.choice((0, 0, quantity * price // 10))
    return make_sold_line(
        product,
        quantity=quantity,
        price=price,
        discount=discount,
        tax=(quantity * price - discount) // 10,
        currency=product.currency,
    )


def _moment(dice: random.Random) -> datetime:
    """Often on the nights on which clocks go back, and often at midnights of some zone."""
    start = datetime(2026, 10, 10, tzinfo=UTC)
    kind = dice.random()
    if kind < 0.2:
        return datetime(2026, 10, 24, 22, tzinfo=UTC) + timedelta(minutes=dice.randint(0, 300))
    if kind < 0.4:
        quarters = dice.randint(0, 35 * 96)
        return start + timedelta(minutes=15 * quarters) - timedelta(milliseconds=dice.choice((0, 1)))
    return start + timedelta(milliseconds=dice.randint(0, 35 * 86_400_000))


async def count_everything() -> int:
    """Apply what the stored orders and carts left alone amount to; returns how many facts were new."""
    return sum([await RollupService.apply(facts) async for facts in read_facts()])
