"""A retailer's invoices as orders that were delivered and paid, long ago and elsewhere.

They are history: nothing is taxed anew, no loyalty points are won, no mail is sent and no event recorded, because events tell
what happens and these things happened. No stock moves either: the goods left a stock that was never counted here, and movements
without it would leave every level below zero.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from beanie import PydanticObjectId
from pymongo import InsertOne

from models.base import to_milliseconds
from models.database import DuplicateKeyError, Session, run_transaction
from models.ecommerce.catalog import Product
from models.ecommerce.customers import Customer
from models.ecommerce.orders import (
    Fulfilment,
    FulfilmentLine,
    Order,
    OrderLine,
    OrderStatus,
    OrderStatusHistory,
    PaymentMethod,
    PaymentStatus,
)
from models.ecommerce.pricing import AppliedDiscount, PriceStep, StepKind, Totals
from models.events import EventType
from models.money import Money, decimal_text
from models.payments import Payment, PaymentState
from services.ecommerce.customers import key_of_customer
from services.ecommerce.orders.effects import count_purchase, order_owner
from services.events import EventService
from services.imports.retail import RetailDocument, RetailLine, product_sku
from services.payments.offline import IMPORTED
from services.settings import Settings

SOURCE = "import"
REASON = "imported"

_COURSE = (
    OrderStatus.PENDING,
    OrderStatus.CONFIRMED,
    OrderStatus.PROCESSING,
    OrderStatus.SHIPPED,
    OrderStatus.DELIVERED,
)


@dataclass(frozen=True, slots=True)
class InvoiceTerms:
    """What an order needs besides its invoice."""

    currency: str
    products: Mapping[str, Product]  # by stock code
    customer_id: PydanticObjectId | None
    settings: Settings


def source_key_of(number: str) -> str:
    """Of orders, returns and customers alike: the collections tell them apart."""
    return f"retail:{number}"


def dated_id(moment: datetime, key: str, number: int = 0) -> PydanticObjectId:
    """An id that is as old as what it names, so that lists by id are lists by time; the same for the same key."""
    digest = hashlib.blake2b(key.encode(), digest_size=7).digest()
    return PydanticObjectId(int(moment.timestamp()).to_bytes(4, "big") + digest + bytes([number]))


async def ensure_customers(numbers: Sequence[str], *, currency: str) -> tuple[dict[str, PydanticObjectId], int]:
    """The customers of these numbers, by number, and how many of them are new. One command when all are known."""
    wanted = {source_key_of(number): number for number in numbers}
    if not wanted:
        return {}, 0
    query = {"source_key": {"$in": sorted(wanted)}}
    known = {row["source_key"]: row["_id"] for row in await Customer.find_rows(query, {"source_key": 1})}
    created = 0
    for key in wanted.keys() - known.keys():
        customer = Customer(source_key=key, currency=currency, spent=Money.zero(currency))
        try:
            known[key] = (await customer.store()).id
            created += 1
        except DuplicateKeyError:  # another import was faster
            row = await Customer.find_row({"source_key": key}, {"_id": 1})
            assert row is not None
            known[key] = row["_id"]
    return {wanted[key]: id for key, id in known.items()}, created


async def write_invoice(document: RetailDocument, terms: InvoiceTerms) -> bool:
    """Store the order with its history and its payment, counted for products and customer; false when it was there."""
    order = order_of(document, terms)
    payment = _payment_of(order, document)
    # Points are won by what is bought here.
    settings = terms.settings.model_copy(update={"points_per_unit": 0})

    async def work(session: Session) -> None:
        await order.store(session=session)
        steps = [InsertOne(step.row()) for step in _history(order)]
        await OrderStatusHistory.collection().bulk_write(steps, ordered=True, session=session)
        if payment is not None:
            await payment.store(session=session)
        await count_purchase(order, order.totals.total, session=session, settings=settings)
        await EventService.record(session, EventType.ORDER_IMPORTED, f"order:{order.id}")

    hot = [order.customer_id] if order.customer_id else []
    try:
        await run_transaction(work, hot=hot)
    except DuplicateKeyError:
        if await Order.find_row({"source_key": order.source_key}, {"_id": 1}) is None:
            raise
        return False
    return True


def order_of(document: RetailDocument, terms: InvoiceTerms) -> Order:
    """The order an invoice stands for; every product of its goods is among those of the terms."""
    key, moment = source_key_of(document.number), to_milliseconds(document.placed_at)
    zero = Money.zero(terms.currency)
    off = Money.total((line.amount for line in document.discounts), terms.currency)
    shares = off.allocate([line.amount.amount for line in document.goods]) if document.goods else []
    order_id = dated_id(moment, f"order:{key}")
    lines = [
        _line(line, share, terms.products[line.code], id=dated_id(moment, f"{key}:{line.row.line}"))
        for line, share in zip(document.goods, shares, strict=True)
    ]
    subtotal = Money.total((line.subtotal for line in lines), terms.currency)
    charged = Money.total((line.amount for line in document.charges), terms.currency)
    total = subtotal - off + charged
    parcel = Fulfilment(
        id=dated_id(moment, f"parcel:{key}"),
        lines=[FulfilmentLine(line_id=line.id, quantity=line.quantity) for line in lines],
        shipped_at=moment,
        delivered_at=moment,
    )
    return Order(
        id=order_id,
        number=f"RETAIL-{document.number}",
        placement_key=f"import:{key}",
        customer_id=terms.customer_id,
        currency=terms.currency,
        country=document.country,
        lines=lines,
        items_count=sum(line.quantity for line in lines),
        totals=Totals(subtotal=subtotal, discount=off, shipping=charged, tax=zero, total=total),
        discounts=[_discount(line) for line in document.discounts],
        steps=_steps(document, shares),
        status=OrderStatus.DELIVERED,
        payment_status=PaymentStatus.COMPLETED,
        # The retailer billed: how it was paid, the file does not say.
        payment_method=PaymentMethod.INVOICE if total else PaymentMethod.NONE,
        payment_id=dated_id(moment, f"payment:{key}") if total else None,
        is_stock_taken=True,
        is_counted=True,
        source=SOURCE,
        source_key=key,
        placed_at=moment,
        paid_at=moment,
        shipped_at=moment,
        delivered_at=moment,
        fulfilments=[parcel] if lines else [],
        refunded=zero,
    )


def _line(line: RetailLine, share: Money, product: Product, *, id: PydanticObjectId) -> OrderLine:
    sku = product_sku(line.code)
    # Staff may have given the product further variants, or another SKU, since it came.
    variant = next((one for one in product.variants if one.sku == sku), product.variants[0])
    return OrderLine(
        id=id,
        product_id=product.id,
        variant_id=variant.id,
        category_id=product.category_id,
        name=line.name,
        sku=sku,
        quantity=line.quantity,
        unit_price=line.unit_price,
        subtotal=line.amount,
        discount=share,
        tax=Money.zero(line.amount.currency),
        total=line.amount - share,
        # Its stock is not this shop's: nothing was taken, and what comes back is not put there.
        tracks_inventory=False,
        fulfilled_quantity=line.quantity,
    )


def _discount(line: RetailLine) -> AppliedDiscount:
    return AppliedDiscount(rule=_rule(line), label=line.name, amount=line.amount)


def _rule(line: RetailLine) -> str:
    return f"{SOURCE}:{line.code}"


def _detail(line: RetailLine) -> str:
    return f"{line.quantity} x {decimal_text(line.unit_price.amount, line.unit_price.currency)}"


def _steps(document: RetailDocument, shares: Sequence[Money]) -> list[PriceStep]:
    steps = [
        PriceStep(kind=StepKind.LINE, rule="price", line=at, amount=line.amount, detail=_detail(line))
        for at, line in enumerate(document.goods)
    ]
    if document.discounts:
        names = " + ".join(_detail(line) for line in document.discounts)
        rule = _rule(document.discounts[0])
        steps += [
            PriceStep(kind=StepKind.DISCOUNT, rule=rule, line=at, amount=-share, detail=f"part of {names}")
            for at, share in enumerate(shares)
            if share
        ]
    # Whatever else was charged stands where the shipping does: it is no product, and has its own name here.
    steps += [
        PriceStep(kind=StepKind.SHIPPING, rule=_rule(line), line=None, amount=line.amount, detail=f"{_detail(line)} {line.name}")
        for line in document.charges
    ]
    return steps


def _history(order: Order) -> list[OrderStatusHistory]:
    """Every step of the way, all at the one time the file knows."""
    pairs = zip((None, *_COURSE), _COURSE, strict=False)
    return [
        OrderStatusHistory(
            id=dated_id(order.placed_at, f"history:{order.source_key}", number),
            order_id=order.id,
            old_status=old,
            new_status=new,
            changed_at=order.placed_at,
            changed_by="system",
            reason=REASON,
        )
        for number, (old, new) in enumerate(pairs)
    ]


def _payment_of(order: Order, document: RetailDocument) -> Payment | None:
    """What was paid, captured; None for nothing. It was never asked for here, so that no rule or report looks at it."""
    if order.payment_id is None:
        return None
    total = order.totals.total
    return Payment(
        id=order.payment_id,
        subject=order_owner(order.id),
        key=f"import:{order.source_key}",
        customer_key=key_of_customer(order.customer_id) if order.customer_id else "",
        amount=total,
        method=order.payment_method.value,
        gateway=IMPORTED,
        country=document.country,
        state=PaymentState.CAPTURED,
        captured=total.amount,
        refundable=total.amount,
        settled_at=order.placed_at,
    )
