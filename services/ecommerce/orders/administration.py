"""What staff does with orders: moves them, one or many, holds and releases them, and keeps notes."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

from beanie import PydanticObjectId
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from models.base import now as present
from models.base import to_milliseconds
from models.database import Session, run_transaction
from models.ecommerce.orders import Order, OrderStatus, StaffOrder
from models.events import EventType
from services.audit import AuditService
from services.ecommerce.orders.cancellation import CancellationService
from services.ecommerce.orders.effects import order_owner
from services.ecommerce.orders.fulfilment import Carrier, FulfilmentDraft, TrackingNumber, deliver_order, send_parcel
from services.ecommerce.orders.jobs import is_ready
from services.ecommerce.orders.reading import OrderAccess, OrderService, read_order, to_staff_order
from services.ecommerce.orders.settlement import OrderSettlement
from services.ecommerce.orders.transitions import (
    Mover,
    OrderTransitionError,
    change_order,
    check_step,
    move_order,
    record_order_event,
)
from services.errors import AppError, InvalidStateError, require_revision
from services.payments.gateways import Gateways
from services.settings import Settings
from services.users.permissions import Permission, Viewer

MAX_BULK = 100

Reason = Annotated[str, StringConstraints(max_length=500)]
AdminNotes = Annotated[str, StringConstraints(max_length=5000)]
HoldReason = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
# The sources write statuses in upper and in lower case.
AnyCaseStatus = Annotated[OrderStatus, BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)]


class StatusDraft(BaseModel):
    """Where an order shall go. Carrier and tracking number belong to `shipped`, which sends everything that is left."""

    status: AnyCaseStatus = Field(examples=["PROCESSING"])
    reason: Reason = ""
    carrier: Carrier | None = None
    tracking_number: TrackingNumber | None = None


class BulkStatusDraft(StatusDraft):
    """Where many orders shall go, each by itself."""

    order_ids: list[PydanticObjectId] = Field(min_length=1, max_length=MAX_BULK)


class BulkStatusRow(BaseModel):
    """What became of one of them."""

    model_config = ConfigDict(frozen=True)

    order_id: PydanticObjectId
    is_moved: bool
    status: OrderStatus | None = Field(description="As it is now; null when there is no such order")
    code: str | None = Field(description="Why it was not moved", examples=["order_transition"])
    detail: str | None


class BulkStatusResult(BaseModel):
    """One row per order, in the order asked for."""

    model_config = ConfigDict(frozen=True)

    rows: list[BulkStatusRow]
    moved_count: int


class OrderClosedError(InvalidStateError):
    """The order has left or is over: there is nothing to hold back any more."""

    code = "order_closed"

    def __init__(self, status: OrderStatus) -> None:
        super().__init__(f"An order that is {status.value} cannot be held.")
        self.status = status


class OrderAdministrationService:
    @staticmethod
    async def change_status(
        order_id: PydanticObjectId,
        draft: StatusDraft,
        *,
        viewer: Viewer,
        gateways: Gateways,
        settings: Settings,
        now: datetime | None = None,
    ) -> StaffOrder:
        """Move an order by hand. Payments confirm, returns and refunds end: those steps are nobody's to take.

        Raises PermissionDeniedError, OrderNotFoundError, OrderTransitionError, OrderHeldError.
        """
        viewer.require(Permission.MANAGE_ORDERS)
        now = to_milliseconds(now or present())
        if draft.status is OrderStatus.CANCELLED:
            await CancellationService.cancel_order(
                order_id,
                access=OrderAccess(viewer),
                gateways=gateways,
                listener=OrderSettlement(settings),
                settings=settings,
                reason=draft.reason,
                now=now,
            )
            return await OrderService.get_staff_order(order_id, viewer=viewer)

        async def work(session: Session) -> Order:
            order = await read_order(order_id, access=OrderAccess(viewer), session=session)
            return await _step(order, draft, by=Mover.staff(viewer), session=session, now=now)

        return to_staff_order((await run_transaction(work, hot=[order_id])).row())

    @staticmethod
    async def change_statuses(
        draft: BulkStatusDraft,
        *,
        viewer: Viewer,
        gateways: Gateways,
        settings: Settings,
        now: datetime | None = None,
    ) -> BulkStatusResult:
        """As `change_status` for each order in a transaction of its own: one that is refused does not keep the others.

        One that is where it shall go already counts as moved, so that a repeated request answers alike. Raises
        PermissionDeniedError.
        """
        viewer.require(Permission.MANAGE_ORDERS)
        rows = []
        for order_id in dict.fromkeys(draft.order_ids):
            step = StatusDraft(**draft.model_dump(exclude={"order_ids"}))
            try:
                order = await OrderAdministrationService.change_status(
                    order_id, step, viewer=viewer, gateways=gateways, settings=settings, now=now
                )
                rows.append(BulkStatusRow(order_id=order_id, is_moved=True, status=order.status, code=None, detail=None))
            except AppError as error:
                rows.append(await _refused_row(order_id, draft.status, error))
        return BulkStatusResult(rows=rows, moved_count=sum(row.is_moved for row in rows))

    @staticmethod
    async def update_notes(order_id: PydanticObjectId, notes: str, *, viewer: Viewer, revision: int | None = None) -> StaffOrder:
        """Replace what staff notes about an order; customers never see it. That it was done is noted in the audit log.

        Raises PermissionDeniedError, OrderNotFoundError, and PreconditionError unless `revision` is the order's present one.
        """
        viewer.require(Permission.MANAGE_ORDERS)

        async def change(order: Order, session: Session) -> Order:
            require_revision(revision, order.revision)
            subject = order_owner(order_id)
            await AuditService.record(session, "order.notes_changed", subject=subject, actor_id=viewer.user_id)
            return await change_order(order, {"admin_notes": notes}, session=session)

        return await _change(order_id, change, viewer=viewer)

    @staticmethod
    async def hold(order_id: PydanticObjectId, reason: str, *, viewer: Viewer) -> StaffOrder:
        """Keep an order from leaving the house; noted in the audit log.

        Raises PermissionDeniedError, OrderNotFoundError, OrderClosedError.
        """
        viewer.require(Permission.MANAGE_ORDERS)

        async def change(order: Order, session: Session) -> Order:
            if order.status not in (OrderStatus.PENDING, OrderStatus.CONFIRMED, OrderStatus.PROCESSING):
                raise OrderClosedError(order.status)
            details = {"reason": reason}
            await AuditService.record(
                session, "order.held", subject=order_owner(order_id), actor_id=viewer.user_id, details=details
            )
            return await change_order(order, {"is_held": True, "hold_reason": reason}, session=session)

        return await _change(order_id, change, viewer=viewer)

    @staticmethod
    async def release(order_id: PydanticObjectId, *, viewer: Viewer) -> StaffOrder:
        """Let an order go on; noted in the audit log. One that is not held stays as it is.

        A payment that waits for its review is not decided by this. Raises PermissionDeniedError, OrderNotFoundError.
        """
        viewer.require(Permission.MANAGE_ORDERS)

        async def change(order: Order, session: Session) -> Order:
            if not order.is_held:
                return order
            details = {"reason": order.hold_reason}
            await AuditService.record(
                session, "order.released", subject=order_owner(order_id), actor_id=viewer.user_id, details=details
            )
            return await change_order(order, {"is_held": False, "hold_reason": ""}, session=session)

        return await _change(order_id, change, viewer=viewer)


async def _change(
    order_id: PydanticObjectId, change: Callable[[Order, Session], Awaitable[Order]], *, viewer: Viewer
) -> StaffOrder:
    async def work(session: Session) -> Order:
        order = await read_order(order_id, access=OrderAccess(viewer), session=session)
        changed = await change(order, session)
        if changed.revision != order.revision:
            await record_order_event(EventType.ORDER_UPDATED, changed, by=Mover.staff(viewer), session=session)
        return changed

    return to_staff_order((await run_transaction(work, hot=[order_id])).row())


async def _step(order: Order, draft: StatusDraft, *, by: Mover, session: Session, now: datetime) -> Order:
    check_step(order.status, draft.status, by=by)
    if draft.status is OrderStatus.SHIPPED:
        parcel = FulfilmentDraft(carrier=draft.carrier, tracking_number=draft.tracking_number)
        return await send_parcel(order, parcel, by=by, session=session, now=now, reason=draft.reason)
    if draft.status is OrderStatus.DELIVERED:
        return await deliver_order(order, by=by, session=session, now=now, reason=draft.reason)
    if draft.status is OrderStatus.PROCESSING and not is_ready(order):
        raise OrderTransitionError(order.status, draft.status, "This order is not paid, and nobody promised to pay it later.")
    return await move_order(order, draft.status, by=by, session=session, now=now, reason=draft.reason)


async def _refused_row(order_id: PydanticObjectId, wanted: OrderStatus, error: AppError) -> BulkStatusRow:
    row = await Order.find_row({"_id": order_id}, {"status": 1})
    status = None if row is None else OrderStatus(row["status"])
    if status is wanted:
        return BulkStatusRow(order_id=order_id, is_moved=True, status=status, code=None, detail=None)
    return BulkStatusRow(order_id=order_id, is_moved=False, status=status, code=error.code, detail=error.detail)
