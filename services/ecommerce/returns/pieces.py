"""The pieces of a return: which may be asked for, what arrived, and what they were paid with."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from beanie import PydanticObjectId
from pydantic import BaseModel, Field

from models.ecommerce.orders import Order, OrderLine, OrderStatus
from models.ecommerce.returns import (
    Disposition,
    ReturnLine,
    ReturnReason,
    ReturnRequest,
)
from models.money import Money, half_up
from services.ecommerce.returns.moves import (
    NotReturnableError,
    ReturnTooLargeError,
)
from services.settings import Settings

MAX_LINES = 100


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


def check_window(order: Order, *, settings: Settings, now: datetime) -> None:
    if order.status is not OrderStatus.DELIVERED or order.delivered_at is None:
        raise NotReturnableError("Only what has been delivered can be returned.")
    if now > order.delivered_at + timedelta(days=settings.return_days):
        raise NotReturnableError(f"Orders can be returned for {settings.return_days} days after delivery.")


def requested_lines(order: Order, parts: Sequence[ReturnPart]) -> list[ReturnLine]:
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


def received_lines(request: ReturnRequest, order: Order, parts: Sequence[ReceivedPart]) -> list[ReturnLine]:
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
