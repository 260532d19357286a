"""Counting what is there: differences at the moment of counting, posted once."""

from datetime import UTC, datetime

import pytest
from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.inventory.moving import StocktakeRead, StocktakeStatus
from models.inventory.stock import MovementKind, StockLevel, StockMovement
from models.users import Role
from services.inventory.items import ItemNotFoundError
from services.inventory.reservations import ReservationService
from services.inventory.stocktakes import (
    Counted,
    StocktakeDraft,
    StocktakeOpenError,
    StocktakeService,
    StocktakeStateError,
    StocktakeTooLargeError,
)
from services.pagination import PageRequest
from services.users.permissions import Viewer
from tests.factories.inventory import KnownItems, a_variant, create_location, create_stocktake, stock, wanted
from tests.factories.users import create_user, viewer_of
from tests.services.inventory.books_check import assert_books_add_up

pytestmark = pytest.mark.usefixtures("database")

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def keeper() -> Viewer:
    return viewer_of(await create_user(role=Role.MANAGER))


async def count(opened: StocktakeRead, viewer: Viewer, *found: tuple[StockLevel, int]) -> list[int]:
    """The variances."""
    counts = await StocktakeService.count(
        opened.id,
        [Counted(variant_id=level.variant_id, counted=counted) for level, counted in found],
        viewer=viewer,
        catalog=KnownItems(*(level for level, _ in found)),
        now=NOON,
    )
    return [one.variance for one in counts]


async def opened_at(level: StockLevel, viewer: Viewer) -> StocktakeRead:
    return await StocktakeService.open_stocktake(StocktakeDraft(location_id=level.location_id), viewer=viewer, now=NOON)


async def on_hand(level: StockLevel) -> int:
    row = await StockLevel.find_row({"_id": level.id})
    assert row is not None
    return int(row["on_hand"])


