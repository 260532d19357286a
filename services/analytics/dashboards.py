"""Saved dashboards: each belongs to one person, and nobody else is told that it exists."""

import random
import unicodedata
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Self

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints, model_validator

from models.analytics.dashboards import DashboardRange, DashboardWidget, SavedDashboard, SavedDashboardRead
from models.base import now as present
from models.database import DuplicateKeyError, Session, run_transaction
from models.events import Event, EventType
from models.money import Currency
from services.analytics.periods import MAX_YEARS, Granularity, fitting_granularity
from services.analytics.scopes import DEFAULT_DAYS, Comparison, ReportScope, zone_of
from services.errors import ConflictError, NotFoundError, PreconditionError, RuleViolatedError, require_revision
from services.events import Consumer
from services.inputs import Day, InputPart
from services.settings import Settings
from services.users.accounts import require_standing
from services.users.permissions import Permission, Viewer

MAX_DASHBOARDS = 30  # of one person
MAX_WIDGETS = len(DashboardWidget)
MAX_NAME = 60
MAX_DAYS = MAX_YEARS * 365 + 1

DashboardName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME, strip_whitespace=True)]
ZoneName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Widgets = Annotated[
    list[DashboardWidget],
    Field(max_length=MAX_WIDGETS, description="What to show, in this order; each once"),
]


class DashboardNotFoundError(NotFoundError):
    """There is no such saved dashboard, or it is somebody else's."""

    code = "dashboard_not_found"

    def __init__(self, dashboard_id: PydanticObjectId) -> None:
        super().__init__("saved dashboard", dashboard_id)


class DashboardNameTakenError(ConflictError):
    """The caller has a dashboard of this name."""

    code = "dashboard_name_taken"

    def __init__(self, name: str) -> None:
        super().__init__("You have a dashboard of this name already.")
        self.name = name


class DashboardsFullError(RuleViolatedError):
    """The caller has as many saved dashboards as one may have."""

    code = "dashboards_full"

    def __init__(self) -> None:
        super().__init__(f"One person has {MAX_DASHBOARDS} saved dashboards at most: delete one first.")


class DashboardRacedError(ConflictError):
    """The caller saved another dashboard at the very same moment."""

    code = "dashboard_raced"

    def __init__(self) -> None:
        super().__init__("You saved another dashboard at the same moment: try again.")


class RangeDraft(InputPart):
    """Which days: the last so many up to and with today, or those from a first one on; one of the two."""

    last_days: Annotated[int, Field(ge=1, le=MAX_DAYS)] | None = Field(
        default=None, description="The last so many days, with today", examples=[30]
    )
    start: Day | None = Field(default=None, description="The first day", examples=["2026-11-01"])
    end: Day | None = Field(default=None, description="The day after the last", examples=["2026-12-01"])

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        is_relative = self.last_days is not None
        if is_relative is (self.start is not None) or is_relative is (self.end is not None):
            raise ValueError("name either the last days, or the first day and the day after the last")
        return self


def _last_days() -> RangeDraft:
    return RangeDraft(last_days=DEFAULT_DAYS)


class DashboardDraft(BaseModel):
    """A dashboard to be."""

    name: DashboardName = Field(description="Unlike those of the caller's others", examples=["Monday morning"])
    range: RangeDraft = Field(default_factory=_last_days)
    timezone: ZoneName | None = Field(default=None, description="IANA name; null for the house's", examples=["Europe/Berlin"])
    granularity: Granularity | None = Field(default=None, description="Null: as fine as a chart of the range shows well")
    is_compared: bool = Field(default=True, description="Show the period of the same length just before, too")
    currency: Currency | None = Field(default=None, description="Null for the shop's")
    widgets: Widgets = Field(default_factory=list)


