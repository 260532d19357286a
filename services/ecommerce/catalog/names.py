"""What products and their variants are called now, whatever became of them, for those who list other things by them."""

from collections.abc import Iterable
from dataclasses import dataclass

from beanie import PydanticObjectId

from models.ecommerce.catalog import Product


@dataclass(frozen=True, slots=True)
class VariantName:
    """`Linen shirt, Large / Red`."""

    product: str
    title: str  # of its options; empty for a product's only one

    def __str__(self) -> str:
        return f"{self.product}, {self.title}" if self.title else self.product


async def product_names(product_ids: Iterable[PydanticObjectId]) -> dict[PydanticObjectId, str]:
    """By product; those there are not are absent. One command, none for no product."""
    wanted = sorted(set(product_ids))
    rows = await Product.find_rows({"_id": {"$in": wanted}}, {"name": 1}) if wanted else []
    return {row["_id"]: row["name"] for row in rows}


async def variant_names(product_ids: Iterable[PydanticObjectId]) -> dict[PydanticObjectId, VariantName]:
    """Of every variant of these products, by variant; those there are not are absent. One command, none for no product."""
    wanted = sorted(set(product_ids))
    fields = {"name": 1, "variants.id": 1, "variants.title": 1}
    rows = await Product.find_rows({"_id": {"$in": wanted}}, fields) if wanted else []
    return {variant["id"]: VariantName(row["name"], variant["title"]) for row in rows for variant in row["variants"]}
