"""How a return moves: its states, who may see it, and the pieces of its order that it speaks of."""

from collections.abc import Mapping
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session, run_transaction, start_again
from models.ecommerce.orders import Order
from models.ecommerce.returns import (
    ReturnRead,
    ReturnRequest,
    ReturnStatus,
    StaffReturn,
)
from models.events import EventType
from services.audit import AuditService
from services.ecommerce.orders.reading import OrderAccess
from services.ecommerce.orders.transitions import change_order
from services.errors import InvalidStateError, NotFoundError, RuleViolatedError, require_revision
from services.events import EventService
from services.users.permissions import Viewer


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


def to_return(row: Mapping[str, Any]) -> ReturnRead:
    return ReturnRead.model_validate({**row, "id": row["_id"]})


def to_staff_return(request: ReturnRequest) -> StaffReturn:
    return StaffReturn.model_validate(request.model_dump())


def noted(staff_notes: str | None) -> dict[str, Any]:
    return {} if staff_notes is None else {"staff_notes": staff_notes}


async def load_return(return_id: PydanticObjectId, session: Session | None) -> ReturnRequest:
    row = await ReturnRequest.find_row({"_id": return_id}, session=session)
    if row is None:
        raise ReturnNotFoundError(return_id)
    return ReturnRequest.from_row(row)


async def order_of_return(request: ReturnRequest, session: Session | None) -> Order:
    row = None if request.order_id is None else await Order.find_row({"_id": request.order_id}, session=session)
    if row is None:
        raise NotReturnableError("The order of this return is not known here.")
    return Order.from_row(row)


async def check_access(request: ReturnRequest, access: OrderAccess) -> None:
    """A return may be seen by whom its order may be seen."""
    fields = {"user_id": 1, "guest_token_hash": 1}
    row = await Order.find_row({"_id": request.order_id}, fields) or {"user_id": request.user_id, "guest_token_hash": None}
    if not access.covers(row):
        raise ReturnNotFoundError(request.id)


async def speak_of(order: Order, wanted: Mapping[PydanticObjectId, int], *, session: Session) -> None:
    """Note the pieces a return speaks of, so that no other does; negative numbers let them go. Raises ReturnTooLargeError."""
    fields: dict[str, Any] = {}
    for at, line in enumerate(order.lines):
        spoken_of = line.returning_quantity + wanted.get(line.id, 0)
        if spoken_of > line.fulfilled_quantity:
            raise ReturnTooLargeError(line.id, wanted[line.id], line.fulfilled_quantity - line.returning_quantity)
        fields[f"lines.{at}.returning_quantity"] = spoken_of
    await change_order(order, fields, session=session)


async def close_return(
    return_id: PydanticObjectId,
    to: ReturnStatus,
    type: EventType,
    *,
    viewer: Viewer | None,
    fields: Mapping[str, Any],
    revision: int | None = None,
) -> ReturnRequest:
    """End a return of which nothing was received: its pieces may be asked for again."""

    async def work(session: Session) -> ReturnRequest:
        request = await load_return(return_id, session)
        require_revision(revision, request.revision)
        if request.status is to:
            return request
        if request.status not in (ReturnStatus.REQUESTED, ReturnStatus.APPROVED):
            raise ReturnTransitionError(request.status, to)
        order = await order_of_return(request, session)
        await speak_of(order, {line.line_id: -line.quantity for line in request.lines}, session=session)
        settled = {**fields, "settled_at": present()}
        return await move_return(request, to, settled, type, viewer=viewer, session=session)

    return await run_transaction(work, hot=[return_id])


_SOURCES = {
    ReturnStatus.APPROVED: (ReturnStatus.REQUESTED,),
    ReturnStatus.REJECTED: (ReturnStatus.REQUESTED, ReturnStatus.APPROVED),
    ReturnStatus.CANCELLED: (ReturnStatus.REQUESTED, ReturnStatus.APPROVED),
    ReturnStatus.RECEIVED: (ReturnStatus.APPROVED,),
}


async def move_return(
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
    await record_return(type, moved, viewer, session)
    if viewer is not None and to is not ReturnStatus.CANCELLED:
        await AuditService.record(session, f"return.{to}", subject=f"return:{moved.id}", actor_id=viewer.user_id)
    return moved


async def record_return(type: EventType, request: ReturnRequest, viewer: Viewer | None, session: Session) -> None:
    payload = {
        "number": request.number,
        "status": request.status.value,
        "order_id": str(request.order_id),
        "user_id": str(request.user_id) if request.user_id else None,
        "refund": request.refund.model_dump() if request.refund else None,
    }
    actor_id = viewer.user_id if viewer else None
    await EventService.record(session, type, f"return:{request.id}", actor_id=actor_id, payload=payload)
