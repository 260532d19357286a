"""Saved dashboards: what is kept of them, whose they are, how many there can be, and of which days they tell."""

import asyncio
from datetime import UTC, date, datetime

import pytest
from beanie import PydanticObjectId
from pydantic import ValidationError

from models.analytics.dashboards import DashboardRange, DashboardWidget, SavedDashboard
from models.database import Database
from models.users import Role, User
from services.analytics import dashboards
from services.analytics.dashboards import (
    DASHBOARD_ERASURE,
    MAX_DASHBOARDS,
    DashboardChanges,
    DashboardDraft,
    DashboardNameTakenError,
    DashboardNotFoundError,
    DashboardRacedError,
    DashboardService,
    DashboardsFullError,
    RangeDraft,
    scope_of,
)
from services.analytics.periods import Granularity, InvalidPeriodError
from services.analytics.scopes import UnknownTimeZoneError
from services.errors import PermissionDeniedError, PreconditionError, UnauthenticatedError
from services.events import EventService
from services.settings import Settings
from services.users.administration import UserAdministration
from tests.commands import CommandLog
from tests.factories.dashboards import create_dashboard, make_dashboard
from tests.factories.users import PASSWORD, create_login_user, create_user, open_session, viewer_of
from tests.races import from_another_process, seeds
from tests.shapes import serving_index

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOVEMBER = RangeDraft(start=date(2026, 11, 1), end=date(2026, 12, 1))


@pytest.fixture
async def manager(database: Database) -> User:
    return await create_user(role=Role.MANAGER)


async def stored(dashboard_id: PydanticObjectId) -> SavedDashboard:
    row = await SavedDashboard.find_row({"_id": dashboard_id})
    assert row is not None
    return SavedDashboard.from_row(row)


async def create(name: str, owner: User, settings: Settings) -> PydanticObjectId:
    return (await DashboardService.create_dashboard(DashboardDraft(name=name), viewer=viewer_of(owner), settings=settings)).id


class TestCreate:
    async def test_everything_is_kept_as_it_was_given(self, manager: User, settings: Settings) -> None:
        widgets = [DashboardWidget.CHART_PAID, DashboardWidget.TILE_NET, DashboardWidget.CHART_PAID]
        draft = DashboardDraft(
            name="  Our  November ",
            range=NOVEMBER,
            timezone="Asia/Kathmandu",
            granularity=Granularity.WEEK,
            is_compared=False,
            currency="EUR",
            widgets=widgets,
        )

        made = await DashboardService.create_dashboard(draft, viewer=viewer_of(manager), settings=settings)

        kept = await stored(made.id)
        assert kept.owner_id == manager.id
        assert (kept.name, kept.name_key, kept.revision) == ("Our  November", "our november", 1)
        assert kept.range == DashboardRange(last_days=None, start=date(2026, 11, 1), end=date(2026, 12, 1))
        assert (kept.timezone, kept.granularity, kept.is_compared, kept.currency) == ("Asia/Kathmandu", "week", False, "EUR")
        assert kept.widgets == made.widgets == widgets[:2]

    async def test_nothing_but_a_name_is_the_last_thirty_days_in_the_houses_zone(self, manager: User, settings: Settings) -> None:
        kept = await stored(await create("Mine", manager, settings))

        assert kept.range == DashboardRange(last_days=30, start=None, end=None)
        assert (kept.timezone, kept.granularity, kept.is_compared, kept.currency, kept.widgets) == (None, None, True, None, [])

    @pytest.mark.parametrize("name", ["monday  MORNING", "\uff2donday morning"], ids=["capitals and blanks", "full width"])
    async def test_name_is_taken_however_it_is_written(self, manager: User, settings: Settings, name: str) -> None:
        mine = await create_dashboard(owner=manager)
        await create_dashboard(name="Free")

        with pytest.raises(DashboardNameTakenError):
            await create(name, manager, settings)
        await create("Free", manager, settings)

        assert [row["name"] for row in await SavedDashboard.find_rows({"owner_id": manager.id}, sort=[("name", 1)])] == [
            "Free",
            mine.name,
        ]

    @pytest.mark.parametrize(
        ("over", "error"),
        [
            ({"timezone": "Mars/Olympus"}, UnknownTimeZoneError),
            ({"range": RangeDraft(start=date(2026, 12, 1), end=date(2026, 11, 1))}, InvalidPeriodError),
            ({"range": RangeDraft(last_days=15), "granularity": Granularity.HOUR}, InvalidPeriodError),
        ],
    )
    async def test_what_no_report_could_tell_is_refused(
        self, manager: User, settings: Settings, over: dict[str, object], error: type[Exception]
    ) -> None:
        draft = DashboardDraft.model_validate({"name": "Never", **over})

        with pytest.raises(error):
            await DashboardService.create_dashboard(draft, viewer=viewer_of(manager), settings=settings)

        assert await SavedDashboard.find_rows({}) == []

    async def test_who_may_not_see_reports_or_is_gone_saves_none(self, database: Database, settings: Settings) -> None:
        editor, gone = await create_user(role=Role.EDITOR), await create_user(role=Role.MANAGER, is_active=False)

        with pytest.raises(PermissionDeniedError):
            await create("No", editor, settings)
        with pytest.raises(UnauthenticatedError):
            await create("No", gone, settings)

        assert await SavedDashboard.find_rows({}) == []

    @pytest.mark.parametrize("seed", seeds())
    async def test_fifty_at_once_are_never_more_than_may_be(
        self, manager: User, settings: Settings, monkeypatch: pytest.MonkeyPatch, seed: int
    ) -> None:
        """As from many processes, which know nothing of each other."""
        monkeypatch.setattr(dashboards, "run_transaction", from_another_process)
        room = 5
        for place in range(MAX_DASHBOARDS - room):
            await create_dashboard(owner=manager, place=place, name=f"old {place}")

        names = [f"new {number % 25}" for number in range(50)]
        done = await asyncio.gather(*(create(name, manager, settings) for name in names), return_exceptions=True)

        made = [one for one in done if isinstance(one, PydanticObjectId)]
        refusals = {type(one) for one in done if isinstance(one, BaseException)}
        rows = await SavedDashboard.find_rows({"owner_id": manager.id})
        assert refusals <= {DashboardNameTakenError, DashboardsFullError, DashboardRacedError}
        assert 1 <= len(made) <= room
        assert len(rows) == MAX_DASHBOARDS - room + len(made)
        assert len({row["place"] for row in rows}) == len({row["name_key"] for row in rows}) == len(rows)

        for number in range(room - len(made)):  # nobody lost the room that is left
            await create(f"late {number}", manager, settings)
        with pytest.raises(DashboardsFullError):
            await create("One more", manager, settings)


