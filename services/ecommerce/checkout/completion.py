"""From a cart to a paid order, and from an unpaid order to a paid one. Gateways are called between transactions, never in one."""

from datetime import datetime
from functools import partial
from typing import Any

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field

from models.base import now as present
from models.base import to_milliseconds
from models.database import DuplicateKeyError, Session, duplicate_index, run_transaction
from models.ecommerce.carts import Cart
from models.ecommerce.orders import Order, OrderRead, OrderStatus, PaymentMethod, PaymentStatus
from models.payments import Payment, PaymentState
from services.ecommerce.carts import CartHolder, CartService
from services.ecommerce.checkout.buyers import Account, account_of, buyer_of, guest_account
from services.ecommerce.checkout.placement import (
    Basket,
    CartChangedError,
    Placed,
    PurchaseLine,
    Ticket,
    find_placed,
    place,
)
from services.ecommerce.checkout.wishes import CheckoutDraft, PaymentTerms
from services.ecommerce.customers import guest_key
from services.ecommerce.orders.effects import order_owner, variants_of
from services.ecommerce.orders.reading import (
    OrderAccess,
    OrderNotFoundError,
    guest_order_token,
    read_order,
    to_order_read,
)
from services.ecommerce.orders.settlement import OrderSettlement
from services.ecommerce.orders.transitions import change_order
from services.errors import AppError, InvalidStateError, RuleViolatedError
from services.payments.gateways import Gateways
from services.payments.payments import PaymentService
from services.sequences import SequenceService
from services.settings import Settings

ORDER_PREFIX = "ORD"
_PLACEMENT_INDEX = "placement_key_unique"
_OVER = (PaymentState.FAILED, PaymentState.VOIDED)
_UNPAID = (PaymentStatus.PENDING, PaymentStatus.FAILED)


class PaymentDeclinedError(RuleViolatedError):
    """The payment was declined or refused; nothing was taken. A checkout leaves no order behind, and the cart as it was."""

    code = "payment_declined"
    is_final = True

    def __init__(self, payment: Payment) -> None:
        super().__init__(payment.failure_message or "The payment was declined.")
        self.payment_id = payment.id
        self.failure_code = payment.failure_code


class OrderNotPayableError(InvalidStateError):
    """There is nothing to pay any more, or it is too late, or a payment is under way."""

    code = "order_not_payable"

    def __init__(self, detail: str = "This order does not wait for a payment.") -> None:
        super().__init__(detail)


class CheckedOut(BaseModel):
    """The order that was placed. Its `payment_status` is `pending` while the outcome of the payment is not known."""

    model_config = ConfigDict(frozen=True)

    order: OrderRead
    guest_token: str | None = Field(
        description="For guests: what shows and cancels the order, sent as `X-Order-Token`. It is told here and nowhere else"
    )


class CheckoutService:
    @staticmethod
    async def checkout(
        draft: CheckoutDraft,
        *,
        holder: CartHolder,
        key: str,
        gateways: Gateways,
        settings: Settings,
        client_address: str | None = None,
        now: datetime | None = None,
    ) -> CheckedOut:
        """Order what lies in the cart, and pay for it: all of it or nothing. The same `key` is the same order.

        Raises what `place` raises, CartEmptyError, CartChangedError, UnknownGatewayError, UnknownMethodError, and
        PaymentDeclinedError, after which there is no order to speak of. An outcome that is not known yet is no error.
        """
        placed = await find_placed(key)
        if placed is None:
            try:
                placed = await _place_cart(draft, holder, key, gateways, settings, now=now)
            except AppError:
                # What is missing may be what a twin of this request has taken meanwhile: its order is this one's, too.
                placed = await find_placed(key)
                if placed is None:
                    raise
        if placed.payment is not None:
            await _execute(
                placed.payment, placed.order, gateways=gateways, settings=settings, client_address=client_address, now=now
            )
        row = await _reload(placed.order.id)
        is_guest = row["guest_token_hash"] is not None
        return CheckedOut(
            order=to_order_read(row),
            guest_token=guest_order_token(placed.order.id, settings=settings) if is_guest else None,
        )

    @staticmethod
    async def pay_order(
        order_id: PydanticObjectId,
        terms: PaymentTerms,
        *,
        access: OrderAccess,
        key: str,
        gateways: Gateways,
        settings: Settings,
        client_address: str | None = None,
        now: datetime | None = None,
    ) -> OrderRead:
        """Pay an order that waits for it. Declined, it waits on, until its time is over. The same `key` is the same payment.

        Raises OrderNotFoundError, OrderNotPayableError, UnknownGatewayError, UnknownMethodError, OutOfStockError, and
        PaymentDeclinedError.
        """
        gateway = gateways.choose(terms.payment_method.value, terms.gateway)
        moment = to_milliseconds(now or present())
        work = partial(_begin_payment, order_id, terms, access=access, key=key, gateway=gateway, now=moment)
        payment = await run_transaction(work, hot=[order_id])
        await _execute(payment, None, gateways=gateways, settings=settings, client_address=client_address, now=now)
        return to_order_read(await _reload(order_id))


