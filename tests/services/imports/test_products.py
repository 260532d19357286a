"""Products of files in the catalogue: made once, changed where the file changed, with their stock."""

import asyncio

import pytest

from models.database import Database
from models.ecommerce.catalog import AttributeDefinition, AttributeKind, Product, ProductCategory, ProductStatus
from models.events import Event, EventType
from models.imports import ImportRun
from models.inventory.stock import StockLevel, StockMovement
from models.money import Money
from services.ecommerce.catalog.products import ProductService
from services.ecommerce.catalog.stock import AvailabilityService
from services.ecommerce.catalog.writing import ProductChanges
from services.imports import runs
from services.imports.products import write_product as really_write
from services.reconcile import ReconcileService
from services.users.permissions import SYSTEM
from tests.factories.catalog import create_attribute, create_category, create_product
from tests.services.imports.conftest import Bring, counted, everything, letters, stored
from tests.services.imports.tables import medusa_file, shopify_file, woo_file
from tests.services.imports.test_medusa import BOWL, SMALL
from tests.services.imports.test_shopify import LARGE, SHIRT
from tests.services.imports.test_woocommerce import BEANIE, RED, TEE

CAP = {
    **BEANIE,
    "ID": "747",
    "SKU": "cc-cap",
    "Name": "Cap",
    "Regular price": "18",
    "Categories": "Clothing > Hats",
    "Tags": "Sun",
    "Stock": "4",
    "Attribute 1 name": "Colour",
    "Attribute 1 value(s)": "Red, Blue",
    "Description": "<p>Shade<script>x</script></p>",
}
SHOP = [
    TEE,
    CAP,
    {**BEANIE, "Categories": "clothing > Hats > Winter"},
    {**RED, "Stock": "2"},
    {**RED, "ID": "886", "SKU": "cc-tee-blue", "Attribute 1 value(s)": "Blue", "Stock": "0"},
]


async def product_of(source_key: str) -> Product:
    row = await Product.find_row({"source_key": source_key})
    assert row is not None
    return Product.from_row(row)


async def no_drift() -> bool:
    return [row async for row in ReconcileService.drift()] == []


