"""The publication in ten figures."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models.blog.comments import CommentStatus
from models.blog.posts import PostStatus
from models.users import Role, User
from services.cache import Cache
from services.heavy import heavy_work
from services.users.permissions import ROLE_PERMISSIONS, Permission

AUTHOR_ROLES = [role for role in Role if Permission.WRITE_POSTS in ROLE_PERMISSIONS[role]]

_stats: Cache[str, "BlogStats"] = Cache("blog_stats", ttl=10, size=1)


class BlogStats(BaseModel):
    """How large the publication is. What lies in the trash counts nowhere."""

    model_config = ConfigDict(frozen=True)

    total_users: int = Field(description="Accounts, deactivated ones included", examples=[60])
    active_users: int = Field(examples=[58])
    authors: int = Field(description="Accounts whose role may write posts: author up to super_admin", examples=[9])
    total_posts: int = Field(description="Posts of every status but trashed", examples=[150])
    published_posts: int = Field(examples=[128])
    total_views: int = Field(description="Views of all time, of all posts counted here", examples=[40213])
    total_likes: int = Field(description="Likes of all posts counted here", examples=[1804])
    total_categories: int = Field(description="Active ones", examples=[4])
    total_tags: int = Field(examples=[24])
    total_comments: int = Field(description="Approved ones", examples=[871])


class StatisticsService:
    @staticmethod
    async def get_blog_stats() -> BlogStats:
        """The publication in figures, up to ten seconds old; all zero when there is nothing. One command."""
        return await _stats.get_or_load("", _load)


async def _load() -> BlogStats:
    figures = dict.fromkeys(BlogStats.model_fields, 0)  # a collection that holds nothing gives no row
    async with heavy_work():
        rows = await User.aggregate_rows(_stats_pipeline())
    for row in rows:
        figures.update(row)
    return BlogStats.model_validate(figures)


def _stats_pipeline() -> list[dict[str, Any]]:
    """One row per collection that holds something, e.g. `{"total_posts": 3, "published_posts": 2, ...}`; starts in `users`."""
    posts = [
        {"$match": {"status": {"$ne": PostStatus.TRASHED}}},
        *_totals(
            total_posts=1,
            published_posts=_one_if({"$eq": ["$status", PostStatus.PUBLISHED]}),
            total_views="$views_count",
            total_likes="$likes_count",
        ),
    ]
    categories = [{"$match": {"is_active": True}}, *_totals(total_categories=1)]
    comments = [{"$match": {"status": CommentStatus.APPROVED}}, *_totals(total_comments=1)]
    return [
        *_totals(
            total_users=1,
            active_users=_one_if("$is_active"),
            authors=_one_if({"$in": ["$role", AUTHOR_ROLES]}),
        ),
        {"$unionWith": {"coll": "posts", "pipeline": posts}},
        {"$unionWith": {"coll": "blog_categories", "pipeline": categories}},
        {"$unionWith": {"coll": "tags", "pipeline": _totals(total_tags=1)}},
        {"$unionWith": {"coll": "comments", "pipeline": comments}},
    ]


def _totals(**sums: Any) -> list[dict[str, Any]]:
    """All documents into one row of sums, without the `_id: null` of the group."""
    return [{"$group": {"_id": None, **{name: {"$sum": value} for name, value in sums.items()}}}, {"$project": {"_id": 0}}]


def _one_if(condition: str | Mapping[str, Any]) -> dict[str, Any]:
    return {"$cond": [condition, 1, 0]}
