import asyncio
from typing import Any

import pytest
from beanie import PydanticObjectId
from pydantic import ValidationError

from models.ecommerce.catalog import AttributeKind, Dimensions, Product, ProductCategory, ProductStatus
from models.events import Event, EventType
from models.inventory.stock import StockLevel
from models.money import Money
from models.users import Role
from services.ecommerce.catalog.categories import (
    CategoryNotEmptyError,
    ProductCategoryNotFoundError,
    ProductCategoryService,
)
from services.ecommerce.catalog.products import (
    ProductDiscontinuedError,
    ProductNotFoundError,
    ProductService,
    ProductSlugTakenError,
    SellerNotFoundError,
    SkuTakenError,
    SourceTakenError,
    VariantInStockError,
)
from services.ecommerce.catalog.writing import (
    ImageDraft,
    InvalidAttributeError,
    InvalidProductError,
    ProductAttributeDraft,
    ProductChanges,
    ProductDraft,
    VariantDraft,
)
from services.errors import PermissionDeniedError, PreconditionError
from services.pagination import PageRequest
from services.users.permissions import Viewer
from tests.factories.catalog import create_attribute, create_category, create_product, make_variant, money
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")


async def staff() -> Viewer:
    return viewer_of(await create_user(role=Role.MANAGER))


async def vendor() -> Viewer:
    return viewer_of(await create_user(role=Role.VENDOR))


def variant(sku: str = "SHIRT", price: str = "19.90", **over: Any) -> VariantDraft:
    return VariantDraft(**{"sku": sku, "price": money(price), **over})


def draft(**over: Any) -> ProductDraft:
    return ProductDraft(**{"name": "Linen shirt", "variants": [variant()], **over})


async def stored(product_id: PydanticObjectId) -> Product:
    row = await Product.find_row({"_id": product_id})
    assert row is not None
    return Product.from_row(row)


async def products_in(category: ProductCategory) -> int:
    row = await ProductCategory.find_row({"_id": category.id})
    assert row is not None
    return int(row["products_count"])


async def events(product_id: PydanticObjectId) -> list[str]:
    return [row["type"] for row in await Event.find_rows({"subject": f"product:{product_id}"}, sort=[("created_at", 1)])]


async def create_level(product: Product, **over: Any) -> StockLevel:
    first = product.variants[0]
    return await StockLevel(
        **{
            "product_id": product.id,
            "variant_id": first.id,
            "location_id": PydanticObjectId(),
            "sku": first.sku,
            "stock_value": Money.zero("USD"),
            **over,
        }
    ).store()


class TestDraft:
    @pytest.mark.parametrize(
        "over",
        [
            {"price": "0.00"},
            {"price": "-1.00"},
            {"compare_at_price": money("19.90")},
            {"compare_at_price": money("30.00", "EUR")},
            {"cost_price": money("-0.01")},
            {"other_prices": [money("20.00", "EUR"), money("21.00", "EUR")]},
            {"other_prices": [money("20.00")]},
            {"dimensions": {"length": 1, "width": 1, "height": 0}},
            {"dimensions": {"length": 1, "width": 1}},
            {"dimensions": {"length": 1, "width": 1, "height": 1, "depth": 1}},
            {"inventory_quantity": -5},
        ],
    )
    def test_com_m5_prices_and_dimensions_are_checked(self, over: dict[str, Any]) -> None:
        """COM-M5: in the source a price could be above the price before, dimensions held any key, and stock went negative."""
        with pytest.raises(ValidationError):
            variant(**over)

    def test_com_m5_stored_dimensions_hold_nothing_else(self) -> None:
        with pytest.raises(ValidationError):
            Dimensions.model_validate({"length": 1, "width": 1, "height": 1, "colour": 1})


