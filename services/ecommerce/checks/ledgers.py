"""An order against the coupons it used, the points it won, its returns, and its own history."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from beanie import PydanticObjectId

from models.ecommerce.orders import OrderStatus, PaymentStatus
from models.ecommerce.returns import ReturnRequest, ReturnStatus
from models.payments import RefundState
from services.drift import Drift
from services.ecommerce.checks.books import OrderBooks


def coupons(books: OrderBooks) -> Iterator[Drift]:
    """A use is noted for every coupon of a living order, with what it took off; none for one that was cancelled."""
    order = books.order
    noted: Counter[PydanticObjectId] = Counter()
    for row in books.redemptions:
        noted[row["coupon_id"]] += row["discount"]["amount"]
    wanted: Counter[PydanticObjectId] = Counter()
    if order["status"] != OrderStatus.CANCELLED:
        for discount in order["discounts"]:
            if discount["coupon_id"] is not None:
                wanted[discount["coupon_id"]] += discount["amount"]["amount"]
    for id in sorted(noted.keys() | wanted.keys()):
        stored = f"{noted[id]} taken off" if id in noted else "not used"
        counted = f"{wanted[id]} taken off" if id in wanted else "not used"
        yield from books.drift(f"coupon {id}", stored, counted)


def points(books: OrderBooks) -> Iterator[Drift]:
    """The ledger of points against the order: what it won, whether it counts, and the money it stands for."""
    order, paying, entries = books.order, books.paying, books.entries
    is_paid = order["paid_at"] is not None
    is_counted = is_paid and order["status"] != OrderStatus.CANCELLED
    yield from books.drift("is_counted", str(order["is_counted"]), str(is_counted))
    if order["customer_id"] is None:
        yield from books.drift("entries of points", len(entries), 0)
        return
    stands = int(order["is_counted"] and order["payment_status"] != PaymentStatus.REFUNDED)
    counted = sum(entry["orders"] for entry in entries)
    won = sum(entry["points"] for entry in entries)
    yield from books.drift("points_earned", order["points_earned"], won, is_derived=counted == stands)
    yield from books.drift("orders by points", counted, stands)
    kept = (paying["captured"] if paying is not None else books.total) - books.refunded if is_paid else 0
    yield from books.drift("money by points", sum(_amount(entry) for entry in entries), kept)


def returns(books: OrderBooks) -> Iterator[Drift]:
    """A return is paid back when its refund says so, and never with more than its pieces were paid with."""
    states = {row["_id"]: row for row in books.refunds}
    name = ReturnRequest.get_collection_name()
    for request in books.returns:
        if request["refund_id"] is None:
            if request["status"] == ReturnStatus.REFUNDED:
                yield Drift(name, request["_id"], "refund_id", None, "the refund of a return that is refunded", is_derived=False)
            continue
        refund = states.get(request["refund_id"])
        if refund is None:
            yield Drift(name, request["_id"], "refund_id", str(request["refund_id"]), "no such refund", is_derived=False)
            continue
        if request["status"] == ReturnStatus.REFUNDED and refund["state"] != RefundState.SUCCEEDED:
            yield Drift(name, request["_id"], "status", request["status"], f"refund {refund['state']}", is_derived=False)
        worth = request["refund"]["amount"] if request["refund"] else 0
        if refund["amount"]["amount"] > worth:
            yield Drift(name, request["_id"], "refund.amount", worth, refund["amount"]["amount"], is_derived=False)


def history(books: OrderBooks) -> Iterator[Drift]:
    """The steps lead from the order's creation to where it is, each from where the one before led."""
    steps = {row["old_status"]: row["new_status"] for row in books.history}
    at: str | None = None
    taken = 0
    while at in steps and taken < len(steps):
        at = steps[at]
        taken += 1
    yield from books.drift("status", books.order["status"], str(at))
    # No status is left twice, so that two steps from one are one too many.
    yield from books.drift("steps of the history", len(books.history), taken)


def _amount(entry: Any) -> int:
    return entry["amount"]["amount"] if entry["amount"] is not None else 0
