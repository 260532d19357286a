"""Automatic promotions: for staff alone."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Allowed, ObjectIdPath, Paging, RequiredIfMatch
from api.routing import make_router, refuses
from api.schemas.pricing import PromotionCreate, PromotionUpdate
from models.ecommerce.coupons import PromotionRead
from services.ecommerce.offers import InvalidSpanError
from services.ecommerce.promotions import PromotionNotFoundError, PromotionService, TooManyPromotionsError
from services.errors import PreconditionError, PreconditionRequiredError
from services.pagination import Page
from services.users.permissions import Permission, Viewer

router = make_router("/shop/promotions", "Shop: coupons and promotions")

PromotionKeeper = Annotated[Viewer, Allowed(Permission.MANAGE_PROMOTIONS)]


@router.post("", status_code=201, responses=refuses(TooManyPromotionsError))
async def create_promotion(body: PromotionCreate, viewer: PromotionKeeper) -> PromotionRead:
    """Make a promotion that applies by itself."""
    return await PromotionService.create_promotion(body, viewer=viewer)


@router.get("")
async def list_promotions(
    viewer: PromotionKeeper,
    page: Paging,
    is_active: Annotated[bool | None, Query(description="Those in use, in the order in which they apply, or the others")] = None,
) -> Page[PromotionRead]:
    """Promotions, newest first."""
    return await PromotionService.list_promotions(page, viewer=viewer, is_active=is_active)


@router.get("/{promotion_id}", response_model=PromotionRead, responses={**refuses(PromotionNotFoundError), **NOT_MODIFIED})
async def get_promotion(request: Request, promotion_id: ObjectIdPath, viewer: PromotionKeeper) -> Response:
    """A promotion with its rule, in use or not."""
    return answer(request, await PromotionService.get_promotion(promotion_id, viewer=viewer))


@router.patch(
    "/{promotion_id}",
    response_model=PromotionRead,
    responses=refuses(
        PromotionNotFoundError, InvalidSpanError, TooManyPromotionsError, PreconditionError, PreconditionRequiredError
    ),
)
async def update_promotion(
    request: Request, promotion_id: ObjectIdPath, body: PromotionUpdate, viewer: PromotionKeeper, revision: RequiredIfMatch
) -> Response:
    """Change a promotion; `If-Match` names its `revision`, as in `"3"`."""
    return answer(request, await PromotionService.update_promotion(promotion_id, body, viewer=viewer, revision=revision))


@router.delete("/{promotion_id}", status_code=204, responses=refuses(PromotionNotFoundError))
async def deactivate_promotion(promotion_id: ObjectIdPath, viewer: PromotionKeeper) -> None:
    """Take a promotion out of use; PATCH can bring it back."""
    await PromotionService.deactivate_promotion(promotion_id, viewer=viewer)
