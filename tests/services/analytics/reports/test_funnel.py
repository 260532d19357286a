"""The way to an order, and carts left alone, by hand."""

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from beanie import PydanticObjectId

from models.analytics.rollups import Dimension
from models.database import Database
from models.ecommerce.carts import CartAbandonment
from models.money import Money
from models.users import Role
from services.analytics.periods import Period
from services.analytics.reports.funnel import FunnelService
from services.analytics.rollups.rollups import Entry, Fact, RollupService
from services.analytics.scopes import ReportScope
from services.ecommerce.abandonment import AbandonmentService
from services.errors import PermissionDeniedError
from services.users.permissions import SYSTEM
from tests.commands import CommandLog
from tests.factories.sales import count_everything
from tests.factories.users import create_user, viewer_of

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)


def scope_of(start: str, end: str, compared: bool = False) -> ReportScope:
    period = Period(date.fromisoformat(start), date.fromisoformat(end), ZoneInfo("Europe/Berlin"))
    return ReportScope(period, "USD", is_compared=compared)


async def came(at: datetime, **visitors: int) -> None:
    """So many visitors came to each stage."""
    entries = [Entry(Dimension.STAGE, stage, "", {"visitors": count}) for stage, count in visitors.items()]
    await RollupService.apply([Fact(f"visits:{PydanticObjectId()}", at, entries)])


class TestGetFunnel:
    async def test_rates_are_of_the_step_before_and_of_the_first(self, database: Database) -> None:
        await came(NOON, view=700, cart=200, checkout=30, paid=20)
        await came(NOON + timedelta(days=1), view=300, cart=100)
        await came(NOON - timedelta(days=10), view=5)

        report = await FunnelService.get_funnel(scope_of("2026-11-05", "2026-11-15", compared=True), viewer=SYSTEM)

        assert [(stage.stage, stage.visitors_count, stage.step_rate, stage.overall_rate) for stage in report.stages] == [
            ("view", 1000, 10_000, 10_000),
            ("cart", 300, 3000, 3000),
            ("checkout", 30, 1000, 300),
            ("paid", 20, 6667, 200),  # 66.666... % is rounded up
        ]
        assert report.previous is not None
        assert [(stage.visitors_count, stage.step_rate) for stage in report.previous] == [
            (5, 10_000),
            (0, 0),
            (0, None),
            (0, None),
        ]

    async def test_nobody_came_is_four_zeros(self, database: Database) -> None:
        report = await FunnelService.get_funnel(scope_of("2026-11-01", "2026-12-01"), viewer=SYSTEM)

        assert [(stage.visitors_count, stage.step_rate, stage.overall_rate) for stage in report.stages] == [(0, None, None)] * 4
        assert report.previous is None

    async def test_who_may_not_see_reports_is_refused(self, database: Database) -> None:
        with pytest.raises(PermissionDeniedError):
            await FunnelService.get_funnel(
                scope_of("2026-11-01", "2026-12-01"), viewer=viewer_of(await create_user(role=Role.VENDOR))
            )

    async def test_costs_two_commands_also_compared(self, database: Database, commands: CommandLog) -> None:
        with commands.counting() as sent:
            await FunnelService.get_funnel(scope_of("2026-11-01", "2026-12-01", compared=True), viewer=SYSTEM)
        assert len(sent) == 2, sent.sent


class TestGetCartReport:
    async def left(
        self, at: datetime, *, value: int, recovered: bool = False, reminded: bool = False, currency: str = "USD"
    ) -> None:
        await CartAbandonment(
            cart_id=PydanticObjectId(),
            value=Money(amount=value, currency=currency),
            pieces=1,
            abandoned_at=at,
            reminded_at=at + timedelta(days=40) if reminded else None,
            recovered_at=at + timedelta(hours=1) if recovered else None,
        ).store()

    async def test_days_are_those_of_the_zone_and_the_end_is_not_included(self, database: Database) -> None:
        start, end = datetime(2026, 10, 31, 23, tzinfo=UTC), datetime(2026, 11, 30, 23, tzinfo=UTC)  # midnights in Berlin
        await self.left(start, value=1000, recovered=True)
        await self.left(end - timedelta(milliseconds=1), value=500)
        await self.left(end, value=7)
        await self.left(start - timedelta(milliseconds=1), value=9)
        await count_everything()

        report = await FunnelService.get_cart_report(scope_of("2026-11-01", "2026-12-01", compared=True), viewer=SYSTEM)

        assert report.previous is not None
        current, previous = report.current, report.previous
        assert (current.abandoned_count, current.recovered_count, current.recovery_rate) == (2, 1, 5000)
        assert current.abandoned_value == [Money(amount=1500, currency="USD")]
        assert (previous.abandoned_count, previous.abandoned_value) == (1, [Money(amount=9, currency="USD")])

    async def test_random_carts_are_told_as_their_rows_tell_them(self, database: Database) -> None:
        """As by the pipeline of the shop's own report, which reads the rows; reminded and recovered while they are followed."""
        dice = random.Random(1)
        scope = scope_of("2026-10-24", "2026-11-05", compared=True)
        for _ in range(40):
            at = datetime(2026, 10, 8, tzinfo=UTC) + timedelta(minutes=15 * dice.randrange(96 * 30))
            await self.left(at, value=dice.randrange(1, 999), recovered=dice.random() < 0.3, reminded=dice.random() < 0.5)
        await count_everything()
        for query, update in (({"reminded_at": None}, "reminded_at"), ({"recovered_at": None}, "recovered_at")):
            for row in dice.sample(await CartAbandonment.find_rows(query, {"_id": 1}), 5):
                await CartAbandonment.change_row({"_id": row["_id"]}, {"$set": {update: NOON}})
        await count_everything()
        raw = [
            await AbandonmentService.report(viewer=SYSTEM, starts_at=start, ends_at=end)
            for start, end in zip(scope.bounds, scope.bounds[1:], strict=False)
        ]
        await self.left(NOON - timedelta(days=8), value=5, currency="EUR")
        await count_everything()

        report = await FunnelService.get_cart_report(scope, viewer=SYSTEM)
        await RollupService.rebuild(pause=timedelta(0))

        assert [report.previous, report.current] == raw
        assert raw[1].recovered_count > 0
        assert await FunnelService.get_cart_report(scope, viewer=SYSTEM) == report
