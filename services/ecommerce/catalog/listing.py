"""The list of everything public, in each of the shop's orders: a plain find, which an index can sort."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

from bson import ObjectId

from models.ecommerce.catalog import VISIBLE_STATUSES, Product
from services.cache import Cache
from services.ecommerce.catalog.summaries import WHOLE_FIELDS
from services.pagination import PageRequest


class ProductSort(StrEnum):
    """Ties always go to the newest product; to the oldest with `price_high`."""

    RELEVANCE = "relevance"  # best match, then bestselling; without words: featured, then bestselling
    PRICE_LOW = "price_low"
    PRICE_HIGH = "price_high"
    NEWEST = "newest"
    BESTSELLING = "bestselling"
    RATING = "rating"


ORDERS: Mapping[ProductSort, dict[str, int]] = {
    ProductSort.RELEVANCE: {"is_featured": -1, "sales_count": -1, "_id": -1},
    ProductSort.PRICE_LOW: {"price.amount": 1, "_id": -1},
    ProductSort.PRICE_HIGH: {"price.amount": -1, "_id": 1},
    ProductSort.NEWEST: {"_id": -1},
    ProductSort.BESTSELLING: {"sales_count": -1, "_id": -1},
    ProductSort.RATING: {"rating_average": -1, "_id": -1},
}
PUBLIC: dict[str, Any] = {"status": {"$in": [status.value for status in VISIBLE_STATUSES]}}

_totals: Cache[str, int] = Cache("shop_totals", ttl=5.0, size=1)
_bounds: Cache[tuple[ProductSort, int], Any] = Cache("shop_page_bounds", ttl=600.0, size=500)


async def all_public(page: PageRequest, sort: ProductSort) -> dict[str, Any]:
    """Everything, without a look at what is not on the page; in the form of a search's pipeline, its rows whole. Two commands."""
    total, rows = await asyncio.gather(
        _totals.get_or_load("public", lambda: Product.count_rows(PUBLIC)),
        _public_rows(page, sort),
    )
    return {"rows": rows, "total": [{"n": total}]}


def forget_totals() -> None:
    _totals.invalidate()


async def _public_rows(page: PageRequest, sort: ProductSort) -> list[dict[str, Any]]:
    """The rows of a page of everything, read within the range that held the whole page last time, if there was one.

    The embedded server sorts all that a filter matches; the range makes that little more than the page. It cannot make the answer
    wrong: a full page within the range is the page, because all that sorts before the range's end lies in it.
    """
    order = ORDERS[sort]
    field, direction = next(iter(order.items()))
    window: dict[str, Any] = {"sort": list(order.items()), "skip": page.skip, "limit": page.limit}
    fields = {**WHOLE_FIELDS, field.partition(".")[0]: 1}
    key = (sort, page.skip + page.limit)
    bound = _bounds.get(key)
    rows: list[dict[str, Any]] = []
    if bound is not None:
        rows = await Product.find_rows({**PUBLIC, field: bound}, fields, **window)
    if len(rows) < page.limit:
        rows = await Product.find_rows(PUBLIC, fields, **window)
    if len(rows) == page.limit:
        end: Any = rows[-1]
        for part in field.split("."):
            end = end[part]
        _bounds.put(key, _up_to(end, direction))
    return rows


def _up_to(end: Any, direction: int) -> Any:
    """What holds for everything that sorts before or at `end`; None where that is everything.

    Wider than need be: asked for a bound itself, the embedded server may leave it out.
    """
    if isinstance(end, bool):
        return end or None  # not featured: at the end of the list
    if isinstance(end, ObjectId):
        return {"$gt": ObjectId.from_datetime(end.generation_time - timedelta(seconds=1))}
    return {"$gt": end - 1} if direction < 0 else {"$lt": end + 1}
