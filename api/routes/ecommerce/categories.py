"""The shop's categories: public to read, kept by staff."""

from typing import Annotated

from beanie import PydanticObjectId
from fastapi import Path, Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Allowed, RequiredIfMatch
from api.routing import make_router, refuses
from api.schemas.catalog import ProductCategoryCreate, ProductCategoryUpdate
from models.ecommerce.catalog_reads import ProductCategoryNode, ProductCategoryPage, ProductCategoryRead
from services.ecommerce.catalog.categories import (
    CategoryCycleError,
    CategoryNotEmptyError,
    InvalidProductCategoryError,
    ProductCategoryNotFoundError,
    ProductCategoryService,
    ProductCategoryTakenError,
)
from services.errors import PreconditionError, PreconditionRequiredError
from services.users.permissions import Permission, Viewer

router = make_router("/shop/categories", "Shop: categories and attributes")

CatalogKeeper = Annotated[Viewer, Allowed(Permission.MANAGE_CATALOG)]

CategorySlugKey = Annotated[str, Path(alias="key", max_length=60, description="The category's slug", examples=["laptops"])]
CategoryIdKey = Annotated[
    PydanticObjectId, Path(alias="key", description="The category's id", examples=["65f0c0ffee0ddba11ca7f00d"])
]

_SHAPING = (ProductCategoryNotFoundError, ProductCategoryTakenError, InvalidProductCategoryError)


@router.get("")
async def list_product_categories() -> list[ProductCategoryNode]:
    """The open categories as a tree."""
    return await ProductCategoryService.list_tree()


@router.post("", status_code=201, responses=refuses(*_SHAPING))
async def create_product_category(body: ProductCategoryCreate, viewer: CatalogKeeper) -> ProductCategoryRead:
    """Open a category: a root, or below another."""
    return await ProductCategoryService.create_category(body, viewer=viewer)


@router.get("/manage")
async def list_all_product_categories(viewer: CatalogKeeper) -> list[ProductCategoryRead]:
    """Every category, closed ones too, level by level."""
    return await ProductCategoryService.list_categories(viewer=viewer)


@router.get("/{key}", response_model=ProductCategoryPage, responses={**refuses(ProductCategoryNotFoundError), **NOT_MODIFIED})
async def get_product_category(request: Request, slug: CategorySlugKey) -> Response:
    """An open category with its breadcrumb and children."""
    return answer(request, await ProductCategoryService.get_category(slug))


@router.patch(
    "/{key}",
    response_model=ProductCategoryRead,
    responses=refuses(*_SHAPING, CategoryCycleError, CategoryNotEmptyError, PreconditionError, PreconditionRequiredError),
)
async def update_product_category(
    request: Request, category_id: CategoryIdKey, body: ProductCategoryUpdate, viewer: CatalogKeeper, revision: RequiredIfMatch
) -> Response:
    """Change or move a category; `If-Match` names its `revision`, as in `"3"`. What is below it follows."""
    return answer(request, await ProductCategoryService.update_category(category_id, body, viewer=viewer, revision=revision))


@router.delete("/{key}", status_code=204, responses=refuses(ProductCategoryNotFoundError, CategoryNotEmptyError))
async def deactivate_product_category(category_id: CategoryIdKey, viewer: CatalogKeeper) -> None:
    """Close an empty category; PATCH can open it again."""
    await ProductCategoryService.deactivate_category(category_id, viewer=viewer)
