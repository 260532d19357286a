"""Orders: the list, one order with its timeline, and what staff does with it."""

from collections.abc import Sequence

from api.schemas.orders import AdminNotesUpdate, FulfilmentCreate, HoldCreate, OrderStatusUpdate, TrackingUpdate
from api.web.admin.desk import ADMIN, BadFormError, Desk, Form, filled
from api.web.admin.layout import Action, Badge, Field, Link, Page, Row, Table, Text, Value
from api.web.admin.returns import returns_table
from api.web.admin.subjects import payment_link, subject_link, user_link
from api.web.admin.views import Act, Group, Move, Queue, View
from models.ecommerce.orders import Fulfilment, OrderLine, OrderStatus, OrderSummary, StaffOrder, StatusChange
from models.money import Money
from models.payments import PaymentRead
from models.places import PostalAddress
from services.ecommerce.orders.administration import OrderAdministrationService
from services.ecommerce.orders.fulfilment import FulfilmentService
from services.ecommerce.orders.reading import OrderAccess, OrderService
from services.ecommerce.orders.transitions import EDGES, Party
from services.ecommerce.returns.requests import ReturnService
from services.payments.desk import PaymentDeskService
from services.users.permissions import Permission
from services.waiting import Waiting

_PATH = f"{ADMIN}/orders"
_TONES = {
    OrderStatus.PENDING: "wait",
    OrderStatus.CONFIRMED: "wait",
    OrderStatus.PROCESSING: "wait",
    OrderStatus.SHIPPED: "good",
    OrderStatus.DELIVERED: "good",
    OrderStatus.CANCELLED: "bad",
}
_HOLDABLE = (OrderStatus.PENDING, OrderStatus.CONFIRMED, OrderStatus.PROCESSING)
_REASON = Field("reason", "Reason", hint="For the timeline")
_CARRIER = Field("carrier", "Carrier", max_length=100)
_TRACKING = Field("tracking_number", "Tracking number", max_length=100)
_PIECES = "pieces_"  # and the id of a line
_STEPS: dict[OrderStatus, tuple[str, str, list[Field]]] = {
    OrderStatus.PROCESSING: ("process", "Start processing", [_REASON]),
    OrderStatus.SHIPPED: (
        "ship",
        "Ship what is left",
        [_CARRIER, _TRACKING, _REASON],
    ),
    OrderStatus.DELIVERED: ("deliver", "Mark as delivered", [_REASON]),
    OrderStatus.CANCELLED: ("cancel", "Cancel", [_REASON]),
}


async def _list(desk: Desk) -> Page:
    status, wanted = desk.choice("status", OrderStatus), desk.asked("search", max_length=254)
    if wanted is None:
        found = await OrderService.list_orders(desk.page, viewer=desk.viewer, status=status)
    else:
        found = await OrderService.search_orders(desk.page, viewer=desk.viewer, key=wanted)
    return Page(
        title="Orders",
        tabs=desk.tabs("status", OrderStatus, status),
        path=desk.path,
        search=[Field("search", "Order number or e-mail", "search", wanted or "", max_length=254)],
        tables=[orders_table(found.items, found.total_count, "No such order.")],
        paging=desk.numbered(found.page, found.total_pages, status=status, search=wanted),
    )


def orders_table(found: Sequence[OrderSummary], count: int, empty: str) -> Table:
    """Orders with the way to each, some of so many."""
    columns = ["Order", "Placed", "Status", "Payment", "Method", "Pieces", "Total"]
    title = "1 order" if count == 1 else f"{count:,} orders, newest first"
    return Table(title, columns, [_summary(one) for one in found], empty)


def _summary(order: OrderSummary) -> Row:
    return Row(
        [
            Link(f"{_PATH}/{order.id}", order.number),
            order.placed_at,
            Badge(order.status, _TONES.get(order.status, "plain")),
            order.payment_status,
            order.payment_method,
            order.items_count,
            order.total,
        ]
    )


async def _detail(desk: Desk) -> Page:
    order = await OrderService.get_staff_order(desk.id(), viewer=desk.viewer)
    history = await OrderService.get_history(order.id, access=OrderAccess(desk.viewer))
    returns = await ReturnService.list_of_order(order.id, access=OrderAccess(desk.viewer))
    tables = [_timeline(history), _lines(order), _parcels(order)]
    if returns:
        tables.append(returns_table("Returns", returns, ""))
    if desk.viewer.can(Permission.MANAGE_PAYMENTS):
        paid = await PaymentDeskService.list_payments(
            viewer=desk.viewer, cursors=desk.cursors, subject=f"order:{order.id}", limit=100
        )
        tables.append(_payments(paid.items))
    return Page(
        title=f"Order {order.number}",
        back=Link(_PATH, "Orders"),
        facts=_facts(order),
        actions=_actions(order),
        tables=tables,
    )


