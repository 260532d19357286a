"""Coupons, promotions and zones belong to the shop's staff, whoever made them."""

from typing import Any

from models.ecommerce.coupons import Coupon, Promotion
from tests.api.world import Body, Operation, Provider, Query, World, fixed
from tests.factories.pricing import create_coupon, create_promotion, create_shipping_zone, create_tax_zone

_BATCH = "sample batch"


async def _coupon_id(world: World, operation: Operation, variant: str) -> str:
    coupon: Coupon = await world.once("coupon", create_coupon)
    return str(coupon.id)


async def _promotion_id(world: World, operation: Operation, variant: str) -> str:
    promotion: Promotion = await world.once("promotion", create_promotion)
    return str(promotion.id)


async def _zone_id(world: World, operation: Operation, variant: str) -> str:
    make = create_tax_zone if "/tax-zones/" in operation.path else create_shipping_zone
    zone: Any = await world.once(make.__name__, make)
    return str(zone.id)


async def _batch(world: World, variant: str) -> dict[str, str]:
    await world.once("coupon of a batch", lambda: create_coupon(batch=_BATCH))
    return {"batch": _BATCH}


async def _place(world: World, variant: str) -> dict[str, str]:
    return {"country": "US"}


async def _span(world: World, variant: str) -> dict[str, str]:
    return {"since": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"}


_RULE = {"kind": "percentage", "rate": 1000}
_METHOD = {"code": "post", "name": "Post", "rate": {"amount": "5.00", "currency": "USD"}}

VALUES: dict[str, Provider] = {"coupon_id": _coupon_id, "promotion_id": _promotion_id, "zone_id": _zone_id}
QUERIES: dict[str, Query] = {
    "export_coupon_batch": _batch,
    "list_shipping_methods": _place,
    "list_discount_usage": _span,
}
BODIES: dict[str, Body] = {
    "create_coupon": fixed(code="SAMPLE10", rule=_RULE),
    "create_coupon_batch": fixed(batch="another batch", count=2, rule=_RULE),
    "update_coupon": fixed(name="Another name"),
    "create_promotion": fixed(name="Sale", rule=_RULE),
    "update_promotion": fixed(name="Another name"),
    "create_tax_zone": fixed(code="SAMPLE", name="Sample", rates=[{"rate": 2000}]),
    "update_tax_zone": fixed(name="Another name"),
    "create_shipping_zone": fixed(code="SAMPLE", name="Sample", methods=[_METHOD]),
    "update_shipping_zone": fixed(name="Another name"),
}
