"""The address, the customer and the filled cart that paths lead to are the member's."""

from typing import Any

from models.ecommerce.catalog import Product
from models.ecommerce.coupons import Coupon
from models.ecommerce.customers import Address, Customer
from tests.api.world import Body, Operation, Provider, Query, World, fixed
from tests.factories.carts import create_cart
from tests.factories.catalog import create_product
from tests.factories.customers import create_address, create_customer, make_place
from tests.factories.pricing import create_coupon


async def _customer(world: World) -> Customer:
    member = await world.person("member")
    customer: Customer = await world.once("customer", lambda: create_customer(user=member))
    return customer


async def _customer_id(world: World, operation: Operation, variant: str) -> str:
    return str((await _customer(world)).id)


async def _address_id(world: World, operation: Operation, variant: str) -> str:
    customer = await _customer(world)
    address: Address = await world.once("address", lambda: create_address(customer))
    return str(address.id)


async def _kind(world: World, operation: Operation, variant: str) -> str:
    return "shipping"


async def _bought(world: World) -> Product:
    product: Product = await world.once("product in the cart", lambda: create_product(track_inventory=False))
    return product


async def _coupon(world: World) -> Coupon:
    coupon: Coupon = await world.once("coupon in the cart", create_coupon)
    return coupon


async def _fill_cart(world: World, **over: Any) -> Product:
    member, product = await world.person("member"), await _bought(world)
    await world.once("cart", lambda: create_cart((product, 2), user=member, **over))
    return product


async def _variant_id(world: World, operation: Operation, variant: str) -> str:
    return str((await _fill_cart(world)).variants[0].id)


async def _code(world: World, operation: Operation, variant: str) -> str:
    code = (await _coupon(world)).code
    await _fill_cart(world, coupon_codes=[code])
    return code


async def _item(world: World) -> dict[str, Any]:
    product = await _bought(world)
    return {"product_id": str(product.id), "variant_id": str(product.variants[0].id)}


async def _coupon_code(world: World) -> dict[str, Any]:
    await _fill_cart(world)
    return {"code": (await _coupon(world)).code}


async def _span(world: World, variant: str) -> dict[str, str]:
    return {"since": "2026-11-01T00:00:00Z", "until": "2026-12-01T00:00:00Z"}


VALUES: dict[str, Provider] = {
    "customer_id": _customer_id,
    "address_id": _address_id,
    "kind": _kind,
    "variant_id": _variant_id,
    "code": _code,
}
QUERIES: dict[str, Query] = {"get_abandonment_report": _span}
BODIES: dict[str, Body] = {
    "update_own_customer": fixed(language="de"),
    "create_address": fixed(address=make_place().model_dump()),
    "update_address": fixed(kind="shipping"),
    "add_to_cart": _item,
    "update_cart_item": fixed(quantity=1),
    "add_cart_coupon": _coupon_code,
}
