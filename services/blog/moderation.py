"""What moderators do with comments, and authors with those under their own posts."""

from collections.abc import Sequence
from typing import Final

from beanie import PydanticObjectId

from models.blog.comments import Comment, CommentModeration, CommentStatus, ModerationAction, ModerationResult
from models.blog.posts import Post
from services.blog.comment_states import (
    CommentNotFoundError,
    get_comment,
    may_moderate,
    moderate_comments,
    moderates,
    move_comment,
)
from services.blog.threads import MODERATION_FIELDS, names_of, to_moderation
from services.errors import AppError, PermissionDeniedError, RuleViolatedError
from services.pagination import CursorCodec, CursorPage, PageRequest
from services.users.permissions import Permission, Viewer

MAX_BULK = 100

_STATUS_AFTER: Final = {
    ModerationAction.APPROVE: CommentStatus.APPROVED,
    ModerationAction.REJECT: CommentStatus.REJECTED,
    ModerationAction.SPAM: CommentStatus.SPAM,
    ModerationAction.DELETE: CommentStatus.DELETED,
}


class TooManyCommentsError(RuleViolatedError):
    """A bulk action on none, or on more than it takes."""

    code = "too_many_comments"

    def __init__(self, count: int) -> None:
        super().__init__(f"A bulk action takes 1 to {MAX_BULK} comments.")
        self.count = count


class ModerationService:
    @staticmethod
    async def list_queue(
        *,
        viewer: Viewer,
        cursors: CursorCodec,
        status: CommentStatus = CommentStatus.PENDING,
        post_id: PydanticObjectId | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> CursorPage[CommentModeration]:
        """The comments of a status, oldest first: all of them for moderators, those of a post for its author too.

        Raises PermissionDeniedError, the same for a post of somebody else and for none, and InvalidCursorError.
        """
        PageRequest(limit=limit)
        await _require_queue(viewer, post_id)
        listing = f"queue:{status}:{post_id}"
        query: dict[str, object] = {"status": status}
        if post_id is not None:
            query["post_id"] = post_id
        if cursor:
            query["_id"] = {"$gt": cursors.decode(listing, cursor)[0]}
        rows = await Comment.find_rows(query, MODERATION_FIELDS, sort=[("_id", 1)], limit=limit + 1)
        shown, follow = rows[:limit], len(rows) > limit
        names = await names_of(shown)
        return CursorPage[CommentModeration].model_construct(
            items=[to_moderation(row, names) for row in shown],
            next_cursor=cursors.encode(listing, shown[-1]["_id"]) if follow else None,
        )

    @staticmethod
    async def moderate(
        comment_id: PydanticObjectId, action: ModerationAction, *, viewer: Viewer, revision: int | None = None
    ) -> CommentModeration:
        """Do `action` with a comment and return it as it then is; doing it again changes nothing.

        With `revision` only the text that was read is acted on. Raises CommentNotFoundError, also for those who may not
        moderate it, CommentDeletedError and PreconditionError.
        """
        comment = await get_comment(comment_id)
        if not await moderates(comment, viewer):
            raise CommentNotFoundError(comment_id)
        moved = await move_comment(comment, _STATUS_AFTER[action], viewer=viewer, is_moderation=True, revision=revision)
        row = moved.row()
        return to_moderation(row, await names_of([row]))

    @staticmethod
    async def approve(comment_id: PydanticObjectId, *, viewer: Viewer, revision: int | None = None) -> CommentModeration:
        """Make a comment public, and count it. Raises as `moderate`."""
        return await ModerationService.moderate(comment_id, ModerationAction.APPROVE, viewer=viewer, revision=revision)

    @staticmethod
    async def reject(comment_id: PydanticObjectId, *, viewer: Viewer, revision: int | None = None) -> CommentModeration:
        """Refuse a comment, or take a public one back. Raises as `moderate`."""
        return await ModerationService.moderate(comment_id, ModerationAction.REJECT, viewer=viewer, revision=revision)

    @staticmethod
    async def mark_spam(comment_id: PydanticObjectId, *, viewer: Viewer, revision: int | None = None) -> CommentModeration:
        """Refuse a comment as spam. Raises as `moderate`."""
        return await ModerationService.moderate(comment_id, ModerationAction.SPAM, viewer=viewer, revision=revision)

    @staticmethod
    async def moderate_many(
        comment_ids: Sequence[PydanticObjectId], action: ModerationAction, *, viewer: Viewer
    ) -> list[ModerationResult]:
        """Do `action` with each of up to 100 comments, together, and say what became of each, in their order.

        One that is refused does not stop the rest; one that is named twice is done once. Raises PermissionDeniedError and
        TooManyCommentsError.
        """
        viewer.require(Permission.MODERATE_COMMENTS)
        if not 1 <= len(comment_ids) <= MAX_BULK:
            raise TooManyCommentsError(len(comment_ids))
        rows = await Comment.find_rows({"_id": {"$in": list(comment_ids)}})
        found = [Comment.from_row(row) for row in rows]
        status = _STATUS_AFTER[action]
        refusals = await moderate_comments(found, status, viewer=viewer)
        for missing in set(comment_ids) - {comment.id for comment in found}:
            refusals[missing] = CommentNotFoundError(missing)
        return [_result(comment_id, status, refusals.get(comment_id)) for comment_id in dict.fromkeys(comment_ids)]


async def _require_queue(viewer: Viewer, post_id: PydanticObjectId | None) -> None:
    if viewer.can(Permission.MODERATE_COMMENTS):
        return
    post = None if post_id is None else await Post.find_row({"_id": post_id}, {"author_id": 1})
    if post is None or not may_moderate(viewer, post["author_id"]):
        raise PermissionDeniedError


def _result(comment_id: PydanticObjectId, status: CommentStatus, refusal: AppError | None) -> ModerationResult:
    if refusal is not None:
        return ModerationResult(id=comment_id, status=None, error=refusal.code, detail=refusal.detail)
    return ModerationResult(id=comment_id, status=status, error=None, detail=None)
