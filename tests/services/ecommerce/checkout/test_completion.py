"""Checkouts, from the cart to whatever end they come to: paid, declined, unknown, late, twice."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from beanie import PydanticObjectId

from models.database import Database, DuplicateKeyError, in_transaction
from models.ecommerce.carts import Cart
from models.ecommerce.coupons import Coupon, CouponRedemption
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order, OrderStatus, PaymentMethod, PaymentStatus
from models.fraud import FraudReview
from models.inventory.stock import StockLevel, StockMovement
from models.money import Money
from models.payments import Payment, PaymentState
from services.ecommerce.carts import CartEmptyError, CartHolder, CartService, NotForSaleError
from services.ecommerce.checkout.buyers import AddressNeededError, GuestEmailNeededError
from services.ecommerce.checkout.completion import PaymentDeclinedError
from services.ecommerce.checkout.placement import CartChangedError, PaymentMethodNeededError, PriceChangedError
from services.ecommerce.couponreasons import CouponNotUsableError
from services.ecommerce.orders.cancellation import CancellationService
from services.ecommerce.orders.jobs import OrderJobService
from services.ecommerce.orders.reading import OrderAccess, OrderNotFoundError, OrderService
from services.ecommerce.orders.settlement import OrderSettlement
from services.errors import AppError, UnavailableError
from services.inventory.reservations import OutOfStockError
from services.payments.gateways import UnknownGatewayError
from services.payments.payments import PaymentService
from services.payments.port import Charge, GatewayResult
from services.settings import Settings
from tests.books import all_of, differences
from tests.factories.carts import CART_TOKEN, create_cart
from tests.factories.catalog import create_product
from tests.factories.checkout import (
    TOKEN_DECLINED,
    TOKEN_LOST,
    TOKEN_PENDING,
    TOKEN_SILENT,
    Shopper,
    Till,
    create_shopper,
    create_stocked,
    stored_order,
)
from tests.factories.customers import make_place
from tests.factories.inventory import stock
from tests.factories.pricing import amount_off, create_coupon, percent_off

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def till(settings: Settings, database: Database) -> Till:
    return Till(settings)


async def cart_of(shopper: Shopper) -> Cart:
    row = await Cart.find_row({"user_id": shopper.user.id})
    assert row is not None
    return Cart.from_row(row)


async def level_of(product_id: PydanticObjectId) -> StockLevel:
    row = await StockLevel.find_row({"product_id": product_id})
    assert row is not None
    return StockLevel.from_row(row)


async def resolve(till: Till, *, now: datetime | None = None) -> int:
    return await PaymentService.resolve_due(
        gateways=till.gateways,
        listener=OrderSettlement(till.settings),
        settings=till.settings,
        now=now or datetime.now(UTC) + timedelta(days=1),
    )


class TestTwins:
    async def test_key_that_a_twin_had_and_gave_up_may_be_tried_again(self, till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
        """The index refused it for an order that is not there any more: nothing is known to be wrong."""
        shopper = await create_shopper((await create_stocked(10, "20.00"), 1))

        async def lose(*_: object, **__: object) -> None:
            raise DuplicateKeyError("E11000 duplicate key error collection: a.orders index: placement_key_unique dup key: {}")

        monkeypatch.setattr("services.ecommerce.checkout.completion.run_transaction", lose)
        with pytest.raises(UnavailableError):
            await till.checkout(shopper, now=NOW)
        assert await all_of(Order) == []


class TestPaid:
    async def test_com_s10_everything_moves_together(self, till: Till) -> None:
        """COM-S10, COM-S16, COM-S18, COM-M8: order, history, stock, coupon, cart, customer and points after one checkout."""
        tee, cup = await create_stocked(10, "20.00"), await create_stocked(5, "7.50")
        coupon = await create_coupon(code="SAVE10", rule=percent_off(1000))
        shopper = await create_shopper((tee, 2), (cup, 1))
        await Cart.change({"user_id": shopper.user.id}, {"$set": {"coupon_codes": ["SAVE10"]}})

        done = await till.checkout(shopper, now=NOW)

        order = await stored_order(done.order.id)
        # 47.50 - 4.75 = 42.75; shipping 10.00; tax 10 % of the lines 36.00 and 6.75: 3.60 + 0.68 (0.675 half-up)
        assert order.totals.subtotal.amount == 4750
        assert order.totals.discount.amount == 475
        assert order.totals.shipping.amount == 1000
        assert order.totals.tax.amount == 428
        assert order.totals.total.amount == 5703
        assert (order.status, order.payment_status) == (OrderStatus.CONFIRMED, PaymentStatus.COMPLETED)
        assert order.number == "ORD-20261121-000001"
        assert [(line.name, line.sku, line.quantity) for line in order.lines] == [
            (tee.name, tee.variants[0].sku, 2),
            (cup.name, cup.variants[0].sku, 1),
        ]
        assert order.shipping_address == make_place() == order.billing_address
        assert order.email == shopper.user.email
        assert done.guest_token is None
        timeline = await OrderService.get_history(order.id, access=OrderAccess(shopper.viewer))
        assert [(step.old_status, step.new_status, step.changed_by) for step in timeline] == [
            (None, OrderStatus.PENDING, "customer"),
            (OrderStatus.PENDING, OrderStatus.CONFIRMED, "gateway:double"),
        ]
        assert (await level_of(tee.id)).on_hand == 8
        assert (await level_of(cup.id)).on_hand == 4
        assert (await cart_of(shopper)).lines == []
        assert (await all_of(Coupon))[0].usage_count == 1
        [redemption] = await all_of(CouponRedemption)
        assert (redemption.coupon_id, redemption.order_id) == (coupon.id, order.id)
        [customer] = await all_of(Customer)
        assert (customer.orders_count, customer.spent.amount, customer.points_balance) == (1, 5703, 57)
        assert order.points_earned == 57
        assert await differences(till.gateway) == []

    async def test_com_s11_every_line_moves_its_own_stock(self, till: Till) -> None:
        """COM-S11 TRAP: the source moved, or left, the stock of all lines as the last product would have it."""
        counted, uncounted = await create_stocked(5), await create_product(track_inventory=False)
        shopper = await create_shopper((counted, 2), (uncounted, 3))

        await till.checkout(shopper)

        assert (await level_of(counted.id)).on_hand == 3
        assert [m.quantity for m in await all_of(StockMovement) if m.kind == "sale"] == [-2]
        assert await differences(till.gateway) == []

    async def test_com_s13_numbers_count_up_within_their_day(self, till: Till) -> None:
        """COM-S13 TRAP, N-09: count + 1 collides; a number that was given is never given again."""
        tee = await create_stocked()
        numbers = []
        for moment in (NOW, NOW, NOW + timedelta(days=1)):
            numbers.append((await till.checkout(await create_shopper((tee, 1)), now=moment)).order.number)

        assert numbers == ["ORD-20261121-000001", "ORD-20261121-000002", "ORD-20261122-000001"]

    async def test_com_m7_nothing_to_pay_is_no_payment(self, till: Till) -> None:
        """COM-M7, COM-S14 TRAP: a total of zero is an order, and a coupon above the subtotal gives no negative one."""
        ebook = await create_product(price="5.00", is_digital=True, track_inventory=False)
        await create_coupon(code="GIFT", rule=amount_off("50.00"))
        shopper = await create_shopper((ebook, 1))
        await Cart.change({"user_id": shopper.user.id}, {"$set": {"coupon_codes": ["GIFT"]}})

        done = await till.checkout(shopper, shipping_address=None)

        assert done.order.totals.total.amount == 0
        assert done.order.status is OrderStatus.CONFIRMED
        assert done.order.payment_method is PaymentMethod.NONE
        assert done.order.shipping_address is None
        assert await all_of(Payment) == []
        assert till.gateway.calls == 0
        assert await differences(till.gateway) == []

    async def test_pay_later_is_promised_and_left_to_the_job(self, till: Till) -> None:
        tee = await create_stocked()
        shopper = await create_shopper((tee, 1))

        done = await till.checkout(shopper, payment_method=PaymentMethod.INVOICE)

        order = await stored_order(done.order.id)
        assert (order.status, order.payment_status) == (OrderStatus.PENDING, PaymentStatus.PENDING)
        assert order.is_stock_taken
        assert order.expires_at is None
        assert (await level_of(tee.id)).on_hand == 9
        assert await OrderJobService.process_due() == 1
        assert (await stored_order(order.id)).status is OrderStatus.PROCESSING
        assert await differences(till.gateway) == []

    async def test_guest_needs_an_address_of_mail_and_gets_a_token_once(self, till: Till) -> None:
        tee = await create_stocked()
        await create_cart((tee, 1))
        guest = CartHolder(None, CART_TOKEN)
        with pytest.raises(GuestEmailNeededError):
            await till.checkout(guest)

        done = await till.checkout(guest, email="Jane@Example.com", key="guest")
        again = await till.checkout(guest, email="Jane@Example.com", key="guest")

        assert done.guest_token is not None
        assert again == done
        order = await stored_order(done.order.id)
        assert order.customer_id is None
        assert order.guest_token_hash is not None
        assert done.guest_token not in str(order.row())
        assert (await OrderService.get_order(order.id, access=OrderAccess(None, done.guest_token))).id == order.id
        for token in (None, "", "x" * 40, order.guest_token_hash):
            with pytest.raises(OrderNotFoundError):
                await OrderService.get_order(order.id, access=OrderAccess(None, token))
        assert await differences(till.gateway) == []

    async def test_com_s9_guests_cart_joins_the_order_of_who_signed_in_as_it_was_shown(self, till: Till) -> None:
        """The revision that the merged view showed is good for the checkout; any other is refused, and nothing is ordered."""
        product, other = await create_stocked(), await create_stocked()
        shopper = await create_shopper((product, 1))
        await create_cart((other, 2))
        holder = CartHolder(shopper.viewer, CART_TOKEN)
        shown = await CartService.get(holder, settings=till.settings)

        with pytest.raises(AppError):
            await till.checkout(holder, cart_revision=shown.revision + 7)
        assert await Order.find_rows({}) == []
        order = (await till.checkout(holder, cart_revision=shown.revision)).order

        assert {line.product_id: line.quantity for line in order.lines} == {product.id: 1, other.id: 2}
        assert await differences() == []


class TestRefused:
    async def test_com_s12_one_missing_line_takes_nothing(self, till: Till) -> None:
        """COM-S12 TRAP: all lines or none."""
        tee, cup = await create_stocked(5), await create_stocked(1)
        shopper = await create_shopper((tee, 2), (cup, 2))

        with pytest.raises(OutOfStockError) as caught:
            await till.checkout(shopper)

        assert [(line.wanted, line.available) for line in caught.value.shortages] == [(2, 1)]
        assert await all_of(Order) == []
        assert await all_of(Payment) == []
        assert len((await cart_of(shopper)).lines) == 2
        assert (await level_of(tee.id)).available == 5
        assert await differences(till.gateway) == []

    async def test_com_s10_prices_are_read_again(self, till: Till) -> None:
        """COM-S10: what the cart saw decides nothing; a total that the buyer did not agree to is refused."""
        tee = await create_stocked(5, "20.00")
        shopper = await create_shopper((tee, 1))
        await Cart.change({"user_id": shopper.user.id}, {"$set": {"lines.0.price_seen.amount": 1}})

        with pytest.raises(PriceChangedError) as caught:
            await till.checkout(shopper, expected_total=Money.of("11.01", "USD"))
        done = await till.checkout(shopper, expected_total=Money.of("32.00", "USD"))

        assert caught.value.current == Money.of("32.00", "USD")
        assert done.order.totals.total == Money.of("32.00", "USD")

    async def test_cart_that_was_changed_is_refused(self, till: Till) -> None:
        tee = await create_stocked()
        shopper = await create_shopper((tee, 1))

        with pytest.raises(CartChangedError):
            await till.checkout(shopper, cart_revision=7)

        assert await all_of(Order) == []

    async def test_com_s15_code_that_is_of_no_use_refuses_the_order(self, till: Till) -> None:
        """COM-S15 TRAP: the source ignored it and charged the full price."""
        tee = await create_stocked()
        shopper = await create_shopper((tee, 1))
        await Cart.change({"user_id": shopper.user.id}, {"$set": {"coupon_codes": ["NONE"]}})

        with pytest.raises(CouponNotUsableError):
            await till.checkout(shopper)

        assert await all_of(Order) == []
        assert await differences(till.gateway) == []

    async def test_what_is_not_for_sale_or_has_nowhere_to_go_is_refused(self, till: Till) -> None:
        hidden, tee = await create_stocked(status="inactive"), await create_stocked()
        with pytest.raises(NotForSaleError):
            await till.checkout(await create_shopper((hidden, 1)))
        with pytest.raises(AddressNeededError):
            await till.checkout(await create_shopper((tee, 1)), shipping_address=None)
        with pytest.raises(CartEmptyError):
            await till.checkout(await create_shopper())
        with pytest.raises(PaymentMethodNeededError):
            await till.checkout(await create_shopper((tee, 1)), payment_method=PaymentMethod.NONE)
        with pytest.raises(UnknownGatewayError):
            await till.checkout(await create_shopper((tee, 1)), gateway="none")

        assert await all_of(Order) == []


class TestDeclined:
    async def test_com_s16_nothing_is_left_but_a_cancelled_order(self, till: Till) -> None:
        """COM-S16: stock, coupon and cart are as before, and the same request gets the same answer."""
        tee = await create_stocked(3)
        await create_coupon(code="SAVE10", usage_limit=1)
        shopper = await create_shopper((tee, 2))
        await Cart.change({"user_id": shopper.user.id}, {"$set": {"coupon_codes": ["SAVE10"]}})

        for _ in range(2):
            with pytest.raises(PaymentDeclinedError) as caught:
                await till.checkout(shopper, key="declined", payment_token=TOKEN_DECLINED)

        assert caught.value.is_final
        [order] = await all_of(Order)
        assert (order.status, order.payment_status) == (OrderStatus.CANCELLED, PaymentStatus.FAILED)
        cart = await cart_of(shopper)
        assert [(line.variant_id, line.quantity) for line in cart.lines] == [(tee.variants[0].id, 2)]
        assert cart.coupon_codes == ["SAVE10"]
        assert (await level_of(tee.id)).available == 3
        assert (await all_of(Coupon))[0].usage_count == 0
        assert till.gateway.charged == {}
        assert await differences(till.gateway) == []
        done = await till.checkout(shopper)
        assert done.order.status is OrderStatus.CONFIRMED
        assert await differences(till.gateway) == []

    async def test_what_was_put_into_the_cart_meanwhile_stays(self, till: Till) -> None:
        """R5: lines added during the checkout are neither lost nor doubled when the old ones come back."""
        tee, cup = await create_stocked(), await create_stocked()
        shopper = await create_shopper((tee, 2))
        with pytest.raises(PaymentDeclinedError):
            await till.checkout(shopper, payment_token=TOKEN_DECLINED)
        await Cart.collection().delete_many({})
        await create_cart((tee, 1), (cup, 1), user=shopper.user)

        with pytest.raises(PaymentDeclinedError):
            await till.checkout(shopper, payment_token=TOKEN_DECLINED)

        assert sorted(line.quantity for line in (await cart_of(shopper)).lines) == [1, 1]


class TestUnknown:
    async def test_r8_silent_charge_is_asked_about_and_never_made_again(self, till: Till) -> None:
        """R8, PAY-7: answered pending, settled by the resolver, charged once."""
        tee = await create_stocked()
        shopper = await create_shopper((tee, 1))

        done = await till.checkout(shopper, key="silent", payment_token=TOKEN_SILENT)

        assert (done.order.status, done.order.payment_status) == (OrderStatus.PENDING, PaymentStatus.PENDING)
        assert (await level_of(tee.id)).reserved == 1
        assert await differences() == []
        await resolve(till)
        order = await stored_order(done.order.id)
        assert (order.status, order.payment_status) == (OrderStatus.CONFIRMED, PaymentStatus.COMPLETED)
        assert len(till.gateway.charged) == 1
        assert await differences(till.gateway) == []

    async def test_retried_request_settles_it_too(self, till: Till) -> None:
        tee = await create_stocked()
        shopper = await create_shopper((tee, 1))
        first = await till.checkout(shopper, key="silent", payment_token=TOKEN_SILENT)

        second = await till.checkout(shopper, key="silent", payment_token=TOKEN_SILENT)

        assert second.order.id == first.order.id
        assert second.order.status is OrderStatus.CONFIRMED
        assert len(till.gateway.charged) == 1
        assert len(await all_of(Order)) == 1

    async def test_late_decline_cancels_the_order_it_was_placed_with(self, till: Till) -> None:
        tee = await create_stocked()
        shopper = await create_shopper((tee, 1))
        done = await till.checkout(shopper, payment_token=TOKEN_PENDING)
        [payment] = await all_of(Payment)

        till.gateway.decide(payment.key, accepted=False)
        await resolve(till)

        assert (await stored_order(done.order.id)).status is OrderStatus.CANCELLED
        assert len((await cart_of(shopper)).lines) == 1
        assert await differences(till.gateway) == []


class TestLate:
    """R14: money that arrives when the time is over."""

    async def _expired(self, till: Till, shopper: Shopper) -> PydanticObjectId:
        """An order whose payment is undecided when its time is over: its stock was let go, the order waits."""
        done = await till.checkout(shopper, payment_token=TOKEN_PENDING, now=NOW)
        assert await OrderJobService.expire_due(now=NOW + timedelta(minutes=30)) == 1
        order = await stored_order(done.order.id)
        assert (order.status, order.expires_at) == (OrderStatus.PENDING, None)
        return order.id

    async def test_r14_stock_is_taken_anew(self, till: Till) -> None:
        tee = await create_stocked(1)
        order_id = await self._expired(till, await create_shopper((tee, 1)))
        assert (await level_of(tee.id)).available == 1
        [payment] = await all_of(Payment)

        till.gateway.decide(payment.key, accepted=True)
        await resolve(till)

        assert (await stored_order(order_id)).status is OrderStatus.CONFIRMED
        assert (await level_of(tee.id)).on_hand == 0
        assert await differences(till.gateway) == []

    async def test_r14_money_goes_back_when_somebody_else_has_the_stock(self, till: Till) -> None:
        tee = await create_stocked(1)
        order_id = await self._expired(till, await create_shopper((tee, 1)))
        await till.checkout(await create_shopper((tee, 1)))
        payment = next(payment for payment in await all_of(Payment) if payment.subject == f"order:{order_id}")

        till.gateway.decide(payment.key, accepted=True)
        await resolve(till)
        order = await stored_order(order_id)
        assert (order.status, order.is_owing) == (OrderStatus.CANCELLED, True)
        assert await OrderJobService.settle_owed(gateways=till.gateways, settings=till.settings) == 1

        order = await stored_order(order_id)
        assert (order.payment_status, order.is_owing) == (PaymentStatus.REFUNDED, False)
        assert till.gateway.kept == 3200
        assert await differences(till.gateway) == []

    async def test_r14_money_for_a_cancelled_order_goes_back_though_the_stock_is_there(self, till: Till) -> None:
        """Decided: who cancelled, or was told that the order is cancelled, gets the money and not the goods."""
        tee = await create_stocked(5)
        done = await till.checkout(await create_shopper((tee, 1)), payment_token=TOKEN_LOST, now=NOW)
        [payment] = await all_of(Payment)
        await Payment.change({"_id": payment.id}, {"$set": {"state": PaymentState.FAILED}})
        assert await OrderJobService.expire_due(now=NOW + timedelta(minutes=31)) == 1
        assert (await stored_order(done.order.id)).status is OrderStatus.CANCELLED

        await Payment.change({"_id": payment.id}, {"$set": {"state": PaymentState.PROCESSING, "check_at": NOW}})
        till.gateway.charged[payment.key] = 3200
        await resolve(till)
        await OrderJobService.settle_owed(gateways=till.gateways, settings=till.settings)

        order = await stored_order(done.order.id)
        assert (order.status, order.payment_status) == (OrderStatus.CANCELLED, PaymentStatus.REFUNDED)
        assert till.gateway.kept == 0
        assert await differences(till.gateway) == []


class TestReview:
    async def test_s19_held_payment_holds_its_order(self, till: Till) -> None:
        """S19: above 10,000 a person looks first; nothing was charged, and nothing leaves."""
        piano = await create_stocked(1, "12000.00")
        shopper = await create_shopper((piano, 1))

        done = await till.checkout(shopper, payment_method=PaymentMethod.BANK_TRANSFER)

        order = await stored_order(done.order.id)
        [payment] = await all_of(Payment)
        assert len(await all_of(FraudReview)) == (1 if payment.state is PaymentState.IN_REVIEW else 0)
        if payment.state is PaymentState.IN_REVIEW:
            assert (order.status, order.is_held) == (OrderStatus.PENDING, True)
            assert till.gateway.calls == 0
        assert await differences(till.gateway) == []


async def test_unknown_stock_of_a_second_location_counts(till: Till) -> None:
    """One order may be served from several locations."""
    product = await create_product(price="5.00")
    await stock(product.variants[0], 3, product=product)

    done = await till.checkout(await create_shopper((product, 3)))

    assert done.order.items_count == 3
    assert await differences(till.gateway) == []


class TestCrash:
    """The process dies between two steps; whatever comes next brings the order to exactly one end."""

    @pytest.fixture
    async def orphan(self, till: Till, monkeypatch: pytest.MonkeyPatch) -> Shopper:
        """A shopper whose order was placed, and whose payment was never sent."""
        tee = await create_stocked(2)
        await create_coupon(code="SAVE10", usage_limit=1)
        shopper = await create_shopper()
        await create_cart((tee, 2), user=shopper.user, coupon_codes=["SAVE10"])

        async def die(*args: object, **options: object) -> Payment:
            raise ConnectionError("killed")

        with monkeypatch.context() as patched:
            patched.setattr(PaymentService, "send", die)
            with pytest.raises(ConnectionError):
                await till.checkout(shopper, key="killed", now=NOW)
        return shopper

    async def test_retried_key_goes_on_where_it_was(self, till: Till, orphan: Shopper) -> None:
        assert await differences(till.gateway) == []

        soon = await till.checkout(orphan, key="killed", now=NOW + timedelta(seconds=1))
        later = await till.checkout(orphan, key="killed", now=NOW + timedelta(minutes=1))

        # For all anybody knows the charge is on its way: it is asked about until it cannot be any more, then sent.
        assert (soon.order.status, later.order.status) == (OrderStatus.PENDING, OrderStatus.CONFIRMED)
        assert len(await all_of(Order)) == len(till.gateway.charged) == 1
        assert await differences(till.gateway) == []

    async def test_nobody_comes_back_and_the_resolver_sends_it(self, till: Till, orphan: Shopper) -> None:
        """It was agreed to and let pass: the gateway, asked, has never heard of it and is sent it, once."""
        assert await OrderJobService.expire_due(now=NOW + timedelta(minutes=30)) == 1  # the stock, not the order

        await resolve(till)

        [order] = await all_of(Order)
        assert order.status is OrderStatus.CONFIRMED
        assert len(till.gateway.charged) == 1
        assert await differences(till.gateway) == []
        assert (await till.checkout(orphan, key="killed")).order.id == order.id
        assert await differences(till.gateway) == []

    async def test_killed_while_the_gateway_was_asked(self, till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
        """The charge arrived, its answer did not: the resolver asks, and the retried key is answered by what it found."""
        tee = await create_stocked(2)
        shopper = await create_shopper((tee, 1))
        charge = till.gateway.charge

        async def die(asked: Charge) -> GatewayResult:
            await charge(asked)
            raise asyncio.CancelledError

        with monkeypatch.context() as patched:
            patched.setattr(till.gateway, "charge", die)
            with pytest.raises(asyncio.CancelledError):
                await till.checkout(shopper, key="killed")

        await resolve(till)
        done = await till.checkout(shopper, key="killed")

        assert done.order.status is OrderStatus.CONFIRMED
        assert len(till.gateway.charged) == 1
        assert await differences(till.gateway) == []

    async def test_no_gateway_is_called_inside_a_transaction(self, till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
        """R8: checkouts, payments and cancellations speak to the outside between transactions."""
        tee = await create_stocked(2)
        shopper = await create_shopper((tee, 1))
        seen: list[bool] = []
        for name in ("charge", "refund"):
            call = getattr(till.gateway, name)

            async def watched(*args: Any, call: Any = call, **options: Any) -> GatewayResult:
                seen.append(in_transaction())
                result: GatewayResult = await call(*args, **options)
                return result

            monkeypatch.setattr(till.gateway, name, watched)

        done = await till.checkout(shopper)
        await CancellationService.cancel_order(
            done.order.id,
            access=OrderAccess(shopper.viewer),
            gateways=till.gateways,
            listener=OrderSettlement(till.settings),
            settings=till.settings,
        )

        assert seen == [False, False]
