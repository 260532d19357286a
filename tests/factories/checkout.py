"""Checkouts for tests: a gateway without a line, shoppers with carts, and the books an order has to agree with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

from models.ecommerce.catalog import Product
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order
from models.money import Money
from models.users import User
from services.ecommerce.carts import CartHolder
from services.ecommerce.checkout.completion import CheckedOut, CheckoutService
from services.ecommerce.checkout.wishes import CheckoutDraft
from services.payments.gateways import Gateways
from services.payments.port import (
    Charge,
    GatewayNotice,
    GatewayResult,
    GatewayState,
    InvalidWebhookError,
    Outcome,
    Remembered,
    ReportLine,
)
from services.settings import Settings
from services.users.permissions import Viewer
from tests.factories.carts import Wish, create_cart
from tests.factories.catalog import create_product
from tests.factories.customers import create_customer, make_place
from tests.factories.inventory import stock
from tests.factories.users import create_user, viewer_of

_keys = count(1)

TOKEN_OK = "tok_ok"
TOKEN_DECLINED = "tok_declined"
TOKEN_SILENT = "tok_silent"  # charged, but no answer comes; asked about, the gateway tells
TOKEN_LOST = "tok_lost"  # never arrived, and no answer comes
TOKEN_PENDING = "tok_pending"  # not decided until `decide` is called


@dataclass
class DoubleGateway:
    """A gateway in this process that does each thing once per key and keeps books of it."""

    name: str = "double"
    charged: dict[str, int] = field(default_factory=dict)  # by key of the payment
    refunded: dict[str, int] = field(default_factory=dict)  # by key of the refund
    declined: set[str] = field(default_factory=set)
    pending: dict[str, int] = field(default_factory=dict)
    refuses_refunds: bool = False
    is_away: bool = False  # answers nothing, and does nothing
    calls: int = 0

    async def charge(self, charge: Charge) -> GatewayResult:
        self.calls += 1
        if self.is_away or charge.token == TOKEN_LOST:
            return GatewayResult(Outcome.UNKNOWN)
        if charge.token == TOKEN_DECLINED:
            self.declined.add(charge.key)
            return self._payment(charge.key)
        if charge.token == TOKEN_PENDING:
            self.pending.setdefault(charge.key, charge.amount.amount)
            return self._payment(charge.key)
        self.charged.setdefault(charge.key, charge.amount.amount)
        if charge.token == TOKEN_SILENT:
            return GatewayResult(Outcome.UNKNOWN)
        return self._payment(charge.key)

    def decide(self, key: str, *, accepted: bool) -> None:
        amount = self.pending.pop(key)
        if accepted:
            self.charged[key] = amount
        else:
            self.declined.add(key)

    def _payment(self, key: str) -> GatewayResult:
        reference = f"ref_{key}"
        if key in self.charged:
            return GatewayResult(Outcome.SUCCEEDED, GatewayState.CAPTURED, reference, captured=self.charged[key])
        if key in self.declined:
            return GatewayResult(Outcome.DECLINED, GatewayState.FAILED, reference, code="card_declined", message="Declined.")
        if key in self.pending:
            return GatewayResult(Outcome.PENDING, GatewayState.PENDING, reference)
        return GatewayResult(Outcome.ABSENT)

    async def capture(self, payment: Remembered, amount: Money, *, key: str) -> GatewayResult:
        return GatewayResult(Outcome.DECLINED)

    async def void(self, payment: Remembered, *, key: str) -> GatewayResult:
        return GatewayResult(Outcome.DECLINED)

    async def refund(self, payment: Remembered, amount: Money, *, key: str, reason: str) -> GatewayResult:
        self.calls += 1
        if self.is_away:
            return GatewayResult(Outcome.UNKNOWN)
        if self.refuses_refunds:
            return GatewayResult(Outcome.DECLINED, code="refund_refused")
        self.refunded.setdefault(key, amount.amount)
        return GatewayResult(Outcome.SUCCEEDED, reference=f"ref_{key}")

    async def payment_status(self, payment: Remembered) -> GatewayResult:
        return GatewayResult(Outcome.UNKNOWN) if self.is_away else self._payment(payment.key)

    async def refund_status(self, refund: Remembered, payment: Remembered) -> GatewayResult:
        if self.is_away:
            return GatewayResult(Outcome.UNKNOWN)
        return GatewayResult(Outcome.SUCCEEDED if refund.key in self.refunded else Outcome.ABSENT)

    async def report(self, since: datetime, until: datetime) -> list[ReportLine]:
        return []

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> GatewayNotice:
        raise InvalidWebhookError("a double sends none")

    async def close(self) -> None:
        return None

    @property
    def kept(self) -> int:
        """Minor units that were taken and not given back."""
        return sum(self.charged.values()) - sum(self.refunded.values())


@dataclass
class Shopper:
    """Somebody with a customer profile and, once given one, a cart."""

    user: User
    customer: Customer

    @property
    def viewer(self) -> Viewer:
        return viewer_of(self.user)

    @property
    def holder(self) -> CartHolder:
        return CartHolder(self.viewer)


async def create_shopper(*wishes: Wish) -> Shopper:
    """A new person with a profile, and these products in their cart."""
    user = await create_user()
    shopper = Shopper(user, await create_customer(user=user))
    if wishes:
        await create_cart(*wishes, user=user)
    return shopper


async def create_stocked(quantity: int = 10, price: str = "20.00", **over: Any) -> Product:
    """A product for sale with so many pieces of its only variant on hand."""
    product = await create_product(price=price, **over)
    await stock(product.variants[0], quantity, product=product)
    return product


def make_draft(**over: Any) -> CheckoutDraft:
    """Paid by a card that is good, sent to 1 Market Street."""
    return CheckoutDraft(**{"payment_token": TOKEN_OK, "shipping_address": make_place(), **over})


@dataclass
class Till:
    """Where shoppers check out: the gateway double, and the settings."""

    settings: Settings
    gateway: DoubleGateway = field(default_factory=DoubleGateway)

    @property
    def gateways(self) -> Gateways:
        return Gateways([self.gateway])

    async def checkout(
        self, shopper: Shopper | CartHolder, *, key: str | None = None, now: datetime | None = None, **over: Any
    ) -> CheckedOut:
        holder = shopper.holder if isinstance(shopper, Shopper) else shopper
        return await CheckoutService.checkout(
            make_draft(**over),
            holder=holder,
            key=key or f"key-{next(_keys)}",
            gateways=self.gateways,
            settings=self.settings,
            now=now,
        )


async def stored_order(order_id: Any) -> Order:
    row = await Order.find_row({"_id": order_id})
    assert row is not None
    return Order.from_row(row)
