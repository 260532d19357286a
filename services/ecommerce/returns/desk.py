"""What staff does: decide about a return and take in what arrived."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.base import to_milliseconds
from models.database import Session, run_transaction
from models.ecommerce.orders import Order, OrderStatus
from models.ecommerce.returns import (
    Disposition,
    ReturnLine,
    ReturnRequest,
    ReturnStatus,
    StaffReturn,
)
from models.events import EventType
from models.inventory.stock import MovementKind
from models.money import Money
from services.ecommerce.orders.effects import move_sales, order_owner, variants_of
from services.ecommerce.orders.transitions import SYSTEM_MOVER, change_order, move_order
from services.ecommerce.returns.moves import (
    ReturnTransitionError,
    close_return,
    load_return,
    move_return,
    noted,
    order_of_return,
    to_staff_return,
)
from services.ecommerce.returns.pieces import ReceivedPart, received_lines
from services.errors import require_revision
from services.inventory.reservations import ReservationService
from services.pagination import CursorCodec, CursorPage, find_stretch
from services.users.permissions import Permission, Viewer


class ReturnDeskService:
    @staticmethod
    async def get_staff_return(return_id: PydanticObjectId, *, viewer: Viewer) -> StaffReturn:
        """With the notes of staff. Raises PermissionDeniedError, ReturnNotFoundError."""
        viewer.require(Permission.MANAGE_ORDERS)
        return to_staff_return(await load_return(return_id, None))

    @staticmethod
    async def list_queue(
        *, status: ReturnStatus, viewer: Viewer, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[StaffReturn]:
        """Everybody's returns of a status, oldest first. Raises PermissionDeniedError, InvalidCursorError."""
        viewer.require(Permission.MANAGE_ORDERS)
        rows, next_cursor = await find_stretch(
            ReturnRequest,
            {"status": status},
            listing=f"return_queue:{status}",
            cursors=cursors,
            cursor=cursor,
            limit=limit,
            direction=1,
        )
        items = [to_staff_return(ReturnRequest.from_row(row)) for row in rows]
        return CursorPage[StaffReturn].model_construct(items=items, next_cursor=next_cursor)

    @staticmethod
    async def find_by_number(number: str, *, viewer: Viewer) -> StaffReturn | None:
        """The return of this number, in any case of its letters. Raises PermissionDeniedError."""
        viewer.require(Permission.MANAGE_ORDERS)
        row = await ReturnRequest.find_row({"number": number.upper()})
        return None if row is None else to_staff_return(ReturnRequest.from_row(row))

    @staticmethod
    async def approve(
        return_id: PydanticObjectId, *, viewer: Viewer, staff_notes: str | None = None, revision: int | None = None
    ) -> StaffReturn:
        """The customer may send the pieces. Approving again changes nothing.

        Raises PermissionDeniedError, ReturnNotFoundError, ReturnTransitionError, and PreconditionError unless `revision` is the
        present one.
        """
        viewer.require(Permission.MANAGE_ORDERS)

        async def work(session: Session) -> ReturnRequest:
            request = await load_return(return_id, session)
            require_revision(revision, request.revision)
            if request.status is ReturnStatus.APPROVED:
                return request
            return await move_return(
                request, ReturnStatus.APPROVED, noted(staff_notes), EventType.RETURN_APPROVED, viewer=viewer, session=session
            )

        return to_staff_return(await run_transaction(work, hot=[return_id]))

    @staticmethod
    async def reject(
        return_id: PydanticObjectId, *, viewer: Viewer, staff_notes: str | None = None, revision: int | None = None
    ) -> StaffReturn:
        """The pieces stay with the customer, who may ask again within the time for returns. Raises as `approve`."""
        viewer.require(Permission.MANAGE_ORDERS)
        closed = await close_return(
            return_id,
            ReturnStatus.REJECTED,
            EventType.RETURN_REJECTED,
            viewer=viewer,
            fields=noted(staff_notes),
            revision=revision,
        )
        return to_staff_return(closed)

    @staticmethod
    async def receive(
        return_id: PydanticObjectId,
        parts: Sequence[ReceivedPart],
        *,
        viewer: Viewer,
        staff_notes: str | None = None,
        revision: int | None = None,
        now: datetime | None = None,
    ) -> StaffReturn:
        """Take in what arrived of an approved return: on the shelf where it came from, or written off.

        Pieces that did not arrive may be asked for again. When every piece of the order is back, the order is returned. A return
        is received once. Raises as `approve`, and ReturnTooLargeError.
        """
        viewer.require(Permission.MANAGE_ORDERS)
        now = to_milliseconds(now or present())
        order = await order_of_return(await load_return(return_id, None), None)

        async def work(session: Session) -> ReturnRequest:
            request = await load_return(return_id, session)
            if request.status is not ReturnStatus.APPROVED:
                raise ReturnTransitionError(request.status, ReturnStatus.RECEIVED)
            require_revision(revision, request.revision)
            order = await order_of_return(request, session)
            lines = received_lines(request, order, parts)
            refund = Money.total((line.refund for line in lines if line.refund is not None), order.currency)
            await _put_back(order, request, lines, viewer=viewer, session=session, now=now)
            await _note_on_order(order, request, lines, session=session, now=now)
            fields = {
                "lines": [line.model_dump() for line in lines],
                "refund": refund.model_dump(),
                "received_at": now,
                **noted(staff_notes),
            }
            return await move_return(
                request, ReturnStatus.RECEIVED, fields, EventType.RETURN_RECEIVED, viewer=viewer, session=session
            )

        return to_staff_return(await run_transaction(work, hot=[order.id, *variants_of(order)]))


async def _put_back(
    order: Order, request: ReturnRequest, lines: Sequence[ReturnLine], *, viewer: Viewer, session: Session, now: datetime
) -> None:
    """The pieces for the shelf, where they came from; what is written off never enters the stock again."""
    counted = {line.id for line in order.lines if line.tracks_inventory}
    pieces: Counter[PydanticObjectId] = Counter()
    for line in lines:
        if line.disposition is Disposition.RESTOCK and line.line_id in counted:
            pieces[line.variant_id] += line.received_quantity
    if pieces:
        await ReservationService.restock(
            order_owner(order.id),
            pieces,
            kind=MovementKind.RETURN,
            key=f"return:{request.id}",
            session=session,
            now=now,
            actor_id=viewer.user_id,
            reason=request.number,
        )


async def _note_on_order(
    order: Order, request: ReturnRequest, lines: Sequence[ReturnLine], *, session: Session, now: datetime
) -> None:
    """Count the pieces that are back, let those that did not arrive be asked for again, and close an order that is all back."""
    arrived = {line.line_id: line.received_quantity for line in lines}
    missing = {line.line_id: line.quantity - line.received_quantity for line in lines}
    fields: dict[str, Any] = {}
    for at, line in enumerate(order.lines):
        fields[f"lines.{at}.returned_quantity"] = line.returned_quantity + arrived.get(line.id, 0)
        fields[f"lines.{at}.returning_quantity"] = line.returning_quantity - missing.get(line.id, 0)
    if order.is_counted:
        await move_sales(order, {line_id: -count for line_id, count in arrived.items()}, session=session)
    is_all_back = all(line.returned_quantity + arrived.get(line.id, 0) == line.quantity for line in order.lines)
    if is_all_back and order.status is OrderStatus.DELIVERED:
        reason = f"return {request.number}"
        await move_order(order, OrderStatus.RETURNED, by=SYSTEM_MOVER, session=session, now=now, reason=reason, fields=fields)
    else:
        await change_order(order, fields, session=session)
