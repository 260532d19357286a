"""The one state machine of orders: which step leads where, who may take it, and what is written when it is taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session, start_again
from models.ecommerce.orders import Order, OrderStatus, OrderStatusHistory
from models.events import EventType
from services.errors import InvalidStateError
from services.events import EventService
from services.users.permissions import Viewer


class Party(StrEnum):
    CUSTOMER = "customer"  # whoever placed the order, guests included
    STAFF = "staff"
    SYSTEM = "system"  # payments, jobs, and what follows from other steps


@dataclass(frozen=True, slots=True)
class Mover:
    """Who moves an order. `name` is what its history says."""

    party: Party
    name: str
    user_id: PydanticObjectId | None = None

    @classmethod
    def customer(cls, viewer: Viewer) -> "Mover":
        return cls(Party.CUSTOMER, f"user:{viewer.user_id}", viewer.user_id)

    @classmethod
    def staff(cls, viewer: Viewer) -> "Mover":
        return cls(Party.STAFF, f"user:{viewer.user_id}", viewer.user_id)

    @classmethod
    def gateway(cls, name: str) -> "Mover":
        return cls(Party.SYSTEM, f"gateway:{name}")


SYSTEM_MOVER = Mover(Party.SYSTEM, "system")
GUEST_MOVER = Mover(Party.CUSTOMER, "guest")

_EVERYBODY = frozenset(Party)
_HOUSE = frozenset({Party.STAFF, Party.SYSTEM})
_SYSTEM = frozenset({Party.SYSTEM})

# DESIGN 6. Every step that is not here is refused, whoever asks for it.
EDGES: Mapping[tuple[OrderStatus, OrderStatus], frozenset[Party]] = {
    # A payment confirms, and so does having nothing to pay; nobody does by hand.
    (OrderStatus.PENDING, OrderStatus.CONFIRMED): _SYSTEM,
    # Only with a method that is paid later: whoever takes this step looks at that first.
    (OrderStatus.PENDING, OrderStatus.PROCESSING): _HOUSE,
    (OrderStatus.PENDING, OrderStatus.CANCELLED): _EVERYBODY,
    (OrderStatus.CONFIRMED, OrderStatus.PROCESSING): _HOUSE,
    (OrderStatus.CONFIRMED, OrderStatus.CANCELLED): _EVERYBODY,
    (OrderStatus.PROCESSING, OrderStatus.SHIPPED): _HOUSE,
    (OrderStatus.PROCESSING, OrderStatus.CANCELLED): _HOUSE,
    (OrderStatus.SHIPPED, OrderStatus.DELIVERED): _HOUSE,
    # What came back, and what was paid back, decide these.
    (OrderStatus.DELIVERED, OrderStatus.RETURNED): _SYSTEM,
    (OrderStatus.CONFIRMED, OrderStatus.REFUNDED): _SYSTEM,
    (OrderStatus.PROCESSING, OrderStatus.REFUNDED): _SYSTEM,
    (OrderStatus.SHIPPED, OrderStatus.REFUNDED): _SYSTEM,
    (OrderStatus.DELIVERED, OrderStatus.REFUNDED): _SYSTEM,
    (OrderStatus.RETURNED, OrderStatus.REFUNDED): _SYSTEM,
}

_EVENTS: Mapping[OrderStatus, EventType] = {
    OrderStatus.PENDING: EventType.ORDER_PLACED,
    OrderStatus.CONFIRMED: EventType.ORDER_CONFIRMED,
    OrderStatus.PROCESSING: EventType.ORDER_PROCESSING,
    OrderStatus.SHIPPED: EventType.ORDER_SHIPPED,
    OrderStatus.DELIVERED: EventType.ORDER_DELIVERED,
    OrderStatus.CANCELLED: EventType.ORDER_CANCELLED,
    OrderStatus.RETURNED: EventType.ORDER_RETURNED,
    OrderStatus.REFUNDED: EventType.ORDER_REFUNDED,
}


class OrderTransitionError(InvalidStateError):
    """The order's status does not allow this step, or not to the one who asks."""

    code = "order_transition"

    def __init__(self, status: OrderStatus, wanted: OrderStatus, detail: str | None = None) -> None:
        super().__init__(detail or f"An order that is {status.value} cannot become {wanted.value} by your hand.")
        self.status = status
        self.wanted = wanted


