"""Shopify's product export: rows of one handle are one product; the first has its texts, each its variant, any an image."""

from collections.abc import Sequence
from typing import Any

from models.ecommerce.catalog import ProductStatus
from services.imports.files import SourceRow
from services.imports.sources import (
    MAX_BRAND,
    MAX_SUMMARY,
    MAX_SUMMARY_TITLE,
    ReadingTerms,
    SourceProduct,
    Trouble,
    draft_of,
    images_of,
    tags_of,
)
from services.imports.spool import RowGroup
from services.imports.values import (
    RefusedRowError,
    cut,
    grams_of,
    is_true,
    markdown_of,
    money_of,
    name_of,
    sku_of,
    split_list,
    stock_of,
)
from services.slugs import slug_of

COLUMNS = frozenset({"handle", "title", "variant price", "option1 value"})
_STATUSES = {"active": ProductStatus.ACTIVE, "draft": ProductStatus.DRAFT, "archived": ProductStatus.INACTIVE}
_NUMBERS = ("1", "2", "3")


def key_of(row: SourceRow) -> str:
    """The handle. Raises RefusedRowError."""
    if not row["handle"]:
        raise RefusedRowError("the row has no handle")
    return row["handle"]


def read_product(group: RowGroup, terms: ReadingTerms) -> SourceProduct:
    """The product of all rows of a handle. Raises RefusedRowError."""
    head = next((row for row in group.rows if row["title"]), None)
    if head is None:
        raise RefusedRowError(f"no row of {group.key} has a title")
    left_out: list[Trouble] = []
    option_names = _option_names(head)
    priced = [row for row in group.rows if row["variant price"] or row["option1 value"]]
    if not priced:
        raise RefusedRowError("the product has no variant")
    units = [_unit(row, terms, option_names, left_out, handle=group.key) for row in priced]
    path = [name_of(step) for step in (head["type"] or head["product category"]).split(">")]
    draft = draft_of(
        {
            "name": cut(name_of(head["title"]), 200),
            "description": markdown_of(head["body (html)"]),
            "brand": cut(name_of(head["vendor"]), MAX_BRAND),
            "tags": tags_of([name_of(tag) for tag in split_list(head["tags"])], head, left_out),
            "option_names": option_names,
            "variants": [{name: value for name, value in unit.items() if name not in ("stock", "needs")} for unit in units],
            "images": images_of([(row, row["image src"], row["image alt text"]) for row in group.rows], left_out),
            "status": _status(head),
            # Nothing of it is sent: what a shop of digital goods says by "requires shipping: false".
            "is_digital": not any(unit["needs"] for unit in units),
            "meta_title": cut(name_of(head["seo title"]), MAX_SUMMARY_TITLE) or None,
            "meta_description": cut(name_of(head["seo description"]), MAX_SUMMARY) or None,
        }
    )
    return SourceProduct(
        source_key=f"shopify:{group.key}",
        row=head,
        draft=draft,
        category_path=[step for step in path if step],
        opening={unit["sku"]: unit["stock"] for unit in units if unit["stock"]},
        left_out=left_out,
    )


def _option_names(head: SourceRow) -> list[str]:
    """The options, none for a product of which there is but one: it is called `Title`, its value `Default Title`."""
    names = [cut(name_of(head[f"option{number} name"]), 50) for number in _NUMBERS]
    if names[0] == "Title" and head["option1 value"] == "Default Title":
        return []
    return [name for name in names if name]


def _status(head: SourceRow) -> ProductStatus:
    status = _STATUSES.get(head["status"].casefold() or "active", ProductStatus.DRAFT)
    is_hidden = bool(head["published"]) and not is_true(head["published"])
    return ProductStatus.INACTIVE if status is ProductStatus.ACTIVE and is_hidden else status


def _unit(
    row: SourceRow, terms: ReadingTerms, option_names: Sequence[str], left_out: list[Trouble], *, handle: str
) -> dict[str, Any]:
    """The fields of a variant, its `stock`, and whether it `needs` to be sent. Raises RefusedRowError."""
    values = [cut(name_of(row[f"option{number} value"]), 100) for number in _NUMBERS]
    options = dict(zip(option_names, values, strict=False))
    price = money_of(row["variant price"], terms.currency)
    before = row["variant compare at price"]
    compare_at = money_of(before, terms.currency, what="compare-at price") if before else None
    cost = row["cost per item"]
    image = images_of([(row, row["variant image"], "")], left_out)
    tracker = row["variant inventory tracker"]
    stock = stock_of(row["variant inventory qty"]) if tracker and row["variant inventory qty"] else 0
    # A SKU that is made up must be the same the next time, whatever the order of the rows: it follows from the options.
    made_up = slug_of("-".join([handle, *options.values()]), max_length=64)
    return {
        "sku": sku_of(row["variant sku"].lstrip("'")) or made_up,
        "options": options,
        "price": price,
        "compare_at_price": compare_at if compare_at is not None and compare_at > price else None,
        "cost_price": money_of(cost, terms.currency, what="cost") if cost else None,
        "barcode": cut(row["variant barcode"].lstrip("'"), 64) or None,
        "weight_grams": grams_of(row["variant grams"], "g"),
        "image_url": image[0]["url"] if image else None,
        "track_inventory": bool(tracker),
        "allow_backorder": row["variant inventory policy"] == "continue",
        "stock": stock,
        "needs": not row["variant requires shipping"] or is_true(row["variant requires shipping"]),
    }
