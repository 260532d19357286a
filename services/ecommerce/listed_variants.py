"""Variants on somebody's list: what they are now, and how a list of a person grows to its limit and not beyond."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beanie import PydanticObjectId

from models.base import AgoraDocument
from models.database import DuplicateKeyError, Session, start_again
from models.ecommerce.catalog import VISIBLE_STATUSES, Product, ProductStatus
from models.ecommerce.customers import Customer
from models.money import Money
from services.ecommerce.catalog.purchasable import primary_image
from services.errors import AppError, NotFoundError, UnauthenticatedError
from services.inventory.stock import StockService

Row = Mapping[str, Any]

_FIELDS = dict.fromkeys(("name", "slug", "status", "images", "variants"), 1)


class VariantNotFoundError(NotFoundError):
    """There is no such variant, not of this product, or none that is public."""

    code = "variant_not_found"

    def __init__(self, variant_id: PydanticObjectId) -> None:
        super().__init__("variant", variant_id)


@dataclass(frozen=True, slots=True)
class VariantNow:
    """A variant with its product and its stock, read just now."""

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    name: str | None
    slug: str | None
    sku: str | None
    options: dict[str, str]
    image_url: str | None
    prices: tuple[Money, ...]  # its own first; none of a variant that is not there
    is_for_sale: bool
    is_available: bool
    is_gone: bool  # for good: its product is discontinued, or has it no more

    def price_in(self, currency: str) -> Money | None:
        """In this currency, else in its own; None for what is not for sale."""
        if not self.is_for_sale:
            return None
        return next((price for price in self.prices if price.currency == currency), self.prices[0])

    def shown(self) -> dict[str, Any]:
        """The fields of a `ListedVariant`."""
        return {
            **{name: getattr(self, name) for name in ("product_id", "variant_id", "name", "slug", "sku", "options", "image_url")},
            "is_for_sale": self.is_for_sale,
            "is_available": self.is_available,
        }


async def variants_now(
    refs: Sequence[tuple[PydanticObjectId, PydanticObjectId]], *, session: Session | None = None
) -> dict[PydanticObjectId, VariantNow]:
    """By variant id, what each of these pairs of product and variant is, also when it is gone.

    Two commands; one where no stock is counted, none for no pairs.
    """
    if not refs:
        return {}
    product_ids = sorted({product_id for product_id, _ in refs})
    products = {row["_id"]: row for row in await Product.find_rows({"_id": {"$in": product_ids}}, _FIELDS, session=session)}
    return await _with_stock([(products.get(product_id), product_id, variant_id) for product_id, variant_id in refs], session)


async def find_variant(variant_id: PydanticObjectId) -> VariantNow | None:
    """A variant by its own id; None for one that no product has. Commands as `variants_now`."""
    row = await Product.find_row({"variants.id": variant_id}, _FIELDS)
    if row is None:
        return None
    return (await _with_stock([(row, row["_id"], variant_id)], None))[variant_id]


async def add_to_list(item: AgoraDocument, *, customer: Customer, limit: int, full: AppError, session: Session) -> None:
    """Insert a row of the customer's, which the caller looked for within the transaction and did not find.

    Whatever adds to a list writes to the customer, so that two additions of one person, or one and their departure, come one by
    one and the rows can be counted. Raises `full` where there are `limit` rows already, and UnauthenticatedError when the account
    has ended.
    """
    if not customer.is_active:
        raise UnauthenticatedError
    await Customer.change_row({"_id": customer.id}, {"$inc": {"lists_revision": 1}}, session=session)
    rows = await type(item).find_rows({"user_id": customer.user_id}, {"_id": 1}, limit=limit, session=session)
    if len(rows) >= limit:
        raise full
    try:
        await item.store(session=session)
    except DuplicateKeyError as error:
        raise start_again("the row was made by another transaction") from error


_Found = tuple[Row | None, PydanticObjectId, PydanticObjectId]


async def _with_stock(found: Sequence[_Found], session: Session | None) -> dict[PydanticObjectId, VariantNow]:
    variants = {variant_id: _variant_in(row, variant_id) for row, _, variant_id in found}
    counted = [id for id, variant in variants.items() if variant is not None and not _is_sold_without_stock(variant)]
    stock = await StockService.available(counted, session=session)
    return {
        variant_id: _to_now(row, product_id, variant_id, variants[variant_id], in_stock=stock.get(variant_id, 1) > 0)
        for row, product_id, variant_id in found
    }


def _variant_in(row: Row | None, variant_id: PydanticObjectId) -> Row | None:
    return None if row is None else next((variant for variant in row["variants"] if variant["id"] == variant_id), None)


def _is_sold_without_stock(variant: Row) -> bool:
    return not variant["track_inventory"] or bool(variant["allow_backorder"])


def _to_now(
    row: Row | None, product_id: PydanticObjectId, variant_id: PydanticObjectId, variant: Row | None, *, in_stock: bool
) -> VariantNow:
    is_public = row is not None and row["status"] in VISIBLE_STATUSES
    is_for_sale = is_public and variant is not None and variant["is_active"]
    stored = [] if variant is None else [variant["price"], *variant["other_prices"]]
    image = variant["image_url"] if variant else None
    return VariantNow(
        product_id=product_id,
        variant_id=variant_id,
        name=row["name"] if row else None,
        slug=row["slug"] if row and is_public else None,
        sku=variant["sku"] if variant else None,
        options=variant["options"] if variant else {},
        image_url=image or (primary_image(row["images"]) if row else None),
        prices=tuple(Money(**price) for price in stored),
        is_for_sale=is_for_sale,
        is_available=is_for_sale and in_stock,
        is_gone=row is None or variant is None or row["status"] == ProductStatus.DISCONTINUED,
    )