def check_step(status: OrderStatus, wanted: OrderStatus, *, by: Mover) -> None:
    """Raises OrderTransitionError."""
    if by.party not in EDGES.get((status, wanted), frozenset()):
        raise OrderTransitionError(status, wanted)


async def move_order(
    order: Order,
    wanted: OrderStatus,
    *,
    by: Mover,
    session: Session,
    now: datetime,
    reason: str = "",
    fields: Mapping[str, Any] | None = None,
    more: Mapping[str, Mapping[str, Any]] | None = None,
    payload: Mapping[str, Any] | None = None,
) -> Order:
    """The one way between statuses: the step, its history and its event, or nothing.

    `fields` are set with the status, `more` are further operators of the same update.

    The order is moved only as it was read, in this very transaction; overtaken, the transaction starts again. Raises
    OrderTransitionError.
    """
    check_step(order.status, wanted, by=by)
    moved = await change_order(order, {"status": wanted, **(fields or {})}, session=session, more=more)
    await record_step(moved, order.status, by=by, session=session, now=now, reason=reason, payload=payload)
    return moved


async def change_order(
    order: Order, fields: Mapping[str, Any], *, session: Session, more: Mapping[str, Mapping[str, Any]] | None = None
) -> Order:
    """Set fields of an order as it was read in this transaction, and move its revision. `more` are further operators.

    One late write where it can be. Overtaken, start again.
    """
    as_read = {"_id": order.id, "status": order.status, "revision": order.revision}
    increments = {**(more or {}).get("$inc", {}), "revision": 1}
    changes = {**fields, "updated_at": present()}
    update = {**(more or {}), "$set": changes, "$inc": increments}
    overtaken = start_again("the order was changed meanwhile")
    if more or not all(_is_plain(name, value) for name, value in fields.items()):
        if not await Order.change_row(as_read, update, session=session):
            raise overtaken
        # Read afterwards: the image of the change would cost the embedded server a walk over all orders.
        row = await Order.find_row({"_id": order.id}, session=session)
        assert row is not None
        return Order.from_row(row)
    # Nobody else can write it in between: what it then is need not be read.
    await Order.change_later(as_read, update, session=session, unmet=overtaken)
    image: Order = order.model_copy(update={**changes, "revision": order.revision + 1})
    return image


def _is_plain(name: str, value: object) -> bool:
    """Whether a stored field and the document's own are set to the same value."""
    return "." not in name and (isinstance(value, str) or not isinstance(value, Mapping | Sequence))


async def record_step(
    order: Order,
    old_status: OrderStatus | None,
    *,
    by: Mover,
    session: Session,
    now: datetime,
    reason: str = "",
    payload: Mapping[str, Any] | None = None,
) -> None:
    """History and event of a step that was taken; `old_status` is None for the order's creation."""
    await OrderStatusHistory(
        order_id=order.id,
        old_status=old_status,
        new_status=order.status,
        changed_at=now,
        changed_by=by.name,
        reason=reason,
    ).store_later(session=session)
    type = EventType.ORDER_PLACED if old_status is None else _EVENTS[order.status]
    await record_order_event(type, order, by=by, session=session, payload={"reason": reason, **(payload or {})})


async def record_order_event(
    type: EventType, order: Order, *, by: Mover, session: Session, payload: Mapping[str, Any] | None = None
) -> None:
    """A fact about an order, with what mails, rollups and webhooks need without reading it again. Holds no secret."""
    facts = {
        "number": order.number,
        "status": order.status.value,
        "payment_status": order.payment_status.value,
        "customer_id": None if order.customer_id is None else str(order.customer_id),
        "user_id": None if order.user_id is None else str(order.user_id),
        "total": {"amount": order.totals.total.amount, "currency": order.currency},
        "items_count": order.items_count,
        "changed_by": by.name,
    }
    await EventService.record(session, type, f"order:{order.id}", actor_id=by.user_id, payload={**facts, **(payload or {})})
