"""Products, categories and attributes as the services would have left them: terms, facets, paths and counters in step."""

from itertools import count
from typing import Any, TypeVar

from models.base import AgoraDocument
from models.ecommerce.catalog import (
    VISIBLE_STATUSES,
    AttributeDefinition,
    AttributeKind,
    Product,
    ProductCategory,
    Variant,
)
from models.money import Money
from services.ecommerce.catalog.writing import derived

_numbers = count(1)

Stored = TypeVar("Stored", bound=AgoraDocument)


def money(amount: str, currency: str = "USD") -> Money:
    return Money.of(amount, currency)


def make_variant(**over: Any) -> Variant:
    """A variant for 19.90 USD that tracks its stock; `price` may be given as a decimal string."""
    number = next(_numbers)
    if isinstance(over.get("price"), str):
        over["price"] = money(over["price"])
    return Variant(**{"sku": f"SKU-{number:05d}", "price": money("19.90"), **over})


def make_product(**over: Any) -> Product:
    """An active product with one variant, unsaved. `price` (a decimal string) and `sku` are those of that variant."""
    number = next(_numbers)
    of_variant = {field: over.pop(field) for field in ("price", "sku", "track_inventory", "allow_backorder") if field in over}
    variants = over.pop("variants", None) or [make_variant(**of_variant)]
    fields: dict[str, Any] = {
        "name": f"Product {number}",
        "slug": f"product-{number}",
        "variants": variants,
        "currency": variants[0].price.currency,
        "price": variants[0].price,
        "price_max": variants[0].price,
        **over,
    }
    product = Product(**fields)
    followed = derived(product)
    for field, value in followed.items():
        if field not in over:
            setattr(product, field, value)
    return product


async def create_product(*, category: ProductCategory | None = None, **over: Any) -> Product:
    """A saved product, counted by its category when it is public. The category given is not changed in memory."""
    if category is not None:
        over["category_id"] = category.id
    product = _told(await make_product(**over).store())
    if product.status in VISIBLE_STATUSES and product.category_id is not None:
        await ProductCategory.collection().update_one({"_id": product.category_id}, {"$inc": {"products_count": 1}})
    return product


def make_category(*, parent: ProductCategory | None = None, **over: Any) -> ProductCategory:
    """A root category, or one below `parent`, unsaved."""
    number = next(_numbers)
    slug = over.get("slug", f"category-{number}")
    defaults: dict[str, Any] = {"name": f"Category {number}", "slug": slug, "path": f"{slug}/"}
    if parent is not None:
        defaults |= {
            "parent_id": parent.id,
            "ancestor_ids": [*parent.ancestor_ids, parent.id],
            "path": f"{parent.path}{slug}/",
            "level": parent.level + 1,
        }
    return ProductCategory(**{**defaults, **over})


async def create_category(*, parent: ProductCategory | None = None, **over: Any) -> ProductCategory:
    return _told(await make_category(parent=parent, **over).store())


def make_attribute(**over: Any) -> AttributeDefinition:
    """A choice of colours that is a facet."""
    defaults: dict[str, Any] = {
        "code": f"attribute-{next(_numbers)}",
        "name": "Colour",
        "kind": AttributeKind.CHOICE,
        "choices": ["red", "blue", "green"],
    }
    return AttributeDefinition(**{**defaults, **over})


async def create_attribute(**over: Any) -> AttributeDefinition:
    return _told(await make_attribute(**over).store())


def _told(document: Stored) -> Stored:
    """Stored behind the services' backs: what this process keeps must not go without it."""
    for watcher in type(document).watchers:
        watcher(document.id)
    return document
