"""The state machine, edge by edge, and what a step writes."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from models.database import Database, Session, run_transaction
from models.ecommerce.orders import Order, OrderStatus, OrderStatusHistory
from models.events import Event, EventType
from services.ecommerce.orders.administration import StatusDraft
from services.ecommerce.orders.transitions import (
    EDGES,
    GUEST_MOVER,
    SYSTEM_MOVER,
    Mover,
    OrderTransitionError,
    Party,
    check_step,
    move_order,
)
from tests.factories.checkout import stored_order
from tests.factories.orders import create_order

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CLERK = Mover(Party.STAFF, "user:clerk")

# Written out by hand from DESIGN 6: who may take which step.
ALLOWED = """
    pending confirmed system
    pending processing staff system
    pending cancelled customer staff system
    confirmed processing staff system
    confirmed cancelled customer staff system
    confirmed refunded system
    processing shipped staff system
    processing cancelled staff system
    processing refunded system
    shipped delivered staff system
    shipped refunded system
    delivered returned system
    delivered refunded system
    returned refunded system
"""
BY_STEP = {(words[0], words[1]): set(words[2:]) for line in ALLOWED.strip().splitlines() for words in [line.split()]}


class TestTable:
    @pytest.mark.parametrize("old", OrderStatus)
    @pytest.mark.parametrize("new", OrderStatus)
    def test_com_p2_every_pair_is_allowed_or_refused_as_designed(self, old: OrderStatus, new: OrderStatus) -> None:
        """COM-S21, COM-P2: nothing but the listed steps, and each only by those who may."""
        for mover in (GUEST_MOVER, CLERK, SYSTEM_MOVER):
            if mover.party.value in BY_STEP.get((old.value, new.value), set()):
                check_step(old, new, by=mover)
            else:
                with pytest.raises(OrderTransitionError):
                    check_step(old, new, by=mover)

    def test_com_s20_shipped_is_never_cancelled_and_ends_are_ends(self) -> None:
        """COM-S20: cancel not after shipped; cancelled and refunded lead nowhere."""
        leads_to = {old: {new for before, new in EDGES if before is old} for old in OrderStatus}

        assert OrderStatus.CANCELLED not in leads_to[OrderStatus.SHIPPED] | leads_to[OrderStatus.DELIVERED]
        assert leads_to[OrderStatus.CANCELLED] == leads_to[OrderStatus.REFUNDED] == set()

    @pytest.mark.parametrize("written", ["PROCESSING", "processing", "Processing"])
    def test_com_a1_status_is_read_in_any_case(self, written: str) -> None:
        assert StatusDraft(status=written).status is OrderStatus.PROCESSING

    @pytest.mark.parametrize("written", ["lost", "", 7, None])
    def test_com_s21_unknown_status_is_malformed(self, written: object) -> None:
        """COM-S21 TRAP: the source stored any text."""
        with pytest.raises(ValidationError):
            StatusDraft(status=written)


class TestMove:
    async def test_com_m8_history_and_event_are_written_with_the_step(self, database: Database) -> None:
        """COM-M8 TRAP, R16: no step without its history, one event for each."""
        order = await create_order(status=OrderStatus.CONFIRMED)

        async def work(session: Session) -> Order:
            return await move_order(order, OrderStatus.PROCESSING, by=SYSTEM_MOVER, session=session, now=NOW, reason="picked up")

        moved = await run_transaction(work)

        assert (moved.status, moved.revision) == (OrderStatus.PROCESSING, 2)
        [step] = [OrderStatusHistory.from_row(row) for row in await OrderStatusHistory.find_rows({})]
        assert (step.old_status, step.new_status) == (OrderStatus.CONFIRMED, OrderStatus.PROCESSING)
        assert (step.changed_at, step.changed_by, step.reason) == (NOW, "system", "picked up")
        [event] = [Event.from_row(row) for row in await Event.find_rows({})]
        assert (event.type, event.subject) == (EventType.ORDER_PROCESSING, f"order:{order.id}")
        assert event.payload["number"] == order.number

    async def test_what_is_refused_changes_nothing(self, database: Database) -> None:
        order = await create_order(status=OrderStatus.DELIVERED)

        async def work(session: Session) -> Order:
            return await move_order(order, OrderStatus.CANCELLED, by=CLERK, session=session, now=NOW)

        with pytest.raises(OrderTransitionError) as caught:
            await run_transaction(work)

        assert (caught.value.status, caught.value.wanted) == (OrderStatus.DELIVERED, OrderStatus.CANCELLED)
        assert (await stored_order(order.id)).row() == order.row()
        assert await OrderStatusHistory.find_rows({}) == await Event.find_rows({}) == []
