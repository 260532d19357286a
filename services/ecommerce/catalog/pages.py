"""The pages of public products, kept for a minute at most as the bytes that are sent.

A page is forgotten by this process the moment its product, or a name on it, changes here, and follows what other processes and
the inventory change through their events. Carts and orders never read it: they ask for prices and stock themselves.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beanie import PydanticObjectId

from models.ecommerce.catalog import VISIBLE_STATUSES, Product, ProductStatus
from models.ecommerce.catalog_reads import (
    ImageRead,
    ProductRead,
    ProductSummary,
    RatingSummary,
    VariantRead,
)
from models.ecommerce.reviews import Review, ReviewRead, ReviewStatus
from models.events import Event, EventType
from services.cache import Cache
from services.ecommerce.catalog.products import ProductNotFoundError
from services.ecommerce.catalog.reading import (
    PAGE_FIELDS,
    SUMMARY_FIELDS,
    active_variants,
    attributes_of,
    summary_of,
    to_summary,
)
from services.ecommerce.catalog.reference import Reference, get_reference, shows_reference
from services.ecommerce.catalog.search import forget_searches
from services.ecommerce.catalog.slugs import ProductMoved, find_moved
from services.ecommerce.catalog.stock import availability_of, facts_of
from services.events import Consumer
from services.search import carrying
from services.views import Visit

RELATED = 4
REVIEWS = 10

Stages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ProductPage:
    """A product's page as JSON, with the two halves of its ETag."""

    product_id: PydanticObjectId
    body: bytes
    revision: int
    stamp: str


# A page, and which product has which; the first of each category by sales, one more than a page needs.
_pages: Cache[str, ProductPage] = Cache("shop_pages", ttl=60.0, size=2_000)
_slugs: Cache[PydanticObjectId, str] = Cache("shop_page_slugs", ttl=60.0, size=2_000)
_bestsellers: Cache[PydanticObjectId, tuple[ProductSummary, ...]] = Cache("shop_bestsellers", ttl=30.0, size=2_000)


class ProductPageService:
    @staticmethod
    async def get_product_details(slug: str, *, visit: Visit | None = None) -> ProductPage | ProductMoved:
        """A public product with breadcrumb, variants, rating, its ten most helpful reviews and four related products.

        `ProductMoved` for a former slug of one. Views, sales and a low stock on it may be a minute old. `visit` is counted
        without waiting. Three commands at most where the reference is kept, none for a page that was read a moment ago. Raises
        ProductNotFoundError.
        """
        try:
            page = await _pages.get_or_load(slug, lambda: _load(slug))
        except ProductNotFoundError:
            moved = await find_moved(slug)
            if moved is None:
                raise
            return moved
        if visit is not None:
            visit.count(page.product_id)
        return page


async def _load(slug: str) -> ProductPage:
    found = await Product.aggregate_rows(_product_pipeline(slug))
    if not found or found[0]["status"] not in VISIBLE_STATUSES:
        raise ProductNotFoundError(slug)
    [row] = found
    _slugs.put(row["_id"], slug)
    reference = await get_reference()
    product = await _to_read(row, reference)
    body = product.model_dump_json().encode()
    return ProductPage(row["_id"], body, row["revision"], hashlib.blake2b(body, digest_size=8).hexdigest())


async def _to_read(row: Mapping[str, Any], reference: Reference) -> ProductRead:
    """A command for the reviews and, unless they are kept, one for the category's bestsellers."""
    category_id = row["category_id"]
    reviews, bestsellers = await asyncio.gather(
        Review.aggregate_rows(_reviews_pipeline(row["_id"])), _bestsellers_of(category_id, reference)
    )
    facts = facts_of(row["levels"], closed=reference.closed_locations)
    variants = [
        VariantRead.model_validate({**variant.model_dump(), "availability": availability_of(variant, facts)})
        for variant in active_variants(row)
    ]
    shown = {
        **summary_of(row, reference),
        **{
            field: row[field]
            for field in (
                "description_html",
                "option_names",
                "meta_title",
                "meta_description",
                "views_count",
                "sales_count",
                "created_at",
                "updated_at",
                "revision",
            )
        },
        "breadcrumb": reference.breadcrumb(category_id),
        "attributes": attributes_of(row, reference),
        "variants": variants,
        "images": [ImageRead.model_validate(image) for image in row["images"]],
        "rating": RatingSummary(average=row["rating_average"] / 10, count=row["reviews_count"]),
        "reviews": reviews_of(reviews),
        "related": [one for one in bestsellers if one.id != row["_id"]][:RELATED],
    }
    return ProductRead.model_validate(shown)


