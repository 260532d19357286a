"""Every read of stock is served by a declared index, as it is really sent."""

from datetime import timedelta

from models.base import now
from models.database import Database, Session, run_transaction
from models.inventory.moving import StocktakeStatus, TransferStatus
from models.inventory.purchasing import PurchaseOrderStatus
from models.inventory.stock import MovementKind
from models.users import Role
from services.inventory.checks import stock_drift
from services.inventory.history import HistoryService
from services.inventory.levels import LevelService
from services.inventory.locations import LocationService
from services.inventory.purchasing import PurchaseOrderService
from services.inventory.reservations import ReservationService
from services.inventory.stock import StockService
from services.inventory.stocktakes import Counted, StocktakeService
from services.inventory.suppliers import SupplierService
from services.inventory.transfers import TransferService
from services.pagination import CursorCodec, PageRequest
from tests.commands import CommandLog, Read
from tests.factories.catalog import create_product
from tests.factories.inventory import (
    KnownItems,
    create_purchase_order,
    create_stocktake,
    create_transfer,
    stock,
    wanted,
)
from tests.factories.users import create_user, viewer_of
from tests.shapes import narrowing_index, serving_index

CURSORS = CursorCodec(b"0" * 32)
PAGE = PageRequest()


def index_of(read: Read) -> str:
    """What serves the read, or what narrows it to the few rows that are then sorted or looked at."""
    if read.collection == "stock_movements" and "variant_id" in read.filter:
        # Of a variant's movements those at a place or until a moment: the rest of the filter is a second stage.
        read = Read(read.collection, {"variant_id": read.filter["variant_id"]}, read.sort)
    return serving_index(read) or f"narrowed by {narrowing_index(read)}"


async def test_every_read_of_stock_is_served(database: Database, commands: CommandLog) -> None:
    viewer = viewer_of(await create_user(role=Role.MANAGER))
    product = await create_product()
    variant = product.variants[0]
    level = await stock(variant, 30, product=product, reorder_point=50)
    order = await create_purchase_order(variant, product=product, location_id=level.location_id)
    transfer = await create_transfer(level)
    stocktake = await create_stocktake(level.location_id)
    catalog = KnownItems(level)

    async def live(session: Session) -> None:
        lines = [wanted(level, 2)]
        await ReservationService.reserve("order:1", lines, expires_at=now(), session=session)
        await ReservationService.commit("order:1", session=session)
        await ReservationService.restock("order:1", {variant.id: 1}, kind=MovementKind.RETURN, key="1", session=session)
        await ReservationService.reserve("order:2", lines, expires_at=now() - timedelta(days=1), session=session)

    with commands.counting() as sent:
        await run_transaction(live)
        await ReservationService.expire_due(owner_kind="order")
        await ReservationService.expire_due()
        await StockService.available([variant.id])
        for named in (
            {"variant_id": variant.id},
            {"product_id": product.id},
            {"location_id": level.location_id},
            {"is_low": True},
            {},
        ):
            await LevelService.list_levels(viewer=viewer, page=PAGE, **named)
        await LevelService.get_variant_stock(variant.id, viewer=viewer)
        await LevelService.list_reorder_suggestions(viewer=viewer, cursors=CURSORS)
        for ledger in ({"variant_id": variant.id}, {"location_id": level.location_id}, {"reference": "order:1"}, {}):
            first = await HistoryService.list_movements(viewer=viewer, cursors=CURSORS, limit=1, **ledger)
            await HistoryService.list_movements(viewer=viewer, cursors=CURSORS, cursor=first.next_cursor, **ledger)
        await HistoryService.explain_level(level.id, viewer=viewer)
        await HistoryService.stock_as_of(now(), viewer=viewer, cursors=CURSORS)
        await SupplierService.list_suppliers(viewer=viewer, page=PAGE)
        await LocationService.list_locations(viewer=viewer)
        for query in ({}, {"status": PurchaseOrderStatus.DRAFT}, {"supplier_id": order.supplier_id}):
            await PurchaseOrderService.list_purchase_orders(viewer=viewer, page=PAGE, **query)
        await TransferService.list_transfers(viewer=viewer, page=PAGE)
        await TransferService.list_transfers(viewer=viewer, page=PAGE, status=TransferStatus.DRAFT)
        await TransferService.ship_transfer(transfer.id, viewer=viewer)
        await StocktakeService.list_stocktakes(viewer=viewer, page=PAGE, status=StocktakeStatus.OPEN)
        found = [Counted(variant_id=variant.id, counted=3)]
        await StocktakeService.count(stocktake.id, found, viewer=viewer, catalog=catalog)
        await StocktakeService.list_counts(stocktake.id, viewer=viewer, page=PAGE)
        await StocktakeService.approve_stocktake(stocktake.id, viewer=viewer)
        assert [row async for row in stock_drift()] == []

    served = {(read.collection, index_of(read)) for read in sent.reads if read.filter or read.sort}
    assert served == {
        ("stock_levels", "_id_"),
        ("stock_levels", "variant_location_unique"),
        # A product or variant lies at few locations: they are put in order in memory.
        ("stock_levels", "narrowed by variant_location_unique"),
        ("stock_levels", "narrowed by product"),
        ("stock_levels", "location"),
        ("stock_levels", "low"),
        # A page of the levels that have a reorder point, which is all that the index holds.
        ("stock_levels", "narrowed by reorder_point"),
        ("stock_movements", "_id_"),
        ("stock_movements", "variant_newest"),
        ("stock_movements", "location_newest"),
        ("stock_movements", "reference_newest"),
        ("reservations", "owner_unique"),
        ("reservations", "status_kind_expires"),
        ("reservations", "variant_status"),
        ("stock_locations", "_id_"),
        ("suppliers", "code_unique"),
        ("purchase_orders", "_id_"),
        ("purchase_orders", "status_newest"),
        ("purchase_orders", "supplier_newest"),
        ("purchase_orders", "variant_status"),
        ("stock_transfers", "_id_"),
        ("stock_transfers", "status_newest"),
        ("stock_transfers", "variant_status"),
        ("stocktakes", "_id_"),
        ("stocktakes", "status_newest"),
        ("stocktake_counts", "stocktake_variant_unique"),
    }
