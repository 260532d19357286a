"""What stored orders, payments, refunds and returns amount to as facts. Pure: rows in, facts out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from models.analytics.rollups import Dimension
from models.ecommerce.orders import OrderStatus
from models.payments import PaymentState, RefundState
from services.analytics.rollups.counting import Entry, Fact, add_up

Row = Mapping[str, Any]

ORDER_FIELDS = dict.fromkeys(
    ("currency", "lines", "items_count", "totals", "discounts", "status", "payment_id", "source", "paid_at", "cancelled_at"), 1
)
PAYMENT_FIELDS = dict.fromkeys(("subject", "amount", "method", "state", "captured", "settled_at", "declined_at"), 1)
REFUND_FIELDS = dict.fromkeys(("subject", "payment_id", "amount", "state", "settled_at"), 1)
RETURN_FIELDS = dict.fromkeys(("order_id", "lines", "received_at"), 1)


def facts_of_order(
    order: Row, *, payments: Sequence[Row] = (), refunds: Sequence[Row] = (), returns: Sequence[Row] = ()
) -> list[Fact]:
    """Everything that has happened to an order and counts: the sale, its cancellation, payments, refunds and pieces back."""
    methods = {payment["_id"]: payment["method"] for payment in payments}
    return [
        *_sale(order),
        *_cancellation(order),
        *(fact for payment in payments for fact in _payment(payment)),
        *(fact for refund in refunds for fact in _refund(refund, order, methods.get(refund["payment_id"]))),
        *(fact for request in returns for fact in _pieces_back(request, order)),
    ]


def _sale(order: Row) -> Iterator[Fact]:
    """When it was paid, or there was nothing to pay. An order that was cancelled afterwards was sold all the same."""
    if order["paid_at"] is None:
        return
    currency, totals = order["currency"], order["totals"]
    figures = {
        "orders": 1,
        "units": order["items_count"],
        "gross": totals["subtotal"]["amount"],
        **{name: totals[name]["amount"] for name in ("discount", "tax", "shipping", "total")},
    }
    yield Fact(
        f"sale:{order['_id']}",
        order["paid_at"],
        [
            Entry(Dimension.TOTAL, "", currency, figures),
            Entry(Dimension.SOURCE, order["source"], currency, figures),
            *_of_lines(Dimension.PRODUCT, "product_id", order),
            *_of_lines(Dimension.CATEGORY, "category_id", order),
            *_of_coupons(order),
        ],
    )


def _of_lines(dimension: Dimension, field: str, order: Row) -> Iterator[Entry]:
    """One entry per product or category: an order counts once, however many of its lines are about it."""
    found: dict[str, dict[str, int]] = {}
    for line in order["lines"]:
        sums = found.setdefault(_key(line[field]), {"orders": 1})
        money = {name: line[name]["amount"] for name in ("discount", "tax", "total")}
        add_up(sums, {"units": line["quantity"], "gross": line["subtotal"]["amount"], **money})
    for key, sums in found.items():
        yield Entry(dimension, key, order["currency"], sums)


def _of_coupons(order: Row) -> Iterator[Entry]:
    found: dict[str, int] = {}
    for discount in order["discounts"]:
        if discount["coupon_id"] is not None:
            add_up(found, {_key(discount["coupon_id"]): discount["amount"]["amount"]})
    for key, amount in found.items():
        figures = {"orders": 1, "discount": amount, "total": order["totals"]["total"]["amount"]}
        yield Entry(Dimension.COUPON, key, order["currency"], figures)


def _cancellation(order: Row) -> Iterator[Fact]:
    """Of an order that had been sold; its money comes back as a refund."""
    if order["paid_at"] is None or order["status"] != OrderStatus.CANCELLED:
        return
    yield Fact(f"cancellation:{order['_id']}", order["cancelled_at"], list(_for_shop(order, {"cancelled": 1})))


def _refund(refund: Row, order: Row, method: str | None) -> Iterator[Fact]:
    """When it succeeded. What came in for no sale (twice, too late) and went back is told of its method alone."""
    if refund["state"] != RefundState.SUCCEEDED or refund["settled_at"] is None:
        return
    amount, currency = refund["amount"]["amount"], refund["amount"]["currency"]
    entries = [] if method is None else [Entry(Dimension.METHOD, method, currency, {"refunds": amount})]
    if order["paid_at"] is not None and order["payment_id"] == refund["payment_id"]:
        entries += _for_shop(order, {"refunds": amount, "refunded_count": 1})
    if entries:
        yield Fact(f"refund:{refund['_id']}", refund["settled_at"], entries)


def _payment(payment: Row) -> Iterator[Fact]:
    """What was captured, and what was declined or blocked; one that was declined and came all the same is both."""
    is_captured, is_failed = payment["state"] == PaymentState.CAPTURED, payment["state"] == PaymentState.FAILED
    failed_at = payment["declined_at"] or (payment["settled_at"] if is_failed else None)
    if failed_at is not None:
        yield _attempt("failure", payment, failed_at, {"attempts": 1, "failed": 1})
    if is_captured and payment["settled_at"] is not None:
        figures = {"attempts": 1, "captured_count": 1, "captured": payment["captured"]}
        yield _attempt("capture", payment, payment["settled_at"], figures)


def _attempt(what: str, payment: Row, at: datetime, figures: Mapping[str, int]) -> Fact:
    entry = Entry(Dimension.METHOD, payment["method"], payment["amount"]["currency"], figures)
    return Fact(f"{what}:{payment['_id']}", at, [entry])


def _pieces_back(request: Row, order: Row) -> Iterator[Fact]:
    """When they were received, also those of an order that is yet to be paid."""
    received_at = request.get("received_at")
    if received_at is None:
        return
    lines = {line["id"]: line for line in order["lines"]}
    entries = []
    for dimension, field in ((Dimension.PRODUCT, "product_id"), (Dimension.CATEGORY, "category_id")):
        pieces: dict[str, int] = {}
        for back in request["lines"]:
            if back["line_id"] in lines:
                add_up(pieces, {_key(lines[back["line_id"]][field]): back["received_quantity"]})
        entries += [Entry(dimension, key, order["currency"], {"returned_units": count}) for key, count in pieces.items() if count]
    if entries:
        yield Fact(f"return:{request['_id']}", received_at, entries)


def _for_shop(order: Row, figures: Mapping[str, int]) -> Iterable[Entry]:
    yield Entry(Dimension.TOTAL, "", order["currency"], figures)
    yield Entry(Dimension.SOURCE, order["source"], order["currency"], figures)


def _key(id: Any) -> str:
    """Of a product or category; empty for none."""
    return "" if id is None else str(id)
