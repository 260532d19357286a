"""Registrations and sign-ins, by hand and against plain Python over the records."""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from beanie import PydanticObjectId

from models.database import Database
from models.users import LoginRecord, Role
from services.analytics.periods import Granularity, Period
from services.analytics.reports.users import UserReportService
from services.analytics.scopes import ReportScope
from services.errors import PermissionDeniedError
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.users import create_user

MANAGER = Viewer(PydanticObjectId(), "manager", Role.MANAGER)
BERLIN = ZoneInfo("Europe/Berlin")


def scope(start: date, end: date, zone: str = "UTC", **over: Any) -> ReportScope:
    return ReportScope(**{"period": Period(start, end, ZoneInfo(zone)), "currency": "USD", **over})


async def signed_in(user_id: PydanticObjectId, at: datetime, *, succeeded: bool = True) -> LoginRecord:
    return await LoginRecord(
        user_id=user_id,
        succeeded=succeeded,
        address="203.0.113.7",
        user_agent="Test/1.0",
        created_at=at,
        expires_at=at + timedelta(days=90),
    ).store()


class TestGetUsers:
    async def test_nobody_is_zeros_in_every_bucket(self, database: Database, commands: CommandLog) -> None:
        wanted = scope(date(2026, 11, 1), date(2026, 11, 4))
        with commands.counting() as sent:
            report = await UserReportService.get_users(wanted, viewer=MANAGER, now=datetime(2026, 11, 21, tzinfo=UTC))

        assert set(report.figures.model_dump().values()) == {0}
        assert (report.daily_active_count, report.weekly_active_count, report.monthly_active_count) == (0, 0, 0)
        assert [(point.label, point.logins_count) for point in report.points] == [
            ("2026-11-01", 0),
            ("2026-11-02", 0),
            ("2026-11-03", 0),
        ]
        assert [(one.role, one.accounts_count) for one in report.roles] == [(role, 0) for role in Role]
        assert report.logins_known_since == datetime(2026, 8, 23, tzinfo=UTC)
        assert len(sent) == 5

    async def test_usr_s12_activity_by_hand(self, database: Database) -> None:
        """Berlin, where 25 October begins at 22:00 UTC the day before and ends at 23:00."""
        one, two, three = (PydanticObjectId() for _ in range(3))
        night = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)
        for who, at in (
            (one, night),
            (one, night + timedelta(hours=5)),
            (two, night + timedelta(hours=24, minutes=59)),
            (two, night + timedelta(hours=25)),
            (three, night - timedelta(minutes=1)),
            (three, night - timedelta(days=20)),
        ):
            await signed_in(who, at)
        await signed_in(one, night + timedelta(hours=1), succeeded=False)
        await create_user(role=Role.AUTHOR, created_at=night)
        await create_user(is_active=False, created_at=night - timedelta(minutes=1))

        wanted = scope(date(2026, 10, 25), date(2026, 10, 27), "Europe/Berlin")
        report = await UserReportService.get_users(wanted, viewer=MANAGER)

        figures = report.figures
        assert (figures.registrations_count, figures.active_count) == (1, 2)
        assert (figures.logins_count, figures.failed_logins_count) == (4, 1)
        assert (report.daily_active_count, report.weekly_active_count, report.monthly_active_count) == (1, 3, 3)
        assert [
            (point.label, point.registrations_count, point.active_count, point.logins_count, point.failed_logins_count)
            for point in report.points
        ] == [("2026-10-25", 1, 2, 3, 1), ("2026-10-26", 0, 1, 1, 0)]
        roles = {one.role: (one.accounts_count, one.active_accounts_count, one.registrations_count) for one in report.roles}
        assert (roles[Role.AUTHOR], roles[Role.USER], roles[Role.ADMIN]) == ((1, 1, 1), (1, 0, 0), (0, 0, 0))

    @pytest.mark.parametrize("granularity", [Granularity.DAY, Granularity.WEEK, Granularity.MONTH])
    async def test_random_records_equal_plain_python(self, database: Database, granularity: Granularity) -> None:
        dice = random.Random(granularity.value)
        people = [PydanticObjectId() for _ in range(8)]
        records = []
        for _ in range(80):
            at = datetime(2026, 10, 1, tzinfo=UTC) + timedelta(minutes=15 * dice.randrange(96 * 60))
            records.append(await signed_in(dice.choice(people), at, succeeded=dice.random() < 0.8))
        start, end = date(2026, 10, 8), date(2026, 11, 18)

        wanted = scope(start, end, BERLIN.key, granularity=granularity)
        report = await UserReportService.get_users(wanted, viewer=MANAGER)

        def name(day: date) -> str:
            if granularity is Granularity.DAY:
                return day.isoformat()
            return f"{day:%G-W%V}" if granularity is Granularity.WEEK else f"{day:%Y-%m}"

        local = [(one, one.created_at.astimezone(BERLIN).date()) for one in records]
        within = [(one, day) for one, day in local if start <= day < end]
        seen: dict[str, set[PydanticObjectId]] = {}
        for one, day in within:
            if one.succeeded:
                seen.setdefault(name(day), set()).add(one.user_id)
        assert {point.label: point.active_count for point in report.points if point.active_count} == {
            label: len(users) for label, users in seen.items()
        }
        assert report.figures.active_count == len({one.user_id for one, _ in within if one.succeeded})
        assert report.figures.logins_count == sum(one.succeeded for one, _ in within)
        assert report.figures.failed_logins_count == sum(not one.succeeded for one, _ in within)
        for days, count in ((1, report.daily_active_count), (7, report.weekly_active_count), (30, report.monthly_active_count)):
            since = end - timedelta(days=days)
            assert count == len({one.user_id for one, day in local if since <= day < end and one.succeeded})

    async def test_readers_are_refused(self, database: Database) -> None:
        with pytest.raises(PermissionDeniedError):
            await UserReportService.get_users(
                scope(date(2026, 11, 1), date(2026, 11, 2)), viewer=Viewer(PydanticObjectId(), "editor", Role.EDITOR)
            )
