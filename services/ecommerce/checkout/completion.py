"""From a cart to a paid order, and from an unpaid order to a paid one. Gateways are called between transactions, never in one."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
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
from services.ecommerce.checkout.buyers import account_of, buyer_of, guest_account
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
from services.errors import AppError, InvalidStateError, RuleViolatedError, UnavailableError
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


KeepAnswer = Callable[[Session, CheckedOut], Awaitable[None]]
"""Stores the answer to a request in the transaction of its effect."""


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
        keep: KeepAnswer | None = None,
        now: datetime | None = None,
    ) -> CheckedOut:
        """Order what lies in the cart, and pay for it: all of it or nothing. The same `key` is the same order.

        What nobody outside has to be asked about is one transaction, in which `keep` is handed the answer. Raises what `place`
        raises, CartEmptyError, CartChangedError, UnknownGatewayError, UnknownMethodError, and PaymentDeclinedError, after which
        there is no order to speak of. An outcome that is not known yet is no error.
        """
        checkout = _Checkout(draft, holder, key, gateways, settings, client_address, keep, to_milliseconds(now or present()))
        try:
            placed = await checkout.place()
        except AppError:
            # What is missing may be what an earlier request of this key, or a twin, has taken: its order is this one's, too.
            earlier = await find_placed(key)
            if earlier is None:
                raise
            placed = earlier
        order, payment = placed.order, placed.payment
        if payment is None or payment.state is PaymentState.AUTHORISED:
            return checkout.answer if placed.is_new and checkout.answer else _checked_out(order.row(), settings)
        if placed.is_new and payment.state is PaymentState.PROCESSING:
            listener = OrderSettlement(settings)
            settled = await PaymentService.send(payment, gateways=gateways, listener=listener, now=now, hot=variants_of(order))
            _require_accepted(settled)
        else:
            await _execute(payment, order, gateways=gateways, settings=settings, client_address=client_address, now=now)
        return _checked_out(await _reload(order.id), settings)

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


@dataclass
class _Checkout:
    """One attempt to place the order of what lies in a cart."""

    draft: CheckoutDraft
    holder: CartHolder
    key: str
    gateways: Gateways
    settings: Settings
    client_address: str | None
    keep: KeepAnswer | None
    now: datetime
    answer: CheckedOut | None = None  # as it was kept, by the attempt that was committed

    async def place(self) -> Placed:
        """The order, as this request placed it, or a twin of it that was faster."""
        draft, holder = self.draft, self.holder
        is_free = draft.payment_method is PaymentMethod.NONE  # or so the buyer believes: `place` knows
        gateway = None if is_free else self.gateways.choose(draft.payment_method.value, draft.gateway)
        if holder.viewer is not None and holder.guest is not None:
            revision = await CartService.join_guest(holder, settings=self.settings, revision=draft.cart_revision, now=self.now)
            self.draft = draft = draft.model_copy(update={"cart_revision": revision})
        cart = await CartService.find_for_checkout(holder, now=self.now)
        account = guest_account(draft.email) if holder.viewer is None else await account_of(holder.viewer.user_id)
        buyer = await buyer_of(holder.viewer, account, settings=self.settings)
        number = await SequenceService.next_number(ORDER_PREFIX, now=self.now)
        ticket = Ticket(self.key, number, draft, gateway, "shop", self.now, self.client_address)
        # The cart, its stock, its codes, and what the fraud rules count: who shares one of these queues here.
        stock, codes = [line.variant_id for line in cart.lines], [f"coupon {code}" for code in cart.coupon_codes]
        hot = [f"cart {holder.owner}", *stock, *codes, buyer.key, self.client_address]
        carts: list[Cart] = [cart]  # as it was read: is it another one by now, the transaction finds out and starts again

        async def work(session: Session) -> Placed:
            known = carts.pop() if carts else await CartService.find_for_checkout(holder, session=session, now=self.now)
            if draft.cart_revision is not None and draft.cart_revision != known.revision:
                raise CartChangedError(known.revision)
            placed = await place(ticket, _basket(known), buyer, settings=self.settings, session=session)
            is_settled = placed.payment is None or placed.payment.state is PaymentState.AUTHORISED
            if is_settled and self.keep is not None:
                self.answer = _checked_out(placed.order.row(), self.settings)
                await self.keep(session, self.answer)
            return placed

        try:
            return await run_transaction(work, hot=[name for name in hot if name])
        except DuplicateKeyError as error:
            if duplicate_index(error) != _PLACEMENT_INDEX:
                raise
            placed = await find_placed(self.key)
            if placed is None:  # a twin had it and gave it up: asked again, this one gets it
                raise UnavailableError(retry_after=1) from error
            return placed


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
    _require_accepted(settled)


def _require_accepted(payment: Payment) -> None:
    """Raises PaymentDeclinedError."""
    if payment.state in _OVER:
        raise PaymentDeclinedError(payment)


def _checked_out(row: Mapping[str, Any], settings: Settings) -> CheckedOut:
    is_guest = row["guest_token_hash"] is not None
    token = guest_order_token(row["_id"], settings=settings) if is_guest else None
    return CheckedOut(order=to_order_read(row), guest_token=token)


async def _reload(order_id: PydanticObjectId) -> dict[str, Any]:
    row = await Order.find_row({"_id": order_id})
    if row is None:
        raise OrderNotFoundError(order_id)
    return row