class TestRange:
    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"last_days": 0},
            {"last_days": 1827},
            {"start": "2026-11-01"},
            {"last_days": 7, "start": "2026-11-01", "end": "2026-11-02"},
            {"last_days": 7, "end": "2026-11-02"},
            {"start": "2026-11-01T00:00:00", "end": "2026-11-02"},
            {"start": 1_793_491_200, "end": "2026-11-02"},
        ],
    )
    def test_is_the_last_days_or_two_dates(self, fields: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            RangeDraft.model_validate(fields)

    def test_last_days_end_with_today_in_the_dashboards_zone(self, settings: Settings) -> None:
        late = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)

        here = scope_of(make_dashboard(), settings=settings, now=late)
        east = scope_of(make_dashboard(timezone="Asia/Tokyo", currency="JPY", is_compared=False), settings=settings, now=late)

        assert (here.period.start, here.period.end) == (date(2026, 11, 15), date(2026, 11, 22))
        assert (here.currency, here.granularity, here.is_compared) == (settings.currency, Granularity.DAY, True)
        assert (east.period.start, east.period.end) == (date(2026, 11, 16), date(2026, 11, 23))
        assert (east.currency, east.is_compared) == ("JPY", False)

    def test_fixed_days_stay(self, settings: Settings) -> None:
        fixed = DashboardRange(last_days=None, start=date(2020, 1, 1), end=date(2024, 1, 1))

        scope = scope_of(make_dashboard(range=fixed), settings=settings, now=NOON)

        assert (scope.period.start, scope.period.end) == (date(2020, 1, 1), date(2024, 1, 1))
        assert scope.granularity is Granularity.MONTH


class TestRead:
    async def test_everybody_has_their_own_by_name(self, manager: User, commands: CommandLog) -> None:
        for place, name in enumerate(["b", "C", "a"]):
            await create_dashboard(owner=manager, place=place, name=name)
        foreign = await create_dashboard()

        with commands.counting() as sent:
            mine = await DashboardService.list_dashboards(viewer=viewer_of(manager))
            found = await DashboardService.get_dashboard(mine[0].id, viewer=viewer_of(manager))
        with pytest.raises(DashboardNotFoundError):
            await DashboardService.get_dashboard(foreign.id, viewer=viewer_of(manager))

        assert [one.name for one in mine] == ["a", "b", "C"]
        assert found == mine[0]
        assert len(sent.reads) == 2
        assert [read for read in sent.reads if serving_index(read) is None] == []


