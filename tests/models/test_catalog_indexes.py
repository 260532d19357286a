"""Every read of the catalogue is served by a declared index, as it is really sent."""

from datetime import UTC, datetime

import pytest

from models.database import Database
from models.ecommerce.catalog import ProductCategory, ProductStatus
from models.users import Role
from services.ecommerce.catalog.attributes import AttributeChanges, AttributeService
from services.ecommerce.catalog.categories import ProductCategoryChanges, ProductCategoryService
from services.ecommerce.catalog.listing import ProductSort
from services.ecommerce.catalog.pages import ProductPageService
from services.ecommerce.catalog.products import ProductService
from services.ecommerce.catalog.purchasable import PurchasableService
from services.ecommerce.catalog.recommendations import RecommendationService
from services.ecommerce.catalog.search import ProductFilter, ProductSearchService
from services.ecommerce.catalog.stock import AvailabilityService
from services.ecommerce.catalog.writing import ProductChanges, ProductDraft, VariantDraft
from services.pagination import PageRequest
from services.users.permissions import Viewer
from tests.commands import CommandLog, Read
from tests.factories.catalog import create_attribute, create_category, create_product, money
from tests.factories.users import create_user, viewer_of
from tests.shapes import narrowing_index, serving_index


async def staff() -> Viewer:
    return viewer_of(await create_user(role=Role.MANAGER))


class TestSearch:
    @pytest.mark.parametrize(
        ("sort", "index"),
        [
            (ProductSort.RELEVANCE, "status_featured"),
            (ProductSort.PRICE_LOW, "status_price"),
            (ProductSort.PRICE_HIGH, "status_price"),
            (ProductSort.NEWEST, "status_newest"),
            (ProductSort.BESTSELLING, "status_sales"),
            (ProductSort.RATING, "status_rating"),
        ],
    )
    async def test_everything_public_is_read_in_the_order_of_an_index(
        self, database: Database, commands: CommandLog, sort: ProductSort, index: str
    ) -> None:
        await create_product()
        with commands.counting() as sent:
            await ProductSearchService.search_products(ProductFilter(), PageRequest(), sort=sort)
        assert [serving_index(read) for read in sent.reads if read.collection == "products"] == [index]

    @pytest.mark.parametrize("facets", [False, True])
    async def test_filters_are_led_by_one_that_an_index_narrows(
        self, database: Database, commands: CommandLog, facets: bool
    ) -> None:
        category = await create_category()
        product = await create_product(name="linen", brand="Acme", category=category)
        price = money("99.00")
        for wanted, index in (
            (ProductFilter(query="linen", brands=("acme",), category=category.slug, max_price=price), "terms"),
            (ProductFilter(category=category.slug, max_price=price), "category_status_newest"),
            (ProductFilter(seller_id=product.id, max_price=price), "seller_newest"),
            (ProductFilter(brands=("acme",), max_price=price), "status_newest" if facets else "facets_status"),
            (ProductFilter(max_price=price), "status_newest"),
        ):
            with commands.counting() as sent:
                await ProductSearchService.search_products(wanted, PageRequest(), facets=facets)
            read, *others = [read for read in sent.reads if read.collection == "products"]
            assert [narrowing_index(other) for other in others] in ([], ["_id_"])
            lead = dict([next(iter(read.filter.items()))])
            assert narrowing_index(Read(read.collection, lead, [])) == index


