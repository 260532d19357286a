"""What is read and liked these days.

"Popular" is decided here (SPEC D-5): the views of a window of days plus five for every like given in it. A view is a visitor
within half an hour, kept in a bucket per post and UTC day (`PostViews`); totals of all time play no part.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from models.base import now as present
from models.blog.posts import PostStatus, PostSummary, PostViews
from models.social import LikeKind
from services.blog.reading import SUMMARY_FIELDS, to_summaries
from services.cache import Cache
from services.errors import RuleViolatedError
from services.heavy import heavy_work

LIKE_POINTS = 5  # a like is rarer than a view and means more
MAX_POPULAR_DAYS = 90
MAX_POPULAR_LIMIT = 50

_popular: Cache[tuple[int, int], tuple[PostSummary, ...]] = Cache("blog_popular", ttl=30, size=64)


class InvalidWindowError(RuleViolatedError):
    """A window of no days or of too many, or a list of no posts or of too many."""

    code = "invalid_popularity_window"

    def __init__(self, days: int, limit: int) -> None:
        super().__init__(f"Popularity is told over 1 to {MAX_POPULAR_DAYS} days and for 1 to {MAX_POPULAR_LIMIT} posts.")
        self.days = days
        self.limit = limit


class PopularityService:
    @staticmethod
    async def get_popular_posts(*, days: int = 7, limit: int = 10, now: datetime | None = None) -> list[PostSummary]:
        """The published posts with the most points within today and the `days` whole UTC days before it, best first.

        Points are views plus `LIKE_POINTS` for every like; ties go to the later published, then to the higher id. Posts without a
        point are not in it, so it may be shorter than `limit`, or empty. Up to 30 seconds old, unless `now` is given. Raises
        InvalidWindowError.
        """
        if not (1 <= days <= MAX_POPULAR_DAYS and 1 <= limit <= MAX_POPULAR_LIMIT):
            raise InvalidWindowError(days, limit)
        if now is not None:
            return await _load(days, limit, now)

        async def load() -> tuple[PostSummary, ...]:
            return tuple(await _load(days, limit, present()))

        return list(await _popular.get_or_load((days, limit), load))

    @staticmethod
    def forget() -> None:
        """Drop what this process remembers."""
        _popular.invalidate()


async def _load(days: int, limit: int, now: datetime) -> list[PostSummary]:
    since = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)
    # Joining every post that was read at all costs more than all the rest, so only the best are joined. They hold the answer
    # unless many of them are no longer public or a tie is cut in two: then more are asked for.
    candidates = 2 * limit + 20
    while True:
        async with heavy_work():
            rows = await PostViews.aggregate_rows(_popular_pipeline(since, now, candidates=candidates))
        best = _best(rows, limit)
        if len(rows) < candidates or (len(best) == limit and best[-1]["points"] > rows[-1]["points"]):
            return await to_summaries(best)
        candidates *= 8


def _best(rows: Sequence[dict[str, Any]], limit: int) -> list[dict[str, Any]]:
    public = [row for row in rows if row.get("status") == PostStatus.PUBLISHED]
    return sorted(public, key=lambda row: (row["points"], row["published_at"], row["_id"]), reverse=True)[:limit]


def _popular_pipeline(since: datetime, now: datetime, *, candidates: int) -> list[dict[str, Any]]:
    """The `candidates` posts with the most points, whatever their status, best first; starts in `post_views`.

    A row is `{"points": 148, "_id": ..., "title": "Indexes", ...}`; of a post that is gone it is `{"points": 148}`.
    """
    likes = [
        {"$match": {"kind": LikeKind.POST, "created_at": {"$gte": since, "$lte": now}}},
        {"$project": {"post_id": "$subject_id", "points": {"$literal": LIKE_POINTS}}},
    ]
    return [
        {"$match": {"day": {"$gte": since, "$lte": now}}},
        {"$project": {"post_id": 1, "points": "$views_count"}},
        {"$unionWith": {"coll": "likes", "pipeline": likes}},
        {"$group": {"_id": "$post_id", "points": {"$sum": "$points"}}},
        {"$match": {"points": {"$gt": 0}}},
        {"$sort": {"points": -1, "_id": -1}},
        {"$limit": candidates},
        {"$lookup": {"from": "posts", "localField": "_id", "foreignField": "_id", "as": "post"}},
        {"$unwind": {"path": "$post", "preserveNullAndEmptyArrays": True}},
        {"$replaceRoot": {"newRoot": {"$mergeObjects": ["$post", {"points": "$points"}]}}},
        {"$project": {**SUMMARY_FIELDS, "points": 1}},
    ]
