"""Products: found and read by everyone, kept by sellers and staff."""

from decimal import Decimal
from typing import Annotated

from beanie import PydanticObjectId
from fastapi import Depends, Path, Query, Request
from starlette.responses import RedirectResponse, Response

from api.conditional import NOT_MODIFIED, etag, tagged
from api.dependencies import Allowed, Config, MaybeSignedIn, Paging, ProductVisitOf, RequiredIfMatch
from api.routing import API_PREFIX, make_router, refuses
from api.schemas.catalog import ProductCreate, ProductUpdate
from api.visits import TrackerOf
from models.ecommerce.catalog import ProductStatus
from models.ecommerce.catalog_reads import (
    ProductEdit,
    ProductListed,
    ProductRead,
    ProductSearchPage,
    RecommendationRead,
)
from models.money import Currency
from services.ecommerce.catalog.categories import ProductCategoryNotFoundError
from services.ecommerce.catalog.listing import ProductSort
from services.ecommerce.catalog.pages import ProductPageService
from services.ecommerce.catalog.products import (
    ProductDiscontinuedError,
    ProductNotFoundError,
    ProductService,
    ProductSlugTakenError,
    SellerNotFoundError,
    SkuTakenError,
    VariantInStockError,
)
from services.ecommerce.catalog.reading import stamp_of
from services.ecommerce.catalog.recommendations import MAX_RECOMMENDATIONS, RecommendationService
from services.ecommerce.catalog.search import (
    MAX_FILTERS,
    InvalidFilterError,
    ProductFilter,
    ProductSearchService,
    price_limit,
)
from services.ecommerce.catalog.slugs import ProductMoved
from services.ecommerce.catalog.writing import InvalidAttributeError, InvalidProductError
from services.errors import PermissionDeniedError, PreconditionError, PreconditionRequiredError
from services.pagination import Page
from services.search import MAX_QUERY_LENGTH
from services.users.permissions import Permission, Viewer

router = make_router("/shop/products", "Shop: products")

Seller = Annotated[Viewer, Allowed(Permission.WRITE_PRODUCTS)]

# Reading goes by slug, writing by id, on one path: OpenAPI allows one name for both.
ProductSlugKey = Annotated[str, Path(alias="key", max_length=200, description="The product's slug", examples=["linen-shirt"])]
ProductIdKey = Annotated[
    PydanticObjectId, Path(alias="key", description="The product's id", examples=["65f0c0ffee0ddba11ca7f00d"])
]
Text = Annotated[str, Query(min_length=1, max_length=200)]
Price = Annotated[Decimal | None, Query(ge=0, lt=10**12, max_digits=18, description="In `currency`", examples=["19.99"])]

_WRITING = (
    ProductCategoryNotFoundError,
    InvalidProductError,
    InvalidAttributeError,
    ProductSlugTakenError,
    SkuTakenError,
)


async def _wanted(
    settings: Config,
    q: Annotated[
        str, Query(max_length=MAX_QUERY_LENGTH, description="Words, all of which a product must hold", examples=["linen shirt"])
    ] = "",
    category: Annotated[str | None, Query(max_length=60, description="A slug; everything below it is included")] = None,
    brand: Annotated[list[Text] | None, Query(max_length=MAX_FILTERS, description="Any of these, in any case")] = None,
    tag: Annotated[list[Text] | None, Query(max_length=MAX_FILTERS, description="Any of these tags")] = None,
    attribute: Annotated[
        list[Text] | None,
        Query(max_length=MAX_FILTERS, description="`code:value`; several values of one code widen", examples=[["color:red"]]),
    ] = None,
    currency: Annotated[Currency | None, Query(description="Of the price filter; the shop's own when left out")] = None,
    min_price: Price = None,
    max_price: Price = None,
    available: Annotated[bool | None, Query(description="True: only what can be bought now")] = None,
    seller_id: Annotated[PydanticObjectId | None, Query(description="Products of this person")] = None,
) -> ProductFilter:
    unit = currency or settings.currency
    return ProductFilter(
        query=q,
        category=category,
        brands=tuple(brand or ()),
        tags=tuple(tag or ()),
        attributes=tuple(attribute or ()),
        currency=unit,
        min_price=price_limit(min_price, unit),
        max_price=price_limit(max_price, unit),
        available=available,
        seller_id=seller_id,
    )


