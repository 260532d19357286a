"""Corrections by hand, levels as staff see them, what to order."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from beanie import PydanticObjectId

from models.audit import AuditEntry
from models.database import Session, run_transaction
from models.events import Event, EventType
from models.inventory.purchasing import PurchaseOrderStatus
from models.inventory.stock import MovementKind, StockLevel, StockLocation, StockMovement
from models.money import Money
from models.users import Role
from services.errors import PermissionDeniedError, PreconditionError
from services.inventory.books import LevelNotFoundError, StockLimitError
from services.inventory.items import ItemNotFoundError
from services.inventory.levels import LevelChanges, LevelService
from services.inventory.locations import (
    LocationChanges,
    LocationDraft,
    LocationNotFoundError,
    LocationService,
    LocationTakenError,
)
from services.inventory.reservations import ReservationService
from services.inventory.stock import (
    Correction,
    CostCurrencyError,
    FutureMovementError,
    NotEnoughStockError,
    StockService,
)
from services.inventory.transfers import TransferService
from services.pagination import CursorCodec, PageRequest
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.catalog import create_product
from tests.factories.inventory import (
    KnownItems,
    a_variant,
    create_location,
    create_purchase_order,
    create_transfer,
    stock,
    wanted,
)
from tests.factories.users import create_user, viewer_of
from tests.services.inventory.books_check import assert_books_add_up

pytestmark = pytest.mark.usefixtures("database")

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
CURSORS = CursorCodec(b"secret")


async def keeper(role: Role = Role.MANAGER) -> Viewer:
    return viewer_of(await create_user(role=role))


async def correct(
    level: StockLevel,
    quantity: int,
    *,
    kind: MovementKind = MovementKind.ADJUSTMENT,
    viewer: Viewer | None = None,
    **over: object,
) -> StockMovement | None:
    fields = {"variant_id": level.variant_id, "location_id": level.location_id, "quantity": quantity, "reason": "Counted"}
    moved = await StockService.correct(
        Correction.model_validate({**fields, **over}),
        kind=kind,
        catalog=KnownItems(level),
        viewer=viewer or await keeper(),
        currency="USD",
        now=NOON,
    )
    row = await StockMovement.find_row({"_id": moved.id})
    return StockMovement.from_row(row) if row else None


async def amounts(level: StockLevel) -> tuple[int, int, int]:
    row = await StockLevel.find_row({"_id": level.id})
    assert row is not None
    return row["on_hand"], row["available"], row["stock_value"]["amount"]


class TestCorrect:
    async def test_receipt_moves_the_average(self) -> None:
        mug = await stock(a_variant(), 10, unit_cost=100)
        await correct(mug, 5, kind=MovementKind.RECEIPT, unit_cost=Money(amount=250, currency="USD"))

        assert await amounts(mug) == (15, 15, 2250)
        await correct(mug, -4)
        assert await amounts(mug) == (11, 11, 1650)

    async def test_first_receipt_opens_a_level_at_a_first_location(self) -> None:
        variant = a_variant()
        line = StockLevel(
            product_id=PydanticObjectId(),
            variant_id=variant.id,
            location_id=PydanticObjectId(),
            sku=variant.sku,
            stock_value=Money.zero("EUR"),
        )
        viewer = await keeper()
        for _ in range(2):
            await StockService.correct(
                Correction(variant_id=variant.id, quantity=3, reason="Opening balance"),
                kind=MovementKind.RECEIPT,
                catalog=KnownItems(line),
                viewer=viewer,
                currency="EUR",
            )

        (location,) = await StockLocation.find_rows({})
        (level,) = await StockLevel.find_rows({})
        assert (location["code"], location["currency"]) == ("MAIN", "EUR")
        assert (level["location_id"], level["on_hand"], level["is_low"]) == (location["_id"], 6, False)
        assert level["stock_value"] == {"amount": 0, "currency": "EUR"}
        assert (await Event.find_rows({}))[0]["type"] == EventType.STOCK_CHANGED

    async def test_reason_and_actor_are_kept(self) -> None:
        mug, viewer = await stock(a_variant(), 10), await keeper()
        movement = await correct(mug, -2, kind=MovementKind.WRITE_OFF, viewer=viewer)

        assert movement is not None
        assert (movement.reason, movement.actor_id, movement.quantity) == ("Counted", viewer.user_id, -2)
        (entry,) = await AuditEntry.find_rows({})
        assert (entry["action"], entry["actor_id"], entry["details"]["quantity"]) == ("stock.write_off", viewer.user_id, -2)

    async def test_what_is_promised_stays(self) -> None:
        mug = await stock(a_variant(), 10)

        async def hold(session: Session) -> None:
            await ReservationService.reserve("order:1", [wanted(mug, 8)], expires_at=None, session=session)

        await run_transaction(hold)
        with pytest.raises(NotEnoughStockError) as refused:
            await correct(mug, -3)
        assert (refused.value.wanted, refused.value.available) == (3, 2)
        assert await amounts(mug) == (10, 2, 1000)

    async def test_refusals_change_nothing(self) -> None:
        mug = await stock(a_variant(), 10)
        with pytest.raises(PermissionDeniedError):
            await correct(mug, 1, viewer=await keeper(Role.EDITOR))
        with pytest.raises(ItemNotFoundError):
            await correct(mug, 1, variant_id=PydanticObjectId())
        with pytest.raises(LocationNotFoundError):
            await correct(mug, 1, location_id=PydanticObjectId())
        with pytest.raises(CostCurrencyError):
            await correct(mug, 1, unit_cost=Money(amount=1, currency="EUR"))
        with pytest.raises(FutureMovementError):
            await correct(mug, 1, occurred_at=NOON + timedelta(seconds=1))
        with pytest.raises(StockLimitError):
            await correct(mug, 1_000_000, unit_cost=Money(amount=10**10, currency="USD"))
        assert await amounts(mug) == (10, 10, 1000)
        assert await StockMovement.count_rows({}) == 1

    async def test_stock_low_is_told_at_the_crossing_again_after_it_was_filled(self) -> None:
        mug = await stock(a_variant(), 6)
        for quantity in (-1, -1, 9, -9):
            await correct(mug, quantity)

        assert [event["type"] for event in await Event.find_rows({})] == [EventType.STOCK_LOW] * 2


class TestLocations:
    async def test_code_is_taken_once(self) -> None:
        viewer, draft = await keeper(), LocationDraft(code="BERLIN", name="Berlin")
        made = await LocationService.create_location(draft, viewer=viewer, currency="EUR")
        with pytest.raises(LocationTakenError):
            await LocationService.create_location(draft, viewer=viewer, currency="EUR")

        assert (made.currency, [one.code for one in await LocationService.list_locations(viewer=viewer)]) == ("EUR", ["BERLIN"])

    async def test_closing_takes_its_stock_out_of_sale_and_tells(self) -> None:
        location, viewer = await create_location(), await keeper()
        mug = await stock(a_variant(), 4, location=location)
        with pytest.raises(PreconditionError):
            await LocationService.update_location(location.id, LocationChanges(is_active=False), viewer=viewer, revision=7)
        changed = await LocationService.update_location(location.id, LocationChanges(is_active=False), viewer=viewer, revision=1)

        assert (changed.is_active, changed.revision) == (False, 2)
        assert await StockService.available([mug.variant_id]) == {mug.variant_id: 0}
        (event,) = await Event.find_rows({})
        assert (event["type"], event["payload"]["is_available"]) == (EventType.STOCK_CHANGED, False)

    async def test_lowest_priority_serves_first(self) -> None:
        first, second = await create_location(priority=20), await create_location(priority=10)

        assert [one.id for one in await LocationService.list_locations(viewer=await keeper())] == [second.id, first.id]
        assert (await LocationService.ensure_default(currency="USD")).id == second.id


class TestLevels:
    async def test_lists_by_what_is_named(self) -> None:
        viewer = await keeper()
        mug, cup = await stock(a_variant(), 10), await stock(a_variant(), 5)
        page = PageRequest()

        async def ids(**named: object) -> list[PydanticObjectId]:
            found = await LevelService.list_levels(viewer=viewer, page=page, **named)  # type: ignore[arg-type]  # by name
            assert found.total_count == len(found.items)
            return [level.id for level in found.items]

        assert await ids() == [mug.id, cup.id]
        assert await ids(variant_id=mug.variant_id) == [mug.id]
        assert await ids(product_id=cup.product_id) == [cup.id]
        assert await ids(location_id=mug.location_id) == [mug.id, cup.id]
        assert await ids(is_low=True) == [cup.id]
        assert await ids(location_id=PydanticObjectId()) == []

    async def test_threshold_decides_what_is_low(self) -> None:
        mug, viewer = await stock(a_variant(), 10), await keeper()
        raised = await LevelService.update_level(mug.id, LevelChanges(low_stock_threshold=10), viewer=viewer, revision=1)
        await correct(mug, -1, viewer=viewer)
        lowered = await LevelService.update_level(mug.id, LevelChanges(low_stock_threshold=8), viewer=viewer, revision=2)

        assert (raised.is_low, lowered.is_low, lowered.on_hand) == (True, False, 9)
        assert (raised.revision, lowered.revision) == (2, 3)  # what moves the stock is no edit
        with pytest.raises(LevelNotFoundError):
            await LevelService.update_level(PydanticObjectId(), LevelChanges(reorder_point=3), viewer=viewer, revision=None)

    async def test_of_editors_who_read_the_same_one_wins(self) -> None:
        mug, viewer = await stock(a_variant(), 10), await keeper()

        async def edit(threshold: int) -> int | None:
            try:
                await LevelService.update_level(
                    mug.id, LevelChanges(low_stock_threshold=threshold), viewer=viewer, revision=mug.revision
                )
            except PreconditionError:
                return None
            return threshold

        (won,) = [done for done in await asyncio.gather(*(edit(100 + number) for number in range(50))) if done is not None]

        row = await StockLevel.find_row({"_id": mug.id})
        assert row is not None
        assert (row["low_stock_threshold"], row["revision"]) == (won, 2)
        assert await AuditEntry.count_rows({"action": "stock_level.updated"}) == 1

    async def test_variant_everywhere(self, commands: CommandLog) -> None:
        viewer, product = await keeper(), await create_product()
        variant = product.variants[0]
        mug = await stock(variant, 10, product=product)
        await stock(variant, 5, product=product, location=await create_location(is_active=False))
        transfer = await create_transfer(mug, 4)
        await TransferService.ship_transfer(transfer.id, viewer=viewer)
        await create_purchase_order(variant, 7, product=product, status=PurchaseOrderStatus.ORDERED)
        await create_purchase_order(variant, 9, product=product)  # a draft is not on order
        await StockService.available([variant.id])  # locations are known from here on
        with commands.counting() as sent:
            found = await LevelService.get_variant_stock(variant.id, viewer=viewer)

        assert (found.on_hand, found.available, found.in_transit, found.on_order) == (11, 6, 4, 7)
        assert len(sent) == 3
        with pytest.raises(LevelNotFoundError):
            await LevelService.get_variant_stock(PydanticObjectId(), viewer=viewer)


class TestReorder:
    async def test_suggests_lots_beyond_what_is_under_way(self) -> None:
        viewer, product = await keeper(), await create_product()
        variant = product.variants[0]
        low = await stock(variant, 4, product=product, reorder_point=20, reorder_quantity=6)
        await stock(a_variant(), 20, reorder_point=19)  # not there yet
        await stock(a_variant(), 0)  # never ordered again
        exact = await stock(a_variant(), 8, reorder_point=8)
        await create_purchase_order(variant, 5, product=product, location_id=low.location_id, status=PurchaseOrderStatus.ORDERED)

        found = await LevelService.list_reorder_suggestions(viewer=viewer, cursors=CURSORS)
        assert [(one.sku, one.on_order, one.quantity) for one in found.items] == [(low.sku, 5, 12), (exact.sku, 0, 1)]

        first = await LevelService.list_reorder_suggestions(viewer=viewer, cursors=CURSORS, limit=1)
        second = await LevelService.list_reorder_suggestions(viewer=viewer, cursors=CURSORS, limit=1, cursor=first.next_cursor)
        assert [one.sku for one in (*first.items, *second.items)] == [low.sku, exact.sku]
        assert second.next_cursor is None

    async def test_enough_under_way_is_no_suggestion(self) -> None:
        product = await create_product()
        level = await stock(product.variants[0], 4, product=product, reorder_point=8)
        await create_purchase_order(
            product.variants[0], 5, product=product, location_id=level.location_id, status=PurchaseOrderStatus.PARTLY_RECEIVED
        )

        assert (await LevelService.list_reorder_suggestions(viewer=await keeper(), cursors=CURSORS)).items == []
        await assert_books_add_up()
