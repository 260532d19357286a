"""Wish lists and people who wait, as the services would have left them."""

from typing import Any

from beanie import PydanticObjectId

from models.ecommerce.catalog import Product
from models.ecommerce.wishlists import StockNotice, WishlistItem
from models.users import User
from tests.factories.users import create_user


def make_wishlist_item(product: Product, **over: Any) -> WishlistItem:
    """The first variant of the product at its present price, on the list of nobody known, unsaved."""
    variant = product.variants[0]
    fields: dict[str, Any] = {"product_id": product.id, "variant_id": variant.id, "price_when_added": variant.price}
    return WishlistItem(**{"user_id": PydanticObjectId(), **fields, **over})


async def create_wishlist_item(product: Product, *, user: User | None = None, **over: Any) -> WishlistItem:
    user = user or await create_user()
    return await make_wishlist_item(product, **{"user_id": user.id, **over}).store()


async def create_stock_notice(product: Product, *, user: User | None = None, **over: Any) -> StockNotice:
    """Somebody waits for the first variant of the product."""
    user = user or await create_user()
    fields: dict[str, Any] = {"user_id": user.id, "product_id": product.id, "variant_id": product.variants[0].id}
    return await StockNotice(**{**fields, **over}).store()
