"""Likes of posts and comments, and who follows whom: one mechanism for every domain."""

from collections.abc import Sequence
from typing import Any

from beanie import PydanticObjectId

from models.base import AgoraDocument
from models.blog.comments import Comment, CommentStatus
from models.blog.posts import Post
from models.database import Session, run_transaction
from models.events import EventType
from models.social import Follow, FollowState, Like, LikeKind, LikeState
from models.users import AuthorName, User
from services.blog.comment_states import CommentNotFoundError
from services.blog.reading import get_published_post
from services.errors import NotFoundError, RuleViolatedError
from services.events import EventService
from services.pagination import CursorCodec, CursorPage, PageRequest, find_stretch
from services.relations import add_relation, move_counter, remove_relation
from services.users.permissions import Viewer

_LIKED = {LikeKind.POST: EventType.POST_LIKED, LikeKind.COMMENT: EventType.COMMENT_LIKED}
_UNLIKED = {LikeKind.POST: EventType.POST_UNLIKED, LikeKind.COMMENT: EventType.COMMENT_UNLIKED}
_SUBJECTS: dict[LikeKind, type[AgoraDocument]] = {LikeKind.POST: Post, LikeKind.COMMENT: Comment}

Row = dict[str, Any]


class PersonNotFoundError(NotFoundError):
    """There is no such person, or not any more."""

    code = "person_not_found"

    def __init__(self, username: str) -> None:
        super().__init__("person", username)


class SelfFollowError(RuleViolatedError):
    """Nobody can follow themselves."""

    code = "self_follow"

    def __init__(self) -> None:
        super().__init__("You cannot follow yourself.")


class LikeService:
    @staticmethod
    async def like(subject_id: PydanticObjectId, *, kind: LikeKind, viewer: Viewer) -> LikeState:
        """Like a published post or an approved comment under one; liking it again changes nothing.

        Raises PostNotFoundError and CommentNotFoundError.
        """
        return await _set_like(subject_id, kind, viewer, wanted=True)

    @staticmethod
    async def unlike(subject_id: PydanticObjectId, *, kind: LikeKind, viewer: Viewer) -> LikeState:
        """Take a like back; without one nothing changes. Raises as `like`."""
        return await _set_like(subject_id, kind, viewer, wanted=False)

    @staticmethod
    async def toggle_like(subject_id: PydanticObjectId, *, kind: LikeKind, viewer: Viewer) -> LikeState:
        """Like what is not liked, and the other way round. Not safe to repeat: `like` and `unlike` are. Raises as `like`."""
        return await _set_like(subject_id, kind, viewer, wanted=None)

    @staticmethod
    async def is_liked(subject_id: PydanticObjectId, *, viewer: Viewer) -> bool:
        """Whether the viewer likes this post or comment."""
        return await Like.find_row({"subject_id": subject_id, "user_id": viewer.user_id}, {"_id": 1}) is not None


async def _set_like(subject_id: PydanticObjectId, kind: LikeKind, viewer: Viewer, *, wanted: bool | None) -> LikeState:
    """Make the like be there or not, or (None) the other way round than it was, and count it."""
    owner_id = await (_post_owner if kind is LikeKind.POST else _comment_owner)(subject_id)
    like = Like(kind=kind, subject_id=subject_id, user_id=viewer.user_id)
    pair = {"subject_id": subject_id, "user_id": viewer.user_id}
    payload = {f"{kind}_id": str(subject_id), "author_id": str(owner_id) if owner_id else None}

    async def work(session: Session) -> LikeState:
        delta = 0
        if wanted is not True and await remove_relation(Like, pair, session):
            delta = -1
        elif wanted is not False and await add_relation(like, pair, session):
            delta = 1
        likes_count = await move_counter(_SUBJECTS[kind], subject_id, "likes_count", delta, session)
        if delta != 0:
            happened = (_LIKED if delta > 0 else _UNLIKED)[kind]
            await EventService.record(session, happened, f"{kind}:{subject_id}", actor_id=viewer.user_id, payload=payload)
        return LikeState(liked=delta > 0 or (delta == 0 and wanted is True), likes_count=likes_count)

    return await run_transaction(work, hot=[subject_id])


async def _post_owner(post_id: PydanticObjectId) -> PydanticObjectId:
    owner_id: PydanticObjectId = (await get_published_post(post_id, {"author_id": 1}))["author_id"]
    return owner_id


async def _comment_owner(comment_id: PydanticObjectId) -> PydanticObjectId | None:
    """The author of a public comment, None for a guest."""
    row = await Comment.find_row({"_id": comment_id}, {"status": 1, "post_id": 1, "author_id": 1})
    if row is None or row["status"] != CommentStatus.APPROVED:
        raise CommentNotFoundError(comment_id)
    await get_published_post(row["post_id"], {})
    owner_id: PydanticObjectId | None = row["author_id"]
    return owner_id


