import json
from typing import Any

import pytest

from models.database import Session, run_transaction
from models.ecommerce.catalog import Product, ProductCategory, ProductImage, ProductStatus
from models.ecommerce.reviews import Review
from models.events import EventType
from models.users import User
from services.ecommerce.catalog.pages import PRODUCT_PAGE_CONSUMER, ProductPage, ProductPageService
from services.ecommerce.catalog.products import ProductNotFoundError
from services.ecommerce.catalog.reference import CATALOG_REFERENCE_CONSUMER, get_reference
from services.ecommerce.catalog.views import product_views
from services.events import EventService
from services.views import Visit
from tests.commands import CommandLog
from tests.factories.catalog import create_attribute, create_category, create_product, make_variant, money
from tests.factories.reviews import create_review
from tests.factories.users import create_user
from tests.services.ecommerce.catalog.test_stock import set_stock

pytestmark = pytest.mark.usefixtures("database")

BROWSER = "Mozilla/5.0 Firefox/130.0"


async def page(product: Product) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads((await found(product)).body)
    return shown


async def found(product: Product) -> ProductPage:
    page = await ProductPageService.get_product_details(product.slug)
    assert isinstance(page, ProductPage)
    return page


class TestGetProductDetails:
    async def test_com_s3_shows_everything_but_what_it_cost(self) -> None:
        """COM-S3: cost_price was exposed in the source."""
        root = await create_category(slug="clothes", name="Clothes")
        leaf = await create_category(parent=root, slug="shirts", name="Shirts")
        await create_attribute(code="color", name="Colour")
        product = await create_product(
            name="Linen shirt",
            category=leaf,
            option_names=["Size"],
            variants=[
                make_variant(sku="L", options={"Size": "L"}, cost_price=money("7.77"), compare_at_price=money("30.00")),
                make_variant(sku="M", options={"Size": "M"}, track_inventory=False),
                make_variant(sku="HIDDEN", options={"Size": "S"}, is_active=False),
            ],
            attributes=[{"code": "color", "value": "red"}, {"code": "gone", "value": "x"}],
            images=[ProductImage(url="https://x.example/1.jpg", alt="Front", is_primary=True)],
            rating_average=45,
            reviews_count=2,
        )
        await set_stock(product, 3)
        shown = await page(product)
        assert [step["slug"] for step in shown["breadcrumb"]] == ["clothes", "shirts"]
        assert shown["category"]["path"] == "clothes/shirts/"
        assert [(one["sku"], one["availability"], one["price"]) for one in shown["variants"]] == [
            ("L", "low", {"amount": "19.90", "currency": "USD"}),
            ("M", "in_stock", {"amount": "19.90", "currency": "USD"}),
        ]
        assert shown["attributes"] == [{"code": "color", "name": "Colour", "value": "red", "unit": None}]
        assert shown["image"] == {"url": "https://x.example/1.jpg", "alt": "Front", "is_primary": True}
        assert shown["rating"] == {"average": 4.5, "count": 2}
        text = json.dumps(shown)
        assert not [word for word in ("cost_price", "7.77", "HIDDEN", "seller_id", "source_key", "on_hand") if word in text]

    async def test_com_s3_reviews_are_the_approved_ones_most_helpful_first(self) -> None:
        """COM-S3: ten of them; helpful, then newest."""
        product = await create_product()
        author = await create_user(first_name="Ann", last_name="Lee")
        first = await create_review(product, author=author, title="first")
        others = [await create_review(product, title=f"r{number}") for number in range(11)]
        await create_review(product, approved=False, title="pending")
        await Review.collection().update_one({"_id": first.id}, {"$set": {"helpful_count": 3}})
        await User.collection().update_one(
            {"_id": others[-1].author.id if others[-1].author else None}, {"$set": {"is_active": False}}
        )
        shown = (await page(product))["reviews"]
        assert [one["title"] for one in shown] == ["first", *(f"r{number}" for number in range(10, 1, -1))]
        assert (shown[0]["author"]["full_name"], shown[1]["author"]) == ("Ann Lee", None)

    async def test_com_s3_related_are_the_category_s_active_bestsellers_without_itself(self) -> None:
        """COM-S3: four, of the same category, active, not itself."""
        category, other = await create_category(), await create_category()
        product = await create_product(category=category, sales_count=99)
        same = [await create_product(category=category, sales_count=sold) for sold in (1, 5, 5, 3, 2)]
        await create_product(category=category, sales_count=50, status=ProductStatus.OUT_OF_STOCK)
        await create_product(category=other, sales_count=50)
        shown = (await page(product))["related"]
        assert [one["id"] for one in shown] == [str(same[at].id) for at in (2, 1, 3, 4)]
        assert (await page(await create_product()))["related"] == []

    async def test_com_s3_three_commands_at_most_and_none_for_a_kept_page(self, commands: CommandLog) -> None:
        """COM-S3: the source asked once for each step of the breadcrumb."""
        category = await create_category(parent=await create_category(parent=await create_category()))
        product, other = await create_product(category=category), await create_product(category=category)
        await get_reference()
        with commands.counting() as cold:
            await page(product)
        assert sorted(cold.sent) == ["aggregate products", "aggregate products", "aggregate reviews"]
        with commands.counting() as warm:
            await page(product)
            await page(other)
        assert sorted(warm.sent) == ["aggregate products", "aggregate reviews"]

    @pytest.mark.parametrize("status", [ProductStatus.DRAFT, ProductStatus.INACTIVE, ProductStatus.DISCONTINUED])
    async def test_hidden_and_unknown_ones_are_not_found(self, status: ProductStatus) -> None:
        product = await create_product(status=status)
        for slug in (product.slug, "nothing"):
            with pytest.raises(ProductNotFoundError):
                await ProductPageService.get_product_details(slug)

    async def test_page_follows_changes_here_and_elsewhere(self) -> None:
        category = await create_category(name="Before")
        product = await create_product(name="One", category=category)
        await page(product)
        await Product.change({"_id": product.id}, {"$set": {"name": "Two"}})
        assert (await page(product))["name"] == "Two"

        # As another process would have done it: behind this one's back, told by an event.
        await Product.collection().update_one({"_id": product.id}, {"$set": {"name": "Three"}})
        await ProductCategory.collection().update_one({"_id": category.id}, {"$set": {"name": "After"}})
        assert (await page(product))["name"] == "Two"

        async def work(session: Session) -> None:
            await EventService.record(session, EventType.PRODUCT_CATEGORY_CHANGED, f"product_category:{category.id}")
            await EventService.record(session, EventType.STOCK_CHANGED, f"product:{product.id}")

        await run_transaction(work)
        await EventService.pump([PRODUCT_PAGE_CONSUMER, CATALOG_REFERENCE_CONSUMER])
        shown = await page(product)
        assert (shown["name"], shown["breadcrumb"][0]["name"]) == ("Three", "After")

    async def test_stamp_moves_with_what_is_shown(self) -> None:
        product = await create_product()
        first = await found(product)
        await Product.change({"_id": product.id}, {"$set": {"sales_count": 1}})
        second = await found(product)
        assert (first.revision, second.revision, first.stamp == second.stamp) == (1, 1, False)


class TestViews:
    async def test_com_s3_views_are_counted_once_per_visitor_and_written_in_batches(self) -> None:
        product, other = await create_product(), await create_product()
        counter = product_views(b"x" * 32)
        for address in ("a", "a", "b"):
            await ProductPageService.get_product_details(product.slug, visit=Visit(counter, address, BROWSER))
        await ProductPageService.get_product_details(other.slug, visit=Visit(counter, "a", BROWSER))
        await ProductPageService.get_product_details(other.slug, visit=Visit(counter, "a", "Googlebot/2.1"))
        assert await counter.flush() == 3
        rows = {row["_id"]: row["views_count"] for row in await Product.find_rows({})}
        assert rows == {product.id: 2, other.id: 1}
