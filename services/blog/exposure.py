"""What a published post adds to the counters around it: its author's, its category's and its tags'."""

from collections import Counter
from collections.abc import Mapping

from beanie import PydanticObjectId

from models.base import AgoraDocument
from models.blog.posts import Post, PostStatus
from models.blog.taxonomy import Category, Tag
from models.database import Session
from models.users import User

_FIELDS: Mapping[type[AgoraDocument], str] = {User: "posts_count", Category: "posts_count", Tag: "usage_count"}


def counter_moves(before: Post | None, after: Post | None) -> dict[type[AgoraDocument], dict[PydanticObjectId, int]]:
    """By how much each counter moves when a post changes from `before` to `after`; None is a post that is not there.

    Only published posts count. Collections come in the order in which they are to be written; what does not move is left out.
    """
    moves: dict[type[AgoraDocument], Counter[PydanticObjectId]] = {document: Counter() for document in _FIELDS}
    for post, step in ((before, -1), (after, 1)):
        if post is None or post.status is not PostStatus.PUBLISHED:
            continue
        moves[User][post.author_id] += step
        if post.category_id is not None:
            moves[Category][post.category_id] += step
        for tag_id in set(post.tag_ids):
            moves[Tag][tag_id] += step
    return {document: {key: delta for key, delta in counter.items() if delta} for document, counter in moves.items()}


async def move_counters(before: Post | None, after: Post | None, *, session: Session) -> None:
    """Move every counter that the change from `before` to `after` moves, in the transaction of the change."""
    for document, deltas in counter_moves(before, after).items():
        for delta in sorted(set(deltas.values())):
            ids = sorted(key for key, value in deltas.items() if value == delta)
            query = {"_id": ids[0]} if len(ids) == 1 else {"_id": {"$in": ids}}
            await document.change_many(query, {"$inc": {_FIELDS[document]: delta}}, session=session)
