"""The product that paths lead to is the vendor's; categories and attributes belong to the shop's staff."""

from typing import Any

from models.ecommerce.catalog import AttributeDefinition, Product, ProductCategory
from tests.api.world import Body, Operation, Provider, Query, World, fixed
from tests.factories.catalog import create_attribute, create_category, create_product


async def _product(world: World) -> Product:
    seller = await world.person("vendor")
    product: Product = await world.once("vendor's product", lambda: create_product(seller_id=seller.id))
    return product


async def _slug(world: World, operation: Operation, variant: str) -> str:
    return (await _product(world)).slug


async def _key(world: World, operation: Operation, variant: str) -> str:
    """A product's or a category's slug where it is read, its id where it is changed."""
    if "/products/" in operation.path:
        product = await _product(world)
        return product.slug if operation.id == "get_product_details" else str(product.id)
    category: ProductCategory = await world.once("product category", create_category)
    return category.slug if operation.method == "GET" else str(category.id)


async def _attribute_id(world: World, operation: Operation, variant: str) -> str:
    attribute: AttributeDefinition = await world.once("attribute", create_attribute)
    return str(attribute.id)


async def _search(world: World, variant: str) -> dict[str, str]:
    return {"facets": "true"}


_PRICE = {"amount": "19.90", "currency": "USD"}


async def _new_product(world: World) -> dict[str, Any]:
    return {"name": "Linen shirt", "status": "active", "variants": [{"sku": "SAMPLE-SHIRT", "price": _PRICE}]}


VALUES: dict[str, Provider] = {"key": _key, "slug": _slug, "attribute_id": _attribute_id}
QUERIES: dict[str, Query] = {"search_products": _search}
BODIES: dict[str, Body] = {
    "create_product": _new_product,
    "update_product": fixed(name="Another name"),
    "create_product_category": fixed(name="Sample category"),
    "update_product_category": fixed(name="Another name"),
    "create_attribute": fixed(code="sample", name="Sample", kind="text"),
    "update_attribute": fixed(name="Another name"),
}
