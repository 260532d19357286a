"""Returns: what waits for a decision, taking in what arrived, and paying it back."""

from collections.abc import Sequence

from api.schemas.returns import ReturnDecision, ReturnReceipt, ReturnRefund
from api.web.admin.desk import ADMIN, BadFormError, Desk, Form, filled
from api.web.admin.layout import Action, Badge, Field, Link, Page, Row, Table, Text, Value, options
from api.web.admin.subjects import subject_link
from api.web.admin.views import Group, Move, Queue, View
from api.web.formats import money
from models.ecommerce.returns import Disposition, ReturnLine, ReturnRead, ReturnStatus, StaffReturn
from models.money import decimal_text
from services.ecommerce.returns.desk import ReturnDeskService
from services.ecommerce.returns.refunds import ReturnRefundService
from services.users.permissions import Permission, Viewer
from services.waiting import Waiting

_PATH = f"{ADMIN}/returns"
_TONES = {
    ReturnStatus.REQUESTED: "wait",
    ReturnStatus.APPROVED: "wait",
    ReturnStatus.RECEIVED: "wait",
    ReturnStatus.REFUNDED: "good",
    ReturnStatus.REJECTED: "bad",
}
_NOTES = "staff_notes"
_PIECES, _WHERE = "pieces_", "where_"  # and the id of a line


async def _queue(desk: Desk) -> Page:
    status, number = desk.choice("status", ReturnStatus) or ReturnStatus.REQUESTED, desk.asked("search", max_length=30)
    if number is None:
        found = await ReturnDeskService.list_queue(status=status, viewer=desk.viewer, cursors=desk.cursors, cursor=desk.cursor)
        table = returns_table("Oldest first", found.items, "No return waits here.")
        paging = desk.further(found.next_cursor, status=status)
    else:
        one = await ReturnDeskService.find_by_number(number, viewer=desk.viewer)
        table, paging = returns_table("Of this number", [one] if one else [], "No such return."), []
    return Page(
        title="Returns",
        tabs=desk.tabs("status", ReturnStatus, status, has_all=False),
        path=desk.path,
        search=[Field("search", "Number of the return", "search", number or "", max_length=30)],
        tables=[table],
        paging=paging,
    )


def returns_table(title: str, found: Sequence[ReturnRead], empty: str) -> Table:
    """Returns with the way to each."""
    columns = ["Return", "Asked for", "Order", "Pieces", "Why", "Worth", "State"]
    return Table(title, columns, [_row(one) for one in found], empty)


def _row(one: ReturnRead) -> Row:
    return Row(
        [
            Link(f"{_PATH}/{one.id}", one.number),
            one.requested_at,
            _order(one),
            sum(line.quantity for line in one.lines),
            ", ".join(dict.fromkeys(line.reason.value.replace("_", " ") for line in one.lines)),
            one.refund,
            _state(one),
        ]
    )


def _state(one: ReturnRead) -> Badge:
    return Badge(one.status, _TONES.get(one.status, "plain"))


def _order(one: ReturnRead) -> Value:
    return subject_link(f"order:{one.order_id}") if one.order_id else None


async def _detail(desk: Desk) -> Page:
    found = await ReturnDeskService.get_staff_return(desk.id(), viewer=desk.viewer)
    columns = ["Product", "SKU", "Asked for", "Why", "Arrived", "Went", "Worth"]
    return Page(
        title=f"Return {found.number}",
        back=Link(_PATH, "Returns"),
        facts=[
            ("State", _state(found)),
            ("Order", _order(found)),
            ("Asked for", found.requested_at),
            ("Settled", found.settled_at),
            ("Worth", found.refund),
            ("Money", "on its way or there" if found.refund_id else "not given back"),
            ("Customer's note", Text(found.notes) if found.notes else None),
            ("Staff's note", Text(found.staff_notes) if found.staff_notes else None),
        ],
        actions=_actions(found, desk.viewer),
        tables=[Table("Lines", columns, [_line(line) for line in found.lines])],
    )


def _line(line: ReturnLine) -> Row:
    return Row([Text(line.name), line.sku, line.quantity, line.reason, line.received_quantity, line.disposition, line.refund])


