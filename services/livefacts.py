"""From stored events to what may be told: the facts, the topics they belong to, and nothing private."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from beanie import PydanticObjectId

from models.base import AgoraDocument
from models.blog.comments import Comment, CommentStatus
from models.blog.posts import Post, PostStatus
from models.events import Event, EventType
from models.live import (
    CommentApproved,
    CommentLikes,
    CommentWaiting,
    CommentWithdrawn,
    LiveFact,
    PostLikes,
    PostPublished,
    PostUpdated,
    PostWithdrawn,
    UserFollowers,
)
from models.users import User

Row = Mapping[str, Any]
Rows = Mapping[PydanticObjectId, Row]
_Found: TypeAlias = tuple[LiveFact, set[str]] | None  # a fact and its topics

_POST_EVENTS = {
    EventType.POST_PUBLISHED,
    EventType.POST_UPDATED,
    EventType.POST_WITHDRAWN,
    EventType.POST_LIKED,
    EventType.POST_UNLIKED,
}
_COMMENT_EVENTS = {
    EventType.COMMENT_CREATED,
    EventType.COMMENT_APPROVED,
    EventType.COMMENT_WITHDRAWN,
    EventType.COMMENT_LIKED,
    EventType.COMMENT_UNLIKED,
}
_FOLLOW_EVENTS = {EventType.USER_FOLLOWED, EventType.USER_UNFOLLOWED}


@dataclass(frozen=True, slots=True)
class Told:
    """A fact on its way: its number, its time and the topics it belongs to."""

    sequence: int
    happened_at: datetime
    topics: frozenset[str]
    fact: LiveFact


async def facts_of(events: Sequence[Event]) -> list[Told]:
    """What may be told of these events, in their order; at most one read per kind of subject.

    A post that is not public now, a comment that is gone and events nobody may hear of are left out.
    """
    comments = await _rows(Comment, _ids(events, _COMMENT_EVENTS), {"post_id": 1, "status": 1, "likes_count": 1})
    post_ids = [*_ids(events, _POST_EVENTS), *(row["post_id"] for row in comments.values())]
    posts = await _rows(Post, post_ids, {"status": 1, "slug": 1, "title": 1, "likes_count": 1, "comments_count": 1})
    users = await _rows(User, _ids(events, _FOLLOW_EVENTS), {"followers_count": 1})
    told = []
    for event in events:
        subject_id = _subject_id(event)
        if subject_id is None:
            continue
        found: _Found = None
        if event.type in _POST_EVENTS:
            found = _of_post(event.type, subject_id, posts.get(subject_id))
        elif event.type in _COMMENT_EVENTS:
            found = _of_comment(event.type, subject_id, comments.get(subject_id), posts)
        elif event.type in _FOLLOW_EVENTS and subject_id in users:
            followers = UserFollowers(user_id=subject_id, followers_count=users[subject_id]["followers_count"])
            found = (followers, {event.subject})
        if found is not None:
            told.append(Told(event.sequence or 0, event.created_at, frozenset(found[1]), found[0]))
    return told


def _of_post(type: EventType, post_id: PydanticObjectId, post: Row | None) -> _Found:
    is_public = post is not None and post["status"] == PostStatus.PUBLISHED
    everywhere = {"posts", f"post:{post_id}"}
    if type is EventType.POST_WITHDRAWN:
        return None if is_public else (PostWithdrawn(post_id=post_id), everywhere)
    if post is None or not is_public:
        return None
    if type is EventType.POST_PUBLISHED:
        return PostPublished(post_id=post_id, slug=post["slug"], title=post["title"]), everywhere
    if type is EventType.POST_UPDATED:
        return PostUpdated(post_id=post_id, slug=post["slug"], title=post["title"]), everywhere
    return PostLikes(post_id=post_id, likes_count=post["likes_count"]), {f"post:{post_id}"}


def _of_comment(type: EventType, comment_id: PydanticObjectId, comment: Row | None, posts: Rows) -> _Found:
    if comment is None:
        return None
    post_id = PydanticObjectId(comment["post_id"])
    if type is EventType.COMMENT_CREATED:
        if comment["status"] != CommentStatus.PENDING:
            return None
        return CommentWaiting(post_id=post_id, comment_id=comment_id), {"moderation"}
    post = posts.get(post_id)
    if post is None or post["status"] != PostStatus.PUBLISHED:
        return None
    topics = {f"post:{post_id}"}
    is_public = comment["status"] == CommentStatus.APPROVED
    count = post["comments_count"]
    if type is EventType.COMMENT_WITHDRAWN:
        return None if is_public else (CommentWithdrawn(post_id=post_id, comment_id=comment_id, comments_count=count), topics)
    if not is_public:
        return None
    if type is EventType.COMMENT_APPROVED:
        return CommentApproved(post_id=post_id, comment_id=comment_id, comments_count=count), topics
    return CommentLikes(post_id=post_id, comment_id=comment_id, likes_count=comment["likes_count"]), topics


def _ids(events: Iterable[Event], types: set[EventType]) -> list[PydanticObjectId]:
    found = [_subject_id(event) for event in events if event.type in types]
    return [subject_id for subject_id in found if subject_id is not None]


def _subject_id(event: Event) -> PydanticObjectId | None:
    """The id in `post:<id>`; None for subjects of other forms, of which nothing is told."""
    key = event.subject.partition(":")[2]
    return PydanticObjectId(key) if PydanticObjectId.is_valid(key) else None


async def _rows(document: type[AgoraDocument], ids: Sequence[PydanticObjectId], fields: Mapping[str, Any]) -> Rows:
    """The rows of these ids, by id; no command when there are none."""
    if not ids:
        return {}
    found = await document.find_rows({"_id": {"$in": list(set(ids))}}, fields)
    return {row["_id"]: row for row in found}
