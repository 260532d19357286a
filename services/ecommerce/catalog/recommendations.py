"""What goes with a product, and why: counted by a batch from paid orders and from views, read with what is for sale now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from beanie import PydanticObjectId
from pymongo import UpdateOne

from models.base import now as present
from models.base import to_milliseconds
from models.database import Session, run_transaction
from models.ecommerce.catalog import (
    VISIBLE_STATUSES,
    Product,
    ProductRecommendation,
    ProductStatus,
    ProductVisit,
    RecommendationReason,
    RecommendedProduct,
)
from models.ecommerce.catalog_reads import ProductSummary, RecommendationRead
from models.ecommerce.orders import Order, PaymentStatus
from services.cache import Cache
from services.ecommerce.catalog.pages import bestsellers_pipeline
from services.ecommerce.catalog.products import ProductNotFoundError
from services.ecommerce.catalog.reading import SUMMARY_FIELDS, to_summary
from services.ecommerce.catalog.reference import Reference, get_reference, shows_reference
from services.users.permissions import Viewer

MAX_RECOMMENDATIONS = 20
KEPT = 20  # of each reason, for one product
POPULAR = 30  # of a category: enough to leave some once what is owned is taken out
LATEST = 1_000  # orders, or visits, of a product that are counted
AT_LEAST = 2  # one basket, or one person's visit, is nobody else's business
WINDOW = timedelta(days=365)
VISIT_WINDOW = timedelta(days=30)
BATCH = 100

PAID = (PaymentStatus.COMPLETED.value, PaymentStatus.PARTIALLY_REFUNDED.value)
_ACTIVE = ProductStatus.ACTIVE.value  # the bestsellers are
OWNED = (*PAID, PaymentStatus.AUTHORISED.value)

Stages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A product that goes with another, if it is still to be had."""

    product: ProductSummary
    reason: RecommendationReason
    count: int


_candidates: Cache[PydanticObjectId, tuple[_Candidate, ...]] = Cache("shop_recommendations", ttl=60.0, size=2_000)


class RecommendationService:
    @staticmethod
    async def list_recommendations(slug: str, *, viewer: Viewer | None = None, limit: int = 8) -> list[RecommendationRead]:
        """Up to `limit` available products that go with this one: bought together, then viewed together, most often first, then
        the bestsellers of its category; each once, with its first reason. Ties go to the newest product.

        Without the product itself and what the viewer has bought. Up to a minute old. Three commands at most.
        Raises ProductNotFoundError for a product that is not public.
        """
        row = await Product.find_row({"slug": slug}, {"status": 1, "category_id": 1})
        if row is None or row["status"] not in VISIBLE_STATUSES:
            raise ProductNotFoundError(slug)
        product_id, category_id = row["_id"], row["category_id"]
        found = await _candidates.get_or_load(product_id, lambda: _load(product_id, category_id))
        owned = set() if viewer is None else await _owned(viewer)
        reference = await get_reference()
        left = [one for one in found if one.product.id not in owned][: min(limit, MAX_RECOMMENDATIONS)]
        return [
            RecommendationRead(product=one.product, reason=one.reason, explanation=_explained(one, category_id, reference))
            for one in left
        ]

    @staticmethod
    async def rebuild(*, now: datetime | None = None) -> int:
        """Count anew what goes with every public product; returns for how many something was found.

        Harmless to repeat, to cut off and to run twice at once: every row is counted from orders and visits, and only rows that
        no run has written since this one began are dropped.
        """
        now = to_milliseconds(now or present())
        began = present()
        written = 0
        after: dict[str, Any] = {}
        while True:
            rows = await Product.find_rows(after, {"status": 1}, sort=[("_id", 1)], limit=BATCH)
            if not rows:
                break
            public = [row["_id"] for row in rows if row["status"] in VISIBLE_STATUSES]
            written += await _write({product_id: await _counted(product_id, now) for product_id in public})
            after = {"_id": {"$gt": rows[-1]["_id"]}}
        await ProductRecommendation.collection().delete_many({"updated_at": {"$lt": began}})
        _candidates.invalidate()
        return written


def forget_recommendations(_: PydanticObjectId | None = None) -> None:
    """Have candidates looked up anew: one may have sold out."""
    _candidates.invalidate()


Product.watchers.append(forget_recommendations)
shows_reference(_candidates)


async def _load(product_id: PydanticObjectId, category_id: PydanticObjectId | None) -> tuple[_Candidate, ...]:
    reference = await get_reference()
    rows = await ProductRecommendation.aggregate_rows(_candidates_pipeline(product_id, category_id))
    found: dict[PydanticObjectId, _Candidate] = {}
    for row in rows:
        product = row["product"][0] if "product" in row else row
        if product["_id"] == product_id or not product["is_available"] or product.get("status", _ACTIVE) not in VISIBLE_STATUSES:
            continue
        item = row.get("items", {"reason": RecommendationReason.POPULAR_IN_CATEGORY, "count": 0})
        candidate = _Candidate(to_summary(product, reference), RecommendationReason(item["reason"]), item["count"])
        found.setdefault(product["_id"], candidate)
    return tuple(found.values())


