"""Orders, payments and stock taken through steps in any order; after each one the books add up (RELIABILITY R9)."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.database import Database, Session, run_transaction
from models.documents import DOCUMENTS
from models.ecommerce.carts import Cart
from models.ecommerce.catalog import Product
from models.ecommerce.orders import Order, OrderStatus, PaymentMethod
from models.money import Money
from models.payments import Payment, PaymentState, Refund
from models.users import Role
from services.cache import clear_all_caches
from services.ecommerce.cart_writing import user_owner
from services.ecommerce.checkout.completion import CheckoutService
from services.ecommerce.checkout.wishes import PaymentTerms
from services.ecommerce.orders.administration import OrderAdministrationService, StatusDraft
from services.ecommerce.orders.cancellation import CancellationService
from services.ecommerce.orders.fulfilment import FulfilmentDraft, FulfilmentPart, FulfilmentService
from services.ecommerce.orders.jobs import OrderJobService
from services.ecommerce.orders.reading import OrderAccess
from services.ecommerce.orders.settlement import OrderSettlement
from services.errors import AppError
from services.inventory.locations import known_locations
from services.payments.payments import PaymentService
from services.payments.refunds import RefundService
from services.settings import Settings
from services.users.permissions import Viewer
from tests.books import all_of, differences
from tests.factories.carts import create_cart
from tests.factories.checkout import (
    TOKEN_DECLINED,
    TOKEN_OK,
    TOKEN_PENDING,
    TOKEN_SILENT,
    Shopper,
    Till,
    create_shopper,
    create_stocked,
    stored_order,
)
from tests.factories.inventory import create_location
from tests.factories.pricing import create_coupon
from tests.factories.users import create_user, viewer_of
from tests.races import rounds

STEPS = rounds(20, 30)

TOKENS = (TOKEN_OK, TOKEN_OK, TOKEN_DECLINED, TOKEN_SILENT, TOKEN_PENDING)
STOCK = 6

Step = tuple[str, int, int]


@dataclass
class Shop:
    """One shopper, one clerk, two things in short supply, and every order placed so far."""

    till: Till
    shopper: Shopper
    clerk: Viewer
    products: list[Product]
    keys: list[tuple[str, int]] = field(default_factory=list)  # of checkouts, with the token each was made with
    later: datetime = field(default_factory=lambda: datetime.now(UTC))
    refunds: int = 0

    async def run(self, verb: str, which: int, choice: int) -> None:
        """Take a step; one that is refused has changed nothing, which the books tell."""
        steps: dict[str, Callable[[int, int], Awaitable[object]]] = {
            "checkout": self.checkout,
            "again": self.again,
            "decide": self.decide,
            "resolve": self.resolve,
            "pay": self.pay,
            "cancel": self.cancel,
            "move": self.move,
            "send": self.send,
            "process": self.process,
            "expire": self.expire,
            "settle": self.settle,
            "refund": self.refund,
            "hold": self.hold,
            "outage": self.outage,
        }
        with contextlib.suppress(AppError):
            await steps[verb](which, choice)

    async def order(self, which: int) -> Order | None:
        rows = await Order.find_rows({}, {"_id": 1}, sort=[("_id", 1)])
        return await stored_order(rows[which % len(rows)]["_id"]) if rows else None

    async def checkout(self, which: int, choice: int) -> None:
        await Cart.collection().delete_many({"owner": user_owner(self.shopper.user.id)})
        product, other = self.products[which % 2], self.products[1 - which % 2]
        wishes = [(product, 1 + choice % 2)] + ([(other, 1)] if choice % 3 == 0 else [])
        codes = ["SAVE10"] if which % 3 == 0 else []
        await create_cart(*wishes, user=self.shopper.user, coupon_codes=codes)
        key = f"key-{len(self.keys)}"
        self.keys.append((key, choice))
        await self._checkout(key, choice)

    async def _checkout(self, key: str, choice: int) -> None:
        method = PaymentMethod.INVOICE if choice == 4 else PaymentMethod.CARD
        await self.till.checkout(self.shopper, key=key, payment_token=TOKENS[choice % 5], payment_method=method)

    async def again(self, which: int, choice: int) -> None:
        if self.keys:
            await self._checkout(*self.keys[which % len(self.keys)])

    async def decide(self, which: int, choice: int) -> None:
        for key in list(self.till.gateway.pending)[:1]:
            self.till.gateway.decide(key, accepted=choice % 2 == 0)

    async def resolve(self, which: int, choice: int) -> None:
        self.later += timedelta(hours=1)
        await PaymentService.resolve_due(
            gateways=self.till.gateways,
            listener=OrderSettlement(self.till.settings),
            settings=self.till.settings,
            now=self.later,
        )

    async def pay(self, which: int, choice: int) -> None:
        order = await self.order(which)
        if order is not None:
            await CheckoutService.pay_order(
                order.id,
                PaymentTerms(payment_token=TOKENS[choice % 5]),
                access=OrderAccess(self.shopper.viewer),
                key=f"pay-{choice}",
                gateways=self.till.gateways,
                settings=self.till.settings,
            )

    async def cancel(self, which: int, choice: int) -> None:
        order = await self.order(which)
        if order is not None:
            await CancellationService.cancel_order(
                order.id,
                access=OrderAccess(self.shopper.viewer if choice % 2 else self.clerk),
                gateways=self.till.gateways,
                listener=OrderSettlement(self.till.settings),
                settings=self.till.settings,
            )

    async def move(self, which: int, choice: int) -> None:
        order = await self.order(which)
        if order is not None:
            draft = StatusDraft(status=list(OrderStatus)[(choice + which) % len(OrderStatus)])
            await OrderAdministrationService.change_status(
                order.id, draft, viewer=self.clerk, gateways=self.till.gateways, settings=self.till.settings
            )

    async def send(self, which: int, choice: int) -> None:
        order = await self.order(which)
        if order is not None:
            part = FulfilmentPart(line_id=order.lines[choice % len(order.lines)].id, quantity=1 + choice % 2)
            await FulfilmentService.create_fulfilment(order.id, FulfilmentDraft(lines=[part]), viewer=self.clerk)

    async def process(self, which: int, choice: int) -> None:
        await OrderJobService.process_due()

    async def expire(self, which: int, choice: int) -> None:
        await OrderJobService.expire_due(now=datetime.now(UTC) + timedelta(hours=1))

    async def settle(self, which: int, choice: int) -> None:
        self.later += timedelta(hours=1)
        await OrderJobService.settle_owed(gateways=self.till.gateways, settings=self.till.settings, now=self.later)

    async def refund(self, which: int, choice: int) -> None:
        order = await self.order(which)
        if order is None or order.payment_id is None:
            return
        payment = await PaymentService.get(order.payment_id)
        amount = payment.refundable if choice % 2 else payment.refundable // 3
        self.refunds += 1

        async def request(session: Session) -> Refund:
            return await RefundService.request(
                session,
                payment_id=payment.id,
                amount=Money(amount=amount, currency="USD"),
                reason="goodwill",
                key=f"refund-{self.refunds}",
            )

        refund = await run_transaction(request)
        await RefundService.execute(
            refund.id,
            gateways=self.till.gateways,
            listener=OrderSettlement(self.till.settings),
            settings=self.till.settings,
        )

    async def hold(self, which: int, choice: int) -> None:
        order = await self.order(which)
        if order is not None and choice % 2:
            await OrderAdministrationService.hold(order.id, "looks odd", viewer=self.clerk)
        elif order is not None:
            await OrderAdministrationService.release(order.id, viewer=self.clerk)

    async def outage(self, which: int, choice: int) -> None:
        self.till.gateway.is_away = choice % 2 == 1

    async def come_to_rest(self) -> None:
        """Every payment decided, every outcome known, everything owed given back."""
        self.till.gateway.is_away = False
        for key in list(self.till.gateway.pending):
            self.till.gateway.decide(key, accepted=True)
        for _ in range(6):
            await self.resolve(0, 0)
            await RefundService.resolve_due(
                gateways=self.till.gateways,
                listener=OrderSettlement(self.till.settings),
                settings=self.till.settings,
                now=self.later,
            )
            await self.settle(0, 0)


VERBS = (
    *("checkout",) * 5,
    *("pay", "cancel", "move", "send", "process", "decide", "resolve", "settle", "refund") * 2,
    *("again", "expire", "hold", "outage"),
)
steps = st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 7), st.integers(0, 5)), min_size=STEPS // 2, max_size=STEPS)


async def open_shop(settings: Settings) -> Shop:
    for document in DOCUMENTS:
        await document.collection().delete_many({})
    clear_all_caches()
    if not await known_locations():
        await create_location()
    await create_coupon(code="SAVE10", usage_limit=3)
    products = [await create_stocked(STOCK, "20.00"), await create_stocked(STOCK, "33.33")]
    clerk = viewer_of(await create_user(role=Role.MANAGER))
    return Shop(Till(settings), await create_shopper(), clerk, products)


@hypothesis_settings(max_examples=rounds(5, 2000))
@given(script=steps)
async def test_r9_com_p2_books_add_up_after_every_step(database: Database, settings: Settings, script: list[Step]) -> None:
    """COM-P1..P5 and R9: no illegal edge, stock conserved, coupons within limits, captured >= refunded >= 0, points balance."""
    shop = await open_shop(settings)
    for verb, which, choice in script:
        await shop.run(verb, which, choice)
        assert await differences() == [], (verb, which, choice)
    await shop.come_to_rest()
    assert await differences(shop.till.gateway) == []
    for order in await all_of(Order):
        assert not order.is_owing
        assert order.totals.subtotal.amount == sum(line.quantity * line.unit_price.amount for line in order.lines)
        assert sum(step.amount.amount for step in order.steps) == order.totals.total.amount
    assert PaymentState.PROCESSING not in {payment.state for payment in await all_of(Payment)}
