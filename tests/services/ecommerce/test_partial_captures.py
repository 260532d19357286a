"""Orders of which less was taken than they cost: the books agree at every step, and a customer has spent what was taken."""

from dataclasses import dataclass

import pytest
from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.ecommerce.customers import Customer
from models.ecommerce.orders import OrderStatus, PaymentMethod, PaymentStatus
from models.money import Money
from models.payments import Payment, PaymentState, Refund
from services.drift import Drift
from services.ecommerce.orders.cancellation import CancellationService
from services.ecommerce.orders.reading import OrderAccess
from services.ecommerce.orders.settlement import OrderSettlement
from services.payments.operations import PaymentStateError
from services.payments.payments import PaymentService
from services.payments.refunds import RefundService
from services.reconcile import ReconcileService
from services.settings import Settings
from tests.factories.checkout import Shopper, Till, create_shopper, create_stocked, stored_order
from tests.factories.payments import usd

pytestmark = pytest.mark.usefixtures("database")


async def drift() -> list[Drift]:
    return [row async for row in ReconcileService.drift()]


async def statistics(shopper: Shopper) -> tuple[int, int, int]:
    """Orders, minor units spent, and points of the customer."""
    row = await Customer.find_row({"_id": shopper.customer.id})
    assert row is not None
    customer = Customer.from_row(row)
    return customer.orders_count, customer.spent.amount, customer.points_balance


@dataclass
class Bill:
    """An order on account for 100.00, and its payment, which waits for the money."""

    till: Till
    shopper: Shopper
    order_id: PydanticObjectId
    payment_id: PydanticObjectId

    async def capture(self, amount: Money, *, key: str = "c1") -> Payment:
        return await PaymentService.capture(
            self.payment_id,
            key=key,
            amount=amount,
            gateways=self.till.gateways,
            listener=OrderSettlement(self.till.settings),
            settings=self.till.settings,
        )

    async def refund(self, amount: Money, *, key: str) -> None:
        async def request(session: Session) -> Refund:
            return await RefundService.request(session, payment_id=self.payment_id, amount=amount, reason="A scratch", key=key)

        await RefundService.execute(
            (await run_transaction(request)).id,
            gateways=self.till.gateways,
            listener=OrderSettlement(self.till.settings),
            settings=self.till.settings,
        )


@pytest.fixture
async def bill(settings: Settings) -> Bill:
    till = Till(settings)
    shopper = await create_shopper((await create_stocked(3, "81.82"), 1))  # 8.18 of tax and 10.00 of shipping come on top
    done = await till.checkout(shopper, payment_method=PaymentMethod.INVOICE)
    assert done.order.totals.total == usd("100.00")
    [row] = await Payment.find_rows({"subject": f"order:{done.order.id}"})
    return Bill(till, shopper, done.order.id, row["_id"])


class TestPartialCapture:
    async def test_customer_spent_what_was_taken(self, bill: Bill) -> None:
        taken = await bill.capture(usd("60.00"))

        assert (taken.state, taken.captured, taken.refundable) == (PaymentState.CAPTURED, 6000, 6000)
        assert await statistics(bill.shopper) == (1, 6000, 60)
        assert await drift() == []

    async def test_the_rest_was_let_go_with_it(self, bill: Bill) -> None:
        await bill.capture(usd("60.00"))

        with pytest.raises(PaymentStateError):
            await bill.capture(usd("40.00"), key="c2")

        assert await statistics(bill.shopper) == (1, 6000, 60)
        assert await drift() == []

    async def test_refunds_come_off_what_was_taken(self, bill: Bill) -> None:
        await bill.capture(usd("60.00"))

        await bill.refund(usd("15.00"), key="r1")

        order = await stored_order(bill.order_id)
        assert (order.payment_status, order.refunded) == (PaymentStatus.PARTIALLY_REFUNDED, usd("15.00"))
        assert await statistics(bill.shopper) == (1, 4500, 45)
        assert await drift() == []

        await bill.refund(usd("45.00"), key="r2")

        order = await stored_order(bill.order_id)
        assert (order.status, order.payment_status) == (OrderStatus.REFUNDED, PaymentStatus.REFUNDED)
        assert await statistics(bill.shopper) == (0, 0, 0)
        assert await drift() == []

    async def test_cancelled_order_gives_back_what_was_taken(self, bill: Bill) -> None:
        await bill.capture(usd("60.00"))

        await CancellationService.cancel_order(
            bill.order_id,
            access=OrderAccess(bill.shopper.viewer),
            gateways=bill.till.gateways,
            listener=OrderSettlement(bill.till.settings),
            settings=bill.till.settings,
        )

        order = await stored_order(bill.order_id)
        assert (order.status, order.payment_status) == (OrderStatus.CANCELLED, PaymentStatus.REFUNDED)
        assert order.refunded == usd("60.00")
        assert await statistics(bill.shopper) == (0, 0, 0)
        assert await drift() == []
