"""Reviews of products: written by those who got them, moderated, voted helpful; and the ratings they add up to."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from beanie import PydanticObjectId

from models.base import AgoraDocument
from models.database import DuplicateKeyError, Session, run_transaction
from models.ecommerce.catalog import VISIBLE_STATUSES, Product
from models.ecommerce.orders import Order, OrderStatus
from models.ecommerce.reviews import HelpfulState, Review, ReviewRead, ReviewStatus
from models.events import EventType
from models.social import Like, LikeKind
from services.audit import AuditService
from services.blog.reading import author_names
from services.errors import ConflictError, NotFoundError, PreconditionError, RuleViolatedError, require_revision
from services.events import EventService
from services.markdown import render_comment
from services.pagination import CursorCodec, CursorPage, Page, PageRequest, find_stretch, page_of
from services.relations import add_relation, move_counter, remove_relation
from services.users.permissions import Permission, Viewer

MAX_TITLE_LENGTH = 100
MAX_LENGTH = 2_000
MAX_IMAGES = 10

# The customer holds the product, or held it.
_RECEIVED = (OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.RETURNED, OrderStatus.REFUNDED)

Row = dict[str, Any]


class ReviewSort(StrEnum):
    HELPFUL = "helpful"  # most helpful votes first, then newest
    NEWEST = "newest"


_SORTS = {ReviewSort.HELPFUL: [("helpful_count", -1), ("_id", -1)], ReviewSort.NEWEST: [("_id", -1)]}


class ReviewNotFoundError(NotFoundError):
    """There is no such review, or it is not public and not the caller's."""

    code = "review_not_found"

    def __init__(self, review_id: object = None) -> None:
        super().__init__("review", review_id)


class ReviewedProductNotFoundError(NotFoundError):
    """There is no such product to read reviews of."""

    code = "reviewed_product_not_found"

    def __init__(self, product_id: object = None) -> None:
        super().__init__("product", product_id)


class NotYoursToReviewError(RuleViolatedError):
    """The order is not the caller's, holds no such product, or has not been shipped."""

    code = "not_yours_to_review"

    def __init__(self) -> None:
        super().__init__("You can review what an order of yours has brought you, once it has been shipped.")


class AlreadyReviewedError(ConflictError):
    """The customer has reviewed this product before."""

    code = "already_reviewed"

    def __init__(self) -> None:
        super().__init__("You have reviewed this product: edit that review.")


class OwnReviewError(RuleViolatedError):
    """Nobody votes for their own review."""

    code = "own_review"

    def __init__(self) -> None:
        super().__init__("You cannot vote for your own review.")


@dataclass(frozen=True, slots=True)
class ReviewText:
    """What a customer says: one to five, a title of 100 and Markdown of 2,000 characters, and up to ten pictures."""

    rating: int
    title: str
    content: str
    image_urls: list[str] = field(default_factory=list)


