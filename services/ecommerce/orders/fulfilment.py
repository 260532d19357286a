"""Parcels: what leaves the house, piece by piece, and when it arrives."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints

from models.base import now as present
from models.base import to_milliseconds
from models.database import Session, run_transaction
from models.ecommerce.orders import Fulfilment, FulfilmentLine, Order, OrderStatus, StaffOrder
from models.events import EventType
from services.audit import AuditService
from services.ecommerce.orders.effects import order_owner
from services.ecommerce.orders.reading import OrderAccess, read_order, to_staff_order
from services.ecommerce.orders.transitions import (
    Mover,
    OrderTransitionError,
    change_order,
    check_step,
    move_order,
    record_order_event,
)
from services.errors import InvalidStateError, NotFoundError, RuleViolatedError, require_revision
from services.users.permissions import Permission, Viewer

MAX_PARCELS = 100

Carrier = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
TrackingNumber = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]


class FulfilmentPart(BaseModel):
    """So many pieces of one line."""

    line_id: PydanticObjectId
    quantity: int = Field(ge=1, le=1_000_000)


class FulfilmentDraft(BaseModel):
    """A parcel to be."""

    lines: Sequence[FulfilmentPart] = Field(
        default=[], max_length=100, description="Everything that has not left yet, if left out"
    )
    carrier: Carrier | None = Field(default=None, examples=["DHL"])
    tracking_number: TrackingNumber | None = Field(default=None, examples=["JD014600003828"])


class TrackingChanges(BaseModel):
    """What is to change of a parcel's label. What is left out stays, null empties."""

    carrier: Carrier | None = None
    tracking_number: TrackingNumber | None = None


class OrderHeldError(InvalidStateError):
    """A fraud review holds the order: nothing leaves the house until it is released."""

    code = "order_held"

    def __init__(self) -> None:
        super().__init__("This order is held for a review: release it first.")


class FulfilmentTooLargeError(RuleViolatedError):
    """More pieces than the order still waits for, or of a line it does not have."""

    code = "fulfilment_too_large"

    def __init__(self, line_id: PydanticObjectId, wanted: int, left: int) -> None:
        super().__init__(f"{wanted} pieces of this line cannot be sent: {left} are left.")
        self.line_id = line_id
        self.wanted = wanted
        self.left = left


class FulfilmentNotFoundError(NotFoundError):
    """The order has no such parcel."""

    code = "fulfilment_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("parcel", key)


class FulfilmentService:
    @staticmethod
    async def create_fulfilment(
        order_id: PydanticObjectId, draft: FulfilmentDraft, *, viewer: Viewer, now: datetime | None = None
    ) -> StaffOrder:
        """Send a parcel. With the last piece the order is shipped.

        Raises PermissionDeniedError, OrderNotFoundError, OrderTransitionError unless the order is being processed,
        OrderHeldError, FulfilmentTooLargeError.
        """
        viewer.require(Permission.MANAGE_ORDERS)
        now = to_milliseconds(now or present())

        async def work(session: Session) -> Order:
            order = await read_order(order_id, access=OrderAccess(viewer), session=session)
            sent = await send_parcel(order, draft, by=Mover.staff(viewer), session=session, now=now)
            await _audit("sent", order_id, sent.fulfilments[-1].id, viewer, session)
            return sent

        return to_staff_order((await run_transaction(work, hot=[order_id])).row())

    @staticmethod
    async def update_tracking(
        order_id: PydanticObjectId,
        fulfilment_id: PydanticObjectId,
        changes: TrackingChanges,
        *,
        viewer: Viewer,
        revision: int | None = None,
    ) -> StaffOrder:
        """Correct a parcel's label while the order is on its way.

        Raises PermissionDeniedError, OrderNotFoundError, FulfilmentNotFoundError, TrackingLockedError, and PreconditionError
        unless `revision` is the order's present one.
        """
        viewer.require(Permission.MANAGE_ORDERS)

        async def work(session: Session) -> Order:
            order = await read_order(order_id, access=OrderAccess(viewer), session=session)
            at = _index_of(order, fulfilment_id)
            if order.status is not OrderStatus.SHIPPED:
                raise TrackingLockedError(order.status)
            require_revision(revision, order.revision)
            fields = {f"fulfilments.{at}.{name}": value for name, value in changes.model_dump(exclude_unset=True).items()}
            changed = await change_order(order, fields, session=session)
            payload = {"fulfilment_id": str(fulfilment_id)}
            await _audit("relabelled", order_id, fulfilment_id, viewer, session)
            await record_order_event(EventType.ORDER_UPDATED, changed, by=Mover.staff(viewer), session=session, payload=payload)
            return changed

        return to_staff_order((await run_transaction(work, hot=[order_id])).row())

    @staticmethod
    async def deliver_fulfilment(
        order_id: PydanticObjectId, fulfilment_id: PydanticObjectId, *, viewer: Viewer, now: datetime | None = None
    ) -> StaffOrder:
        """A parcel has arrived; with the last one of a shipped order the order is delivered. Harmless to repeat.

        Raises PermissionDeniedError, OrderNotFoundError, FulfilmentNotFoundError.
        """
        viewer.require(Permission.MANAGE_ORDERS)
        now = to_milliseconds(now or present())

        async def work(session: Session) -> Order:
            order = await read_order(order_id, access=OrderAccess(viewer), session=session)
            at = _index_of(order, fulfilment_id)
            if order.fulfilments[at].delivered_at is not None:
                return order
            await _audit("arrived", order_id, fulfilment_id, viewer, session)
            others = [parcel for parcel in order.fulfilments if parcel.id != fulfilment_id]
            if order.status is OrderStatus.SHIPPED and all(parcel.delivered_at for parcel in others):
                return await deliver_order(order, by=Mover.staff(viewer), session=session, now=now)
            changed = await change_order(order, {f"fulfilments.{at}.delivered_at": now}, session=session)
            payload = {"fulfilment_id": str(fulfilment_id), "delivered": True}
            await record_order_event(EventType.ORDER_UPDATED, changed, by=Mover.staff(viewer), session=session, payload=payload)
            return changed

        return to_staff_order((await run_transaction(work, hot=[order_id])).row())


