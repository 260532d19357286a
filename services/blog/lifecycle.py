"""How posts become public and cease to be: every transition is one conditional update whose winner moves the counters."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from beanie import PydanticObjectId

from models.base import LONG_AGO, to_milliseconds
from models.base import now as present
from models.blog.comments import Comment
from models.blog.posts import Post, PostEdit, PostRevision, PostSlug, PostStatus, PostViews
from models.database import Session, after_commit, run_transaction, start_again
from models.events import EventType
from models.social import Like
from services.audit import AuditService
from services.blog.exposure import move_counters
from services.blog.listing import forget_public_lists
from services.blog.reading import get_editable_post, to_edit
from services.blog.writing import ScheduleInPastError, reading_minutes
from services.errors import InvalidStateError
from services.events import EventService
from services.users.permissions import Viewer

log = structlog.get_logger(__name__)

TRASH_DAYS = 30
BATCH = 200

Fields = dict[str, Any]


class PostTransitionError(InvalidStateError):
    """The post's status does not allow this step."""

    code = "post_transition"

    def __init__(self, status: PostStatus, wanted: PostStatus) -> None:
        super().__init__(f"A post that is {status.value} cannot become {wanted.value}.")
        self.status = status
        self.wanted = wanted


# From which statuses each one can be reached.
SOURCES: Mapping[PostStatus, frozenset[PostStatus]] = {
    PostStatus.DRAFT: frozenset({PostStatus.PUBLISHED, PostStatus.SCHEDULED, PostStatus.ARCHIVED}),
    PostStatus.SCHEDULED: frozenset({PostStatus.DRAFT, PostStatus.SCHEDULED}),
    PostStatus.PUBLISHED: frozenset({PostStatus.DRAFT, PostStatus.SCHEDULED, PostStatus.ARCHIVED}),
    PostStatus.ARCHIVED: frozenset({PostStatus.PUBLISHED}),
    PostStatus.TRASHED: frozenset(PostStatus) - {PostStatus.TRASHED},
}


class PublishingService:
    @staticmethod
    async def publish(post_id: PydanticObjectId, *, viewer: Viewer, now: datetime | None = None) -> PostEdit:
        """The post, public. One that already is stays as it is; an archived one keeps the date of its first publication.

        Raises PostNotFoundError, PostTransitionError.
        """
        now = to_milliseconds(now or present())

        async def work(session: Session) -> Post:
            post = await get_editable_post(post_id, viewer=viewer, session=session)
            if post.status is PostStatus.PUBLISHED:
                return post
            return await move_post(
                post, PostStatus.PUBLISHED, publication_of(post, now), actor_id=viewer.user_id, session=session
            )

        return await _run(post_id, work)

    @staticmethod
    async def unpublish(post_id: PydanticObjectId, *, viewer: Viewer) -> PostEdit:
        """A published, scheduled or archived post as a draft again. Raises PostNotFoundError, PostTransitionError."""
        return await _transition(post_id, PostStatus.DRAFT, {"scheduled_at": None}, viewer)

    @staticmethod
    async def schedule(
        post_id: PydanticObjectId, *, scheduled_at: datetime, viewer: Viewer, now: datetime | None = None
    ) -> PostEdit:
        """A draft that will publish itself at `scheduled_at`, or one that waited already with a new time.

        Raises ScheduleInPastError, PostNotFoundError, PostTransitionError.
        """
        if scheduled_at <= (now or present()):
            raise ScheduleInPastError(scheduled_at)
        return await _transition(post_id, PostStatus.SCHEDULED, {"scheduled_at": to_milliseconds(scheduled_at)}, viewer)

    @staticmethod
    async def archive(post_id: PydanticObjectId, *, viewer: Viewer) -> PostEdit:
        """A published post, no longer public and kept. Raises PostNotFoundError, PostTransitionError."""
        return await _transition(post_id, PostStatus.ARCHIVED, {"unpublish_at": None}, viewer)

    @staticmethod
    async def trash(post_id: PydanticObjectId, *, viewer: Viewer, now: datetime | None = None) -> PostEdit:
        """The post in the trash, where it stays 30 days. Raises PostNotFoundError, PostTransitionError."""
        now = to_milliseconds(now or present())
        return await _transition(post_id, PostStatus.TRASHED, {"trashed_at": now, "scheduled_at": None}, viewer)

    @staticmethod
    async def restore(post_id: PydanticObjectId, *, viewer: Viewer) -> PostEdit:
        """A post out of the trash, as a draft: nothing becomes public by it. Raises PostNotFoundError, PostTransitionError."""

        async def work(session: Session) -> Post:
            post = await get_editable_post(post_id, viewer=viewer, session=session)
            if post.status is not PostStatus.TRASHED:
                raise PostTransitionError(post.status, PostStatus.DRAFT)
            restored = await _set_status(post, PostStatus.DRAFT, {"trashed_at": None}, session=session)
            await _audit(post, PostStatus.DRAFT, viewer.user_id, session=session)
            return restored

        return await _run(post_id, work)

    @staticmethod
    async def publish_due(*, now: datetime | None = None) -> int:
        """Publish what was scheduled until now and archive what was to end; returns how many posts were moved by this call.

        Any number of processes may run it at once: each post is moved by one of them.
        """
        now = to_milliseconds(now or present())
        moved = 0
        for status, field in ((PostStatus.SCHEDULED, "scheduled_at"), (PostStatus.PUBLISHED, "unpublish_at")):
            due = {"status": status, field: {"$gt": LONG_AGO, "$lte": now}}
            for row in await Post.find_rows(due, {"_id": 1}, sort=[(field, 1)], limit=BATCH):
                moved += await _move_due(row["_id"], status, field, now)
        if moved:
            after_commit(forget_public_lists)
        return moved

    @staticmethod
    async def purge_due(*, now: datetime | None = None) -> int:
        """Remove for good what has been in the trash for 30 days, with its slugs, history, views, comments and likes.

        Returns how many posts this call removed.
        """
        now = to_milliseconds(now or present())
        cutoff = now - timedelta(days=TRASH_DAYS)
        due = {"status": PostStatus.TRASHED, "trashed_at": {"$lte": cutoff}}
        purged = 0
        for row in await Post.find_rows(due, {"_id": 1}, sort=[("trashed_at", 1)], limit=BATCH):
            purged += await _purge(row["_id"], cutoff)
        return purged


