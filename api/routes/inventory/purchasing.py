"""Suppliers and purchase orders."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import ObjectIdPath, Paging, RequiredIfMatch
from api.routes.inventory.keepers import StockKeeper
from api.routing import make_router, refuses
from api.schemas.base import Id
from api.schemas.inventory import (
    DeliveryCreate,
    PurchaseOrderCreate,
    PurchaseOrderUpdate,
    SupplierCreate,
    SupplierUpdate,
)
from models.inventory.purchasing import PurchaseOrderRead, PurchaseOrderStatus, SupplierRead
from services.ecommerce.stock_items import StockItemService
from services.errors import PreconditionError, PreconditionRequiredError
from services.inventory.books import StockLimitError
from services.inventory.items import ItemNotFoundError
from services.inventory.locations import LocationNotFoundError
from services.inventory.purchasing import (
    ExcessReceiptError,
    PurchaseOrderNotFoundError,
    PurchaseOrderService,
    PurchaseOrderStateError,
    UnitCostTooHighError,
)
from services.inventory.receipts import ReceiptKeyReusedError, UnknownLineError
from services.inventory.stock import CostCurrencyError
from services.inventory.suppliers import SupplierNotFoundError, SupplierService, SupplierTakenError
from services.pagination import Page

router = make_router("/inventory", "Inventory: purchasing")

ITEM_ERRORS = (ItemNotFoundError, CostCurrencyError, UnitCostTooHighError)


@router.get("/suppliers")
async def list_suppliers(viewer: StockKeeper, page: Paging) -> Page[SupplierRead]:
    """Suppliers in the order of their codes."""
    return await SupplierService.list_suppliers(viewer=viewer, page=page)


@router.post("/suppliers", status_code=201, responses=refuses(SupplierTakenError))
async def create_supplier(body: SupplierCreate, viewer: StockKeeper) -> SupplierRead:
    """Note whom stock can be bought from."""
    return await SupplierService.create_supplier(body, viewer=viewer)


@router.get("/suppliers/{supplier_id}", response_model=SupplierRead, responses={**refuses(SupplierNotFoundError), **NOT_MODIFIED})
async def get_supplier(request: Request, supplier_id: ObjectIdPath, viewer: StockKeeper) -> Response:
    """A supplier: whom to write to, and how many days a delivery takes."""
    return answer(request, await SupplierService.get_supplier(supplier_id, viewer=viewer))


@router.patch(
    "/suppliers/{supplier_id}",
    response_model=SupplierRead,
    responses=refuses(SupplierNotFoundError, PreconditionError, PreconditionRequiredError),
)
async def update_supplier(
    request: Request, supplier_id: ObjectIdPath, body: SupplierUpdate, viewer: StockKeeper, revision: RequiredIfMatch
) -> Response:
    """Change a supplier; `If-Match` names its `revision`."""
    return answer(request, await SupplierService.update_supplier(supplier_id, body, viewer=viewer, revision=revision))


@router.get("/purchase-orders")
async def list_purchase_orders(
    viewer: StockKeeper,
    page: Paging,
    status: Annotated[PurchaseOrderStatus | None, Query(description="Of this status alone")] = None,
    supplier_id: Annotated[Id | None, Query(description="From this supplier alone")] = None,
) -> Page[PurchaseOrderRead]:
    """Purchase orders, newest first."""
    return await PurchaseOrderService.list_purchase_orders(viewer=viewer, page=page, status=status, supplier_id=supplier_id)


@router.post("/purchase-orders", status_code=201, responses=refuses(SupplierNotFoundError, LocationNotFoundError, *ITEM_ERRORS))
async def create_purchase_order(body: PurchaseOrderCreate, viewer: StockKeeper) -> PurchaseOrderRead:
    """Draw up a purchase order."""
    return await PurchaseOrderService.create_purchase_order(body, viewer=viewer, catalog=StockItemService)


@router.get(
    "/purchase-orders/{order_id}",
    response_model=PurchaseOrderRead,
    responses={**refuses(PurchaseOrderNotFoundError), **NOT_MODIFIED},
)
async def get_purchase_order(request: Request, order_id: ObjectIdPath, viewer: StockKeeper) -> Response:
    """A purchase order with what was ordered and what came of each line."""
    return answer(request, await PurchaseOrderService.get_purchase_order(order_id, viewer=viewer))


@router.patch(
    "/purchase-orders/{order_id}",
    response_model=PurchaseOrderRead,
    responses=refuses(
        PurchaseOrderNotFoundError,
        PurchaseOrderStateError,
        PreconditionError,
        PreconditionRequiredError,
        *ITEM_ERRORS,
    ),
)
async def update_purchase_order(
    request: Request, order_id: ObjectIdPath, body: PurchaseOrderUpdate, viewer: StockKeeper, revision: RequiredIfMatch
) -> Response:
    """Change a draft; `If-Match` names its `revision`."""
    return answer(
        request,
        await PurchaseOrderService.update_purchase_order(
            order_id, body, viewer=viewer, catalog=StockItemService, revision=revision
        ),
    )


@router.post("/purchase-orders/{order_id}/place", responses=refuses(PurchaseOrderNotFoundError, PurchaseOrderStateError))
async def place_purchase_order(order_id: ObjectIdPath, viewer: StockKeeper) -> PurchaseOrderRead:
    """Order what the draft says."""
    return await PurchaseOrderService.place_purchase_order(order_id, viewer=viewer)


@router.post("/purchase-orders/{order_id}/cancel", responses=refuses(PurchaseOrderNotFoundError, PurchaseOrderStateError))
async def cancel_purchase_order(order_id: ObjectIdPath, viewer: StockKeeper) -> PurchaseOrderRead:
    """Expect nothing more of it; what came stays in stock."""
    return await PurchaseOrderService.cancel_purchase_order(order_id, viewer=viewer)


@router.post(
    "/purchase-orders/{order_id}/receipts",
    responses=refuses(
        PurchaseOrderNotFoundError,
        PurchaseOrderStateError,
        UnknownLineError,
        ExcessReceiptError,
        ReceiptKeyReusedError,
        StockLimitError,
    ),
)
async def receive_purchase_order(order_id: ObjectIdPath, body: DeliveryCreate, viewer: StockKeeper) -> PurchaseOrderRead:
    """Put a delivery into stock; reported again under its key it changes nothing."""
    return await PurchaseOrderService.receive_purchase_order(order_id, body, viewer=viewer)