class TestWriteProduct:
    async def test_products_stand_in_the_catalogue_as_if_staff_had_entered_them(self, bring: Bring) -> None:
        run = await bring(woo_file(*SHOP))
        cap, tee = await product_of("woocommerce:cc-cap"), await product_of("woocommerce:cc-tee")
        categories = {category.path: category for category in await stored(ProductCategory)}

        assert (counted(run), await letters(run)) == ({"products": "3/0/0/0"}, [])
        assert sorted(categories) == ["clothing/", "clothing/hats/", "clothing/hats/winter/"]
        assert (cap.category_id, categories["clothing/hats/"].products_count) == (categories["clothing/hats/"].id, 1)
        assert (cap.slug, cap.price, cap.description_html) == ("cap", Money(amount=1800, currency="USD"), "<p>Shade</p>\n")
        assert cap.facets == ["tag=sun", "colour=red", "colour=blue"]
        assert {"cap", "sun"} <= {term.term for term in cap.terms}
        assert [(one.code, one.name, one.kind) for one in await stored(AttributeDefinition)] == [
            ("colour", "Colour", AttributeKind.TEXT)
        ]
        assert [(variant.sku, variant.options, variant.title) for variant in tee.variants] == [
            ("cc-tee-red", {"Color": "Red"}, "Red"),
            ("cc-tee-blue", {"Color": "Blue"}, "Blue"),
        ]
        created = [event for event in await stored(Event) if event.type is EventType.PRODUCT_CREATED]
        assert len(created) == 3
        assert await no_drift()

    async def test_stock_is_received_with_the_product(self, bring: Bring) -> None:
        await bring(woo_file(*SHOP))
        cap = await product_of("woocommerce:cc-cap")
        levels = {level.sku: level.on_hand for level in await stored(StockLevel)}
        [movement] = [one for one in await stored(StockMovement) if one.sku == "cc-cap"]

        assert levels == {"cc-cap": 4, "cc-tee-red": 2}
        assert (movement.kind, movement.quantity, movement.reason) == ("receipt", 4, "opening stock of woocommerce:cc-cap")
        assert cap.status is ProductStatus.OUT_OF_STOCK  # until the worker has handled the event of its stock
        await AvailabilityService.refresh(cap.id)
        assert (await product_of("woocommerce:cc-cap")).status is ProductStatus.ACTIVE

    async def test_again_nothing_changes(self, bring: Bring) -> None:
        text = woo_file(
            *SHOP, {**BEANIE, "ID": "9", "SKU": "grp", "Type": "grouped", "Regular price": "", "Grouped products": "cc-cap"}
        )
        await bring(text)
        before = await everything()

        run = await bring(text)

        assert counted(run) == {"products": "0/0/4/0"}
        assert await everything() == before

    async def test_what_changed_in_the_file_changes_and_the_rest_stays_as_staff_made_it(self, bring: Bring) -> None:
        await bring(woo_file(*SHOP))
        tee = await product_of("woocommerce:cc-tee")
        changes = ProductChanges(meta_title="Our tee", tax_class="clothes")
        await ProductService.update_product(tee.id, changes, viewer=SYSTEM, revision=None)
        red = {**RED, "Regular price": "26", "Stock": "900"}
        green = {**RED, "ID": "887", "SKU": "cc-tee-green", "Attribute 1 value(s)": "Green", "Stock": "5"}
        renamed = {**RED, "ID": "886", "SKU": "cc-tee-navy", "Attribute 1 value(s)": "Blue", "Stock": "0"}

        run = await bring(woo_file({**TEE, "Name": "Tee"}, SHOP[1], SHOP[2], red, renamed, green))
        after = await product_of("woocommerce:cc-tee")

        assert counted(run) == {"products": "0/1/2/0"}
        assert (after.name, after.slug, after.meta_title, after.tax_class) == ("Tee", "t-shirt", "Our tee", "clothes")
        assert [(variant.sku, variant.price.amount) for variant in after.variants] == [
            ("cc-tee-red", 2600),
            ("cc-tee-navy", 2500),
            ("cc-tee-green", 2500),
        ]
        assert [variant.id for variant in after.variants[:2]] == [variant.id for variant in tee.variants]
        # Stock is the ledger's: of what was there before, the file says nothing any more.
        assert {level.sku: level.on_hand for level in await stored(StockLevel)} == {
            "cc-cap": 4,
            "cc-tee-red": 2,
            "cc-tee-green": 5,
        }
        assert await no_drift()

    async def test_a_variant_the_file_has_no_more_is_left_alone(self, bring: Bring) -> None:
        await bring(woo_file(*SHOP))

        run = await bring(woo_file({**TEE, "Name": "Tee"}, SHOP[3]))

        assert counted(run) == {"products": "0/1/0/0"}
        assert await letters(run) == [
            ("left_out", 2, "the variant cc-tee-blue is not in the file any more: it was left as it is")
        ]
        assert [variant.sku for variant in (await product_of("woocommerce:cc-tee")).variants] == ["cc-tee-red", "cc-tee-blue"]

    async def test_the_sku_of_another_origin_is_not_taken_over(self, bring: Bring) -> None:
        theirs = await create_product(sku="cc-cap")

        run = await bring(woo_file(CAP, BEANIE))

        assert counted(run) == {"products": "1/0/0/1"}
        assert await letters(run) == [("refused", 2, "another product has one of the SKUs cc-cap")]
        assert (await Product.find_row({"_id": theirs.id}) or {})["source_key"] is None
        assert await stored(StockMovement) == []  # its opening stock went with it

    async def test_a_discontinued_product_stays_so(self, bring: Bring) -> None:
        await bring(woo_file(BEANIE))
        await ProductService.delete_product((await product_of("woocommerce:cc-beanie")).id, viewer=SYSTEM)

        run = await bring(woo_file(BEANIE))

        assert await letters(run) == [("refused", 2, "This product is discontinued.")]
        assert (await product_of("woocommerce:cc-beanie")).status is ProductStatus.DISCONTINUED

    async def test_a_collection_costs_what_its_cheapest_part_does(self, bring: Bring) -> None:
        group = {
            **BEANIE,
            "ID": "9",
            "SKU": "set",
            "Name": "Set",
            "Type": "grouped",
            "Regular price": "",
            "Description": "Both:",
            "Grouped products": "cc-cap, cc-beanie",
        }

        run = await bring(woo_file(CAP, BEANIE, group, {**group, "SKU": "none", "Grouped products": "nowhere"}))
        made = await product_of("woocommerce:set")

        assert (made.price.amount, made.is_available, made.description) == (1800, False, "Both:\n\n- Cap\n- Beanie")
        assert [reason for _, _, reason in await letters(run)] == ["none of the products it is made of is here"]

    async def test_categories_of_one_name_elsewhere_keep_their_own_slugs(self, bring: Bring) -> None:
        await create_category(name="Hats", slug="hats")

        await bring(woo_file(CAP))
        paths = {category.path for category in await stored(ProductCategory)}

        assert paths == {"hats/", "clothing/", "clothing/clothing-hats/"}

    async def test_a_value_that_a_list_of_choices_lacks_is_added_to_it(self, bring: Bring) -> None:
        await create_attribute(code="colour", kind=AttributeKind.CHOICE, choices=["Red"])

        run = await bring(woo_file(CAP))

        assert await letters(run) == []
        [colour] = [definition for definition in await stored(AttributeDefinition) if definition.code == "colour"]
        assert (colour.choices[0], len(colour.choices) > 1, colour.revision) == ("Red", True, 2)
        before = await everything()
        await bring(woo_file(CAP))
        assert await everything() == before

    async def test_a_value_of_another_kind_is_refused(self, bring: Bring) -> None:
        await create_attribute(code="colour", kind=AttributeKind.NUMBER)

        run = await bring(woo_file(CAP))

        assert await letters(run) == [("refused", 2, "The attribute colour: its value is a number.")]

    async def test_files_of_shopify_and_medusa(self, bring: Bring) -> None:
        shopify, medusa = shopify_file(SHIRT, LARGE), medusa_file(BOWL, SMALL)
        first = [counted(await bring(shopify)), counted(await bring(medusa))]
        before = await everything()

        again = [counted(await bring(shopify)), counted(await bring(medusa))]

        assert (first, again) == ([{"products": "1/0/0/0"}] * 2, [{"products": "0/0/1/0"}] * 2)
        assert await everything() == before
        bowl = await product_of("medusa:bowl")
        assert [price.currency for price in bowl.variants[0].other_prices] == ["EUR"]
        assert await no_drift()

    async def test_a_run_killed_in_the_middle_is_completed_by_another(
        self, bring: Bring, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class KilledError(BaseException):
            pass

        async def killed(*given: object, **terms: object) -> object:
            if await Product.count_rows({}) == 1:
                raise KilledError
            return await really_write(*given, **terms)  # type: ignore[arg-type]  # handed on as they came

        with monkeypatch.context() as patch:
            patch.setattr(runs, "write_product", killed)
            with pytest.raises(KilledError):
                await bring(woo_file(*SHOP))
        [broken] = await stored(ImportRun)

        run = await bring(woo_file(*SHOP))

        assert (broken.state, broken.finished_at, run.state) == ("running", None, "completed")
        assert counted(run) == {"products": "2/0/1/0"}
        assert await no_drift()

    async def test_two_runs_at_once_make_each_product_once(self, bring: Bring, database: Database) -> None:
        found = await asyncio.gather(*(bring(woo_file(*SHOP)) for _ in range(4)))

        assert await Product.count_rows({}) == 3
        assert {level.sku: level.on_hand for level in await stored(StockLevel)} == {"cc-cap": 4, "cc-tee-red": 2}
        assert sum(count.created for run in found for count in run.counts) == 3
        assert [letter for run in found for letter in await letters(run)] == []
        assert len(await stored(ProductCategory)) == 3
        assert await no_drift()

    async def test_who_comes_second_finds_it_done(self, bring: Bring, monkeypatch: pytest.MonkeyPatch) -> None:
        """What two runs at once may meet: nothing is there when they look, and everything when they write."""
        await bring(woo_file(*SHOP))
        before = await everything()

        async def nothing(keys: object) -> dict[str, Product]:
            return {}

        monkeypatch.setattr(runs, "known_products", nothing)

        run = await bring(woo_file(*SHOP))

        assert (counted(run), await letters(run)) == ({"products": "0/0/3/0"}, [])
        assert await everything() == before
