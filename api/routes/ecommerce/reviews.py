"""Reviews of products: reading and writing them, votes, moderation."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.conditional import answer
from api.dependencies import Allowed, Cursor, Cursors, IfMatch, Limit, ObjectIdPath, Paging, SignedIn
from api.routing import make_router, refuses
from api.schemas.reviews import ReviewCreate, ReviewUpdate
from models.ecommerce.reviews import HelpfulState, ReviewRead, ReviewStatus
from services.ecommerce.reviews import (
    AlreadyReviewedError,
    NotYoursToReviewError,
    OwnReviewError,
    ReviewedProductNotFoundError,
    ReviewNotFoundError,
    ReviewService,
    ReviewSort,
)
from services.errors import PreconditionError
from services.pagination import CursorPage, InvalidCursorError, Page
from services.users.permissions import Permission, Viewer

router = make_router("/shop", "Shop: reviews")

Moderator = Annotated[Viewer, Allowed(Permission.MODERATE_REVIEWS)]

_MODERATION = refuses(ReviewNotFoundError, PreconditionError)
_VOTE = refuses(ReviewNotFoundError, OwnReviewError)


@router.post(
    "/products/{product_id}/reviews",
    status_code=201,
    responses=refuses(ReviewedProductNotFoundError, NotYoursToReviewError, AlreadyReviewedError),
)
async def create_review(product_id: ObjectIdPath, body: ReviewCreate, viewer: SignedIn) -> ReviewRead:
    """Review what an order of one's own brought, once it has been shipped. It waits for a moderator."""
    return await ReviewService.create_review(product_id, body.as_text(), order_id=body.order_id, viewer=viewer)


@router.get("/products/{product_id}/reviews", responses=refuses(ReviewedProductNotFoundError))
async def list_reviews(
    product_id: ObjectIdPath, page: Paging, sort: Annotated[ReviewSort, Query(description="Order")] = ReviewSort.HELPFUL
) -> Page[ReviewRead]:
    """The approved reviews of a product, the most helpful or the newest first."""
    return await ReviewService.list_reviews(product_id, page=page, sort=sort)


@router.get("/reviews/mine", responses=refuses(InvalidCursorError))
async def list_own_reviews(
    viewer: SignedIn, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20
) -> CursorPage[ReviewRead]:
    """One's own reviews of every status, newest first."""
    return await ReviewService.list_own_reviews(viewer=viewer, cursors=cursors, cursor=cursor, limit=limit)


@router.get("/reviews/queue", responses=refuses(InvalidCursorError))
async def list_review_queue(
    viewer: Moderator,
    cursors: Cursors,
    status: Annotated[ReviewStatus, Query(description="Which reviews")] = ReviewStatus.PENDING,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> CursorPage[ReviewRead]:
    """What waits for a moderator, or has another status, oldest first."""
    return await ReviewService.list_queue(viewer=viewer, cursors=cursors, status=status, cursor=cursor, limit=limit)


@router.patch("/reviews/{review_id}", response_model=ReviewRead, responses=_MODERATION)
async def update_review(
    request: Request, review_id: ObjectIdPath, body: ReviewUpdate, viewer: SignedIn, revision: IfMatch
) -> Response:
    """Replace one's own review; it waits for a moderator again, and counts no more until then."""
    return answer(request, await ReviewService.update_review(review_id, body.as_text(), viewer=viewer, revision=revision))


@router.delete("/reviews/{review_id}", status_code=204, responses=refuses(ReviewNotFoundError))
async def delete_review(review_id: ObjectIdPath, viewer: SignedIn) -> None:
    """Remove one's own review; the product's rating is counted without it."""
    await ReviewService.delete_review(review_id, viewer=viewer)


@router.put("/reviews/{review_id}/helpful", responses=_VOTE)
async def vote_review_helpful(review_id: ObjectIdPath, viewer: SignedIn) -> HelpfulState:
    """Say that a review helped. Safe to repeat."""
    return await ReviewService.vote_helpful(review_id, viewer=viewer)


@router.delete("/reviews/{review_id}/helpful", responses=_VOTE)
async def unvote_review_helpful(review_id: ObjectIdPath, viewer: SignedIn) -> HelpfulState:
    """Take that back. Safe to repeat."""
    return await ReviewService.unvote_helpful(review_id, viewer=viewer)


@router.post("/reviews/{review_id}/approve", response_model=ReviewRead, responses=_MODERATION)
async def approve_review(request: Request, review_id: ObjectIdPath, viewer: Moderator, revision: IfMatch) -> Response:
    """Make a review public. `If-Match` names the revision that was read."""
    return answer(request, await ReviewService.approve(review_id, viewer=viewer, revision=revision))


@router.post("/reviews/{review_id}/reject", response_model=ReviewRead, responses=_MODERATION)
async def reject_review(request: Request, review_id: ObjectIdPath, viewer: Moderator, revision: IfMatch) -> Response:
    """Refuse a review, or take a public one back."""
    return answer(request, await ReviewService.reject(review_id, viewer=viewer, revision=revision))