class TestReads:
    async def test_every_look_up_and_list_is_served(self, database: Database, commands: CommandLog) -> None:
        viewer = await staff()
        category, attribute = await create_category(), await create_attribute(code="color")
        product = await create_product(category=category)
        variant = VariantDraft(sku="NEW", price=money("1.00"))
        root = await create_category()

        with commands.counting() as sent:
            created = await ProductService.create_product(ProductDraft(name="New", variants=[variant]), viewer=viewer)
            await ProductService.find_by_source("shop:1")
            await ProductService.update_product(
                product.id, ProductChanges(variants=[VariantDraft(sku="X", price=money("1.00"))]), viewer=viewer, revision=None
            )
            await ProductService.delete_product(created.id, viewer=viewer)
            await PurchasableService.find([(product.id, product.variants[0].id)], currency="USD")
            await ProductPageService.get_product_details(product.slug)
            await ProductService.update_product(product.id, ProductChanges(slug="moved"), viewer=viewer, revision=None)
            await ProductPageService.get_product_details(product.slug)
            await RecommendationService.list_recommendations("moved", viewer=viewer)
            await RecommendationService.rebuild(now=datetime(2026, 11, 21, tzinfo=UTC))
            await AvailabilityService.refresh(product.id)
            await AttributeService.update_attribute(attribute.id, AttributeChanges(choices=["red"]), viewer=viewer, revision=None)
            await AttributeService.delete_attribute(attribute.id, viewer=viewer)
            await ProductCategoryService.update_category(
                root.id, ProductCategoryChanges(slug="moved"), viewer=viewer, revision=None
            )
            await ProductCategoryService.deactivate_category(root.id, viewer=viewer)

        narrowed = {(read.collection, narrowing_index(read)) for read in sent.reads if read.filter}
        assert narrowed == {
            ("attribute_definitions", "_id_"),
            ("orders", "product_newest"),
            ("orders", "user_newest"),
            ("product_categories", "_id_"),
            ("product_categories", "ancestors"),
            ("product_categories", "parent_order"),
            ("product_recommendations", "product_unique"),
            ("product_slugs", "slug_unique"),
            ("product_visits", "product_newest"),
            ("products", "_id_"),
            ("products", "attribute"),
            ("products", "category_status_newest"),
            ("products", "facets_status"),
            ("products", "slug_unique"),
            ("products", "source_key_unique"),
            ("reviews", "product_status_helpful"),
            ("stock_levels", "product"),
        }

    async def test_staff_and_sellers_lists_are_read_in_the_order_of_an_index(
        self, database: Database, commands: CommandLog
    ) -> None:
        viewer = await staff()
        for over, index in (
            ({}, "_id_"),
            ({"status": ProductStatus.DRAFT}, "status_newest"),
            ({"seller_id": viewer.user_id}, "seller_newest"),
        ):
            with commands.counting() as sent:
                await ProductService.list_products(PageRequest(), viewer=viewer, **over)
            assert [serving_index(read) for read in sent.reads if read.collection == "products"] == [index]

    def test_writes_and_branches_the_log_does_not_see_are_served(self) -> None:
        day = datetime(2026, 11, 21, tzinfo=UTC)
        for read, index in (
            (Read("product_views", {"product_id": 1, "day": day}, []), "product_day_unique"),
            (Read("product_visits", {"visitor": "x"}, []), "visitor_unique"),
            (Read("product_visits", {"day": {"$lt": day}}, []), "day_ttl"),
            (Read("product_recommendations", {"updated_at": {"$lt": day}}, []), "updated"),
            (Read("product_categories", {"slug": "x"}, []), "slug_unique"),
            (Read("attribute_definitions", {"code": {"$in": ["x"]}}, []), "code_unique"),
            (Read("products", {"variants.id": {"$in": [1]}}, []), "variant"),
            (Read("products", {"variants.sku": "x"}, []), "sku_unique"),
            (Read("products", {"category_id": 1, "status": "active"}, []), "category_status_newest"),
            (
                Read("reviews", {"product_id": 1, "status": "approved"}, [("helpful_count", -1), ("_id", -1)]),
                "product_status_helpful",
            ),
        ):
            assert serving_index(read) == index


def test_tree_is_read_whole() -> None:
    """The one read without a filter: at most 2,000 categories, kept for half a minute."""
    assert {index.document["name"] for index in ProductCategory.Settings.indexes} == {"slug_unique", "parent_order", "ancestors"}