def _facts(order: StaffOrder) -> list[tuple[str, Value]]:
    totals = order.totals
    notes = {
        "Customer's note": order.customer_notes,
        "Staff's note": order.admin_notes,
        "Why it is held": order.hold_reason if order.is_held else "",
    }
    return [
        ("Status", Badge(order.status, _TONES.get(order.status, "plain"))),
        ("Held", Badge("held", "bad") if order.is_held else "no"),
        ("Payment", order.payment_status),
        ("Method", order.payment_method),
        ("Paid by", payment_link(order.payment_id) if order.payment_id else None),
        ("Account", user_link(order.user_id)),
        ("E-mail", order.email),
        ("Placed", order.placed_at),
        ("Paid", order.paid_at),
        ("Subtotal", totals.subtotal),
        ("Discount", totals.discount),
        ("Shipping", totals.shipping),
        ("Tax", totals.tax),
        ("Total", totals.total),
        ("Refunded", order.refunded),
        ("Owed to the customer", "yes" if order.is_owing else "no"),
        ("Source", order.source),
        ("Ship to", _address(order.shipping_address)),
        *((label, Text(note)) for label, note in notes.items() if note),
    ]


def _address(place: PostalAddress | None) -> Value:
    if place is None:
        return None
    name = f"{place.first_name} {place.last_name}"
    town = f"{place.postal_code} {place.city} {place.state}".strip()
    parts = [name, place.company, place.line1, place.line2, town, place.country]
    return Text("\n".join(part for part in parts if part))


def _actions(order: StaffOrder) -> list[Action]:
    """What staff may do with it now; whether it then works is the service's to say."""
    here = f"{_PATH}/{order.id}"
    actions = [
        Action(f"{here}/{name}", label, fields, is_grave=status is OrderStatus.CANCELLED)
        for status, (name, label, fields) in _STEPS.items()
        if Party.STAFF in EDGES.get((order.status, status), ())
    ]
    waiting = _waiting(order)
    if order.status is OrderStatus.PROCESSING and sum(left for _, left in waiting) > 1:
        pieces = [_pieces(line, left) for line, left in waiting]
        actions.insert(1, Action(f"{here}/parcel", "Send a part", [*pieces, _CARRIER, _TRACKING], is_once=True))
    if order.is_held:
        actions.append(Action(f"{here}/release", "Release"))
    elif order.status in _HOLDABLE:
        reason = Field("reason", "Reason", max_length=200, is_required=True)
        actions.append(Action(f"{here}/hold", "Hold", [reason]))
    notes = Field("notes", "Staff's note", "lines", order.admin_notes, hint="The customer never sees it", max_length=5000)
    return [*actions, Action(f"{here}/note", "Write a note", [notes], hidden=_read(order))]


def _read(order: StaffOrder) -> dict[str, str]:
    """What is written over is what was read: a change meanwhile is refused, and shown."""
    return {"revision": str(order.revision)}


def _waiting(order: StaffOrder) -> list[tuple[OrderLine, int]]:
    """The lines of which something has not left yet, and how many pieces."""
    return [(line, line.quantity - line.fulfilled_quantity) for line in order.lines if line.quantity > line.fulfilled_quantity]


def _pieces(line: OrderLine, left: int) -> Field:
    return Field(f"{_PIECES}{line.id}", f"{line.name}, {line.sku}", "number", hint=f"Pieces, of {left:,} left", max_length=7)


def _timeline(history: list[StatusChange]) -> Table:
    rows = [
        Row([step.changed_at, step.old_status, step.new_status, _mover(step), Text(step.reason) if step.reason else None])
        for step in history
    ]
    return Table("Timeline", ["When", "From", "To", "By", "Reason"], rows)


def _mover(step: StatusChange) -> Value:
    return subject_link(step.changed_by)


def _lines(order: StaffOrder) -> Table:
    columns = ["Product", "SKU", "Pieces", "Sent", "Price", "Discount", "Tax", "Total"]
    rows = [
        Row(
            [
                Text(line.name),
                line.sku,
                line.quantity,
                line.fulfilled_quantity,
                line.unit_price,
                line.discount,
                line.tax,
                line.total,
            ]
        )
        for line in order.lines
    ]
    return Table("Lines", columns, rows)


def _parcels(order: StaffOrder) -> Table:
    columns = ["Sent", "Pieces", "What", "Carrier", "Tracking number", "Delivered"]
    names = {line.id: line.name for line in order.lines}
    rows = [
        Row(
            [
                parcel.shipped_at,
                sum(part.quantity for part in parcel.lines),
                Text("\n".join(f"{part.quantity:,} x {names[part.line_id]}" for part in parcel.lines)),
                parcel.carrier,
                parcel.tracking_number,
                parcel.delivered_at,
            ],
            _of_parcel(order, parcel, number),
        )
        for number, parcel in enumerate(order.fulfilments, 1)
    ]
    return Table("Parcels", columns, rows, "Nothing has left yet.")