class TestCreateProduct:
    async def test_com_m4_is_stored_with_what_follows_from_it(self) -> None:
        """COM-M4: variants with their own SKU and price, images with alt and one primary, typed attributes."""
        viewer, category = await staff(), await create_category()
        await create_attribute(code="color", choices=["Red", "Blue"])
        await create_attribute(code="size", kind=AttributeKind.NUMBER, choices=[])
        created = await ProductService.create_product(
            draft(
                description="**Cool**",
                brand="Loom & Co",
                tags=["Summer", " summer ", "Two  Words"],
                category_id=category.id,
                option_names=["Size"],
                variants=[
                    variant("L", "30.00", options={"Size": "L"}, cost_price=money("9.00"), track_inventory=False),
                    variant("S", "20.00", options={"Size": "S"}, compare_at_price=money("25.00")),
                    variant("XS", "5.00", options={"Size": "XS"}, is_active=False),
                ],
                attributes=[
                    ProductAttributeDraft(code="color", value="RED"),
                    ProductAttributeDraft(code="size", value="15.60"),
                ],
                images=[ImageDraft(url="https://x.example/1.jpg", alt="Front"), ImageDraft(url="https://x.example/2.jpg")],
                status="active",
            ),
            viewer=viewer,
        )
        product = await stored(created.id)
        assert (product.slug, product.status, product.is_available, product.seller_id) == ("linen-shirt", "active", True, None)
        assert product.description_html == "<p><strong>Cool</strong></p>\n"
        assert (product.price, product.price_max, product.currency) == (money("20.00"), money("30.00"), "USD")
        assert product.tags == ["summer", "two words"]
        assert product.facets == ["brand=loom & co", "tag=summer", "tag=two words", "color=red", "size=15.6"]
        assert [(value.code, value.value) for value in product.attributes] == [("color", "Red"), ("size", 15_600)]
        assert [one.title for one in product.variants] == ["L", "S", "XS"]
        assert [(image.alt, image.is_primary) for image in product.images] == [("Front", True), ("", False)]
        assert {"linen", "shirt", "loom", "summer", "cool", "red"} <= {term.term for term in product.terms}
        assert await events(product.id) == [EventType.PRODUCT_CREATED]
        assert await products_in(category) == 1

    @pytest.mark.parametrize(
        ("wanted", "tracks", "becomes"),
        [
            ("active", True, "out_of_stock"),
            ("active", False, "active"),
            ("draft", True, "draft"),
            ("inactive", False, "inactive"),
        ],
    )
    async def test_com_m5_out_of_stock_is_set_where_nothing_lies(self, wanted: str, tracks: bool, becomes: str) -> None:
        """COM-M5: in the source out_of_stock was never set."""
        category = await create_category()
        created = await ProductService.create_product(
            draft(status=wanted, category_id=category.id, variants=[variant(track_inventory=tracks)]), viewer=await staff()
        )
        assert (created.status, created.is_available) == (becomes, not tracks)
        assert await products_in(category) == (1 if becomes in ("active", "out_of_stock") else 0)

    @pytest.mark.parametrize(
        "over",
        [
            {"variants": [variant("A"), variant("A", options={"Size": "L"})]},
            {"variants": [variant("A"), variant("B")]},
            {"option_names": ["Size"], "variants": [variant("A")]},
            {"option_names": ["Size", "Size"], "variants": [variant("A", options={"Size": "L"})]},
            {"variants": [variant("A", options={"Size": "L"})]},
            {"variants": [variant("A", id=PydanticObjectId())]},
            {
                "option_names": ["Size"],
                "variants": [
                    variant("A", options={"Size": "L"}),
                    VariantDraft(sku="B", price=money("1.00", "EUR"), options={"Size": "M"}),
                ],
            },
            {"images": [ImageDraft(url="https://x.example/1", is_primary=True)] * 2},
        ],
    )
    async def test_contradictions_are_refused(self, over: dict[str, Any]) -> None:
        with pytest.raises(InvalidProductError):
            await ProductService.create_product(draft(**over), viewer=await staff())
        assert await Product.count_rows({}) == 0

    async def test_attributes_are_checked_against_their_definitions(self) -> None:
        viewer = await staff()
        await create_attribute(code="color", choices=["red"])
        await create_attribute(code="size", kind=AttributeKind.NUMBER, choices=[])
        await create_attribute(code="organic", kind=AttributeKind.BOOLEAN, choices=[])
        wrong: list[tuple[str, str | bool]] = [
            ("unknown", "x"),
            ("color", "blue"),
            ("color", True),
            ("size", "big"),
            ("size", "1.2345"),
            ("size", "NaN"),
            ("organic", "yes"),
        ]
        for code, value in wrong:
            with pytest.raises(InvalidAttributeError):
                await ProductService.create_product(
                    draft(attributes=[ProductAttributeDraft(code=code, value=value)]), viewer=viewer
                )
        assert await Product.count_rows({}) == 0

    async def test_com_s1_slugs_of_one_name_differ_and_a_given_one_is_a_conflict(self) -> None:
        """COM-S1: a clash of slugs is a 409."""
        viewer = await staff()
        slugs = [(await ProductService.create_product(draft(variants=[variant(f"S{n}")]), viewer=viewer)).slug for n in range(3)]
        assert slugs == ["linen-shirt", "linen-shirt-2", "linen-shirt-3"]
        for slug in ("linen-shirt", "manage"):
            with pytest.raises(ProductSlugTakenError):
                await ProductService.create_product(draft(slug=slug, variants=[variant("S9")]), viewer=viewer)
        assert await Product.count_rows({}) == 3

    async def test_com_s1_one_of_twenty_gets_the_sku(self) -> None:
        """COM-S1, X-17: the index decides, not a look before the insert."""
        viewer, category = await staff(), await create_category()

        async def attempt(number: int) -> bool:
            try:
                await ProductService.create_product(
                    draft(name=f"P{number}", category_id=category.id, status="active", variants=[variant("ONE")]), viewer=viewer
                )
            except SkuTakenError:
                return False
            return True

        assert sum(await asyncio.gather(*map(attempt, range(20)))) == 1
        assert (await Product.count_rows({}), await products_in(category)) == (1, 1)

    async def test_category_must_be_open_and_seller_known(self) -> None:
        viewer = await staff()
        closed = await create_category(is_active=False)
        with pytest.raises(ProductCategoryNotFoundError):
            await ProductService.create_product(draft(category_id=closed.id), viewer=viewer)
        with pytest.raises(SellerNotFoundError):
            await ProductService.create_product(draft(seller_id=PydanticObjectId()), viewer=viewer)
        assert await Product.count_rows({}) == 0

    async def test_sellers_own_what_they_create_and_readers_create_nothing(self) -> None:
        seller = await vendor()
        created = await ProductService.create_product(draft(), viewer=seller)
        assert created.seller_id == seller.user_id
        with pytest.raises(PermissionDeniedError):
            await ProductService.create_product(draft(seller_id=PydanticObjectId()), viewer=seller)
        with pytest.raises(PermissionDeniedError):
            await ProductService.create_product(draft(), viewer=viewer_of(await create_user()))

    async def test_origin_is_imported_once(self) -> None:
        viewer = await staff()
        created = await ProductService.create_product(draft(), viewer=viewer, source_key="shop:1")
        with pytest.raises(SourceTakenError):
            await ProductService.create_product(draft(variants=[variant("X")]), viewer=viewer, source_key="shop:1")
        found = await ProductService.find_by_source("shop:1")
        assert found is not None
        assert found.id == created.id

    async def test_category_cannot_close_while_products_enter_it(self) -> None:
        viewer, category = await staff(), await create_category()

        async def enter(number: int) -> object:
            try:
                return await ProductService.create_product(
                    draft(name=f"P{number}", category_id=category.id, variants=[variant(f"E{number}")]), viewer=viewer
                )
            except ProductCategoryNotFoundError:
                return None

        async def close() -> None:
            try:
                await ProductCategoryService.deactivate_category(category.id, viewer=viewer)
            except CategoryNotEmptyError:
                return

        await asyncio.gather(*map(enter, range(5)), close(), *map(enter, range(5, 10)))
        row = await ProductCategory.find_row({"_id": category.id})
        assert row is not None
        assert row["is_active"] == (await Product.count_rows({}) > 0)


