"""Exports: complete or refused, closed whatever happens, and no larger in memory for more rows."""

import gc
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from models.database import Database
from models.ecommerce.orders import Order
from models.users import Role
from services.analytics.exports import saletables
from services.analytics.exports.exports import EXPORTERS, ExportService, ReportNotFoundError
from services.analytics.exports.files import ExportFormat
from services.analytics.exports.tables import Cell, Table
from services.analytics.periods import Period
from services.analytics.scopes import ReportScope
from services.errors import PermissionDeniedError
from services.heavy import heavy_work
from services.users.permissions import SYSTEM
from tests.commands import CommandLog
from tests.factories.catalog import create_product
from tests.factories.sales import make_sale, make_sold_line
from tests.factories.users import create_user, viewer_of

NOVEMBER = ReportScope(Period(date(2026, 11, 1), date(2026, 12, 1), ZoneInfo("UTC")), "USD")


async def store_orders(count: int) -> None:
    product = await create_product()
    row = make_sale([make_sold_line(product)], paid_at=datetime(2026, 11, 10, tzinfo=UTC)).row()
    rows = []
    for number in range(count):
        fresh = make_sale([make_sold_line(product)], paid_at=datetime(2026, 11, 10, tzinfo=UTC) + timedelta(seconds=number))
        own = {"_id": fresh.id, "number": fresh.number, "placement_key": fresh.placement_key, "placed_at": fresh.placed_at}
        rows.append({**row, **own})
    await Order.collection().insert_many(rows)


class TestExport:
    @pytest.mark.parametrize("format", list(ExportFormat))
    async def test_orders_are_written_with_the_memory_of_a_few(
        self, database: Database, monkeypatch: pytest.MonkeyPatch, format: ExportFormat
    ) -> None:
        """Five times the rows take no more at once."""
        monkeypatch.setattr(saletables, "BATCH", 50)
        peaks = []
        for count in (150, 600):
            await store_orders(count)
            gc.collect()
            tracemalloc.start()
            export = await ExportService.export("orders", NOVEMBER, viewer=SYSTEM, format=format)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            await export.close()

        assert peaks[1] < 1.3 * peaks[0], peaks

    async def test_orders_cost_two_commands_a_month_and_one_per_five_hundred(
        self, database: Database, commands: CommandLog
    ) -> None:
        await store_orders(1200)

        with commands.counting() as sent:
            export = await ExportService.export("orders", NOVEMBER, viewer=SYSTEM, format=ExportFormat.CSV)
        content = b"".join([chunk async for chunk in export.chunks()])
        await export.close()

        assert len(content.splitlines()) == 1201
        assert len(content) == export.size
        assert len(sent) == 5, sent.sent

    async def test_unknown_report_is_refused(self, database: Database) -> None:
        with pytest.raises(ReportNotFoundError):
            await ExportService.export("salaries", NOVEMBER, viewer=SYSTEM, format=ExportFormat.CSV)

    async def test_every_report_refuses_who_may_not_see_it(self, database: Database) -> None:
        viewer = viewer_of(await create_user(role=Role.EDITOR))

        for report in EXPORTERS:
            with pytest.raises(PermissionDeniedError):
                await ExportService.export(report, NOVEMBER, viewer=viewer, format=ExportFormat.CSV)

    @pytest.mark.parametrize("format", list(ExportFormat))
    async def test_failure_half_way_is_no_file_and_leaves_no_place_taken(
        self, database: Database, monkeypatch: pytest.MonkeyPatch, format: ExportFormat
    ) -> None:
        opened: list[Any] = []
        make_file = tempfile.TemporaryFile

        def remembered() -> Any:
            opened.append(make_file())
            return opened[-1]

        async def breaks(*_: object) -> Table:
            async def rows() -> AsyncIterator[Sequence[Sequence[Cell]]]:
                yield [["one"]]
                raise ConnectionError("the database went away")

            return Table(["name"], rows())

        monkeypatch.setattr(tempfile, "TemporaryFile", remembered)
        monkeypatch.setitem(EXPORTERS, "sales", breaks)

        for _ in range(3):
            with pytest.raises(ConnectionError):
                await ExportService.export("sales", NOVEMBER, viewer=SYSTEM, format=format)

        assert [file.closed for file in opened] == [True] * 3
        async with heavy_work(), heavy_work():
            pass
