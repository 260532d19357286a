"""Paying an order that waits for it, by its customer or by a guest."""

from datetime import timedelta

import pytest
from beanie import PydanticObjectId

from models.database import Database
from models.ecommerce.orders import Order, OrderStatus, PaymentStatus
from models.payments import Payment, PaymentState
from services.ecommerce.carts import CartHolder
from services.ecommerce.checkout.completion import CheckoutService, OrderNotPayableError, PaymentDeclinedError
from services.ecommerce.checkout.wishes import PaymentTerms
from services.ecommerce.orders.jobs import OrderJobService
from services.ecommerce.orders.reading import OrderAccess, OrderNotFoundError
from services.settings import Settings
from services.users.permissions import Viewer
from tests.books import all_of, differences
from tests.factories.carts import CART_TOKEN, create_cart
from tests.factories.checkout import TOKEN_DECLINED, TOKEN_PENDING, Shopper, Till, create_shopper, create_stocked, stored_order
from tests.factories.users import create_user, viewer_of
from tests.services.ecommerce.checkout.test_completion import NOW, resolve


@pytest.fixture
def till(settings: Settings, database: Database) -> Till:
    return Till(settings)


class TestPayOrder:
    async def _pending(self, till: Till, shopper: Shopper) -> PydanticObjectId:
        """An order that was not placed by a checkout."""
        done = await till.checkout(shopper, payment_token=TOKEN_PENDING)
        await Payment.collection().delete_many({})
        till.gateway.pending.clear()
        return done.order.id

    async def _pay(self, till: Till, order_id: PydanticObjectId, viewer: Viewer, *, key: str = "k", token: str = "tok_ok") -> str:
        order = await CheckoutService.pay_order(
            order_id,
            PaymentTerms(payment_token=token),
            access=OrderAccess(viewer),
            key=key,
            gateways=till.gateways,
            settings=till.settings,
        )
        return order.status.value

    async def test_declined_it_waits_on_and_can_be_paid_again(self, till: Till) -> None:
        tee = await create_stocked()
        shopper = await create_shopper((tee, 1))
        order_id = await self._pending(till, shopper)

        with pytest.raises(PaymentDeclinedError):
            await self._pay(till, order_id, shopper.viewer, key="a", token=TOKEN_DECLINED)
        order = await stored_order(order_id)
        assert (order.status, order.payment_status) == (OrderStatus.PENDING, PaymentStatus.FAILED)

        assert await self._pay(till, order_id, shopper.viewer, key="b") == "confirmed"
        assert await self._pay(till, order_id, shopper.viewer, key="b") == "confirmed"
        with pytest.raises(OrderNotPayableError):
            await self._pay(till, order_id, shopper.viewer, key="c")
        assert len(till.gateway.charged) == 1
        assert await differences(till.gateway) == []

    async def test_not_while_another_payment_is_under_way(self, till: Till) -> None:
        tee = await create_stocked()
        shopper = await create_shopper((tee, 1))
        order_id = await self._pending(till, shopper)
        assert await self._pay(till, order_id, shopper.viewer, key="a", token=TOKEN_PENDING) == "pending"

        with pytest.raises(OrderNotPayableError):
            await self._pay(till, order_id, shopper.viewer, key="b")

        assert till.gateway.charged == {}

    async def test_not_when_it_is_too_late_or_foreign(self, till: Till) -> None:
        tee = await create_stocked()
        shopper = await create_shopper((tee, 1))
        order_id = await self._pending(till, shopper)
        with pytest.raises(OrderNotFoundError):
            await self._pay(till, order_id, viewer_of(await create_user()))
        await Order.change({"_id": order_id}, {"$set": {"expires_at": NOW - timedelta(days=1)}})

        with pytest.raises(OrderNotPayableError):
            await self._pay(till, order_id, shopper.viewer)

        assert till.gateway.calls == 1

    async def test_second_payment_that_succeeds_goes_back(self, till: Till) -> None:
        """However it came about, an order is paid once: what comes on top is refunded."""
        tee = await create_stocked()
        shopper = await create_shopper((tee, 1))
        done = await till.checkout(shopper, payment_token=TOKEN_PENDING)
        [first] = await all_of(Payment)
        await Payment.change({"_id": first.id}, {"$set": {"state": PaymentState.FAILED}})
        await self._pay(till, done.order.id, shopper.viewer, key="second")
        till.gateway.decide(first.key, accepted=True)
        await Payment.change({"_id": first.id}, {"$set": {"state": PaymentState.PROCESSING, "check_at": NOW}})

        await resolve(till)
        order = await stored_order(done.order.id)
        assert (order.status, order.is_owing) == (OrderStatus.CONFIRMED, True)
        await OrderJobService.settle_owed(gateways=till.gateways, settings=till.settings)

        order = await stored_order(done.order.id)
        assert (order.payment_status, order.is_owing) == (PaymentStatus.COMPLETED, False)
        assert till.gateway.kept == order.totals.total.amount
        assert await differences(till.gateway) == []


class TestGuestPays:
    async def test_guest_pays_a_pending_order_with_its_token_and_is_known_by_the_address(self, till: Till) -> None:
        """The fraud rules count a guest's attempts under one key, whichever request made them."""
        tee = await create_stocked()
        await create_cart((tee, 1))
        done = await till.checkout(CartHolder(None, CART_TOKEN), email="Jane@Example.com", payment_token=TOKEN_PENDING)
        [first] = await all_of(Payment)
        await Payment.change({"_id": first.id}, {"$set": {"state": PaymentState.FAILED}})

        paid = await CheckoutService.pay_order(
            done.order.id,
            PaymentTerms(payment_token="tok_ok"),
            access=OrderAccess(None, done.guest_token),
            key="again",
            gateways=till.gateways,
            settings=till.settings,
        )

        assert paid.status is OrderStatus.CONFIRMED
        assert len({payment.customer_key for payment in await all_of(Payment)}) == 1
        assert first.customer_key.startswith("email:")
