"""Tax zones: what is taxed how much and where; for staff alone."""

from typing import Annotated

from fastapi import Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Allowed, ObjectIdPath, RequiredIfMatch
from api.routing import make_router, refuses
from api.schemas.pricing import TaxZoneCreate, TaxZoneUpdate
from models.ecommerce.taxes import TaxZoneRead
from services.ecommerce.taxes import TaxService
from services.ecommerce.zones import InvalidZoneError, ZoneNotFoundError, ZoneTakenError
from services.errors import PreconditionError, PreconditionRequiredError
from services.users.permissions import Permission, Viewer

router = make_router("/shop/tax-zones", "Shop: taxes and shipping")

PromotionKeeper = Annotated[Viewer, Allowed(Permission.MANAGE_PROMOTIONS)]


@router.post("", status_code=201, responses=refuses(ZoneTakenError, InvalidZoneError))
async def create_tax_zone(body: TaxZoneCreate, viewer: PromotionKeeper) -> TaxZoneRead:
    """Open a tax zone."""
    return await TaxService.create_tax_zone(body, viewer=viewer)


@router.get("")
async def list_tax_zones(viewer: PromotionKeeper) -> list[TaxZoneRead]:
    """All tax zones, by code."""
    return await TaxService.list_tax_zones(viewer=viewer)


@router.get("/{zone_id}", response_model=TaxZoneRead, responses={**refuses(ZoneNotFoundError), **NOT_MODIFIED})
async def get_tax_zone(request: Request, zone_id: ObjectIdPath, viewer: PromotionKeeper) -> Response:
    """A tax zone with its countries and its rates by tax class."""
    return answer(request, await TaxService.get_tax_zone(zone_id, viewer=viewer))


@router.patch(
    "/{zone_id}",
    response_model=TaxZoneRead,
    responses=refuses(ZoneNotFoundError, InvalidZoneError, PreconditionError, PreconditionRequiredError),
)
async def update_tax_zone(
    request: Request, zone_id: ObjectIdPath, body: TaxZoneUpdate, viewer: PromotionKeeper, revision: RequiredIfMatch
) -> Response:
    """Change a tax zone; `If-Match` names its `revision`, as in `"3"`."""
    return answer(request, await TaxService.update_tax_zone(zone_id, body, viewer=viewer, revision=revision))


@router.delete("/{zone_id}", status_code=204, responses=refuses(ZoneNotFoundError))
async def delete_tax_zone(zone_id: ObjectIdPath, viewer: PromotionKeeper) -> None:
    """Remove a tax zone; orders keep what they were taxed."""
    await TaxService.delete_tax_zone(zone_id, viewer=viewer)
