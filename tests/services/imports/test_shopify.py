"""Shopify's rows as products."""

import pytest

from models.ecommerce.catalog import ProductStatus
from models.money import Money
from services.imports.shopify import key_of, read_product
from services.imports.sources import SourceProduct
from services.imports.values import RefusedRowError
from tests.services.imports.tables import TERMS, groups_of, shopify_file

SHIRT = {
    "Handle": "shirt",
    "Title": "Linen shirt",
    "Body (HTML)": "<p>Light &amp; <b>airy</b></p>",
    "Vendor": "Mill",
    "Type": "Shirts",
    "Tags": "Linen, Summer",
    "Published": "true",
    "Option1 Name": "Size",
    "Option1 Value": "S",
    "Variant SKU": "SH-S",
    "Variant Grams": "200",
    "Variant Inventory Tracker": "shopify",
    "Variant Inventory Qty": "4",
    "Variant Price": "30.00",
    "Variant Compare At Price": "40.00",
    "Variant Requires Shipping": "true",
    "Image Src": "https://example.com/1.png",
    "Image Alt Text": "On a hanger",
    "SEO Title": "Shirt",
    "Status": "active",
}
LARGE = {
    "Handle": "shirt",
    "Option1 Value": "L",
    "Variant Price": "31.00",
    "Variant Compare At Price": "31.00",
    "Variant Inventory Policy": "continue",
    "Image Src": "https://example.com/2.png",
}


def read(*rows: dict[str, str]) -> SourceProduct:
    [group] = groups_of(shopify_file(*rows), key_of).values()
    return read_product(group, TERMS)


def money(amount: int) -> Money:
    return Money(amount=amount, currency="USD")


class TestReadProduct:
    def test_rows_of_a_handle_are_one_product(self) -> None:
        source = read(SHIRT, {**LARGE, "Cost per item": "12.50"}, {"Handle": "shirt", "Image Src": "https://example.com/3.png"})
        draft = source.draft
        small, large = draft.variants

        assert (source.source_key, draft.name, draft.description) == ("shopify:shirt", "Linen shirt", "Light & **airy**")
        assert (draft.brand, draft.tags, list(source.category_path)) == ("Mill", ["linen", "summer"], ["Shirts"])
        assert (draft.option_names, draft.status, draft.is_digital, draft.meta_title) == (
            ["Size"],
            ProductStatus.ACTIVE,
            False,
            "Shirt",
        )
        assert (small.sku, small.options, small.price, small.compare_at_price) == (
            "SH-S",
            {"Size": "S"},
            money(3000),
            money(4000),
        )
        assert (small.weight_grams, small.track_inventory, small.allow_backorder) == (200, True, False)
        assert (large.sku, large.price, large.compare_at_price, large.cost_price) == ("shirt-l", money(3100), None, money(1250))
        assert (large.track_inventory, large.allow_backorder) == (False, True)
        assert dict(source.opening) == {"SH-S": 4}
        assert [(image.url[-5:], image.alt) for image in draft.images] == [("1.png", "On a hanger"), ("2.png", ""), ("3.png", "")]

    def test_a_product_of_which_there_is_but_one_has_no_options(self) -> None:
        source = read({**SHIRT, "Option1 Name": "Title", "Option1 Value": "Default Title"})

        assert (source.draft.option_names, source.draft.variants[0].options) == ([], {})

    @pytest.mark.parametrize(
        ("cells", "status"),
        [
            ({"Status": "draft"}, "draft"),
            ({"Status": "archived"}, "inactive"),
            ({"Published": "false"}, "inactive"),
            ({"Status": "", "Published": ""}, "active"),
            ({"Status": "unheard of"}, "draft"),
        ],
    )
    def test_published_and_status_are_one_status(self, cells: dict[str, str], status: str) -> None:
        assert read({**SHIRT, **cells}).draft.status == status

    def test_what_is_not_sent_is_digital(self) -> None:
        assert read({**SHIRT, "Variant Requires Shipping": "false"}).draft.is_digital

    @pytest.mark.parametrize(
        ("rows", "reason"),
        [
            ([LARGE], "no row of shirt has a title"),
            ([{"Handle": "shirt", "Title": "Shirt"}], "the product has no variant"),
            ([{**SHIRT, "Variant Price": ""}], "the price is missing"),
            ([{**SHIRT, "Variant Price": "1.005"}], "the price 1.005 has more digits than USD"),
        ],
    )
    def test_what_cannot_be_sold_is_refused(self, rows: list[dict[str, str]], reason: str) -> None:
        with pytest.raises(RefusedRowError) as refused:
            read(*rows)

        assert str(refused.value) == reason

    def test_a_row_without_a_handle_belongs_nowhere(self) -> None:
        with pytest.raises(RefusedRowError):
            groups_of(shopify_file({"Title": "x"}), key_of)
