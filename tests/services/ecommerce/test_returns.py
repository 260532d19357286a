"""Returns: pieces and cents that come back, once, whatever else happens at the same time."""

import asyncio
from datetime import timedelta

import pytest
from beanie import PydanticObjectId
from hypothesis import given
from hypothesis import strategies as st

from models.base import now
from models.database import Database, run_transaction
from models.ecommerce.catalog import Product
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order, OrderStatus, PaymentStatus
from models.ecommerce.returns import Disposition, ReturnReason, ReturnRequest, ReturnStatus, StaffReturn
from models.inventory.stock import MovementKind, StockLevel, StockMovement
from models.money import Money
from models.users import Role
from services.ecommerce.orders.fulfilment import FulfilmentDraft, deliver_order, send_parcel
from services.ecommerce.orders.reading import OrderAccess, OrderNotFoundError
from services.ecommerce.orders.settlement import OrderSettlement
from services.ecommerce.orders.transitions import SYSTEM_MOVER, move_order
from services.ecommerce.returns.desk import ReturnDeskService
from services.ecommerce.returns.moves import (
    NothingToRefundError,
    NotReturnableError,
    ReturnNotFoundError,
    ReturnTooLargeError,
    ReturnTransitionError,
)
from services.ecommerce.returns.pieces import ReceivedPart, ReturnPart, paid_for
from services.ecommerce.returns.refunds import RETURN_CONSUMER, ReturnRefundService
from services.ecommerce.returns.requests import ReturnService
from services.errors import AppError, PermissionDeniedError
from services.events import EventService
from services.payments.refunds import RefundService
from services.settings import Settings
from services.users.permissions import Viewer
from tests.factories.checkout import Shopper, Till, create_shopper, create_stocked, stored_order
from tests.factories.orders import make_line, usd
from tests.factories.users import create_user, viewer_of


@pytest.fixture
def till(settings: Settings, database: Database) -> Till:
    return Till(settings)


@pytest.fixture
async def staff(database: Database) -> Viewer:
    return viewer_of(await create_user(role=Role.MANAGER))


@pytest.fixture
async def product(database: Database) -> Product:
    return await create_stocked(10, "20.00")


async def delivered(till: Till, shopper: Shopper, *, delivered_days_ago: int = 1) -> Order:
    """What the shopper has in their cart, bought, sent and delivered."""
    order = await stored_order((await till.checkout(shopper)).order.id)
    moment = now() - timedelta(days=delivered_days_ago)

    async def bring(session: object) -> Order:
        current = await stored_order(order.id)
        packed = await move_order(current, OrderStatus.PROCESSING, by=SYSTEM_MOVER, session=session, now=moment)
        sent = await send_parcel(packed, FulfilmentDraft(), by=SYSTEM_MOVER, session=session, now=moment)
        return await deliver_order(sent, by=SYSTEM_MOVER, session=session, now=moment)

    return await run_transaction(bring)


async def bought(till: Till, product: Product, quantity: int = 3) -> tuple[Shopper, Order]:
    shopper = await create_shopper((product, quantity))
    return shopper, await delivered(till, shopper)


def part(order: Order, quantity: int = 1) -> ReturnPart:
    return ReturnPart(line_id=order.lines[0].id, quantity=quantity, reason=ReturnReason.DOES_NOT_FIT)


async def approved(till: Till, shopper: Shopper, order: Order, staff: Viewer, quantity: int = 1) -> StaffReturn:
    request = await ReturnService.request(
        order.id, [part(order, quantity)], access=OrderAccess(shopper.viewer), settings=till.settings
    )
    return await ReturnDeskService.approve(request.id, viewer=staff)


async def received(
    till: Till, shopper: Shopper, order: Order, staff: Viewer, quantity: int = 1, to: Disposition = Disposition.RESTOCK
) -> StaffReturn:
    request = await approved(till, shopper, order, staff, quantity)
    arrived = ReceivedPart(line_id=order.lines[0].id, quantity=quantity, disposition=to)
    return await ReturnDeskService.receive(request.id, [arrived], viewer=staff)


async def refunded(till: Till, request: StaffReturn, staff: Viewer, amount: Money | None = None) -> StaffReturn:
    return await ReturnRefundService.refund(
        request.id,
        viewer=staff,
        gateways=till.gateways,
        listener=OrderSettlement(till.settings),
        settings=till.settings,
        amount=amount,
    )


