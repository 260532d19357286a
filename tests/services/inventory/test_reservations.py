"""Promises of stock: all lines or none, each settled once, in the commands they may cost."""

from datetime import UTC, datetime, timedelta

import pytest

from models.database import Database, Session, run_transaction
from models.events import Event, EventType
from models.inventory.stock import MovementKind, Reservation, ReservationStatus, StockLevel, StockMovement
from services.inventory.reservations import (
    OutOfStockError,
    ReservationGoneError,
    ReservationService,
    RestockTooLargeError,
    Wanted,
)
from services.inventory.stock import StockService
from tests.commands import CommandLog
from tests.factories.inventory import a_variant, create_location, stock, wanted

pytestmark = pytest.mark.usefixtures("database")

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=30)


async def reserve(owner: str, *lines: Wanted, expires_at: datetime | None = LATER) -> Reservation:
    async def work(session: Session) -> Reservation:
        return await ReservationService.reserve(owner, lines, expires_at=expires_at, session=session, now=NOON)

    return await run_transaction(work)


async def commit(owner: str) -> Reservation:
    async def work(session: Session) -> Reservation:
        return await ReservationService.commit(owner, session=session, now=NOON)

    return await run_transaction(work)


async def release(owner: str) -> bool:
    async def work(session: Session) -> bool:
        return await ReservationService.release(owner, session=session, now=NOON)

    return await run_transaction(work)


async def sell(owner: str, *lines: Wanted) -> Reservation:
    async def work(session: Session) -> Reservation:
        return await ReservationService.sell(owner, lines, session=session, now=NOON)

    return await run_transaction(work)


async def amounts(level: StockLevel) -> tuple[int, int, int, int]:
    """on_hand, reserved, available and value, as they are stored."""
    row = await StockLevel.find_row({"_id": level.id})
    assert row is not None
    return row["on_hand"], row["reserved"], row["available"], row["stock_value"]["amount"]


class TestReserve:
    async def test_two_lines_take_two_commands(self, commands: CommandLog) -> None:
        mug, cup = await stock(a_variant(), 10, low_stock_threshold=0), await stock(a_variant(), 10, low_stock_threshold=0)
        await StockService.available([mug.variant_id])  # locations are known from here on

        with commands.counting() as sent:

            async def work(session: Session) -> None:
                lines = [wanted(mug, 2), wanted(cup, 3)]
                await ReservationService.reserve("order:1", lines, expires_at=LATER, session=session, now=NOON)

            await run_transaction(work)

        assert sent.sent == ["find stock_levels", "bulkWrite 1", "commitTransaction 1"]
        assert await amounts(mug) == (10, 2, 8, 1000)
        assert await amounts(cup) == (10, 3, 7, 1000)

    async def test_all_lines_or_none(self) -> None:
        mug, cup = await stock(a_variant(sku="MUG"), 10), await stock(a_variant(sku="CUP"), 1)

        with pytest.raises(OutOfStockError) as refused:
            await reserve("order:1", wanted(mug, 2), wanted(cup, 3))

        assert [(one.sku, one.wanted, one.available) for one in refused.value.shortages] == [("CUP", 3, 1)]
        assert await amounts(mug) == (10, 0, 10, 1000)
        assert await Reservation.find_rows({}) == []

    async def test_two_lines_of_one_variant_want_their_sum(self) -> None:
        mug = await stock(a_variant(), 3)

        with pytest.raises(OutOfStockError):
            await reserve("order:1", wanted(mug, 2), wanted(mug, 2))

    async def test_reg_001_reserving_twice_holds_once(self) -> None:
        """REG-001 InventoryService.ReserveStock, INV-1 TRAP: not idempotent."""
        mug = await stock(a_variant(), 10)
        first = await reserve("order:1", wanted(mug, 2))

        assert (await reserve("order:1", wanted(mug, 2))).id == first.id
        assert await amounts(mug) == (10, 2, 8, 1000)

    async def test_one_location_that_has_everything_else_several(self) -> None:
        near, far = await create_location(), await create_location()
        mug = a_variant()
        here = await stock(mug, 3, location=near)
        there = await stock(mug, 5, location=far, product_id=here.product_id)

        whole = await reserve("order:1", wanted(here, 4))
        split = await reserve("order:2", wanted(here, 4))

        assert [(line.location_id, line.quantity) for line in whole.lines] == [(far.id, 4)]
        assert [(line.location_id, line.quantity) for line in split.lines] == [(near.id, 3), (far.id, 1)]
        assert await amounts(here) == (3, 3, 0, 300)
        assert await amounts(there) == (5, 5, 0, 500)
        assert await StockService.available([mug.id]) == {mug.id: 0}

    async def test_inactive_location_does_not_sell(self) -> None:
        mug = await stock(a_variant(), 3, location=await create_location(is_active=False))

        assert await StockService.available([mug.variant_id]) == {mug.variant_id: 0}
        with pytest.raises(OutOfStockError):
            await reserve("order:1", wanted(mug, 1))

    async def test_inv_6_below_zero_only_when_the_line_says_so(self) -> None:
        mug = await stock(a_variant(), 3)
        await reserve("order:1", wanted(mug, 5, allow_backorder=True))

        assert await amounts(mug) == (3, 5, -2, 300)
        with pytest.raises(OutOfStockError):
            await reserve("order:2", wanted(mug, 1))

    async def test_backorder_of_what_was_never_there_opens_a_level(self) -> None:
        location = await create_location()
        variant = a_variant()
        line = Wanted(variant.id, variant.id, variant.sku, 2, allow_backorder=True)
        await reserve("order:1", line)

        (level,) = await StockLevel.find_rows({})
        assert (level["location_id"], level["available"], level["reserved"]) == (location.id, -2, 2)

    async def test_events_at_the_crossing_alone(self) -> None:
        mug = await stock(a_variant(), 8, low_stock_threshold=5)
        for number, quantity in enumerate((2, 1, 1, 3, 1)):  # leaves 6, 5, 4, 1, 0
            await reserve(f"order:{number}", wanted(mug, quantity))

        events = await Event.find_rows({}, sort=[("_id", 1)])
        assert [(event["type"], event["payload"].get("available")) for event in events] == [
            (EventType.STOCK_LOW, 5),
            (EventType.STOCK_CHANGED, None),
        ]
        assert events[1]["payload"] == {"variant_id": str(mug.variant_id), "sku": mug.sku, "is_available": False}
        assert events[1]["subject"] == f"product:{mug.product_id}"


