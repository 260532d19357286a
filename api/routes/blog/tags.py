"""Tags: the popular ones, and renaming."""

from typing import Annotated

from fastapi import Query

from api.dependencies import Allowed, ObjectIdPath
from api.routing import make_router, refuses
from api.schemas.blog import TagUpdate
from models.blog.taxonomy import TagRead
from services.blog.tags import InvalidTagNameError, TagNotFoundError, TagService, TagTakenError
from services.users.permissions import Permission, Viewer

router = make_router("/blog/tags", "Blog: categories and tags")


@router.get("/popular")
async def get_popular_tags(
    limit: Annotated[int, Query(ge=1, le=100, description="Items to return")] = 20,
) -> list[TagRead]:
    """The tags of the most published posts, fullest first; unused ones are left out."""
    return await TagService.get_popular_tags(limit)


@router.patch("/{tag_id}", responses=refuses(TagNotFoundError, InvalidTagNameError, TagTakenError))
async def rename_tag(
    tag_id: ObjectIdPath, body: TagUpdate, viewer: Annotated[Viewer, Allowed(Permission.MANAGE_TAXONOMY)]
) -> TagRead:
    """Give a tag another name, on all its posts."""
    return await TagService.rename_tag(tag_id, name=body.name, viewer=viewer)