def _candidates_pipeline(product_id: PydanticObjectId, category_id: PydanticObjectId | None) -> Stages:
    """Rows `{"items": {"reason": "bought_together", "count": 3}, "product": [{...}]}` in the stored order, then bestsellers.

    Those are rows of SUMMARY_FIELDS.
    """
    stages: Stages = [
        {"$match": {"product_id": product_id}},
        {"$project": {"items": 1}},
        {"$unwind": "$items"},
        {"$lookup": {"from": "products", "localField": "items.product_id", "foreignField": "_id", "as": "product"}},
        {"$match": {"product": {"$ne": []}}},
        {"$project": {"items": 1, "product.status": 1, **{f"product.{field}": 1 for field in ("_id", *SUMMARY_FIELDS)}}},
    ]
    if category_id is not None:
        stages.append({"$unionWith": {"coll": "products", "pipeline": bestsellers_pipeline(category_id, limit=POPULAR)}})
    return stages


def _explained(candidate: _Candidate, category_id: PydanticObjectId | None, reference: Reference) -> str:
    if candidate.reason is RecommendationReason.BOUGHT_TOGETHER:
        return f"Bought together in {candidate.count} orders."
    if candidate.reason is RecommendationReason.VIEWED_TOGETHER:
        return f"Looked at together by {candidate.count} visitors."
    category = reference.name_of(category_id)
    return f"Popular in {category.name}." if category is not None else "Popular."


async def _owned(viewer: Viewer) -> set[PydanticObjectId]:
    """What the viewer has paid for in their latest orders. One command."""
    rows = await Order.find_rows(
        {"user_id": viewer.user_id},
        {"payment_status": 1, "lines.product_id": 1},
        sort=[("_id", -1)],
        limit=LATEST,
    )
    return {line["product_id"] for row in rows if row["payment_status"] in OWNED for line in row["lines"]}


async def _counted(product_id: PydanticObjectId, now: datetime) -> list[RecommendedProduct]:
    """What the product was bought with, then what it was viewed with; two commands, each bounded by `LATEST`."""
    bought = await Order.aggregate_rows(bought_pipeline(product_id, since=now - WINDOW))
    viewed = await ProductVisit.aggregate_rows(viewed_pipeline(product_id, since=now - VISIT_WINDOW))
    return [
        *_items(bought, RecommendationReason.BOUGHT_TOGETHER),
        *_items(viewed, RecommendationReason.VIEWED_TOGETHER),
    ]


def _items(rows: Sequence[Mapping[str, Any]], reason: RecommendationReason) -> list[RecommendedProduct]:
    return [RecommendedProduct(product_id=row["_id"], reason=reason, count=row["n"]) for row in rows]


def bought_pipeline(product_id: PydanticObjectId, *, since: datetime) -> Stages:
    """Rows `{"_id": <other product>, "n": 3}`: in how many of the product's latest paid orders the other is, most first."""
    ids = {"$map": {"input": "$lines", "in": "$$this.product_id"}}
    return _together(
        {"lines.product_id": product_id},
        {"payment_status": {"$in": list(PAID)}, "placed_at": {"$gte": since}},
        ids,
        product_id,
    )


def viewed_pipeline(product_id: PydanticObjectId, *, since: datetime) -> Stages:
    """Rows `{"_id": <other product>, "n": 3}`: in how many of the product's latest visits the other is, most first."""
    return _together({"product_ids": product_id}, {"day": {"$gte": since}}, "$product_ids", product_id)


def _together(lead: dict[str, Any], rest: dict[str, Any], ids: Any, product_id: PydanticObjectId) -> Stages:
    return [
        {"$match": lead},
        {"$sort": {"_id": -1}},
        {"$limit": LATEST},
        {"$match": rest},
        {"$project": {"others": {"$setUnion": [ids, []]}}},  # each once
        {"$unwind": "$others"},
        {"$group": {"_id": "$others", "n": {"$sum": 1}}},
        {"$match": {"_id": {"$ne": product_id}, "n": {"$gte": AT_LEAST}}},
        {"$sort": {"n": -1, "_id": -1}},
        {"$limit": KEPT},
    ]


async def _write(found: Mapping[PydanticObjectId, list[RecommendedProduct]]) -> int:
    """Store what was found for these products; what nothing was found for is left to be dropped."""
    kept = {product_id: items for product_id, items in found.items() if items}
    if not kept:
        return 0
    stamp = present()
    updates = [
        UpdateOne(
            {"product_id": product_id},
            {
                "$set": {"items": [item.model_dump() for item in items], "updated_at": stamp},
                "$setOnInsert": {"created_at": stamp},
            },
            upsert=True,
        )
        for product_id, items in sorted(kept.items())
    ]

    async def work(session: Session) -> None:
        await ProductRecommendation.collection().bulk_write(updates, session=session)

    await run_transaction(work, hot=["product_recommendations"])
    return len(kept)
