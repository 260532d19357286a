"""Reviews, and the orders that entitle to them."""

from typing import Any

from beanie import PydanticObjectId

from models.ecommerce.catalog import Product
from models.ecommerce.orders import Order, OrderStatus
from models.ecommerce.reviews import Review, ReviewRead
from models.users import Role, User
from services.ecommerce.reviews import ReviewService, ReviewText
from tests.factories.orders import create_order, make_line
from tests.factories.users import create_user, viewer_of


def make_text(**over: Any) -> ReviewText:
    return ReviewText(**{"rating": 4, "title": "Keeps its colour", "content": "Washed *ten* times.", **over})


async def create_bought(user: User, product: Product, *, status: OrderStatus = OrderStatus.DELIVERED) -> Order:
    """An order of `user` for one piece of the product; their customer profile is only an id."""
    line = make_line(product_id=product.id, variant_id=product.variants[0].id)
    return await create_order(user_id=user.id, customer_id=PydanticObjectId(), lines=[line], status=status)


async def create_review(product: Product, *, author: User | None = None, approved: bool = True, **over: Any) -> ReviewRead:
    """A review written, and approved unless told otherwise, through the service."""
    author = author or await create_user()
    order = await create_bought(author, product)
    review = await ReviewService.create_review(product.id, make_text(**over), order_id=order.id, viewer=viewer_of(author))
    if approved:
        editor = viewer_of(await create_user(role=Role.EDITOR))
        review = await ReviewService.approve(review.id, viewer=editor)
    return review


async def stored_review(review_id: PydanticObjectId) -> Review | None:
    row = await Review.find_row({"_id": review_id})
    return Review.from_row(row) if row else None
