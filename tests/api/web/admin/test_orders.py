"""Orders: list, timeline, and what staff does with one."""

from typing import Any

import pytest

from models.audit import AuditEntry
from models.ecommerce.orders import Order, OrderStatus, OrderStatusHistory, PaymentStatus
from models.events import Event
from services.payments.gateways import Gateways
from tests.api.web.admin.conftest import Clerk
from tests.factories.orders import create_order, make_line
from tests.factories.payments import create_payment

LIST = "/admin/orders"


async def paid(**over: Any) -> Order:
    return await create_order(
        **{"status": OrderStatus.CONFIRMED, "payment_status": PaymentStatus.COMPLETED, "is_stock_taken": True, **over}
    )


async def status_of(order: Order) -> OrderStatus:
    row = await Order.find_row({"_id": order.id})
    assert row is not None
    return OrderStatus(row["status"])


async def steps(order: Order) -> list[tuple[str, str, str]]:
    rows = await OrderStatusHistory.find_rows({"order_id": order.id}, sort=[("_id", 1)])
    return [(row["new_status"], row["changed_by"], row["reason"]) for row in rows]


class TestList:
    async def test_newest_first_with_a_tab_for_every_status(self, manager: Clerk) -> None:
        first, second = await paid(), await create_order()

        page = await manager.page(LIST)

        assert page.index(second.number) < page.index(first.number)
        assert "$10.00" in page
        assert "2 orders, newest first" in page
        narrowed = await manager.page(f"{LIST}?status=confirmed")
        assert first.number in narrowed
        assert second.number not in narrowed

    @pytest.mark.parametrize("query", ["status=nonsense", "page=0x1", "page=-1", "page=99999"])
    async def test_what_cannot_be_asked_is_refused_with_a_page(self, manager: Clerk, query: str) -> None:
        answer = await manager.get(f"{LIST}?{query}")

        assert answer.status_code in (400, 422)
        assert answer.headers["content-type"].startswith("text/html")
        assert 'role="alert"' in answer.text

    @pytest.mark.parametrize("key", ["nonsense", "65f0c0ffee0ddba11ca7f00d"])
    async def test_an_order_that_is_not_there_is_404(self, manager: Clerk, key: str) -> None:
        assert (await manager.get(f"{LIST}/{key}")).status_code == 404


class TestDetail:
    async def test_lines_payments_and_timeline_are_there(self, manager: Clerk) -> None:
        order = await paid(lines=[make_line(name="Linen shirt", quantity=3)], email="jane@example.com")
        await create_payment(subject=f"order:{order.id}")
        await manager.send(f"{LIST}/{order.id}/process", reason="Rush")

        page = await manager.page(f"{LIST}/{order.id}")

        for part in ("Linen shirt", "$30.00", "$49.90", "jane@example.com", "Rush", f"/admin/users/{manager.user.id}"):
            assert part in page

    @pytest.mark.parametrize(
        ("status", "offered"),
        [
            (OrderStatus.PENDING, {"process", "cancel", "hold"}),
            (OrderStatus.CONFIRMED, {"process", "cancel", "hold"}),
            (OrderStatus.PROCESSING, {"ship", "cancel", "hold"}),
            (OrderStatus.SHIPPED, {"deliver"}),
            (OrderStatus.DELIVERED, set()),
            (OrderStatus.CANCELLED, set()),
        ],
    )
    async def test_only_what_staff_may_do_next_is_offered(self, manager: Clerk, status: OrderStatus, offered: set[str]) -> None:
        order = await create_order(status=status)

        page = await manager.page(f"{LIST}/{order.id}")

        moves = ("process", "ship", "deliver", "cancel", "hold", "release")
        assert {move for move in moves if f'action="{LIST}/{order.id}/{move}"' in page} == offered


class TestMove:
    async def test_from_confirmed_to_delivered_with_a_timeline_and_events(self, manager: Clerk) -> None:
        order = await paid()
        page = f"{LIST}/{order.id}"

        for move, fields in [
            ("process", {"reason": "Rush"}),
            ("ship", {"carrier": "DHL", "tracking_number": "JD0146"}),
            ("deliver", {}),
        ]:
            answer = await manager.send(f"{page}/{move}", **fields)
            assert (answer.status_code, answer.headers["location"]) == (303, f"{page}?done={move}")

        clerk = f"user:{manager.user.id}"
        assert await steps(order) == [("processing", clerk, "Rush"), ("shipped", clerk, ""), ("delivered", clerk, "")]
        events = [row["type"] for row in await Event.find_rows({"subject": f"order:{order.id}"}, sort=[("_id", 1)])]
        assert [name for name in events if name in ("order.processing", "order.shipped", "order.delivered")] == [
            "order.processing",
            "order.shipped",
            "order.delivered",
        ]
        shown = await manager.page(page)
        assert "DHL" in shown
        assert "JD0146" in shown

    async def test_a_step_that_is_not_its_turn_is_refused_and_noted_nowhere(self, manager: Clerk) -> None:
        order = await paid()

        answer = await manager.send(f"{LIST}/{order.id}/deliver")

        assert answer.status_code == 409
        assert 'role="alert"' in answer.text
        assert (await status_of(order), await steps(order)) == (OrderStatus.CONFIRMED, [])

    async def test_a_held_order_does_not_leave_until_it_is_released(self, manager: Clerk) -> None:
        order = await paid(status=OrderStatus.PROCESSING)
        page = f"{LIST}/{order.id}"
        await manager.send(f"{page}/hold", reason="Odd address")

        refused = await manager.send(f"{page}/ship")

        assert refused.status_code == 409
        assert "Odd address" in refused.text
        assert await status_of(order) is OrderStatus.PROCESSING
        noted = await AuditEntry.find_rows({"action": "order.held"})
        assert [(row["actor_id"], row["details"]) for row in noted] == [(manager.user.id, {"reason": "Odd address"})]
        assert (await manager.send(f"{page}/release")).status_code == 303
        assert (await manager.send(f"{page}/ship")).status_code == 303
        assert await status_of(order) is OrderStatus.SHIPPED

    async def test_a_hold_needs_a_reason(self, manager: Clerk) -> None:
        order = await paid()

        answer = await manager.send(f"{LIST}/{order.id}/hold", reason="  ")

        assert answer.status_code == 422
        row = await Order.find_row({"_id": order.id})
        assert row is not None
        assert row["is_held"] is False

    async def test_cancel_takes_the_reason_along(self, manager: Clerk, gateway: Gateways) -> None:
        order = await create_order()

        answer = await manager.send(f"{LIST}/{order.id}/cancel", reason="Customer called")

        assert answer.status_code == 303
        assert await steps(order) == [("cancelled", f"user:{manager.user.id}", "Customer called")]
