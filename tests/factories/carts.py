"""Carts with things in them, as the services would have left them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from models.base import now as present
from models.ecommerce.carts import Cart, CartLine
from models.ecommerce.catalog import Product
from models.users import User
from services.ecommerce.carts import guest_owner, user_owner

CART_TOKEN = "a-guests-cart-token-of-43-characters-012345"

Wish = tuple[Product, int]


def make_line(product: Product, quantity: int = 1, **over: Any) -> CartLine:
    """The first variant of a product at its present price."""
    variant = product.variants[0]
    defaults: dict[str, Any] = {
        "product_id": product.id,
        "variant_id": variant.id,
        "quantity": quantity,
        "price_seen": variant.price,
        "added_at": present(),
    }
    return CartLine(**{**defaults, **over})


def make_cart(*wishes: Wish, user: User | None = None, token: str = CART_TOKEN, **over: Any) -> Cart:
    """The cart of `user`, else of the guest who has `token`, unsaved, with these products and quantities in it."""
    moment = over.pop("active_at", None) or present()
    lines: Sequence[CartLine] = over.pop("lines", None) or [make_line(product, quantity) for product, quantity in wishes]
    defaults: dict[str, Any] = {
        "owner": guest_owner(token) if user is None else user_owner(user.id),
        "user_id": None if user is None else user.id,
        "lines": lines,
        "active_at": moment,
        "idle_since": moment if lines else None,
        "expires_at": moment + timedelta(days=30),
    }
    return Cart(**{**defaults, **over})


async def create_cart(*wishes: Wish, user: User | None = None, token: str = CART_TOKEN, **over: Any) -> Cart:
    return await make_cart(*wishes, user=user, token=token, **over).store()
