"""Zones: the parts of the world that tax and shipping tables speak about."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Protocol, Self, TypeVar

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints, model_validator

from models.base import AgoraDocument
from models.database import DuplicateKeyError, Session, after_commit, run_transaction, start_again
from models.events import EventType
from models.places import Country
from services.cache import Cache
from services.errors import ConflictError, NotFoundError, RuleViolatedError, require_revision
from services.events import EventService
from services.users.permissions import Permission, Viewer

MAX_ZONES = 300

ZoneCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,30}$")]
ZoneName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
State = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
TaxClass = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,30}$")]


class ZoneNotFoundError(NotFoundError):
    """There is no such zone."""

    code = "zone_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("zone", key)


class ZoneTakenError(ConflictError):
    """Another zone has this code."""

    code = "zone_taken"

    def __init__(self, zone: str) -> None:
        super().__init__("Another zone has this code.")
        self.zone = zone


class InvalidZoneError(RuleViolatedError):
    """The zone would contradict itself: states need the one country they are of, and there are no more than 300 zones."""

    code = "invalid_zone"


class Place(Protocol):
    """What a zone says about where it is."""

    @property
    def countries(self) -> list[str]: ...

    @property
    def states(self) -> list[str]: ...


class ZoneDraft(BaseModel):
    """What every zone to be has."""

    code: ZoneCode = Field(description="Never changes; totals are explained with it", examples=["US-IL"])
    name: ZoneName = Field(examples=["Illinois"])
    countries: list[Country] = Field(default_factory=list, max_length=250, description="ISO 3166 codes; none is everywhere")
    states: list[State] = Field(default_factory=list, max_length=200, description="Of the one country; none is all of it")

    @model_validator(mode="after")
    def _states_have_a_country(self) -> Self:
        if self.states and len(self.countries) != 1:
            raise ValueError("states are those of one country")
        return self


ZoneType = TypeVar("ZoneType", bound=Place)
Stored = TypeVar("Stored", bound=AgoraDocument)


def best_zone(zones: Sequence[ZoneType], country: str | None, state: str) -> ZoneType | None:
    """The zone that says most about the place: its state, its country, everywhere; the first among equals. None when none does.

    An unknown country lies in zones of everywhere alone.
    """
    found: ZoneType | None = None
    closest = -1
    for zone in zones:
        closeness = _closeness(zone, country, state.strip().casefold())
        if closeness > closest:
            found, closest = zone, closeness
    return found


def _closeness(zone: Place, country: str | None, state: str) -> int:
    if not zone.countries:
        return 0
    if country not in zone.countries:
        return -1
    if not zone.states:
        return 1
    return 2 if state in {known.casefold() for known in zone.states} else -1


class ZoneTable(Generic[Stored]):
    """All zones of one kind: kept by staff, who may manage promotions, and the active ones held for pricing.

    Every method for staff raises PermissionDeniedError.
    """

    def __init__(self, document: type[Stored], kind: str) -> None:
        self._document = document
        self._kind = kind  # `tax`, `shipping`
        self._held: Cache[str, list[Stored]] = Cache(f"{kind}_zones", ttl=30, size=1)
        document.watchers.append(self.forget)

    def forget(self, zone_id: PydanticObjectId | None = None) -> None:
        """Have the table read again."""
        self._held.invalidate()

    @property
    def held(self) -> Sequence[Stored]:
        """The active zones as they were last read; empty where none are held."""
        return self._held.peek("all") or ()

    async def active(self) -> list[Stored]:
        """All active zones, oldest first; up to 30 s old where neither this process nor an event told of a change."""

        async def load() -> list[Stored]:
            rows = await self._document.find_rows({}, sort=[("_id", 1)], limit=MAX_ZONES)
            return [self._document.from_row(row) for row in rows if row["is_active"]]

        return await self._held.get_or_load("all", load)

    async def create(self, draft: ZoneDraft, *, viewer: Viewer) -> Stored:
        """Raises ZoneTakenError, InvalidZoneError."""
        viewer.require(Permission.MANAGE_PROMOTIONS)
        zone: Stored = self._document.model_validate(draft.model_dump())

        async def work(session: Session) -> None:
            if len(await self._document.find_rows({}, {"_id": 1}, limit=MAX_ZONES, session=session)) == MAX_ZONES:
                raise InvalidZoneError(f"There are {MAX_ZONES} {self._kind} zones already.")
            await zone.store(session=session)
            await self._record(session, zone.id, viewer)

        try:
            await run_transaction(work)
        except DuplicateKeyError as error:
            raise ZoneTakenError(draft.code) from error
        after_commit(self.forget)
        return zone

    async def get(self, zone_id: PydanticObjectId, *, viewer: Viewer) -> Stored:
        """Raises ZoneNotFoundError."""
        viewer.require(Permission.MANAGE_PROMOTIONS)
        row = await self._document.find_row({"_id": zone_id})
        if row is None:
            raise ZoneNotFoundError(zone_id)
        return self._document.from_row(row)

    async def list_all(self, *, viewer: Viewer) -> list[Stored]:
        """All of them, by code."""
        viewer.require(Permission.MANAGE_PROMOTIONS)
        rows = await self._document.find_rows({}, sort=[("code", 1)], limit=MAX_ZONES)
        return [self._document.from_row(row) for row in rows]

    async def update(self, zone_id: PydanticObjectId, changes: BaseModel, *, viewer: Viewer, revision: int | None) -> Stored:
        """The zone with the changes that are set; `revision` is the one the caller read, None for whichever is current.

        Raises ZoneNotFoundError, PreconditionError, InvalidZoneError.
        """
        viewer.require(Permission.MANAGE_PROMOTIONS)
        fields = changes.model_dump(include=changes.model_fields_set)

        async def work(session: Session) -> Stored:
            zone = await self._change(zone_id, fields, session=session, revision=revision)
            await self._record(session, zone_id, viewer)
            return zone

        return await run_transaction(work, hot=[zone_id])

    async def delete(self, zone_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Raises ZoneNotFoundError."""
        viewer.require(Permission.MANAGE_PROMOTIONS)

        async def work(session: Session) -> None:
            result = await self._document.collection().delete_one({"_id": zone_id}, session=session)
            if not result.deleted_count:
                raise ZoneNotFoundError(zone_id)
            await self._record(session, zone_id, viewer)

        await run_transaction(work, hot=[zone_id])
        after_commit(self.forget)

    async def _change(
        self, zone_id: PydanticObjectId, fields: Mapping[str, Any], *, session: Session, revision: int | None
    ) -> Stored:
        row = await self._document.find_row({"_id": zone_id}, session=session)
        if row is None:
            raise ZoneNotFoundError(zone_id)
        require_revision(revision, row["revision"])
        merged = {**row, **fields}
        if merged["states"] and len(merged["countries"]) != 1:
            raise InvalidZoneError("States are those of one country.")
        update = {"$set": dict(fields), "$inc": {"revision": 1}}
        changed = await self._document.change({"_id": zone_id, "revision": row["revision"]}, update, session=session)
        if changed is None:
            raise start_again("the zone was changed by somebody else")
        return changed

    async def _record(self, session: Session, zone_id: PydanticObjectId, viewer: Viewer) -> None:
        subject = f"{self._kind}_zone:{zone_id}"
        await EventService.record(session, EventType.PROMOTION_CHANGED, subject, actor_id=viewer.user_id)
