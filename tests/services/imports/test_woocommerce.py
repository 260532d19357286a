"""WooCommerce's rows as products."""

import pytest

from models.ecommerce.catalog import ProductStatus
from models.money import Money
from services.imports.sources import SourceProduct
from services.imports.values import RefusedRowError
from services.imports.woocommerce import key_of, read_product
from tests.services.imports.tables import TERMS, groups_of, woo_file

BEANIE = {"ID": "745", "Type": "simple", "SKU": "cc-beanie", "Name": "Beanie", "Regular price": "20"}
TEE = {"ID": "741", "Type": "variable", "SKU": "cc-tee", "Name": "T-Shirt"}
RED = {
    "ID": "885",
    "Type": "variation",
    "SKU": "cc-tee-red",
    "Parent": "cc-tee",
    "Regular price": "25",
    "Attribute 1 name": "Color",
    "Attribute 1 value(s)": "Red",
    "Attribute 2 name": "Size",
}


def read(*rows: dict[str, str], key: str | None = None) -> SourceProduct:
    groups = groups_of(woo_file(*rows), key_of)
    return read_product(groups[key] if key else next(iter(groups.values())), TERMS)


def money(amount: int) -> Money:
    return Money(amount=amount, currency="USD")


class TestReadProduct:
    def test_a_simple_product(self) -> None:
        source = read(
            {
                **BEANIE,
                "Sale price": "18.50",
                "Is featured?": "1",
                "Categories": "Clothing, Clothing > Accessories, Gifts",
                "Tags": "Warm, Wool",
                "Weight (kg)": "0.25",
                "Length (cm)": "24",
                "Width (cm)": "20.5",
                "Height (cm)": "1",
                "Images": "https://example.com/a.png, https://example.com/b,c.png,https://example.com/a.png",
                "Stock": "7",
                "Attribute 1 name": "Color",
                "Attribute 1 value(s)": "Red, Blue",
                "Description": "<p>Soft</p>",
                "Short description": "A beanie",
                "Backorders allowed?": "notify",
            }
        )
        draft = source.draft
        [variant] = draft.variants

        assert source.source_key == "woocommerce:cc-beanie"
        assert (draft.name, draft.description, draft.short_description) == ("Beanie", "Soft", "A beanie")
        assert (draft.status, draft.is_featured, draft.is_digital) == (ProductStatus.ACTIVE, True, False)
        assert (variant.sku, variant.price, variant.compare_at_price) == ("cc-beanie", money(1850), money(2000))
        assert variant.dimensions is not None
        assert (variant.weight_grams, variant.dimensions.model_dump()) == (250, {"length": 240, "width": 205, "height": 10})
        assert (variant.track_inventory, variant.allow_backorder, dict(source.opening)) == (True, True, {"cc-beanie": 7})
        assert list(source.category_path) == ["Clothing", "Accessories"]
        assert draft.tags == ["warm", "wool", "gifts"]
        assert [image.url for image in draft.images] == ["https://example.com/a.png", "https://example.com/b,c.png"]
        assert [(value.code, value.value) for value in draft.attributes] == [("color", "Red"), ("color", "Blue")]
        assert (source.attribute_names, source.left_out) == ({"color": "Color"}, [])

    def test_variations_follow_their_parent_wherever_they_stand(self) -> None:
        red = {**RED, "Sale price": "20", "Images": "https://example.com/red.png", "Stock": "3"}
        blue = {**RED, "ID": "886", "SKU": "", "Attribute 1 value(s)": "Blue", "Published": "0"}
        source = read(
            red,
            BEANIE,
            {
                **TEE,
                "Attribute 1 name": "Color",
                "Attribute 1 value(s)": "Blue, Red",
                "Attribute 2 name": "Size",
                "Attribute 2 value(s)": "L, M",
                "Weight (kg)": "0.2",
            },
            blue,
            key="cc-tee",
        )
        first, second = source.draft.variants

        assert source.draft.option_names == ["Color"]  # each fits every size
        assert (first.sku, first.options, first.price, first.compare_at_price) == (
            "cc-tee-red",
            {"Color": "Red"},
            money(2000),
            money(2500),
        )
        assert (first.image_url, first.weight_grams, first.is_active) == ("https://example.com/red.png", 200, True)
        assert (second.sku, second.options, second.is_active) == ("WC-886", {"Color": "Blue"}, False)
        assert dict(source.opening) == {"cc-tee-red": 3}
        assert [(value.code, value.value) for value in source.draft.attributes] == [
            ("color", "Blue"),
            ("color", "Red"),
            ("size", "L"),
            ("size", "M"),
        ]

    def test_a_variation_that_fits_all_where_others_do_not_says_any(self) -> None:
        source = read(TEE, {**RED, "Attribute 2 value(s)": "M"}, {**RED, "SKU": "cc-tee-red-all"})

        assert [variant.options for variant in source.draft.variants] == [
            {"Color": "Red", "Size": "M"},
            {"Color": "Red", "Size": "Any"},
        ]

    def test_a_parent_without_a_sku_is_named_by_its_id(self) -> None:
        source = read({**TEE, "SKU": ""}, {**RED, "Parent": "id:741"})

        assert (source.source_key, len(source.draft.variants)) == ("woocommerce:id:741", 1)

    def test_a_grouped_product_is_shown_and_its_parts_are_bought(self) -> None:
        source = read({**BEANIE, "Type": "grouped", "Regular price": "", "Grouped products": "cc-hoodie, cc-cap"})

        assert source.part_skus == ["cc-hoodie", "cc-cap"]
        assert [variant.is_active for variant in source.draft.variants] == [False]

    def test_an_external_product_is_bought_elsewhere(self) -> None:
        source = read(
            {
                **BEANIE,
                "Type": "external",
                "Description": "Help",
                "External URL": "https://example.com/give",
                "Button text": "[Give]",
            }
        )

        assert source.draft.description == "Help\n\n[(Give)](<https://example.com/give>)"
        assert [variant.is_active for variant in source.draft.variants] == [False]

    @pytest.mark.parametrize("kind", ["simple, downloadable", "simple, virtual"])
    def test_what_is_downloaded_is_digital(self, kind: str) -> None:
        source = read({**BEANIE, "Type": kind})

        assert (source.draft.is_digital, source.draft.variants[0].track_inventory) == (True, False)

    @pytest.mark.parametrize(
        ("cells", "tracked"),
        [
            ({"In stock?": "1"}, False),
            ({"In stock?": "0"}, True),
            ({"In stock?": "0", "Stock": "0"}, True),
            ({"Stock": "-2"}, True),
        ],
    )
    def test_pieces_are_counted_where_the_shop_counts_them(self, cells: dict[str, str], tracked: bool) -> None:
        source = read({**BEANIE, **cells})

        assert (source.draft.variants[0].track_inventory, dict(source.opening)) == (tracked, {})

    def test_stock_kept_with_the_parent_is_left_out(self) -> None:
        source = read(TEE, {**RED, "Stock": "parent"})

        assert [trouble.row.line for trouble in source.left_out] == [3]

    @pytest.mark.parametrize(
        ("begins", "ends", "price"),
        [("", "", 1500), ("2026-11-01", "2026-12-01", 1500), ("2026-12-01", "", 2000), ("", "2026-11-01T00:00:00", 2000)],
    )
    def test_a_sale_has_its_time(self, begins: str, ends: str, price: int) -> None:
        source = read({**BEANIE, "Sale price": "15", "Date sale price starts": begins, "Date sale price ends": ends})

        assert source.draft.variants[0].price == money(price)

    def test_a_sale_price_that_is_none_lower_is_no_sale(self) -> None:
        [variant] = read({**BEANIE, "Sale price": "20"}).draft.variants

        assert (variant.price, variant.compare_at_price) == (money(2000), None)

    @pytest.mark.parametrize(("published", "status"), [("1", "active"), ("0", "inactive"), ("-1", "draft"), ("", "draft")])
    def test_published_is_a_status(self, published: str, status: str) -> None:
        assert read({**BEANIE, "Published": published}).draft.status == status

    def test_images_that_are_no_addresses_of_the_web_are_left_out(self) -> None:
        source = read({**BEANIE, "Images": "javascript:alert(1), https://example.com/a.png"})

        assert [image.url for image in source.draft.images] == ["https://example.com/a.png"]
        assert [trouble.reason for trouble in source.left_out] == ["the image javascript:alert(1) is no address of the web"]

    @pytest.mark.parametrize(
        ("rows", "reason"),
        [
            ([{**BEANIE, "Regular price": ""}], "line 2 has no price"),
            ([{**BEANIE, "Regular price": "0"}], "variants.0: a price is above zero"),
            ([{**BEANIE, "Regular price": "19.999"}], "the regular price 19.999 has more digits than USD"),
            ([{**BEANIE, "Name": ""}], "name: String should have at least 1 character"),
            ([TEE], "a variable product without variations cannot be bought"),
            ([RED], "no product cc-tee is in this file"),
            ([BEANIE, BEANIE], "two products are called cc-beanie"),
            ([{**BEANIE, "Date sale price ends": "soon", "Sale price": "1"}], "the date soon is none"),
        ],
    )
    def test_what_cannot_be_sold_is_refused(self, rows: list[dict[str, str]], reason: str) -> None:
        with pytest.raises(RefusedRowError) as refused:
            read(*rows)

        assert str(refused.value) == reason

    @pytest.mark.parametrize("row", [{**RED, "Parent": ""}, {"Type": "simple", "Name": "x"}])
    def test_a_row_that_belongs_nowhere_is_refused(self, row: dict[str, str]) -> None:
        with pytest.raises(RefusedRowError):
            groups_of(woo_file(row), key_of)
