"""Coupons and the report of what discounts were used for: for staff alone. Buyers give their codes to the cart."""

from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Allowed, ObjectIdPath, Paging, RequiredIfMatch
from api.routing import make_router, refuses
from api.schemas.base import Moment
from api.schemas.pricing import CouponBatchCreate, CouponCreate, CouponUpdate
from models.ecommerce.coupons import CouponBatch, CouponRead, DiscountUsage
from services.ecommerce.coupons import (
    BatchName,
    BatchNotFoundError,
    BatchTakenError,
    CouponNotFoundError,
    CouponService,
    CouponTakenError,
)
from services.ecommerce.discountusage import DiscountUsageService, UsageBy
from services.ecommerce.offers import InvalidSpanError
from services.errors import PreconditionError, PreconditionRequiredError
from services.heavy import OverloadedError
from services.pagination import Page
from services.users.permissions import Permission, Viewer

router = make_router("/shop", "Shop: coupons and promotions")

PromotionKeeper = Annotated[Viewer, Allowed(Permission.MANAGE_PROMOTIONS)]

_CSV: dict[int | str, dict[str, Any]] = {
    200: {"description": "The codes as CSV, with a header", "content": {"text/csv": {"schema": {"type": "string"}}}}
}


@router.post("/coupons", status_code=201, responses=refuses(CouponTakenError))
async def create_coupon(body: CouponCreate, viewer: PromotionKeeper) -> CouponRead:
    """Make one code and say what it gives, to whom, when and how often. Many at once: `POST /shop/coupons/batches`."""
    return await CouponService.create_coupon(body, viewer=viewer)


@router.get("/coupons")
async def list_coupons(
    viewer: PromotionKeeper,
    page: Paging,
    code: Annotated[str | None, Query(max_length=60, description="This code alone")] = None,
    batch: Annotated[str | None, Query(max_length=60, description="The codes of this batch, in the order they were made")] = None,
    is_active: Annotated[bool | None, Query(description="Those in use, or those that are not")] = None,
) -> Page[CouponRead]:
    """Coupons, newest first."""
    return await CouponService.list_coupons(page, viewer=viewer, code=code, batch=batch, is_active=is_active)


@router.post("/coupons/batches", status_code=201, responses=refuses(BatchTakenError))
async def create_coupon_batch(body: CouponBatchCreate, viewer: PromotionKeeper) -> CouponBatch:
    """Make up to 5,000 random codes on the same terms, all or none."""
    return await CouponService.create_batch(body, viewer=viewer)


@router.get("/coupons/codes.csv", response_class=Response, responses={**_CSV, **refuses(BatchNotFoundError)})
async def export_coupon_batch(
    viewer: PromotionKeeper, batch: Annotated[BatchName, Query(description="The batch", examples=["summer-26"])]
) -> Response:
    """Download the codes of a batch. No cell is one that a spreadsheet would compute."""
    text = await CouponService.export_batch(batch, viewer=viewer)
    headers = {"Content-Disposition": 'attachment; filename="codes.csv"', "Cache-Control": "no-store"}
    return Response(text, headers=headers, media_type="text/csv; charset=utf-8")


@router.get("/coupons/{coupon_id}", response_model=CouponRead, responses={**refuses(CouponNotFoundError), **NOT_MODIFIED})
async def get_coupon(request: Request, coupon_id: ObjectIdPath, viewer: PromotionKeeper) -> Response:
    """A coupon, used up or not, and how often it was used."""
    return answer(request, await CouponService.get_coupon(coupon_id, viewer=viewer))


@router.patch(
    "/coupons/{coupon_id}",
    response_model=CouponRead,
    responses=refuses(CouponNotFoundError, InvalidSpanError, PreconditionError, PreconditionRequiredError),
)
async def update_coupon(
    request: Request, coupon_id: ObjectIdPath, body: CouponUpdate, viewer: PromotionKeeper, revision: RequiredIfMatch
) -> Response:
    """Change a coupon; `If-Match` names its `revision`, as in `"3"`."""
    return answer(request, await CouponService.update_coupon(coupon_id, body, viewer=viewer, revision=revision))


@router.delete("/coupons/{coupon_id}", status_code=204, responses=refuses(CouponNotFoundError))
async def deactivate_coupon(coupon_id: ObjectIdPath, viewer: PromotionKeeper) -> None:
    """Take a code out of use; PATCH can bring it back."""
    await CouponService.deactivate_coupon(coupon_id, viewer=viewer)


@router.get("/discount-usage", responses=refuses(InvalidSpanError, OverloadedError))
async def list_discount_usage(
    viewer: PromotionKeeper,
    since: Annotated[Moment, Query(description="From this time on", examples=["2030-01-01T00:00:00Z"])],
    until: Annotated[Moment, Query(description="Up to, and without, this time", examples=["2030-02-01T00:00:00Z"])],
    by: Annotated[UsageBy, Query(description="What is counted")] = UsageBy.COUPON,
) -> list[DiscountUsage]:
    """Uses and money given away, by coupon, batch or promotion and currency, the most used first; at most 1,000 rows."""
    return await DiscountUsageService.list_discount_usage(by, since=since, until=until, viewer=viewer)
