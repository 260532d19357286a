"""Stock: kept by managers, owned by nobody."""

from models.ecommerce.catalog import Product
from models.inventory.moving import Stocktake, StockTransfer, TransferStatus
from models.inventory.purchasing import PurchaseOrder, PurchaseOrderStatus, Supplier
from models.inventory.stock import StockLevel, StockLocation
from services.inventory.transfers import TransferService
from tests.api.world import Body, Operation, Provider, Query, World, fixed
from tests.factories.catalog import create_product
from tests.factories.inventory import (
    create_location,
    create_purchase_order,
    create_stocktake,
    create_supplier,
    create_transfer,
    stock,
)
from tests.factories.users import viewer_of


async def _location(world: World) -> StockLocation:
    found: StockLocation = await world.once("stock location", create_location)
    return found


async def _product(world: World) -> Product:
    found: Product = await world.once("stocked product", create_product)
    return found


async def _level(world: World) -> StockLevel:
    product, location = await _product(world), await _location(world)
    found: StockLevel = await world.once(
        "stock level", lambda: stock(product.variants[0], 20, product=product, location=location)
    )
    return found


async def _supplier(world: World) -> Supplier:
    found: Supplier = await world.once("supplier", create_supplier)
    return found


async def _purchase_order(world: World, status: PurchaseOrderStatus = PurchaseOrderStatus.DRAFT) -> PurchaseOrder:
    product, location = await _product(world), await _location(world)
    found: PurchaseOrder = await world.once(
        f"purchase order {status}",
        lambda: create_purchase_order(product.variants[0], product=product, location_id=location.id, status=status),
    )
    return found


async def _transfer(world: World, status: TransferStatus = TransferStatus.DRAFT) -> StockTransfer:
    level = await _level(world)

    async def make() -> StockTransfer:
        transfer = await create_transfer(level)
        if status is TransferStatus.IN_TRANSIT:
            await TransferService.ship_transfer(transfer.id, viewer=viewer_of(await world.person("manager")))
        return transfer

    found: StockTransfer = await world.once(f"transfer {status}", make)
    return found


async def _stocktake(world: World) -> Stocktake:
    location = await _location(world)
    found: Stocktake = await world.once("stocktake", lambda: create_stocktake(location.id))
    return found


async def _location_id(world: World, operation: Operation, variant: str) -> str:
    return str((await _location(world)).id)


async def _level_id(world: World, operation: Operation, variant: str) -> str:
    return str((await _level(world)).id)


async def _variant_id(world: World, operation: Operation, variant: str) -> str:
    return str((await _level(world)).variant_id)


async def _supplier_id(world: World, operation: Operation, variant: str) -> str:
    return str((await _supplier(world)).id)


async def _order_id(world: World, operation: Operation, variant: str) -> str:
    is_ordered = operation.id == "receive_purchase_order"
    return str((await _purchase_order(world, PurchaseOrderStatus.ORDERED if is_ordered else PurchaseOrderStatus.DRAFT)).id)


async def _transfer_id(world: World, operation: Operation, variant: str) -> str:
    has_left = operation.id in ("receive_transfer", "lose_transfer")
    return str((await _transfer(world, TransferStatus.IN_TRANSIT if has_left else TransferStatus.DRAFT)).id)


async def _stocktake_id(world: World, operation: Operation, variant: str) -> str:
    return str((await _stocktake(world)).id)


async def _at_place(world: World) -> dict[str, object]:
    level = await _level(world)
    return {
        "variant_id": str(level.variant_id),
        "location_id": str(level.location_id),
        "quantity": 2,
        "reason": "Found behind the shelf",
    }


async def _purchase(world: World) -> dict[str, object]:
    product, location, supplier = await _product(world), await _location(world), await _supplier(world)
    item = {
        "variant_id": str(product.variants[0].id),
        "quantity": 5,
        "unit_cost": {"amount": "1.00", "currency": "USD"},
    }
    return {"supplier_id": str(supplier.id), "location_id": str(location.id), "items": [item]}


async def _delivery(world: World) -> dict[str, object]:
    order = await _purchase_order(world, PurchaseOrderStatus.ORDERED)
    return {"key": "DN-1", "lines": [{"line_id": str(order.lines[0].id), "quantity": 4}]}


async def _move(world: World) -> dict[str, object]:
    level, target = await _level(world), await create_location()
    return {
        "from_location_id": str(level.location_id),
        "to_location_id": str(target.id),
        "items": [{"variant_id": str(level.variant_id), "quantity": 3}],
    }


async def _arrival(world: World) -> dict[str, object]:
    transfer = await _transfer(world, TransferStatus.IN_TRANSIT)
    return {"key": "DN-1", "lines": [{"line_id": str(transfer.lines[0].id), "quantity": 1}]}


async def _counting(world: World) -> dict[str, object]:
    return {"location_id": str((await _location(world)).id)}


async def _counts(world: World) -> dict[str, object]:
    return {"counts": [{"variant_id": str((await _level(world)).variant_id), "counted": 19}]}


async def _moment(world: World, variant: str) -> dict[str, str]:
    return {"moment": "2026-11-01T00:00:00Z"}


VALUES: dict[str, Provider] = {
    "location_id": _location_id,
    "level_id": _level_id,
    "variant_id": _variant_id,
    "supplier_id": _supplier_id,
    "order_id": _order_id,
    "transfer_id": _transfer_id,
    "stocktake_id": _stocktake_id,
}
QUERIES: dict[str, Query] = {"stock_as_of": _moment}
BODIES: dict[str, Body] = {
    "create_stock_location": fixed(code="BERLIN", name="Warehouse Berlin"),
    "update_stock_location": fixed(priority=3),
    "update_stock_level": fixed(low_stock_threshold=3),
    "create_stock_receipt": _at_place,
    "create_stock_adjustment": _at_place,
    "create_stock_write_off": _at_place,
    "create_supplier": fixed(code="ACME", name="Acme Ltd"),
    "update_supplier": fixed(lead_days=3),
    "create_purchase_order": _purchase,
    "update_purchase_order": fixed(notes="By Friday"),
    "receive_purchase_order": _delivery,
    "create_transfer": _move,
    "receive_transfer": _arrival,
    "lose_transfer": fixed(reason="Broken on the way"),
    "open_stocktake": _counting,
    "count_stock": _counts,
}
