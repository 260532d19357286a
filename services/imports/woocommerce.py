"""WooCommerce's product export: a row per product, and a row per variation that names its parent."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from models.ecommerce.catalog import ProductStatus
from models.money import Money
from services.ecommerce.catalog.writing import normalized
from services.imports.files import SourceRow
from services.imports.sources import (
    MAX_BRAND,
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
    split_list,
    stock_of,
    unit_of,
    web_link,
)

COLUMNS = frozenset({"type", "sku", "name", "regular price", "published"})
_ANY = "Any"
_NUMBERED = re.compile(r"attribute (\d+) name")
_STATUSES = {"1": ProductStatus.ACTIVE, "0": ProductStatus.INACTIVE, "-1": ProductStatus.DRAFT}


def key_of(row: SourceRow) -> str:
    """A product's SKU, or `id:741` where it has none, which is how its variations name it. Raises RefusedRowError."""
    if _is_variation(row):
        if not row["parent"]:
            raise RefusedRowError("the variation names no parent")
        return row["parent"]
    if not (row["sku"] or row["id"]):
        raise RefusedRowError("the product has neither SKU nor ID")
    return row["sku"] or f"id:{row['id']}"


def read_product(group: RowGroup, terms: ReadingTerms) -> SourceProduct:
    """The product of a parent and its variations, wherever they stand. Raises RefusedRowError."""
    heads = [row for row in group.rows if not _is_variation(row)]
    if not heads:
        raise RefusedRowError(f"no product {group.key} is in this file")
    head, variations = heads[0], [row for row in group.rows if _is_variation(row)]
    if len(heads) > 1:
        raise RefusedRowError(f"two products are called {group.key}")
    types = set(split_list(head["type"]))
    left_out: list[Trouble] = []
    is_variable, is_grouped, is_external = "variable" in types, "grouped" in types, "external" in types
    attributes = _attributes(head)
    option_names = _option_names(variations) if is_variable else []
    if is_variable:
        if not variations:
            raise RefusedRowError("a variable product without variations cannot be bought")
        units = [_unit(row, terms, option_names=option_names, parent=head, left_out=left_out) for row in variations]
    elif is_grouped:
        # What it costs is what its parts cost, and they are bought, not it.
        units = [{"sku": _sku(head), "price": Money(amount=1, currency=terms.currency), "is_active": False}]
    else:
        units = [_unit(head, terms, option_names=[], parent=head, left_out=left_out)]
        if is_external:
            units[0] |= {"is_active": False}  # bought elsewhere
    paths = [[name_of(step) for step in path.split(">") if name_of(step)] for path in split_list(head["categories"])]
    # A product has one category here, the deepest it names; what lies elsewhere in the tree is told by tags.
    path: Sequence[str] = max(paths, key=len, default=[])
    elsewhere = [other[-1] for other in paths if other and other != path[: len(other)]]
    drafts, names = attributes_of(attributes, head, left_out)
    images = images_of([(head, url, "") for url in _urls(head["images"])], left_out)
    is_digital = any({"downloadable", "virtual"} & set(split_list(row["type"])) for row in heads)
    description = markdown_of(head["description"])
    if is_external:
        description += _link_to_shop(head, left_out)
    draft = draft_of(
        {
            "name": cut(name_of(head["name"]), 200),
            "description": description,
            "short_description": cut(markdown_of(head["short description"]), MAX_SHORT),
            "brand": cut(name_of(head["brands"]), MAX_BRAND),
            "tags": tags_of([*map(name_of, split_list(head["tags"])), *elsewhere], head, left_out),
            "attributes": drafts,
            "option_names": option_names,
            "variants": [{name: value for name, value in unit.items() if name != "stock"} for unit in units],
            "images": images,
            "status": _STATUSES.get(head["published"], ProductStatus.DRAFT),
            "is_featured": is_true(head["is featured?"]),
            "is_digital": is_digital,
        }
    )
    return SourceProduct(
        source_key=f"woocommerce:{group.key}",
        row=head,
        draft=draft,
        category_path=path,
        attribute_names=names,
        opening={unit["sku"]: unit["stock"] for unit in units if unit.get("stock")},
        part_skus=[sku_of(sku) for sku in split_list(head["grouped products"])] if is_grouped else (),
        left_out=left_out,
    )


def _is_variation(row: SourceRow) -> bool:
    return "variation" in split_list(row["type"])


def _sku(row: SourceRow) -> str:
    return sku_of(row["sku"]) or sku_of(f"WC-{row['id']}")


