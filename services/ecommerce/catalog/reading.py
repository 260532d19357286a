"""How stored products become what is answered: the fields to ask for, and the read models made of them."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from models.ecommerce.catalog import AttributeValue, Variant
from models.ecommerce.catalog_reads import (
    AttributeEdit,
    AttributeShown,
    ImageRead,
    ProductEdit,
    ProductListed,
    ProductSummary,
    VariantEdit,
)
from services.ecommerce.catalog.reference import Reference
from services.ecommerce.catalog.writing import attribute_text

Row = Mapping[str, Any]

_SUMMARY = (
    "name",
    "slug",
    "short_description",
    "brand",
    "tags",
    "price",
    "price_max",
    "is_available",
    "is_featured",
    "is_digital",
    "reviews_count",
)
_OF_SUMMARY = ("category_id", "images", "rating_average")
_LISTED = ("status", "seller_id", "sales_count", "updated_at")

SUMMARY_FIELDS: Final = dict.fromkeys((*_SUMMARY, *_OF_SUMMARY), 1)
"""What `to_summary` needs of a product; `_id` comes along."""

LISTED_FIELDS: Final = {**SUMMARY_FIELDS, **dict.fromkeys((*_LISTED, "variants.sku"), 1)}
"""What `to_listed` needs of a product."""

PAGE_FIELDS: Final = {"terms": 0, "facets": 0, "description": 0}
"""A page needs all but these."""


def summary_of(row: Row, reference: Reference) -> dict[str, Any]:
    """The fields of a ProductSummary."""
    return {
        **{field: row[field] for field in _SUMMARY},
        "id": row["_id"],
        "category": reference.name_of(row["category_id"]),
        "image": next((image for image in row["images"] if image["is_primary"]), None),
        "rating_average": row["rating_average"] / 10,
    }


def to_summary(row: Row, reference: Reference) -> ProductSummary:
    """The product of a row read with `SUMMARY_FIELDS`."""
    return ProductSummary.model_validate(summary_of(row, reference))


def to_listed(row: Row, reference: Reference) -> ProductListed:
    """The product of a row read with `LISTED_FIELDS`."""
    own = {field: row[field] for field in _LISTED}
    return ProductListed.model_validate(
        {**summary_of(row, reference), **own, "skus": [variant["sku"] for variant in row["variants"]]}
    )


def to_edit(row: Row) -> ProductEdit:
    """The product of a whole row, with everything staff and its seller may see."""
    return ProductEdit.model_validate(
        {
            **row,
            "id": row["_id"],
            "variants": [VariantEdit.model_validate(variant) for variant in row["variants"]],
            "images": [ImageRead.model_validate(image) for image in row["images"]],
            "attributes": [AttributeEdit(code=value["code"], value=_shown_value(value["value"])) for value in row["attributes"]],
            "rating_average": row["rating_average"] / 10,
        }
    )


def attributes_of(row: Row, reference: Reference) -> list[AttributeShown]:
    """The product's properties in the order of their definitions; those whose definition is gone are left out."""
    values = [AttributeValue.model_validate(value) for value in row["attributes"]]
    return [
        AttributeShown(code=code, name=definition.name, value=_shown_value(value.value), unit=definition.unit)
        for code, definition in reference.attributes.items()
        for value in values
        if value.code == code
    ]


def active_variants(row: Row) -> list[Variant]:
    return [Variant.model_validate(variant) for variant in row["variants"] if variant["is_active"]]


def _shown_value(value: str | int | bool) -> str | bool:
    return value if isinstance(value, bool) else attribute_text(value)


def stamp_of(product: ProductEdit) -> str:
    """The ETag's second half: moves whenever anything shown does; the content moves the revision."""
    return hashlib.blake2b(product.model_dump_json().encode(), digest_size=8).hexdigest()
