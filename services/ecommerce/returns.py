"""Returns: asked for piece by piece, approved, received, put back on the shelf or written off, and paid back."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from beanie import PydanticObjectId
from pydantic import BaseModel, Field

from models.base import now as present
from models.base import to_milliseconds
from models.database import Session, run_transaction, start_again
from models.ecommerce.orders import Order, OrderLine, OrderStatus
from models.ecommerce.returns import (
    Disposition,
    ReturnLine,
    ReturnRead,
    ReturnReason,
    ReturnRequest,
    ReturnStatus,
    StaffReturn,
)
from models.events import Event, EventType
from models.inventory.stock import MovementKind
from models.money import Money, half_up
from models.payments import Refund, RefundState
from services.ecommerce.orders.effects import move_sales, order_owner, variants_of
from services.ecommerce.orders.reading import OrderAccess, get_order_row, read_order
from services.ecommerce.orders.transitions import SYSTEM_MOVER, change_order, move_order
from services.errors import InvalidStateError, NotFoundError, RuleViolatedError
from services.events import Consumer, EventService
from services.inventory.reservations import ReservationService
from services.pagination import CursorCodec, CursorPage, PageRequest
from services.payments.gateways import Gateways
from services.payments.listeners import PaymentListener
from services.payments.refunds import RefundService
from services.sequences import SequenceService
from services.settings import Settings
from services.users.permissions import Permission, Viewer

MAX_LINES = 100
MAX_NOTES_LENGTH = 1_000


class ReturnPart(BaseModel):
    """So many pieces of one line, and why."""

    line_id: PydanticObjectId
    quantity: int = Field(ge=1, le=1_000_000)
    reason: ReturnReason


class ReceivedPart(BaseModel):
    """So many pieces of one line that arrived, and where they go."""

    line_id: PydanticObjectId
    quantity: int = Field(ge=1, le=1_000_000)
    disposition: Disposition


class ReturnNotFoundError(NotFoundError):
    """There is no such return, or it is somebody else's."""

    code = "return_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("return", key)


class ReturnTransitionError(InvalidStateError):
    """The return's status does not allow this step."""

    code = "return_transition"

    def __init__(self, status: ReturnStatus, wanted: ReturnStatus) -> None:
        super().__init__(f"A return that is {status.value} cannot become {wanted.value}.")
        self.status = status
        self.wanted = wanted


class NotReturnableError(RuleViolatedError):
    """The order has not been delivered, its time for returns is over, or the line cannot come back."""

    code = "not_returnable"


class ReturnTooLargeError(RuleViolatedError):
    """More pieces than the order may still return, or than the return speaks of."""

    code = "return_too_large"

    def __init__(self, line_id: PydanticObjectId, wanted: int, left: int) -> None:
        super().__init__(f"{wanted} pieces of this line cannot come back: {left} are left.")
        self.line_id = line_id
        self.wanted = wanted
        self.left = left


class NothingToRefundError(RuleViolatedError):
    """Nothing was paid for the order, or the amount is more than the return is worth."""

    code = "nothing_to_refund"


