"""How stored comments become what readers and moderators get, and the queries that find them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from beanie import PydanticObjectId

from models.blog.comments import CommentModeration, CommentRead, CommentStatus, CommentThread
from models.users import AuthorName
from services.blog.reading import author_names

Row = Mapping[str, Any]
Names = Mapping[PydanticObjectId, AuthorName]
R = TypeVar("R", bound=CommentRead)

REPLIES_SHOWN = 10  # with their root; the rest comes on request

_READ = (
    "post_id",
    "parent_id",
    "depth",
    "status",
    "content_html",
    "author_name",
    "author_website",
    "likes_count",
    "replies_count",
    "created_at",
    "edited_at",
    "revision",
)
_PRIVATE = ("content", "author_email", "address", "user_agent")
_THREAD = (*_READ, "author_id", "root_id", "descendants_count")

THREAD_FIELDS: Final = dict.fromkeys(_THREAD, 1)
"""What the public reads of a comment need; `_id` comes along."""

MODERATION_FIELDS: Final = dict.fromkeys((*_READ, *_PRIVATE, "author_id"), 1)
"""What the moderators' read of a comment needs."""

# An approved comment is shown, any other one only keeps its place above approved ones.
_SHOWN: Final = {"$or": [{"status": CommentStatus.APPROVED}, {"descendants_count": {"$gt": 0}}]}


def roots_pipeline(post_id: PydanticObjectId, *, before: PydanticObjectId | None, limit: int) -> list[dict[str, Any]]:
    """The shown roots of a post's threads, newest first, as rows of `THREAD_FIELDS`.

    All statuses are named because the embedded server's index serves only a filter of its very fields.
    """
    match: dict[str, Any] = {"post_id": post_id, "parent_id": None, "status": {"$in": list(CommentStatus)}}
    if before is not None:
        match["_id"] = {"$lt": before}
    return [{"$match": match}, {"$match": _SHOWN}, {"$sort": {"_id": -1}}, {"$limit": limit}, {"$project": THREAD_FIELDS}]


def first_replies_pipeline(root_ids: Sequence[PydanticObjectId]) -> list[dict[str, Any]]:
    """The first of the shown replies of each thread, oldest first, one more than is shown so that the rest is known of.

    A row is `{"_id": <root>, "replies": [{"_id": ..., "content_html": "<p>Thanks</p>", ...}]}`; threads without replies have
    none.
    """
    return [
        # By the root alone: with the status beside it the embedded server would scan.
        {"$match": {"root_id": {"$in": list(root_ids)}}},
        {"$match": _SHOWN},
        {"$project": THREAD_FIELDS},
        {"$sort": {"_id": 1}},
        {"$group": {"_id": "$root_id", "replies": {"$firstN": {"input": "$$ROOT", "n": REPLIES_SHOWN + 1}}}},
    ]


def replies_pipeline(root_id: PydanticObjectId, *, after: PydanticObjectId | None, limit: int) -> list[dict[str, Any]]:
    """The shown replies of one thread, of every depth, oldest first, as rows of `THREAD_FIELDS`."""
    match: dict[str, Any] = {"root_id": root_id, "status": {"$in": list(CommentStatus)}}
    if after is not None:
        match["_id"] = {"$gt": after}
    return [{"$match": match}, {"$match": _SHOWN}, {"$sort": {"_id": 1}}, {"$limit": limit}, {"$project": THREAD_FIELDS}]


async def names_of(rows: Sequence[Row]) -> Names:
    """The authors of these comments; guests and people who are gone have no name here."""
    return await author_names({row["author_id"] for row in rows if row["author_id"] is not None})


def to_comment(row: Row, names: Names) -> CommentRead:
    """The comment as everyone may see it; one that is not public any more has lost its text and its author."""
    return CommentRead.model_validate(_public(row, names))


def to_own_comment(row: Row, names: Names) -> CommentRead:
    """The comment as its author sees it: also while it waits."""
    return CommentRead.model_validate(_shown(row, _READ, names))


def to_thread(row: Row, replies: Sequence[Row], names: Names, *, replies_cursor: str | None) -> CommentThread:
    return CommentThread.model_validate(
        {
            **_public(row, names),
            "descendants_count": row["descendants_count"],
            "replies": [to_comment(reply, names) for reply in replies],
            "has_more_replies": replies_cursor is not None,
            "replies_cursor": replies_cursor,
        }
    )


def to_moderation(row: Row, names: Names) -> CommentModeration:
    return CommentModeration.model_validate(_shown(row, (*_READ, *_PRIVATE), names))


def _shown(row: Row, fields: Sequence[str], names: Names) -> dict[str, Any]:
    author = names.get(row["author_id"])
    shown = {field: row[field] for field in fields}
    return {
        **shown,
        "id": row["_id"],
        "author": author,
        "author_name": author.full_name if author else row["author_name"],
    }


def _public(row: Row, names: Names) -> dict[str, Any]:
    shown = _shown(row, _READ, names)
    if row["status"] != CommentStatus.APPROVED:
        # Why it was withdrawn is between its author and the moderators.
        erased = {"content_html": "", "author": None, "author_name": "", "author_website": None, "edited_at": None}
        shown |= {"status": CommentStatus.DELETED, **erased}
    return shown
