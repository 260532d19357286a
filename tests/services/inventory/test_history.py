"""What the ledger tells: movements, explanations, stock and values of the past, and whether it adds up."""

from datetime import UTC, datetime, timedelta

import pytest
from beanie import PydanticObjectId

from models.base import now
from models.database import Session, run_transaction
from models.inventory.reports import AsOf
from models.inventory.stock import MovementKind, StockLevel, StockMovement
from models.money import Money
from models.users import Role
from services.errors import PermissionDeniedError
from services.inventory.books import LevelNotFoundError
from services.inventory.checks import stock_drift
from services.inventory.history import HistoryService
from services.inventory.reservations import ReservationService
from services.inventory.stock import Correction, StockService
from services.inventory.transfers import TransferService
from services.pagination import CursorCodec, InvalidCursorError
from services.reconcile import Drift, ReconcileService
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.inventory import KnownItems, a_variant, create_location, create_transfer, stock, wanted
from tests.factories.users import create_user, viewer_of
from tests.services.inventory.books_check import assert_books_add_up

pytestmark = pytest.mark.usefixtures("database")

CURSORS = CursorCodec(b"secret")


async def keeper(role: Role = Role.MANAGER) -> Viewer:
    return viewer_of(await create_user(role=role))


async def correct(level: StockLevel, quantity: int, viewer: Viewer, occurred_at: datetime | None = None) -> None:
    correction = Correction(
        variant_id=level.variant_id,
        location_id=level.location_id,
        quantity=quantity,
        reason="Late",
        occurred_at=occurred_at,
    )
    await StockService.correct(correction, kind=MovementKind.ADJUSTMENT, catalog=KnownItems(level), viewer=viewer, currency="USD")


async def sell(owner: str, level: StockLevel, quantity: int) -> None:
    async def work(session: Session) -> None:
        await ReservationService.sell(owner, [wanted(level, quantity)], session=session)

    await run_transaction(work)


async def hold(owner: str, level: StockLevel, quantity: int, expires_at: datetime | None = None) -> None:
    async def work(session: Session) -> None:
        await ReservationService.reserve(owner, [wanted(level, quantity)], expires_at=expires_at, session=session)

    await run_transaction(work)


class TestMovements:
    async def test_newest_first_by_what_is_named(self, commands: CommandLog) -> None:
        viewer = await keeper()
        mug, cup = await stock(a_variant(), 10), await stock(a_variant(), 5)
        await sell("order:1", mug, 2)
        await correct(cup, -1, viewer)

        async def shown(limit: int = 20, cursor: str | None = None, **named: object) -> list[tuple[str, int]]:
            page = await HistoryService.list_movements(viewer=viewer, cursors=CURSORS, limit=limit, cursor=cursor, **named)  # type: ignore[arg-type]  # by name
            if page.next_cursor:
                return [*_pairs(page.items), *await shown(limit, page.next_cursor, **named)]
            return _pairs(page.items)

        def _pairs(items: object) -> list[tuple[str, int]]:
            return [(one.sku, one.quantity) for one in items]  # type: ignore[attr-defined]  # movements

        everything = [(cup.sku, -1), (mug.sku, -2), (cup.sku, 5), (mug.sku, 10)]
        assert await shown() == await shown(limit=1) == await shown(location_id=mug.location_id) == everything
        assert await shown(variant_id=mug.variant_id) == [(mug.sku, -2), (mug.sku, 10)]
        assert await shown(reference="order:1") == [(mug.sku, -2)]
        with commands.counting() as sent:
            assert await shown(reference="order:2") == []
        assert len(sent) == 1
        with pytest.raises(InvalidCursorError):
            await shown(cursor="forged")


class TestExplain:
    async def test_says_which_movement_gave_which_piece(self, commands: CommandLog) -> None:
        viewer = await keeper()
        mug = await stock(a_variant(), 10)
        await sell("order:1", mug, 2)
        await sell("order:2", mug, 1)
        await hold("order:3", mug, 3)
        ends = datetime(2027, 1, 1, tzinfo=UTC)
        await hold("order:4", mug, 1, ends)
        with commands.counting() as sent:
            found = await HistoryService.explain_level(mug.id, viewer=viewer)

        assert [(kind.kind, kind.movements, kind.quantity, kind.value.amount) for kind in found.movements] == [
            (MovementKind.RECEIPT, 1, 10, 1000),
            (MovementKind.SALE, 2, -3, -300),
        ]
        assert [(one.owner, one.quantity, one.expires_at) for one in found.holds] == [
            ("order:4", 1, ends),
            ("order:3", 3, None),
        ]
        assert (found.level.on_hand, found.level.reserved, found.level.available, found.is_consistent) == (7, 4, 3, True)
        assert [one.on_hand_after for one in found.recent] == [7, 8, 10]
        assert len(sent) == 6  # the level outside, four within, the commit

    async def test_tells_when_it_does_not_add_up(self) -> None:
        mug, viewer = await stock(a_variant(), 10), await keeper()
        await StockLevel.collection().update_one({"_id": mug.id}, {"$inc": {"on_hand": 1, "available": 1}})

        assert not (await HistoryService.explain_level(mug.id, viewer=viewer)).is_consistent
        with pytest.raises(LevelNotFoundError):
            await HistoryService.explain_level(PydanticObjectId(), viewer=viewer)
        with pytest.raises(PermissionDeniedError):
            await HistoryService.explain_level(mug.id, viewer=await keeper(Role.AUTHOR))