def _attributes(row: SourceRow) -> dict[str, list[str]]:
    """The values of each attribute by its name, in their order."""
    found: dict[str, list[str]] = {}
    for column in row.cells:
        numbered = _NUMBERED.fullmatch(column)
        if numbered and (name := name_of(row[column])):
            values = [name_of(value) for value in split_list(row[f"attribute {numbered.group(1)} value(s)"])]
            found.setdefault(name, []).extend(values)
    return found


def _option_names(variations: Sequence[SourceRow]) -> list[str]:
    """The attributes in which some variation says which it is. One that fits all values of an attribute is told by none."""
    names: dict[str, None] = {}
    for row in variations:
        names |= {name: None for name, values in _attributes(row).items() if values}
    return list(names)


def _unit(
    row: SourceRow, terms: ReadingTerms, *, option_names: Sequence[str], parent: SourceRow, left_out: list[Trouble]
) -> dict[str, Any]:
    """The fields of a variant, and its `stock`. Raises RefusedRowError."""
    regular = money_of(row["regular price"], terms.currency, what="regular price") if row["regular price"] else None
    sale = money_of(row["sale price"], terms.currency, what="sale price") if row["sale price"] else None
    if regular is None and sale is None:
        raise RefusedRowError(f"line {row.line} has no price")
    is_on_sale = sale is not None and _is_now(row, terms.now) and (regular is None or sale < regular)
    price = sale if is_on_sale or regular is None else regular
    values = {normalized(name): found for name, found in _attributes(row).items()}
    options = {name: cut(next(iter(values.get(normalized(name), [])), _ANY), 100) for name in option_names}
    tracked, stock = _stock(row, left_out)
    unit: dict[str, Any] = {
        "sku": _sku(row),
        "options": options,
        "price": price,
        "compare_at_price": regular if is_on_sale else None,
        "weight_grams": _weight(row) or _weight(parent),
        "dimensions": _dimensions(row) or _dimensions(parent),
        "barcode": cut(row["gtin, upc, ean, or isbn"], 64) or None,
        "track_inventory": tracked,
        "allow_backorder": row["backorders allowed?"] in ("1", "notify"),
        "is_active": row is parent or row["published"] != "0",
        "stock": stock,
    }
    if row is not parent:
        images = images_of([(row, url, "") for url in _urls(row["images"])][:1], left_out)
        unit["image_url"] = images[0]["url"] if images else None
    return unit


def _is_now(row: SourceRow, now: datetime) -> bool:
    """Whether the sale has begun and is not over. Days without a time begin at midnight UTC."""
    begins, ends = _day(row["date sale price starts"]), _day(row["date sale price ends"])
    return (begins is None or begins <= now) and (ends is None or now <= ends)


def _day(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RefusedRowError(f"the date {cut(text, 40)} is none") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _stock(row: SourceRow, left_out: list[Trouble]) -> tuple[bool, int]:
    """Whether pieces are counted, and how many there are. Not counted is what is in stock without a number."""
    text = row["stock"]
    if text == "parent":
        left_out.append(Trouble(row, "its stock is counted together with its parent's, which cannot be told apart here"))
        return False, 0
    if text:
        return True, stock_of(text)
    is_virtual = "virtual" in split_list(row["type"])
    return not (is_true(row["in stock?"]) or row["in stock?"] == "backorder" or is_virtual), 0


def _column(row: SourceRow, name: str) -> str:
    return next((column for column in row.cells if column == name or column.startswith(f"{name} (")), name)


def _weight(row: SourceRow) -> int | None:
    column = _column(row, "weight")
    return grams_of(row[column], unit_of(column, "kg"))


def _dimensions(row: SourceRow) -> dict[str, int] | None:
    """All three or none: the catalogue knows no half box."""
    columns = {name: _column(row, name) for name in ("length", "width", "height")}
    found = {name: millimetres_of(row[column], unit_of(column, "cm")) for name, column in columns.items()}
    sides = {name: side for name, side in found.items() if side is not None}
    return sides if len(sides) == 3 else None


def _urls(text: str) -> list[str]:
    """The addresses of a list, which may hold commas themselves."""
    return [part.strip() for part in re.split(r",\s*(?=[a-zA-Z][a-zA-Z0-9+.-]*:)", text) if part.strip()]


def _link_to_shop(row: SourceRow, left_out: list[Trouble]) -> str:
    url = row["external url"]
    if not url:
        return ""
    if web_link(url) is None:
        left_out.append(Trouble(row, f"the external URL {cut(url, 100)} is no address of the web"))
        return ""
    text = name_of(row["button text"]).replace("[", "(").replace("]", ")") or "Buy it there"
    return f"\n\n[{text}](<{url}>)"
