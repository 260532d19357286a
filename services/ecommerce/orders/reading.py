"""Orders as they are read: by whoever placed them, by guests with their token, by staff."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beanie import PydanticObjectId

from models.database import Session
from models.ecommerce.orders import (
    Order,
    OrderExplanation,
    OrderRead,
    OrderStatus,
    OrderStatusHistory,
    OrderSummary,
    OrderTracking,
    StaffOrder,
    StatusChange,
)
from models.money import Money
from services.errors import NotFoundError
from services.pagination import Page, PageRequest, page_of
from services.settings import Settings
from services.users.identity import normalize_email
from services.users.permissions import Permission, Viewer
from services.users.tokens import mail_token

MAX_STEPS = 200  # of one order's timeline; the state machine allows far fewer

_SUMMARY_FIELDS = {
    "number": 1,
    "customer_id": 1,
    "status": 1,
    "payment_status": 1,
    "payment_method": 1,
    "items_count": 1,
    "totals.total": 1,
    "placed_at": 1,
}


class OrderNotFoundError(NotFoundError):
    """There is no such order, or it is somebody else's."""

    code = "order_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("order", key)


@dataclass(frozen=True, slots=True)
class OrderAccess:
    """Who asks for an order: somebody signed in, a guest with the token of their order, or both."""

    viewer: Viewer | None = None
    guest_token: str | None = None

    @property
    def is_staff(self) -> bool:
        return self.viewer is not None and self.viewer.can(Permission.MANAGE_ORDERS)

    def covers(self, row: Mapping[str, Any]) -> bool:
        """Whether this stored order may be seen: one's own, a guest's with its token, any by staff."""
        if self.is_staff or self.owns(row):
            return True
        expected = row["guest_token_hash"]
        given = guest_token_hash(self.guest_token or "")
        return expected is not None and self.guest_token is not None and hmac.compare_digest(given, expected)

    def owns(self, row: Mapping[str, Any]) -> bool:
        return self.viewer is not None and row["user_id"] == self.viewer.user_id


class OrderService:
    @staticmethod
    async def get_order(order_id: PydanticObjectId, *, access: OrderAccess) -> OrderRead:
        """Raises OrderNotFoundError, for what is foreign as for what is absent. One command."""
        return to_order_read(await get_order_row(order_id, access=access))

    @staticmethod
    async def get_staff_order(order_id: PydanticObjectId, *, viewer: Viewer) -> StaffOrder:
        """With notes, hold and payment. Raises PermissionDeniedError, OrderNotFoundError."""
        viewer.require(Permission.MANAGE_ORDERS)
        return to_staff_order(await get_order_row(order_id, access=OrderAccess(viewer)))

    @staticmethod
    async def list_orders(
        request: PageRequest,
        *,
        viewer: Viewer,
        status: OrderStatus | None = None,
        customer_id: PydanticObjectId | None = None,
    ) -> Page[OrderSummary]:
        """One's own orders, newest first; staff lists everybody's, or one customer's. Two commands.

        `customer_id` narrows the list; it never widens it.
        """
        query: dict[str, Any] = {}
        if status is not None:
            query["status"] = status.value
        if not viewer.can(Permission.MANAGE_ORDERS):
            query["user_id"] = viewer.user_id
            if customer_id is not None:
                return await _list_own(query, customer_id, request)
        elif customer_id is not None:
            query["customer_id"] = customer_id
        total = await Order.count_rows(query)
        rows = await Order.find_rows(query, _SUMMARY_FIELDS, sort=[("_id", -1)], skip=request.skip, limit=request.limit)
        return page_of([_to_summary(row) for row in rows], request, total)

    @staticmethod
    async def search_orders(request: PageRequest, *, viewer: Viewer, key: str) -> Page[OrderSummary]:
        """The order of a number, or those of an e-mail address as it was written with them, newest first. Two commands.

        Raises PermissionDeniedError.
        """
        viewer.require(Permission.MANAGE_ORDERS)
        is_email = "@" in key
        query = {"email": normalize_email(key).written} if is_email else {"number": key.upper()}
        order = [("_id", -1)] if is_email else None
        total = await Order.count_rows(query)
        rows = await Order.find_rows(query, _SUMMARY_FIELDS, sort=order, skip=request.skip, limit=request.limit)
        return page_of([_to_summary(row) for row in rows], request, total)

    @staticmethod
    async def get_history(order_id: PydanticObjectId, *, access: OrderAccess) -> list[StatusChange]:
        """The order's timeline, oldest first. Staff is told who took each step, others what kind of person. Two commands.

        Raises OrderNotFoundError.
        """
        row = await get_order_row(order_id, access=access, fields={"user_id": 1, "guest_token_hash": 1})
        steps = await OrderStatusHistory.find_rows({"order_id": order_id}, sort=[("_id", 1)], limit=MAX_STEPS)
        return [_to_change(step, access=access, owner_id=row["user_id"]) for step in steps]

    @staticmethod
    async def get_tracking(order_id: PydanticObjectId, *, access: OrderAccess) -> OrderTracking:
        """Raises OrderNotFoundError."""
        order = Order.from_row(await get_order_row(order_id, access=access))
        return OrderTracking(
            number=order.number,
            status=order.status,
            placed_at=order.placed_at,
            shipped_at=order.shipped_at,
            delivered_at=order.delivered_at,
            pieces_count=order.items_count,
            shipped_count=sum(line.fulfilled_quantity for line in order.lines),
            parcels=order.fulfilments,
        )

    @staticmethod
    async def explain(order_id: PydanticObjectId, *, access: OrderAccess) -> OrderExplanation:
        """Which rule gave which cent of the total. Raises OrderNotFoundError."""
        fields = {"number": 1, "totals": 1, "steps": 1, "discounts": 1, "user_id": 1, "guest_token_hash": 1}
        return OrderExplanation.model_validate(await get_order_row(order_id, access=access, fields=fields))