class TestCommit:
    async def test_inv_1_what_was_held_is_sold(self) -> None:
        mug = await stock(a_variant(), 10, unit_cost=33)
        await reserve("order:1", wanted(mug, 4))
        for _ in range(2):  # harmless to repeat
            committed = await commit("order:1")

        assert committed.status is ReservationStatus.COMMITTED
        assert await amounts(mug) == (6, 0, 6, 198)
        sales = await StockMovement.find_rows({"kind": MovementKind.SALE})
        assert [(one["quantity"], one["value"]["amount"], one["on_hand_after"], one["key"]) for one in sales] == [
            (-4, -132, 6, f"order:1:sale:{mug.variant_id}:{mug.location_id}")
        ]

    async def test_released_or_unknown_cannot_be_committed(self) -> None:
        mug = await stock(a_variant(), 10)
        await reserve("order:1", wanted(mug, 4))
        await release("order:1")

        for owner in ("order:1", "order:2"):
            with pytest.raises(ReservationGoneError):
                await commit(owner)
        assert await amounts(mug) == (10, 0, 10, 1000)


class TestRelease:
    async def test_reg_001_released_once_and_never_more_than_held(self) -> None:
        """REG-001 InventoryService.ReleaseStock, INV-1 TRAP: over-release silently ignored, not tied to an order."""
        mug = await stock(a_variant(), 10)
        await reserve("order:1", wanted(mug, 4))
        await reserve("order:2", wanted(mug, 3))

        answers = [await release(owner) for owner in ("order:1", "order:1", "order:none")]

        assert answers == [True, False, False]
        assert await amounts(mug) == (10, 3, 7, 1000)

    async def test_what_was_sold_is_not_released(self) -> None:
        mug = await stock(a_variant(), 10)
        await reserve("order:1", wanted(mug, 4))
        await commit("order:1")

        assert not await release("order:1")
        assert await amounts(mug) == (6, 0, 6, 600)

    async def test_owner_may_hold_again(self) -> None:
        mug = await stock(a_variant(), 10)
        await reserve("order:1", wanted(mug, 4))
        await release("order:1")
        again = await reserve("order:1", wanted(mug, 5))

        assert (again.status, await amounts(mug)) == (ReservationStatus.HELD, (10, 5, 5, 1000))


