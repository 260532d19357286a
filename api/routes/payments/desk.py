"""Payments: what staff see and do, and what gateways tell. Paying an order is a route of orders."""

from typing import Annotated

from fastapi import Path, Query, Request, Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import (
    Allowed,
    Config,
    Cursor,
    Cursors,
    GatewaysOf,
    Limit,
    ListenerOf,
    ObjectIdPath,
    OperationKey,
)
from api.routing import make_router, outside_transaction, refuses
from api.schemas.base import Moment
from api.schemas.payments import CaptureCreate, RefundCreate
from models.payments import PaymentDetail, PaymentRead, PaymentState, RefundRead
from services.heavy import OverloadedError
from services.pagination import CursorPage, InvalidCursorError
from services.payments.desk import PaymentDeskService
from services.payments.gateways import UnknownGatewayError
from services.payments.operations import CaptureTooLargeError, GatewayRefusedError, InvalidAmountError, PaymentStateError
from services.payments.port import GatewayUnavailableError, InvalidWebhookError
from services.payments.reconciliation import InvalidSpanError, ReconciliationReport, ReconciliationService
from services.payments.refunds import RefundKeyReusedError, RefundTooLargeError
from services.payments.settlement import PaymentNotFoundError
from services.payments.webhooks import GatewayNotFoundError, GatewayWebhookService
from services.users.permissions import Permission, Viewer

router = make_router("/payments", "Payments")

Cashier = Annotated[Viewer, Allowed(Permission.MANAGE_PAYMENTS)]


@router.get("", responses=refuses(InvalidCursorError))
async def list_payments(
    viewer: Cashier,
    cursors: Cursors,
    state: Annotated[PaymentState | None, Query(description="Only payments in this state")] = None,
    subject: Annotated[str | None, Query(max_length=100, description="Only payments for this, such as `order:<id>`")] = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> CursorPage[PaymentRead]:
    """Payments, the newest first."""
    return await PaymentDeskService.list_payments(
        viewer=viewer, cursors=cursors, state=state, subject=subject, cursor=cursor, limit=limit
    )


@router.get(
    "/reconciliation",
    responses=refuses(UnknownGatewayError, InvalidSpanError, GatewayUnavailableError, OverloadedError),
)
async def reconcile_payments(
    viewer: Cashier,
    gateways: GatewaysOf,
    gateway: Annotated[str, Query(max_length=40, description="The gateway's name", examples=["sandbox"])],
    since: Annotated[Moment, Query(description="From this time on", examples=["2026-11-20T00:00:00Z"])],
    until: Annotated[
        Moment, Query(description="Up to, and without, this time; at most 31 days later", examples=["2026-11-21T00:00:00Z"])
    ],
) -> ReconciliationReport:
    """A gateway's own books against ours: what is missing on one side, and what differs in amount or state."""
    return await ReconciliationService.compare(gateway, viewer=viewer, since=since, until=until, gateways=gateways)


@router.get("/{payment_id}", response_model=PaymentDetail, responses={**refuses(PaymentNotFoundError), **NOT_MODIFIED})
async def get_payment(request: Request, payment_id: ObjectIdPath, viewer: Cashier) -> Response:
    """One payment with every exchange about it and its refunds."""
    return answer(request, await PaymentDeskService.get_payment(payment_id, viewer=viewer))


@router.post(
    "/{payment_id}/capture",
    responses=refuses(
        PaymentNotFoundError,
        PaymentStateError,
        CaptureTooLargeError,
        InvalidAmountError,
        GatewayRefusedError,
        UnknownGatewayError,
    ),
)
@outside_transaction
async def capture_payment(
    payment_id: ObjectIdPath,
    body: CaptureCreate,
    viewer: Cashier,
    gateways: GatewaysOf,
    listener: ListenerOf,
    settings: Config,
    key: OperationKey,
) -> PaymentRead:
    """Take what was authorised, or a part of it. Still `authorised` with `operation` set: the outcome is being asked about."""
    return await PaymentDeskService.capture_payment(
        payment_id,
        viewer=viewer,
        amount=body.amount.money if body.amount else None,
        key=key,
        gateways=gateways,
        listener=listener,
        settings=settings,
    )


@router.post(
    "/{payment_id}/void",
    responses=refuses(PaymentNotFoundError, PaymentStateError, GatewayRefusedError, UnknownGatewayError),
)
@outside_transaction
async def void_payment(
    payment_id: ObjectIdPath,
    viewer: Cashier,
    gateways: GatewaysOf,
    listener: ListenerOf,
    settings: Config,
    key: OperationKey,
) -> PaymentRead:
    """Let go what was authorised, or give up a payment that was not sent to its gateway yet."""
    return await PaymentDeskService.void_payment(
        payment_id, viewer=viewer, key=key, gateways=gateways, listener=listener, settings=settings
    )


@router.post(
    "/{payment_id}/refunds",
    status_code=201,
    responses=refuses(
        PaymentNotFoundError,
        PaymentStateError,
        RefundTooLargeError,
        InvalidAmountError,
        RefundKeyReusedError,
        UnknownGatewayError,
    ),
)
@outside_transaction
async def refund_payment(
    payment_id: ObjectIdPath,
    body: RefundCreate,
    viewer: Cashier,
    gateways: GatewaysOf,
    listener: ListenerOf,
    settings: Config,
    key: OperationKey,
) -> RefundRead:
    """Give money back. A refund that the gateway refuses is kept as `failed`; `pending` is being asked about."""
    return await PaymentDeskService.refund_payment(
        payment_id,
        viewer=viewer,
        amount=body.amount.money,
        reason=body.reason,
        key=key,
        gateways=gateways,
        listener=listener,
        settings=settings,
    )


@router.get("/{payment_id}/refunds", responses=refuses(PaymentNotFoundError))
async def list_payment_refunds(payment_id: ObjectIdPath, viewer: Cashier) -> list[RefundRead]:
    """The refunds of a payment, the oldest first."""
    return await PaymentDeskService.list_refunds(payment_id, viewer=viewer)


@router.post("/webhooks/{gateway}", status_code=204, responses=refuses(GatewayNotFoundError, InvalidWebhookError))
async def receive_gateway_webhook(
    gateway: Annotated[str, Path(max_length=40, description="The gateway's name", examples=["stripe"])],
    request: Request,
    gateways: GatewaysOf,
    listener: ListenerOf,
) -> Response:
    """For gateways alone: what became of a payment or a refund, signed. Sent twice it counts once."""
    await GatewayWebhookService.receive(
        gateway, headers=request.headers, body=await request.body(), gateways=gateways, listener=listener
    )
    return Response(status_code=204)