async def _place_cart(
    draft: CheckoutDraft, holder: CartHolder, key: str, gateways: Gateways, settings: Settings, *, now: datetime | None
) -> Placed:
    """Place the order of what lies in the cart; a twin of this request that was faster placed it for both."""
    moment = to_milliseconds(now or present())
    is_free = draft.payment_method is PaymentMethod.NONE  # or so the buyer believes: `place` knows
    gateway = None if is_free else gateways.choose(draft.payment_method.value, draft.gateway)
    if holder.viewer is not None and holder.guest is not None:
        revision = await CartService.join_guest(holder, settings=settings, revision=draft.cart_revision, now=moment)
        draft = draft.model_copy(update={"cart_revision": revision})
    cart = await CartService.find_for_checkout(holder, now=moment)
    account = guest_account(draft.email) if holder.viewer is None else await account_of(holder.viewer.user_id)
    number = await SequenceService.next_number(ORDER_PREFIX, now=moment)
    ticket = Ticket(key=key, number=number, terms=draft, gateway=gateway, source="shop", now=moment)
    work = partial(_place, ticket, draft, account, holder, settings)
    try:
        return await run_transaction(work, hot=[f"cart {holder.owner}", *(line.variant_id for line in cart.lines)])
    except DuplicateKeyError as error:
        placed = await find_placed(key)
        if duplicate_index(error) != _PLACEMENT_INDEX or placed is None:
            raise
        return placed


async def _place(
    ticket: Ticket, draft: CheckoutDraft, account: Account, holder: CartHolder, settings: Settings, session: Session
) -> Placed:
    cart = await CartService.find_for_checkout(holder, session=session, now=ticket.now)
    if draft.cart_revision is not None and draft.cart_revision != cart.revision:
        raise CartChangedError(cart.revision)
    buyer = await buyer_of(holder.viewer, account, settings=settings, session=session)
    return await place(ticket, _basket(cart), buyer, settings=settings, session=session)


def _basket(cart: Cart) -> Basket:
    lines = [PurchaseLine(line.product_id, line.variant_id, line.quantity) for line in cart.lines]
    return Basket(lines, cart.currency, cart.coupon_codes, cart)


async def _begin_payment(
    order_id: PydanticObjectId,
    terms: PaymentTerms,
    session: Session,
    *,
    access: OrderAccess,
    key: str,
    gateway: str,
    now: datetime,
) -> Payment:
    """The payment of this key, written down, for an order that nothing else is paying. Raises OrderNotPayableError."""
    order = await read_order(order_id, access=access, session=session)
    payment_key = f"{order_owner(order_id)}:{key}"
    payments = await PaymentService.list_of(order_owner(order_id), session=session)
    known = next((payment for payment in payments if payment.key == payment_key), None)
    if known is not None:
        return known
    if order.status is not OrderStatus.PENDING or order.payment_status not in _UNPAID or order.payment_id is not None:
        raise OrderNotPayableError
    if order.expires_at is not None and order.expires_at <= now:
        raise OrderNotPayableError("This order was not paid in time.")
    if any(payment.state not in _OVER for payment in payments):
        raise OrderNotPayableError("A payment for this order is under way.")
    fields = {"payment_method": terms.payment_method, "payment_status": PaymentStatus.PENDING}
    # Written also where nothing changes: of two requests that pay one order at once, the later starts again and sees the first.
    order = await change_order(order, fields, session=session)
    return await PaymentService.create(
        session,
        subject=order_owner(order_id),
        key=payment_key,
        amount=order.totals.total,
        method=terms.payment_method.value,
        gateway=gateway,
        customer_key=_payer_of(order),
        token=terms.payment_token,
        country=order.billing_address.country if order.billing_address else None,
    )


def _payer_of(order: Order) -> str:
    """Under what the fraud rules know who pays."""
    if order.customer_id is not None:
        return f"customer:{order.customer_id}"
    return guest_key(order.email) if order.email else ""


async def _execute(
    payment: Payment,
    order: Order | None,
    *,
    gateways: Gateways,
    settings: Settings,
    client_address: str | None,
    now: datetime | None,
) -> None:
    """Raises PaymentDeclinedError."""
    settled = await PaymentService.execute(
        payment.id,
        known=payment,
        gateways=gateways,
        listener=OrderSettlement(settings),
        settings=settings,
        client_address=client_address,
        now=now,
        # A success takes the stock, a failure gives it back.
        hot=variants_of(order) if order is not None else (),
    )
    if settled.state in _OVER:
        raise PaymentDeclinedError(settled)


async def _reload(order_id: PydanticObjectId) -> dict[str, Any]:
    row = await Order.find_row({"_id": order_id})
    if row is None:
        raise OrderNotFoundError(order_id)
    return row
