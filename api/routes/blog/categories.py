"""Categories: public to read, kept by editors."""

from typing import Annotated

from beanie import PydanticObjectId
from fastapi import Path, Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Allowed, RequiredIfMatch
from api.routing import make_router, refuses
from api.schemas.blog import CategoryCreate, CategoryUpdate
from models.blog.taxonomy import CategoryRead
from services.blog.categories import (
    CategoryNotFoundError,
    CategoryService,
    CategoryTakenError,
    InvalidCategoryNameError,
)
from services.errors import PreconditionError, PreconditionRequiredError
from services.users.permissions import Permission, Viewer

router = make_router("/blog/categories", "Blog: categories and tags")

TaxonomyKeeper = Annotated[Viewer, Allowed(Permission.MANAGE_TAXONOMY)]

# Reading goes by slug, writing by id, on one path: OpenAPI allows one name for both.
CategorySlugKey = Annotated[str, Path(alias="key", max_length=50, description="The category's slug", examples=["technology"])]
CategoryIdKey = Annotated[
    PydanticObjectId, Path(alias="key", description="The category's id", examples=["65f0c0ffee0ddba11ca7f00d"])
]


@router.get("")
async def get_categories_with_post_counts() -> list[CategoryRead]:
    """The active categories, those with the most published posts first."""
    return await CategoryService.get_categories_with_post_counts()


@router.post("", status_code=201, responses=refuses(CategoryTakenError, InvalidCategoryNameError))
async def create_category(body: CategoryCreate, viewer: TaxonomyKeeper) -> CategoryRead:
    """Open a category; its slug is made of the name when left out."""
    return await CategoryService.create_category(body, viewer=viewer)


@router.get("/{key}", response_model=CategoryRead, responses={**refuses(CategoryNotFoundError), **NOT_MODIFIED})
async def get_category(request: Request, slug: CategorySlugKey) -> Response:
    """An active category and how many published posts it has; closed ones are not found."""
    return answer(request, await CategoryService.get_category(slug))


@router.patch(
    "/{key}",
    response_model=CategoryRead,
    responses=refuses(CategoryNotFoundError, CategoryTakenError, PreconditionError, PreconditionRequiredError),
)
async def update_category(
    request: Request, category_id: CategoryIdKey, body: CategoryUpdate, viewer: TaxonomyKeeper, revision: RequiredIfMatch
) -> Response:
    """Change a category; `If-Match` names its `revision`, as in `"3"`."""
    return answer(request, await CategoryService.update_category(category_id, body, viewer=viewer, revision=revision))


@router.delete("/{key}", status_code=204, responses=refuses(CategoryNotFoundError))
async def deactivate_category(category_id: CategoryIdKey, viewer: TaxonomyKeeper) -> None:
    """Close a category: it leaves the lists, its posts keep it, and PATCH can open it again."""
    await CategoryService.deactivate_category(category_id, viewer=viewer)