class DashboardChanges(BaseModel):
    """What is to change; what is left out stays, and null is a value as in the draft."""

    name: DashboardName = Field(default_factory=str)
    range: RangeDraft = Field(default_factory=_last_days)
    timezone: ZoneName | None = None
    granularity: Granularity | None = None
    is_compared: bool = Field(default_factory=bool)
    currency: Currency | None = None
    widgets: Widgets = Field(default_factory=list)


class DashboardService:
    """Needs VIEW_REPORTS throughout; what is somebody else's is as if it did not exist."""

    @staticmethod
    async def create_dashboard(
        draft: DashboardDraft, *, viewer: Viewer, settings: Settings, now: datetime | None = None
    ) -> SavedDashboardRead:
        """The dashboard, saved for the caller alone.

        Raises PermissionDeniedError, UnknownTimeZoneError, InvalidPeriodError, DashboardNameTakenError, DashboardsFullError, and
        DashboardRacedError when two are saved at once where there is room for one.
        """
        viewer.require(Permission.VIEW_REPORTS)
        fields = _stored(draft.model_dump())
        name_key = _key_of(draft.name)

        async def work(session: Session) -> SavedDashboard:
            await require_standing(session, viewer)
            others = await SavedDashboard.find_rows(
                {"owner_id": viewer.user_id}, {"place": 1, "name_key": 1}, limit=MAX_DASHBOARDS, session=session
            )
            if any(row["name_key"] == name_key for row in others):
                raise DashboardNameTakenError(draft.name)
            free = [place for place in range(MAX_DASHBOARDS) if all(row["place"] != place for row in others)]
            if not free:
                raise DashboardsFullError
            # Any of them, so that those who save at once from several processes seldom want the same.
            place = random.choice(free)
            dashboard = SavedDashboard(owner_id=viewer.user_id, place=place, name_key=name_key, **fields)
            scope_of(dashboard, settings=settings, now=now)
            return await dashboard.store(session=session)

        try:
            saved = await run_transaction(work, hot=[_queue_of(viewer)])
        except DuplicateKeyError as error:
            if await SavedDashboard.find_row({"owner_id": viewer.user_id, "name_key": name_key}, {"_id": 1}):
                raise DashboardNameTakenError(draft.name) from error
            raise DashboardRacedError from error
        return _to_read(saved)

    @staticmethod
    async def list_dashboards(*, viewer: Viewer) -> list[SavedDashboardRead]:
        """The caller's own, by name; there are never more than thirty. Raises PermissionDeniedError."""
        viewer.require(Permission.VIEW_REPORTS)
        query, by_name = {"owner_id": viewer.user_id}, [("name_key", 1)]
        rows = await SavedDashboard.find_rows(query, sort=by_name, limit=MAX_DASHBOARDS)
        return [_to_read(SavedDashboard.from_row(row)) for row in rows]

    @staticmethod
    async def get_dashboard(dashboard_id: PydanticObjectId, *, viewer: Viewer) -> SavedDashboardRead:
        """One of the caller's own. Raises PermissionDeniedError and DashboardNotFoundError."""
        viewer.require(Permission.VIEW_REPORTS)
        return _to_read(await _owned(dashboard_id, viewer))

    @staticmethod
    async def update_dashboard(
        dashboard_id: PydanticObjectId,
        changes: DashboardChanges,
        *,
        viewer: Viewer,
        settings: Settings,
        revision: int | None = None,
        now: datetime | None = None,
    ) -> SavedDashboardRead:
        """The dashboard with the changes in it; `revision` is the one the caller read, None for whichever is current.

        Raises PermissionDeniedError, DashboardNotFoundError, PreconditionError, UnknownTimeZoneError, InvalidPeriodError and
        DashboardNameTakenError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        fields = _stored(changes.model_dump(include=changes.model_fields_set))
        if "name" in fields:
            fields["name_key"] = _key_of(fields["name"])

        async def work(session: Session) -> SavedDashboard | None:
            before = await _owned(dashboard_id, viewer, session=session)
            require_revision(revision, before.revision)
            moved = {**fields, "revision": before.revision + 1}
            scope_of(SavedDashboard.from_row({**before.row(), **moved}), settings=settings, now=now)
            query = {"_id": dashboard_id, "revision": before.revision}
            if fields.get("name_key", before.name_key) == before.name_key:
                return await SavedDashboard.change(query, {"$set": moved}, session=session)
            return await SavedDashboard.rekey(query, moved, session=session)

        try:
            changed = await run_transaction(work, hot=[_queue_of(viewer)])
        except DuplicateKeyError as error:
            raise DashboardNameTakenError(fields["name"]) from error
        if changed is None:
            raise PreconditionError
        return _to_read(changed)

    @staticmethod
    async def delete_dashboard(dashboard_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """It is gone for good. Raises PermissionDeniedError and DashboardNotFoundError."""
        viewer.require(Permission.VIEW_REPORTS)

        async def work(session: Session) -> None:
            query = {"_id": dashboard_id, "owner_id": viewer.user_id}
            result = await SavedDashboard.collection().delete_one(query, session=session)
            if not result.deleted_count:
                raise DashboardNotFoundError(dashboard_id)

        await run_transaction(work, hot=[_queue_of(viewer)])


def scope_of(dashboard: SavedDashboard | SavedDashboardRead, *, settings: Settings, now: datetime | None = None) -> ReportScope:
    """What the dashboard's figures are about at that moment. Raises UnknownTimeZoneError and InvalidPeriodError."""
    zone = dashboard.timezone or settings.report_timezone
    start, end = _days_of(dashboard.range, (now or present()).astimezone(zone_of(zone)).date())
    return ReportScope.of(
        settings=settings,
        start=start,
        end=end,
        timezone=zone,
        currency=dashboard.currency,
        granularity=Granularity(dashboard.granularity) if dashboard.granularity else fitting_granularity((end - start).days),
        compare=Comparison.PREVIOUS if dashboard.is_compared else Comparison.NONE,
    )