class TestAsOf:
    async def test_backdated_entry_stands_where_it_belongs_or_where_it_was_recorded(self) -> None:
        """ANCHORS B5: as of a moment by the ledger; what is entered late rewrites nothing."""
        viewer = await keeper()
        mug = await stock(a_variant(), 10)
        cup = await stock(a_variant(), 4)
        await StockMovement.collection().update_many(
            {}, {"$set": {name: now() - timedelta(days=9) for name in ("occurred_at", "created_at")}}
        )
        await correct(mug, -3, viewer, now() - timedelta(days=5))

        async def at(days: int, basis: AsOf) -> list[tuple[int, int]]:
            page = await HistoryService.stock_as_of(now() - timedelta(days=days), viewer=viewer, cursors=CURSORS, basis=basis)
            return [(one.on_hand, one.value.amount) for one in page.items]

        assert await at(10, AsOf.OCCURRED) == [(0, 0), (0, 0)]
        assert await at(6, AsOf.OCCURRED) == [(10, 1000), (4, 400)]
        assert await at(4, AsOf.OCCURRED) == [(7, 700), (4, 400)]
        assert await at(4, AsOf.RECORDED) == [(10, 1000), (4, 400)]
        assert await at(0, AsOf.RECORDED) == [(7, 700), (4, 400)]
        await assert_books_add_up()

        moment = now()
        first = await HistoryService.stock_as_of(moment, viewer=viewer, cursors=CURSORS, limit=1)
        second = await HistoryService.stock_as_of(moment, viewer=viewer, cursors=CURSORS, limit=1, cursor=first.next_cursor)
        one = await HistoryService.stock_as_of(moment, viewer=viewer, cursors=CURSORS, variant_id=cup.variant_id)
        assert [level.sku for level in (*first.items, *second.items)] == [mug.sku, cup.sku]
        assert ([level.sku for level in one.items], second.next_cursor) == ([cup.sku], None)


class TestValuation:
    async def test_by_location_and_currency_and_in_transit(self) -> None:
        viewer = await keeper()
        mug = await stock(a_variant(), 10, unit_cost=100)
        euro = await create_location(currency="EUR")
        await stock(a_variant(), 3, unit_cost=50, location=euro)
        transfer = await create_transfer(mug, 4)
        await TransferService.ship_transfer(transfer.id, viewer=viewer)
        found = await HistoryService.valuation(viewer=viewer)

        assert [(one.location_id, one.on_hand, one.value) for one in found.locations] == [
            (mug.location_id, 6, Money(amount=600, currency="USD")),
            (euro.id, 3, Money(amount=150, currency="EUR")),
            (None, 4, Money(amount=400, currency="USD")),
        ]
        assert [str(total) for total in found.totals] == ["1.50 EUR", "10.00 USD"]

    async def test_empty_house(self) -> None:
        found = await HistoryService.valuation(viewer=await keeper())

        assert (found.locations, found.totals) == ([], [])


class TestDrift:
    async def test_every_number_of_a_level_is_recounted_and_mended(self) -> None:
        mug = await stock(a_variant(), 10)
        await stock(a_variant(), 5)
        await hold("order:1", mug, 3)
        assert [row async for row in stock_drift()] == []
        wrong = {"on_hand": 12, "reserved": 1, "available": 4, "stock_value.amount": 900}
        await StockLevel.collection().update_one({"_id": mug.id}, {"$set": wrong})
        found = [row async for row in ReconcileService.drift()]

        assert found == [
            Drift("stock_levels", mug.id, "on_hand", 12, 10),
            Drift("stock_levels", mug.id, "reserved", 1, 3),
            Drift("stock_levels", mug.id, "available", 4, 7),
            Drift("stock_levels", mug.id, "stock_value.amount", 900, 1000),
        ]
        assert [await ReconcileService.repair(row) for row in found] == [True] * 4
        assert [await ReconcileService.repair(row) for row in found] == [False] * 4
        assert [row async for row in stock_drift()] == []
        await assert_books_add_up()

    async def test_transfer_whose_pieces_the_ledger_does_not_know(self) -> None:
        viewer = await keeper()
        mug = await stock(a_variant(), 10)
        transfer = await create_transfer(mug, 4)
        await TransferService.ship_transfer(transfer.id, viewer=viewer)
        assert [row async for row in stock_drift()] == []
        await type(transfer).collection().update_one({"_id": transfer.id}, {"$set": {"lines.0.received_quantity": 1}})

        (row,) = [row async for row in stock_drift()]
        assert row == Drift("stock_transfers", transfer.id, "lines", -3, -4)
        assert not await ReconcileService.repair(row)