class ReviewService:
    @staticmethod
    async def create_review(
        product_id: PydanticObjectId, text: ReviewText, *, order_id: PydanticObjectId, viewer: Viewer
    ) -> ReviewRead:
        """Write a review of what an order brought; it waits for a moderator.

        Raises ReviewedProductNotFoundError, NotYoursToReviewError and AlreadyReviewedError.
        """
        order = await Order.find_row({"_id": order_id}, {"user_id": 1, "customer_id": 1, "status": 1, "lines.product_id": 1})
        if (
            order is None
            or order["user_id"] != viewer.user_id
            or order["status"] not in _RECEIVED
            or product_id not in (line["product_id"] for line in order["lines"])
        ):
            await _visible_product(product_id)
            raise NotYoursToReviewError
        review = Review(
            product_id=product_id,
            customer_id=order["customer_id"],
            author_id=viewer.user_id,
            order_id=order_id,
            **_fields(text),
        )

        async def work(session: Session) -> None:
            await review.store(session=session)
            await _record(review, EventType.REVIEW_CREATED, viewer, session)

        try:
            await run_transaction(work)
        except DuplicateKeyError as error:
            raise AlreadyReviewedError from error
        return await _read(review)

    @staticmethod
    async def list_reviews(
        product_id: PydanticObjectId, *, page: PageRequest, sort: ReviewSort = ReviewSort.HELPFUL
    ) -> Page[ReviewRead]:
        """The approved reviews of a product that can be seen. Raises ReviewedProductNotFoundError."""
        product = await _visible_product(product_id)
        return page_of(await approved_reviews(product_id, page=page, sort=sort), page, product["reviews_count"])

    @staticmethod
    async def list_own_reviews(
        *, viewer: Viewer, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[ReviewRead]:
        """The viewer's reviews of every status, newest first. Raises InvalidCursorError."""
        return await _stretch({"author_id": viewer.user_id}, f"reviews:{viewer.user_id}", -1, cursors, cursor, limit)

    @staticmethod
    async def list_queue(
        *,
        viewer: Viewer,
        cursors: CursorCodec,
        status: ReviewStatus = ReviewStatus.PENDING,
        cursor: str | None = None,
        limit: int = 20,
    ) -> CursorPage[ReviewRead]:
        """The reviews of a status, oldest first. Raises PermissionDeniedError and InvalidCursorError."""
        viewer.require(Permission.MODERATE_REVIEWS)
        return await _stretch({"status": status}, f"review_queue:{status}", 1, cursors, cursor, limit)

    @staticmethod
    async def update_review(
        review_id: PydanticObjectId, text: ReviewText, *, viewer: Viewer, revision: int | None = None
    ) -> ReviewRead:
        """The author's review with a new text, which waits for a moderator again.

        With `revision` only that one is replaced. Raises ReviewNotFoundError and PreconditionError.
        """

        async def work(session: Session) -> Review:
            review = await _own_review(review_id, viewer, session)
            require_revision(revision, review.revision)
            changed = await Review.change(
                {"_id": review_id, "revision": review.revision, "status": review.status},
                {"$set": {**_fields(text), "status": ReviewStatus.PENDING}, "$inc": {"revision": 1}},
                session=session,
            )
            if changed is None:
                raise PreconditionError
            if review.status is ReviewStatus.APPROVED:
                await _withdraw(review, viewer, session)
            return changed

        return await _read(await run_transaction(work, hot=[review_id]))

    @staticmethod
    async def delete_review(review_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Remove the author's review and the votes for it; they may write another. Raises ReviewNotFoundError."""

        async def work(session: Session) -> None:
            review = await _own_review(review_id, viewer, session)
            gone = await Review.collection().delete_one({"_id": review_id, "status": review.status}, session=session)
            if not gone.deleted_count:
                raise ReviewNotFoundError(review_id)
            await Like.collection().delete_many({"subject_id": review_id}, session=session)
            if review.status is ReviewStatus.APPROVED:
                await _withdraw(review, viewer, session)

        await run_transaction(work, hot=[review_id])

    @staticmethod
    async def approve(review_id: PydanticObjectId, *, viewer: Viewer, revision: int | None = None) -> ReviewRead:
        """Make a review public and count its rating; approving it again changes nothing.

        With `revision` only the text that was read is approved. Raises PermissionDeniedError, ReviewNotFoundError and
        PreconditionError.
        """
        return await _moderate(review_id, ReviewStatus.APPROVED, viewer, revision)

    @staticmethod
    async def reject(review_id: PydanticObjectId, *, viewer: Viewer, revision: int | None = None) -> ReviewRead:
        """Refuse a review, or take a public one and its rating back. Raises as `approve`."""
        return await _moderate(review_id, ReviewStatus.REJECTED, viewer, revision)

    @staticmethod
    async def vote_helpful(review_id: PydanticObjectId, *, viewer: Viewer) -> HelpfulState:
        """Say that a public review helped; saying it again changes nothing. Raises ReviewNotFoundError and OwnReviewError."""
        return await _set_vote(review_id, viewer, wanted=True)

    @staticmethod
    async def unvote_helpful(review_id: PydanticObjectId, *, viewer: Viewer) -> HelpfulState:
        """Take that back; without a vote nothing changes. Raises as `vote_helpful`."""
        return await _set_vote(review_id, viewer, wanted=False)

    @staticmethod
    async def update_product_rating(product_id: PydanticObjectId) -> None:
        """Recount a product's rating from its approved reviews; zero without any. For repairs: every change moves it itself."""

        async def work(session: Session) -> None:
            rows = await Review.aggregate_rows(
                [
                    {"$match": {"product_id": product_id}},
                    {"$match": {"status": ReviewStatus.APPROVED}},
                    {"$group": {"_id": None, "count": {"$sum": 1}, "total": {"$sum": "$rating"}}},
                ],
                session=session,
            )
            count, total = (rows[0]["count"], rows[0]["total"]) if rows else (0, 0)
            counted = {"$set": {"reviews_count": count, "rating_total": total}}
            await Product.change_many({"_id": product_id}, [counted, _AVERAGE], session=session)

        await run_transaction(work, hot=[product_id])


async def approved_reviews(
    product_id: PydanticObjectId, *, page: PageRequest, sort: ReviewSort = ReviewSort.HELPFUL
) -> list[ReviewRead]:
    """One page of a product's approved reviews; one command, and one more when an author's name is not at hand."""
    approved = {"product_id": product_id, "status": ReviewStatus.APPROVED}
    return await _reads(await Review.find_rows(approved, sort=_SORTS[sort], skip=page.skip, limit=page.limit))


async def _visible_product(product_id: PydanticObjectId) -> Row:
    row = await Product.find_row({"_id": product_id}, {"status": 1, "reviews_count": 1})
    if row is None or row["status"] not in VISIBLE_STATUSES:
        raise ReviewedProductNotFoundError(product_id)
    return row


def _fields(text: ReviewText) -> Row:
    return {
        "rating": text.rating,
        "title": text.title,
        "content": text.content,
        "content_html": render_comment(text.content),
        "image_urls": list(text.image_urls),
    }


async def _own_review(review_id: PydanticObjectId, viewer: Viewer, session: Session) -> Review:
    row = await Review.find_row({"_id": review_id}, session=session)
    if row is None or row["author_id"] != viewer.user_id:
        raise ReviewNotFoundError(review_id)
    return Review.from_row(row)


async def _moderate(review_id: PydanticObjectId, to: ReviewStatus, viewer: Viewer, revision: int | None) -> ReviewRead:
    viewer.require(Permission.MODERATE_REVIEWS)

    async def work(session: Session) -> Review:
        row = await Review.find_row({"_id": review_id}, session=session)
        if row is None:
            raise ReviewNotFoundError(review_id)
        review = Review.from_row(row)
        require_revision(revision, review.revision)
        if review.status is to:
            return review
        moved = await Review.change(
            {"_id": review_id, "revision": review.revision, "status": review.status}, {"$set": {"status": to}}, session=session
        )
        if moved is None:
            raise PreconditionError
        if to is ReviewStatus.APPROVED:
            await _count_rating(moved, 1, session)
            await _record(moved, EventType.REVIEW_APPROVED, viewer, session)
        elif review.status is ReviewStatus.APPROVED:
            await _withdraw(review, viewer, session)
        await AuditService.record(session, f"review.{to}", subject=f"review:{review_id}", actor_id=viewer.user_id)
        return moved

    return await _read(await run_transaction(work, hot=[review_id]))


async def _withdraw(review: Review, viewer: Viewer, session: Session) -> None:
    """Take a review's rating off its product: it is public no longer."""
    await _count_rating(review, -1, session)
    await _record(review, EventType.REVIEW_WITHDRAWN, viewer, session)


# The average in tenths, halves rounded up: floor((20 total + count) / (2 count)).
_AVERAGE: Row = {
    "$set": {
        "rating_average": {
            "$cond": [
                {"$gt": ["$reviews_count", 0]},
                {
                    "$toInt": {
                        "$floor": {
                            "$divide": [
                                {"$add": [{"$multiply": ["$rating_total", 20]}, "$reviews_count"]},
                                {"$multiply": ["$reviews_count", 2]},
                            ]
                        }
                    }
                },
                0,
            ]
        }
    }
}


async def _count_rating(review: Review, sign: int, session: Session) -> None:
    counted = {
        "$set": {
            "reviews_count": {"$add": ["$reviews_count", sign]},
            "rating_total": {"$add": ["$rating_total", sign * review.rating]},
        }
    }
    await Product.change_many({"_id": review.product_id}, [counted, _AVERAGE], session=session)


async def _record(review: Review, type: EventType, viewer: Viewer, session: Session) -> None:
    payload = {"product_id": str(review.product_id), "rating": review.rating, "author_id": str(review.author_id)}
    await EventService.record(session, type, f"review:{review.id}", actor_id=viewer.user_id, payload=payload)


async def _set_vote(review_id: PydanticObjectId, viewer: Viewer, *, wanted: bool) -> HelpfulState:
    row = await Review.find_row({"_id": review_id}, {"status": 1, "author_id": 1})
    if row is None or row["status"] != ReviewStatus.APPROVED:
        raise ReviewNotFoundError(review_id)
    if row["author_id"] == viewer.user_id:
        raise OwnReviewError
    vote: AgoraDocument = Like(kind=LikeKind.REVIEW, subject_id=review_id, user_id=viewer.user_id)
    pair = {"subject_id": review_id, "user_id": viewer.user_id}

    async def work(session: Session) -> HelpfulState:
        delta = 0
        if wanted and await add_relation(vote, pair, session):
            delta = 1
        elif not wanted and await remove_relation(Like, pair, session):
            delta = -1
        count = await move_counter(Review, review_id, "helpful_count", delta, session)
        if delta > 0 and count == 0:  # deleted meanwhile, with its votes
            raise ReviewNotFoundError(review_id)
        return HelpfulState(is_helpful=wanted, helpful_count=count)

    return await run_transaction(work, hot=[review_id])


async def _stretch(
    query: Row, listing: str, direction: int, cursors: CursorCodec, cursor: str | None, limit: int
) -> CursorPage[ReviewRead]:
    rows, next_cursor = await find_stretch(
        Review, query, listing=listing, cursors=cursors, cursor=cursor, limit=limit, direction=direction
    )
    return CursorPage[ReviewRead].model_construct(items=await _reads(rows), next_cursor=next_cursor)


async def _read(review: Review) -> ReviewRead:
    return (await _reads([review.row()]))[0]


async def _reads(rows: list[Row]) -> list[ReviewRead]:
    names = await author_names({row["author_id"] for row in rows})
    return [
        ReviewRead.model_validate({**row, "id": row["_id"], "is_verified": True, "author": names.get(row["author_id"])})
        for row in rows
    ]
