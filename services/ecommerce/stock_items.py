"""What the catalogue tells inventory of the variants whose stock is kept (`services.inventory.items.ItemCatalog`)."""

from collections.abc import Collection, Mapping

from beanie import PydanticObjectId

from models.database import Session
from models.ecommerce.catalog import Product
from models.events import Event, EventType
from services.events import Consumer
from services.inventory.items import Item
from services.inventory.levels import LevelService


class StockItemService:
    @staticmethod
    async def find_items(
        variant_ids: Collection[PydanticObjectId], *, session: Session | None = None
    ) -> Mapping[PydanticObjectId, Item]:
        """Those of the variants that exist and whose stock is counted, whatever the product's status. One command."""
        wanted = set(variant_ids)
        if not wanted:
            return {}
        query = {"variants.id": {"$in": sorted(wanted)}}
        rows = await Product.find_rows(query, {"variants": 1}, session=session)
        return {
            variant["id"]: Item(row["_id"], variant["id"], variant["sku"])
            for row in rows
            for variant in row["variants"]
            if variant["id"] in wanted and variant["track_inventory"]
        }

    @staticmethod
    async def rename(product_id: PydanticObjectId) -> None:
        """Have the product's stock levels carry the SKUs that its variants have now. Harmless to repeat."""
        row = await Product.find_row({"_id": product_id}, {"variants": 1})
        if row is not None:
            await LevelService.rename({variant["id"]: variant["sku"] for variant in row["variants"]})


async def _rename_changed(event: Event) -> None:
    await StockItemService.rename(PydanticObjectId(event.subject.removeprefix("product:")))


STOCK_NAME_CONSUMER = Consumer("stock_names", {EventType.PRODUCT_UPDATED}, _rename_changed)