@router.get("", response_model=ProductSearchPage, responses=refuses(InvalidFilterError))
async def search_products(
    paging: Paging,
    wanted: Annotated[ProductFilter, Depends(_wanted)],
    tracker: TrackerOf,
    sort: Annotated[ProductSort, Query(description="Order")] = ProductSort.RELEVANCE,
    facets: Annotated[bool, Query(description="Count what the results can be narrowed by")] = False,
) -> Response:
    """Public products by words and filters, best match first; without words featured ones first, then bestselling.

    Up to 5 s old; carts and orders read prices themselves.
    """
    body = await ProductSearchService.search_page(wanted, paging, sort=sort, facets=facets)
    tracker.note_search(wanted.query, page=paging.page)
    return Response(body, media_type="application/json")


@router.post(
    "",
    status_code=201,
    response_model=ProductEdit,
    responses=refuses(PermissionDeniedError, SellerNotFoundError, *_WRITING),
)
async def create_product(body: ProductCreate, request: Request, viewer: Seller) -> Response:
    """Offer a product: as a draft, hidden, or public at once. An active one is `out_of_stock` until its stock arrives."""
    return _edited(request, await ProductService.create_product(body, viewer=viewer), status=201)


@router.get("/manage")
async def list_products(
    paging: Paging,
    viewer: Seller,
    status: Annotated[ProductStatus | None, Query(description="Of this status alone")] = None,
    seller_id: Annotated[PydanticObjectId | None, Query(description="For staff: products of this person")] = None,
) -> Page[ProductListed]:
    """Products of any status, newest first: all to staff, their own to sellers."""
    return await ProductService.list_products(paging, viewer=viewer, status=status, seller_id=seller_id)


@router.get(
    "/{key}",
    response_model=ProductRead,
    responses={
        **refuses(ProductNotFoundError),
        **NOT_MODIFIED,
        308: {"description": "The slug is a former one: `Location` has the present address."},
    },
)
async def get_product_details(slug: ProductSlugKey, request: Request, visit: ProductVisitOf) -> Response:
    """A public product with its breadcrumb, variants, rating, ten most helpful reviews and four related products."""
    page = await ProductPageService.get_product_details(slug, visit=visit)
    if isinstance(page, ProductMoved):
        # Not for ever: another product may take the slug.
        return RedirectResponse(f"{API_PREFIX}/shop/products/{page.slug}", 308, {"Cache-Control": "no-cache"})
    return tagged(request, page.body, tag=etag(page.revision, page.stamp))


@router.patch(
    "/{key}",
    response_model=ProductEdit,
    responses=refuses(
        ProductNotFoundError,
        ProductDiscontinuedError,
        VariantInStockError,
        PreconditionError,
        PreconditionRequiredError,
        *_WRITING,
    ),
)
async def update_product(
    product_id: ProductIdKey, body: ProductUpdate, request: Request, viewer: Seller, revision: RequiredIfMatch
) -> Response:
    """Edit a product; `If-Match` names the revision that was read. After a new slug, the old one redirects."""
    return _edited(request, await ProductService.update_product(product_id, body, viewer=viewer, revision=revision))


@router.delete("/{key}", status_code=204, responses=refuses(ProductNotFoundError))
async def delete_product(product_id: ProductIdKey, viewer: Seller) -> None:
    """Discontinue a product: gone for customers, kept for old orders."""
    await ProductService.delete_product(product_id, viewer=viewer)


@router.get("/{key}/edit", response_model=ProductEdit, responses={**refuses(ProductNotFoundError), **NOT_MODIFIED})
async def get_product_for_edit(product_id: ProductIdKey, request: Request, viewer: Seller) -> Response:
    """A product of any status with its Markdown and cost prices; its ETag is what `If-Match` wants."""
    return _edited(request, await ProductService.get_product_for_edit(product_id, viewer=viewer))


@router.get("/{slug}/recommendations", responses=refuses(ProductNotFoundError))
async def list_recommendations(
    slug: Annotated[str, Path(max_length=200, description="The product's slug", examples=["linen-shirt"])],
    viewer: MaybeSignedIn,
    limit: Annotated[int, Query(ge=1, le=MAX_RECOMMENDATIONS, description="Items to return")] = 8,
) -> list[RecommendationRead]:
    """Available products that go with this one, each with the reason: bought together, viewed together, popular."""
    return await RecommendationService.list_recommendations(slug, viewer=viewer, limit=limit)


def _edited(request: Request, product: ProductEdit, *, status: int = 200) -> Response:
    return tagged(request, product.model_dump_json().encode(), tag=etag(product.revision, stamp_of(product)), status=status)
