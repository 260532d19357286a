"""What an order moves besides itself: stock, what its products sold, what its customer bought, and the cart it came from."""

from collections.abc import Mapping
from datetime import datetime

from beanie import PydanticObjectId

from models.database import Session
from models.ecommerce.carts import Cart, CartLine
from models.ecommerce.catalog import Product
from models.ecommerce.orders import Order, OrderLine
from models.inventory.stock import MovementKind
from models.money import Money
from services.ecommerce.cart_writing import MAX_CODES, MAX_LINES, MAX_QUANTITY, write_cart
from services.ecommerce.customers import CustomerService
from services.inventory.reservations import ReservationGoneError, ReservationService, Wanted
from services.settings import Settings

Pieces = Mapping[PydanticObjectId, int]


def order_owner(order_id: PydanticObjectId) -> str:
    """What stock and payments know an order by."""
    return f"order:{order_id}"


def order_id_of(subject: str) -> PydanticObjectId | None:
    """The order a payment or reservation is about; None when it is about something else."""
    kind, _, key = subject.partition(":")
    return PydanticObjectId(key) if kind == "order" and PydanticObjectId.is_valid(key) else None


def wanted_of(lines: list[OrderLine], backorders: frozenset[PydanticObjectId] = frozenset()) -> list[Wanted]:
    """What stock is asked for: the lines whose variants are counted."""
    return [
        Wanted(line.product_id, line.variant_id, line.sku, line.quantity, line.variant_id in backorders)
        for line in lines
        if line.tracks_inventory
    ]


def variants_of(order: Order) -> list[PydanticObjectId]:
    """Which stock an order contends for: `hot` for transactions that move it."""
    return [line.variant_id for line in order.lines if line.tracks_inventory]


async def take_stock(order: Order, *, session: Session, now: datetime) -> None:
    """Sell what a reservation of the order holds; what it does not hold any more is taken anew.

    Raises OutOfStockError, before anything was written, when that is not there any more.
    """
    wanted = wanted_of(order.lines)
    if order.is_stock_taken or not wanted:
        return
    try:
        await ReservationService.commit(order_owner(order.id), session=session, now=now)
    except ReservationGoneError:
        await ReservationService.sell(order_owner(order.id), wanted, session=session, now=now)


async def give_back_stock(
    order: Order, *, session: Session, now: datetime, key: str, actor_id: PydanticObjectId | None = None
) -> None:
    """Everything that did not leave the house: released when it was held, back on the shelf when it was sold."""
    if not order.is_stock_taken:
        await ReservationService.release(order_owner(order.id), session=session, now=now)
        return
    pieces = unsent_pieces(order, only_counted=True)
    if pieces:
        await ReservationService.restock(
            order_owner(order.id),
            pieces,
            kind=MovementKind.CANCELLATION,
            key=key,
            session=session,
            now=now,
            actor_id=actor_id,
            reason=key,
        )


def unsent_pieces(order: Order, *, only_counted: bool = False) -> dict[PydanticObjectId, int]:
    """By variant, what has not left yet."""
    pieces: dict[PydanticObjectId, int] = {}
    for line in order.lines:
        left = line.quantity - line.fulfilled_quantity
        if left and (line.tracks_inventory or not only_counted):
            pieces[line.variant_id] = pieces.get(line.variant_id, 0) + left
    return pieces


async def count_purchase(order: Order, amount: Money, *, session: Session, settings: Settings) -> int:
    """The products sold, the customer bought: once, when the order is paid. Returns the points it won; none for a guest.

    What came back before an invoice was paid was not sold.
    """
    await move_sales(order, {line.id: line.quantity - line.returned_quantity for line in order.lines}, session=session)
    if order.customer_id is None:
        return 0
    return await CustomerService.note_purchase(session, order.customer_id, order_id=order.id, amount=amount, settings=settings)


async def uncount_purchase(order: Order, *, session: Session) -> None:
    """Take back `count_purchase` for an order that is cancelled; the money when it has gone back."""
    if not order.is_counted:
        return
    await move_sales(order, {line.id: -line.quantity for line in order.lines}, session=session)
    if order.customer_id is not None:
        await CustomerService.note_cancellation(session, order.customer_id, order_id=order.id)


async def move_sales(order: Order, pieces: Pieces, *, session: Session) -> None:
    """Move the sales of the products behind these lines (by line id, signed), by late writes.

    They are no news: else whatever is bought often, and every search, would hardly ever be kept.
    """
    moved: dict[PydanticObjectId, int] = {}
    for line in order.lines:
        moved[line.product_id] = moved.get(line.product_id, 0) + pieces.get(line.id, 0)
    for product_id, delta in sorted(moved.items()):
        if delta:
            sold = {"$inc": {"sales_count": delta}}
            await Product.change_later({"_id": product_id}, sold, session=session, is_news=False)


async def put_back_into_cart(order: Order, *, session: Session, now: datetime) -> None:
    """What the order took out of its cart, added to what lies in there now; nowhere when the cart is gone."""
    row = None if order.cart_id is None else await Cart.find_row({"_id": order.cart_id}, session=session)
    if row is not None and row["merged_into"] is not None:
        row = await Cart.find_row({"_id": row["merged_into"]}, session=session)
    if row is None:
        return
    cart = Cart.from_row(row)
    lines = {line.variant_id: line for line in cart.lines}
    for line in order.lines:
        known = lines.get(line.variant_id)
        quantity = min(MAX_QUANTITY, line.quantity + (known.quantity if known else 0))
        lines[line.variant_id] = CartLine(
            product_id=line.product_id,
            variant_id=line.variant_id,
            quantity=quantity,
            price_seen=line.unit_price,
            added_at=known.added_at if known else now,
        )
    codes = [discount.rule.partition(":")[2] for discount in order.discounts if discount.coupon_id is not None]
    fields = {
        "currency": cart.currency if cart.lines else order.currency,
        "lines": [line.model_dump() for line in list(lines.values())[:MAX_LINES]],
        "coupon_codes": list(dict.fromkeys([*cart.coupon_codes, *codes]))[:MAX_CODES],
        "idle_since": cart.active_at,
    }
    await write_cart(cart, fields, session=session)
