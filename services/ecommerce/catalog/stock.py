"""What stock says about products: read from the levels, which the inventory keeps, and copied to where lists look for it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.ecommerce.catalog import VISIBLE_STATUSES, Product, ProductStatus, Variant
from models.ecommerce.catalog_reads import Availability
from models.events import Event, EventType
from models.inventory.stock import StockLevel, StockLocation
from services.ecommerce.catalog.writing import is_sold_without_stock
from services.events import Consumer


@dataclass(frozen=True, slots=True)
class StockFacts:
    """Of one variant, over all locations that sell."""

    available: int = 0
    threshold: int = 0


NO_STOCK = StockFacts()


def facts_of(levels: Sequence[Mapping[str, Any]], *, closed: Collection[PydanticObjectId]) -> dict[PydanticObjectId, StockFacts]:
    """By variant, from stored levels; what lies at a location that does not sell (`closed`) is not available."""
    facts: dict[PydanticObjectId, StockFacts] = {}
    for level in levels:
        if level["location_id"] in closed:
            continue
        known = facts.get(level["variant_id"], NO_STOCK)
        facts[level["variant_id"]] = StockFacts(
            known.available + level["available"], known.threshold + level["low_stock_threshold"]
        )
    return facts


def availability_of(variant: Variant, facts: Mapping[PydanticObjectId, StockFacts]) -> Availability:
    """What a customer is told; never how many there are."""
    if not variant.track_inventory:
        return Availability.IN_STOCK
    stock = facts.get(variant.id, NO_STOCK)
    if stock.available > 0:
        return Availability.LOW if stock.available <= stock.threshold else Availability.IN_STOCK
    return Availability.BACKORDER if variant.allow_backorder else Availability.OUT_OF_STOCK


async def is_available(product_id: PydanticObjectId, variants: Sequence[Variant], *, session: Session) -> bool:
    """Whether some active variant can be bought. Two commands, none when stock does not matter."""
    if is_sold_without_stock(variants):
        return True
    levels = await StockLevel.find_rows({"product_id": product_id}, session=session)
    locations = await StockLocation.find_rows({}, {"is_active": 1}, session=session)  # a handful
    facts = facts_of(levels, closed={row["_id"] for row in locations if not row["is_active"]})
    return any(variant.is_active and facts.get(variant.id, NO_STOCK).available > 0 for variant in variants)


def status_for(status: ProductStatus, *, available: bool) -> ProductStatus:
    """A public product is `active` or `out_of_stock` as its stock has it; others stay what they are."""
    if status not in VISIBLE_STATUSES:
        return status
    return ProductStatus.ACTIVE if available else ProductStatus.OUT_OF_STOCK


class AvailabilityService:
    @staticmethod
    async def refresh(product_id: PydanticObjectId) -> None:
        """Have the product say what its stock says now. Harmless to repeat, and for a product that is gone.

        Levels and product are read in one snapshot and the product is always written, so that this cannot pass an edit of the
        variants unseen: one of the two starts again. A level that changes meanwhile has an event of its own, handled later.
        """

        async def work(session: Session) -> None:
            row = await Product.find_row({"_id": product_id}, session=session)
            if row is None:
                return
            product = Product.from_row(row)
            available = await is_available(product_id, product.variants, session=session)
            fields = {"is_available": available, "status": status_for(product.status, available=available)}
            await Product.change({"_id": product_id}, {"$set": fields}, session=session)

        await run_transaction(work, hot=[product_id])


async def _refresh_changed(event: Event) -> None:
    kind, _, key = event.subject.partition(":")
    if kind == "product":
        await AvailabilityService.refresh(PydanticObjectId(key))


AVAILABILITY_CONSUMER = Consumer("shop_availability", {EventType.STOCK_CHANGED}, _refresh_changed)
"""Flips products between active and out of stock. It looks at the levels, not at the event: neither order nor number matters."""
