"""Everybody's posts, as editors look through them; what they do with one is in `lifecycle`, as for its author."""

from collections.abc import Iterable

from beanie import PydanticObjectId

from models.blog.posts import Post, PostStatus, PostSummary
from services.blog.reading import SUMMARY_FIELDS, to_summaries
from services.pagination import CursorCodec, CursorPage, find_stretch
from services.users.permissions import Permission, Viewer


async def post_titles(post_ids: Iterable[PydanticObjectId]) -> dict[PydanticObjectId, str]:
    """Of posts of whatever status; those there are not are absent. One command, none for no post."""
    wanted = sorted(set(post_ids))
    rows = await Post.find_rows({"_id": {"$in": wanted}}, {"title": 1}) if wanted else []
    return {row["_id"]: row["title"] for row in rows}


class PostDeskService:
    @staticmethod
    async def list_posts(
        *,
        viewer: Viewer,
        cursors: CursorCodec,
        status: PostStatus | None = None,
        slug: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> CursorPage[PostSummary]:
        """Posts of every status, or of one, last created first; or the one of a slug. One command when the names are at hand.

        Raises PermissionDeniedError and InvalidCursorError.
        """
        viewer.require(Permission.EDIT_ANY_POST)
        if slug is not None:
            rows = await Post.find_rows({"slug": slug}, SUMMARY_FIELDS)
            return CursorPage[PostSummary].model_construct(items=await to_summaries(rows), next_cursor=None)
        query = {} if status is None else {"status": status}
        rows, next_cursor = await find_stretch(
            Post, query, SUMMARY_FIELDS, listing=f"post_desk:{status}", cursors=cursors, cursor=cursor, limit=limit
        )
        return CursorPage[PostSummary].model_construct(items=await to_summaries(rows), next_cursor=next_cursor)