async def _list_own(query: dict[str, Any], customer_id: PydanticObjectId, request: PageRequest) -> Page[OrderSummary]:
    """Those of one's own orders that are the customer's. Two commands.

    The customer is looked at after the few orders were found: all conditions at once are those of no index.
    """
    narrowed: list[dict[str, Any]] = [{"$match": query}, {"$match": {"$and": [{"customer_id": customer_id}]}}]
    counted = await Order.aggregate_rows([*narrowed, {"$group": {"_id": None, "count": {"$sum": 1}}}])
    rows = await Order.aggregate_rows(
        [
            *narrowed,
            {"$sort": {"_id": -1}},
            {"$skip": request.skip},
            {"$limit": request.limit},
            {"$project": _SUMMARY_FIELDS},
        ]
    )
    return page_of([_to_summary(row) for row in rows], request, counted[0]["count"] if counted else 0)


async def get_order_row(
    order_id: PydanticObjectId,
    *,
    access: OrderAccess,
    fields: Mapping[str, Any] | None = None,
    session: Session | None = None,
) -> dict[str, Any]:
    """The stored order; `fields`, if given, contain `user_id` and `guest_token_hash`. Raises OrderNotFoundError."""
    row = await Order.find_row({"_id": order_id}, fields, session=session)
    if row is None or not access.covers(row):
        raise OrderNotFoundError(order_id)
    return row


async def read_order(order_id: PydanticObjectId, *, access: OrderAccess, session: Session) -> Order:
    """The order within a transaction. Raises OrderNotFoundError."""
    return Order.from_row(await get_order_row(order_id, access=access, session=session))


def guest_order_token(order_id: PydanticObjectId, *, settings: Settings) -> str:
    """What shows a guest their order. Made again from its id, so that it lies nowhere in clear."""
    return mail_token("guest-order", order_id, settings=settings)


def guest_token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def to_order_read(row: Mapping[str, Any]) -> OrderRead:
    return OrderRead.model_validate({**row, "id": row["_id"], **_last_parcel(row)})


def to_staff_order(row: Mapping[str, Any]) -> StaffOrder:
    return StaffOrder.model_validate({**row, "id": row["_id"], **_last_parcel(row)})


def stamp_of(moment: datetime) -> str:
    """The part of an ETag that tells when the order was last written."""
    return f"{int(moment.timestamp() * 1000):x}"


def _last_parcel(row: Mapping[str, Any]) -> dict[str, Any]:
    last = row["fulfilments"][-1] if row["fulfilments"] else {}
    return {"tracking_number": last.get("tracking_number"), "shipping_carrier": last.get("carrier")}


def _to_summary(row: Mapping[str, Any]) -> OrderSummary:
    total = Money(**row["totals"]["total"])
    return OrderSummary.model_validate({**row, "id": row["_id"], "total": total})


def _to_change(step: Mapping[str, Any], *, access: OrderAccess, owner_id: PydanticObjectId | None) -> StatusChange:
    name: str = step["changed_by"]
    if not access.is_staff:
        if name == "guest" or name == f"user:{owner_id}":
            name = "customer"
        elif name.startswith("user:"):
            name = "staff"
    return StatusChange.model_validate({**step, "changed_by": name})