def _product_pipeline(slug: str) -> Stages:
    """The product of this slug with its stock `levels`: not with reviews or related products, for which the embedded server
    walks their whole collections when they are joined by a pipeline.
    """
    levels = {"from": "stock_levels", "localField": "_id", "foreignField": "product_id", "as": "levels"}
    return [{"$match": {"slug": slug}}, {"$lookup": levels}, {"$project": PAGE_FIELDS}]


async def _bestsellers_of(category_id: PydanticObjectId | None, reference: Reference) -> tuple[ProductSummary, ...]:
    """One more than a page shows, which may be among them itself."""
    if category_id is None:
        return ()

    async def load() -> tuple[ProductSummary, ...]:
        rows = await Product.aggregate_rows(bestsellers_pipeline(category_id))
        return tuple(to_summary(row, reference) for row in rows)

    return await _bestsellers.get_or_load(category_id, load)


def bestsellers_pipeline(category_id: PydanticObjectId, *, limit: int = RELATED + 1) -> Stages:
    """The active products of the very category, bestselling first, ties to the newest, as rows of SUMMARY_FIELDS."""
    return [
        {"$match": {"category_id": category_id, "status": ProductStatus.ACTIVE.value}},
        carrying({name: f"${name}" for name in [*SUMMARY_FIELDS, "sales_count"]}),
        {"$sort": {"sales_count": -1, "_id": -1}},
        {"$limit": limit},
        {"$project": SUMMARY_FIELDS},
    ]


def _reviews_pipeline(product_id: PydanticObjectId) -> Stages:
    """Approved ones, most helpful first, then newest."""
    return [
        {"$match": {"product_id": product_id, "status": ReviewStatus.APPROVED.value}},
        {"$sort": {"helpful_count": -1, "_id": -1}},
        {"$limit": REVIEWS},
        {"$lookup": {"from": "users", "localField": "author_id", "foreignField": "_id", "as": "author"}},
        {
            "$project": {
                **dict.fromkeys(("product_id", "rating", "title", "content_html", "image_urls", "status"), 1),
                **dict.fromkeys(("helpful_count", "created_at", "updated_at", "revision", "author._id", "author.username"), 1),
                **dict.fromkeys(("author.first_name", "author.last_name", "author.avatar_url", "author.is_active"), 1),
            }
        },
    ]


def reviews_of(rows: Sequence[Mapping[str, Any]]) -> list[ReviewRead]:
    """The reviews among the rows, in their order. Who left is null."""
    return [
        ReviewRead.model_validate({**row, "id": row["_id"], "is_verified": True, "author": _author(row["author"])})
        for row in rows
        if "rating" in row
    ]


def _author(found: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if not found or not found[0]["is_active"]:
        return None
    person = found[0]
    full_name = f"{person['first_name']} {person['last_name']}".strip()
    return {"id": person["_id"], "username": person["username"], "full_name": full_name, "avatar_url": person["avatar_url"]}


def forget_product(product_id: PydanticObjectId | None) -> None:
    """Have the page of this product, or every page, made anew."""
    _bestsellers.invalidate()
    slug = None if product_id is None else _slugs.peek(product_id)
    _pages.invalidate(None if product_id is None else [slug] if slug is not None else [])


async def _forget_changed(event: Event) -> None:
    kind, _, key = event.subject.partition(":")
    if kind != "product":
        key = event.payload.get("product_id", "")
    if PydanticObjectId.is_valid(key):
        forget_product(PydanticObjectId(key))
    if event.type in _LISTED:
        forget_searches()


Product.watchers.append(forget_product)
for _cache in (_pages, _bestsellers):
    shows_reference(_cache)

_LISTED = {EventType.PRODUCT_CREATED, EventType.PRODUCT_UPDATED, EventType.PRODUCT_REMOVED}

PRODUCT_PAGE_CONSUMER = Consumer(
    "shop_pages",
    {*_LISTED, EventType.STOCK_CHANGED, EventType.REVIEW_APPROVED, EventType.REVIEW_WITHDRAWN},
    _forget_changed,
)
"""Forgets the pages of products that other processes, the inventory or reviews changed."""
