"""The history of posts, for those who may edit them."""

from typing import Annotated

from fastapi import Path, Query, Request
from starlette.responses import Response

from api.conditional import etag, tagged
from api.dependencies import Allowed, IfMatch, ObjectIdPath, Paging
from api.routing import make_router, refuses
from models.blog.posts import PostEdit, RevisionDiff, RevisionRead, RevisionSummary
from services.blog.posts import PostInTrashError
from services.blog.reading import PostNotFoundError, stamp_of
from services.blog.revisions import DiffTooLongError, RevisionNotFoundError, RevisionService
from services.errors import PreconditionError
from services.pagination import Page
from services.users.permissions import Permission, Viewer

router = make_router("/blog/posts", "Blog: revisions")

Writer = Annotated[Viewer, Allowed(Permission.WRITE_POSTS)]

_LARGEST = 2**31 - 1
Number = Annotated[int, Path(ge=1, le=_LARGEST, description="A revision's number, from 1", examples=[1])]


@router.get("/{post_id}/revisions", responses=refuses(PostNotFoundError))
async def list_revisions(post_id: ObjectIdPath, paging: Paging, viewer: Writer) -> Page[RevisionSummary]:
    """What was changed when and by whom, newest first."""
    return await RevisionService.list_revisions(post_id, paging, viewer=viewer)


@router.get("/{post_id}/revisions/diff", responses=refuses(PostNotFoundError, RevisionNotFoundError, DiffTooLongError))
async def diff_revisions(
    post_id: ObjectIdPath,
    viewer: Writer,
    from_number: Annotated[int, Query(alias="from", ge=1, le=_LARGEST, description="The earlier number", examples=[1])],
    to_number: Annotated[int, Query(alias="to", ge=1, le=_LARGEST, description="The later number", examples=[2])],
) -> RevisionDiff:
    """What turns the content of one revision into that of another, line by line."""
    return await RevisionService.diff_revisions(post_id, from_number=from_number, to_number=to_number, viewer=viewer)


@router.get("/{post_id}/revisions/{number}", responses=refuses(PostNotFoundError, RevisionNotFoundError))
async def get_revision(post_id: ObjectIdPath, number: Number, viewer: Writer) -> RevisionRead:
    """What the content was at one revision."""
    return await RevisionService.get_revision(post_id, number, viewer=viewer)


@router.post(
    "/{post_id}/revisions/{number}/restore",
    response_model=PostEdit,
    responses=refuses(PostNotFoundError, RevisionNotFoundError, PostInTrashError, PreconditionError),
)
async def restore_revision(
    post_id: ObjectIdPath, number: Number, request: Request, viewer: Writer, revision: IfMatch
) -> Response:
    """Bring the title, content and excerpt of a revision back, as a new one."""
    post = await RevisionService.restore_revision(post_id, number, viewer=viewer, revision=revision)
    return tagged(request, post.model_dump_json().encode(), tag=etag(post.revision, stamp_of(post)))
