from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from models.analytics.events import VisitKind
from models.analytics.visits import TrafficFigures, VisitSource
from models.database import Database
from models.users import Role
from services.analytics.periods import Granularity, Period
from services.analytics.reports.visits import VisitReportService
from services.analytics.scopes import ReportScope
from services.analytics.visits.traffic import TrafficService
from services.errors import PermissionDeniedError
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.users import create_user, viewer_of
from tests.factories.visits import NOON, create_event

UTC_DAYS = ReportScope(Period(date(2026, 11, 21), date(2026, 11, 23), ZoneInfo("UTC")), "USD", is_compared=True)


async def analyst() -> Viewer:
    return viewer_of(await create_user(role=Role.MANAGER))


def figures(**counts: int) -> TrafficFigures:
    return TrafficFigures(
        **{**dict.fromkeys(TrafficFigures.model_fields, 0), **{f"{name}_count": n for name, n in counts.items()}}
    )


class TestGetTrafficReport:
    async def test_tells_all_buckets_and_the_period_before(self, database: Database, commands: CommandLog) -> None:
        viewer = await analyst()
        await create_event(VisitKind.PAGE_VIEW, "before", NOON - timedelta(days=1))
        await create_event(VisitKind.PRODUCT_VIEW, "a")
        await create_event(VisitKind.CART_ADD, "a")
        await create_event(VisitKind.SEARCH, "b")
        await create_event(VisitKind.CHECKOUT, "b")
        await create_event(VisitKind.POST_VIEW, "long after", NOON + timedelta(days=9))
        await TrafficService.roll_up_all()

        with commands.counting() as sent:
            report = await VisitReportService.get_traffic_report(UTC_DAYS, viewer=viewer)

        both = figures(product_views=1, cart_adds=1, searches=1, checkouts=1, visitors=2)
        assert report.figures == both
        assert [
            (point.label, TrafficFigures(**point.model_dump(include=set(TrafficFigures.model_fields)))) for point in report.points
        ] == [
            ("2026-11-21", both),
            ("2026-11-22", figures()),
        ]
        assert report.previous == figures(page_views=1, visitors=1)
        assert len(sent) == 1

    async def test_is_zero_when_nobody_came(self, database: Database) -> None:
        scope = ReportScope(UTC_DAYS.period, "USD", Granularity.HOUR)

        report = await VisitReportService.get_traffic_report(scope, viewer=await analyst())

        assert (report.figures, report.previous, len(report.points)) == (figures(), None, 48)


class TestListVisitSources:
    async def test_most_visits_first_then_by_name(self, database: Database) -> None:
        for visitor, source in [("a", "letter"), ("b", "letter"), ("a", "blog.example"), ("c", "abc.example"), ("d", "")]:
            await create_event(visitor=visitor, source=source)
        await TrafficService.roll_up_all()

        report = await VisitReportService.list_visit_sources(UTC_DAYS, viewer=await analyst(), limit=2)

        assert report.rows == [VisitSource(source="letter", visits_count=2), VisitSource(source="abc.example", visits_count=1)]


class TestPermission:
    @pytest.mark.parametrize("report", ["get_traffic_report", "list_visit_sources", "list_searched_terms"])
    async def test_others_are_refused(self, database: Database, report: str) -> None:
        viewer = viewer_of(await create_user(role=Role.EDITOR))

        with pytest.raises(PermissionDeniedError):
            await getattr(VisitReportService, report)(UTC_DAYS, viewer=viewer)
