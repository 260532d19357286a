"""Posts: reading them, writing them, and what makes them public."""

from typing import Annotated

from beanie import PydanticObjectId
from fastapi import Path, Query, Request
from starlette.responses import RedirectResponse, Response

from api.conditional import NOT_MODIFIED, etag, tagged
from api.dependencies import Allowed, Config, ObjectIdPath, Paging, RequiredIfMatch, SignedIn, ThisReader
from api.routing import API_PREFIX, make_router, refuses
from api.schemas.blog import PostCreate, PostUpdate, ScheduleCreate
from models.blog.posts import PostEdit, PostRead, PostStatus, PostSummary, PreviewLink
from services.blog.categories import CategoryNotFoundError
from services.blog.lifecycle import PostTransitionError, PublishingService
from services.blog.listing import PostFilter, PostSort
from services.blog.posts import PostInTrashError, PostMoved, PostService
from services.blog.previews import PreviewNotFoundError, PreviewService
from services.blog.reading import PostNotFoundError, stamp_of
from services.blog.slugs import SlugTakenError
from services.blog.tags import InvalidTagNameError, TagNotFoundError
from services.blog.writing import ScheduleInPastError, TooManyTagsError
from services.errors import PermissionDeniedError, PreconditionError, PreconditionRequiredError
from services.pagination import Page
from services.users.permissions import Permission, Viewer

router = make_router("/blog/posts", "Blog: posts")

Writer = Annotated[Viewer, Allowed(Permission.WRITE_POSTS)]

# Reading goes by slug, writing by id, on one path: OpenAPI allows one name for both.
PostSlugKey = Annotated[str, Path(alias="key", max_length=200, description="The post's slug", examples=["indexes-that-serve"])]
PostIdKey = Annotated[PydanticObjectId, Path(alias="key", description="The post's id", examples=["65f0c0ffee0ddba11ca7f00d"])]
CategorySlug = Annotated[str | None, Query(max_length=50, description="A category's slug", examples=["technology"])]
TagSlug = Annotated[str | None, Query(max_length=50, description="A tag's slug", examples=["mongodb"])]

_WRITING = (CategoryNotFoundError, TagNotFoundError, InvalidTagNameError, TooManyTagsError, SlugTakenError, ScheduleInPastError)
_MOVING = refuses(PostNotFoundError, PostTransitionError)


@router.get("", response_model=Page[PostSummary])
async def list_published_posts(
    paging: Paging,
    category: CategorySlug = None,
    tag: TagSlug = None,
    author: Annotated[str | None, Query(max_length=50, description="A username", examples=["janedoe"])] = None,
    sort: Annotated[PostSort, Query(description="Order")] = PostSort.NEWEST,
) -> Response:
    """Published posts, newest first unless `sort` says otherwise. `total_count` may be a few seconds old, the posts are not."""
    page = await PostService.list_published(paging, wanted=PostFilter(category, tag, author), sort=sort)
    return Response(page.model_dump_json(), media_type="application/json")


@router.post("", status_code=201, response_model=PostEdit, responses=refuses(PermissionDeniedError, *_WRITING))
async def create_post(body: PostCreate, request: Request, viewer: Writer) -> Response:
    """Write a post: as a draft, scheduled, or published at once. Tags that do not exist are made with it."""
    return _edited(request, await PostService.create_post(body, viewer=viewer), status=201)


@router.get("/mine")
async def list_own_posts(
    paging: Paging,
    viewer: SignedIn,
    status: Annotated[PostStatus | None, Query(description="All but the trashed ones when left out")] = None,
) -> Page[PostSummary]:
    """The caller's posts, last created first."""
    return await PostService.list_own(paging, viewer=viewer, status=status)


@router.get("/preview", response_model=PostRead, responses=refuses(PreviewNotFoundError))
async def get_preview(
    token: Annotated[str, Query(max_length=100, description="Of the preview link")], settings: Config
) -> Response:
    """A post that need not be public, for whoever holds a preview link of it."""
    post = await PreviewService.get_preview(token, settings=settings)
    headers = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
    return Response(post.model_dump_json(), headers=headers, media_type="application/json")


