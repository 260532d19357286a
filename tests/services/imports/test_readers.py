"""Whatever stands in the cells, a reader makes something of it that can be stored, or says why not."""

import contextlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.imports import ImportFormat
from models.money import MAX_AMOUNT
from services.imports.formats import KEYS, PRODUCT_READERS
from services.imports.retail import read_document
from services.imports.sources import SourceProduct
from services.imports.values import RefusedRowError
from services.markdown import render_post
from tests.services.imports.tables import MEDUSA, POUNDS, RETAIL, SHOPIFY, TERMS, WOO, csv_of, groups_of

_CELLS = [
    *("", "", "", "0", "1", "-1", "2.50", "2.505", "1e9", "999999999999999", "1000000000000", "NaN", "0.0001", "true", "active"),
    *("variable", "variation", "simple", "grouped", "external", "simple, virtual", "parent", "shopify", "kg", "notify", "id:1"),
    *("A > > B", "A > B, C", ",", " > ", "https://example.com/a.png", "javascript:alert(1)", "<p>x</p><script>y</script>"),
    *("12/1/2010 8:26", "1/1/1900 0:00", "12/31/9999 23:59", "2026-01-01", "'=1+1", "a.b", "$x", "ß" * 300, "word " * 200, "🙂"),
    *("POST", "D", "M", "B", "85123A", "C536379", "United Kingdom", "tag,tag,TAG", "\u0130", "Default Title", "Title"),
]
_COLUMNS = {
    ImportFormat.WOOCOMMERCE: WOO,
    ImportFormat.SHOPIFY: SHOPIFY,
    ImportFormat.MEDUSA: MEDUSA,
    ImportFormat.RETAIL: RETAIL,
}
_LIKELY = {
    ImportFormat.WOOCOMMERCE: {"Type": "simple", "SKU": "a", "Name": "A", "Regular price": "5"},
    ImportFormat.SHOPIFY: {"Handle": "a", "Title": "A", "Variant Price": "5"},
    ImportFormat.MEDUSA: {"Product Handle": "a", "Product Title": "A", "Variant Id": "v", "Variant Price USD": "5"},
    ImportFormat.RETAIL: {
        "InvoiceNo": "1", "StockCode": "85123A", "Description": "LANTERN", "Quantity": "1", "InvoiceDate": "12/1/2010 8:26",
        "UnitPrice": "5",
    },
}  # fmt: skip
_cell = st.sampled_from(_CELLS) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters='\0\r"'), max_size=12)


def _files(format: ImportFormat) -> st.SearchStrategy[str]:
    """One to three likely rows, a few of their cells replaced."""
    row = st.dictionaries(st.sampled_from(_COLUMNS[format]), _cell, max_size=8).map(lambda cells: {**_LIKELY[format], **cells})
    return st.lists(row, min_size=1, max_size=3).map(lambda rows: _file(_COLUMNS[format], rows))


def _file(columns: Sequence[str], rows: Sequence[dict[str, str]]) -> str:
    return csv_of(columns, *rows)


def _check_product(source: SourceProduct) -> None:
    render_post(source.draft.description)
    assert all(source.category_path)
    assert all(0 < pieces <= 1_000_000 for pieces in source.opening.values())
    assert set(source.opening) <= {variant.sku for variant in source.draft.variants}
    assert all(trouble.reason for trouble in source.left_out)


_SETTINGS = hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("format", list(PRODUCT_READERS))
def test_products_are_whole_or_refused(format: ImportFormat) -> None:
    @_SETTINGS
    @given(_files(format))
    def check(text: str) -> None:
        with contextlib.suppress(RefusedRowError):
            for group in groups_of(text, KEYS[format]).values():
                _check_product(PRODUCT_READERS[format](group, TERMS))

    run: Callable[[], None] = check
    run()


@_SETTINGS
@given(_files(ImportFormat.RETAIL))
def test_documents_add_up_or_are_refused(text: str) -> None:
    with contextlib.suppress(RefusedRowError):
        for group in groups_of(text, KEYS[ImportFormat.RETAIL]).values():
            document = read_document(group, POUNDS)
            lines = [*document.goods, *document.charges, *document.discounts]
            assert len(lines) + len(document.adjustments) == len(group.rows)
            assert all(line.quantity > 0 and line.unit_price.amount >= 0 for line in lines)
            assert 0 <= document.total <= MAX_AMOUNT
            assert document.placed_at.year >= 1970
