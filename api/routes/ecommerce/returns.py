"""Returns: asking for one, and what staff does with it."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Allowed, Config, Cursor, Cursors, GatewaysOf, Limit, ListenerOf, ObjectIdPath, SignedIn
from api.orders import OrderAccessOf
from api.routing import make_router, outside_transaction, refuses
from api.schemas.returns import ReturnCreate, ReturnDecision, ReturnReceipt, ReturnRefund
from models.ecommerce.returns import ReturnRead, ReturnStatus, StaffReturn
from services.ecommerce.orders.reading import OrderNotFoundError
from services.ecommerce.returns.desk import ReturnDeskService
from services.ecommerce.returns.moves import (
    NothingToRefundError,
    NotReturnableError,
    ReturnNotFoundError,
    ReturnTooLargeError,
    ReturnTransitionError,
)
from services.ecommerce.returns.refunds import ReturnRefundService
from services.ecommerce.returns.requests import ReturnService
from services.pagination import CursorPage, InvalidCursorError
from services.payments.refunds import RefundTooLargeError
from services.users.permissions import Permission, Viewer

router = make_router("", "Shop: returns")

Keeper = Annotated[Viewer, Allowed(Permission.MANAGE_ORDERS)]
Cashier = Annotated[Viewer, Allowed(Permission.MANAGE_PAYMENTS)]

_STEP = refuses(ReturnNotFoundError, ReturnTransitionError)


@router.post(
    "/orders/{order_id}/returns",
    status_code=201,
    responses=refuses(OrderNotFoundError, NotReturnableError, ReturnTooLargeError),
)
async def request_return(order_id: ObjectIdPath, body: ReturnCreate, access: OrderAccessOf, settings: Config) -> ReturnRead:
    """Ask to send pieces of a delivered order back. Staff decides about it."""
    return await ReturnService.request(order_id, body.as_parts(), access=access, settings=settings, notes=body.notes)


@router.get("/orders/{order_id}/returns", responses=refuses(OrderNotFoundError))
async def list_order_returns(order_id: ObjectIdPath, access: OrderAccessOf) -> list[ReturnRead]:
    """The returns of an order, oldest first."""
    return await ReturnService.list_of_order(order_id, access=access)


@router.get("/returns/mine", responses=refuses(InvalidCursorError))
async def list_own_returns(
    viewer: SignedIn, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20
) -> CursorPage[ReturnRead]:
    """One's own returns, newest first."""
    return await ReturnService.list_own_returns(viewer=viewer, cursors=cursors, cursor=cursor, limit=limit)


@router.get("/returns", responses=refuses(InvalidCursorError))
async def list_return_queue(
    viewer: Keeper,
    cursors: Cursors,
    status: Annotated[ReturnStatus, Query(description="Which returns")] = ReturnStatus.REQUESTED,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> CursorPage[StaffReturn]:
    """Everybody's returns of a status, oldest first."""
    return await ReturnDeskService.list_queue(status=status, viewer=viewer, cursors=cursors, cursor=cursor, limit=limit)


@router.get("/returns/{return_id}", response_model=ReturnRead, responses={**refuses(ReturnNotFoundError), **NOT_MODIFIED})
async def get_return(request: Request, return_id: ObjectIdPath, access: OrderAccessOf) -> Response:
    """One return, for whoever may see its order."""
    return answer(request, await ReturnService.get_return(return_id, access=access))


@router.post("/returns/{return_id}/cancel", responses=_STEP)
async def cancel_return(return_id: ObjectIdPath, access: OrderAccessOf) -> ReturnRead:
    """Keep the pieces after all. Safe to repeat."""
    return await ReturnService.cancel(return_id, access=access)


@router.post("/returns/{return_id}/approve", responses=_STEP)
async def approve_return(return_id: ObjectIdPath, body: ReturnDecision, viewer: Keeper) -> StaffReturn:
    """Let the customer send the pieces. Safe to repeat."""
    return await ReturnDeskService.approve(return_id, viewer=viewer, staff_notes=body.staff_notes)


@router.post("/returns/{return_id}/reject", responses=_STEP)
async def reject_return(return_id: ObjectIdPath, body: ReturnDecision, viewer: Keeper) -> StaffReturn:
    """Refuse a return; its pieces may be asked for again. Safe to repeat."""
    return await ReturnDeskService.reject(return_id, viewer=viewer, staff_notes=body.staff_notes)


@router.post(
    "/returns/{return_id}/receive",
    responses=refuses(ReturnNotFoundError, ReturnTransitionError, NotReturnableError, ReturnTooLargeError),
)
async def receive_return(return_id: ObjectIdPath, body: ReturnReceipt, viewer: Keeper) -> StaffReturn:
    """Take in what arrived: back on the shelf, or written off."""
    return await ReturnDeskService.receive(return_id, body.as_parts(), viewer=viewer, staff_notes=body.staff_notes)


@router.post(
    "/returns/{return_id}/refund",
    responses=refuses(ReturnNotFoundError, ReturnTransitionError, NothingToRefundError, RefundTooLargeError),
)
@outside_transaction
async def refund_return(
    return_id: ObjectIdPath,
    body: ReturnRefund,
    viewer: Cashier,
    gateways: GatewaysOf,
    listener: ListenerOf,
    settings: Config,
) -> StaffReturn:
    """Pay back what the received pieces were paid with, or less. While it is still `received`, the money is on its way."""
    return await ReturnRefundService.refund(
        return_id,
        viewer=viewer,
        gateways=gateways,
        listener=listener,
        settings=settings,
        amount=body.amount.money if body.amount else None,
    )
