"""Reviews: who may write one, what makes it public, and the ratings that follow."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from beanie import PydanticObjectId

from models.database import Database
from models.ecommerce.catalog import Product, ProductStatus
from models.ecommerce.orders import OrderStatus
from models.ecommerce.reviews import HelpfulState, Review, ReviewStatus
from models.events import Event, EventType
from models.social import Like
from models.users import Role, User
from services.ecommerce.reviews import (
    AlreadyReviewedError,
    NotYoursToReviewError,
    OwnReviewError,
    ReviewedProductNotFoundError,
    ReviewNotFoundError,
    ReviewService,
    ReviewSort,
)
from services.errors import PermissionDeniedError, PreconditionError
from services.pagination import CursorCodec, PageRequest
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.catalog import create_product
from tests.factories.reviews import create_bought, create_review, make_text, stored_review
from tests.factories.users import create_user, viewer_of
from tests.shapes import serving_index

CURSORS = CursorCodec(b"for tests")


@pytest.fixture
async def product(database: Database) -> Product:
    return await create_product()


@pytest.fixture
async def author(database: Database) -> User:
    return await create_user()


@pytest.fixture
async def editor(database: Database) -> Viewer:
    return viewer_of(await create_user(role=Role.EDITOR))


async def rating(product: Product) -> tuple[int, int, int]:
    """Reviews, sum of ratings, average in tenths, as stored."""
    row = await Product.find_row({"_id": product.id})
    assert row is not None
    assert isinstance(row["rating_average"], int)
    return row["reviews_count"], row["rating_total"], row["rating_average"]


async def recorded() -> list[EventType]:
    return [EventType(row["type"]) for row in await Event.find_rows({}, sort=[("_id", 1)])]


class TestCreate:
    async def test_com_s27_waits_for_a_moderator_and_counts_nothing(self, product: Product, author: User) -> None:
        """COM-S4, COM-S27: the source recomputed the rating when a review was written, before anyone had approved it."""
        order = await create_bought(author, product)
        text = make_text(content="**Good** <script>alert(1)</script>")

        review = await ReviewService.create_review(product.id, text, order_id=order.id, viewer=viewer_of(author))

        assert (review.status, review.rating, review.is_verified) == (ReviewStatus.PENDING, 4, True)
        assert review.content_html == "<p><strong>Good</strong> &lt;script&gt;alert(1)&lt;/script&gt;</p>\n"
        assert review.author is not None
        assert review.author.username == author.username
        assert await rating(product) == (0, 0, 0)
        assert await recorded() == [EventType.REVIEW_CREATED]

    @pytest.mark.parametrize(
        "status", [OrderStatus.PENDING, OrderStatus.CONFIRMED, OrderStatus.PROCESSING, OrderStatus.CANCELLED]
    )
    async def test_com_s27_order_that_was_not_shipped_entitles_to_nothing(
        self, product: Product, author: User, status: OrderStatus
    ) -> None:
        order = await create_bought(author, product, status=status)

        with pytest.raises(NotYoursToReviewError):
            await ReviewService.create_review(product.id, make_text(), order_id=order.id, viewer=viewer_of(author))

        assert await Review.find_rows({}) == []

    async def test_com_s27_orders_of_others_or_of_other_products_or_of_none(self, product: Product, author: User) -> None:
        foreign = await create_bought(await create_user(), product)
        other = await create_bought(author, await create_product())

        for order_id in (foreign.id, other.id, PydanticObjectId()):
            with pytest.raises(NotYoursToReviewError):
                await ReviewService.create_review(product.id, make_text(), order_id=order_id, viewer=viewer_of(author))

        assert await Review.find_rows({}) == []

    async def test_com_m9_twenty_at_once_write_one(self, product: Product, author: User) -> None:
        order = await create_bought(author, product)

        results = await asyncio.gather(
            *(
                ReviewService.create_review(product.id, make_text(), order_id=order.id, viewer=viewer_of(author))
                for _ in range(20)
            ),
            return_exceptions=True,
        )

        assert sum(not isinstance(result, BaseException) for result in results) == 1
        assert sum(isinstance(result, AlreadyReviewedError) for result in results) == 19
        assert len(await Review.find_rows({})) == 1


class TestModeration:
    async def test_com_s4_approval_counts_and_withdrawal_of_the_last_one_resets(self, product: Product, editor: Viewer) -> None:
        """COM-S4: the source never came back to zero."""
        review = await create_review(product, rating=5)
        assert await rating(product) == (1, 5, 50)

        await ReviewService.reject(review.id, viewer=editor)

        assert await rating(product) == (0, 0, 0)
        assert await recorded() == [EventType.REVIEW_CREATED, EventType.REVIEW_APPROVED, EventType.REVIEW_WITHDRAWN]

    @pytest.mark.parametrize(
        ("ratings", "tenths"), [((5, 4), 45), ((5, 4, 4), 43), ((5, 5, 4), 47), ((4, 4, 4, 5), 43), ((1, 2), 15)]
    )
    async def test_n_12_average_is_rounded_half_up_to_a_tenth(
        self, product: Product, ratings: tuple[int, ...], tenths: int
    ) -> None:
        """N-12: 4.25 is 4.3, 4.333 is 4.3, 4.667 is 4.7."""
        for number in ratings:
            await create_review(product, rating=number)

        assert await rating(product) == (len(ratings), sum(ratings), tenths)

    async def test_approving_again_counts_once_also_in_parallel(self, product: Product, editor: Viewer) -> None:
        review = await create_review(product, approved=False)

        await asyncio.gather(*(ReviewService.approve(review.id, viewer=editor) for _ in range(20)))

        assert await rating(product) == (1, 4, 40)
        assert (await recorded()).count(EventType.REVIEW_APPROVED) == 1

    async def test_what_was_rewritten_meanwhile_is_not_approved(self, product: Product, author: User, editor: Viewer) -> None:
        review = await create_review(product, author=author, approved=False)
        await ReviewService.update_review(review.id, make_text(title="Buy elsewhere"), viewer=viewer_of(author))

        with pytest.raises(PreconditionError):
            await ReviewService.approve(review.id, viewer=editor, revision=review.revision)

        assert await rating(product) == (0, 0, 0)

    async def test_readers_may_not(self, product: Product, author: User) -> None:
        review = await create_review(product, author=author, approved=False)

        for act in (ReviewService.approve, ReviewService.reject):
            with pytest.raises(PermissionDeniedError):
                await act(review.id, viewer=viewer_of(author))
        with pytest.raises(PermissionDeniedError):
            await ReviewService.list_queue(viewer=viewer_of(author), cursors=CURSORS)

    async def test_queue_shows_the_oldest_first(self, product: Product, editor: Viewer) -> None:
        waiting = [await create_review(product, approved=False) for _ in range(3)]
        await create_review(product)

        first = await ReviewService.list_queue(viewer=editor, cursors=CURSORS, limit=2)
        rest = await ReviewService.list_queue(viewer=editor, cursors=CURSORS, cursor=first.next_cursor, limit=2)

        assert [review.id for review in [*first.items, *rest.items]] == [review.id for review in waiting]
        assert rest.next_cursor is None


class TestOwn:
    async def test_edited_one_waits_again_and_counts_no_more(self, product: Product, author: User) -> None:
        review = await create_review(product, author=author, rating=5)

        edited = await ReviewService.update_review(review.id, make_text(rating=1), viewer=viewer_of(author))

        assert (edited.status, edited.rating, edited.revision) == (ReviewStatus.PENDING, 1, 2)
        assert await rating(product) == (0, 0, 0)

    async def test_stale_edit_is_refused(self, product: Product, author: User) -> None:
        review = await create_review(product, author=author)
        await ReviewService.update_review(review.id, make_text(rating=2), viewer=viewer_of(author), revision=1)

        with pytest.raises(PreconditionError):
            await ReviewService.update_review(review.id, make_text(rating=1), viewer=viewer_of(author), revision=1)

        stored = await stored_review(review.id)
        assert stored is not None
        assert stored.rating == 2

    async def test_deleted_one_takes_rating_and_votes_along_and_may_be_written_anew(self, product: Product, author: User) -> None:
        review = await create_review(product, author=author)
        await ReviewService.vote_helpful(review.id, viewer=viewer_of(await create_user()))

        await ReviewService.delete_review(review.id, viewer=viewer_of(author))

        assert await rating(product) == (0, 0, 0)
        assert await Review.find_rows({}) == []
        assert await Like.find_rows({}) == []
        again = await create_review(product, author=author, rating=3)
        assert (await rating(product), again.id == review.id) == ((1, 3, 30), False)

    async def test_strangers_find_nothing(self, product: Product) -> None:
        review = await create_review(product)
        stranger = viewer_of(await create_user())

        with pytest.raises(ReviewNotFoundError):
            await ReviewService.update_review(review.id, make_text(rating=1), viewer=stranger)
        with pytest.raises(ReviewNotFoundError):
            await ReviewService.delete_review(review.id, viewer=stranger)

        assert await rating(product) == (1, 4, 40)

    async def test_list_shows_every_status_newest_first(self, author: User) -> None:
        reviews = [await create_review(await create_product(), author=author, approved=number == 1) for number in range(3)]
        await create_review(await create_product())

        page = await ReviewService.list_own_reviews(viewer=viewer_of(author), cursors=CURSORS)

        assert [review.id for review in page.items] == [review.id for review in reversed(reviews)]


class TestHelpful:
    async def test_com_s27_once_per_person_however_often_and_parallel(self, product: Product) -> None:
        review = await create_review(product)
        voters = [viewer_of(await create_user()) for _ in range(10)]

        await asyncio.gather(*(ReviewService.vote_helpful(review.id, viewer=voter) for voter in voters * 3))

        stored = await stored_review(review.id)
        assert stored is not None
        assert stored.helpful_count == 10
        assert await ReviewService.unvote_helpful(review.id, viewer=voters[0]) == HelpfulState(is_helpful=False, helpful_count=9)
        assert await ReviewService.unvote_helpful(review.id, viewer=voters[0]) == HelpfulState(is_helpful=False, helpful_count=9)

    async def test_not_for_ones_own_and_not_for_what_is_not_public(self, product: Product, author: User) -> None:
        own = await create_review(product, author=author)
        hidden = await create_review(product, approved=False)

        with pytest.raises(OwnReviewError):
            await ReviewService.vote_helpful(own.id, viewer=viewer_of(author))
        with pytest.raises(ReviewNotFoundError):
            await ReviewService.vote_helpful(hidden.id, viewer=viewer_of(author))

        assert await Like.find_rows({}) == []


class TestList:
    async def test_approved_ones_most_helpful_then_newest(self, product: Product) -> None:
        plain, helpful, newest = [await create_review(product) for _ in range(3)]
        await create_review(product, approved=False)
        await ReviewService.vote_helpful(helpful.id, viewer=viewer_of(await create_user()))

        page = await ReviewService.list_reviews(product.id, page=PageRequest())
        by_time = await ReviewService.list_reviews(product.id, page=PageRequest(), sort=ReviewSort.NEWEST)

        assert [review.id for review in page.items] == [helpful.id, newest.id, plain.id]
        assert [review.id for review in by_time.items] == [newest.id, helpful.id, plain.id]
        assert (page.total_count, page.total_pages) == (3, 1)

    async def test_product_that_cannot_be_seen_has_none(self, database: Database) -> None:
        hidden = await create_product(status=ProductStatus.DRAFT)

        for product_id in (hidden.id, PydanticObjectId()):
            with pytest.raises(ReviewedProductNotFoundError):
                await ReviewService.list_reviews(product_id, page=PageRequest())

    async def test_page_is_three_commands_at_most_each_served_by_an_index(self, product: Product, commands: CommandLog) -> None:
        await create_review(product)

        with commands.counting() as sent:
            await ReviewService.list_reviews(product.id, page=PageRequest())

        assert len(sent) <= 3
        assert all(serving_index(read) is not None for read in sent.reads if read.collection == "reviews")


async def test_com_s4_counters_are_right_after_any_interleaving(product: Product, editor: Viewer) -> None:
    """Ten people write, edit and delete while a moderator approves and rejects; then the recount finds nothing to do."""
    people = [await create_user() for _ in range(10)]
    reviews = [await create_review(product, author=person, rating=1 + number % 5) for number, person in enumerate(people)]
    chance = random.Random(7)

    async def act(number: int) -> None:
        review, viewer = reviews[number % 10], viewer_of(people[number % 10])
        deeds: list[Callable[[], Awaitable[object]]] = [
            lambda: ReviewService.approve(review.id, viewer=editor),
            lambda: ReviewService.reject(review.id, viewer=editor),
            lambda: ReviewService.update_review(review.id, make_text(rating=1 + number % 5), viewer=viewer),
            lambda: ReviewService.vote_helpful(review.id, viewer=viewer_of(people[(number + 1) % 10])),
        ]
        await chance.choice(deeds)()

    results = await asyncio.gather(*(act(number) for number in range(60)), return_exceptions=True)

    assert {type(result) for result in results if isinstance(result, BaseException)} <= {PreconditionError, ReviewNotFoundError}
    before = await rating(product)
    await ReviewService.update_product_rating(product.id)
    assert await rating(product) == before
    for row in await Review.find_rows({}):
        assert row["helpful_count"] == len(await Like.find_rows({"subject_id": row["_id"]}))
