"""Many at once over the same stock: whatever the interleaving, the ledger adds up and nothing is sold twice."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from models.database import Session, run_transaction
from models.inventory.stock import (
    MovementKind,
    Reservation,
    ReservationStatus,
    StockLevel,
    StockMovement,
)
from models.users import Role
from services.inventory.purchasing import Delivery, PurchaseOrderService
from services.inventory.receipts import ReceivedPieces
from services.inventory.reservations import OutOfStockError, ReservationGoneError, ReservationService, Wanted
from services.inventory.stock import StockService
from services.inventory.stocktakes import Counted, StocktakeDraft, StocktakeService
from services.pagination import PageRequest
from tests.factories.catalog import create_product
from tests.factories.inventory import (
    KnownItems,
    a_variant,
    create_location,
    create_purchase_order,
    stock,
    wanted,
)
from tests.factories.users import create_user, viewer_of
from tests.races import patiently, seeds
from tests.services.inventory.books_check import assert_books_add_up

pytestmark = pytest.mark.usefixtures("database")

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def reserve(owner: str, *lines: Wanted, minutes: int = 30) -> bool:
    """Whether the owner got everything."""

    async def work(session: Session) -> None:
        expires_at = NOON + timedelta(minutes=minutes)
        await ReservationService.reserve(owner, lines, expires_at=expires_at, session=session, now=NOON)

    try:
        await run_transaction(work, hot=[line.variant_id for line in lines])
    except OutOfStockError:
        return False
    return True


async def sell(owner: str, *lines: Wanted) -> bool:
    async def work(session: Session) -> None:
        await ReservationService.sell(owner, lines, session=session)

    try:
        await run_transaction(work, hot=[line.variant_id for line in lines])
    except OutOfStockError:
        return False
    return True


async def commit(owner: str, level: StockLevel) -> bool:
    async def work(session: Session) -> None:
        await ReservationService.commit(owner, session=session, now=NOON)

    try:
        await run_transaction(work, hot=[level.variant_id])
    except ReservationGoneError:
        return False
    return True


async def release(owner: str, level: StockLevel) -> bool:
    async def work(session: Session) -> bool:
        return await ReservationService.release(owner, session=session, now=NOON)

    return await run_transaction(work, hot=[level.variant_id])


async def all_at_once(seed: int, *calls: Callable[[], Awaitable[bool]]) -> list[bool]:
    """Every call, begun within a few milliseconds in an order of the seed; their answers in the order given."""
    dice = random.Random(seed)
    pauses = [dice.uniform(0, 0.02) for _ in calls]

    async def begin(call: Callable[[], Awaitable[bool]], pause: float) -> bool:
        await asyncio.sleep(pause)
        return await call()

    return list(await asyncio.gather(*(begin(call, pause) for call, pause in zip(calls, pauses, strict=True))))


async def level_of(level: StockLevel) -> StockLevel:
    row = await StockLevel.find_row({"_id": level.id})
    assert row is not None
    return StockLevel.from_row(row)


@pytest.mark.parametrize("seed", seeds())
class TestRaces:
    async def test_r1_200_buyers_for_20_items(self, seed: int) -> None:
        """R1 and COM-S12: exactly twenty get one; a quarter double-clicks and still has one."""
        mug = await stock(a_variant(), 20)
        owners = [f"order:{number}" for number in range(200)]
        twins = owners[::4]
        answers = await all_at_once(seed, *(lambda owner=owner: reserve(owner, wanted(mug, 1)) for owner in [*owners, *twins]))

        got = dict(zip(owners, answers[:200], strict=True))
        assert sum(answers[:200]) == 20
        assert [got[owner] for owner in twins] == answers[200:]
        assert (await level_of(mug)).available == 0
        assert await Reservation.count_rows({}) == 20
        await assert_books_add_up()

    async def test_r2_60_callers_of_two_skus_in_opposite_order(self, seed: int) -> None:
        """R2: all or nothing, no deadlock, everyone answered within five seconds."""
        mug, cup = await stock(a_variant(), 20), await stock(a_variant(), 25)
        lines = [[wanted(mug, 1), wanted(cup, 1)], [wanted(cup, 1), wanted(mug, 1)]]
        slowest = 0.0

        async def timed(number: int) -> bool:
            nonlocal slowest
            begun = time.monotonic()
            answer = await sell(f"order:{number}", *lines[number % 2])
            slowest = max(slowest, time.monotonic() - begun)
            return answer

        answers = await all_at_once(seed, *(lambda number=number: timed(number) for number in range(60)))

        assert sum(answers) == 20
        assert ((await level_of(mug)).on_hand, (await level_of(cup)).on_hand) == (0, 5)
        assert slowest < patiently(5)
        await assert_books_add_up()

    async def test_without_the_queue_of_one_process(self, seed: int) -> None:
        """As callers of several processes meet: nobody waits in line, the database alone decides."""
        mug, cup = await stock(a_variant(), 6), await stock(a_variant(), 9)
        lines = [[wanted(mug, 1), wanted(cup, 1)], [wanted(cup, 1), wanted(mug, 1)]]

        async def work(session: Session, number: int) -> None:
            await ReservationService.sell(f"order:{number}", lines[number % 2], session=session)

        async def buy(number: int) -> bool:
            try:
                await run_transaction(lambda session: work(session, number))
            except OutOfStockError:
                return False
            return True

        answers = await all_at_once(seed, *(lambda number=number: buy(number) for number in range(15)))

        assert sum(answers) == 6
        assert ((await level_of(mug)).on_hand, (await level_of(cup)).on_hand) == (0, 3)
        await assert_books_add_up()

    async def test_commit_against_expiry(self, seed: int) -> None:
        """Each reservation is sold or taken back, never both."""
        mug = await stock(a_variant(), 60)
        owners = [f"order:{number}" for number in range(60)]
        for owner in owners:
            assert await reserve(owner, wanted(mug, 1), minutes=0)

        async def sweep() -> bool:
            return await ReservationService.expire_due(owner_kind="order", now=NOON) > 0

        sold = await all_at_once(seed, *(lambda owner=owner: commit(owner, mug) for owner in owners), sweep, sweep)

        committed = await Reservation.count_rows({"status": ReservationStatus.COMMITTED})
        assert committed == sum(sold[:60]) == 60 - (await level_of(mug)).on_hand
        assert (await level_of(mug)).reserved == 0
        await assert_books_add_up()

    async def test_release_against_commit_one_wins(self, seed: int) -> None:
        mug = await stock(a_variant(), 30)
        owners = [f"order:{number}" for number in range(30)]
        for owner in owners:
            assert await reserve(owner, wanted(mug, 1))
        calls = [call for owner in owners for call in (lambda o=owner: commit(o, mug), lambda o=owner: release(o, mug))]

        answers = await all_at_once(seed, *calls)

        assert [sold + given for sold, given in zip(answers[::2], answers[1::2], strict=True)] == [1] * 30
        assert (await level_of(mug)).on_hand == 30 - sum(answers[::2])
        await assert_books_add_up()

    async def test_restock_twice_comes_back_once(self, seed: int) -> None:
        mug = await stock(a_variant(), 10)
        assert await sell("order:1", wanted(mug, 4))

        async def back(key: str) -> bool:
            async def work(session: Session) -> list[StockMovement]:
                return await ReservationService.restock(
                    "order:1", {mug.variant_id: 2}, kind=MovementKind.RETURN, key=key, session=session
                )

            return len(await run_transaction(work, hot=[mug.variant_id])) == 1

        answers = await all_at_once(seed, *(lambda number=number: back(f"return:{number % 2}") for number in range(50)))

        assert all(answers)
        assert await StockMovement.count_rows({"kind": MovementKind.RETURN}) == 2
        assert (await level_of(mug)).on_hand == 10
        await assert_books_add_up()

    async def test_stocktake_against_sales(self, seed: int) -> None:
        """Sold before or after the count, each piece is missing once.

        The person sees two pieces fewer than the books had a moment before; what was sold in that moment makes up for some.
        """
        location = await create_location()
        mug = await stock(a_variant(), 100, location=location)
        viewer = viewer_of(await create_user(role=Role.MANAGER))
        opened = await StocktakeService.open_stocktake(StocktakeDraft(location_id=location.id), viewer=viewer)

        async def count() -> bool:
            seen = (await level_of(mug)).on_hand - 2
            await StocktakeService.count(
                opened.id, [Counted(variant_id=mug.variant_id, counted=seen)], viewer=viewer, catalog=KnownItems(mug)
            )
            await StocktakeService.approve_stocktake(opened.id, viewer=viewer)
            return True

        sales = [lambda number=number: sell(f"order:{number}", wanted(mug, 1)) for number in range(60)]
        await all_at_once(seed, *sales, count)

        (counted,) = (await StocktakeService.list_counts(opened.id, viewer=viewer, page=PageRequest())).items
        posted = sum(row["quantity"] for row in await StockMovement.find_rows({"kind": MovementKind.STOCKTAKE}))
        assert posted == counted.variance == counted.counted - counted.expected
        assert (await level_of(mug)).on_hand == 100 - 60 + posted
        await assert_books_add_up()

    async def test_delivery_reported_by_50_callers_comes_once(self, seed: int) -> None:
        product = await create_product()
        order = await create_purchase_order(product.variants[0], 10, product=product)
        viewer = viewer_of(await create_user(role=Role.MANAGER))
        await PurchaseOrderService.place_purchase_order(order.id, viewer=viewer)

        async def receive(number: int) -> bool:
            lines = [ReceivedPieces(line_id=order.lines[0].id, quantity=3)]
            delivery = Delivery(key=f"DN-{number % 2}", lines=lines)
            await PurchaseOrderService.receive_purchase_order(order.id, delivery, viewer=viewer)
            return True

        await all_at_once(seed, *(lambda number=number: receive(number) for number in range(50)))

        (level,) = await StockLevel.find_rows({})
        assert (level["on_hand"], level["stock_value"]["amount"]) == (6, 600)
        assert (await PurchaseOrderService.get_purchase_order(order.id, viewer=viewer)).lines[0].received_quantity == 6
        await assert_books_add_up()


class TestAbandonedCarts:
    async def test_r14_conserved_at_every_sample_and_released_once(self) -> None:
        """R14, INV-1 TRAP: reservations never expired. Two hundred carts under a fake clock, some paid in time."""
        mug = await stock(a_variant(), 150)
        dice = random.Random(14)
        clock, released = NOON, 0

        async def sample() -> None:
            level = await level_of(mug)
            sold = -sum(row["quantity"] for row in await StockMovement.find_rows({"kind": MovementKind.SALE}))
            assert level.available + level.reserved + sold == 150
            assert await StockService.available([mug.variant_id]) == {mug.variant_id: level.available}

        for number in range(200):
            if await reserve(f"order:{number}", wanted(mug, 1), minutes=number % 30) and dice.random() < 0.2:
                await commit(f"order:{number}", mug)
            if number % 20 == 0:
                await sample()
        for _ in range(31):
            expired = await asyncio.gather(*(ReservationService.expire_due(owner_kind="order", now=clock) for _ in range(2)))
            released += sum(expired)
            overdue = {"status": ReservationStatus.HELD, "expires_at": {"$lt": clock}}
            assert await Reservation.count_rows(overdue) == 0
            await sample()
            clock += timedelta(minutes=1)

        statuses = [row["status"] for row in await Reservation.find_rows({})]
        assert released == statuses.count(ReservationStatus.EXPIRED) > 50
        assert statuses.count(ReservationStatus.HELD) == 0
        await assert_books_add_up()