@router.get(
    "/{key}",
    response_model=PostRead,
    responses={
        **refuses(PostNotFoundError),
        **NOT_MODIFIED,
        308: {"description": "The slug is an old one: `Location` has the new address."},
    },
)
async def get_post_by_slug(slug: PostSlugKey, request: Request, reader: ThisReader) -> Response:
    """A published post; drafts are shown to their authors and to editors only."""
    page = await PostService.get_post_by_slug(slug, viewer=reader.viewer, visit=reader.visit)
    if isinstance(page, PostMoved):
        return RedirectResponse(f"{API_PREFIX}/blog/posts/{page.slug}", 308)
    return tagged(request, page.body, tag=etag(page.post.revision, page.stamp))


@router.patch(
    "/{key}",
    response_model=PostEdit,
    responses=refuses(PostNotFoundError, PostInTrashError, PreconditionError, PreconditionRequiredError, *_WRITING),
)
async def update_post(
    post_id: PostIdKey, body: PostUpdate, request: Request, viewer: Writer, revision: RequiredIfMatch
) -> Response:
    """Edit a post; `If-Match` names the revision that was read. After a new slug, the old one redirects."""
    return _edited(request, await PostService.update_post(post_id, body, viewer=viewer, revision=revision))


@router.get("/{post_id}/edit", response_model=PostEdit, responses={**refuses(PostNotFoundError), **NOT_MODIFIED})
async def get_post_for_edit(post_id: ObjectIdPath, request: Request, viewer: Writer) -> Response:
    """A post of any status with its Markdown and dates; its ETag is what `If-Match` wants."""
    return _edited(request, await PostService.get_post_for_edit(post_id, viewer=viewer))


@router.post("/{post_id}/preview", responses=refuses(PostNotFoundError))
async def create_preview(post_id: ObjectIdPath, viewer: Writer, settings: Config) -> PreviewLink:
    """A link that shows the post to anyone for two days."""
    return await PreviewService.create_preview(post_id, viewer=viewer, settings=settings)


@router.post("/{post_id}/publish", response_model=PostEdit, responses=_MOVING)
async def publish_post(post_id: ObjectIdPath, request: Request, viewer: Writer) -> Response:
    """Make a post public; one that already is stays as it is."""
    return _edited(request, await PublishingService.publish(post_id, viewer=viewer))


@router.post("/{post_id}/unpublish", response_model=PostEdit, responses=_MOVING)
async def unpublish_post(post_id: ObjectIdPath, request: Request, viewer: Writer) -> Response:
    """Make a published, scheduled or archived post a draft again."""
    return _edited(request, await PublishingService.unpublish(post_id, viewer=viewer))


@router.post(
    "/{post_id}/schedule",
    response_model=PostEdit,
    responses=refuses(PostNotFoundError, PostTransitionError, ScheduleInPastError),
)
async def schedule_post(post_id: ObjectIdPath, body: ScheduleCreate, request: Request, viewer: Writer) -> Response:
    """Have a draft publish itself at a time to come."""
    return _edited(request, await PublishingService.schedule(post_id, scheduled_at=body.scheduled_at, viewer=viewer))


@router.post("/{post_id}/archive", response_model=PostEdit, responses=_MOVING)
async def archive_post(post_id: ObjectIdPath, request: Request, viewer: Writer) -> Response:
    """Take a published post off the lists and keep it."""
    return _edited(request, await PublishingService.archive(post_id, viewer=viewer))


@router.post("/{post_id}/trash", response_model=PostEdit, responses=_MOVING)
async def trash_post(post_id: ObjectIdPath, request: Request, viewer: Writer) -> Response:
    """Throw a post away; it can be restored for 30 days."""
    return _edited(request, await PublishingService.trash(post_id, viewer=viewer))


@router.post("/{post_id}/restore", response_model=PostEdit, responses=_MOVING)
async def restore_post(post_id: ObjectIdPath, request: Request, viewer: Writer) -> Response:
    """Take a post out of the trash, as a draft."""
    return _edited(request, await PublishingService.restore(post_id, viewer=viewer))


def _edited(request: Request, post: PostEdit, *, status: int = 200) -> Response:
    return tagged(request, post.model_dump_json().encode(), tag=etag(post.revision, stamp_of(post)), status=status)
