"""Turnover, cover and dead stock, by hand and against plain Python over the ledger."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import count, product
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from beanie import PydanticObjectId

from models.database import Database
from models.inventory.stock import MovementKind, StockLevel, StockMovement
from models.money import Money
from models.users import Role
from services.analytics.periods import Period
from services.analytics.reports.inventory import InvalidDeadStockError, InventoryReportService
from services.analytics.scopes import ReportScope
from services.analytics.stock.ledger import SETTLED, LedgerService
from services.errors import PermissionDeniedError
from services.pagination import CursorCodec
from services.users.permissions import Viewer
from tests.commands import CommandLog, Commands
from tests.factories.catalog import create_product, make_variant

MANAGER = Viewer(PydanticObjectId(), "manager", Role.MANAGER)
CURSORS = CursorCodec(b"0" * 32)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
_numbers = count(1)
SPANS = ((date(2026, 10, 20), date(2026, 10, 26)), (date(2026, 9, 1), date(2026, 11, 1)), (date(2026, 11, 28), date(2026, 12, 1)))


def scope(start: date = date(2026, 11, 1), end: date = date(2026, 12, 1), zone: str = "UTC", **over: Any) -> ReportScope:
    return ReportScope(**{"period": Period(start, end, ZoneInfo(zone)), "currency": "USD", **over})


def written_at(number: int) -> datetime:
    """One after the other, whenever they occurred."""
    return datetime(2027, 1, 1, tzinfo=UTC) + timedelta(seconds=number)


async def follow_up_to(movement: StockMovement, **over: Any) -> int:
    """Sum what was written before this movement."""
    return await LedgerService.follow_all(now=movement.created_at + SETTLED, **over)


class Shelf:
    """One variant at one place, moved at 100 minor units a piece; the level is what its movements make it."""

    def __init__(self, currency: str = "USD", variant_id: PydanticObjectId | None = None) -> None:
        number = next(_numbers)
        self.place: dict[str, Any] = {
            "product_id": PydanticObjectId(),
            "variant_id": variant_id or PydanticObjectId(),
            "location_id": PydanticObjectId(),
            "sku": f"SKU-{number}",
        }
        self.currency = currency
        self.movements: list[StockMovement] = []

    def money(self, amount: int) -> Money:
        return Money(amount=amount, currency=self.currency)

    async def move(self, kind: MovementKind, quantity: int, occurred_at: datetime, unit: int = 100) -> None:
        movement_number = next(_numbers)
        movement = StockMovement(
            **self.place,
            key=f"test:{movement_number}",
            kind=kind,
            quantity=quantity,
            value=self.money(quantity * unit),
            cost=self.money(quantity * unit),
            on_hand_after=0,
            reference="manual",
            occurred_at=occurred_at,
            created_at=written_at(movement_number),
        )
        self.movements.append(await movement.store())

    async def close(self, **over: Any) -> StockLevel:
        on_hand = sum(one.quantity for one in self.movements)
        value = self.money(sum(one.value.amount for one in self.movements))
        fields: dict[str, Any] = {"on_hand": on_hand, "available": on_hand, "stock_value": value}
        return await StockLevel(**{**self.place, **fields, **over}).store()


def names_of(sent: Commands) -> list[str]:
    return [name for name in sent.sent if not name.startswith(("commit", "abort"))]


class TestGetTurnover:
    async def test_nothing_is_zeros(self, database: Database) -> None:
        report = (await InventoryReportService.get_turnover(scope(), viewer=MANAGER)).model_dump(mode="json")

        zero = {"amount": "0.00", "currency": "USD"}
        assert {name: report[name] for name in report if name not in ("window", "currency")} == {
            "units_sold": 0,
            "cost_of_goods_sold": zero,
            "value_at_start": zero,
            "value_at_end": zero,
            "average_value": zero,
            "turnover": None,
            "value_now": zero,
        }

    async def test_figures_by_hand(self, database: Database, commands: CommandLog) -> None:
        """10 pieces in October; 4 sold, 1 of them back, and 5 more bought in November; 2 sold in December."""
        shelf = Shelf()
        await shelf.move(MovementKind.RECEIPT, 10, NOVEMBER - timedelta(days=9))
        await shelf.move(MovementKind.SALE, -4, NOVEMBER)
        await shelf.move(MovementKind.RETURN, 1, NOVEMBER + timedelta(days=2))
        await shelf.move(MovementKind.RECEIPT, 5, NOVEMBER + timedelta(days=3))
        await shelf.move(MovementKind.SALE, -2, NOVEMBER + timedelta(days=30))
        await shelf.close()
        euros = Shelf("EUR")
        await euros.move(MovementKind.RECEIPT, 70, NOVEMBER)
        await euros.close()

        with commands.counting() as sent:
            report = await InventoryReportService.get_turnover(scope(), viewer=MANAGER)

        assert (report.units_sold, report.cost_of_goods_sold.amount) == (3, 300)
        assert (report.value_at_start.amount, report.value_at_end.amount, report.value_now.amount) == (1000, 1200, 1000)
        assert (report.average_value.amount, report.turnover) == (1100, 27)
        assert [name for name in sent.sent if name.startswith("aggregate")] == [
            "aggregate stock_movements",
            "aggregate stock_levels",
        ]

    async def test_random_ledger_equals_plain_python(self, database: Database) -> None:
        dice = random.Random(11)
        shelves = [Shelf() for _ in range(5)]
        for shelf in shelves:
            await shelf.move(MovementKind.RECEIPT, 200, datetime(2026, 9, 1, tzinfo=UTC), 100)
            for _ in range(20):
                kind = dice.choice([MovementKind.SALE, MovementKind.RETURN, MovementKind.CANCELLATION, MovementKind.WRITE_OFF])
                sign = -1 if kind in (MovementKind.SALE, MovementKind.WRITE_OFF) else 1
                moment = datetime(2026, 9, 2, tzinfo=UTC) + timedelta(minutes=15 * dice.randrange(96 * 90))
                await shelf.move(kind, sign * dice.randrange(1, 6), moment, dice.randrange(80, 120))
            await shelf.close()
        ledger = [one for shelf in shelves for one in shelf.movements]
        zone = ZoneInfo("Europe/Berlin")
        variants = {one.variant_id for one in ledger}
        on_hand = {id: sum(one.quantity for one in ledger if one.variant_id == id) for id in variants}

        # From the ledger itself, from the sums of its first half and the rest, from the sums of all but the last.
        order = sorted(ledger, key=lambda one: one.created_at)
        for until, (start, end) in product((order[0], order[50], order[-1]), SPANS):
            await follow_up_to(until)
            report = await InventoryReportService.get_turnover(scope(start, end, zone.key), viewer=MANAGER)
            days = [(one, one.occurred_at.astimezone(zone).date()) for one in ledger]
            sold = [one for one, day in days if start <= day < end and one.kind in ("sale", "return", "cancellation")]
            assert report.units_sold == -sum(one.quantity for one in sold)
            assert report.cost_of_goods_sold.amount == -sum(one.cost.amount for one in sold)
            assert report.value_at_start.amount == sum(one.value.amount for one, day in days if day < start)
            assert report.value_at_end.amount == sum(one.value.amount for one, day in days if day < end)
            assert report.value_now.amount == sum(one.value.amount for one in ledger)
            page = await InventoryReportService.list_cover(scope(start, end, zone.key), viewer=MANAGER, cursors=CURSORS)
            pieces: Counter[PydanticObjectId] = Counter()
            for one in sold:
                pieces[one.variant_id] -= one.quantity
            assert {one.variant_id: one.units_sold for one in page.items} == {id: pieces[id] for id in sorted(variants)}
            now = datetime(2026, 12, 5, 7, 10, tzinfo=UTC)
            dead = await InventoryReportService.get_dead_stock("USD", viewer=MANAGER, days=(now.date() - start).days, now=now)
            alive = {one.variant_id for one in ledger if one.kind == "sale" and one.occurred_at >= dead.since}
            assert {one.variant_id for one in dead.items} == {id for id in variants - alive if on_hand[id] > 0}

    async def test_readers_are_refused(self, database: Database) -> None:
        reader = Viewer(PydanticObjectId(), "editor", Role.EDITOR)

        with pytest.raises(PermissionDeniedError):
            await InventoryReportService.get_turnover(scope(), viewer=reader)
        with pytest.raises(PermissionDeniedError):
            await InventoryReportService.list_cover(scope(), viewer=reader, cursors=CURSORS)
        with pytest.raises(PermissionDeniedError):
            await InventoryReportService.get_dead_stock("USD", viewer=reader)


class TestListCover:
    async def test_days_by_hand(self, database: Database, commands: CommandLog) -> None:
        """30 days: 60 sold are 2 a day. Sold elsewhere too, sold out, and never sold."""
        seller, second, empty, still = Shelf(), Shelf(), Shelf(), Shelf()
        second.place["variant_id"] = seller.place["variant_id"]
        shirt = await create_product(name="Shirt", variants=[make_variant(title="Red")])
        still.place |= {"product_id": shirt.id, "variant_id": shirt.variants[0].id}
        for shelf, pieces, sold in ((seller, 100, 50), (second, 31, 10), (empty, 5, 5), (still, 9, 0)):
            await shelf.move(MovementKind.RECEIPT, pieces, NOVEMBER - timedelta(days=40))
            if sold:
                await shelf.move(MovementKind.SALE, -sold, NOVEMBER + timedelta(days=1))
            await shelf.move(MovementKind.SALE, -1, NOVEMBER - timedelta(days=1))
            await shelf.move(MovementKind.ADJUSTMENT, 1, NOVEMBER + timedelta(days=1))
            await shelf.close()

        with commands.counting() as sent:
            page = await InventoryReportService.list_cover(scope(), viewer=MANAGER, cursors=CURSORS)

        found = {one.variant_id: (one.available, one.units_sold, one.days_of_cover) for one in page.items}
        assert found == {
            seller.place["variant_id"]: (71, 60, 35),  # 71 / 2
            empty.place["variant_id"]: (0, 5, 0),
            still.place["variant_id"]: (9, 0, None),
        }
        names = {one.variant_id: (one.name, one.variant_title) for one in page.items}
        assert (names[still.place["variant_id"]], names[empty.place["variant_id"]]) == (("Shirt", "Red"), (None, None))
        assert page.next_cursor is None
        assert names_of(sent) == [
            "aggregate stock_levels",
            "find analytics_ledgers",
            "aggregate stock_movements",
            "find products",
        ]

    async def test_pages_follow_each_other(self, database: Database) -> None:
        for _ in range(5):
            shelf = Shelf()
            await shelf.move(MovementKind.RECEIPT, 1, NOVEMBER)
            await shelf.close()
        seen, cursor = [], None
        while True:
            page = await InventoryReportService.list_cover(scope(), viewer=MANAGER, cursors=CURSORS, cursor=cursor, limit=2)
            seen += [one.variant_id for one in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break

        assert len(seen) == 5
        assert seen == sorted(set(seen))

    async def test_no_levels_are_no_rows(self, database: Database) -> None:
        page = await InventoryReportService.list_cover(scope(), viewer=MANAGER, cursors=CURSORS)

        assert (page.items, page.next_cursor) == ([], None)


class TestGetDeadStock:
    async def test_what_lies_there_by_hand(self, database: Database, commands: CommandLog) -> None:
        now = NOVEMBER + timedelta(days=20)
        dead, long_ago, sold, gone, euros = Shelf(), Shelf(), Shelf(), Shelf(), Shelf("EUR")
        for shelf, pieces in ((dead, 3), (long_ago, 9), (sold, 50), (gone, 1), (euros, 4)):
            await shelf.move(MovementKind.RECEIPT, pieces, NOVEMBER)
        await long_ago.move(MovementKind.SALE, -1, now - timedelta(days=10, seconds=1))
        await sold.move(MovementKind.SALE, -1, now - timedelta(days=10))
        await gone.move(MovementKind.WRITE_OFF, -1, NOVEMBER + timedelta(days=1))
        for shelf in (dead, long_ago, sold, gone, euros):
            await shelf.close()

        with commands.counting() as sent:
            report = await InventoryReportService.get_dead_stock("USD", viewer=MANAGER, days=10, limit=1, now=now)

        assert (report.variants_count, report.on_hand, report.value.amount) == (2, 11, 1100)
        assert [(item.variant_id, item.on_hand, item.value.amount) for item in report.items] == [
            (long_ago.place["variant_id"], 8, 800)
        ]
        assert report.since == now - timedelta(days=10)
        assert names_of(sent) == [
            "find analytics_ledgers",
            "aggregate stock_movements",
            "aggregate stock_levels",
            "find products",
        ]

    async def test_nothing_is_zeros(self, database: Database) -> None:
        report = await InventoryReportService.get_dead_stock("USD", viewer=MANAGER)

        assert (report.variants_count, report.on_hand, report.value.amount, report.items) == (0, 0, 0, [])

    @pytest.mark.parametrize(("days", "limit"), [(0, 20), (1831, 20), (1, 0), (1, 101)])
    async def test_impossible_spans_are_refused(self, database: Database, days: int, limit: int) -> None:
        with pytest.raises(InvalidDeadStockError):
            await InventoryReportService.get_dead_stock("USD", viewer=MANAGER, days=days, limit=limit)
