"""Comments: reading and writing them, the moderation queue, and bans."""

from typing import Annotated

from beanie import PydanticObjectId
from fastapi import Query, Request
from starlette.responses import Response

from api.conditional import answer
from api.dependencies import (
    Allowed,
    Client,
    Config,
    Cursor,
    Cursors,
    IfMatch,
    Limit,
    MaybeSignedIn,
    ObjectIdPath,
    Paging,
    SignedIn,
)
from api.routing import make_router, refuses
from api.schemas.comments import CommentBanCreate, CommentCreate, CommentUpdate, ModerationCreate
from models.blog.comments import (
    CommentBanRead,
    CommentModeration,
    CommentRead,
    CommentStatus,
    CommentThread,
    ModerationResult,
)
from services.blog.bans import (
    AlreadyBannedError,
    BannedFromCommentingError,
    BanNotFoundError,
    BanService,
    InvalidBanError,
)
from services.blog.comment_states import CommentDeletedError, CommentNotFoundError
from services.blog.comments import (
    CommentEditWindowClosedError,
    CommentNotEditableError,
    CommentService,
    CommentTooDeepError,
    InvalidCommentError,
)
from services.blog.moderation import ModerationService
from services.blog.reading import PostNotFoundError
from services.errors import PermissionDeniedError, PreconditionError
from services.pagination import CursorPage, InvalidCursorError, Page
from services.users.permissions import Permission, Viewer

router = make_router("/blog", "Blog: comments")

Moderator = Annotated[Viewer, Allowed(Permission.MODERATE_COMMENTS)]

_MODERATION = refuses(CommentNotFoundError, CommentDeletedError, PreconditionError)


@router.post(
    "/posts/{post_id}/comments",
    status_code=201,
    responses=refuses(
        PostNotFoundError, CommentNotFoundError, InvalidCommentError, CommentTooDeepError, BannedFromCommentingError
    ),
)
async def add_comment(
    post_id: ObjectIdPath, body: CommentCreate, viewer: MaybeSignedIn, client: Client, settings: Config
) -> CommentRead:
    """Comment on a published post, signed in or as a guest. `status` tells whether it waits for a moderator."""
    guest = body.guest.as_guest() if body.guest else None
    return await CommentService.add_comment(
        post_id, content=body.content, parent_id=body.parent_id, viewer=viewer, guest=guest, client=client, settings=settings
    )


@router.get("/posts/{post_id}/comments", responses=refuses(PostNotFoundError, InvalidCursorError))
async def list_comment_threads(
    post_id: ObjectIdPath, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20
) -> CursorPage[CommentThread]:
    """The threads under a post, newest first, each with its first replies. Only approved comments show their text."""
    return await CommentService.list_threads(post_id, cursors=cursors, cursor=cursor, limit=limit)


@router.get("/comments/queue", responses=refuses(PermissionDeniedError, InvalidCursorError))
async def list_comment_queue(
    viewer: SignedIn,
    cursors: Cursors,
    status: Annotated[CommentStatus, Query(description="Which comments")] = CommentStatus.PENDING,
    post_id: Annotated[PydanticObjectId | None, Query(description="Only those of this post; its author may ask too")] = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> CursorPage[CommentModeration]:
    """What waits for a moderator, or has another status, oldest first."""
    return await ModerationService.list_queue(
        viewer=viewer, cursors=cursors, status=status, post_id=post_id, cursor=cursor, limit=limit
    )


@router.post("/comments/moderate", responses=refuses(PermissionDeniedError))
async def moderate_comments(body: ModerationCreate, viewer: Moderator) -> list[ModerationResult]:
    """Do one thing with up to 100 comments. Each has its own result; one that is refused does not stop the rest."""
    return await ModerationService.moderate_many(body.comment_ids, body.action, viewer=viewer)


@router.post("/comments/{comment_id}/approve", response_model=CommentModeration, responses=_MODERATION)
async def approve_comment(request: Request, comment_id: ObjectIdPath, viewer: SignedIn, revision: IfMatch) -> Response:
    """Make a comment public; for moderators and the author of its post. `If-Match` names the revision that was read."""
    return answer(request, await ModerationService.approve(comment_id, viewer=viewer, revision=revision))


@router.post("/comments/{comment_id}/reject", response_model=CommentModeration, responses=_MODERATION)
async def reject_comment(request: Request, comment_id: ObjectIdPath, viewer: SignedIn, revision: IfMatch) -> Response:
    """Refuse a comment; for moderators and the author of its post."""
    return answer(request, await ModerationService.reject(comment_id, viewer=viewer, revision=revision))


@router.post("/comments/{comment_id}/spam", response_model=CommentModeration, responses=_MODERATION)
async def mark_comment_spam(request: Request, comment_id: ObjectIdPath, viewer: SignedIn, revision: IfMatch) -> Response:
    """Refuse a comment as spam; for moderators and the author of its post."""
    return answer(request, await ModerationService.mark_spam(comment_id, viewer=viewer, revision=revision))


@router.get("/comments/{comment_id}/replies", responses=refuses(CommentNotFoundError, PostNotFoundError, InvalidCursorError))
async def list_comment_replies(
    comment_id: ObjectIdPath, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20
) -> CursorPage[CommentRead]:
    """The replies in the thread of a root comment, of every depth, oldest first."""
    return await CommentService.list_replies(comment_id, cursors=cursors, cursor=cursor, limit=limit)


@router.patch(
    "/comments/{comment_id}",
    response_model=CommentRead,
    responses=refuses(
        CommentNotFoundError,
        InvalidCommentError,
        CommentEditWindowClosedError,
        CommentNotEditableError,
        PreconditionError,
    ),
)
async def update_comment(
    request: Request, comment_id: ObjectIdPath, body: CommentUpdate, viewer: SignedIn, settings: Config, revision: IfMatch
) -> Response:
    """Rewrite one's own comment shortly after writing it. An approved one may have to wait for a moderator again."""
    return answer(
        request,
        await CommentService.update_comment(
            comment_id, content=body.content, viewer=viewer, settings=settings, revision=revision
        ),
    )


@router.delete("/comments/{comment_id}", status_code=204, responses=refuses(CommentNotFoundError))
async def delete_comment(comment_id: ObjectIdPath, viewer: SignedIn) -> None:
    """Delete a comment; for its author, moderators, and the author of its post. Answered ones keep their place, without text."""
    await CommentService.delete_comment(comment_id, viewer=viewer)


@router.post("/comment-bans", status_code=201, responses=refuses(PermissionDeniedError, InvalidBanError, AlreadyBannedError))
async def create_comment_ban(body: CommentBanCreate, viewer: Moderator) -> CommentBanRead:
    """Keep a user, a guests' mail address or a network address from commenting."""
    return await BanService.create_ban(body.kind, body.value, viewer=viewer, reason=body.reason, expires_at=body.expires_at)


@router.get("/comment-bans", responses=refuses(PermissionDeniedError))
async def list_comment_bans(page: Paging, viewer: Moderator) -> Page[CommentBanRead]:
    """Who may not comment, newest ban first."""
    return await BanService.list_bans(page, viewer=viewer)


@router.delete("/comment-bans/{ban_id}", status_code=204, responses=refuses(PermissionDeniedError, BanNotFoundError))
async def delete_comment_ban(ban_id: ObjectIdPath, viewer: Moderator) -> None:
    """Lift a ban; what was refused meanwhile does not come back."""
    await BanService.delete_ban(ban_id, viewer=viewer)
