"""The review that paths lead to is the member's; the order behind it is delivered, and another one waits to be reviewed."""

from typing import Any

from models.ecommerce.catalog import Product
from models.ecommerce.reviews import ReviewRead
from models.users import User
from tests.api.world import Body, Operation, Provider, Query, World, fixed
from tests.factories.catalog import create_product
from tests.factories.reviews import create_bought, create_review


async def _product(world: World) -> Product:
    product: Product = await world.once("reviewed product", create_product)
    return product


async def _product_id(world: World, operation: Operation, variant: str) -> str:
    return str((await _product(world)).id)


async def _review_id(world: World, operation: Operation, variant: str) -> str:
    is_approved = operation.id != "approve_review" and variant != "pending"

    async def make() -> ReviewRead:
        return await create_review(await _product(world), author=await world.person("member"), approved=is_approved)

    review: ReviewRead = await world.once(f"review, approved: {is_approved}", make)
    return str(review.id)


async def _review(world: World) -> dict[str, Any]:
    async def make() -> Any:
        member: User = await world.person("member")
        return await create_bought(member, await _product(world))

    order = await world.once("order to review", make)
    return {"rating": 4, "title": "Keeps its colour", "content": "Washed ten times.", "order_id": str(order.id)}


VALUES: dict[str, Provider] = {"product_id": _product_id, "review_id": _review_id}
QUERIES: dict[str, Query] = {}
BODIES: dict[str, Body] = {
    "create_review": _review,
    "update_review": fixed(rating=3, title="Another title", content="Another text."),
}