async def on_hand(product: Product) -> int:
    rows = await StockLevel.find_rows({"product_id": product.id})
    for row in rows:
        ledger = await StockMovement.find_rows({"variant_id": row["variant_id"], "location_id": row["location_id"]})
        assert sum(movement["quantity"] for movement in ledger) == row["on_hand"]
    return sum(row["on_hand"] for row in rows)


class TestRequest:
    async def test_com_s25_pieces_a_return_speaks_of_cannot_be_asked_for_again(self, till: Till, product: Product) -> None:
        shopper, order = await bought(till, product)
        access = OrderAccess(shopper.viewer)

        request = await ReturnService.request(order.id, [part(order, 2)], access=access, settings=till.settings)
        with pytest.raises(ReturnTooLargeError) as refused:
            await ReturnService.request(order.id, [part(order, 2)], access=access, settings=till.settings)

        assert (request.status, request.refund, request.refund_id) == (ReturnStatus.REQUESTED, None, None)
        assert (refused.value.wanted, refused.value.left) == (2, 1)
        assert len(await ReturnRequest.find_rows({})) == 1
        assert await on_hand(product) == 7

    async def test_com_s25_twenty_at_once_speak_of_three_pieces_at_most(self, till: Till, product: Product) -> None:
        shopper, order = await bought(till, product)
        access = OrderAccess(shopper.viewer)

        results = await asyncio.gather(
            *(ReturnService.request(order.id, [part(order)], access=access, settings=till.settings) for _ in range(20)),
            return_exceptions=True,
        )

        assert sum(not isinstance(result, BaseException) for result in results) == 3
        assert {type(result) for result in results if isinstance(result, BaseException)} == {ReturnTooLargeError}
        assert (await stored_order(order.id)).lines[0].returning_quantity == 3

    async def test_window_ends_thirty_days_after_delivery(self, till: Till, product: Product) -> None:
        shopper = await create_shopper((product, 1))
        order = await delivered(till, shopper, delivered_days_ago=10)
        access, day = OrderAccess(shopper.viewer), timedelta(days=1)
        assert order.delivered_at is not None

        with pytest.raises(NotReturnableError):
            await ReturnService.request(
                order.id, [part(order)], access=access, settings=till.settings, now=order.delivered_at + 30 * day + day / 86_400
            )
        await ReturnService.request(
            order.id, [part(order)], access=access, settings=till.settings, now=order.delivered_at + 30 * day
        )

    async def test_what_was_not_delivered_or_is_foreign_or_digital_cannot(self, till: Till, product: Product) -> None:
        shopper = await create_shopper((product, 1))
        paid = await stored_order((await till.checkout(shopper)).order.id)
        digital_shopper = await create_shopper((await create_stocked(3, is_digital=True), 1))
        digital = await delivered(till, digital_shopper)

        with pytest.raises(NotReturnableError):
            await ReturnService.request(paid.id, [part(paid)], access=OrderAccess(shopper.viewer), settings=till.settings)
        with pytest.raises(NotReturnableError):
            await ReturnService.request(
                digital.id, [part(digital)], access=OrderAccess(digital_shopper.viewer), settings=till.settings
            )
        for access in (OrderAccess(digital_shopper.viewer), OrderAccess(None)):
            with pytest.raises(OrderNotFoundError):
                await ReturnService.request(paid.id, [part(paid)], access=access, settings=till.settings)
        assert await ReturnRequest.find_rows({}) == []


