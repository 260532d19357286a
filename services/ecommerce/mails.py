"""Mail about orders, sent by a consumer of the outbox: what was ordered, sent, cancelled, taken back and paid back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from babel.core import Locale, UnknownLocaleError
from beanie import PydanticObjectId

from models.base import AgoraDocument
from models.ecommerce.customers import Customer
from models.ecommerce.orders import PAY_LATER, Fulfilment, Order, PaymentStatus
from models.ecommerce.returns import ReturnRequest, ReturnStatus
from models.events import Event, EventType
from models.money import Money
from models.payments import Refund
from services.events import Consumer
from services.mail import Mailer, Message
from services.sentmails import SentMailService, is_news
from services.settings import Settings

D = TypeVar("D", bound=AgoraDocument)

# Sources whose orders happened elsewhere, long ago: their customers had their mail.
_SILENT_SOURCES = frozenset({"import", "seed"})


@dataclass(frozen=True, slots=True)
class _Words:
    """The subject, and what is said between greeting and signature."""

    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class _Reader:
    name: str
    locale: str

    def money(self, amount: Money) -> str:
        return amount.formatted(self.locale)


_Writer = Callable[[Event, Order, _Reader], Awaitable[_Words | None]]


def order_mail_consumer(settings: Settings, mailer: Mailer) -> Consumer:
    """Writes to whoever placed an order, by the address the order has; one mail per event (`SentMailService`).

    A mail server that is away is waited for; nothing is ever undone.
    """

    async def handle(event: Event) -> None:
        order = await _order_of(event)
        if order is None or not order.email or order.source in _SILENT_SOURCES or not is_news(event):
            return
        if await SentMailService.was_sent(event.id, to=order.email, settings=settings):
            return
        reader = await _reader_of(order)
        words = await _WRITERS[event.type](event, order, reader)
        if words is None:
            return
        text = f"Hello {reader.name},\n\n{words.text}\n\n{settings.site_title}\n"
        message = Message(order.email, f"{words.subject} ({settings.site_title})", text)
        await SentMailService.send(event.id, message, mailer=mailer, settings=settings)

    return Consumer("order_mail", frozenset(_WRITERS), handle)


async def _placed(event: Event, order: Order, reader: _Reader) -> _Words | None:
    """Only where the payment comes later: what is paid at once is confirmed at once."""
    if order.payment_method not in PAY_LATER:
        return None
    return _Words(f"Your order {order.number}", f"thank you, we have your order.\n\n{_bill(order, reader)}")


async def _confirmed(event: Event, order: Order, reader: _Reader) -> _Words | None:
    return _Words(
        f"Your order {order.number}", f"thank you, your order is confirmed.\n\n{_bill(order, reader)}{_destination(order)}"
    )


async def _parcel_left(event: Event, order: Order, reader: _Reader) -> _Words | None:
    parcel = _parcel_of(event, order)
    is_last = event.type is EventType.ORDER_SHIPPED
    first = "your order is on its way" if is_last else "a part of your order is on its way; the rest follows"
    return _Words(f"Your order {order.number} is on its way", f"{first}.\n\n{_contents(parcel, order)}{_tracking(parcel)}")


async def _delivered(event: Event, order: Order, reader: _Reader) -> _Words | None:
    return _Words(f"Your order {order.number} has arrived", "your order has been delivered. We hope you like it.")


async def _cancelled(event: Event, order: Order, reader: _Reader) -> _Words | None:
    """Not when the payment was declined: whoever paid was told at once, and was not told that there was an order."""
    if order.payment_status is PaymentStatus.FAILED:
        return None
    paid = "" if order.paid_at is None else " What you paid is given back, and we write to you when it is on its way."
    return _Words(f"Your order {order.number} is cancelled", f"your order {order.number} is cancelled.{paid}")


async def _refunded(event: Event, order: Order, reader: _Reader) -> _Words | None:
    row = await _by_id(Refund, event.payload.get("refund_id"))
    if row is None:
        return None
    amount = reader.money(row.amount)
    text = f"we have given back {amount} for your order {order.number}, by the way you paid. It may take some days to show."
    return _Words(f"Your refund of {amount}", text)


async def _returned(event: Event, order: Order, reader: _Reader) -> _Words | None:
    """Not when the customer withdrew it: they know."""
    found = await _return_of(event)
    if found is None or event.payload.get("status") == ReturnStatus.CANCELLED:
        return None
    number = found.number
    says = {
        EventType.RETURN_REQUESTED: ("is noted", "we have your wish to return something. We look at it and write to you again."),
        EventType.RETURN_APPROVED: ("is approved", f"please send the pieces back and put the number {number} on the parcel."),
        EventType.RETURN_REJECTED: (
            "is not possible",
            "we cannot take these pieces back. Answer this mail if you have questions.",
        ),
        EventType.RETURN_RECEIVED: ("has arrived", "the pieces you sent back are here. A refund that is due follows."),
    }
    subject, text = says[event.type]
    return _Words(f"Your return {number} {subject}", text)


_WRITERS: dict[EventType, _Writer] = {
    EventType.ORDER_PLACED: _placed,
    EventType.ORDER_CONFIRMED: _confirmed,
    EventType.ORDER_FULFILLED: _parcel_left,
    EventType.ORDER_SHIPPED: _parcel_left,
    EventType.ORDER_DELIVERED: _delivered,
    EventType.ORDER_CANCELLED: _cancelled,
    EventType.REFUND_SUCCEEDED: _refunded,
    EventType.RETURN_REQUESTED: _returned,
    EventType.RETURN_APPROVED: _returned,
    EventType.RETURN_REJECTED: _returned,
    EventType.RETURN_RECEIVED: _returned,
}


async def _order_of(event: Event) -> Order | None:
    """The order an event is about: its subject, what its payment paid, or what its return returns."""
    kind, _, key = event.subject.partition(":")
    if kind == "return":
        found = await _return_of(event)
        key = "" if found is None else str(found.order_id)
    elif kind != "order":
        key = str(event.payload.get("subject", "")).removeprefix("order:")
    return await _by_id(Order, key)


async def _return_of(event: Event) -> ReturnRequest | None:
    kind, _, key = event.subject.partition(":")
    return await _by_id(ReturnRequest, key if kind == "return" else event.payload.get("return_id"))


async def _reader_of(order: Order) -> _Reader:
    """By the customer's profile; a guest by the address they gave."""
    customer = await _by_id(Customer, order.customer_id)
    address = order.billing_address or order.shipping_address
    name = customer.first_name if customer is not None and customer.first_name else address.first_name if address else ""
    return _Reader(name or "there", locale_of(customer.language if customer is not None else "en"))