class TestUpdate:
    async def test_only_what_is_named_changes(self, manager: User, settings: Settings) -> None:
        before = await create_dashboard(owner=manager, timezone="Asia/Tokyo")
        changes = DashboardChanges(range=NOVEMBER, timezone=None)

        changed = await DashboardService.update_dashboard(
            before.id, changes, viewer=viewer_of(manager), settings=settings, revision=1
        )

        kept = await stored(before.id)
        assert (kept.range.start, kept.timezone, changed.revision, kept.revision) == (date(2026, 11, 1), None, 2, 2)
        assert (kept.name, kept.widgets, kept.is_compared) == (before.name, before.widgets, True)

    async def test_new_name_frees_the_old_one(self, manager: User, settings: Settings) -> None:
        first = await create_dashboard(owner=manager)
        second = await create_dashboard(owner=manager, place=1, name="Second")
        viewer = viewer_of(manager)

        with pytest.raises(DashboardNameTakenError):
            await DashboardService.update_dashboard(
                second.id, DashboardChanges(name="MONDAY morning"), viewer=viewer, settings=settings
            )
        assert await stored(second.id) == second
        await DashboardService.update_dashboard(first.id, DashboardChanges(name="First"), viewer=viewer, settings=settings)
        await DashboardService.update_dashboard(second.id, DashboardChanges(name=first.name), viewer=viewer, settings=settings)

        assert [one.name for one in await DashboardService.list_dashboards(viewer=viewer)] == ["First", "Monday morning"]
        assert (await stored(first.id)).created_at == first.created_at

    async def test_refusals_change_nothing(self, manager: User, settings: Settings) -> None:
        mine, foreign = await create_dashboard(owner=manager), await create_dashboard()

        async def update(one: SavedDashboard, *, revision: int | None = None, **over: object) -> None:
            changes = DashboardChanges.model_validate(over)
            await DashboardService.update_dashboard(
                one.id, changes, viewer=viewer_of(manager), settings=settings, revision=revision
            )

        with pytest.raises(PreconditionError):
            await update(mine, revision=2, name="Late")
        with pytest.raises(UnknownTimeZoneError):
            await update(mine, timezone="Nowhere")
        with pytest.raises(InvalidPeriodError):
            await update(mine, granularity="hour", range={"last_days": 90})
        with pytest.raises(DashboardNotFoundError):
            await update(foreign, name="Stolen")

        assert await stored(mine.id) == mine
        assert await stored(foreign.id) == foreign

    async def test_one_of_fifty_with_one_revision_wins(
        self, manager: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dashboards, "run_transaction", from_another_process)
        mine = await create_dashboard(owner=manager)

        async def rename(number: int) -> str:
            changes = DashboardChanges(name=f"By {number}")
            viewer = viewer_of(manager)
            changed = await DashboardService.update_dashboard(mine.id, changes, viewer=viewer, settings=settings, revision=1)
            return changed.name

        done = await asyncio.gather(*(rename(number) for number in range(50)), return_exceptions=True)

        winners = [one for one in done if isinstance(one, str)]
        assert [type(one) for one in done if not isinstance(one, str)] == [PreconditionError] * 49
        kept = await stored(mine.id)
        assert ([kept.name], kept.revision) == (winners, 2)


class TestDelete:
    async def test_only_ones_own(self, manager: User, settings: Settings) -> None:
        mine, foreign = await create_dashboard(owner=manager), await create_dashboard()

        with pytest.raises(DashboardNotFoundError):
            await DashboardService.delete_dashboard(foreign.id, viewer=viewer_of(manager))
        await DashboardService.delete_dashboard(mine.id, viewer=viewer_of(manager))
        with pytest.raises(DashboardNotFoundError):
            await DashboardService.delete_dashboard(mine.id, viewer=viewer_of(manager))

        assert [row["_id"] for row in await SavedDashboard.find_rows({})] == [foreign.id]
        await create(mine.name, manager, settings)


class TestErasure:
    async def test_dashboards_follow_the_account(self, database: Database, settings: Settings) -> None:
        leaving = await create_login_user(settings=settings, role=Role.MANAGER)
        await create_dashboard(owner=leaving)
        await create_dashboard(owner=leaving, place=1, name="Second")
        kept = await create_dashboard()
        opened = await open_session(leaving)

        await UserAdministration.delete_me(PASSWORD, viewer=viewer_of(leaving, opened.session), settings=settings)
        await EventService.pump([DASHBOARD_ERASURE])

        assert [row["_id"] for row in await SavedDashboard.find_rows({})] == [kept.id]
