import json
from typing import Any

import pytest

from models.ecommerce.catalog import Product, ProductCategory, ProductImage
from models.users import Role
from services.ecommerce.catalog.categories import ProductCategoryChanges, ProductCategoryService
from services.ecommerce.catalog.reference import get_reference
from services.ecommerce.catalog.summaries import STAMP_FIELDS, WHOLE_FIELDS, summaries_of
from tests.commands import CommandLog
from tests.factories.catalog import create_category, create_product
from tests.factories.users import create_user, viewer_of

pytestmark = pytest.mark.usefixtures("database")


async def shown(*products: Product, fields: dict[str, int] = STAMP_FIELDS) -> list[dict[str, Any]]:
    rows = await Product.find_rows({"_id": {"$in": [product.id for product in products]}}, fields, sort=[("_id", 1)])
    return [json.loads(summary) for summary in await summaries_of(rows)]


class TestSummariesOf:
    @pytest.mark.parametrize("fields", [STAMP_FIELDS, WHOLE_FIELDS])
    async def test_product_is_shown_as_it_is_stored(self, fields: dict[str, int]) -> None:
        category = await create_category(name="Größen", slug="sizes")
        images = [ProductImage(url="https://example.com/a.png"), ProductImage(url="https://example.com/b.png", is_primary=True)]
        product = await create_product(
            name='5" <b>Hülle</b>', slug="case", price="19.90", category=category, tags=["new"], images=images, rating_average=45
        )
        for _ in range(2):
            assert await shown(product, fields=fields) == [
                {
                    "id": str(product.id),
                    "name": '5" <b>Hülle</b>',
                    "slug": "case",
                    "short_description": product.short_description,
                    "brand": "",
                    "tags": ["new"],
                    "category": {"id": str(category.id), "name": "Größen", "slug": "sizes", "path": "sizes/"},
                    "price": {"amount": "19.90", "currency": "USD"},
                    "price_max": {"amount": "19.90", "currency": "USD"},
                    "image": {"url": "https://example.com/b.png", "alt": "", "is_primary": True},
                    "is_available": True,
                    "is_featured": False,
                    "is_digital": False,
                    "rating_average": 4.5,
                    "reviews_count": 0,
                }
            ]

    async def test_only_what_is_not_kept_is_read_and_the_order_stays(self, commands: CommandLog) -> None:
        products = [await create_product(name=str(number)) for number in range(3)]
        await get_reference()
        await shown(products[1])
        rows = [{"_id": product.id, "updated_at": product.updated_at} for product in products]
        with commands.counting() as sent:
            first = await summaries_of(rows)
            again = await summaries_of(rows)
        assert [json.loads(summary)["name"] for summary in first] == ["0", "1", "2"]
        assert again == first
        assert [sorted(read.filter["_id"]["$in"]) for read in sent.reads] == [[products[0].id, products[2].id]]

    async def test_whole_rows_are_not_read_again(self, commands: CommandLog) -> None:
        product = await create_product()
        await get_reference()
        with commands.counting() as sent:
            assert len(await shown(product, fields=WHOLE_FIELDS)) == 1
        assert len(sent) == 1

    async def test_change_of_another_process_is_shown_at_once(self) -> None:
        """Past the watchers, as the writes of others are: the time of change alone tells."""
        product = await create_product(name="before")
        await shown(product)
        later = product.updated_at.replace(year=2030)
        await Product.collection().update_one({"_id": product.id}, {"$set": {"name": "after", "updated_at": later}})
        assert [one["name"] for one in await shown(product)] == ["after"]

    async def test_change_within_the_same_millisecond_is_shown(self) -> None:
        product = await create_product(name="before")
        await shown(product)
        await Product.change({"_id": product.id}, {"$set": {"name": "after", "updated_at": product.updated_at}})
        assert [one["name"] for one in await shown(product)] == ["after"]

    async def test_renamed_category_is_shown(self) -> None:
        category = await create_category(name="Before")
        product = await create_product(category=category)
        await shown(product)
        changes = ProductCategoryChanges(name="After")
        await ProductCategoryService.update_category(
            category.id, changes, viewer=viewer_of(await create_user(role=Role.ADMIN)), revision=None
        )
        assert [one["category"]["name"] for one in await shown(product)] == ["After"]

    async def test_nothing_is_kept_under_names_that_changed_while_it_was_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        category = await create_category(name="Before")
        product = await create_product(category=category)
        old = await get_reference()
        await ProductCategory.change({"_id": category.id}, {"$set": {"name": "After"}})
        with monkeypatch.context() as patched:
            patched.setattr("services.ecommerce.catalog.summaries.get_reference", lambda: _given(old))
            assert [one["category"]["name"] for one in await shown(product)] == ["Before"]
        assert [one["category"]["name"] for one in await shown(product)] == ["After"]

    async def test_product_that_went_meanwhile_is_left_out(self) -> None:
        there, gone = await create_product(), await create_product()
        rows = await Product.find_rows({}, STAMP_FIELDS, sort=[("_id", 1)])
        await Product.collection().delete_one({"_id": gone.id})
        assert [json.loads(summary)["id"] for summary in await summaries_of(rows)] == [str(there.id)]

    async def test_nothing_costs_nothing(self, commands: CommandLog) -> None:
        with commands.counting() as sent:
            assert await summaries_of([]) == []
        assert len(sent) == 0


async def _given(value: Any) -> Any:
    return value
