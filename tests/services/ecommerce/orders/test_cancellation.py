"""Cancelling: who may until when, what comes back, and that it happens once."""

from datetime import UTC, datetime, timedelta

import pytest
from beanie import PydanticObjectId

from models.database import Database, Session, run_transaction
from models.ecommerce.coupons import Coupon
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order, OrderRead, OrderStatus, OrderStatusHistory, PaymentMethod, PaymentStatus
from models.inventory.stock import StockLevel
from models.payments import Payment, PaymentState, Refund
from models.users import Role
from services.ecommerce.carts import CartHolder
from services.ecommerce.orders.administration import OrderAdministrationService, StatusDraft
from services.ecommerce.orders.cancellation import CancellationService
from services.ecommerce.orders.fulfilment import FulfilmentDraft, FulfilmentPart, FulfilmentService
from services.ecommerce.orders.jobs import OrderJobService
from services.ecommerce.orders.reading import OrderAccess, OrderNotFoundError
from services.ecommerce.orders.settlement import OrderSettlement
from services.ecommerce.orders.transitions import OrderTransitionError
from services.payments.refunds import RefundService
from services.settings import Settings
from services.users.permissions import Viewer
from tests.books import all_of, differences
from tests.factories.carts import CART_TOKEN, create_cart
from tests.factories.checkout import TOKEN_PENDING, Till, create_shopper, create_stocked, stored_order
from tests.factories.pricing import create_coupon, percent_off
from tests.factories.users import create_user, viewer_of

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def till(settings: Settings, database: Database) -> Till:
    return Till(settings)


async def a_clerk() -> Viewer:
    return viewer_of(await create_user(role=Role.MANAGER))


async def cancel(till: Till, order_id: PydanticObjectId, access: OrderAccess) -> OrderRead:
    return await CancellationService.cancel_order(
        order_id,
        access=access,
        gateways=till.gateways,
        listener=OrderSettlement(till.settings),
        settings=till.settings,
        reason="changed my mind",
    )


async def move(till: Till, order_id: PydanticObjectId, status: str, clerk: Viewer) -> None:
    await OrderAdministrationService.change_status(
        order_id, StatusDraft(status=status), viewer=clerk, gateways=till.gateways, settings=till.settings
    )


class TestCustomer:
    async def test_com_s22_everything_comes_back_once(self, till: Till) -> None:
        """COM-S22, COM-S18: stock, coupon, statistics, points, sales and money; cancelling again changes nothing."""
        tee = await create_stocked(5)
        await create_coupon(code="SAVE10", rule=percent_off(1000), usage_limit=1)
        shopper = await create_shopper()
        await create_cart((tee, 2), user=shopper.user, coupon_codes=["SAVE10"])
        done = await till.checkout(shopper)
        assert (await all_of(Coupon))[0].usage_count == 1

        first = await cancel(till, done.order.id, OrderAccess(shopper.viewer))
        second = await cancel(till, done.order.id, OrderAccess(shopper.viewer))

        assert (first.status, first.payment_status) == (OrderStatus.CANCELLED, PaymentStatus.REFUNDED)
        assert second == first
        assert first.cancelled_at is not None
        [level] = await all_of(StockLevel)
        assert (level.on_hand, level.available) == (5, 5)
        assert (await all_of(Coupon))[0].usage_count == 0
        [customer] = await all_of(Customer)
        assert (customer.orders_count, customer.spent.amount, customer.points_balance) == (0, 0, 0)
        assert len(await all_of(Refund)) == 1
        assert till.gateway.kept == 0
        assert len(await OrderStatusHistory.find_rows({"order_id": done.order.id})) == 3
        assert await differences(till.gateway) == []

    async def test_com_p3_not_once_the_job_has_picked_it_up(self, till: Till) -> None:
        tee = await create_stocked(5)
        shopper = await create_shopper((tee, 1))
        done = await till.checkout(shopper)
        await OrderJobService.process_due()

        with pytest.raises(OrderTransitionError):
            await cancel(till, done.order.id, OrderAccess(shopper.viewer))

        assert (await stored_order(done.order.id)).status is OrderStatus.PROCESSING
        assert await differences(till.gateway) == []

    async def test_nobody_else_may_and_learns_nothing(self, till: Till) -> None:
        tee = await create_stocked(5)
        done = await till.checkout(await create_shopper((tee, 1)))
        for access in (OrderAccess(viewer_of(await create_user())), OrderAccess(None), OrderAccess(None, "x" * 60)):
            with pytest.raises(OrderNotFoundError):
                await cancel(till, done.order.id, access)

        assert (await stored_order(done.order.id)).status is OrderStatus.CONFIRMED

    async def test_guest_cancels_with_the_token(self, till: Till) -> None:
        tee = await create_stocked(5)
        await create_cart((tee, 1))
        done = await till.checkout(CartHolder(None, CART_TOKEN), email="jane@example.com")

        cancelled = await cancel(till, done.order.id, OrderAccess(None, done.guest_token))

        assert cancelled.status is OrderStatus.CANCELLED
        assert (await OrderStatusHistory.find_rows({"new_status": "cancelled"}))[0]["changed_by"] == "guest"
        assert await differences(till.gateway) == []

    async def test_pending_payment_that_was_not_sent_is_given_up(self, till: Till) -> None:
        tee = await create_stocked(5)
        shopper = await create_shopper((tee, 1))
        done = await till.checkout(shopper, payment_token=TOKEN_PENDING)
        await Payment.change({}, {"$set": {"state": PaymentState.CREATED, "asked_at": None}})

        await cancel(till, done.order.id, OrderAccess(shopper.viewer))

        assert (await all_of(Payment))[0].state is PaymentState.VOIDED
        assert (await stored_order(done.order.id)).is_owing is False
        assert await differences() == []

    async def test_promise_to_pay_later_is_let_go(self, till: Till) -> None:
        tee = await create_stocked(5)
        shopper = await create_shopper((tee, 1))
        done = await till.checkout(shopper, payment_method=PaymentMethod.INVOICE)

        cancelled = await cancel(till, done.order.id, OrderAccess(shopper.viewer))

        assert cancelled.payment_status is PaymentStatus.VOIDED
        assert (await all_of(Payment))[0].state is PaymentState.VOIDED
        assert (await stored_order(done.order.id)).is_owing is False
        assert await differences(till.gateway) == []