class FollowService:
    @staticmethod
    async def follow(username: str, *, viewer: Viewer) -> FollowState:
        """Follow a person; following them already changes nothing. Raises PersonNotFoundError and SelfFollowError."""
        return await _set_follow(username, viewer, wanted=True)

    @staticmethod
    async def unfollow(username: str, *, viewer: Viewer) -> FollowState:
        """Stop following a person; without following them nothing changes. Raises as `follow`."""
        return await _set_follow(username, viewer, wanted=False)

    @staticmethod
    async def toggle_follow(username: str, *, viewer: Viewer) -> FollowState:
        """Follow whom one does not follow, and the other way round. Not safe to repeat: `follow` is. Raises as `follow`."""
        return await _set_follow(username, viewer, wanted=None)

    @staticmethod
    async def is_following(username: str, *, viewer: Viewer) -> bool:
        """Whether the viewer follows this person. Raises PersonNotFoundError."""
        person = await _active_person(username)
        pair = {"follower_id": viewer.user_id, "following_id": person["_id"]}
        return await Follow.find_row(pair, {"_id": 1}) is not None

    @staticmethod
    async def list_followers(
        username: str, *, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[AuthorName]:
        """Who follows a person, newest first, without those who are gone. Raises PersonNotFoundError and InvalidCursorError."""
        return await _list_people(username, "following_id", "follower_id", cursors, cursor, limit)

    @staticmethod
    async def list_following(
        username: str, *, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[AuthorName]:
        """Whom a person follows, newest first, without those who are gone. Raises PersonNotFoundError and InvalidCursorError."""
        return await _list_people(username, "follower_id", "following_id", cursors, cursor, limit)


async def _set_follow(username: str, viewer: Viewer, *, wanted: bool | None) -> FollowState:
    person = await _active_person(username)
    person_id: PydanticObjectId = person["_id"]
    if person_id == viewer.user_id:
        raise SelfFollowError
    pair = {"follower_id": viewer.user_id, "following_id": person_id}
    follow = Follow(**pair)

    async def work(session: Session) -> FollowState:
        delta = 0
        if wanted is not True and await remove_relation(Follow, pair, session):
            delta = -1
        elif wanted is not False and await add_relation(follow, pair, session):
            delta = 1
        counters = [(person_id, "followers_count"), (viewer.user_id, "following_count")]
        # In the order of the ids, so that two people who follow each other do not wait for one another.
        counts = {field: await move_counter(User, user_id, field, delta, session) for user_id, field in sorted(counters)}
        if delta != 0:
            happened = EventType.USER_FOLLOWED if delta > 0 else EventType.USER_UNFOLLOWED
            payload = {"follower_id": str(viewer.user_id), "following_id": str(person_id)}
            await EventService.record(session, happened, f"user:{person_id}", actor_id=viewer.user_id, payload=payload)
        is_following = delta > 0 or (delta == 0 and wanted is True)
        return FollowState(is_following=is_following, followers_count=counts["followers_count"])

    return await run_transaction(work, hot=[person_id, viewer.user_id])


async def _active_person(username: str) -> Row:
    row = await User.find_row({"username": username.lower()}, {"is_active": 1})
    if row is None or not row["is_active"]:
        raise PersonNotFoundError(username)
    return row


async def _list_people(
    username: str, of: str, other: str, cursors: CursorCodec, cursor: str | None, limit: int
) -> CursorPage[AuthorName]:
    PageRequest(limit=limit)
    person = await _active_person(username)
    rows, next_cursor = await find_stretch(
        Follow, {of: person["_id"]}, {other: 1}, listing=f"{of}:{person['_id']}", cursors=cursors, cursor=cursor, limit=limit
    )
    people = await _people([row[other] for row in rows])
    return CursorPage[AuthorName].model_construct(items=people, next_cursor=next_cursor)


async def _people(ids: Sequence[PydanticObjectId]) -> list[AuthorName]:
    """The active ones of these people, in this order. Not from the cache of authors, which long lists would sweep out."""
    if not ids:
        return []
    fields = {"username": 1, "first_name": 1, "last_name": 1, "avatar_url": 1, "is_active": 1}
    rows = {row["_id"]: row for row in await User.find_rows({"_id": {"$in": list(ids)}}, fields)}
    return [
        AuthorName(
            id=row["_id"],
            username=row["username"],
            full_name=f"{row['first_name']} {row['last_name']}".strip(),
            avatar_url=row["avatar_url"],
        )
        for row in (rows[key] for key in ids if key in rows)
        if row["is_active"]
    ]
