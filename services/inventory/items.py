"""What inventory must know of the things it keeps: the catalogue's word for them, asked through a port.

Inventory stands below the catalogue and imports nothing of it; whoever composes the application hands the catalogue in.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from beanie import PydanticObjectId

from models.database import Session
from services.errors import NotFoundError


class ItemNotFoundError(NotFoundError):
    """No product has this variant, or its stock is not counted."""

    code = "stock_item_not_found"

    def __init__(self, variant_id: PydanticObjectId) -> None:
        super().__init__("item to keep in stock", variant_id)


@dataclass(frozen=True, slots=True)
class Item:
    """A variant whose stock is counted."""

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    sku: str


class ItemCatalog(Protocol):
    """Knows the variants."""

    async def find_items(
        self, variant_ids: Collection[PydanticObjectId], *, session: Session | None = None
    ) -> Mapping[PydanticObjectId, Item]:
        """Those of the variants that exist and whose stock is counted, by their ids."""
        ...


async def get_items(
    catalog: ItemCatalog, variant_ids: Collection[PydanticObjectId], *, session: Session | None = None
) -> Mapping[PydanticObjectId, Item]:
    """Raises ItemNotFoundError for the first that does not exist."""
    items = await catalog.find_items(variant_ids, session=session)
    for variant_id in variant_ids:
        if variant_id not in items:
            raise ItemNotFoundError(variant_id)
    return items
