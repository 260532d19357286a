"""The cart of who is signed in, or of the guest who holds its token; and what became of carts that were left."""

from typing import Annotated

from fastapi import Depends, Path, Query, Request, Response

from api.carts import CartHolderOf
from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Allowed, Client, Config, IfMatch, ObjectIdPath, SignedIn
from api.routing import make_router, refuses
from api.schemas.base import Moment
from api.schemas.customers import CartCouponCreate, CartItemCreate, CartItemUpdate, CouponCode
from api.visits import TrackerOf
from models.analytics.events import VisitKind
from models.ecommerce.cart_reads import AbandonmentReport, CartRead
from models.places import Country
from services.ecommerce.abandonment import AbandonmentService, ReportWindowError
from services.ecommerce.cart_writing import CartCurrencyError, CartFullError
from services.ecommerce.carts import (
    CartCouponNotFoundError,
    CartEmptyError,
    CartLineNotFoundError,
    CartService,
    CartStockError,
    NotForSaleError,
    Preview,
)
from services.ecommerce.couponreasons import COUPON_ERRORS
from services.errors import PermissionDeniedError, PreconditionError
from services.ratelimits import TooManyAttemptsError
from services.users.permissions import Permission, Viewer

router = make_router("/shop/cart", "Shop: cart")
reports = make_router("/shop/reports", "Shop: reports")

ROUTERS = [router, reports]


async def _preview(
    country: Annotated[Country | None, Query(description="Where to; else the customer's default address")] = None,
    state: Annotated[str, Query(max_length=100, description="Of that country, where it has such", examples=["IL"])] = "",
    shipping_method: Annotated[str | None, Query(max_length=50, description="Code of the method", examples=["standard"])] = None,
) -> Preview:
    return Preview(country, state, shipping_method)


@router.get("", response_model=CartRead, responses=NOT_MODIFIED)
async def get_cart(
    request: Request, holder: CartHolderOf, preview: Annotated[Preview, Depends(_preview)], settings: Config
) -> Response:
    """The cart at present prices, with what is wrong with its lines and what the order would come to. Changes nothing."""
    return answer(request, await CartService.get(holder, settings=settings, preview=preview))


@router.delete("", status_code=204, responses=refuses(PreconditionError))
async def clear_cart(holder: CartHolderOf, settings: Config, revision: IfMatch) -> None:
    """Take everything out of the cart, codes too."""
    await CartService.clear(holder, settings=settings, revision=revision)


@router.post(
    "/items",
    status_code=201,
    response_model=CartRead,
    responses=refuses(NotForSaleError, CartStockError, CartCurrencyError, CartFullError, PreconditionError),
)
async def add_to_cart(
    request: Request, body: CartItemCreate, holder: CartHolderOf, settings: Config, revision: IfMatch, tracker: TrackerOf
) -> Response:
    """Put something into the cart. A guest's first thing opens a cart: `cart_token` of the answer is the key to it."""
    cart = await CartService.add(holder, body.as_item(), settings=settings, revision=revision)
    tracker.note(VisitKind.CART_ADD)
    return answer(request, cart, status=201)


@router.patch(
    "/items/{variant_id}",
    response_model=CartRead,
    responses=refuses(CartLineNotFoundError, NotForSaleError, CartStockError, CartFullError, PreconditionError),
)
async def update_cart_item(
    request: Request,
    variant_id: ObjectIdPath,
    body: CartItemUpdate,
    holder: CartHolderOf,
    settings: Config,
    revision: IfMatch,
) -> Response:
    """Set how many pieces the cart holds, and take note of the present price. None or fewer remove the line."""
    cart = await CartService.update(holder, variant_id, quantity=body.quantity, settings=settings, revision=revision)
    return answer(request, cart)


@router.delete("/items/{variant_id}", status_code=204, responses=refuses(CartLineNotFoundError, PreconditionError))
async def remove_from_cart(
    variant_id: ObjectIdPath, holder: CartHolderOf, settings: Config, revision: IfMatch, tracker: TrackerOf
) -> None:
    """Take a line out of the cart."""
    await CartService.remove(holder, variant_id, settings=settings, revision=revision)
    tracker.note(VisitKind.CART_REMOVE)


@router.post(
    "/coupons",
    response_model=CartRead,
    responses=refuses(*COUPON_ERRORS.values(), CartEmptyError, CartFullError, TooManyAttemptsError, PreconditionError),
)
async def add_cart_coupon(
    request: Request, body: CartCouponCreate, holder: CartHolderOf, client: Client, settings: Config, revision: IfMatch
) -> Response:
    """Use a code with this cart. One that is of no use is not kept; the problem's code says why."""
    cart = await CartService.add_coupon(holder, body.code, address=client.address, settings=settings, revision=revision)
    return answer(request, cart)


@router.delete("/coupons/{code}", status_code=204, responses=refuses(CartCouponNotFoundError, PreconditionError))
async def remove_cart_coupon(
    code: Annotated[CouponCode, Path(description="In any case", examples=["SAVE10"])],
    holder: CartHolderOf,
    settings: Config,
    revision: IfMatch,
) -> None:
    """Take a code out of the cart."""
    await CartService.remove_coupon(holder, code, settings=settings, revision=revision)


@router.post("/merge", response_model=CartRead)
async def merge_carts(request: Request, viewer: SignedIn, holder: CartHolderOf, settings: Config) -> Response:
    """Let the guest's cart of `Cart-Token` join one's own; every other change of the cart does so, too. Harmless to repeat."""
    return answer(request, await CartService.merge(holder, settings=settings))


@reports.get("/abandoned-carts", responses=refuses(PermissionDeniedError, ReportWindowError))
async def get_abandonment_report(
    viewer: Annotated[Viewer, Allowed(Permission.VIEW_REPORTS)],
    since: Annotated[Moment, Query(description="From this time on", examples=["2026-11-01T00:00:00Z"])],
    until: Annotated[Moment, Query(description="Up to, and without, this time", examples=["2026-12-01T00:00:00Z"])],
) -> AbandonmentReport:
    """How many carts were left alone within a time, how many owners were reminded, and how many bought after all."""
    return await AbandonmentService.report(viewer=viewer, starts_at=since, ends_at=until)
