"""The wish list with something on it and the wait for what is sold out are the member's."""

from models.ecommerce.catalog import Product
from models.ecommerce.wishlists import StockNotice, WishlistItem
from tests.api.samples import customers, reviews
from tests.api.world import Body, Operation, Provider, Query, World
from tests.factories.catalog import create_product
from tests.factories.wishlists import create_stock_notice, create_wishlist_item


async def _product(world: World) -> Product:
    product: Product = await world.once("sold out product", create_product)
    return product


async def _wish(world: World) -> Product:
    member, product = await world.person("member"), await _product(world)
    item: WishlistItem = await world.once("wish", lambda: create_wishlist_item(product, user=member))
    assert item.product_id == product.id
    return product


async def _wait(world: World) -> Product:
    member, product = await world.person("member"), await _product(world)
    notice: StockNotice = await world.once("stock notice", lambda: create_stock_notice(product, user=member))
    assert notice.product_id == product.id
    return product


async def _variant_id(world: World, operation: Operation, variant: str) -> str:
    if "/wishlist/" in operation.path:
        return str((await _wish(world)).variants[0].id)
    if operation.path.endswith("/stock-notice"):
        return str((await _wait(world)).variants[0].id)
    return await customers.VALUES["variant_id"](world, operation, variant)


async def _product_id(world: World, operation: Operation, variant: str) -> str:
    if operation.path.endswith("/stock-notice"):
        return str((await _wait(world)).id)
    return await reviews.VALUES["product_id"](world, operation, variant)


VALUES: dict[str, Provider] = {"variant_id": _variant_id, "product_id": _product_id}
QUERIES: dict[str, Query] = {}
BODIES: dict[str, Body] = {}
