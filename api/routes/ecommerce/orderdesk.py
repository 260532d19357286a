"""What staff does with orders: status, parcels, notes, holds, export."""

from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import StreamingResponse
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Allowed, Config, GatewaysOf, IfMatch, ObjectIdPath, OperationKey
from api.routing import make_router, outside_transaction, refuses
from api.schemas.orders import (
    AdminNotesUpdate,
    BulkStatusUpdate,
    FulfilmentCreate,
    HoldCreate,
    OrderStatusUpdate,
    TrackingUpdate,
)
from models.ecommerce.orders import StaffOrder
from services.ecommerce.orders.administration import (
    AnyCaseStatus,
    BulkStatusResult,
    OrderAdministrationService,
    OrderClosedError,
)
from services.ecommerce.orders.export import OrderExportService
from services.ecommerce.orders.fulfilment import (
    FulfilmentNotFoundError,
    FulfilmentService,
    FulfilmentTooLargeError,
    OrderHeldError,
    TrackingLockedError,
)
from services.ecommerce.orders.reading import OrderNotFoundError, OrderService
from services.ecommerce.orders.transitions import OrderTransitionError
from services.errors import PreconditionError
from services.users.permissions import Permission, Viewer

router = make_router("/orders", "Orders: staff")

Clerk = Annotated[Viewer, Allowed(Permission.MANAGE_ORDERS)]

_FOUND = refuses(OrderNotFoundError)
_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "One line per order, after a head"}
}


@router.get("/export", response_class=StreamingResponse, responses=_CSV)
async def export_orders(
    viewer: Clerk,
    status: Annotated[AnyCaseStatus | None, Query(description="Only orders of this status, in any case")] = None,
) -> StreamingResponse:
    """All orders as CSV, the oldest first, without anything personal."""
    headers = {"Content-Disposition": 'attachment; filename="orders.csv"'}
    return StreamingResponse(OrderExportService.export(viewer=viewer, status=status), media_type="text/csv", headers=headers)


@router.post("/bulk-status")
@outside_transaction
async def change_many_statuses(
    body: BulkStatusUpdate, viewer: Clerk, settings: Config, gateways: GatewaysOf, key: OperationKey
) -> BulkStatusResult:
    """Move many orders, each by itself: one that is refused has its reason in its row and does not keep the others."""
    return await OrderAdministrationService.change_statuses(body, viewer=viewer, gateways=gateways, settings=settings)


@router.get("/{order_id}/staff", response_model=StaffOrder, responses={**_FOUND, **NOT_MODIFIED})
async def get_staff_order(request: Request, order_id: ObjectIdPath, viewer: Clerk) -> Response:
    """An order with notes, hold and payment."""
    return answer(request, await OrderService.get_staff_order(order_id, viewer=viewer))


@router.put("/{order_id}/status", responses=refuses(OrderNotFoundError, OrderTransitionError, OrderHeldError))
async def change_order_status(
    order_id: ObjectIdPath, body: OrderStatusUpdate, viewer: Clerk, settings: Config, gateways: GatewaysOf
) -> StaffOrder:
    """Move an order by hand: to processing, shipped (everything that is left), delivered or cancelled.

    Payments confirm, returns and refunds end: those steps nobody takes by hand. Statuses may be written in any case.
    """
    return await OrderAdministrationService.change_status(order_id, body, viewer=viewer, gateways=gateways, settings=settings)


@router.post(
    "/{order_id}/fulfilments",
    status_code=201,
    responses=refuses(OrderNotFoundError, OrderTransitionError, OrderHeldError, FulfilmentTooLargeError),
)
async def create_fulfilment(order_id: ObjectIdPath, body: FulfilmentCreate, viewer: Clerk) -> StaffOrder:
    """Send a parcel, of everything that is left or of a part. With the last piece the order is shipped."""
    return await FulfilmentService.create_fulfilment(order_id, body, viewer=viewer)


@router.patch(
    "/{order_id}/fulfilments/{fulfilment_id}",
    response_model=StaffOrder,
    responses=refuses(OrderNotFoundError, FulfilmentNotFoundError, TrackingLockedError, PreconditionError),
)
async def update_tracking(
    request: Request, order_id: ObjectIdPath, fulfilment_id: ObjectIdPath, body: TrackingUpdate, viewer: Clerk, revision: IfMatch
) -> Response:
    """Correct the label of a parcel while the order is on its way."""
    return answer(
        request, await FulfilmentService.update_tracking(order_id, fulfilment_id, body, viewer=viewer, revision=revision)
    )


@router.post(
    "/{order_id}/fulfilments/{fulfilment_id}/deliver",
    responses=refuses(OrderNotFoundError, FulfilmentNotFoundError),
)
async def deliver_fulfilment(order_id: ObjectIdPath, fulfilment_id: ObjectIdPath, viewer: Clerk) -> StaffOrder:
    """A parcel has arrived. With the last one of a shipped order the order is delivered."""
    return await FulfilmentService.deliver_fulfilment(order_id, fulfilment_id, viewer=viewer)


@router.put("/{order_id}/notes", response_model=StaffOrder, responses=refuses(OrderNotFoundError, PreconditionError))
async def update_order_notes(
    request: Request, order_id: ObjectIdPath, body: AdminNotesUpdate, viewer: Clerk, revision: IfMatch
) -> Response:
    """Note something about an order that customers do not see."""
    return answer(request, await OrderAdministrationService.update_notes(order_id, body.notes, viewer=viewer, revision=revision))


@router.post("/{order_id}/hold", responses=refuses(OrderNotFoundError, OrderClosedError))
async def hold_order(order_id: ObjectIdPath, body: HoldCreate, viewer: Clerk) -> StaffOrder:
    """Keep an order from leaving the house."""
    return await OrderAdministrationService.hold(order_id, body.reason, viewer=viewer)


@router.post("/{order_id}/release", responses=_FOUND)
async def release_order(order_id: ObjectIdPath, viewer: Clerk) -> StaffOrder:
    """Let a held order go on. A payment that waits for its review is not decided by this."""
    return await OrderAdministrationService.release(order_id, viewer=viewer)
