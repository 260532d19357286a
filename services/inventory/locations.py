"""Where stock lies: warehouses and shops, and the order in which they serve."""

from collections.abc import Mapping
from typing import Annotated

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.base import now as present
from models.database import DuplicateKeyError, Session, after_commit, run_transaction
from models.events import EventType
from models.inventory.stock import StockLevel, StockLocation
from models.money import Currency
from services.audit import AuditService
from services.cache import Cache
from services.errors import ConflictError, NotFoundError, PreconditionError
from services.events import EventService
from services.users.permissions import Permission, Viewer

DEFAULT_CODE = "MAIN"
MAX_LOCATIONS = 500

_all: Cache[str, Mapping[PydanticObjectId, StockLocation]] = Cache("stock_locations", ttl=10.0, size=1)

LocationCode = Annotated[str, StringConstraints(min_length=1, max_length=30, pattern=r"^[A-Z0-9][A-Z0-9._-]*$")]
LocationName = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Priority = Annotated[int, Field(ge=0, le=10_000, description="The lowest serves first", examples=[10])]


class LocationNotFoundError(NotFoundError):
    """There is no such stock location."""

    code = "location_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("stock location", key)


class LocationTakenError(ConflictError):
    """Another location has this code."""

    code = "location_taken"

    def __init__(self, code: str) -> None:
        super().__init__("Another location has this code.")
        self.taken = code


class LocationRead(BaseModel):
    """A warehouse or shop."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    code: str = Field(examples=["MAIN"])
    name: str = Field(examples=["Main warehouse"])
    priority: int = Field(description="The lowest serves first")
    is_active: bool = Field(description="Whether what lies there can be bought")
    currency: str = Field(description="What its stock is valued in", examples=["USD"])
    revision: int


class LocationDraft(BaseModel):
    """A location to be."""

    code: LocationCode = Field(examples=["BERLIN"])
    name: LocationName = Field(examples=["Warehouse Berlin"])
    priority: Priority = 100
    currency: Currency | None = Field(default=None, description="What its stock is valued in; the shop's currency when left out")


class LocationChanges(BaseModel):
    """What is to change; what is left out stays."""

    name: LocationName = Field(default_factory=str)
    priority: Priority = Field(default_factory=int)
    is_active: bool = Field(default_factory=bool)


class LocationService:
    @staticmethod
    async def create_location(draft: LocationDraft, *, viewer: Viewer, currency: Currency) -> LocationRead:
        """Raises PermissionDeniedError, LocationTakenError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        fields = draft.model_dump(exclude={"currency"})
        location = StockLocation(**fields, currency=draft.currency or currency)

        async def work(session: Session) -> None:
            await location.store(session=session)
            await AuditService.record(
                session, "stock_location.created", subject=f"stock_location:{location.id}", actor_id=viewer.user_id
            )

        try:
            await run_transaction(work)
        except DuplicateKeyError as error:
            raise LocationTakenError(draft.code) from error
        after_commit(_all.invalidate)
        return to_read(location)

    @staticmethod
    async def list_locations(*, viewer: Viewer) -> list[LocationRead]:
        """Every location, in the order in which they serve. Raises PermissionDeniedError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        rows = await StockLocation.find_rows({}, sort=[("_id", 1)], limit=MAX_LOCATIONS)
        return [to_read(location) for location in _in_order(rows)]

    @staticmethod
    async def get_location(location_id: PydanticObjectId, *, viewer: Viewer) -> LocationRead:
        """Raises PermissionDeniedError, LocationNotFoundError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        return to_read(await get_location(location_id))

    @staticmethod
    async def update_location(
        location_id: PydanticObjectId, changes: LocationChanges, *, viewer: Viewer, revision: int | None
    ) -> LocationRead:
        """The location with the changes in it; `revision` is the one the caller read, None for whichever is current.

        Raises PermissionDeniedError, LocationNotFoundError, PreconditionError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        fields = changes.model_dump(include=changes.model_fields_set)
        condition = {} if revision is None else {"revision": revision}

        async def work(session: Session) -> StockLocation:
            update = {"$set": fields, "$inc": {"revision": 1}}
            location = await StockLocation.change({"_id": location_id, **condition}, update, session=session)
            if location is None:
                await get_location(location_id, session=session)
                raise PreconditionError
            if "is_active" in fields:
                await _tell_products(session, location)
            await AuditService.record(
                session,
                "stock_location.updated",
                subject=f"stock_location:{location_id}",
                actor_id=viewer.user_id,
                details=fields,
            )
            return location

        location = await run_transaction(work, hot=[location_id])
        after_commit(_all.invalidate)
        return to_read(location)

    @staticmethod
    async def ensure_default(*, currency: Currency) -> StockLocation:
        """The active location that serves first; made as MAIN when there is no location at all. Safe to call at once."""
        locations = await known_locations()
        found = default_of(locations)
        if found is not None:
            return found
        try:
            location = await StockLocation(code=DEFAULT_CODE, name="Main", currency=currency, created_at=present()).store()
        except DuplicateKeyError:
            row = await StockLocation.find_row({"code": DEFAULT_CODE})
            assert row is not None, "locations are never deleted"
            location = StockLocation.from_row(row)
        _all.invalidate()
        after_commit(_all.invalidate)
        return location


async def known_locations() -> Mapping[PydanticObjectId, StockLocation]:
    """Every location by its id, in the order in which they serve. Up to 10 s old, so that orders need not read it."""

    async def load() -> Mapping[PydanticObjectId, StockLocation]:
        rows = await StockLocation.find_rows({}, sort=[("_id", 1)], limit=MAX_LOCATIONS)
        return {location.id: location for location in _in_order(rows)}

    return await _all.get_or_load("all", load)


def default_of(locations: Mapping[PydanticObjectId, StockLocation]) -> StockLocation | None:
    return next((location for location in locations.values() if location.is_active), None)


async def get_location(location_id: PydanticObjectId, *, session: Session | None = None) -> StockLocation:
    """Raises LocationNotFoundError."""
    row = await StockLocation.find_row({"_id": location_id}, session=session)
    if row is None:
        raise LocationNotFoundError(location_id)
    return StockLocation.from_row(row)


async def _tell_products(session: Session, location: StockLocation) -> None:
    """What lies here can be bought from now on, or not any more: who listens asks for what is available."""
    fields = {"product_id": 1, "variant_id": 1, "sku": 1, "available": 1}
    for row in await StockLevel.find_rows({"location_id": location.id}, fields, session=session):
        if row["available"] > 0:
            payload = {"variant_id": str(row["variant_id"]), "sku": row["sku"], "is_available": location.is_active}
            await EventService.record(session, EventType.STOCK_CHANGED, f"product:{row['product_id']}", payload=payload)


def to_read(location: StockLocation) -> LocationRead:
    return LocationRead.model_validate(location.model_dump())


def _in_order(rows: list[dict[str, object]]) -> list[StockLocation]:
    locations = [StockLocation.from_row(row) for row in rows]
    return sorted(locations, key=lambda location: (location.priority, location.id))


def _forget(_location_id: PydanticObjectId | None) -> None:
    _all.invalidate()


StockLocation.watchers.append(_forget)