class TestStaff:
    async def test_until_a_piece_has_left(self, till: Till) -> None:
        tee = await create_stocked(5)
        clerk = await a_clerk()
        packed = (await till.checkout(await create_shopper((tee, 1)))).order
        partly = (await till.checkout(await create_shopper((tee, 2)))).order
        for order in (packed, partly):
            await move(till, order.id, "PROCESSING", clerk)
        part = FulfilmentPart(line_id=partly.lines[0].id, quantity=1)
        await FulfilmentService.create_fulfilment(partly.id, FulfilmentDraft(lines=[part]), viewer=clerk)

        assert (await cancel(till, packed.id, OrderAccess(clerk))).status is OrderStatus.CANCELLED
        with pytest.raises(OrderTransitionError):
            await cancel(till, partly.id, OrderAccess(clerk))

        assert (await stored_order(partly.id)).status is OrderStatus.PROCESSING
        assert await differences(till.gateway) == []

    async def test_refund_is_tried_until_it_is_done(self, till: Till) -> None:
        """A gateway that is away keeps no order from being cancelled, and no money for ever."""
        tee = await create_stocked(5)
        done = await till.checkout(await create_shopper((tee, 1)))
        till.gateway.is_away = True

        await cancel(till, done.order.id, OrderAccess(await a_clerk()))

        order = await stored_order(done.order.id)
        assert (order.status, order.is_owing) == (OrderStatus.CANCELLED, True)
        assert await OrderJobService.settle_owed(gateways=till.gateways, settings=till.settings) == 0
        till.gateway.is_away = False
        later = datetime.now(UTC) + timedelta(minutes=5)
        for _ in range(2):
            await OrderJobService.settle_owed(gateways=till.gateways, settings=till.settings, now=later)
        order = await stored_order(done.order.id)
        assert (order.payment_status, order.is_owing) == (PaymentStatus.REFUNDED, False)
        assert len(till.gateway.refunded) == 1
        assert await differences(till.gateway) == []

    async def test_refund_that_is_refused_is_requested_anew(self, till: Till) -> None:
        tee = await create_stocked(5)
        done = await till.checkout(await create_shopper((tee, 1)))
        till.gateway.refuses_refunds = True
        await cancel(till, done.order.id, OrderAccess(await a_clerk()))
        for _ in range(8):
            assert await OrderJobService.settle_owed(gateways=till.gateways, settings=till.settings) == 0
        assert len(await all_of(Refund)) == 5, "then a person has to look"
        till.gateway.refuses_refunds = False
        await Refund.collection().delete_many({})

        assert await OrderJobService.settle_owed(gateways=till.gateways, settings=till.settings) == 1

        assert till.gateway.kept == 0


class TestRefundByStaff:
    async def _refund(self, till: Till, order: Order, amount: int) -> None:
        async def request(session: Session) -> Refund:
            money = order.totals.total.model_copy(update={"amount": amount})
            assert order.payment_id is not None
            return await RefundService.request(
                session, payment_id=order.payment_id, amount=money, reason="goodwill", key=f"r{amount}"
            )

        from_database = await run_transaction(request)
        await RefundService.execute(
            from_database.id, gateways=till.gateways, listener=OrderSettlement(till.settings), settings=till.settings
        )

    async def test_part_is_told_and_whole_ends_the_order(self, till: Till) -> None:
        """COM-S18: statistics follow the money; what did not leave goes back on the shelf when everything is paid back."""
        tee = await create_stocked(5)
        done = await till.checkout(await create_shopper((tee, 1)))
        order = await stored_order(done.order.id)
        assert order.totals.total.amount == 3200

        await self._refund(till, order, 1200)
        part = await stored_order(order.id)
        assert (part.status, part.payment_status, part.refunded.amount) == (
            OrderStatus.CONFIRMED,
            PaymentStatus.PARTIALLY_REFUNDED,
            1200,
        )
        [customer] = await all_of(Customer)
        assert (customer.orders_count, customer.spent.amount, customer.points_balance) == (1, 2000, 20)
        assert await differences(till.gateway) == []

        await self._refund(till, order, 2000)
        whole = await stored_order(order.id)
        assert (whole.status, whole.payment_status) == (OrderStatus.REFUNDED, PaymentStatus.REFUNDED)
        [customer] = await all_of(Customer)
        assert (customer.orders_count, customer.spent.amount, customer.points_balance) == (0, 0, 0)
        [level] = await all_of(StockLevel)
        assert level.available == 5
        assert await differences(till.gateway) == []
