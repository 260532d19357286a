"""What the catalogue tells inventory."""

import pytest
from beanie import PydanticObjectId

from models.database import run_transaction
from models.ecommerce.catalog import Product
from models.events import EventType
from models.inventory.stock import StockLevel, StockMovement
from services.ecommerce.stock_items import STOCK_NAME_CONSUMER, StockItemService
from services.events import EventService
from services.inventory.items import Item
from tests.factories.catalog import create_product, make_variant
from tests.factories.inventory import stock

pytestmark = pytest.mark.usefixtures("database")


class TestFindItems:
    async def test_variants_whose_stock_is_counted(self) -> None:
        mug = await create_product(variants=[make_variant(sku="MUG-S"), make_variant(sku="MUG-L")])
        service = await create_product(track_inventory=False)
        small, large = mug.variants
        found = await StockItemService.find_items([large.id, service.variants[0].id, PydanticObjectId()])

        assert found == {large.id: Item(mug.id, large.id, "MUG-L")}
        assert small.id not in found
        assert await StockItemService.find_items([]) == {}


class TestRename:
    async def test_levels_follow_the_sku_and_movements_keep_theirs(self) -> None:
        mug = await create_product(sku="OLD")
        level = await stock(mug.variants[0], 3, product=mug)
        other = await stock(make_variant(sku="OTHER"), 3)
        await Product.collection().update_one({"_id": mug.id}, {"$set": {"variants.0.sku": "NEW"}})
        subject = f"product:{mug.id}"
        await run_transaction(lambda session: EventService.record(session, EventType.PRODUCT_UPDATED, subject))
        await EventService.pump([STOCK_NAME_CONSUMER])

        rows = {row["_id"]: row["sku"] for row in await StockLevel.find_rows({})}
        assert rows == {level.id: "NEW", other.id: "OTHER"}
        assert {row["sku"] for row in await StockMovement.find_rows({})} == {"OLD", "OTHER"}