class TestSell:
    async def test_reg_001_repeated_after_the_last_piece_is_still_the_same(self) -> None:
        """REG-001 InventoryService.ReserveStock: an empty shelf does not make a repeated call fail."""
        mug = await stock(a_variant(), 4)
        first = await reserve("order:1", wanted(mug, 4))

        assert (await reserve("order:1", wanted(mug, 4))).id == first.id
        assert (await sell("order:1", wanted(mug, 4))).status is ReservationStatus.COMMITTED
        assert await amounts(mug) == (0, 0, 0, 0)

    async def test_takes_at_once_and_once(self) -> None:
        mug = await stock(a_variant(), 10)
        for _ in range(2):
            await sell("order:1", wanted(mug, 4))

        assert await amounts(mug) == (6, 0, 6, 600)

    async def test_after_expiry_what_is_left_is_taken(self) -> None:
        mug = await stock(a_variant(), 10)
        await reserve("order:1", wanted(mug, 4))
        assert await ReservationService.expire_due(owner_kind="order", now=LATER) == 1

        sold = await sell("order:1", wanted(mug, 4))
        assert (sold.status, await amounts(mug)) == (ReservationStatus.COMMITTED, (6, 0, 6, 600))


class TestExpireDue:
    async def test_takes_back_what_is_due_and_tells_in_the_same_transaction(self) -> None:
        mug = await stock(a_variant(), 10)
        await reserve("order:1", wanted(mug, 1))
        await reserve("order:2", wanted(mug, 2), expires_at=LATER + timedelta(milliseconds=1))
        await reserve("order:3", wanted(mug, 3), expires_at=None)
        await reserve("other:4", wanted(mug, 1))
        told: list[str] = []

        async def note(_session: Session, reservation: Reservation) -> None:
            told.append(reservation.owner)

        assert await ReservationService.expire_due(owner_kind="order", now=LATER, on_expired=note) == 1
        assert await ReservationService.expire_due(owner_kind="order", now=LATER, on_expired=note) == 0
        assert (told, await amounts(mug)) == (["order:1"], (10, 6, 4, 1000))

    async def test_one_that_fails_does_not_stop_the_rest(self) -> None:
        mug = await stock(a_variant(), 10)
        for number in (1, 2, 3):
            await reserve(f"order:{number}", wanted(mug, 1))

        async def refuse_second(_session: Session, reservation: Reservation) -> None:
            if reservation.owner == "order:2":
                raise RuntimeError("broken")

        with pytest.raises(RuntimeError):
            await ReservationService.expire_due(owner_kind="order", now=LATER, on_expired=refuse_second)
        assert await amounts(mug) == (10, 1, 9, 1000)


class TestRestock:
    async def _sold(self, quantity: int, *, unit_cost: int = 100) -> StockLevel:
        mug = await stock(a_variant(), 10, unit_cost=unit_cost)
        await sell("order:1", wanted(mug, quantity))
        return mug

    async def _restock(self, level: StockLevel, quantity: int, key: str) -> list[StockMovement]:
        async def work(session: Session) -> list[StockMovement]:
            return await ReservationService.restock(
                "order:1", {level.variant_id: quantity}, kind=MovementKind.RETURN, key=key, session=session, now=NOON
            )

        return await run_transaction(work)

    async def test_comes_back_once_per_key_at_what_it_left_with(self) -> None:
        mug = await self._sold(4)
        first = await self._restock(mug, 1, "return:1")
        again = await self._restock(mug, 1, "return:1")
        await self._restock(mug, 1, "return:11")

        assert [one.id for one in again] == [one.id for one in first]
        assert await amounts(mug) == (8, 0, 8, 800)

    async def test_never_more_than_is_away(self) -> None:
        mug = await self._sold(4)
        await self._restock(mug, 3, "return:1")

        with pytest.raises(RestockTooLargeError) as refused:
            await self._restock(mug, 2, "return:2")
        assert (refused.value.wanted, refused.value.left) == (2, 1)
        assert await amounts(mug) == (9, 0, 9, 900)

    async def test_shares_of_an_odd_value_add_up(self) -> None:
        location = await create_location()
        variant = a_variant()
        mug = await stock(variant, 3, location=location, unit_cost=0)
        await StockLevel.collection().update_one({"_id": mug.id}, {"$set": {"stock_value.amount": 100}})
        await sell("order:1", wanted(mug, 3))
        values = [(await self._restock(mug, 1, f"return:{n}"))[0].value.amount for n in range(3)]

        assert values == [33, 34, 33]
        assert await amounts(mug) == (3, 0, 3, 100)

    async def test_pieces_go_back_where_they_came_from(self, database: Database) -> None:
        near, far = await create_location(), await create_location()
        variant = a_variant()
        here = await stock(variant, 1, location=near)
        there = await stock(variant, 2, location=far, product_id=here.product_id)
        await sell("order:1", wanted(here, 3))
        await self._restock(here, 3, "cancel")

        assert await amounts(here) == (1, 0, 1, 100)
        assert await amounts(there) == (2, 0, 2, 200)
