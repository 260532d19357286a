"""An order against its own arithmetic and against its payments: what was asked for, paid, and given back."""

from collections.abc import Iterator

from models.ecommerce.orders import PAY_LATER, Order, OrderStatus, PaymentMethod, PaymentStatus
from models.payments import Payment, PaymentState
from services.drift import Drift
from services.ecommerce.checks.books import OrderBooks, Row
from services.ecommerce.orders.owing import owed_payments

_UNPAID = (PaymentStatus.PENDING, PaymentStatus.FAILED)
_BEFORE_PAYMENT = (OrderStatus.PENDING, OrderStatus.CANCELLED)


def arithmetic(books: OrderBooks) -> Iterator[Drift]:
    """Lines, discounts and steps against the totals they claim to be."""
    order, totals = books.order, books.order["totals"]
    lines = order["lines"]
    yield from books.drift("items_count", order["items_count"], sum(line["quantity"] for line in lines), is_derived=True)
    for at, line in enumerate(lines):
        yield from books.drift(f"lines.{at}.subtotal.amount", _of(line, "subtotal"), line["quantity"] * _of(line, "unit_price"))
        included = totals["prices_include_tax"]
        total = _of(line, "subtotal") - _of(line, "discount") + (0 if included else _of(line, "tax"))
        yield from books.drift(f"lines.{at}.total.amount", _of(line, "total"), total)
    for name in ("subtotal", "discount"):
        yield from books.drift(f"totals.{name}.amount", _of(totals, name), sum(_of(line, name) for line in lines))
    untaxed = _of(totals, "subtotal") - _of(totals, "discount") + _of(totals, "shipping")
    total = untaxed + (0 if totals["prices_include_tax"] else _of(totals, "tax"))
    yield from books.drift("totals.total.amount", _of(totals, "total"), total)
    if order["steps"]:
        yield from books.drift("steps", sum(_of(step, "amount") for step in order["steps"]), _of(totals, "total"))


def payments(books: OrderBooks) -> Iterator[Drift]:
    """At most one payment pays an order, with the order's total, and the order says so; whatever else came in is owed."""
    order, paying = books.order, books.paying
    if order["payment_id"] is not None and paying is None:
        yield from books.drift("payment_id", str(order["payment_id"]), "no such payment")
        return
    if paying is None and books.total and order["status"] not in _BEFORE_PAYMENT:
        yield from books.drift("payment_id", None, f"the payment of an order that is {order['status']}")
    allowed = _payment_statuses(books)
    if order["payment_status"] not in allowed:
        yield from books.drift("payment_status", order["payment_status"], allowed[0].value)
    for payment in books.payments:
        told = (payment["amount"]["amount"], payment["amount"]["currency"])
        if told != (books.total, order["currency"]):
            there = Payment.get_collection_name()
            stored = f"{told[0]} {told[1]}"
            yield Drift(there, payment["_id"], "amount", stored, f"{books.total} {order['currency']}", is_derived=False)
    if not order["is_owing"]:
        for payment in _owed(books):
            field = f"is_owing, for payment {payment['_id']}"
            yield from books.drift(field, "no", f"{payment['captured'] - payment['refunded'] or payment['amount']['amount']}")


def refunds(books: OrderBooks) -> Iterator[Drift]:
    """What the order says went back is what went back; all of it makes it a refunded one."""
    order, paying = books.order, books.paying
    # Only where the payment tells the same: else a refund may be lost, and the order be the one who is right.
    is_sure = paying is None or paying["refunded"] == books.refunded
    yield from books.drift("refunded.amount", order["refunded"]["amount"], books.refunded, is_derived=is_sure)
    if paying is None or order["status"] in _BEFORE_PAYMENT:
        return
    is_whole = paying["captured"] > 0 and books.refunded >= paying["captured"]
    if is_whole != (order["status"] == OrderStatus.REFUNDED):
        yield from books.drift("status", order["status"], "refunded" if is_whole else "not refunded")


def _of(row: Row, name: str) -> int:
    return int(row[name]["amount"])


def _owed(books: OrderBooks) -> list[Row]:
    """The rows of the payments that hold money without a right to it, by the rule that gives it back."""
    order = Order.model_construct(status=OrderStatus(books.order["status"]), payment_id=books.order["payment_id"])
    candidates = {row["_id"]: row for row in books.payments if row["state"] in (PaymentState.AUTHORISED, PaymentState.CAPTURED)}
    owed = owed_payments(order, [Payment.from_row(row) for row in candidates.values()])
    return [candidates[payment.id] for payment in owed]


def _payment_statuses(books: OrderBooks) -> tuple[PaymentStatus, ...]:
    """What the order may say of its payment; the likeliest first."""
    paying = books.paying
    if paying is None:
        return _UNPAID if books.total else (PaymentStatus.COMPLETED,)
    match paying["state"]:
        case PaymentState.CAPTURED if books.refunded >= paying["captured"]:
            return (PaymentStatus.REFUNDED,)
        case PaymentState.CAPTURED:
            return (PaymentStatus.PARTIALLY_REFUNDED,) if books.refunded else (PaymentStatus.COMPLETED,)
        case PaymentState.AUTHORISED if PaymentMethod(books.order["payment_method"]) in PAY_LATER:
            return (PaymentStatus.PENDING, PaymentStatus.AUTHORISED)
        case PaymentState.AUTHORISED:
            return (PaymentStatus.AUTHORISED,)
        case PaymentState.VOIDED:
            return (PaymentStatus.VOIDED,)
        case _:
            return _UNPAID