class TestStocktake:
    async def test_variance_survives_sales_after_the_count(self) -> None:
        viewer = await keeper()
        mug, cup, pot = await stock(a_variant(), 10), await stock(a_variant(), 5), await stock(a_variant(), 3)
        opened = await opened_at(mug, viewer)
        assert await count(opened, viewer, (mug, 99), (cup, 6)) == [89, 1]
        assert await count(opened, viewer, (mug, 8)) == [-2]  # counted again

        async def sell(session: Session) -> None:
            await ReservationService.sell("order:1", [wanted(mug, 3)], session=session)

        await run_transaction(sell)
        approved = await StocktakeService.approve_stocktake(opened.id, viewer=viewer, now=NOON)
        again = await StocktakeService.approve_stocktake(opened.id, viewer=viewer)

        assert (approved.status, approved.settled_by, again) == (StocktakeStatus.APPROVED, viewer.user_id, approved)
        assert (await on_hand(mug), await on_hand(cup), await on_hand(pot)) == (5, 6, 3)
        posted = await StockMovement.find_rows({"kind": MovementKind.STOCKTAKE}, sort=[("_id", 1)])
        assert sorted((row["quantity"], row["value"]["amount"]) for row in posted) == [(-2, -200), (1, 100)]
        assert {row["reason"] for row in posted} == {
            f"{opened.number}: 8 counted, 10 expected",
            f"{opened.number}: 6 counted, 5 expected",
        }
        await assert_books_add_up()

    async def test_what_was_never_there_is_found(self) -> None:
        viewer = await keeper()
        mug = await stock(a_variant(), 2)
        elsewhere = await create_location()
        opened = await StocktakeService.open_stocktake(StocktakeDraft(location_id=elsewhere.id), viewer=viewer)
        assert await count(opened, viewer, (mug, 4)) == [4]
        await StocktakeService.approve_stocktake(opened.id, viewer=viewer)

        (level,) = await StockLevel.find_rows({"location_id": elsewhere.id})
        assert (level["on_hand"], level["stock_value"]["amount"]) == (4, 0)
        await assert_books_add_up()

    async def test_promises_do_not_hide_what_is_missing(self) -> None:
        viewer = await keeper()
        mug = await stock(a_variant(), 10)

        async def hold(session: Session) -> None:
            await ReservationService.reserve("order:1", [wanted(mug, 8)], expires_at=None, session=session)

        await run_transaction(hold)
        opened = await opened_at(mug, viewer)
        await count(opened, viewer, (mug, 5))
        await StocktakeService.approve_stocktake(opened.id, viewer=viewer)

        row = await StockLevel.find_row({"_id": mug.id})
        assert row is not None
        assert (row["on_hand"], row["reserved"], row["available"]) == (5, 8, -3)
        await assert_books_add_up()

    async def test_an_empty_shelf_is_a_count_too(self) -> None:
        viewer = await keeper()
        mug = await stock(a_variant(), 7, unit_cost=33)
        opened = await opened_at(mug, viewer)
        assert await count(opened, viewer, (mug, 0)) == [-7]
        await StocktakeService.approve_stocktake(opened.id, viewer=viewer)

        row = await StockLevel.find_row({"_id": mug.id})
        assert row is not None
        assert (row["on_hand"], row["stock_value"]["amount"]) == (0, 0)
        await assert_books_add_up()

    async def test_one_at_a_time_per_location(self) -> None:
        """Two open counts of one shelf would post one difference twice."""
        viewer = await keeper()
        mug = await stock(a_variant(), 2)
        opened = await opened_at(mug, viewer)
        with pytest.raises(StocktakeOpenError):
            await opened_at(mug, viewer)
        await StocktakeService.cancel_stocktake(opened.id, viewer=viewer)
        second = await opened_at(mug, viewer)
        await StocktakeService.approve_stocktake(second.id, viewer=viewer)
        assert (await opened_at(mug, viewer)).status is StocktakeStatus.OPEN

        page = await StocktakeService.list_stocktakes(viewer=viewer, page=PageRequest(), status=StocktakeStatus.CANCELLED)
        assert [one.id for one in page.items] == [opened.id]

    async def test_settled_ones_take_no_counts(self) -> None:
        viewer = await keeper()
        mug = await stock(a_variant(), 2)
        opened = await opened_at(mug, viewer)
        await count(opened, viewer, (mug, 1))
        cancelled = await StocktakeService.cancel_stocktake(opened.id, viewer=viewer)
        assert await StocktakeService.cancel_stocktake(opened.id, viewer=viewer) == cancelled
        with pytest.raises(StocktakeStateError):
            await count(opened, viewer, (mug, 1))
        with pytest.raises(StocktakeStateError):
            await StocktakeService.approve_stocktake(opened.id, viewer=viewer)
        assert await on_hand(mug) == 2

    async def test_what_is_counted_again_takes_no_further_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("services.inventory.stocktakes.MAX_COUNTS", 2)
        viewer = await keeper()
        mug, cup, pot = await stock(a_variant(), 2), await stock(a_variant(), 2), await stock(a_variant(), 2)
        opened = await opened_at(mug, viewer)
        assert await count(opened, viewer, (mug, 1), (cup, 2)) == [-1, 0]

        assert await count(opened, viewer, (mug, 2), (cup, 3)) == [0, 1]
        with pytest.raises(StocktakeTooLargeError):
            await count(opened, viewer, (pot, 2))
        counts = await StocktakeService.list_counts(opened.id, viewer=viewer, page=PageRequest())
        assert {one.variant_id: one.counted for one in counts.items} == {mug.variant_id: 2, cup.variant_id: 3}

    async def test_unknown_item_is_refused_and_nothing_of_it_counted(self) -> None:
        viewer = await keeper()
        mug = await stock(a_variant(), 2)
        stocktake = await create_stocktake(mug.location_id)
        found = [Counted(variant_id=mug.variant_id, counted=1), Counted(variant_id=PydanticObjectId(), counted=1)]
        with pytest.raises(ItemNotFoundError):
            await StocktakeService.count(stocktake.id, found, viewer=viewer, catalog=KnownItems(mug))
        assert (await StocktakeService.list_counts(stocktake.id, viewer=viewer, page=PageRequest())).items == []
