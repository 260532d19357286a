"""What runs out soonest and what is low, by hand; and which currencies there are figures in."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from beanie import PydanticObjectId

from models.analytics.rollups import Dimension
from models.database import Database
from models.inventory.stock import MovementKind
from models.users import Role
from services.analytics.currencies import list_currencies
from services.analytics.periods import Period
from services.analytics.reports.supply import SupplyReportService
from services.analytics.rollups.rollups import Entry, Fact, RollupService
from services.analytics.scopes import ReportScope
from services.errors import PermissionDeniedError
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.inventory import create_location
from tests.services.analytics.reports.test_inventory import Shelf

MANAGER = Viewer(PydanticObjectId(), "manager", Role.MANAGER)
EDITOR = Viewer(PydanticObjectId(), "editor", Role.EDITOR)
NOVEMBER = ReportScope(Period(date(2026, 11, 1), date(2026, 12, 1), ZoneInfo("UTC")), "USD")
BEFORE, WITHIN, AFTER = (datetime(2026, month, 3, tzinfo=UTC) for month in (10, 11, 12))


async def shelf(*moves: tuple[MovementKind, int, datetime], currency: str = "USD", **over: Any) -> str:
    """The SKU of a variant moved like this."""
    made = Shelf(currency)
    for kind, quantity, at in moves:
        await made.move(kind, quantity, at)
    return str((await made.close(**over)).sku)


class TestListShortestCover:
    async def test_first_is_what_runs_out_first(self, database: Database, commands: CommandLog) -> None:
        """Per day of thirty: 10 of 20 sold last 30 days, 1 of 2 as long; 30 of 40 last 10."""
        receipt, sale = MovementKind.RECEIPT, MovementKind.SALE
        slow = await shelf((receipt, 20, BEFORE), (sale, -10, WITHIN))
        small = await shelf((receipt, 2, BEFORE), (sale, -1, WITHIN))
        quick = await shelf((receipt, 40, BEFORE), (sale, -32, WITHIN), (MovementKind.RETURN, 2, WITHIN))
        await shelf((receipt, 3, BEFORE), (sale, -3, WITHIN))  # nothing is left of it
        await shelf((receipt, 9, BEFORE), (sale, -1, BEFORE), (sale, -1, AFTER))  # not sold within the period
        await shelf((receipt, 9, BEFORE), (sale, -5, WITHIN), currency="EUR")

        with commands.counting() as sent:
            report = await SupplyReportService.list_shortest_cover(NOVEMBER, viewer=MANAGER)
        first = await SupplyReportService.list_shortest_cover(NOVEMBER, viewer=MANAGER, limit=1)

        assert [(one.sku, one.available, one.units_sold, one.days_of_cover) for one in report.items] == [
            (quick, 10, 30, 10),
            *sorted([(slow, 10, 10, 30), (small, 1, 1, 30)]),
        ]
        assert [one.sku for one in first.items] == [quick]
        assert first.variants_count == 3
        assert len(sent) <= 8, sent.sent

    async def test_nothing_sold_is_nothing(self, database: Database) -> None:
        report = await SupplyReportService.list_shortest_cover(NOVEMBER, viewer=MANAGER)

        assert (report.variants_count, report.items) == (0, [])

    async def test_who_may_not_see_reports_is_refused(self, database: Database) -> None:
        with pytest.raises(PermissionDeniedError):
            await SupplyReportService.list_shortest_cover(NOVEMBER, viewer=EDITOR)


class TestListLowStock:
    async def test_fewest_pieces_first(self, database: Database) -> None:
        house = await create_location(name="House")
        stocked = [(MovementKind.RECEIPT, 4, BEFORE)]
        low = await shelf(*stocked, location_id=house.id, is_low=True, reorder_point=9)
        gone = await shelf((MovementKind.RECEIPT, 0, BEFORE), is_low=True)
        await shelf(*stocked, is_low=False)
        await shelf(*stocked, is_low=True, currency="EUR")

        report = await SupplyReportService.list_low_stock("USD", viewer=MANAGER)

        assert (report.levels_count, report.none_left_count) == (2, 1)
        assert [(one.sku, one.location, one.available, one.reorder_point) for one in report.items] == [
            (gone, "", 0, None),
            (low, "House", 4, 9),
        ]
        assert [one.sku for one in (await SupplyReportService.list_low_stock("USD", viewer=MANAGER, limit=1)).items] == [gone]
        assert (await SupplyReportService.list_low_stock("GBP", viewer=MANAGER)).items == []

    async def test_who_may_not_see_reports_is_refused(self, database: Database) -> None:
        with pytest.raises(PermissionDeniedError):
            await SupplyReportService.list_low_stock("USD", viewer=EDITOR)


async def test_currencies_are_those_something_was_sold_in(database: Database, commands: CommandLog) -> None:
    assert await list_currencies() == []
    await RollupService.apply(
        [Fact(f"sale:{code}", WITHIN, [Entry(Dimension.TOTAL, "", code, {"orders": 1})]) for code in ("USD", "JPY")]
    )

    with commands.counting() as sent:
        assert await list_currencies() == ["JPY", "USD"]

    assert len(sent) == 2