class TestUpdateProduct:
    async def test_changes_follow_and_a_given_up_sku_is_free(self) -> None:
        viewer = await staff()
        product = await create_product(sku="OLD", price="10.00")
        kept = product.variants[0].id
        updated = await ProductService.update_product(
            product.id,
            ProductChanges(name="Tea", slug="tea", variants=[variant("NEW", "12.00", id=kept)]),
            viewer=viewer,
            revision=1,
        )
        assert (updated.revision, updated.slug, updated.price, updated.variants[0].id) == (2, "tea", money("12.00"), kept)
        assert {"tea"} <= {term.term for term in (await stored(product.id)).terms}
        for sku, slug in (("OLD", product.slug), ("OLD2", "tea-2")):
            await ProductService.create_product(draft(slug=slug, variants=[variant(sku)]), viewer=viewer)
        with pytest.raises(SkuTakenError):
            await ProductService.update_product(
                product.id, ProductChanges(variants=[variant("OLD", id=kept)]), viewer=viewer, revision=None
            )
        with pytest.raises(ProductSlugTakenError):
            await ProductService.update_product(product.id, ProductChanges(slug="tea-2"), viewer=viewer, revision=None)
        assert (await stored(product.id)).variants[0].sku == "NEW"
        assert await events(product.id) == [EventType.PRODUCT_UPDATED]

    async def test_counters_that_moved_meanwhile_stay(self) -> None:
        product = await create_product(views_count=5, sales_count=3)
        await Product.collection().update_one({"_id": product.id}, {"$inc": {"sales_count": 4}})
        changes = ProductChanges(variants=[variant("OTHER", id=product.variants[0].id)])
        await ProductService.update_product(product.id, changes, viewer=await staff(), revision=1)
        after = await stored(product.id)
        assert (after.views_count, after.sales_count, after.variants[0].sku) == (5, 7, "OTHER")

    async def test_com_m5_products_count_follows_category_and_status(self) -> None:
        """COM-M5: products_count never moved in the source."""
        viewer = await staff()
        first, second = await create_category(), await create_category()
        product = await create_product(category=first, track_inventory=False)

        async def change(**fields: Any) -> tuple[int, int]:
            await ProductService.update_product(product.id, ProductChanges(**fields), viewer=viewer, revision=None)
            return await products_in(first), await products_in(second)

        assert await change(category_id=second.id) == (0, 1)
        assert await change(status="draft") == (0, 0)
        assert await change(category_id=first.id) == (0, 0)
        assert await change(status="active") == (1, 0)
        assert await change(category_id=None) == (0, 0)

    async def test_stale_revision_foreign_and_discontinued_ones_are_refused(self) -> None:
        viewer, other = await staff(), await vendor()
        product = await create_product(seller_id=PydanticObjectId())
        gone = await create_product(status=ProductStatus.DISCONTINUED)
        changes = ProductChanges(name="X")
        with pytest.raises(PreconditionError):
            await ProductService.update_product(product.id, changes, viewer=viewer, revision=2)
        with pytest.raises(ProductNotFoundError):
            await ProductService.update_product(product.id, changes, viewer=other, revision=1)
        with pytest.raises(ProductDiscontinuedError):
            await ProductService.update_product(gone.id, changes, viewer=viewer, revision=1)
        assert (await stored(product.id)).name == product.name

    async def test_of_editors_of_one_revision_one_wins(self) -> None:
        viewer = await staff()
        product = await create_product()

        async def edit(number: int) -> bool:
            changes = ProductChanges(name=f"Name {number}")
            try:
                await ProductService.update_product(product.id, changes, viewer=viewer, revision=1)
            except PreconditionError:
                return False
            return True

        assert sum(await asyncio.gather(*map(edit, range(20)))) == 1
        assert (await stored(product.id)).revision == 2

    async def test_variant_with_stock_cannot_be_taken_away(self) -> None:
        viewer = await staff()
        product = await create_product(
            option_names=["Size"],
            variants=[make_variant(sku="A", options={"Size": "A"}), make_variant(sku="B", options={"Size": "B"})],
        )
        level = await create_level(product, on_hand=1, available=1)
        only_b = ProductChanges(variants=[variant("B", id=product.variants[1].id, options={"Size": "B"})])
        with pytest.raises(VariantInStockError) as refused:
            await ProductService.update_product(product.id, only_b, viewer=viewer, revision=None)
        assert refused.value.skus == ["A"]
        await StockLevel.collection().update_one({"_id": level.id}, {"$set": {"on_hand": 0, "available": 0}})
        await ProductService.update_product(product.id, only_b, viewer=viewer, revision=None)
        assert [one.sku for one in (await stored(product.id)).variants] == ["B"]


