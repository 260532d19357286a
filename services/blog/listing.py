"""Pages of published posts, and what makes them cheap where a sorted page costs what its filter matches."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any, TypeAlias

from beanie import PydanticObjectId

from models.blog.posts import Post, PostStatus, PostSummary
from models.blog.taxonomy import Category, Tag
from models.users import User
from services.blog.categories import forget_categories
from services.blog.reading import SUMMARY_FIELDS, to_summaries
from services.blog.tags import forget_popular_tags
from services.cache import Cache
from services.pagination import Page, PageRequest, page_of


class PostSort(StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"
    MOST_VIEWED = "most_viewed"
    MOST_LIKED = "most_liked"


@dataclass(frozen=True, slots=True)
class PostFilter:
    """Which published posts are wanted; None does not narrow. Slugs of category and tag, username of the author."""

    category: str | None = None
    tag: str | None = None
    author: str | None = None


class _Unknown(Enum):
    """Remembered for a slug or username that nothing has."""

    UNKNOWN = "unknown"


_Key: TypeAlias = tuple[PostFilter, PostSort, int]

_ORDER: Mapping[PostSort, tuple[str, int]] = {
    PostSort.NEWEST: ("published_at", -1),
    PostSort.OLDEST: ("published_at", 1),
    PostSort.MOST_VIEWED: ("views_count", -1),
    PostSort.MOST_LIKED: ("likes_count", -1),
}

_totals: Cache[PostFilter, int] = Cache("blog_totals", ttl=5.0, size=1_000)
_bounds: Cache[_Key, datetime | int] = Cache("blog_page_bounds", ttl=600.0, size=2_000)
_ids: Cache[tuple[str, str], PydanticObjectId | _Unknown] = Cache("blog_filters", ttl=10.0, size=5_000)


def forget_public_lists() -> None:
    """Have totals, the list of categories and the popular tags read again, after a publication or withdrawal here."""
    _totals.invalidate()
    forget_categories()
    forget_popular_tags()


async def list_public(request: PageRequest, *, wanted: PostFilter, sort: PostSort) -> Page[PostSummary]:
    """A page of the published posts that meet `wanted`; the total is up to 5 s old, the items are not.

    An unknown category, tag or author has no posts. One command when the caches are warm: the find.
    """
    query = await _query_of(wanted)
    if query is None:
        return page_of([], request, 0)
    total = await _totals.get_or_load(wanted, lambda: Post.count_rows(query))
    rows = await _page_rows(request, query, wanted, sort)
    return page_of(await to_summaries(rows), request, total)


async def _page_rows(request: PageRequest, query: Mapping[str, Any], wanted: PostFilter, sort: PostSort) -> list[dict[str, Any]]:
    """The rows of a page, read within the range that held the whole page last time, if there was one.

    The embedded server sorts everything a filter matches; the range makes that little more than the page. It cannot make the
    answer wrong: whatever was added or removed meanwhile, a full page within the range is the page, because all that sorts
    before the range's end lies in the range. Only when the range does not fill the page is it read again without.
    """
    field, direction = _ORDER[sort]
    key = (wanted, sort, request.skip + request.limit)
    order = [(field, direction), ("_id", direction)]
    bound = _bounds.get(key)
    rows: list[dict[str, Any]] = []
    if bound is not None:
        within = {**query, field: _up_to(bound, direction)}
        rows = await Post.find_rows(within, SUMMARY_FIELDS, sort=order, skip=request.skip, limit=request.limit)
    if len(rows) < request.limit:
        rows = await Post.find_rows(query, SUMMARY_FIELDS, sort=order, skip=request.skip, limit=request.limit)
    if len(rows) == request.limit:
        _bounds.put(key, rows[-1][field])
    return rows


def _up_to(bound: datetime | int, direction: int) -> dict[str, datetime | int]:
    """The condition of a range that ends with `bound`, in the order of `direction`.

    Written as "beyond the next value": asked for `$gte` on a descending key that others follow in the index, the embedded
    server leaves out the bound itself. Stored times are whole milliseconds.
    """
    if isinstance(bound, datetime):
        return {"$gt" if direction < 0 else "$lt": bound + direction * timedelta(milliseconds=1)}
    return {"$gt" if direction < 0 else "$lt": bound + direction}


async def _query_of(wanted: PostFilter) -> dict[str, Any] | None:
    """The stored query; None when the category, tag or author does not exist."""
    query: dict[str, Any] = {"status": PostStatus.PUBLISHED.value}
    for field, kind, name in (
        ("category_id", "category", wanted.category),
        ("tag_ids", "tag", wanted.tag),
        ("author_id", "author", wanted.author),
    ):
        if name is None:
            continue
        found = await _id_of(kind, name)
        if found is _Unknown.UNKNOWN:
            return None
        query[field] = found
    return query


async def _id_of(kind: str, name: str) -> PydanticObjectId | _Unknown:
    async def load() -> PydanticObjectId | _Unknown:
        if kind == "category":
            row = await Category.find_row({"slug": name}, {"is_active": 1})
        elif kind == "tag":
            row = await Tag.find_row({"slug": name}, {"_id": 1})
        else:
            row = await User.find_row({"username": name}, {"is_active": 1})
        if row is None or not row.get("is_active", True):
            return _Unknown.UNKNOWN
        return PydanticObjectId(row["_id"])

    return await _ids.get_or_load((kind, name), load)