def _days_of(chosen: DashboardRange, today: date) -> tuple[date, date]:
    """The first day and the one after the last."""
    if chosen.start is not None and chosen.end is not None:
        return chosen.start, chosen.end
    end = today + timedelta(days=1)
    return end - timedelta(days=chosen.last_days or DEFAULT_DAYS), end


async def _owned(dashboard_id: PydanticObjectId, viewer: Viewer, *, session: Session | None = None) -> SavedDashboard:
    row = await SavedDashboard.find_row({"_id": dashboard_id}, session=session)
    if row is None or row["owner_id"] != viewer.user_id:
        raise DashboardNotFoundError(dashboard_id)
    return SavedDashboard.from_row(row)


def _stored(fields: dict[str, Any]) -> dict[str, Any]:
    """What was asked for as it is stored: days as text, and no widget twice."""
    if "range" in fields:
        fields["range"] = DashboardRange(**fields["range"]).model_dump()
    if "widgets" in fields:
        fields["widgets"] = list(dict.fromkeys(fields["widgets"]))
    return fields


def _key_of(name: str) -> str:
    """Names that look alike have one key."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())


def _queue_of(viewer: Viewer) -> str:
    return f"dashboards of {viewer.user_id}"


def _to_read(dashboard: SavedDashboard) -> SavedDashboardRead:
    return SavedDashboardRead.model_validate(dashboard.model_dump())


async def _forget(event: Event) -> None:
    owner_id = PydanticObjectId(event.subject.removeprefix("user:"))

    async def work(session: Session) -> None:
        await SavedDashboard.collection().delete_many({"owner_id": owner_id}, session=session)

    await run_transaction(work, hot=[f"dashboards of {owner_id}"])


DASHBOARD_ERASURE = Consumer("dashboard_erasure", {EventType.USER_DEACTIVATED}, _forget)
"""Deletes the dashboards of a person who was deactivated. Harmless to repeat."""
