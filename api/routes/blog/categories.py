"""Categories: public to read, kept by editors."""

from typing import Annotated

from beanie import PydanticObjectId
from fastapi import Path

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
    """Open a category."""
    return await CategoryService.create_category(body, viewer=viewer)


@router.get("/{key}", responses=refuses(CategoryNotFoundError))
async def get_category(slug: CategorySlugKey) -> CategoryRead:
    """An active category."""
    return await CategoryService.get_category(slug)


@router.patch(
    "/{key}",
    responses=refuses(CategoryNotFoundError, CategoryTakenError, PreconditionError, PreconditionRequiredError),
)
async def update_category(
    category_id: CategoryIdKey, body: CategoryUpdate, viewer: TaxonomyKeeper, revision: RequiredIfMatch
) -> CategoryRead:
    """Change a category; `If-Match` names its `revision`, as in `"3"`."""
    return await CategoryService.update_category(category_id, body, viewer=viewer, revision=revision)


@router.delete("/{key}", status_code=204, responses=refuses(CategoryNotFoundError))
async def deactivate_category(category_id: CategoryIdKey, viewer: TaxonomyKeeper) -> None:
    """Close a category: it leaves the lists, its posts keep it, and PATCH can open it again."""
    await CategoryService.deactivate_category(category_id, viewer=viewer)
