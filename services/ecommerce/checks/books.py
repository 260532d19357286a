"""Everything that is written down about some orders, read together so that it can be held against each other."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beanie import PydanticObjectId

from models.base import AgoraDocument
from models.database import Session
from models.ecommerce.coupons import CouponRedemption
from models.ecommerce.customers import LoyaltyEntry
from models.ecommerce.orders import Order, OrderStatusHistory
from models.ecommerce.returns import ReturnRequest
from models.inventory.stock import Reservation, StockMovement
from models.payments import Payment, Refund, RefundState
from services.drift import Drift
from services.ecommerce.orders.effects import order_owner

Row = Mapping[str, Any]

_NAMES = (
    *("number", "source", "currency", "customer_id", "lines", "items_count", "totals", "discounts", "steps", "fulfilments"),
    *("status", "payment_status", "payment_method", "payment_id", "is_stock_taken", "is_counted", "is_owing"),
    *("expires_at", "paid_at", "refunded", "points_earned", "revision"),
)
_FIELDS = dict.fromkeys(_NAMES, 1)


@dataclass(frozen=True, slots=True)
class OrderBooks:
    """One order and what other books say about it: stored rows, each list in the order in which it was written."""

    order: Row
    payments: Sequence[Row]
    refunds: Sequence[Row]
    reservations: Sequence[Row]  # one at most
    movements: Sequence[Row]
    redemptions: Sequence[Row]
    entries: Sequence[Row]
    returns: Sequence[Row]
    history: Sequence[Row]

    @property
    def paying(self) -> Row | None:
        """The payment that paid the order, if the order names one that exists."""
        return next((row for row in self.payments if row["_id"] == self.order["payment_id"]), None)

    @property
    def total(self) -> int:
        return int(self.order["totals"]["total"]["amount"])

    @property
    def refunded(self) -> int:
        """What went back of the payment that paid it."""
        rows = (row for row in self.refunds if row["payment_id"] == self.order["payment_id"])
        return sum(row["amount"]["amount"] for row in rows if row["state"] == RefundState.SUCCEEDED)

    def drift(self, field: str, stored: int | str | None, counted: int | str, *, is_derived: bool = False) -> Iterator[Drift]:
        """One difference in the order, or none."""
        if stored != counted:
            yield Drift(Order.get_collection_name(), self.order["_id"], field, stored, counted, is_derived)

    def pieces_by_variant(self, *, counted_only: bool = True) -> Counter[PydanticObjectId]:
        """What was ordered of the variants whose stock is kept."""
        pieces: Counter[PydanticObjectId] = Counter()
        for line in self.order["lines"]:
            if line["tracks_inventory"] or not counted_only:
                pieces[line["variant_id"]] += line["quantity"]
        return pieces


async def read_orders(query: Row, *, limit: int = 0, session: Session | None = None) -> list[dict[str, Any]]:
    """The orders that meet the query, by id, with what the checks look at."""
    return await Order.find_rows(query, _FIELDS, sort=[("_id", 1)], limit=limit, session=session)


async def read_books(orders: Sequence[Row], *, session: Session | None = None) -> list[OrderBooks]:
    """The books of these orders, in their order. Eight commands however many they are."""
    ids = [order["_id"] for order in orders]
    owners = [order_owner(id) for id in ids]

    async def of(document: type[AgoraDocument], field: str, keys: Sequence[Any]) -> defaultdict[Any, list[dict[str, Any]]]:
        found: defaultdict[Any, list[dict[str, Any]]] = defaultdict(list)
        for row in await document.find_rows({field: {"$in": keys}}, sort=[("_id", 1)], session=session):
            found[row[field]].append(row)
        return found

    payments = await of(Payment, "subject", owners)
    refunds = await of(Refund, "subject", owners)
    reservations = await of(Reservation, "owner", owners)
    movements = await of(StockMovement, "reference", owners)
    redemptions = await of(CouponRedemption, "order_id", ids)
    entries = await of(LoyaltyEntry, "order_id", ids)
    returns = await of(ReturnRequest, "order_id", ids)
    history = await of(OrderStatusHistory, "order_id", ids)
    return [
        OrderBooks(
            order=order,
            payments=payments[owner],
            refunds=refunds[owner],
            reservations=reservations[owner],
            movements=movements[owner],
            redemptions=redemptions[id],
            entries=entries[id],
            returns=returns[id],
            history=history[id],
        )
        for order, id, owner in zip(orders, ids, owners, strict=True)
    ]
