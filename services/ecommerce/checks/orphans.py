"""Rows that speak of orders which are not there."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from models.base import AgoraDocument
from models.database import Session, run_transaction
from models.ecommerce.coupons import CouponRedemption
from models.ecommerce.customers import LoyaltyEntry
from models.ecommerce.orders import Order, OrderStatusHistory
from models.ecommerce.returns import ReturnRequest
from models.inventory.stock import Reservation, ReservationStatus, StockMovement
from models.payments import Payment, PaymentState
from services.drift import Drift
from services.ecommerce.orders.effects import order_id_of

BATCH = 500

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Reference:
    """Where a collection names orders, and the states in which that binds it."""

    document: type[AgoraDocument]
    field: str
    states: Mapping[str, Sequence[str]] | None = None

    def order_id(self, row: Row) -> Any:
        value = row.get(self.field)
        return order_id_of(value) if isinstance(value, str) else value

    def binds(self, row: Row) -> bool:
        return all(row[name] in states for name, states in (self.states or {}).items())


_REFERENCES = (
    _Reference(Payment, "subject", {"state": (PaymentState.AUTHORISED, PaymentState.CAPTURED)}),
    _Reference(Reservation, "owner", {"status": (ReservationStatus.HELD, ReservationStatus.COMMITTED)}),
    _Reference(StockMovement, "reference"),
    _Reference(CouponRedemption, "order_id"),
    _Reference(LoyaltyEntry, "order_id"),
    _Reference(ReturnRequest, "order_id"),
    _Reference(OrderStatusHistory, "order_id"),
)


async def orphan_drift() -> AsyncIterator[Drift]:
    """Money taken, stock promised or moved, coupons used, points won and pieces returned for orders that do not exist.

    A person must look at each. What looks wrong is looked at again within one snapshot.
    """
    for reference in _REFERENCES:
        after: Mapping[str, Any] = {}
        fields = dict.fromkeys((reference.field, *(reference.states or {})), 1)
        while rows := await reference.document.find_rows(after, fields, sort=[("_id", 1)], limit=BATCH):
            for row in await _lost(reference, rows):
                for drift in await run_transaction(partial(_look_again, reference=reference, id=row["_id"])):
                    yield drift
            after = {"_id": {"$gt": rows[-1]["_id"]}}


async def _lost(reference: _Reference, rows: Sequence[Row], session: Session | None = None) -> list[Row]:
    named = {row["_id"]: reference.order_id(row) for row in rows if reference.binds(row)}
    wanted = sorted({id for id in named.values() if id is not None})
    found = await Order.find_rows({"_id": {"$in": wanted}}, {"_id": 1}, session=session) if wanted else []
    there = {row["_id"] for row in found} | {None}
    return [row for row in rows if named.get(row["_id"]) not in there]


async def _look_again(session: Session, *, reference: _Reference, id: Any) -> list[Drift]:
    rows = await reference.document.find_rows({"_id": id}, session=session)
    return [
        Drift(reference.document.get_collection_name(), id, reference.field, str(row[reference.field]), "no such order", False)
        for row in await _lost(reference, rows, session)
    ]
