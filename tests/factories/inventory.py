"""Locations and stock as the services would have left them: every piece on hand has its movement."""

from collections.abc import Collection, Mapping
from itertools import count
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session
from models.ecommerce.catalog import Product, Variant
from models.inventory.moving import Stocktake, StockTransfer, TransferLine
from models.inventory.purchasing import PurchaseOrder, PurchaseOrderLine, Supplier
from models.inventory.stock import MovementKind, StockLevel, StockLocation, StockMovement
from models.money import Money
from services.inventory.allocation import Wanted
from services.inventory.items import Item
from services.inventory.locations import known_locations

_numbers = count(1)


def make_location(**over: Any) -> StockLocation:
    """An active location, unsaved; it serves after every one made before it, unless `priority` is given."""
    number = next(_numbers)
    return StockLocation(**{"code": f"L{number}", "name": f"Location {number}", "priority": number, **over})


async def create_location(**over: Any) -> StockLocation:
    location = await make_location(**over).store()
    StockLocation._tell_watchers({"_id": location.id})
    return location


def a_variant(**over: Any) -> Variant:
    """A variant to keep stock of, of a product that nobody looks up."""
    number = next(_numbers)
    return Variant(**{"sku": f"SKU-{number}", "price": Money(amount=1999, currency="USD"), **over})


async def stock(
    variant: Variant,
    quantity: int,
    *,
    product: Product | None = None,
    location: StockLocation | None = None,
    unit_cost: int = 100,
    **over: Any,
) -> StockLevel:
    """A level of the variant with `quantity` pieces on it, by a receipt at `unit_cost` minor units each; call it once per place.

    Without a location: the one that serves first, made if there is none. `over` are fields of the level.
    """
    if location is None:
        location = next(iter((await known_locations()).values()), None) or await create_location()
    fields: dict[str, Any] = {
        "product_id": product.id if product else PydanticObjectId(),
        "variant_id": variant.id,
        "location_id": location.id,
        "sku": variant.sku,
    }
    value = Money(amount=quantity * unit_cost, currency=location.currency)
    amounts: dict[str, Any] = {"on_hand": quantity, "available": quantity, "stock_value": value}
    level = StockLevel(**{**fields, **amounts, **over})
    level.is_low = level.available <= level.low_stock_threshold
    await level.store()
    if quantity:
        await StockMovement(
            **{**fields, "product_id": level.product_id},
            key=f"opening:{variant.id}:{location.id}",
            kind=MovementKind.RECEIPT,
            quantity=quantity,
            value=value,
            cost=value,
            on_hand_after=quantity,
            reference="opening",
            occurred_at=present(),
        ).store()
    return level


def wanted(level: StockLevel, quantity: int, **over: Any) -> Wanted:
    return Wanted(level.product_id, level.variant_id, level.sku, quantity, **over)


async def create_supplier(**over: Any) -> Supplier:
    number = next(_numbers)
    return await Supplier(**{"code": f"S{number}", "name": f"Supplier {number}", **over}).store()


async def create_purchase_order(variant: Variant, quantity: int = 10, *, product: Product, **over: Any) -> PurchaseOrder:
    """A draft of one line at 1.00 a piece, or whatever `over` makes of it."""
    supplier = await create_supplier()
    fields: dict[str, Any] = {
        "number": f"PO-20260101-{next(_numbers):06d}",
        "supplier_id": supplier.id,
        "supplier_name": supplier.name,
        "location_id": over.pop("location_id", None) or (await create_location()).id,
        "lines": [
            PurchaseOrderLine(
                product_id=product.id,
                variant_id=variant.id,
                sku=variant.sku,
                quantity=quantity,
                unit_cost=Money(amount=100, currency="USD"),
            )
        ],
    }
    return await PurchaseOrder(**{**fields, **over}).store()


async def create_transfer(level: StockLevel, quantity: int = 4, **over: Any) -> StockTransfer:
    """A draft from where the level is to a new location."""
    nothing = Money.zero(level.stock_value.currency)
    fields: dict[str, Any] = {
        "number": f"TR-20260101-{next(_numbers):06d}",
        "from_location_id": level.location_id,
        "to_location_id": (await create_location()).id,
        "lines": [
            TransferLine(
                product_id=level.product_id,
                variant_id=level.variant_id,
                sku=level.sku,
                quantity=quantity,
                cost=nothing,
                settled_cost=nothing,
            )
        ],
    }
    return await StockTransfer(**{**fields, **over}).store()


async def create_stocktake(location_id: PydanticObjectId, **over: Any) -> Stocktake:
    """An open one."""
    return await Stocktake(**{"number": f"ST-20260101-{next(_numbers):06d}", "location_id": location_id, **over}).store()


class KnownItems:
    """A catalogue that knows these levels' variants, whatever products there are."""

    def __init__(self, *levels: StockLevel) -> None:
        self._items = {level.variant_id: Item(level.product_id, level.variant_id, level.sku) for level in levels}

    async def find_items(
        self, variant_ids: Collection[PydanticObjectId], *, session: Session | None = None
    ) -> Mapping[PydanticObjectId, Item]:
        return {variant_id: self._items[variant_id] for variant_id in variant_ids if variant_id in self._items}