def _actions(found: StaffReturn, viewer: Viewer) -> list[Action]:
    """What comes next for it; whether it then works is the services' to say."""
    here, read = f"{_PATH}/{found.id}", {"revision": str(found.revision)}
    note = Field(_NOTES, "Note", "lines", found.staff_notes, hint="The customer never sees it", max_length=1000)
    actions = []
    if found.status is ReturnStatus.REQUESTED:
        actions.append(Action(f"{here}/approve", "Approve", [note], hidden=read))
    if found.status is ReturnStatus.APPROVED:
        actions.append(Action(f"{here}/receive", "Take in what arrived", [*_arrivals(found.lines), note], hidden=read))
    if found.status in (ReturnStatus.REQUESTED, ReturnStatus.APPROVED):
        actions.append(Action(f"{here}/reject", "Reject", [note], hidden=read, is_grave=True))
    if found.status is ReturnStatus.RECEIVED and found.refund and viewer.can(Permission.MANAGE_PAYMENTS):
        worth = found.refund
        hint = f"At most {money(worth)}, what the pieces were paid with"
        written = decimal_text(worth.amount, worth.currency)
        amount = Field("amount", f"Amount in {worth.currency}", "decimal", written, hint=hint, max_length=20, is_required=True)
        actions.append(Action(f"{here}/refund", "Pay back", [amount], is_grave=True))
    return actions


def _arrivals(lines: list[ReturnLine]) -> list[Field]:
    fields = []
    for line in lines:
        hint = f"Pieces that arrived, of {line.quantity:,}"
        fields += [
            Field(f"{_PIECES}{line.line_id}", f"{line.name}, {line.sku}", "number", str(line.quantity), hint=hint, max_length=7),
            Field(f"{_WHERE}{line.line_id}", "Where they go", "select", Disposition.RESTOCK, options(Disposition)),
        ]
    return fields


def _noted(form: Form) -> dict[str, str | None]:
    return {_NOTES: form.get(_NOTES) or None}


async def _approve(desk: Desk, form: Form) -> None:
    decision = filled(ReturnDecision, _noted(form))
    revision = form.number("revision")
    await ReturnDeskService.approve(desk.id(), viewer=desk.viewer, staff_notes=decision.staff_notes, revision=revision)


async def _reject(desk: Desk, form: Form) -> None:
    decision = filled(ReturnDecision, _noted(form))
    revision = form.number("revision")
    await ReturnDeskService.reject(desk.id(), viewer=desk.viewer, staff_notes=decision.staff_notes, revision=revision)


async def _receive(desk: Desk, form: Form) -> None:
    arrived = {name.removeprefix(_PIECES): form.number(name) for name in form.fields if name.startswith(_PIECES)}
    lines = [
        {"line_id": line_id, "quantity": quantity, "disposition": form.get(f"{_WHERE}{line_id}")}
        for line_id, quantity in arrived.items()
        if quantity
    ]
    if not lines:
        raise BadFormError("Say how many pieces arrived, of one line at least; reject what will not come.")
    receipt = filled(ReturnReceipt, {"lines": lines, **_noted(form)})
    await ReturnDeskService.receive(
        desk.id(),
        receipt.as_parts(),
        viewer=desk.viewer,
        staff_notes=receipt.staff_notes,
        revision=form.number("revision"),
    )


async def _pay_back(desk: Desk, form: Form) -> None:
    found = await ReturnDeskService.get_staff_return(desk.id(), viewer=desk.viewer)
    currency = found.refund.currency if found.refund else desk.settings.currency
    wanted = filled(ReturnRefund, {"amount": {"amount": form.get("amount"), "currency": currency}})
    # Needs no key: a return is refunded once, however often it is asked for.
    await ReturnRefundService.refund(
        desk.id(),
        viewer=desk.viewer,
        gateways=desk.gateways,
        listener=desk.listener,
        settings=desk.settings,
        amount=wanted.amount.money if wanted.amount else None,
    )


RETURNS = View(
    "returns",
    "Returns",
    "pieces on their way back",
    Group.SALES,
    Permission.MANAGE_ORDERS,
    pages={"": _queue, "/{id}": _detail},
    moves={
        "/{id}/approve": Move(_approve, _detail, "The customer may send the pieces."),
        "/{id}/reject": Move(_reject, _detail, "The pieces stay with the customer."),
        "/{id}/receive": Move(_receive, _detail, "What arrived was taken in."),
        "/{id}/refund": Move(
            _pay_back, _detail, "The refund was asked for; the state above tells whether the gateway has done it."
        ),
    },
    queues=[
        Queue(Waiting.RETURNS_ASKED, "Returns to decide"),
        Queue(Waiting.RETURNS_COMING, "Returns to take in", f"?status={ReturnStatus.APPROVED}"),
        Queue(Waiting.RETURNS_RECEIVED, "Returns to pay back", f"?status={ReturnStatus.RECEIVED}"),
    ],
)
