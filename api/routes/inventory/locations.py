"""Where stock lies."""

from fastapi import Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Config, ObjectIdPath, RequiredIfMatch
from api.routes.inventory.keepers import StockKeeper
from api.routing import make_router, refuses
from api.schemas.inventory import LocationCreate, LocationUpdate
from services.errors import PreconditionError, PreconditionRequiredError
from services.inventory.locations import LocationNotFoundError, LocationRead, LocationService, LocationTakenError

router = make_router("/inventory/locations", "Inventory: locations")


@router.get("")
async def list_stock_locations(viewer: StockKeeper) -> list[LocationRead]:
    """Every location, in the order in which they serve."""
    return await LocationService.list_locations(viewer=viewer)


@router.post("", status_code=201, responses=refuses(LocationTakenError))
async def create_stock_location(body: LocationCreate, viewer: StockKeeper, settings: Config) -> LocationRead:
    """Open a warehouse or shop."""
    return await LocationService.create_location(body, viewer=viewer, currency=settings.currency)


@router.get("/{location_id}", response_model=LocationRead, responses={**refuses(LocationNotFoundError), **NOT_MODIFIED})
async def get_stock_location(request: Request, location_id: ObjectIdPath, viewer: StockKeeper) -> Response:
    """A warehouse or shop, open or closed, and its place in the order in which they serve."""
    return answer(request, await LocationService.get_location(location_id, viewer=viewer))


@router.patch(
    "/{location_id}",
    response_model=LocationRead,
    responses=refuses(LocationNotFoundError, PreconditionError, PreconditionRequiredError),
)
async def update_stock_location(
    request: Request, location_id: ObjectIdPath, body: LocationUpdate, viewer: StockKeeper, revision: RequiredIfMatch
) -> Response:
    """Change a location, or close it: what lies there is then counted and not sold. `If-Match` names its `revision`."""
    return answer(request, await LocationService.update_location(location_id, body, viewer=viewer, revision=revision))
