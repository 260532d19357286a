"""How an order comes to be: everything it takes and leaves in one transaction, once per request."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from beanie import PydanticObjectId

from models.database import Session
from models.ecommerce.carts import Cart
from models.ecommerce.orders import Order, OrderLine, OrderStatus, PaymentMethod, PaymentStatus
from models.ecommerce.pricing import Quote
from models.money import Money
from models.payments import Payment, PaymentState
from services.ecommerce.carts import CartService, NotForSaleError
from services.ecommerce.catalog.purchasable import Purchasable, PurchasableService
from services.ecommerce.checkout.buyers import AddressNeededError, Buyer, addresses_of
from services.ecommerce.checkout.wishes import PurchaseTerms
from services.ecommerce.coupons import CouponService
from services.ecommerce.orders.effects import count_purchase, order_owner, wanted_of
from services.ecommerce.orders.reading import guest_order_token, guest_token_hash
from services.ecommerce.orders.settlement import checkout_payment_key
from services.ecommerce.orders.transitions import SYSTEM_MOVER, record_step
from services.ecommerce.pieces import Piece, is_shipped
from services.ecommerce.pricing import PricingRequest, PricingService
from services.errors import ConflictError, RuleViolatedError
from services.inventory.reservations import ReservationService
from services.payments.payments import PaymentService
from services.settings import Settings


class PriceChangedError(ConflictError):
    """It costs something else than the buyer agreed to."""

    code = "price_changed"

    def __init__(self, current: Money, *, sku: str | None = None) -> None:
        super().__init__(f"{sku or 'The order'} comes to {current} now: look again.")
        self.current = current
        self.sku = sku


class CartChangedError(ConflictError):
    """The cart is not what the buyer saw when they agreed."""

    code = "cart_changed"

    def __init__(self, revision: int) -> None:
        super().__init__("The cart was changed meanwhile: look again.")
        self.revision = revision


class PaymentMethodNeededError(RuleViolatedError):
    """There is something to pay, and no way of paying was said."""

    code = "payment_method_needed"

    def __init__(self) -> None:
        super().__init__("Choose a way of paying.")


@dataclass(frozen=True, slots=True)
class PurchaseLine:
    """What is wanted. `unit_price` is what the buyer believes, if they said."""

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    quantity: int
    unit_price: Money | None = None


@dataclass(frozen=True, slots=True)
class Basket:
    """What is bought: the lines, the codes, and the cart they lie in, if they do."""

    lines: Sequence[PurchaseLine]
    currency: str
    coupon_codes: Sequence[str] = ()
    cart: Cart | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """What is settled before the transaction: under which key and number, in whose name, in which way paid."""

    key: str
    number: str
    terms: PurchaseTerms
    gateway: str | None  # None: it is paid later on, by a request of its own
    source: str
    now: datetime
    client_address: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """The order, and the payment that was written down with it. `is_new` for who placed it just now."""

    order: Order
    payment: Payment | None
    is_new: bool = False


async def find_placed(key: str, *, session: Session | None = None) -> Placed | None:
    """What an earlier request of this key placed, with the payment of its checkout; None when there was none."""
    row = await Order.find_row({"placement_key": key}, session=session)
    if row is None:
        return None
    order = Order.from_row(row)
    paid = await Payment.find_row({"key": checkout_payment_key(order.id)}, session=session)
    return Placed(order, None if paid is None else Payment.from_row(paid))


async def place(ticket: Ticket, basket: Basket, buyer: Buyer, *, settings: Settings, session: Session) -> Placed:
    """Place the order in the caller's transaction, which must be ended by any error raised here: it may come after writes.

    Raises NotForSaleError, PriceChangedError, AddressNeededError, PaymentMethodNeededError, OutOfStockError, a
    CouponNotUsableError, ShippingMethodNotOfferedError.
    """
    things = await _purchasables(basket, session=session)
    pieces = [_piece(line, things[line.variant_id]) for line in basket.lines]
    terms = ticket.terms
    addresses = await addresses_of(terms, buyer, is_shipped=is_shipped(pieces), session=session)
    if basket.cart is not None and is_shipped(pieces) and addresses.shipping is None:
        raise AddressNeededError
    request = PricingRequest(
        pieces=pieces,
        currency=basket.currency,
        coupon_codes=basket.coupon_codes,
        customer_key=buyer.key,
        is_first_order=buyer.is_first_order,
        country=addresses.place.country if addresses.place else None,
        state=addresses.place.state if addresses.place else "",
        shipping_method=terms.shipping_method,
    )
    priced = await PricingService.quote(request, settings=settings, now=ticket.now, session=session, strict=True)
    quote = priced.quote
    total = quote.totals.total
    if terms.expected_total is not None and terms.expected_total != total:
        raise PriceChangedError(total)
    order = _order(ticket, basket, buyer, quote, things, settings=settings).model_copy(
        update={"shipping_address": addresses.shipping, "billing_address": addresses.billing}
    )
    payment = None
    if total and ticket.gateway is not None:
        payment = _payment(ticket, order, buyer, country=request.country)
        payment = await PaymentService.begin(session, payment, settings=settings, now=ticket.now)
        if payment.state is PaymentState.AUTHORISED:
            # Promised, and nobody has to be asked: what would wait for that is done with it.
            order = order.model_copy(update={"payment_id": payment.id, "is_stock_taken": True, "expires_at": None})
    await _take_stock(order, things, session=session, now=ticket.now)
    await CouponService.redeem(order.id, order.discounts, customer_key=buyer.key, session=session, now=ticket.now)
    order = await _write(order, buyer, settings=settings, session=session, now=ticket.now)
    if basket.cart is not None:
        await CartService.take_out(basket.cart, session=session, now=ticket.now)
    return Placed(order, payment, is_new=True)


def _payment(ticket: Ticket, order: Order, buyer: Buyer, *, country: str | None) -> Payment:
    assert ticket.gateway is not None
    return Payment(
        subject=order_owner(order.id),
        key=checkout_payment_key(order.id),
        amount=order.totals.total,
        method=order.payment_method.value,
        gateway=ticket.gateway,
        customer_key=buyer.key,
        client_address=ticket.client_address,
        token=ticket.terms.payment_token,
        country=country,
        payer_since=buyer.account.since,
    )


async def _take_stock(order: Order, things: dict[PydanticObjectId, Purchasable], *, session: Session, now: datetime) -> None:
    """Sold at once where nothing has to be waited for, else held. Raises OutOfStockError."""
    backorders = frozenset(id for id, thing in things.items() if thing.allow_backorder)
    wanted, owner = wanted_of(order.lines, backorders), order_owner(order.id)
    if wanted and order.is_stock_taken:
        await ReservationService.sell(owner, wanted, session=session, now=now)
    elif wanted:
        await ReservationService.reserve(owner, wanted, expires_at=order.expires_at, session=session, now=now)


async def _purchasables(basket: Basket, *, session: Session) -> dict[PydanticObjectId, Purchasable]:
    """What the lines are now. Raises NotForSaleError and PriceChangedError."""
    refs = [(line.product_id, line.variant_id) for line in basket.lines]
    things = await PurchasableService.find(refs, currency=basket.currency, session=session)
    for line in basket.lines:
        thing = things.get(line.variant_id)
        if thing is None or not thing.is_for_sale:
            raise NotForSaleError(line.variant_id, basket.currency)
        if line.unit_price is not None and line.unit_price != thing.price:
            raise PriceChangedError(thing.price, sku=thing.sku)
    return things


def _piece(line: PurchaseLine, thing: Purchasable) -> Piece:
    return Piece(
        product_id=thing.product_id,
        variant_id=thing.variant_id,
        category_ids=thing.category_ids,
        unit_price=thing.price,
        quantity=line.quantity,
        is_digital=thing.is_digital,
        tax_class=thing.tax_class,
        weight_grams=thing.weight_grams,
    )


def _order(
    ticket: Ticket,
    basket: Basket,
    buyer: Buyer,
    quote: Quote,
    things: dict[PydanticObjectId, Purchasable],
    *,
    settings: Settings,
) -> Order:
    """The order as it will be stored, without its addresses. Raises PaymentMethodNeededError."""
    terms, now, total = ticket.terms, ticket.now, quote.totals.total
    method = terms.payment_method if total else PaymentMethod.NONE
    if total and method is PaymentMethod.NONE:
        raise PaymentMethodNeededError
    is_free = not total
    order = Order(
        number=ticket.number,
        placement_key=ticket.key,
        customer_id=buyer.customer.id if buyer.customer else None,
        user_id=buyer.account.user_id,
        email=buyer.account.email,
        cart_id=basket.cart.id if basket.cart else None,
        currency=basket.currency,
        lines=_lines(quote, things),
        items_count=sum(line.quantity for line in quote.lines),
        totals=quote.totals,
        discounts=quote.discounts,
        steps=quote.steps,
        payment_method=method,
        shipping_method=quote.shipping_method,
        source=ticket.source,
        customer_notes=terms.customer_notes,
        is_stock_taken=is_free,
        expires_at=None if is_free else now + timedelta(minutes=settings.reservation_minutes),
        placed_at=now,
        refunded=Money.zero(basket.currency),
    )
    if buyer.customer is None:
        order.guest_token_hash = guest_token_hash(guest_order_token(order.id, settings=settings))
    return order


def _lines(quote: Quote, things: dict[PydanticObjectId, Purchasable]) -> list[OrderLine]:
    return [
        OrderLine(
            product_id=line.product_id,
            variant_id=line.variant_id,
            category_id=thing.category_id,
            name=thing.name,
            sku=thing.sku,
            options=thing.options,
            quantity=line.quantity,
            unit_price=line.unit_price,
            subtotal=line.subtotal,
            discount=line.discount,
            tax=line.tax,
            total=line.total,
            is_digital=thing.is_digital,
            tracks_inventory=thing.tracks_inventory,
        )
        for line in quote.lines
        for thing in [things[line.variant_id]]
    ]


async def _write(order: Order, buyer: Buyer, *, settings: Settings, session: Session, now: datetime) -> Order:
    """The order with its history and events; one with nothing to pay is confirmed at once."""
    await record_step(order, None, by=buyer.mover, session=session, now=now, payload=_mail_facts(order))
    if not order.totals.total:
        fields = {
            "status": OrderStatus.CONFIRMED,
            "payment_status": PaymentStatus.COMPLETED,
            "paid_at": now,
            "is_counted": True,
            "points_earned": await count_purchase(order, order.totals.total, session=session, settings=settings),
        }
        order = order.model_copy(update=fields)
        await record_step(order, OrderStatus.PENDING, by=SYSTEM_MOVER, session=session, now=now, reason="nothing to pay")
    return await order.store_later(session=session)


def _mail_facts(order: Order) -> dict[str, object]:
    """What a confirmation needs besides. The address is personal: whoever writes to it reads the order."""
    return {"lines": [{"name": line.name, "sku": line.sku, "quantity": line.quantity} for line in order.lines]}