def _of_parcel(order: StaffOrder, parcel: Fulfilment, number: int) -> list[Action]:
    here = f"{_PATH}/{order.id}/parcels/{parcel.id}"
    about = f"parcel {number}"
    actions = []
    if order.status is OrderStatus.SHIPPED:
        label = [
            Field("carrier", "Carrier", value=parcel.carrier or "", max_length=100),
            Field("tracking_number", "Tracking number", value=parcel.tracking_number or "", max_length=100),
        ]
        actions.append(Action(f"{here}/label", "Correct the label", label, hidden=_read(order), about=about))
    if parcel.delivered_at is None:
        actions.append(Action(f"{here}/arrived", "Has arrived", about=about))
    return actions


def _payments(payments: list[PaymentRead]) -> Table:
    rows = [Row([payment_link(one.id), one.created_at, one.state, *_sums(one)]) for one in payments]
    return Table("Payments", ["Payment", "Made", "State", "Amount", "Captured", "Refunded"], rows, "Nobody tried to pay.")


def _sums(payment: PaymentRead) -> list[Money]:
    return [payment.amount, payment.captured, payment.refunded]


def _step(status: OrderStatus) -> Act:
    async def act(desk: Desk, form: Form) -> None:
        wanted = {"status": status.value, "reason": form.get("reason")}
        for name in ("carrier", "tracking_number"):
            if form.get(name):
                wanted[name] = form.get(name)
        await OrderAdministrationService.change_status(
            desk.id(),
            filled(OrderStatusUpdate, wanted),
            viewer=desk.viewer,
            gateways=desk.gateways,
            settings=desk.settings,
        )

    return act


async def _send_part(desk: Desk, form: Form) -> None:
    named = {name.removeprefix(_PIECES): form.number(name) for name in form.fields if name.startswith(_PIECES)}
    lines = [{"line_id": line_id, "quantity": quantity} for line_id, quantity in named.items() if quantity]
    if not lines:
        raise BadFormError("Say how many pieces leave, of one line at least.")
    parcel = filled(FulfilmentCreate, {"lines": lines, **_label(form)})

    async def work() -> None:
        await FulfilmentService.create_fulfilment(desk.id(), parcel, viewer=desk.viewer)

    await desk.once(form, work)


def _label(form: Form) -> dict[str, str | None]:
    return {name: form.get(name) or None for name in ("carrier", "tracking_number")}


async def _correct_label(desk: Desk, form: Form) -> None:
    label = filled(TrackingUpdate, _label(form))
    revision = form.number("revision")
    await FulfilmentService.update_tracking(desk.id(), desk.id("parcel_id"), label, viewer=desk.viewer, revision=revision)


async def _arrived(desk: Desk, form: Form) -> None:
    await FulfilmentService.deliver_fulfilment(desk.id(), desk.id("parcel_id"), viewer=desk.viewer)


async def _note(desk: Desk, form: Form) -> None:
    notes = filled(AdminNotesUpdate, {"notes": form.get("notes")}).notes
    await OrderAdministrationService.update_notes(desk.id(), notes, viewer=desk.viewer, revision=form.number("revision"))


async def _hold(desk: Desk, form: Form) -> None:
    reason = filled(HoldCreate, {"reason": form.get("reason")}).reason
    await OrderAdministrationService.hold(desk.id(), reason, viewer=desk.viewer)


async def _release(desk: Desk, form: Form) -> None:
    await OrderAdministrationService.release(desk.id(), viewer=desk.viewer)


ORDERS = View(
    "orders",
    "Orders",
    "what was bought, and where it stands",
    Group.SALES,
    Permission.MANAGE_ORDERS,
    pages={"": _list, "/{id}": _detail},
    moves={
        **{
            f"/{{id}}/{name}": Move(_step(status), _detail, f"The order is {status.value} now.")
            for status, (name, _, _) in _STEPS.items()
        },
        "/{id}/parcel": Move(_send_part, _detail, "The parcel is on its way."),
        "/{id}/parcels/{parcel_id}/label": Move(_correct_label, _detail, "The label was corrected."),
        "/{id}/parcels/{parcel_id}/arrived": Move(_arrived, _detail, "The parcel has arrived."),
        "/{id}/note": Move(_note, _detail, "The note was kept."),
        "/{id}/hold": Move(_hold, _detail, "Nothing of this order leaves the house until it is released."),
        "/{id}/release": Move(_release, _detail, "The order may go on."),
    },
    queues=[Queue(Waiting.ORDERS, "Orders to send", f"?status={OrderStatus.PROCESSING}")],
)
