"""A retailer's credit notes as returns: of the invoice they belong to, where it can be found, else by themselves.

No stock moves, as with invoices: the pieces came back, but not into a stock that is counted here.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beanie import PydanticObjectId

from models.base import to_milliseconds
from models.database import DuplicateKeyError, Session, run_transaction, start_again
from models.ecommerce.catalog import Product
from models.ecommerce.orders import Order, OrderLine, OrderStatus, OrderStatusHistory, PaymentStatus
from models.ecommerce.returns import Disposition, ReturnLine, ReturnReason, ReturnRequest, ReturnStatus
from models.events import EventType
from models.money import Money
from models.payments import Payment, PaymentState, Refund, RefundState
from services.ecommerce.customers import CustomerService
from services.ecommerce.orders.effects import move_sales
from services.ecommerce.orders.transitions import change_order
from services.events import EventService
from services.imports.invoices import REASON, SOURCE, InvoiceTerms, dated_id, source_key_of
from services.imports.retail import RetailDocument, RetailLine, product_sku
from services.payments.offline import IMPORTED

_CANDIDATES = 200  # of a customer's imported orders, the latest first


@dataclass(frozen=True, slots=True)
class _Piece:
    """So many pieces of an order's line, and what was given back for them."""

    line: OrderLine
    quantity: int
    amount: Money


async def write_credit(document: RetailDocument, terms: InvoiceTerms) -> bool:
    """Store the return, and what it moves where its order is known; false when it was there.

    It belongs to the customer's latest order before it that holds all its goods, and was paid with enough. One of which no such
    order is known keeps its amounts to itself: no order's, payment's or customer's sums know of it.
    """
    key, moment = source_key_of(document.number), to_milliseconds(document.placed_at)

    async def work(session: Session) -> None:
        found = await _find_order(document, terms, moment, session)
        if found is None:
            await _alone(document, terms, key, moment).store(session=session)
            return
        order, pieces = found
        amount = Money(amount=document.total, currency=terms.currency)
        request = _request(document, terms, key, moment, _lines_of(pieces), amount)
        refund = _refund_of(order, document, key, moment, amount)
        request = request.model_copy(update={"order_id": order.id, "refund_id": refund.id})
        await request.store(session=session)
        await refund.store(session=session)
        payment = await Payment.change(
            {"_id": order.payment_id, "refundable": {"$gte": amount.amount}},
            {"$inc": {"refunded": amount.amount, "refundable": -amount.amount}},
            session=session,
        )
        if payment is None:
            raise start_again("the payment was refunded meanwhile")
        await _note_on_order(order, pieces, payment, amount, moment, session=session)
        await EventService.record(session, EventType.ORDER_IMPORTED, f"order:{order.id}")
        if order.customer_id is not None:
            await CustomerService.note_refund(
                session, order.customer_id, order_id=order.id, key=f"refund:{refund.id}", amount=amount
            )

    hot = [terms.customer_id] if terms.customer_id else []
    try:
        await run_transaction(work, hot=hot)
    except DuplicateKeyError:
        if await ReturnRequest.find_row({"source_key": key}, {"_id": 1}) is None:
            raise
        return False
    return True


async def _find_order(
    document: RetailDocument, terms: InvoiceTerms, moment: datetime, session: Session
) -> tuple[Order, list[_Piece]] | None:
    if terms.customer_id is None or not document.goods:
        return None
    query = {"customer_id": terms.customer_id}
    for row in await Order.find_rows(query, sort=[("_id", -1)], limit=_CANDIDATES, session=session):
        if row["source"] != SOURCE or row["placed_at"] > moment or row["currency"] != terms.currency:
            continue
        order = Order.from_row(row)
        pieces = _pieces_in(order, document.goods)
        if pieces and order.payment_id is not None and await _can_refund(order, document.total, session):
            return order, pieces
    return None


def _pieces_in(order: Order, goods: list[RetailLine]) -> list[_Piece]:
    """The pieces of the order's lines that are given back; empty unless it still has all of them."""
    left = {line.id: line.fulfilled_quantity - line.returning_quantity for line in order.lines}
    pieces = []
    for credit in goods:
        sku, wanted = product_sku(credit.code), credit.quantity
        # First those that cost the same.
        lines = sorted((line for line in order.lines if line.sku == sku), key=lambda line: line.unit_price != credit.unit_price)
        for line in lines:
            taken = min(wanted, left[line.id])
            if taken:
                left[line.id] -= taken
                wanted -= taken
                pieces.append(_Piece(line, taken, credit.unit_price * taken))
        if wanted:
            return []
    return pieces


async def _can_refund(order: Order, amount: int, session: Session) -> bool:
    payment = await Payment.find_row({"_id": order.payment_id}, {"refundable": 1, "state": 1}, session=session)
    return payment is not None and payment["state"] == PaymentState.CAPTURED and 0 < amount <= payment["refundable"]