def publication_of(post: Post, now: datetime) -> Fields:
    """The fields, beside the status, that publication sets; an end that has passed meanwhile is dropped."""
    return {
        "published_at": post.published_at or now,
        "scheduled_at": None,
        "unpublish_at": post.unpublish_at if post.unpublish_at and post.unpublish_at > now else None,
        "reading_minutes": reading_minutes(post.content),
    }


async def record_publication(before: Post | None, after: Post, *, actor_id: PydanticObjectId | None, session: Session) -> None:
    """Counters, and the event of a post that became public or ceased to be."""
    await move_counters(before, after, session=session)
    was_public = before is not None and before.status is PostStatus.PUBLISHED
    is_public = after.status is PostStatus.PUBLISHED
    if was_public != is_public:
        type = EventType.POST_PUBLISHED if is_public else EventType.POST_WITHDRAWN
        await record_post_event(type, after, actor_id=actor_id, session=session)


async def record_post_event(type: EventType, post: Post, *, actor_id: PydanticObjectId | None, session: Session) -> None:
    payload = {"slug": post.slug, "title": post.title, "author_id": str(post.author_id), "status": post.status.value}
    await EventService.record(session, type, f"post:{post.id}", actor_id=actor_id, payload=payload)


async def _transition(post_id: PydanticObjectId, wanted: PostStatus, fields: Fields, viewer: Viewer) -> PostEdit:
    async def work(session: Session) -> Post:
        post = await get_editable_post(post_id, viewer=viewer, session=session)
        return await move_post(post, wanted, fields, actor_id=viewer.user_id, session=session)

    return await _run(post_id, work)


async def _run(post_id: PydanticObjectId, work: Any) -> PostEdit:
    post: Post = await run_transaction(work, hot=[post_id])
    after_commit(forget_public_lists)
    return await to_edit(post.row())


async def move_post(
    post: Post, wanted: PostStatus, fields: Fields, *, actor_id: PydanticObjectId | None, session: Session
) -> Post:
    """The one way between statuses: checks the step, takes it, and settles what follows from it."""
    if post.status not in SOURCES[wanted]:
        raise PostTransitionError(post.status, wanted)
    moved = await _set_status(post, wanted, fields, session=session)
    await record_publication(post, moved, actor_id=actor_id, session=session)
    await _audit(post, wanted, actor_id, session=session)
    return moved


async def _audit(post: Post, wanted: PostStatus, actor_id: PydanticObjectId | None, *, session: Session) -> None:
    """What is done to somebody else's post; authors answer to nobody for their own, and the clock to no one."""
    if actor_id is None or actor_id == post.author_id:
        return
    details = {"from": post.status.value}
    await AuditService.record(session, f"post.{wanted}", subject=f"post:{post.id}", actor_id=actor_id, details=details)


async def _set_status(post: Post, wanted: PostStatus, fields: Fields, *, session: Session) -> Post:
    """Only as the post was read: its status says whether it counts, its revision which category and tags it counts for."""
    as_read = {"_id": post.id, "status": post.status, "revision": post.revision}
    moved = await Post.change(as_read, {"$set": {"status": wanted, **fields}}, session=session)
    if moved is None:
        raise start_again("the post was changed meanwhile")
    return moved


async def _move_due(post_id: PydanticObjectId, status: PostStatus, field: str, now: datetime) -> bool:
    async def work(session: Session) -> bool:
        row = await Post.find_row({"_id": post_id}, session=session)
        if row is None or row["status"] != status or row[field] is None or row[field] > now:
            return False  # someone else was here first
        post = Post.from_row(row)
        if status is PostStatus.SCHEDULED:
            await move_post(post, PostStatus.PUBLISHED, publication_of(post, now), actor_id=None, session=session)
        else:
            await move_post(post, PostStatus.ARCHIVED, {"unpublish_at": None}, actor_id=None, session=session)
        return True

    return await run_transaction(work, hot=[post_id])


async def _purge(post_id: PydanticObjectId, cutoff: datetime) -> bool:
    async def work(session: Session) -> bool:
        condition = {"_id": post_id, "status": PostStatus.TRASHED, "trashed_at": {"$lte": cutoff}}
        result = await Post.collection().delete_one(condition, session=session)
        if not result.deleted_count:
            return False  # restored, or purged by someone else
        comments = await Comment.find_rows({"post_id": post_id}, {"_id": 1}, session=session)
        liked = [post_id, *(row["_id"] for row in comments)]
        await Like.collection().delete_many({"subject_id": {"$in": liked}}, session=session)
        for document in (Comment, PostSlug, PostRevision, PostViews):
            await document.collection().delete_many({"post_id": post_id}, session=session)
        return True

    purged = await run_transaction(work, hot=[post_id])
    if purged:
        log.info("post_purged", post_id=str(post_id))
    return purged
