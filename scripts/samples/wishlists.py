"""What the sample shop's customers wish for, and what they wait for."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from random import Random
from typing import Any

from models.ecommerce.catalog import VISIBLE_STATUSES, Product, Variant
from models.ecommerce.wishlists import StockNotice, WishlistItem
from models.inventory.stock import StockLevel
from models.users import Role
from scripts.samples.shop import Key, Shop
from scripts.samples.unit import Unit, moment_between, sample_id

WISHES = 80
NOTICES = 20

Thing = tuple[Product, Variant]


def fill_wishlists(unit: Unit, shop: Shop, anchor: datetime) -> None:
    """Wishes for what is public, and people who wait for what is sold out of it: drawn once the stock is known."""
    chance = Random(f"agora-sample-wishlists-{unit.number}")
    public = [
        (product, variant) for product in shop.products if product.status in VISIBLE_STATUSES for variant in product.variants
    ]
    available = {level.variant_id: level.available for level in unit.documents[StockLevel]}
    sold_out = [(product, variant) for product, variant in public if available.get(variant.id, 1) <= 0]
    for variant, fields in _drawn(shop, public, WISHES, anchor, chance):
        item = WishlistItem(id=_id("wish", fields), price_when_added=variant.price, **fields)
        unit.documents[WishlistItem].append(item)
    for _, fields in _drawn(shop, sold_out, NOTICES, anchor, chance):
        unit.documents[StockNotice].append(StockNotice(id=_id("stock notice", fields), **fields))


def _drawn(
    shop: Shop, things: Sequence[Thing], count: int, anchor: datetime, chance: Random
) -> Iterator[tuple[Variant, dict[str, Any]]]:
    """So many readers with something of these each, nobody twice with the same."""
    readers = [buyer for buyer in shop.buyers if buyer.user.role is Role.USER]
    known = set()
    for _ in range(count if things else 0):
        buyer, (product, variant) = chance.choice(readers), chance.choice(things)
        moment = moment_between(chance, max(buyer.user.created_at, product.created_at), anchor)
        if (buyer.user.id, variant.id) not in known:
            known.add((buyer.user.id, variant.id))
            yield (
                variant,
                {
                    "user_id": buyer.user.id,
                    "product_id": product.id,
                    "variant_id": variant.id,
                    "created_at": moment,
                    "updated_at": moment,
                },
            )


def _id(kind: str, fields: dict[str, Any]) -> Key:
    return sample_id(kind, f"{fields['user_id']}:{fields['variant_id']}", fields["created_at"])
