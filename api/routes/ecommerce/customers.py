"""One's own profile and points as a customer, and customers for staff."""

from typing import Annotated

from fastapi import Query, Request, Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Allowed, Config, Cursor, Cursors, IfMatch, Limit, ObjectIdPath, Paging, SignedIn
from api.routing import make_router, refuses
from api.schemas.customers import CustomerUpdate
from models.ecommerce.customer_reads import CustomerDetails, CustomerRead, PointsRead
from services.ecommerce.customers import CustomerNotFoundError, CustomerService
from services.ecommerce.loyalty import LoyaltyService
from services.errors import PermissionDeniedError, PreconditionError
from services.pagination import InvalidCursorError, Page
from services.users.permissions import Permission, Viewer

router = make_router("/shop/customers", "Shop: customers")

Staff = Annotated[Viewer, Allowed(Permission.MANAGE_ORDERS)]


@router.get("/me", response_model=CustomerRead, responses=NOT_MODIFIED)
async def get_own_customer(request: Request, viewer: SignedIn, settings: Config) -> Response:
    """One's own profile as a customer; it is there from the first time one asks."""
    return answer(request, await CustomerService.get_me(viewer, settings=settings))


@router.patch("/me", response_model=CustomerRead, responses=refuses(PreconditionError))
async def update_own_customer(
    request: Request, body: CustomerUpdate, viewer: SignedIn, settings: Config, revision: IfMatch
) -> Response:
    """Change one's names, phone, language, currency, or whether one agrees to news."""
    return answer(request, await CustomerService.update_me(body, viewer=viewer, settings=settings, revision=revision))


@router.get("/me/points", responses=refuses(InvalidCursorError))
async def list_points(viewer: SignedIn, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20) -> PointsRead:
    """One's own loyalty points: the balance, and what it comes from, newest first."""
    return await LoyaltyService.list_points(viewer=viewer, cursors=cursors, cursor=cursor, limit=limit)


@router.get("", responses=refuses(PermissionDeniedError))
async def list_customers(
    viewer: Staff,
    page: Paging,
    is_active: Annotated[bool | None, Query(description="Those whose account stands, or those whose account was ended")] = None,
    search: Annotated[str | None, Query(max_length=254, description="A whole username or e-mail address")] = None,
) -> Page[CustomerDetails]:
    """All customers, newest first."""
    return await CustomerService.list_customers(page, viewer=viewer, is_active=is_active, search=search)


@router.get(
    "/{customer_id}",
    response_model=CustomerDetails,
    responses={**refuses(PermissionDeniedError, CustomerNotFoundError), **NOT_MODIFIED},
)
async def get_customer(request: Request, customer_id: ObjectIdPath, viewer: Staff) -> Response:
    """A customer with their sums, and the account behind them or, of an imported one, where they come from."""
    return answer(request, await CustomerService.get_customer(customer_id, viewer=viewer))
