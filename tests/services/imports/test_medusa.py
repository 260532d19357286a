"""Medusa's rows as products."""

import pytest

from models.money import Money
from services.imports.medusa import key_of, read_product
from services.imports.sources import ReadingTerms, SourceProduct
from services.imports.values import RefusedRowError
from tests.services.imports.tables import NOW, TERMS, groups_of, medusa_file

BOWL = {
    "Product Id": "prod_1",
    "Product Handle": "bowl",
    "Product Title": "Bowl",
    "Product Status": "published",
    "Product Description": "For soup\nand rice",
    "Product Thumbnail": "https://example.com/1.png",
    "Product Image 1": "https://example.com/1.png",
    "Product Image 2": "https://example.com/2.png",
    "Product Material": "Clay",
    "Product Tag 1": "Kitchen",
    "Product Tag 2": "Table",
    "Product Weight": "400",
    "Variant Id": "variant_1",
    "Variant Manage Inventory": "true",
    "Variant Allow Backorder": "false",
    "Variant Option 1 Name": "size",
    "Variant Option 1 Value": "large",
    "Variant Option 2 Name": "color",
    "Variant Option 2 Value": "green",
    "Variant Price EUR": "45",
    "Variant Price USD": "50.5",
    "Variant Inventory Quantity": "6",
}
SMALL = {
    **BOWL,
    "Variant Id": "variant_2",
    "Variant Sku": "BOWL S",
    "Variant Option 1 Value": "small",
    "Variant Price EUR": "",
    "Variant Length": "100",
    "Variant Width": "90",
    "Variant Height": "50",
    "Variant Manage Inventory": "false",
}


def read(*rows: dict[str, str], terms: ReadingTerms = TERMS) -> SourceProduct:
    [group] = groups_of(medusa_file(*rows), key_of).values()
    return read_product(group, terms)


class TestReadProduct:
    def test_rows_of_a_handle_are_one_product(self) -> None:
        source = read(BOWL, SMALL)
        draft = source.draft
        large, small = draft.variants

        assert (source.source_key, draft.name, draft.description) == ("medusa:bowl", "Bowl", "For soup\nand rice")
        assert (draft.tags, draft.option_names) == (["kitchen", "table"], ["size", "color"])
        assert [(value.code, value.value) for value in draft.attributes] == [("material", "Clay")]
        assert [image.url for image in draft.images] == ["https://example.com/1.png", "https://example.com/2.png"]
        assert (large.sku, large.options) == ("variant_1", {"size": "large", "color": "green"})
        assert large.price == Money(amount=5050, currency="USD")
        assert (large.other_prices, small.other_prices) == ([Money(amount=4500, currency="EUR")], [])
        assert (large.weight_grams, large.dimensions, large.track_inventory) == (400, None, True)
        assert small.dimensions is not None
        assert (small.sku, small.dimensions.length, small.track_inventory) == ("BOWL-S", 100, False)
        assert dict(source.opening) == {"variant_1": 6}

    def test_prices_in_the_shops_currency_come_first(self) -> None:
        source = read(BOWL, terms=ReadingTerms("EUR", NOW))

        assert source.draft.variants[0].price == Money(amount=4500, currency="EUR")
        assert source.draft.variants[0].other_prices == [Money(amount=5050, currency="USD")]

    @pytest.mark.parametrize(
        ("status", "here"), [("draft", "draft"), ("proposed", "draft"), ("published", "active"), ("rejected", "inactive")]
    )
    def test_statuses(self, status: str, here: str) -> None:
        assert read({**BOWL, "Product Status": status}).draft.status == here

    @pytest.mark.parametrize(
        ("rows", "reason"),
        [
            ([{**BOWL, "Product Title": ""}], "no row of bowl has a title"),
            ([{**BOWL, "Variant Price USD": ""}], "the variant has no price in USD: there are EUR"),
            ([{**BOWL, "Variant Price USD": "1.234"}], "the USD price 1.234 has more digits than USD"),
        ],
    )
    def test_what_cannot_be_sold_is_refused(self, rows: list[dict[str, str]], reason: str) -> None:
        with pytest.raises(RefusedRowError) as refused:
            read(*rows)

        assert str(refused.value) == reason

    def test_a_row_without_handle_and_id_belongs_nowhere(self) -> None:
        with pytest.raises(RefusedRowError):
            groups_of(medusa_file({"Product Title": "x"}), key_of)
