"""What stored orders with all that belongs to them, and carts left alone, amount to as facts. Pure: rows in, facts out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from models.analytics.rollups import Dimension
from models.ecommerce.orders import OrderStatus
from models.fraud import FraudReviewState
from models.payments import PaymentState, RefundState
from services.analytics.rollups.counting import Entry, Fact, add_up
from services.payments.offline import IMPORTED

Row = Mapping[str, Any]

ORDER_FIELDS = dict.fromkeys(
    ("currency", "lines", "items_count", "totals", "discounts", "status", "payment_id", "source", "paid_at", "cancelled_at"), 1
)
PAYMENT_FIELDS = {
    **dict.fromkeys(("subject", "amount", "method", "gateway", "state", "captured", "created_at", "settled_at"), 1),
    **dict.fromkeys(("failure_code", "failed_at", "failed_code", "voided_at"), 1),
}
REFUND_FIELDS = dict.fromkeys(("subject", "payment_id", "amount", "state", "settled_at"), 1)
RETURN_FIELDS = dict.fromkeys(("order_id", "lines", "received_at"), 1)
REVIEW_FIELDS = dict.fromkeys(("payment_id", "rule", "amount", "state", "created_at", "decided_at"), 1)
CART_FIELDS = dict.fromkeys(("value", "abandoned_at", "reminded_at", "recovered_at"), 1)

_UNANSWERED = (PaymentState.CREATED, PaymentState.PROCESSING)
_DECIDED = {FraudReviewState.APPROVED: "released", FraudReviewState.REJECTED: "rejected"}


def facts_of_order(
    order: Row,
    *,
    payments: Sequence[Row] = (),
    refunds: Sequence[Row] = (),
    returns: Sequence[Row] = (),
    reviews: Sequence[Row] = (),
) -> list[Fact]:
    """Everything that has happened to an order and counts: the sale, its cancellation, payments with what fraud rules made of
    them, refunds and pieces back.
    """
    tried = [payment for payment in payments if payment["gateway"] != IMPORTED]  # what was imported was tried elsewhere
    ways = {payment["_id"]: f"{payment['method']}/{payment['gateway']}" for payment in tried}
    unanswered = {payment["_id"] for payment in tried if payment["state"] in _UNANSWERED}
    silent = unanswered - {review["payment_id"] for review in reviews}  # not even a fraud rule had a word to say
    return [
        *_sale(order),
        *_cancellation(order),
        *(fact for payment in tried for fact in _payment(payment, ways[payment["_id"]], is_open=payment["_id"] in silent)),
        *(fact for refund in refunds for fact in _refund(refund, order, ways.get(refund["payment_id"]))),
        *(fact for request in returns for fact in _pieces_back(request, order)),
        *(fact for review in reviews for fact in _review(review, is_open=review["payment_id"] in unanswered)),
    ]


def facts_of_cart(left: Row) -> list[Fact]:
    """That a cart was left alone, that its owner was reminded, and that it was bought after all: all of them count when it was
    found alone, so that a period tells what became of its carts.
    """
    id, at, value = left["_id"], left["abandoned_at"], left["value"]["amount"]
    found = {"abandoned": {"abandoned": 1, "value": value}}
    if left["reminded_at"] is not None:
        found["reminded"] = {"reminded": 1}
    if left["recovered_at"] is not None:
        found["recovered"] = {"recovered": 1, "recovered_value": value}
    return [
        Fact(f"{what}:{id}", at, [Entry(Dimension.CART, "", left["value"]["currency"], figures)])
        for what, figures in found.items()
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


def _refund(refund: Row, order: Row, way: str | None) -> Iterator[Fact]:
    """When it succeeded, or was refused. What came in for no sale (twice, too late) and went back is no refund of the shop's."""
    if refund["state"] == RefundState.PENDING or refund["settled_at"] is None:
        return
    amount, currency = refund["amount"]["amount"], refund["amount"]["currency"]
    is_done = refund["state"] == RefundState.SUCCEEDED
    given_back = {"refunded_count": 1, "refunds": amount}
    entries = [Entry(Dimension.PAYMENT, way, currency, given_back if is_done else {"failed_refunds": 1})] if way else []
    if is_done and order["paid_at"] is not None and order["payment_id"] == refund["payment_id"]:
        entries += _for_shop(order, given_back)
    if entries:
        yield Fact(f"refund:{refund['_id']}", refund["settled_at"], entries)


def _payment(payment: Row, way: str, *, is_open: bool) -> Iterator[Fact]:
    """What was tried, by when it was begun, once anybody answered; and each thing that came of it, by when it came.

    One that failed, or was let go, and was captured all the same is both.
    """
    state, settled_at = payment["state"], payment["settled_at"]
    amount, currency = payment["amount"]["amount"], payment["amount"]["currency"]

    def fact(what: str, at: datetime, figures: Mapping[str, int], *more: Entry) -> Fact:
        return Fact(f"{what}:{payment['_id']}", at, [Entry(Dimension.PAYMENT, way, currency, figures), *more])

    if not is_open:
        yield fact("attempt", payment["created_at"], {"attempts": 1})
    if state == PaymentState.FAILED:
        failed_at, code = settled_at, payment["failure_code"]
    else:
        failed_at, code = payment.get("failed_at"), payment.get("failed_code")
    if failed_at is not None:
        reason = Entry(Dimension.FAILURE, code or "", currency, {"failed": 1, "amount": amount})
        yield fact("failure", failed_at, {"failed": 1}, reason)
    voided_at = settled_at if state == PaymentState.VOIDED else payment.get("voided_at")
    if voided_at is not None:
        yield fact("void", voided_at, {"voided": 1})
    if state == PaymentState.CAPTURED and settled_at is not None:
        yield fact("capture", settled_at, {"captured_count": 1, "captured": payment["captured"]})


def _review(review: Row, *, is_open: bool) -> Iterator[Fact]:
    """That a fraud rule held a payment back, and what a person decided, once the payment is answered: then there is an event."""

    def fact(what: str, at: datetime, name: str) -> Fact:
        figures = {f"{name}_count": 1, name: review["amount"]["amount"]}
        return Fact(f"{what}:{review['_id']}", at, [Entry(Dimension.RULE, review["rule"], review["amount"]["currency"], figures)])

    yield fact("review", review["created_at"], "reviewed")
    if review["state"] in _DECIDED and not is_open:
        yield fact("decision", review["decided_at"], _DECIDED[review["state"]])


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