class ReturnService:
    @staticmethod
    async def request(
        order_id: PydanticObjectId,
        parts: Sequence[ReturnPart],
        *,
        access: OrderAccess,
        settings: Settings,
        notes: str = "",
        now: datetime | None = None,
    ) -> ReturnRead:
        """Ask to send pieces of a delivered order back; from then on no other return can speak of them.

        Raises OrderNotFoundError, NotReturnableError, ReturnTooLargeError.
        """
        now = to_milliseconds(now or present())
        number = await SequenceService.next_number("RMA", now=now)

        async def work(session: Session) -> ReturnRequest:
            order = await read_order(order_id, access=access, session=session)
            _check_window(order, settings=settings, now=now)
            lines = _requested_lines(order, parts)
            wanted = Counter({line.line_id: line.quantity for line in lines})
            await _speak_of(order, wanted, session=session)
            request = ReturnRequest(
                number=number,
                order_id=order.id,
                customer_id=order.customer_id,
                user_id=order.user_id,
                lines=lines,
                notes=notes,
                requested_at=now,
            )
            await request.store(session=session)
            await _record(EventType.RETURN_REQUESTED, request, access.viewer, session)
            return request

        return to_return((await run_transaction(work, hot=[order_id])).row())

    @staticmethod
    async def get_return(return_id: PydanticObjectId, *, access: OrderAccess) -> ReturnRead:
        """Raises ReturnNotFoundError, for what is foreign as for what is absent."""
        request = await _find(return_id, None)
        await _check_access(request, access)
        return to_return(request.row())

    @staticmethod
    async def get_staff_return(return_id: PydanticObjectId, *, viewer: Viewer) -> StaffReturn:
        """With the notes of staff. Raises PermissionDeniedError, ReturnNotFoundError."""
        viewer.require(Permission.MANAGE_ORDERS)
        return _to_staff(await _find(return_id, None))

    @staticmethod
    async def list_of_order(order_id: PydanticObjectId, *, access: OrderAccess) -> list[ReturnRead]:
        """The returns of an order, oldest first, 100 at most. Raises OrderNotFoundError."""
        await get_order_row(order_id, access=access, fields={"user_id": 1, "guest_token_hash": 1})
        rows = await ReturnRequest.find_rows({"order_id": order_id}, sort=[("_id", 1)], limit=100)
        return [to_return(row) for row in rows]

    @staticmethod
    async def list_own_returns(
        *, viewer: Viewer, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[ReturnRead]:
        """The viewer's returns, newest first. Raises InvalidCursorError."""
        rows, next_cursor = await _stretch({"user_id": viewer.user_id}, f"returns:{viewer.user_id}", -1, cursors, cursor, limit)
        return CursorPage[ReturnRead].model_construct(items=[to_return(row) for row in rows], next_cursor=next_cursor)

    @staticmethod
    async def list_queue(
        *, status: ReturnStatus, viewer: Viewer, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[StaffReturn]:
        """Everybody's returns of a status, oldest first. Raises PermissionDeniedError, InvalidCursorError."""
        viewer.require(Permission.MANAGE_ORDERS)
        rows, next_cursor = await _stretch({"status": status}, f"return_queue:{status}", 1, cursors, cursor, limit)
        items = [_to_staff(ReturnRequest.from_row(row)) for row in rows]
        return CursorPage[StaffReturn].model_construct(items=items, next_cursor=next_cursor)

    @staticmethod
    async def approve(return_id: PydanticObjectId, *, viewer: Viewer, staff_notes: str | None = None) -> StaffReturn:
        """The customer may send the pieces. Approving again changes nothing.

        Raises PermissionDeniedError, ReturnNotFoundError, ReturnTransitionError.
        """
        viewer.require(Permission.MANAGE_ORDERS)

        async def work(session: Session) -> ReturnRequest:
            request = await _find(return_id, session)
            if request.status is ReturnStatus.APPROVED:
                return request
            return await _move(
                request, ReturnStatus.APPROVED, _noted(staff_notes), EventType.RETURN_APPROVED, viewer=viewer, session=session
            )

        return _to_staff(await run_transaction(work, hot=[return_id]))

    @staticmethod
    async def reject(return_id: PydanticObjectId, *, viewer: Viewer, staff_notes: str | None = None) -> StaffReturn:
        """The pieces stay with the customer, who may ask again within the time for returns. Raises as `approve`."""
        viewer.require(Permission.MANAGE_ORDERS)
        closed = await _close(
            return_id, ReturnStatus.REJECTED, EventType.RETURN_REJECTED, viewer=viewer, fields=_noted(staff_notes)
        )
        return _to_staff(closed)

    @staticmethod
    async def cancel(return_id: PydanticObjectId, *, access: OrderAccess) -> ReturnRead:
        """The customer keeps the pieces after all. Cancelling again changes nothing.

        Raises ReturnNotFoundError, ReturnTransitionError once something was received.
        """
        await _check_access(await _find(return_id, None), access)
        closed = await _close(return_id, ReturnStatus.CANCELLED, EventType.RETURN_REJECTED, viewer=access.viewer, fields={})
        return to_return(closed.row())

    @staticmethod
    async def receive(
        return_id: PydanticObjectId,
        parts: Sequence[ReceivedPart],
        *,
        viewer: Viewer,
        staff_notes: str | None = None,
        now: datetime | None = None,
    ) -> StaffReturn:
        """Take in what arrived of an approved return: on the shelf where it came from, or written off.

        Pieces that did not arrive may be asked for again. When every piece of the order is back, the order is returned. A return
        is received once. Raises PermissionDeniedError, ReturnNotFoundError, ReturnTransitionError, ReturnTooLargeError.
        """
        viewer.require(Permission.MANAGE_ORDERS)
        now = to_milliseconds(now or present())
        order = await _order_of(await _find(return_id, None), None)

        async def work(session: Session) -> ReturnRequest:
            request = await _find(return_id, session)
            if request.status is not ReturnStatus.APPROVED:
                raise ReturnTransitionError(request.status, ReturnStatus.RECEIVED)
            order = await _order_of(request, session)
            lines = _received_lines(request, order, parts)
            refund = Money.total((line.refund for line in lines if line.refund is not None), order.currency)
            await _put_back(order, request, lines, viewer=viewer, session=session, now=now)
            await _note_on_order(order, request, lines, session=session, now=now)
            fields = {"lines": [line.model_dump() for line in lines], "refund": refund.model_dump(), **_noted(staff_notes)}
            return await _move(request, ReturnStatus.RECEIVED, fields, EventType.RETURN_RECEIVED, viewer=viewer, session=session)

        return _to_staff(await run_transaction(work, hot=[order.id, *variants_of(order)]))

    @staticmethod
    async def refund(
        return_id: PydanticObjectId,
        *,
        viewer: Viewer,
        gateways: Gateways,
        listener: PaymentListener,
        settings: Settings,
        amount: Money | None = None,
        now: datetime | None = None,
    ) -> StaffReturn:
        """Pay back what the received pieces were paid with, or less; once, however often it is asked for.

        The return is refunded as soon as the gateway has said so; until then it is received, with a refund on its way. Must not
        be called inside a transaction. Raises PermissionDeniedError, ReturnNotFoundError, ReturnTransitionError,
        NothingToRefundError, RefundTooLargeError.
        """
        viewer.require(Permission.MANAGE_PAYMENTS)
        order = await _order_of(await _find(return_id, None), None)

        async def work(session: Session) -> ReturnRequest:
            request = await _find(return_id, session)
            if request.refund_id is not None and not await _has_failed(request.refund_id, session):
                return request
            if request.status is not ReturnStatus.RECEIVED:
                raise ReturnTransitionError(request.status, ReturnStatus.REFUNDED)
            return await _request_refund(request, order, amount, viewer=viewer, session=session)

        request = await run_transaction(work, hot=[order.id, order.payment_id])
        assert request.refund_id is not None
        refund = await RefundService.execute(request.refund_id, gateways=gateways, listener=listener, settings=settings, now=now)
        if refund.state is RefundState.SUCCEEDED:
            await _note_refunded(refund.id)
        return await ReturnService.get_staff_return(return_id, viewer=viewer)


def to_return(row: Mapping[str, Any]) -> ReturnRead:
    return ReturnRead.model_validate({**row, "id": row["_id"]})


def _to_staff(request: ReturnRequest) -> StaffReturn:
    return StaffReturn.model_validate(request.model_dump())


def _noted(staff_notes: str | None) -> dict[str, Any]:
    return {} if staff_notes is None else {"staff_notes": staff_notes}


async def _find(return_id: PydanticObjectId, session: Session | None) -> ReturnRequest:
    row = await ReturnRequest.find_row({"_id": return_id}, session=session)
    if row is None:
        raise ReturnNotFoundError(return_id)
    return ReturnRequest.from_row(row)


async def _order_of(request: ReturnRequest, session: Session | None) -> Order:
    row = None if request.order_id is None else await Order.find_row({"_id": request.order_id}, session=session)
    if row is None:
        raise NotReturnableError("The order of this return is not known here.")
    return Order.from_row(row)


async def _check_access(request: ReturnRequest, access: OrderAccess) -> None:
    """A return may be seen by whom its order may be seen."""
    fields = {"user_id": 1, "guest_token_hash": 1}
    row = await Order.find_row({"_id": request.order_id}, fields) or {"user_id": request.user_id, "guest_token_hash": None}
    if not access.covers(row):
        raise ReturnNotFoundError(request.id)


def _check_window(order: Order, *, settings: Settings, now: datetime) -> None:
    if order.status is not OrderStatus.DELIVERED or order.delivered_at is None:
        raise NotReturnableError("Only what has been delivered can be returned.")
    if now > order.delivered_at + timedelta(days=settings.return_days):
        raise NotReturnableError(f"Orders can be returned for {settings.return_days} days after delivery.")


def _requested_lines(order: Order, parts: Sequence[ReturnPart]) -> list[ReturnLine]:
    """One line of the return for each line of the order that is named; of several reasons for one line the first counts."""
    by_id = {line.id: line for line in order.lines}
    found: dict[PydanticObjectId, ReturnLine] = {}
    for part in parts:
        line = by_id.get(part.line_id)
        if line is None:
            raise ReturnTooLargeError(part.line_id, part.quantity, 0)
        if line.is_digital:
            raise NotReturnableError("What was delivered digitally cannot come back.")
        before = found[line.id].quantity if line.id in found else 0
        found[line.id] = ReturnLine(
            line_id=line.id,
            variant_id=line.variant_id,
            sku=line.sku,
            name=line.name,
            quantity=before + part.quantity,
            reason=found[line.id].reason if line.id in found else part.reason,
        )
    return list(found.values())


async def _speak_of(order: Order, wanted: Mapping[PydanticObjectId, int], *, session: Session) -> None:
    """Note the pieces a return speaks of, so that no other does; negative numbers let them go. Raises ReturnTooLargeError."""
    fields: dict[str, Any] = {}
    for at, line in enumerate(order.lines):
        spoken_of = line.returning_quantity + wanted.get(line.id, 0)
        if spoken_of > line.fulfilled_quantity:
            raise ReturnTooLargeError(line.id, wanted[line.id], line.fulfilled_quantity - line.returning_quantity)
        fields[f"lines.{at}.returning_quantity"] = spoken_of
    await change_order(order, fields, session=session)


def _received_lines(request: ReturnRequest, order: Order, parts: Sequence[ReceivedPart]) -> list[ReturnLine]:
    """The return's lines with what arrived of each, where it goes, and what it was paid with."""
    arrived = {part.line_id: part for part in parts}
    if len(arrived) != len(parts):
        raise NotReturnableError("Name each line once.")
    asked = {line.line_id: line for line in request.lines}
    for part in parts:
        left = asked[part.line_id].quantity if part.line_id in asked else 0
        if part.quantity > left:
            raise ReturnTooLargeError(part.line_id, part.quantity, left)
    by_id = {line.id: line for line in order.lines}
    lines = []
    for line in request.lines:
        here = arrived.get(line.line_id)
        count = here.quantity if here else 0
        paid = paid_for(by_id[line.line_id], count)
        disposition = here.disposition if here else None
        lines.append(line.model_copy(update={"received_quantity": count, "disposition": disposition, "refund": paid}))
    return lines


def paid_for(line: OrderLine, pieces: int) -> Money:
    """What the next `pieces` of a line to come back were paid with, discount and tax included.

    Rounded so that all pieces together come to the line's total, in however many returns they come.
    """
    before, after = line.returned_quantity, line.returned_quantity + pieces
    total = line.total.amount
    amount = half_up(total * after, line.quantity) - half_up(total * before, line.quantity)
    return Money(amount=amount, currency=line.total.currency)


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


async def _close(
    return_id: PydanticObjectId, to: ReturnStatus, type: EventType, *, viewer: Viewer | None, fields: Mapping[str, Any]
) -> ReturnRequest:
    """End a return of which nothing was received: its pieces may be asked for again."""

    async def work(session: Session) -> ReturnRequest:
        request = await _find(return_id, session)
        if request.status is to:
            return request
        if request.status not in (ReturnStatus.REQUESTED, ReturnStatus.APPROVED):
            raise ReturnTransitionError(request.status, to)
        order = await _order_of(request, session)
        await _speak_of(order, {line.line_id: -line.quantity for line in request.lines}, session=session)
        settled = {**fields, "settled_at": present()}
        return await _move(request, to, settled, type, viewer=viewer, session=session)

    return await run_transaction(work, hot=[return_id])


_SOURCES = {
    ReturnStatus.APPROVED: (ReturnStatus.REQUESTED,),
    ReturnStatus.REJECTED: (ReturnStatus.REQUESTED, ReturnStatus.APPROVED),
    ReturnStatus.CANCELLED: (ReturnStatus.REQUESTED, ReturnStatus.APPROVED),
    ReturnStatus.RECEIVED: (ReturnStatus.APPROVED,),
}


async def _move(
    request: ReturnRequest,
    to: ReturnStatus,
    fields: Mapping[str, Any],
    type: EventType,
    *,
    viewer: Viewer | None,
    session: Session,
) -> ReturnRequest:
    if request.status not in _SOURCES[to]:
        raise ReturnTransitionError(request.status, to)
    moved = await ReturnRequest.change(
        {"_id": request.id, "status": request.status, "revision": request.revision},
        {"$set": {"status": to, **fields}, "$inc": {"revision": 1}},
        session=session,
    )
    if moved is None:
        raise start_again("the return was moved meanwhile")
    await _record(type, moved, viewer, session)
    return moved


async def _record(type: EventType, request: ReturnRequest, viewer: Viewer | None, session: Session) -> None:
    payload = {
        "number": request.number,
        "status": request.status.value,
        "order_id": str(request.order_id),
        "user_id": str(request.user_id) if request.user_id else None,
        "refund": request.refund.model_dump() if request.refund else None,
    }
    actor_id = viewer.user_id if viewer else None
    await EventService.record(session, type, f"return:{request.id}", actor_id=actor_id, payload=payload)


async def _has_failed(refund_id: PydanticObjectId, session: Session) -> bool:
    row = await Refund.find_row({"_id": refund_id}, {"state": 1}, session=session)
    return row is not None and row["state"] == RefundState.FAILED


async def _request_refund(
    request: ReturnRequest, order: Order, amount: Money | None, *, viewer: Viewer, session: Session
) -> ReturnRequest:
    worth = request.refund or Money.zero(order.currency)
    amount = worth if amount is None else amount
    if order.payment_id is None or amount.currency != order.currency or not 0 < amount.amount <= worth.amount:
        raise NothingToRefundError(f"Between nothing and {worth} can be paid back for this return, of what was paid.")
    refund = await RefundService.request(
        session,
        payment_id=order.payment_id,
        amount=amount,
        reason=f"return {request.number}",
        key=f"return:{request.id}:{request.revision}",
        actor_id=viewer.user_id,
    )
    linked = await ReturnRequest.change(
        {"_id": request.id, "revision": request.revision},
        {"$set": {"refund_id": refund.id}, "$inc": {"revision": 1}},
        session=session,
    )
    if linked is None:
        raise start_again("the return was moved meanwhile")
    return linked


async def _note_refunded(refund_id: PydanticObjectId) -> None:
    await ReturnRequest.change(
        {"refund_id": refund_id, "status": ReturnStatus.RECEIVED},
        {"$set": {"status": ReturnStatus.REFUNDED, "settled_at": present()}, "$inc": {"revision": 1}},
    )


async def _follow_refund(event: Event) -> None:
    await _note_refunded(PydanticObjectId(event.payload["refund_id"]))


RETURN_CONSUMER = Consumer("returns", {EventType.REFUND_SUCCEEDED}, _follow_refund)
"""Closes returns whose refund was told of later, by the resolver or a webhook."""


async def _stretch(
    query: dict[str, Any], listing: str, direction: int, cursors: CursorCodec, cursor: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    PageRequest(limit=limit)
    if cursor:
        query["_id"] = {"$gt" if direction > 0 else "$lt": cursors.decode(listing, cursor)[0]}
    rows = await ReturnRequest.find_rows(query, sort=[("_id", direction)], limit=limit + 1)
    shown = rows[:limit]
    return shown, cursors.encode(listing, shown[-1]["_id"]) if len(rows) > limit else None