async def _audit(what: str, order_id: PydanticObjectId, parcel_id: PydanticObjectId, viewer: Viewer, session: Session) -> None:
    details = {"parcel_id": str(parcel_id)}
    await AuditService.record(
        session, f"order.parcel_{what}", subject=order_owner(order_id), actor_id=viewer.user_id, details=details
    )


class TrackingLockedError(InvalidStateError):
    """Labels are corrected while the order is on its way: not before, and not afterwards."""

    code = "tracking_locked"

    def __init__(self, status: OrderStatus) -> None:
        super().__init__(f"The tracking of an order that is {status.value} cannot be changed.")
        self.status = status


async def send_parcel(
    order: Order, draft: FulfilmentDraft, *, by: Mover, session: Session, now: datetime, reason: str = ""
) -> Order:
    """The order with one more parcel, shipped when nothing is left. Raises as `create_fulfilment`."""
    check_step(order.status, OrderStatus.SHIPPED, by=by)
    if order.is_held:
        raise OrderHeldError
    parts = _parts_of(order, draft.lines)
    if not parts:
        raise OrderTransitionError(order.status, OrderStatus.SHIPPED, "Nothing of this order is left to be sent.")
    if len(order.fulfilments) >= MAX_PARCELS:
        raise RuleViolatedError(f"An order has at most {MAX_PARCELS} parcels.")
    positions = {line.id: at for at, line in enumerate(order.lines)}
    parcel = Fulfilment(
        lines=[FulfilmentLine(line_id=line_id, quantity=quantity) for line_id, quantity in parts.items()],
        carrier=draft.carrier,
        tracking_number=draft.tracking_number,
        shipped_at=now,
    )
    more: dict[str, Mapping[str, Any]] = {
        "$push": {"fulfilments": parcel.model_dump()},
        "$inc": {f"lines.{positions[line_id]}.fulfilled_quantity": quantity for line_id, quantity in parts.items()},
    }
    payload = {
        "fulfilment_id": str(parcel.id),
        "carrier": parcel.carrier,
        "tracking_number": parcel.tracking_number,
        "pieces": [{"name": order.lines[positions[line_id]].name, "quantity": quantity} for line_id, quantity in parts.items()],
    }
    if sum(parts.values()) == sum(line.quantity - line.fulfilled_quantity for line in order.lines):
        fields = {"shipped_at": now}
        return await move_order(
            order,
            OrderStatus.SHIPPED,
            by=by,
            session=session,
            now=now,
            reason=reason,
            fields=fields,
            more=more,
            payload=payload,
        )
    changed = await change_order(order, {}, session=session, more=more)
    await record_order_event(EventType.ORDER_FULFILLED, changed, by=by, session=session, payload=payload)
    return changed


async def deliver_order(order: Order, *, by: Mover, session: Session, now: datetime, reason: str = "") -> Order:
    """The order delivered, with every parcel of it. Raises OrderTransitionError."""
    fields: dict[str, Any] = {"delivered_at": now}
    for at, parcel in enumerate(order.fulfilments):
        if parcel.delivered_at is None:
            fields[f"fulfilments.{at}.delivered_at"] = now
    return await move_order(order, OrderStatus.DELIVERED, by=by, session=session, now=now, reason=reason, fields=fields)


def _parts_of(order: Order, wanted: Sequence[FulfilmentPart]) -> dict[PydanticObjectId, int]:
    """Pieces by line; everything that is left for no wish. Raises FulfilmentTooLargeError."""
    left = {line.id: line.quantity - line.fulfilled_quantity for line in order.lines}
    if not wanted:
        return {line_id: quantity for line_id, quantity in left.items() if quantity}
    parts: dict[PydanticObjectId, int] = {}
    for part in wanted:
        parts[part.line_id] = parts.get(part.line_id, 0) + part.quantity
    for line_id, quantity in parts.items():
        if quantity > left.get(line_id, 0):
            raise FulfilmentTooLargeError(line_id, quantity, left.get(line_id, 0))
    return parts


def _index_of(order: Order, fulfilment_id: PydanticObjectId) -> int:
    for at, parcel in enumerate(order.fulfilments):
        if parcel.id == fulfilment_id:
            return at
    raise FulfilmentNotFoundError(fulfilment_id)