class TestDeleteProduct:
    async def test_com_s1_is_discontinued_uncounted_and_keeps_its_sku(self) -> None:
        """COM-S1: soft delete; old orders refer to it."""
        viewer, category = await staff(), await create_category()
        product = await create_product(category=category, sku="KEPT")
        await ProductService.delete_product(product.id, viewer=viewer)
        await ProductService.delete_product(product.id, viewer=viewer)
        assert ((await stored(product.id)).status, await products_in(category)) == ("discontinued", 0)
        assert await events(product.id) == [EventType.PRODUCT_REMOVED]
        with pytest.raises(SkuTakenError):
            await ProductService.create_product(draft(variants=[variant("KEPT")]), viewer=viewer)

    async def test_foreign_one_is_unknown_to_a_seller(self) -> None:
        product = await create_product()
        with pytest.raises(ProductNotFoundError):
            await ProductService.delete_product(product.id, viewer=await vendor())
        assert (await stored(product.id)).status == "active"


class TestListProducts:
    async def test_staff_sees_all_and_sellers_their_own(self) -> None:
        seller = await vendor()
        own = await create_product(seller_id=seller.user_id, status=ProductStatus.DRAFT)
        shops = await create_product()
        listed = await ProductService.list_products(PageRequest(), viewer=await staff())
        assert ([one.id for one in listed.items], listed.total_count) == ([shops.id, own.id], 2)
        drafts = await ProductService.list_products(PageRequest(), viewer=await staff(), status=ProductStatus.DRAFT)
        assert [one.id for one in drafts.items] == [own.id]
        mine = await ProductService.list_products(PageRequest(), viewer=seller, seller_id=PydanticObjectId())
        assert [(one.id, one.skus) for one in mine.items] == [(own.id, [own.variants[0].sku])]
        with pytest.raises(PermissionDeniedError):
            await ProductService.list_products(PageRequest(), viewer=viewer_of(await create_user()))
