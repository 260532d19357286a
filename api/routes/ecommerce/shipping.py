"""Shipping: what is offered where, for everybody to read; the zones behind it, for staff."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Allowed, Config, ObjectIdPath, RequiredIfMatch
from api.routing import make_router, refuses
from api.schemas.pricing import ShippingZoneCreate, ShippingZoneUpdate
from models.ecommerce.shipping import ShippingMethodRead, ShippingZoneRead
from models.money import Currency
from models.places import Country
from services.ecommerce.shipping import ShippingService
from services.ecommerce.zones import InvalidZoneError, ZoneNotFoundError, ZoneTakenError
from services.errors import PreconditionError, PreconditionRequiredError
from services.users.permissions import Permission, Viewer

router = make_router("/shop", "Shop: taxes and shipping")

PromotionKeeper = Annotated[Viewer, Allowed(Permission.MANAGE_PROMOTIONS)]


@router.get("/shipping-methods")
async def list_shipping_methods(
    settings: Config,
    country: Annotated[Country, Query(description="ISO 3166 code", examples=["US"])],
    state: Annotated[str, Query(max_length=100, description="Of that country, where it has such", examples=["IL"])] = "",
    currency: Annotated[Currency | None, Query(description="The shop's own if left out")] = None,
) -> list[ShippingMethodRead]:
    """The ways to send something to a place, in the order in which they are offered; empty when there is none."""
    return await ShippingService.list_shipping_methods(country=country, state=state, currency=currency, settings=settings)


@router.post("/shipping-zones", status_code=201, responses=refuses(ZoneTakenError, InvalidZoneError))
async def create_shipping_zone(body: ShippingZoneCreate, viewer: PromotionKeeper) -> ShippingZoneRead:
    """Open a shipping zone."""
    return await ShippingService.create_shipping_zone(body, viewer=viewer)


@router.get("/shipping-zones")
async def list_shipping_zones(viewer: PromotionKeeper) -> list[ShippingZoneRead]:
    """All shipping zones, by code."""
    return await ShippingService.list_shipping_zones(viewer=viewer)


@router.get(
    "/shipping-zones/{zone_id}", response_model=ShippingZoneRead, responses={**refuses(ZoneNotFoundError), **NOT_MODIFIED}
)
async def get_shipping_zone(request: Request, zone_id: ObjectIdPath, viewer: PromotionKeeper) -> Response:
    """A shipping zone with its countries and the ways to send there."""
    return answer(request, await ShippingService.get_shipping_zone(zone_id, viewer=viewer))


@router.patch(
    "/shipping-zones/{zone_id}",
    response_model=ShippingZoneRead,
    responses=refuses(ZoneNotFoundError, InvalidZoneError, PreconditionError, PreconditionRequiredError),
)
async def update_shipping_zone(
    request: Request, zone_id: ObjectIdPath, body: ShippingZoneUpdate, viewer: PromotionKeeper, revision: RequiredIfMatch
) -> Response:
    """Change a shipping zone; `If-Match` names its `revision`, as in `"3"`."""
    return answer(request, await ShippingService.update_shipping_zone(zone_id, body, viewer=viewer, revision=revision))


@router.delete("/shipping-zones/{zone_id}", status_code=204, responses=refuses(ZoneNotFoundError))
async def delete_shipping_zone(zone_id: ObjectIdPath, viewer: PromotionKeeper) -> None:
    """Remove a shipping zone; orders keep what their shipping cost."""
    await ShippingService.delete_shipping_zone(zone_id, viewer=viewer)
