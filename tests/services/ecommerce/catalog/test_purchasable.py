import pytest
from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.ecommerce.catalog import ProductImage, ProductStatus
from services.ecommerce.catalog.purchasable import Purchasable, PurchasableService
from tests.commands import CommandLog
from tests.factories.catalog import create_category, create_product, make_variant, money

pytestmark = pytest.mark.usefixtures("database")


class TestFind:
    async def test_tells_everything_an_order_needs_in_one_command(self, commands: CommandLog) -> None:
        root = await create_category()
        leaf = await create_category(parent=root)
        product = await create_product(
            name="Shirt",
            category=leaf,
            option_names=["Size"],
            variants=[
                make_variant(sku="L", price="30.00", options={"Size": "L"}, weight_grams=250, allow_backorder=True),
                make_variant(sku="S", options={"Size": "S"}, is_active=False, image_url="https://x.example/s.jpg"),
            ],
            images=[ProductImage(url="https://x.example/1.jpg"), ProductImage(url="https://x.example/2.jpg", is_primary=True)],
        )
        large, small = product.variants
        with commands.counting() as sent:
            found = await PurchasableService.find([(product.id, large.id), (product.id, small.id)], currency="USD")
        assert sent.sent == ["aggregate products"]
        assert found[large.id] == Purchasable(
            product_id=product.id,
            variant_id=large.id,
            category_id=leaf.id,
            category_ids=(root.id, leaf.id),
            name="Shirt",
            sku="L",
            options={"Size": "L"},
            image_url="https://x.example/2.jpg",
            price=money("30.00"),
            is_digital=False,
            tax_class="standard",
            weight_grams=250,
            tracks_inventory=True,
            allow_backorder=True,
            is_for_sale=True,
        )
        assert (found[small.id].is_for_sale, found[small.id].image_url) == (False, "https://x.example/s.jpg")

    async def test_price_is_that_of_the_currency_and_nothing_is_converted(self) -> None:
        product = await create_product(variants=[make_variant(price="30.00", other_prices=[money("27.00", "EUR")])])
        ref = (product.id, product.variants[0].id)
        assert (await PurchasableService.find([ref], currency="EUR"))[ref[1]].price == money("27.00", "EUR")
        assert await PurchasableService.find([ref], currency="GBP") == {}

    @pytest.mark.parametrize("status", list(ProductStatus))
    async def test_only_public_products_are_for_sale(self, status: ProductStatus) -> None:
        product = await create_product(status=status)
        [found] = (await PurchasableService.find([(product.id, product.variants[0].id)], currency="USD")).values()
        assert found.is_for_sale == (status in ("active", "out_of_stock"))

    async def test_what_does_not_exist_or_belong_together_is_left_out(self, commands: CommandLog) -> None:
        product, other = await create_product(), await create_product()
        refs = [(product.id, other.variants[0].id), (PydanticObjectId(), PydanticObjectId())]
        assert await PurchasableService.find(refs, currency="USD") == {}
        with commands.counting() as sent:
            assert await PurchasableService.find([], currency="USD") == {}
        assert sent.sent == []

    async def test_reads_in_the_caller_s_transaction(self) -> None:
        product = await create_product()
        ref = (product.id, product.variants[0].id)

        async def work(session: Session) -> str:
            update = {"$set": {"name": "Within"}}
            await type(product).collection().update_one({"_id": product.id}, update, session=session)
            return (await PurchasableService.find([ref], currency="USD", session=session))[ref[1]].name

        assert await run_transaction(work) == "Within"
