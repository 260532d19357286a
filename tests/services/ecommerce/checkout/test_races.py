"""Many at once: whatever the order of events, the books add up afterwards.

Callers of one process queue for what they contend for; those of several processes collide in the server. Both must be right.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models import database as seam
from models.database import Database
from models.ecommerce.carts import Cart
from models.ecommerce.coupons import Coupon
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order, OrderStatus
from models.inventory.stock import StockLevel
from models.payments import Payment
from models.users import User
from services.ecommerce.carts import CartHolder, CartService
from services.ecommerce.checkout.completion import CheckedOut, PaymentDeclinedError
from services.ecommerce.checkout.direct import DirectOrderService
from services.ecommerce.checkout.wishes import OrderDraft, OrderItemDraft
from services.ecommerce.orders.cancellation import CancellationService
from services.ecommerce.orders.jobs import OrderJobService
from services.ecommerce.orders.reading import OrderAccess
from services.ecommerce.orders.settlement import OrderSettlement
from services.errors import AppError
from services.payments.payments import PaymentService
from services.settings import Settings
from tests.books import all_of, differences
from tests.factories.carts import CART_TOKEN, Wish, create_cart, make_cart
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
from tests.factories.customers import make_customer, make_place
from tests.factories.pricing import create_coupon
from tests.factories.users import make_user, viewer_of
from tests.races import patiently, rounds, seeds

# Buyers and units. Callers that collide for one row cost a multiple of those that queue: as many as there may be processes.
CROWDS = {"queued": (24, 7), "colliding": (8, 3)}
# Each race queued and colliding; the latter with fewer seeds where the suite is run as a whole.
WAYS = [("queued", seed) for seed in seeds()] + [("colliding", seed) for seed in seeds(1)]


class _NoQueue(dict[Any, asyncio.Lock]):
    """Hands every caller a lock of its own."""

    def setdefault(self, key: Any, default: asyncio.Lock | None = None) -> asyncio.Lock:
        assert default is not None
        return default


@pytest.fixture
def crowd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "colliding":
        monkeypatch.setattr(seam, "_hot_locks", _NoQueue())
    mode: str = request.param
    return mode


@pytest.fixture
def till(settings: Settings, database: Database) -> Till:
    return Till(settings)


async def shoppers(count: int, wishes: Callable[[int], Sequence[Wish]]) -> list[Shopper]:
    """So many people with a filled cart each, in three commands."""
    users = [make_user() for _ in range(count)]
    made = [Shopper(user, make_customer(user_id=user.id)) for user in users]
    carts = [make_cart(*wishes(at), user=user) for at, user in enumerate(users)]
    for document, rows in ((User, users), (Customer, [one.customer for one in made]), (Cart, carts)):
        await document.collection().insert_many([row.row() for row in rows])
    return made


async def attempt(work: Awaitable[Any], *, within: float | None = None) -> Any:
    """What it answers, or how it was refused; anything else fails the test."""
    started = time.monotonic()
    try:
        answer = await work
    except AppError as error:
        answer = error
    assert within is None or time.monotonic() - started < within
    return answer


async def settle(till: Till) -> None:
    """Let time pass until nothing is open any more."""
    later = datetime.now(UTC) + timedelta(days=1)
    listener = OrderSettlement(till.settings)
    await PaymentService.resolve_due(gateways=till.gateways, listener=listener, settings=till.settings, now=later)
    await OrderJobService.settle_owed(gateways=till.gateways, settings=till.settings)


async def cancel(till: Till, order_id: Any, shopper: Shopper) -> Any:
    return await CancellationService.cancel_order(
        order_id,
        access=OrderAccess(shopper.viewer),
        gateways=till.gateways,
        listener=OrderSettlement(till.settings),
        settings=till.settings,
    )


class TestStock:
    @pytest.mark.parametrize("seed", seeds(1))
    async def test_each_of_twenty_items_goes_to_one_of_the_buyers(self, till: Till, seed: int) -> None:
        """Two hundred of them in a thorough run."""
        chance = random.Random(seed)
        tee = await create_stocked(20)
        buyers = await shoppers(rounds(60, 200), lambda at: [(tee, 1)])
        chance.shuffle(buyers)

        answers = await asyncio.gather(*(attempt(till.checkout(buyer)) for buyer in buyers))

        sold = [answer for answer in answers if isinstance(answer, CheckedOut)]
        assert len(sold) == 20
        assert {answer.code for answer in answers if isinstance(answer, AppError)} == {"out_of_stock"}
        assert [(level.on_hand, level.available) for level in await all_of(StockLevel)] == [(0, 0)]
        assert await differences(till.gateway) == []

    @pytest.mark.parametrize(("crowd", "seed"), WAYS, indirect=["crowd"])
    async def test_r1_double_clicks_are_one_order(self, till: Till, crowd: str, seed: int) -> None:
        """R1: 24 buyers, 7 units, a quarter of them twice with the same key."""
        chance = random.Random(seed)
        count, units = CROWDS[crowd]
        tee = await create_stocked(units)
        buyers = await shoppers(count, lambda at: [(tee, 1)])
        clicks = [(buyer, f"click-{at}") for at, buyer in enumerate(buyers)]
        clicks += chance.sample(clicks, count // 4)
        chance.shuffle(clicks)

        answers = await asyncio.gather(*(attempt(till.checkout(buyer, key=key)) for buyer, key in clicks))

        orders: list[Order] = await all_of(Order)
        assert len(orders) == len({order.user_id for order in orders}) == units
        assert {answer.order.id for answer in answers if isinstance(answer, CheckedOut)} == {order.id for order in orders}
        assert {answer.code for answer in answers if isinstance(answer, AppError)} <= {"out_of_stock", "cart_empty"}
        assert len(till.gateway.charged) == units
        assert await differences(till.gateway) == []

    @pytest.mark.parametrize("seed", seeds(1))
    async def test_r2_opposite_orders_do_not_lock_each_other_out(self, till: Till, seed: int) -> None:
        """R2, COM-S12: 60 carts of the same two things, half of them the other way round; all or nothing, each in 5 s."""
        chance = random.Random(seed)
        tee, cup = await create_stocked(15), await create_stocked(40)
        buyers = await shoppers(60, lambda at: [(tee, 1), (cup, 1)] if at % 2 else [(cup, 1), (tee, 1)])
        chance.shuffle(buyers)

        answers = await asyncio.gather(*(attempt(till.checkout(buyer), within=patiently(5)) for buyer in buyers))

        assert sum(isinstance(answer, CheckedOut) for answer in answers) == 15
        assert {order.items_count for order in await all_of(Order)} == {2}
        assert await differences(till.gateway) == []


class TestCoupons:
    @pytest.mark.parametrize("seed", seeds(1))
    async def test_r3_last_use_is_given_once_and_given_back(self, till: Till, seed: int) -> None:
        """R3, COM-S15: 40 buyers, 5 uses; every payment that fails gives its use back, and the next one may have it."""
        chance = random.Random(seed)
        tee = await create_stocked(100)
        await create_coupon(code="FIVE", usage_limit=5)
        buyers = await shoppers(40, lambda at: [(tee, 1)])
        await Cart.collection().update_many({}, {"$set": {"coupon_codes": ["FIVE"]}})
        tokens = [TOKEN_DECLINED] * 10 + [TOKEN_OK] * 30
        chance.shuffle(tokens)

        answers = await asyncio.gather(
            *(attempt(till.checkout(buyer, payment_token=token)) for buyer, token in zip(buyers, tokens, strict=True))
        )

        discounted = [answer for answer in answers if isinstance(answer, CheckedOut)]
        [coupon] = await all_of(Coupon)
        assert coupon.usage_count == len(discounted) <= 5
        assert await differences(till.gateway) == []
        for buyer, answer in zip(buyers, answers, strict=True):
            if coupon.usage_count < 5 and not isinstance(answer, CheckedOut):
                await till.checkout(buyer)
                [coupon] = await all_of(Coupon)
        assert coupon.usage_count == 5
        assert await differences(till.gateway) == []

    @pytest.mark.parametrize(("crowd", "seed"), WAYS, indirect=["crowd"])
    async def test_r3_one_use_per_customer_in_ten_parallel_orders(self, till: Till, crowd: str, seed: int) -> None:
        tee = await create_stocked(100)
        await create_coupon(code="ONCE", usage_limit_per_customer=1)
        shopper = await create_shopper()
        items = [OrderItemDraft(product_id=tee.id, quantity=1)]
        draft = OrderDraft(items=items, coupon_codes=["ONCE"], shipping_address=make_place())

        answers = await asyncio.gather(
            *(attempt(DirectOrderService.create_order(draft, viewer=shopper.viewer, settings=till.settings)) for _ in range(10))
        )

        assert sum(isinstance(answer, AppError) for answer in answers) == 9
        assert (await all_of(Coupon))[0].usage_count == 1
        assert await differences(till.gateway) == []


class TestOnce:
    @pytest.mark.parametrize(("crowd", "seed"), WAYS, indirect=["crowd"])
    async def test_r6_com_s17_twenty_times_the_same_request_is_one_order(self, till: Till, crowd: str, seed: int) -> None:
        """R6, COM-S17: also while the outcome of its payment is not known."""
        tee = await create_stocked(5)
        shopper = await create_shopper((tee, 2))
        token = [TOKEN_OK, TOKEN_SILENT][seed % 2]

        answers = await asyncio.gather(*(attempt(till.checkout(shopper, key="one", payment_token=token)) for _ in range(20)))
        await settle(till)

        orders: list[Order] = await all_of(Order)
        assert [order.status for order in orders] == [OrderStatus.CONFIRMED]
        # Also those who found the cart empty, because a twin had just taken everything out of it.
        assert {answer.order.id for answer in answers} == {orders[0].id}
        assert len(till.gateway.charged) == len(await all_of(Payment)) == 1
        assert await differences(till.gateway) == []

    @pytest.mark.parametrize(("crowd", "seed"), WAYS, indirect=["crowd"])
    async def test_one_cart_is_ordered_once_though_two_requests_ask(self, till: Till, crowd: str, seed: int) -> None:
        tee = await create_stocked(50)
        shopper = await create_shopper((tee, 1))

        answers = await asyncio.gather(*(attempt(till.checkout(shopper)) for _ in range(10 if crowd == "queued" else 6)))

        assert sum(isinstance(answer, CheckedOut) for answer in answers) == 1
        assert len(await all_of(Order)) == 1
        assert await differences(till.gateway) == []


class TestOneOutcome:
    @pytest.mark.parametrize(("crowd", "seed"), WAYS, indirect=["crowd"])
    async def test_com_s26_cancel_against_the_job(self, till: Till, crowd: str, seed: int) -> None:
        """COM-S26, COM-P5: each order is either cancelled or picked up; five jobs at once move it once."""
        chance = random.Random(seed)
        tee = await create_stocked(20)
        buyers = await shoppers(6, lambda at: [(tee, 1)])
        placed = [await till.checkout(buyer) for buyer in buyers]
        work: list[Awaitable[Any]] = [cancel(till, done.order.id, buyer) for done, buyer in zip(placed, buyers, strict=True)]
        work += [OrderJobService.process_due() for _ in range(5)]
        chance.shuffle(work)

        await asyncio.gather(*(attempt(one) for one in work))
        await settle(till)

        statuses = {(await stored_order(done.order.id)).status for done in placed}
        assert statuses <= {OrderStatus.CANCELLED, OrderStatus.PROCESSING}
        assert await differences(till.gateway) == []

    @pytest.mark.parametrize(("crowd", "seed"), WAYS, indirect=["crowd"])
    async def test_cancel_against_the_payment_and_its_news(self, till: Till, crowd: str, seed: int) -> None:
        """Paid and kept, or cancelled and paid back; never in between, and charged at most once."""
        chance = random.Random(seed)
        tee = await create_stocked(20)
        buyers = await shoppers(6, lambda at: [(tee, 1)])
        placed = [await till.checkout(buyer, key=f"k{at}", payment_token=TOKEN_PENDING) for at, buyer in enumerate(buyers)]
        for key in list(till.gateway.pending):
            till.gateway.decide(key, accepted=chance.random() < 0.7)
        work: list[Awaitable[Any]] = [cancel(till, done.order.id, buyer) for done, buyer in zip(placed, buyers, strict=True)]
        work += [till.checkout(buyer, key=f"k{at}") for at, buyer in enumerate(buyers)]
        work += [settle(till), settle(till)]
        chance.shuffle(work)

        await asyncio.gather(*(attempt(one) for one in work))
        await settle(till)

        assert {order.is_owing for order in await all_of(Order)} == {False}
        assert await differences(till.gateway) == []

    @pytest.mark.parametrize(("crowd", "seed"), WAYS, indirect=["crowd"])
    async def test_r14_expiry_against_the_payment(self, till: Till, crowd: str, seed: int) -> None:
        """R14: released once; who paid in time has the goods, who paid late has them or the money."""
        chance = random.Random(seed)
        tee = await create_stocked(4)
        buyers = await shoppers(4, lambda at: [(tee, 1)])
        placed_at = datetime.now(UTC) - timedelta(minutes=31)
        for buyer in buyers:
            await till.checkout(buyer, payment_token=TOKEN_PENDING, now=placed_at)
        for key in list(till.gateway.pending):
            till.gateway.decide(key, accepted=chance.random() < 0.7)
        others = await shoppers(4, lambda at: [(tee, 1)])
        work: list[Awaitable[Any]] = [OrderJobService.expire_due(), OrderJobService.expire_due(), settle(till)]
        work += [till.checkout(other) for other in others]
        chance.shuffle(work)

        await asyncio.gather(*(attempt(one) for one in work))
        await settle(till)

        assert {order.status for order in await all_of(Order)} <= {OrderStatus.CONFIRMED, OrderStatus.CANCELLED}
        assert sum(order.status is OrderStatus.CONFIRMED for order in await all_of(Order)) <= 4
        assert await differences(till.gateway) == []

    @pytest.mark.parametrize(("crowd", "seed"), WAYS, indirect=["crowd"])
    async def test_r5_cart_merge_against_checkout(self, till: Till, crowd: str, seed: int) -> None:
        """R5: what lay in the guest's cart is ordered, or lies in the person's; nothing is lost and nothing doubled."""
        tee = await create_stocked(20)
        await create_cart((tee, 3))
        shopper = await create_shopper((tee, 1))
        both = CartHolder(shopper.viewer, CART_TOKEN)
        guest = CartHolder(None, CART_TOKEN)
        work: list[Awaitable[Any]] = [
            till.checkout(guest, email="jane@example.com"),
            CartService.merge(both, settings=till.settings),
        ]
        random.Random(seed).shuffle(work)

        answers = await asyncio.gather(*(attempt(one) for one in work))

        assert not any(isinstance(answer, PaymentDeclinedError) for answer in answers)
        ordered = sum(order.items_count for order in await all_of(Order))
        left = sum(line.quantity for cart in await all_of(Cart) for line in cart.lines)
        assert ordered + left == 4
        assert viewer_of(shopper.user) == shopper.viewer
        assert await differences(till.gateway) == []