async def _by_id(document: type[D], key: object) -> D | None:
    row = await document.find_row({"_id": PydanticObjectId(str(key))}) if PydanticObjectId.is_valid(str(key)) else None
    return None if row is None else document.from_row(row)


def locale_of(language: str) -> str:
    try:
        return str(Locale.parse(language.replace("-", "_")))
    except (UnknownLocaleError, ValueError):
        return "en_US"


def _bill(order: Order, reader: _Reader) -> str:
    totals = order.totals
    lines = [
        f"  {line.quantity} x {one_line(line.name)}{options_text(line.options)}: {reader.money(line.subtotal)}"
        for line in order.lines
    ]
    sums = [("Subtotal", totals.subtotal), ("Shipping", totals.shipping), ("Tax", totals.tax), ("Total", totals.total)]
    if totals.discount.amount:
        sums.insert(1, ("Discount", Money(amount=-totals.discount.amount, currency=totals.discount.currency)))
    return "\n".join([f"Order {order.number}", "", *lines, "", *(f"  {name}: {reader.money(value)}" for name, value in sums)])


def _destination(order: Order) -> str:
    place = order.shipping_address
    if place is None:
        return ""
    parts = [
        f"{place.first_name} {place.last_name}",
        place.line1,
        place.line2,
        f"{place.postal_code} {place.city}",
        place.country,
    ]
    return "\n\nIt goes to:\n" + "\n".join(f"  {one_line(part)}" for part in parts if part)


def _parcel_of(event: Event, order: Order) -> Fulfilment | None:
    wanted = str(event.payload.get("fulfilment_id", ""))
    return next((parcel for parcel in order.fulfilments if str(parcel.id) == wanted), None)


def _contents(parcel: Fulfilment | None, order: Order) -> str:
    names = {line.id: line.name for line in order.lines}
    pieces = parcel.lines if parcel is not None else []
    listed = [f"  {piece.quantity} x {one_line(names.get(piece.line_id, ''))}" for piece in pieces]
    return "\n".join([f"Order {order.number}", *listed])


def _tracking(parcel: Fulfilment | None) -> str:
    if parcel is None or not parcel.tracking_number:
        return ""
    carrier = f"{one_line(parcel.carrier)}, " if parcel.carrier else ""
    return f"\n\nFollow it: {carrier}{one_line(parcel.tracking_number)}"


def options_text(options: dict[str, str]) -> str:
    return f" ({', '.join(one_line(value) for value in options.values())})" if options else ""


def one_line(text: str) -> str:
    """Names come from people and files: none of them may write lines of its own into a mail."""
    return " ".join(text.split())
