"""The small things every page of the shop refers to, kept in this process: the category tree, all attributes, closed locations.

They are bounded and change seldom, so they are read together in one command, and forgotten the moment they change here; other
processes follow their events, or the half minute of life. Nothing is decided by them that a transaction does not check again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from beanie import PydanticObjectId

from models.ecommerce.catalog import AttributeDefinition, ProductCategory
from models.ecommerce.catalog_reads import ProductCategoryName
from models.events import Event, EventType
from models.inventory.stock import StockLocation
from services.cache import Cache
from services.events import Consumer

MAX_CATEGORIES = 2_000
MAX_ATTRIBUTE_DEFINITIONS = 300


@dataclass(frozen=True)
class Reference:
    """The tree and the attributes at one moment. Categories are in the order of their level, then their place among siblings."""

    categories: Mapping[PydanticObjectId, ProductCategory]
    attributes: Mapping[str, AttributeDefinition]  # in their order
    closed_locations: frozenset[PydanticObjectId] = frozenset()  # what lies there is not for sale

    @cached_property
    def slugs(self) -> dict[str, ProductCategory]:
        return {category.slug: category for category in self.categories.values()}

    @cached_property
    def children(self) -> dict[PydanticObjectId | None, list[ProductCategory]]:
        """The active categories directly below each one, and the roots below None."""
        below: dict[PydanticObjectId | None, list[ProductCategory]] = {}
        for category in self.categories.values():
            if category.is_active:
                below.setdefault(category.parent_id, []).append(category)
        return below

    @cached_property
    def _subtrees(self) -> dict[PydanticObjectId, list[PydanticObjectId]]:
        within: dict[PydanticObjectId, list[PydanticObjectId]] = {}
        for category in self.categories.values():
            for key in (*category.ancestor_ids, category.id):
                within.setdefault(key, []).append(category.id)
        return within

    def subtree(self, category_id: PydanticObjectId) -> list[PydanticObjectId]:
        """The category and everything below it. By ids: a path would take `computers-used` for a part of `comp`."""
        return self._subtrees.get(category_id, [])

    @cached_property
    def _names(self) -> dict[PydanticObjectId, ProductCategoryName]:
        return {key: to_name(category) for key, category in self.categories.items()}

    def name_of(self, category_id: PydanticObjectId | None) -> ProductCategoryName | None:
        return None if category_id is None else self._names.get(category_id)

    def breadcrumb(self, category_id: PydanticObjectId | None) -> list[ProductCategoryName]:
        """From the root to the category itself; empty for none. Cannot loop: the ancestors are stored."""
        category = None if category_id is None else self.categories.get(category_id)
        if category is None:
            return []
        way = [self.categories[key] for key in category.ancestor_ids if key in self.categories]
        return [to_name(step) for step in (*way, category)]


_reference: Cache[str, Reference] = Cache("shop_reference", ttl=30.0, size=1)
_holders: list[Cache[Any, Any]] = []


async def get_reference() -> Reference:
    """No command when it is kept, else one."""
    return await _reference.get_or_load("all", _load)


def is_current(reference: Reference) -> bool:
    """False once it was forgotten, or another was read: what is made of it may be answered then, but not kept."""
    return _reference.peek("all") is reference


def forget_reference(_: PydanticObjectId | None = None) -> None:
    """Have the tree and the attributes read again, and whatever shows their names made again."""
    _reference.invalidate()
    for cache in _holders:
        cache.invalidate()


def shows_reference(cache: Cache[Any, Any]) -> None:
    """Have this cache emptied whenever a category or an attribute changes."""
    _holders.append(cache)


def to_name(category: ProductCategory) -> ProductCategoryName:
    return ProductCategoryName(id=category.id, name=category.name, slug=category.slug, path=category.path)


async def _load() -> Reference:
    rows = await ProductCategory.aggregate_rows(_pipeline())
    categories = [ProductCategory.from_row(row) for row in rows if "path" in row]
    attributes = [AttributeDefinition.from_row(row) for row in rows if "kind" in row]
    categories.sort(key=lambda category: (category.level, category.sort_order, category.id))
    attributes.sort(key=lambda definition: (definition.sort_order, definition.code))
    return Reference(
        {category.id: category for category in categories},
        {definition.code: definition for definition in attributes},
        frozenset(row["_id"] for row in rows if not ("path" in row or "kind" in row)),
    )


def _pipeline() -> list[dict[str, Any]]:
    """Rows as they are stored: those with a `path` are categories, those with a `kind` attributes, the rest closed locations."""
    return [
        {"$sort": {"_id": 1}},
        {"$limit": MAX_CATEGORIES},
        {
            "$unionWith": {
                "coll": "attribute_definitions",
                "pipeline": [{"$sort": {"_id": 1}}, {"$limit": MAX_ATTRIBUTE_DEFINITIONS}],
            }
        },
        {
            "$unionWith": {
                "coll": "stock_locations",
                "pipeline": [{"$match": {"is_active": False}}, {"$project": {"is_active": 1}}],
            }
        },
    ]


async def _forget_changed(event: Event) -> None:
    forget_reference()


for _document in (ProductCategory, AttributeDefinition, StockLocation):
    _document.watchers.append(forget_reference)

CATALOG_REFERENCE_CONSUMER = Consumer("shop_reference", {EventType.PRODUCT_CATEGORY_CHANGED}, _forget_changed)
"""Forgets the tree and the attributes when another process changed them."""
