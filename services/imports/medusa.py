"""Medusa's product export: a row per variant, with the product's fields in each, and a price column per currency."""

import re
from collections.abc import Sequence
from typing import Any

from models.ecommerce.catalog import ProductStatus
from models.money import Money
from services.imports.files import SourceRow
from services.imports.sources import (
    MAX_SHORT,
    ReadingTerms,
    SourceProduct,
    Trouble,
    attributes_of,
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
    millimetres_of,
    money_of,
    name_of,
    sku_of,
    stock_of,
)

COLUMNS = frozenset({"product handle", "product title", "variant title"})
_PRICE = re.compile(r"(?:variant )?price ([a-z]{3})")
_STATUSES = {
    "draft": ProductStatus.DRAFT,
    "proposed": ProductStatus.DRAFT,  # waits for somebody's word
    "published": ProductStatus.ACTIVE,
    "rejected": ProductStatus.INACTIVE,
}


def key_of(row: SourceRow) -> str:
    """The handle, or the id of a product without one. Raises RefusedRowError."""
    if not (row["product handle"] or row["product id"]):
        raise RefusedRowError("the row names no product")
    return row["product handle"] or row["product id"]


def read_product(group: RowGroup, terms: ReadingTerms) -> SourceProduct:
    """The product of all rows of a handle. Raises RefusedRowError."""
    head = next((row for row in group.rows if row["product title"]), None)
    if head is None:
        raise RefusedRowError(f"no row of {group.key} has a title")
    left_out: list[Trouble] = []
    option_names = _option_names(group.rows)
    units = [_unit(row, terms, option_names, head, left_out) for row in group.rows]
    # The thumbnail is one of the images; where it is none of them, it is the first.
    pictures = [(head, head["product thumbnail"], "")]
    pictures += [(head, head[column], "") for column in _numbered(head, r"product image (\d+)(?: url)?")]
    material = {"Material": [name_of(head["product material"])]} if head["product material"] else {}
    drafts, names = attributes_of(material, head, left_out)
    draft = draft_of(
        {
            "name": cut(name_of(head["product title"]), 200),
            "description": markdown_of(head["product description"]),
            "short_description": cut(name_of(head["product subtitle"]), MAX_SHORT),
            "tags": tags_of([name_of(head[column]) for column in _numbered(head, r"product tag (\d+)")], head, left_out),
            "attributes": drafts,
            "option_names": option_names,
            "variants": [{name: value for name, value in unit.items() if name != "stock"} for unit in units],
            "images": images_of(pictures, left_out),
            "status": _STATUSES.get(head["product status"].casefold(), ProductStatus.DRAFT),
        }
    )
    return SourceProduct(
        source_key=f"medusa:{group.key}",
        row=head,
        draft=draft,
        category_path=[name_of(step) for step in head["product category 1 name"].split(">") if name_of(step)],
        attribute_names=names,
        opening={unit["sku"]: unit["stock"] for unit in units if unit["stock"]},
        left_out=left_out,
    )


def _numbered(row: SourceRow, pattern: str) -> list[str]:
    """The columns of this form in the order of their numbers, those with something in them."""
    found = [(int(match.group(1)), column) for column in row.cells if (match := re.fullmatch(pattern, column)) and row[column]]
    return [column for _, column in sorted(found)]


def _option_names(rows: Sequence[SourceRow]) -> list[str]:
    names = [name_of(row[column]) for row in rows for column in _numbered(row, r"variant option (\d+) name")]
    return list(dict.fromkeys(cut(name, 50) for name in names))


def _unit(
    row: SourceRow, terms: ReadingTerms, option_names: Sequence[str], head: SourceRow, left_out: list[Trouble]
) -> dict[str, Any]:
    """The fields of a variant, and its `stock`. Raises RefusedRowError."""
    prices = _prices(row)
    if terms.currency not in prices:
        others = f": there are {', '.join(sorted(prices))}" if prices else ""
        raise RefusedRowError(f"the variant has no price in {terms.currency}{others}")
    options: dict[str, str] = {}
    for column in _numbered(row, r"variant option (\d+) name"):
        options[cut(name_of(row[column]), 50)] = cut(name_of(row[column.removesuffix("name") + "value"]), 100)
    is_tracked = not row["variant manage inventory"] or is_true(row["variant manage inventory"])
    quantity = row["variant inventory quantity"]
    stock = stock_of(quantity) if quantity and is_tracked else 0
    return {
        "sku": sku_of(row["variant sku"])
        or sku_of(row["variant id"])
        or sku_of("-".join([head["product handle"], *options.values()])),
        "options": {name: options.get(name, "Any") for name in option_names},
        "price": prices.pop(terms.currency),
        "other_prices": list(prices.values()),
        "barcode": cut(row["variant barcode"] or row["variant ean"] or row["variant upc"], 64) or None,
        "weight_grams": grams_of(row["variant weight"] or head["product weight"], "g"),
        "dimensions": _dimensions(row, "variant") or _dimensions(head, "product"),
        "track_inventory": is_tracked,
        "allow_backorder": is_true(row["variant allow backorder"]),
        "stock": stock,
    }


def _prices(row: SourceRow) -> dict[str, Money]:
    """By currency, of the columns that have one. Regions' own prices are not kept: a shop has one price per currency."""
    found = {match.group(1).upper(): row[column] for column in row.cells if (match := _PRICE.fullmatch(column))}
    prices = {}
    for currency, text in found.items():
        if not text:
            continue
        prices[currency] = money_of(text, currency, what=f"{currency} price")
    return prices


def _dimensions(row: SourceRow, of: str) -> dict[str, int] | None:
    sides = {side: millimetres_of(row[f"{of} {side}"], "mm") for side in ("length", "width", "height")}
    return {side: value for side, value in sides.items() if value} if all(sides.values()) else None
