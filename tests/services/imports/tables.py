"""Small files in the shapes of the real ones, and their rows."""

import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from services.imports.files import SourceRow, Table
from services.imports.sources import ReadingTerms
from services.imports.spool import RowGroup

SHARED = Path(__file__).parents[4] / "shared" / "data"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TERMS = ReadingTerms("USD", NOW)
POUNDS = ReadingTerms("GBP", NOW)


def table(text: str) -> Table:
    return Table(io.StringIO(text, newline=""))


def rows_of(text: str) -> list[SourceRow]:
    return list(table(text).rows())


def groups_of(text: str, key_of: Callable[[SourceRow], str]) -> dict[str, RowGroup]:
    """The rows by their keys, as the spool has them."""
    found: dict[str, list[SourceRow]] = {}
    for row in rows_of(text):
        found.setdefault(key_of(row), []).append(row)
    return {key: RowGroup(key, rows) for key, rows in found.items()}


def csv_of(columns: Sequence[str], *rows: dict[str, str]) -> str:
    """A file of these columns; cells that a row does not name are empty."""
    lines = [",".join(_quoted(name) for name in columns)]
    lines += [",".join(_quoted(row.get(name, "")) for name in columns) for row in rows]
    assert all(name in columns for row in rows for name in row)
    return "\r\n".join(lines) + "\r\n"


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if any(sign in cell for sign in ',"\n') else cell


def _names(*parts: str) -> list[str]:
    return ",".join(parts).split(",")


WOO = _names(
    "ID,Type,SKU,Name,Published,Is featured?,Short description,Description,Date sale price starts,Date sale price ends",
    "In stock?,Stock,Backorders allowed?,Weight (kg),Length (cm),Width (cm),Height (cm),Sale price,Regular price,Categories,Tags",
    "Images,Parent,Grouped products,External URL,Button text",
    "Attribute 1 name,Attribute 1 value(s),Attribute 2 name,Attribute 2 value(s)",
)
SHOPIFY = _names(
    "Handle,Title,Body (HTML),Vendor,Type,Tags,Published,Option1 Name,Option1 Value,Option2 Name,Option2 Value,Variant SKU",
    "Variant Grams,Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,Variant Price",
    "Variant Compare At Price,Variant Requires Shipping,Variant Barcode,Image Src,Image Alt Text,SEO Title,Variant Image",
    "Cost per item,Status",
)
MEDUSA = _names(
    "Product Id,Product Handle,Product Title,Product Status,Product Description,Product Thumbnail,Product Image 1",
    "Product Image 2,Product Material,Product Tag 1,Product Tag 2,Product Weight,Variant Id,Variant Title,Variant Sku",
    "Variant Manage Inventory,Variant Allow Backorder,Variant Height,Variant Length,Variant Width,Variant Inventory Quantity",
    "Variant Option 1 Name,Variant Option 1 Value,Variant Option 2 Name,Variant Option 2 Value",
    "Variant Price EUR,Variant Price USD",
)
RETAIL = _names("InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country")


def woo_file(*rows: dict[str, str]) -> str:
    return csv_of(WOO, *({"Published": "1", "In stock?": "1", **row} for row in rows))


def shopify_file(*rows: dict[str, str]) -> str:
    return csv_of(SHOPIFY, *rows)


def medusa_file(*rows: dict[str, str]) -> str:
    return csv_of(MEDUSA, *rows)


def retail_file(*lines: str) -> str:
    """Lines as the retailer writes them."""
    return "\r\n".join([",".join(RETAIL), *lines]) + "\r\n"
