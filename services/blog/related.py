"""Which posts go with a post."""

from collections.abc import Mapping
from typing import Any

from beanie import PydanticObjectId

from models.blog.posts import Post, PostStatus, PostSummary
from services.blog.reading import SUMMARY_FIELDS, PostNotFoundError, to_summaries
from services.cache import Cache
from services.heavy import heavy_work

RELATED_POSTS = 4
TAG_POINTS = 2  # for every tag in common
CATEGORY_POINTS = 1  # for the same category

_related: Cache[PydanticObjectId, tuple[PostSummary, ...]] = Cache("blog_related", ttl=60, size=2_000)


class RelatedPostService:
    @staticmethod
    async def list_related_posts(slug: str) -> list[PostSummary]:
        """The four published posts that have most in common with this one, best first; ties newest first, then the higher id.

        `TAG_POINTS` for every shared tag and `CATEGORY_POINTS` for the same category; posts with nothing in common are not in it,
        nor is the post itself. Up to a minute old. Raises PostNotFoundError for a post that is not public.
        """
        row = await Post.find_row({"slug": slug}, {"status": 1, "tag_ids": 1, "category_id": 1})
        if row is None or row["status"] != PostStatus.PUBLISHED:
            raise PostNotFoundError(slug)
        post = row

        async def load() -> tuple[PostSummary, ...]:
            return await _load(post)

        return list(await _related.get_or_load(post["_id"], load))

    @staticmethod
    def forget() -> None:
        """Drop what this process remembers."""
        _related.invalidate()


async def _load(post: Mapping[str, Any]) -> tuple[PostSummary, ...]:
    pipeline = _related_pipeline(post)
    if not pipeline:
        return ()
    async with heavy_work():
        rows = await Post.aggregate_rows(pipeline)
    return tuple(await to_summaries(rows))


def _related_pipeline(post: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of `SUMMARY_FIELDS`, best first; no pipeline for a post without tags and category. Starts in `posts`.

    Tags and category are two branches, because one filter over both would be served by no index.
    """
    tag_ids, category_id = post["tag_ids"], post["category_id"]
    branches: list[dict[str, Any]] = []
    if tag_ids:
        branches.append({"tag_ids": {"$in": tag_ids}})
    if category_id is not None:
        branches.append({"category_id": category_id})
    if not branches:
        return []

    shared_tags = {"$size": {"$setIntersection": ["$tag_ids", tag_ids]}}
    same_category = {"$cond": [{"$eq": ["$category_id", category_id]}, CATEGORY_POINTS, 0]} if category_id is not None else 0
    score = {"$add": [{"$multiply": [TAG_POINTS, shared_tags]}, same_category]}
    first, *others = (
        [{"$match": {**branch, "status": PostStatus.PUBLISHED}}, {"$project": {"published_at": 1, "score": score}}]
        for branch in branches
    )
    return [
        *first,
        *({"$unionWith": {"coll": "posts", "pipeline": other}} for other in others),
        {"$match": {"_id": {"$ne": post["_id"]}}},
        {"$group": {"_id": "$_id", "score": {"$max": "$score"}, "published_at": {"$max": "$published_at"}}},
        {"$sort": {"score": -1, "published_at": -1, "_id": -1}},
        {"$limit": RELATED_POSTS},
        {"$lookup": {"from": "posts", "localField": "_id", "foreignField": "_id", "as": "post"}},
        {"$unwind": "$post"},
        {"$replaceRoot": {"newRoot": "$post"}},
        {"$project": SUMMARY_FIELDS},
    ]