class TestDecisions:
    async def test_rejected_and_cancelled_ones_let_their_pieces_go(self, till: Till, product: Product, staff: Viewer) -> None:
        shopper, order = await bought(till, product)
        access = OrderAccess(shopper.viewer)
        first = await ReturnService.request(order.id, [part(order, 3)], access=access, settings=till.settings)

        await ReturnDeskService.reject(first.id, viewer=staff, staff_notes="Worn.")
        second = await ReturnService.request(order.id, [part(order, 3)], access=access, settings=till.settings)
        await ReturnService.cancel(second.id, access=access)
        await ReturnService.cancel(second.id, access=access)

        assert (await stored_order(order.id)).lines[0].returning_quantity == 0
        with pytest.raises(ReturnTransitionError):
            await ReturnDeskService.approve(first.id, viewer=staff)
        seen = await ReturnService.get_return(first.id, access=access)
        assert "staff_notes" not in seen.model_dump()

    async def test_strangers_find_nothing_and_customers_decide_nothing(self, till: Till, product: Product, staff: Viewer) -> None:
        shopper, order = await bought(till, product)
        request = await ReturnService.request(order.id, [part(order)], access=OrderAccess(shopper.viewer), settings=till.settings)
        stranger = viewer_of(await create_user())

        for act in (ReturnService.get_return, ReturnService.cancel):
            with pytest.raises(ReturnNotFoundError):
                await act(request.id, access=OrderAccess(stranger))
        for decide in (ReturnDeskService.approve, ReturnDeskService.reject):
            with pytest.raises(PermissionDeniedError):
                await decide(request.id, viewer=shopper.viewer)
        assert (await ReturnDeskService.get_staff_return(request.id, viewer=staff)).status is ReturnStatus.REQUESTED


class TestReceive:
    async def test_com_s25_one_of_three_comes_back_to_the_shelf_and_is_paid_back(
        self, till: Till, product: Product, staff: Viewer
    ) -> None:
        """3 x 20.00 + 10 % tax + 10.00 shipping = 76.00 paid; one piece was paid with 22.00."""
        shopper, order = await bought(till, product)
        assert order.totals.total == usd(7600)

        request = await received(till, shopper, order, staff)
        assert (request.status, request.refund) == (ReturnStatus.RECEIVED, usd(2200))
        assert await on_hand(product) == 8
        back = await refunded(till, request, staff)

        assert back.status is ReturnStatus.REFUNDED
        stored = await stored_order(order.id)
        assert (stored.status, stored.payment_status) == (OrderStatus.DELIVERED, PaymentStatus.PARTIALLY_REFUNDED)
        assert stored.refunded == usd(2200)
        assert (stored.lines[0].returned_quantity, stored.lines[0].returning_quantity) == (1, 1)
        assert till.gateway.kept == 5400
        row = await Customer.find_row({"_id": shopper.customer.id})
        assert row is not None
        assert (row["spent"]["amount"], row["orders_count"]) == (5400, 1)
        sold = await Product.find_row({"_id": product.id}, {"sales_count": 1})
        assert sold is not None
        assert sold["sales_count"] == 2

    async def test_written_off_pieces_do_not_enter_the_stock(self, till: Till, product: Product, staff: Viewer) -> None:
        shopper, order = await bought(till, product)

        request = await received(till, shopper, order, staff, 2, Disposition.WRITE_OFF)

        assert (await on_hand(product), request.refund) == (7, usd(4400))
        assert await StockMovement.find_rows({"kind": MovementKind.RETURN}) == []

    async def test_everything_back_returns_the_order(self, till: Till, product: Product, staff: Viewer) -> None:
        shopper, order = await bought(till, product)
        for quantity in (1, 2):
            await refunded(till, await received(till, shopper, order, staff, quantity), staff)

        stored = await stored_order(order.id)
        assert (stored.status, stored.refunded, await on_hand(product)) == (OrderStatus.RETURNED, usd(6600), 10)

    async def test_what_did_not_arrive_may_be_asked_for_again(self, till: Till, product: Product, staff: Viewer) -> None:
        shopper, order = await bought(till, product)
        request = await approved(till, shopper, order, staff, 3)
        arrived = ReceivedPart(line_id=order.lines[0].id, quantity=1, disposition=Disposition.RESTOCK)

        await ReturnDeskService.receive(request.id, [arrived], viewer=staff)

        line = (await stored_order(order.id)).lines[0]
        assert (line.returned_quantity, line.returning_quantity) == (1, 1)

    async def test_twenty_at_once_receive_once(self, till: Till, product: Product, staff: Viewer) -> None:
        shopper, order = await bought(till, product)
        request = await approved(till, shopper, order, staff, 2)
        arrived = ReceivedPart(line_id=order.lines[0].id, quantity=2, disposition=Disposition.RESTOCK)

        results = await asyncio.gather(
            *(ReturnDeskService.receive(request.id, [arrived], viewer=staff) for _ in range(20)), return_exceptions=True
        )

        assert sum(not isinstance(result, BaseException) for result in results) == 1
        assert all(isinstance(result, ReturnTransitionError) for result in results if isinstance(result, BaseException))
        assert await on_hand(product) == 9

    async def test_more_than_was_spoken_of_is_refused(self, till: Till, product: Product, staff: Viewer) -> None:
        shopper, order = await bought(till, product)
        request = await approved(till, shopper, order, staff, 1)

        for line_id, quantity in ((order.lines[0].id, 2), (PydanticObjectId(), 1)):
            with pytest.raises(ReturnTooLargeError):
                await ReturnDeskService.receive(
                    request.id,
                    [ReceivedPart(line_id=line_id, quantity=quantity, disposition=Disposition.RESTOCK)],
                    viewer=staff,
                )

        assert await on_hand(product) == 7


