"""How a comment changes its status, and with it every counter that means "approved ones"."""

from collections.abc import Sequence
from typing import Any, Final

from beanie import PydanticObjectId

from models.blog.comments import Comment, CommentStatus
from models.blog.posts import Post
from models.database import Session, run_transaction
from models.events import EventType
from services.audit import AuditService
from services.errors import AppError, InvalidStateError, NotFoundError, require_revision
from services.events import EventService
from services.users.permissions import Permission, Viewer


class CommentNotFoundError(NotFoundError):
    """There is no such comment, or it is not public and not the caller's to see or change."""

    code = "comment_not_found"

    def __init__(self, comment_id: object = None) -> None:
        super().__init__("comment", comment_id)


class CommentDeletedError(InvalidStateError):
    """The comment was deleted, and its text with it: it cannot come back."""

    code = "comment_deleted"

    def __init__(self) -> None:
        super().__init__("This comment was deleted.")


async def get_comment(comment_id: PydanticObjectId) -> Comment:
    """The comment, whatever its status. Raises CommentNotFoundError."""
    row = await Comment.find_row({"_id": comment_id})
    if row is None:
        raise CommentNotFoundError(comment_id)
    return Comment.from_row(row)


def may_moderate(viewer: Viewer | None, post_author_id: PydanticObjectId) -> bool:
    """Moderators may everywhere, authors under their own posts."""
    return viewer is not None and (viewer.can(Permission.MODERATE_COMMENTS) or viewer.user_id == post_author_id)


async def moderates(comment: Comment, viewer: Viewer) -> bool:
    """As `may_moderate`, for the post of a comment; it is looked up only when the viewer's role does not decide."""
    if viewer.can(Permission.MODERATE_COMMENTS):
        return True
    post = await Post.find_row({"_id": comment.post_id}, {"author_id": 1})
    return post is not None and may_moderate(viewer, post["author_id"])


# What is known of its author is of no use to anyone once the text is gone.
ERASED: Final[dict[str, Any]] = {
    "content": "",
    "content_html": "",
    "author_name": "",
    "author_email": None,
    "author_website": None,
    "address": None,
    "user_agent": None,
}


async def move_comment(
    comment: Comment, to: CommentStatus, *, viewer: Viewer, is_moderation: bool, revision: int | None = None
) -> Comment:
    """Give `comment` the status `to`, move the counters if it appeared or disappeared by that, and return it as it is now.

    Whoever finds it in that status already changes nothing. With `revision`, only the text of that revision is moved, so that
    nobody approves what was rewritten meanwhile. Raises CommentNotFoundError, CommentDeletedError and PreconditionError.
    """

    async def work(session: Session) -> Comment:
        await _move(comment, to, viewer=viewer, is_moderation=is_moderation, revision=revision, session=session)
        row = await Comment.find_row({"_id": comment.id}, session=session)
        assert row is not None, "it was moved, or found where it was wanted"
        return Comment.from_row(row)

    return await run_transaction(work, hot=[comment.post_id])


async def moderate_comments(
    comments: Sequence[Comment], to: CommentStatus, *, viewer: Viewer
) -> dict[PydanticObjectId, AppError]:
    """Moderate several as `move_comment` does one, in one transaction; returns why, for each that was not moved."""

    async def work(session: Session) -> dict[PydanticObjectId, AppError]:
        refusals: dict[PydanticObjectId, AppError] = {}
        for comment in comments:
            try:
                await _move(comment, to, viewer=viewer, is_moderation=True, revision=None, session=session)
            except AppError as error:
                refusals[comment.id] = error
        return refusals

    return await run_transaction(work, hot=[comment.post_id for comment in comments])


async def _move(
    comment: Comment, to: CommentStatus, *, viewer: Viewer, is_moderation: bool, revision: int | None, session: Session
) -> None:
    """Refuses before it writes anything, so that others may still be moved in the same transaction."""
    update = {"$set": {"status": to, **(ERASED if to is CommentStatus.DELETED else {})}}
    for before, appeared in _moves(to):
        condition: dict[str, Any] = {"_id": comment.id, "status": {"$in": before}}
        if revision is not None:
            condition["revision"] = revision
        if await Comment.change_row(condition, update, session=session):
            moved = comment.model_copy(update={"status": to})
            await count_comment(moved, appeared, session=session)
            await record_move(moved, appeared, viewer=viewer, is_moderation=is_moderation, session=session)
            return
    await _require_there(comment.id, to, revision, session)


async def count_comment(comment: Comment, appeared: int, *, session: Session) -> None:
    """Count a comment that became public (1), or stopped being so (-1), at its post and at every comment above it."""
    if appeared == 0:
        return
    await Post.change_later({"_id": comment.post_id}, {"$inc": {"comments_count": appeared}}, session=session)
    for above in comment.ancestor_ids:
        grown = {"descendants_count": appeared, **({"replies_count": appeared} if above == comment.parent_id else {})}
        await Comment.change_later({"_id": above}, {"$inc": grown}, session=session)


async def record_move(comment: Comment, appeared: int, *, viewer: Viewer, is_moderation: bool, session: Session) -> None:
    """Tell consumers what became public or stopped being so, and the audit log what a moderator did."""
    subject = f"comment:{comment.id}"
    if appeared != 0:
        happened = EventType.COMMENT_APPROVED if appeared > 0 else EventType.COMMENT_WITHDRAWN
        await EventService.record(session, happened, subject, actor_id=viewer.user_id, payload=event_payload(comment))
    if is_moderation:
        await AuditService.record(session, f"comment.{comment.status}", subject=subject, actor_id=viewer.user_id)


def event_payload(comment: Comment) -> dict[str, Any]:
    return {
        "post_id": str(comment.post_id),
        "comment_id": str(comment.id),
        "parent_id": str(comment.parent_id) if comment.parent_id else None,
        "author_id": str(comment.author_id) if comment.author_id else None,
        "status": comment.status,
    }


def _moves(to: CommentStatus) -> list[tuple[list[CommentStatus], int]]:
    """From which statuses `to` is reached, and by how much the approved ones grow by it."""
    hidden = [status for status in (CommentStatus.PENDING, CommentStatus.REJECTED, CommentStatus.SPAM) if status is not to]
    if to is CommentStatus.APPROVED:
        return [(hidden, 1)]
    return [([CommentStatus.APPROVED], -1), (hidden, 0)]


async def _require_there(comment_id: PydanticObjectId, to: CommentStatus, revision: int | None, session: Session) -> None:
    """Nobody can have it moved: say why, unless it stands where it was wanted."""
    row = await Comment.find_row({"_id": comment_id}, session=session)
    if row is None:
        raise CommentNotFoundError(comment_id)
    if row["status"] == CommentStatus.DELETED:
        raise CommentDeletedError
    require_revision(revision, row["revision"])
    assert row["status"] == to, "every other status leads to every one"
