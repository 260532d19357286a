"""What carts and orders need to know of the things put into them: fresh from the database, never from a cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beanie import PydanticObjectId

from models.database import Session
from models.ecommerce.catalog import VISIBLE_STATUSES, Product
from models.money import Money

PURCHASABLE_FIELDS = {
    "name": 1,
    "category_id": 1,
    "status": 1,
    "is_digital": 1,
    "tax_class": 1,
    "images": 1,
    "variants": 1,
    "category.ancestor_ids": 1,
}


@dataclass(frozen=True, slots=True)
class Purchasable:
    """A variant as it is sold now, in one currency."""

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    category_id: PydanticObjectId | None
    category_ids: tuple[PydanticObjectId, ...]  # from the root to its own
    name: str  # the product's
    sku: str
    options: dict[str, str]
    image_url: str | None
    price: Money
    is_digital: bool
    tax_class: str
    weight_grams: int
    tracks_inventory: bool
    allow_backorder: bool
    is_for_sale: bool  # product and variant are public; stock is another matter


class PurchasableService:
    @staticmethod
    async def find(
        refs: Sequence[tuple[PydanticObjectId, PydanticObjectId]], *, currency: str, session: Session | None = None
    ) -> dict[PydanticObjectId, Purchasable]:
        """By variant id, what these pairs of product and variant are.

        A pair that does not exist, or has no price in `currency`, is left out. What is hidden or discontinued is in it with
        `is_for_sale` false, so that carts can name it. One command; none for no pairs.
        """
        if not refs:
            return {}
        product_ids = sorted({product_id for product_id, _ in refs})
        rows = await Product.aggregate_rows(_pipeline(product_ids), session=session)
        return purchasables_in(rows, refs, currency=currency)


def purchasables_in(
    rows: Sequence[Mapping[str, Any]], refs: Sequence[tuple[PydanticObjectId, PydanticObjectId]], *, currency: str
) -> dict[PydanticObjectId, Purchasable]:
    """As `find`, of rows that are there already: products with `PURCHASABLE_FIELDS`, their category joined as a list."""
    by_id = {row["_id"]: row for row in rows}
    found = {}
    for product_id, variant_id in refs:
        row = by_id.get(product_id)
        variant = None if row is None else next((one for one in row["variants"] if one["id"] == variant_id), None)
        if row is None or variant is None:
            continue
        price = price_in(variant, currency)
        if price is not None:
            found[variant_id] = _to_purchasable(row, variant, price)
    return found


def price_in(variant: Mapping[str, Any], currency: str) -> Money | None:
    """The price of a stored variant in this currency; None when it has none, since nothing is converted."""
    for price in (variant["price"], *variant["other_prices"]):
        if price["currency"] == currency:
            return Money(**price)
    return None


def _pipeline(product_ids: Sequence[PydanticObjectId]) -> list[dict[str, Any]]:
    """Rows `{"_id": <product>, "name": "Tee", "variants": [...], "category": [{"ancestor_ids": [...]}], ...}`, unordered."""
    return [
        {"$match": {"_id": {"$in": list(product_ids)}}},
        {"$lookup": {"from": "product_categories", "localField": "category_id", "foreignField": "_id", "as": "category"}},
        {"$project": PURCHASABLE_FIELDS},
    ]


def _to_purchasable(row: Mapping[str, Any], variant: Mapping[str, Any], price: Money) -> Purchasable:
    category = row["category"][0] if row["category"] else None
    return Purchasable(
        product_id=row["_id"],
        variant_id=variant["id"],
        category_id=row["category_id"],
        category_ids=() if category is None else (*category["ancestor_ids"], row["category_id"]),
        name=row["name"],
        sku=variant["sku"],
        options=variant["options"],
        image_url=variant["image_url"] or primary_image(row["images"]),
        price=price,
        is_digital=row["is_digital"],
        tax_class=row["tax_class"],
        weight_grams=variant["weight_grams"] or 0,
        tracks_inventory=variant["track_inventory"],
        allow_backorder=variant["allow_backorder"],
        is_for_sale=row["status"] in VISIBLE_STATUSES and variant["is_active"],
    )


def primary_image(images: Sequence[Mapping[str, Any]]) -> str | None:
    """The address of the image that stands for the product; None when it has none."""
    return next((image["url"] for image in images if image["is_primary"]), None)
