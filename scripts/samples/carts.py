"""What lies in the sample shop's carts."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random

from models.base import to_milliseconds
from models.ecommerce.carts import Cart, CartLine
from models.users import Role
from scripts.samples.shop import Shop
from scripts.samples.unit import Unit, sample_id
from services.ecommerce.pieces import Piece

CARTS = 40


def fill_carts(unit: Unit, shop: Shop, anchor: datetime, chance: Random, *, draw: Callable[[], Sequence[Piece]]) -> None:
    """One every three hours back from the anchor; the job calls the older ones abandoned."""
    readers = [buyer for buyer in shop.buyers if buyer.user.role is Role.USER]
    for position, buyer in enumerate(chance.sample(readers, CARTS)):
        moment = to_milliseconds(anchor - timedelta(hours=position * 3, minutes=5))
        if buyer.customer.created_at > moment:
            continue
        lines = [
            CartLine(
                product_id=piece.product_id,
                variant_id=piece.variant_id,
                quantity=piece.quantity,
                price_seen=piece.unit_price,
                added_at=moment,
            )
            for piece in draw()
        ]
        cart = Cart(
            id=sample_id("cart", buyer.user.id, moment),
            owner=f"user:{buyer.user.id}",
            user_id=buyer.user.id,
            currency=shop.products[0].currency,
            lines=lines,
            active_at=moment,
            idle_since=moment,
            expires_at=moment + timedelta(days=30),
            created_at=moment,
            updated_at=moment,
        )
        unit.documents[Cart].append(cart)
