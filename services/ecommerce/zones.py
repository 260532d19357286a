"""Zones: the parts of the world that tax and shipping tables speak about."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol, Self, TypeVar

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints, model_validator

from models.base import AgoraDocument
from models.database import Session, start_again
from models.places import Country
from services.errors import ConflictError, NotFoundError, PreconditionError, RuleViolatedError

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


async def change_zone(
    document: type[Stored], zone_id: PydanticObjectId, fields: Mapping[str, Any], *, session: Session, revision: int | None
) -> Stored:
    """The zone with these fields set, in the caller's transaction.

    Raises ZoneNotFoundError, PreconditionError for another revision than the one named, InvalidZoneError.
    """
    row = await document.find_row({"_id": zone_id}, session=session)
    if row is None:
        raise ZoneNotFoundError(zone_id)
    if revision not in (None, row["revision"]):
        raise PreconditionError
    merged = {**row, **fields}
    if merged["states"] and len(merged["countries"]) != 1:
        raise InvalidZoneError("States are those of one country.")
    update = {"$set": dict(fields), "$inc": {"revision": 1}}
    changed = await document.change({"_id": zone_id, "revision": row["revision"]}, update, session=session)
    if changed is None:
        raise start_again("the zone was changed by somebody else")
    return changed
