"""What staff does with orders, what the jobs do, and how orders are read."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from beanie import PydanticObjectId

from models.audit import AuditEntry
from models.database import Database
from models.ecommerce.orders import Order, OrderStatus, PaymentMethod
from models.events import Event
from models.users import Role
from services.ecommerce.orders import jobs
from services.ecommerce.orders.administration import BulkStatusDraft, OrderAdministrationService, StatusDraft
from services.ecommerce.orders.export import OrderExportService
from services.ecommerce.orders.fulfilment import (
    FulfilmentDraft,
    FulfilmentPart,
    FulfilmentService,
    FulfilmentTooLargeError,
    OrderHeldError,
    TrackingChanges,
    TrackingLockedError,
)
from services.ecommerce.orders.jobs import OrderJobService
from services.ecommerce.orders.reading import OrderAccess, OrderService
from services.ecommerce.orders.transitions import OrderTransitionError, move_order
from services.errors import PermissionDeniedError
from services.pagination import PageRequest
from services.settings import Settings
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.checkout import Till, stored_order
from tests.factories.orders import create_order, make_line
from tests.factories.users import create_user, viewer_of

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def till(settings: Settings, database: Database) -> Till:
    return Till(settings)


@pytest.fixture
async def clerk(database: Database) -> Viewer:
    return viewer_of(await create_user(role=Role.MANAGER))


async def move(till: Till, order: Order, status: str, clerk: Viewer) -> OrderStatus:
    draft = StatusDraft(status=status, carrier="DHL", tracking_number="JD1")
    moved = await OrderAdministrationService.change_status(
        order.id, draft, viewer=clerk, gateways=till.gateways, settings=till.settings, now=NOW
    )
    return moved.status


class TestChangeStatus:
    async def test_com_s23_shipped_and_delivered_say_when_and_by_whom(self, till: Till, clerk: Viewer) -> None:
        order = await create_order(status=OrderStatus.CONFIRMED, lines=[make_line(quantity=2)])

        assert await move(till, order, "processing", clerk) is OrderStatus.PROCESSING
        assert await move(till, order, "SHIPPED", clerk) is OrderStatus.SHIPPED
        assert await move(till, order, "delivered", clerk) is OrderStatus.DELIVERED

        stored = await stored_order(order.id)
        assert stored.shipped_at == stored.delivered_at == NOW
        [parcel] = stored.fulfilments
        assert (parcel.carrier, parcel.tracking_number, parcel.shipped_at, parcel.delivered_at) == ("DHL", "JD1", NOW, NOW)
        assert stored.lines[0].fulfilled_quantity == 2
        read = await OrderService.get_order(order.id, access=OrderAccess(clerk))
        assert (read.tracking_number, read.shipping_carrier) == ("JD1", "DHL")

    @pytest.mark.parametrize(
        ("status", "wanted"),
        [("pending", "shipped"), ("pending", "processing"), ("confirmed", "delivered"), ("shipped", "processing")],
    )
    async def test_com_s21_jumps_are_refused(self, till: Till, clerk: Viewer, status: str, wanted: str) -> None:
        order = await create_order(status=status)

        with pytest.raises(OrderTransitionError):
            await move(till, order, wanted, clerk)

        assert (await stored_order(order.id)).row() == order.row()

    @pytest.mark.parametrize("wanted", ["confirmed", "returned", "refunded", "pending"])
    async def test_nobody_says_by_hand_that_money_came_or_went(self, till: Till, clerk: Viewer, wanted: str) -> None:
        for status in OrderStatus:
            order = await create_order(status=status)
            with pytest.raises(OrderTransitionError):
                await move(till, order, wanted, clerk)

    async def test_customers_may_not(self, till: Till) -> None:
        user = await create_user()
        order = await create_order(status=OrderStatus.CONFIRMED, user_id=user.id)

        with pytest.raises(PermissionDeniedError):
            await move(till, order, "processing", viewer_of(user))

    async def test_com_s24_one_bad_row_does_not_stop_the_rest(self, till: Till, clerk: Viewer) -> None:
        good, bad = await create_order(status=OrderStatus.CONFIRMED), await create_order(status=OrderStatus.DELIVERED)
        absent, last = PydanticObjectId(), await create_order(status=OrderStatus.CONFIRMED)
        draft = BulkStatusDraft(order_ids=[good.id, bad.id, absent, last.id, good.id], status="processing")

        for _ in range(2):  # a repeated request answers alike
            result = await OrderAdministrationService.change_statuses(
                draft, viewer=clerk, gateways=till.gateways, settings=till.settings
            )
            assert [(row.order_id, row.is_moved, row.status, row.code) for row in result.rows] == [
                (good.id, True, OrderStatus.PROCESSING, None),
                (bad.id, False, OrderStatus.DELIVERED, "order_transition"),
                (absent, False, None, "order_not_found"),
                (last.id, True, OrderStatus.PROCESSING, None),
            ]
            assert result.moved_count == 2


class TestFulfilment:
    async def test_parts_leave_until_nothing_is_left(self, till: Till, clerk: Viewer) -> None:
        tee, cup = make_line(quantity=3), make_line(quantity=1)
        order = await create_order(status=OrderStatus.PROCESSING, lines=[tee, cup])
        part = FulfilmentDraft(lines=[FulfilmentPart(line_id=tee.id, quantity=2)], carrier="UPS", tracking_number="1Z")

        first = await FulfilmentService.create_fulfilment(order.id, part, viewer=clerk, now=NOW)
        with pytest.raises(FulfilmentTooLargeError) as caught:
            await FulfilmentService.create_fulfilment(order.id, part, viewer=clerk, now=NOW)
        last = await FulfilmentService.create_fulfilment(order.id, FulfilmentDraft(), viewer=clerk, now=NOW)

        assert first.status is OrderStatus.PROCESSING
        assert (caught.value.wanted, caught.value.left) == (2, 1)
        assert last.status is OrderStatus.SHIPPED
        assert [[(line.line_id, line.quantity) for line in parcel.lines] for parcel in last.fulfilments] == [
            [(tee.id, 2)],
            [(tee.id, 1), (cup.id, 1)],
        ]
        tracking = await OrderService.get_tracking(order.id, access=OrderAccess(clerk))
        assert (tracking.pieces_count, tracking.shipped_count) == (4, 4)
        assert [row["type"] for row in await Event.find_rows({}, sort=[("_id", 1)])] == ["order.fulfilled", "order.shipped"]

        for parcel in last.fulfilments:
            arrived = await FulfilmentService.deliver_fulfilment(order.id, parcel.id, viewer=clerk, now=NOW)
        assert arrived.status is OrderStatus.DELIVERED
        again = await FulfilmentService.deliver_fulfilment(order.id, last.fulfilments[0].id, viewer=clerk)
        assert again == arrived

    async def test_com_s23_tracking_is_edited_on_the_way_only(self, till: Till, clerk: Viewer) -> None:
        order = await create_order(status=OrderStatus.PROCESSING, lines=[make_line(quantity=2)])
        part = FulfilmentDraft(lines=[FulfilmentPart(line_id=order.lines[0].id, quantity=1)], carrier="UPS")
        [parcel] = (await FulfilmentService.create_fulfilment(order.id, part, viewer=clerk)).fulfilments
        changes = TrackingChanges(tracking_number="1Z999")

        with pytest.raises(TrackingLockedError):
            await FulfilmentService.update_tracking(order.id, parcel.id, changes, viewer=clerk)
        await FulfilmentService.create_fulfilment(order.id, FulfilmentDraft(), viewer=clerk)
        edited = await FulfilmentService.update_tracking(order.id, parcel.id, changes, viewer=clerk)
        await move(till, order, "delivered", clerk)
        with pytest.raises(TrackingLockedError):
            await FulfilmentService.update_tracking(order.id, parcel.id, changes, viewer=clerk)

        assert (edited.fulfilments[0].carrier, edited.fulfilments[0].tracking_number) == ("UPS", "1Z999")

    async def test_s19_held_order_does_not_leave_and_its_release_is_audited(self, till: Till, clerk: Viewer) -> None:
        order = await create_order(status=OrderStatus.PROCESSING)
        await OrderAdministrationService.hold(order.id, "looks odd", viewer=clerk)

        with pytest.raises(OrderHeldError):
            await FulfilmentService.create_fulfilment(order.id, FulfilmentDraft(), viewer=clerk)
        with pytest.raises(OrderHeldError):
            await move(till, order, "shipped", clerk)
        released = await OrderAdministrationService.release(order.id, viewer=clerk)
        await OrderAdministrationService.release(order.id, viewer=clerk)

        assert (released.is_held, released.hold_reason) == (False, "")
        assert [row["action"] for row in await AuditEntry.find_rows({}, sort=[("_id", 1)])] == ["order.held", "order.released"]
        assert await move(till, order, "shipped", clerk) is OrderStatus.SHIPPED


class TestJobs:
    async def test_com_s26_picks_up_what_may_be_packed_once(self, till: Till) -> None:
        """COM-S26, COM-P5, N-05: confirmed orders and promises; not the unpaid, not the held; running again moves nothing."""
        ready = await create_order(status=OrderStatus.CONFIRMED)
        promised = await create_order(payment_method=PaymentMethod.INVOICE, payment_id=PydanticObjectId())
        others = [
            await create_order(),
            await create_order(payment_method=PaymentMethod.INVOICE),
            await create_order(status=OrderStatus.CONFIRMED, is_held=True),
            await create_order(status=OrderStatus.CANCELLED),
        ]

        assert await OrderJobService.process_due() == 2
        assert await OrderJobService.process_due() == 0

        for order in (ready, promised):
            assert (await stored_order(order.id)).status is OrderStatus.PROCESSING
            [step] = await OrderService.get_history(order.id, access=OrderAccess(await self._clerk()))
            assert step.changed_by == "system"
        for order in others:
            assert (await stored_order(order.id)).row() == order.row()

    async def _clerk(self) -> Viewer:
        return viewer_of(await create_user(role=Role.MANAGER))

    async def test_com_s26_one_bad_order_does_not_stop_the_rest(self, till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
        orders = [await create_order(status=OrderStatus.CONFIRMED) for _ in range(3)]

        async def stumble(order: Order, *args: object, **options: object) -> Order:
            if order.id == orders[1].id:
                raise ValueError("a bad order")
            return await move_order(order, *args, **options)  # type: ignore[arg-type]  # whatever the job passes

        monkeypatch.setattr(jobs, "move_order", stumble)

        assert await OrderJobService.process_due() == 2

        assert [(await stored_order(order.id)).status.value for order in orders] == ["processing", "confirmed", "processing"]

    async def test_r14_expires_at_its_time_and_not_before(self, till: Till) -> None:
        order = await create_order(expires_at=NOW)
        later = await create_order(expires_at=NOW + timedelta(milliseconds=1))

        assert await OrderJobService.expire_due(now=NOW) == 1

        assert (await stored_order(order.id)).status is OrderStatus.CANCELLED
        assert (await stored_order(later.id)).status is OrderStatus.PENDING


class TestReading:
    async def test_com_s24_own_orders_newest_first_in_two_commands(self, till: Till, commands: CommandLog) -> None:
        user = await create_user()
        mine = [await create_order(user_id=user.id) for _ in range(3)]
        await create_order(user_id=PydanticObjectId())

        with commands.counting() as sent:
            page = await OrderService.list_orders(PageRequest(1, 2), viewer=viewer_of(user))

        assert [item.id for item in page.items] == [mine[2].id, mine[1].id]
        assert (page.total_count, page.total_pages) == (3, 2)
        assert len(sent) == 2, sent.sent
        [read] = sent.reads
        assert (read.filter, read.sort) == ({"user_id": user.id}, [("_id", -1)])

    async def test_list_by_status_and_customer(self, till: Till, clerk: Viewer) -> None:
        customer_id = PydanticObjectId()
        wanted = await create_order(status=OrderStatus.SHIPPED, customer_id=customer_id)
        await create_order(status=OrderStatus.SHIPPED)
        await create_order(customer_id=customer_id)

        page = await OrderService.list_orders(PageRequest(), viewer=clerk, status=OrderStatus.SHIPPED, customer_id=customer_id)
        foreign = await OrderService.list_orders(PageRequest(), viewer=viewer_of(await create_user()), customer_id=customer_id)

        assert [item.id for item in page.items] == [wanted.id]
        assert foreign.items == []

    async def test_own_list_is_narrowed_by_a_customer_and_never_widened(self, till: Till, commands: CommandLog) -> None:
        user, customer_id = await create_user(), PydanticObjectId()
        mine = [await create_order(user_id=user.id, customer_id=customer_id) for _ in range(3)]
        shipped = await create_order(user_id=user.id, customer_id=customer_id, status=OrderStatus.SHIPPED)
        await create_order(user_id=user.id)
        await create_order(customer_id=customer_id)

        with commands.counting() as sent:
            page = await OrderService.list_orders(PageRequest(2, 2), viewer=viewer_of(user), customer_id=customer_id)
        by_status = await OrderService.list_orders(
            PageRequest(), viewer=viewer_of(user), customer_id=customer_id, status=OrderStatus.SHIPPED
        )
        none = await OrderService.list_orders(PageRequest(), viewer=viewer_of(user), customer_id=PydanticObjectId())

        assert len(sent) == 2
        assert ([item.id for item in page.items], page.total_count) == ([mine[1].id, mine[0].id], 4)
        assert ([item.id for item in by_status.items], by_status.total_count) == ([shipped.id], 1)
        assert (none.items, none.total_count) == ([], 0)

    async def test_customers_are_not_shown_what_staff_notes(self, till: Till, clerk: Viewer) -> None:
        user = await create_user()
        order = await create_order(user_id=user.id, guest_token_hash="a-hash")
        await OrderAdministrationService.update_notes(order.id, "canary-note", viewer=clerk)

        shown = (await OrderService.get_order(order.id, access=OrderAccess(viewer_of(user)))).model_dump_json()

        assert "canary-note" not in shown
        assert "a-hash" not in shown
        assert (await OrderService.get_staff_order(order.id, viewer=clerk)).admin_notes == "canary-note"

    async def test_export_is_a_table_read_by_key(self, till: Till, clerk: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("services.ecommerce.orders.export.BATCH", 2)
        orders = [await create_order(lines=[make_line(quantity=3, price=333)]) for _ in range(5)]

        text = "".join([chunk async for chunk in OrderExportService.export(viewer=clerk)])

        rows = list(csv.DictReader(io.StringIO(text)))
        assert [row["number"] for row in rows] == [order.number for order in orders]
        assert (rows[0]["subtotal"], rows[0]["total"], rows[0]["refunded"], rows[0]["currency"]) == (
            "9.99",
            "9.99",
            "0.00",
            "USD",
        )
        with pytest.raises(PermissionDeniedError):
            OrderExportService.export(viewer=viewer_of(await create_user()))