class TestRefund:
    async def test_com_s25_ten_at_once_pay_back_once(self, till: Till, product: Product, staff: Viewer) -> None:
        shopper, order = await bought(till, product)
        request = await received(till, shopper, order, staff)

        results = await asyncio.gather(*(refunded(till, request, staff) for _ in range(10)), return_exceptions=True)

        assert [result for result in results if isinstance(result, BaseException) and not isinstance(result, AppError)] == []
        assert (till.gateway.kept, (await stored_order(order.id)).refunded) == (5400, usd(2200))

    async def test_less_may_be_paid_back_and_never_more(self, till: Till, product: Product, staff: Viewer) -> None:
        shopper, order = await bought(till, product)
        request = await received(till, shopper, order, staff)

        for amount in (usd(2201), usd(0), usd(-1), Money(amount=100, currency="EUR")):
            with pytest.raises(NothingToRefundError):
                await refunded(till, request, staff, amount)
        assert till.gateway.refunded == {}
        await refunded(till, request, staff, usd(1500))

        assert till.gateway.kept == 6100

    async def test_refused_refund_can_be_tried_again(self, till: Till, product: Product, staff: Viewer) -> None:
        shopper, order = await bought(till, product)
        request = await received(till, shopper, order, staff)
        till.gateway.refuses_refunds = True
        assert (await refunded(till, request, staff)).status is ReturnStatus.RECEIVED

        till.gateway.refuses_refunds = False
        again = await refunded(till, request, staff)

        assert (again.status, till.gateway.kept) == (ReturnStatus.REFUNDED, 5400)

    async def test_outcome_that_is_told_later_closes_the_return(self, till: Till, product: Product, staff: Viewer) -> None:
        shopper, order = await bought(till, product)
        request = await received(till, shopper, order, staff)
        till.gateway.is_away = True
        assert (await refunded(till, request, staff)).status is ReturnStatus.RECEIVED
        till.gateway.is_away = False

        minutes_later = now() + timedelta(minutes=10)
        listener = OrderSettlement(till.settings)
        for _ in range(3):  # asked about, found absent, sent again
            await RefundService.resolve_due(gateways=till.gateways, listener=listener, settings=till.settings, now=minutes_later)
            minutes_later += timedelta(minutes=10)
        assert till.gateway.kept == 5400
        while await EventService.pump([RETURN_CONSUMER]):
            pass

        assert (await ReturnDeskService.get_staff_return(request.id, viewer=staff)).status is ReturnStatus.REFUNDED

    async def test_before_the_pieces_are_here_nothing_is_paid_back(self, till: Till, product: Product, staff: Viewer) -> None:
        shopper, order = await bought(till, product)
        request = await approved(till, shopper, order, staff)

        with pytest.raises(ReturnTransitionError):
            await refunded(till, request, staff)

        assert till.gateway.refunded == {}


@given(total=st.integers(0, 10**6), quantity=st.integers(1, 50), data=st.data())
def test_com_s25_parts_of_a_line_add_up_to_its_total(total: int, quantity: int, data: st.DataObject) -> None:
    """However many returns the pieces come back in, and each part is within a cent of its share."""
    line = make_line(quantity=quantity, total=usd(total))
    back, paid = 0, 0
    while back < quantity:
        pieces = data.draw(st.integers(1, quantity - back))
        amount = paid_for(line.model_copy(update={"returned_quantity": back}), pieces).amount
        assert abs(amount * quantity - total * pieces) <= quantity
        back, paid = back + pieces, paid + amount

    assert paid == total
