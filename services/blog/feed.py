"""What the people one follows have published."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from models.blog.posts import Post, PostStatus, PostSummary
from models.social import Follow
from services.blog.popular import MAX_POPULAR_LIMIT, PopularityService
from services.blog.reading import SUMMARY_FIELDS, to_summaries
from services.pagination import CursorCodec, CursorPage
from services.users.permissions import Viewer

MAX_FOLLOWED = 1_000  # of a longer list the latest follows count


class FeedSource(StrEnum):
    FOLLOWING = "following"  # posts of the people one follows; they may not have published any
    POPULAR = "popular"  # one follows nobody yet


class FeedPage(CursorPage[PostSummary]):
    """One stretch of a person's feed."""

    source: FeedSource = Field(description="`popular` for a person who follows nobody; that list ends with its first stretch")


class FeedService:
    @staticmethod
    async def get_user_feed(viewer: Viewer, *, cursors: CursorCodec, cursor: str | None = None, limit: int = 20) -> FeedPage:
        """Published posts of the people the viewer follows, newest first, then the higher id.

        Who follows nobody gets the popular ones. Of more than `MAX_FOLLOWED` followed people, those followed last. Empty, and
        still `following`, when they have published nothing. Two commands, and one for names not in the cache. Raises
        InvalidCursorError.
        """
        listing = f"feed:{viewer.user_id}"
        position = None if cursor is None else cursors.decode(listing, cursor)
        follows = await Follow.find_rows(
            {"follower_id": viewer.user_id}, {"following_id": 1}, sort=[("_id", -1)], limit=MAX_FOLLOWED
        )
        if not follows:
            popular = await PopularityService.get_popular_posts(limit=min(limit, MAX_POPULAR_LIMIT))
            return FeedPage(items=popular, next_cursor=None, source=FeedSource.POPULAR)

        query: dict[str, Any] = {
            "author_id": {"$in": [follow["following_id"] for follow in follows]},
            "status": PostStatus.PUBLISHED,
        }
        if position is not None:
            published_at, post_id = position
            query["published_at"] = {"$lte": published_at}
            query["$or"] = [{"published_at": {"$lt": published_at}}, {"_id": {"$lt": post_id}}]
        rows = await Post.find_rows(query, SUMMARY_FIELDS, sort=[("published_at", -1), ("_id", -1)], limit=limit + 1)
        more = len(rows) > limit
        rows = rows[:limit]
        return FeedPage(
            items=await to_summaries(rows),
            next_cursor=cursors.encode(listing, rows[-1]["published_at"], rows[-1]["_id"]) if more else None,
            source=FeedSource.FOLLOWING,
        )