def _lines_of(pieces: list[_Piece]) -> list[ReturnLine]:
    """A line for each line of the order."""
    quantities: defaultdict[PydanticObjectId, int] = defaultdict(int)
    amounts: dict[PydanticObjectId, Money] = {}
    for piece in pieces:
        known = amounts.get(piece.line.id)
        quantities[piece.line.id] += piece.quantity
        amounts[piece.line.id] = piece.amount if known is None else known + piece.amount
    lines = {piece.line.id: piece.line for piece in pieces}
    return [_returned(id, line.sku, line.name, line.variant_id, quantities[id], amounts[id]) for id, line in lines.items()]


def _returned(
    id: PydanticObjectId, sku: str, name: str, variant_id: PydanticObjectId, quantity: int, amount: Money
) -> ReturnLine:
    return ReturnLine(
        line_id=id,
        sku=sku,
        name=name,
        variant_id=variant_id,
        quantity=quantity,
        reason=ReturnReason.OTHER,
        received_quantity=quantity,
        disposition=Disposition.WRITE_OFF,
        refund=amount,
    )


def _alone(document: RetailDocument, terms: InvoiceTerms, key: str, moment: datetime) -> ReturnRequest:
    """A return without an order. Its lines are of no order either: their ids are their own."""
    lines = [
        _returned(
            dated_id(moment, f"{key}:{line.row.line}"),
            product_sku(line.code),
            line.name,
            _variant_id(terms.products, line),
            line.quantity,
            line.amount,
        )
        for line in document.goods
    ]
    return _request(document, terms, key, moment, lines, Money(amount=document.total, currency=terms.currency))


def _variant_id(products: Mapping[str, Product], line: RetailLine) -> PydanticObjectId:
    sku, product = product_sku(line.code), products[line.code]
    return next((one.id for one in product.variants if one.sku == sku), product.variants[0].id)


def _request(
    document: RetailDocument, terms: InvoiceTerms, key: str, moment: datetime, lines: list[ReturnLine], amount: Money
) -> ReturnRequest:
    extra = [f"{line.code} {line.name}: {line.amount}" for line in (*document.discounts, *document.charges)]
    return ReturnRequest(
        id=dated_id(moment, f"return:{key}"),
        number=f"RETAIL-{document.number}",
        source_key=key,
        customer_id=terms.customer_id,
        lines=lines,
        status=ReturnStatus.REFUNDED,
        staff_notes="; ".join([REASON, *extra]),
        refund=amount,
        requested_at=moment,
        received_at=moment,
        settled_at=moment,
    )


def _refund_of(order: Order, document: RetailDocument, key: str, moment: datetime, amount: Money) -> Refund:
    assert order.payment_id is not None
    return Refund(
        id=dated_id(moment, f"refund:{key}"),
        payment_id=order.payment_id,
        subject=f"order:{order.id}",
        gateway=IMPORTED,
        key=f"import:{key}",
        amount=amount,
        reason=f"credit note {document.number}",
        state=RefundState.SUCCEEDED,
        settled_at=moment,
    )


async def _note_on_order(
    order: Order, pieces: list[_Piece], payment: Payment, amount: Money, moment: datetime, *, session: Session
) -> None:
    """The pieces and the money that are back, and where that leaves the order."""
    back: defaultdict[PydanticObjectId, int] = defaultdict(int)
    for piece in pieces:
        back[piece.line.id] += piece.quantity
    fields: dict[str, Any] = {}
    for at, line in enumerate(order.lines):
        if line.id in back:
            fields[f"lines.{at}.returned_quantity"] = line.returned_quantity + back[line.id]
            fields[f"lines.{at}.returning_quantity"] = line.returning_quantity + back[line.id]
    is_whole = payment.refunded >= payment.captured
    is_all_back = all(line.returned_quantity + back[line.id] == line.quantity for line in order.lines)
    steps = []
    if is_all_back and order.status is OrderStatus.DELIVERED:
        steps.append(OrderStatus.RETURNED)
    if is_whole:
        steps.append(OrderStatus.REFUNDED)
    fields["payment_status"] = PaymentStatus.REFUNDED if is_whole else PaymentStatus.PARTIALLY_REFUNDED
    fields["status"] = steps[-1] if steps else order.status
    changed = await change_order(order, fields, session=session, more={"$inc": {"refunded.amount": amount.amount}})
    old = order.status
    for step in steps:
        await OrderStatusHistory(
            order_id=order.id, old_status=old, new_status=step, changed_at=moment, changed_by="system", reason=REASON
        ).store(session=session)
        old = step
    await move_sales(changed, {id: -count for id, count in back.items()}, session=session)
