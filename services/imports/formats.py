"""The formats, and how a file tells which one it is of."""

from collections.abc import Callable, Collection

from models.imports import ImportFormat
from services.imports import medusa, retail, shopify, woocommerce
from services.imports.files import SourceRow, UnreadableFileError
from services.imports.sources import ProductReader

# Each set of columns is enough to know the format by.
_COLUMNS: list[tuple[ImportFormat, frozenset[str]]] = [
    (ImportFormat.RETAIL, retail.COLUMNS),
    (ImportFormat.RETAIL, retail.COLUMNS_TWO),
    (ImportFormat.SHOPIFY, shopify.COLUMNS),
    (ImportFormat.MEDUSA, medusa.COLUMNS),
    (ImportFormat.WOOCOMMERCE, woocommerce.COLUMNS),
]

KEYS: dict[ImportFormat, Callable[[SourceRow], str]] = {
    ImportFormat.RETAIL: retail.key_of,
    ImportFormat.SHOPIFY: shopify.key_of,
    ImportFormat.MEDUSA: medusa.key_of,
    ImportFormat.WOOCOMMERCE: woocommerce.key_of,
}
"""By what rows belong together."""

PRODUCT_READERS: dict[ImportFormat, ProductReader] = {
    ImportFormat.SHOPIFY: shopify.read_product,
    ImportFormat.MEDUSA: medusa.read_product,
    ImportFormat.WOOCOMMERCE: woocommerce.read_product,
}


def format_of(columns: Collection[str], wanted: ImportFormat | None = None) -> ImportFormat:
    """The format of a file with these columns. Raises UnreadableFileError when it is none of ours, or not the wanted one."""
    held = set(columns)
    fitting = [format for format, needed in _COLUMNS if needed <= held]
    if wanted is not None and wanted not in fitting:
        lacking = min((needed - held for format, needed in _COLUMNS if format is wanted), key=len)
        raise UnreadableFileError(f"This is no {wanted} file: it has no column {', '.join(sorted(lacking))}.")
    if not fitting:
        known = ", ".join(ImportFormat)
        raise UnreadableFileError(f"The header is that of no format known here ({known}).")
    return wanted or fitting[0]
