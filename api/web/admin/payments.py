"""Payments as staff see them, and refunds."""

from api.schemas.payments import CaptureCreate, RefundCreate
from api.web.admin.desk import ADMIN, Desk, Form, filled
from api.web.admin.layout import Action, Badge, Field, Link, Page, Row, Table, Text, Value
from api.web.admin.subjects import payment_link, subject_link, user_link
from api.web.admin.views import Group, Move, View
from api.web.formats import money
from models.money import Money, decimal_text
from models.payments import PaymentDetail, PaymentRead, PaymentState, RefundRead, RefundState, TransactionRead
from services.payments.desk import PaymentDeskService
from services.payments.operations import GatewayRefusedError
from services.users.permissions import Permission

_PATH = f"{ADMIN}/payments"
_TONES = {PaymentState.CAPTURED: "good", PaymentState.FAILED: "bad", PaymentState.IN_REVIEW: "wait"}
_REFUND_TONES = {RefundState.SUCCEEDED: "good", RefundState.FAILED: "bad", RefundState.PENDING: "wait"}


async def _list(desk: Desk) -> Page:
    state = desk.choice("state", PaymentState)
    found = await PaymentDeskService.list_payments(viewer=desk.viewer, cursors=desk.cursors, state=state, cursor=desk.cursor)
    columns = ["Payment", "Made", "For", "State", "Method", "Amount", "Captured", "Refunded"]
    return Page(
        title="Payments",
        tabs=desk.tabs("state", PaymentState, state),
        tables=[Table("Newest first", columns, [_row(one) for one in found.items], "No such payment.")],
        paging=desk.further(found.next_cursor, state=state),
    )


def _row(payment: PaymentRead) -> Row:
    return Row(
        [
            payment_link(payment.id),
            payment.created_at,
            subject_link(payment.subject),
            Badge(payment.state, _TONES.get(payment.state, "plain")),
            payment.method.replace("_", " "),
            payment.amount,
            payment.captured,
            payment.refunded,
        ]
    )


async def _detail(desk: Desk) -> Page:
    payment = await PaymentDeskService.get_payment(desk.id(), viewer=desk.viewer)
    return Page(
        title=f"Payment of {payment.amount}",
        back=Link(_PATH, "Payments"),
        facts=_facts(payment),
        actions=_actions(payment),
        tables=[
            Table(
                "Refunds",
                ["Requested", "Amount", "State", "Reason", "By", "Settled", "Failure"],
                [_refund(one) for one in payment.refunds],
                "Nothing was given back.",
            ),
            Table(
                "Exchanges with the gateway",
                ["When", "What", "Outcome", "Amount", "Reference", "Milliseconds"],
                [_exchange(one) for one in payment.transactions],
                "The gateway was not asked.",
            ),
        ],
    )


def _facts(payment: PaymentDetail) -> list[tuple[str, Value]]:
    return [
        ("For", subject_link(payment.subject)),
        ("State", Badge(payment.state, _TONES.get(payment.state, "plain"))),
        ("Under way", payment.operation),
        ("Amount", payment.amount),
        ("Captured", payment.captured),
        ("Refunded", payment.refunded),
        ("Can be refunded", payment.refundable),
        ("Method", payment.method.replace("_", " ")),
        ("Instrument", payment.instrument),
        ("Gateway", payment.gateway),
        ("Reference", payment.gateway_reference),
        ("Failure", Text(payment.failure_message) if payment.failure_message else payment.failure_code),
        ("Made", payment.created_at),
        ("Settled", payment.settled_at),
    ]


def _actions(payment: PaymentDetail) -> list[Action]:
    """What may be tried with it now. While the outcome of one operation is open, no other begins."""
    here = f"{_PATH}/{payment.id}"
    is_authorised = payment.state is PaymentState.AUTHORISED and payment.operation is None
    actions = []
    if is_authorised:
        rest = "Less than all of it lets the rest go."
        actions.append(Action(f"{here}/capture", "Capture", [_amount(payment.amount, rest)], is_once=True))
    if is_authorised or payment.state in (PaymentState.CREATED, PaymentState.IN_REVIEW):
        actions.append(Action(f"{here}/void", "Void", is_grave=True, is_once=True))
    if payment.refundable:
        fields = [_amount(payment.refundable), Field("reason", "Reason", is_required=True)]
        actions.append(Action(f"{here}/refund", "Refund", fields, is_grave=True, is_once=True))
    return actions


def _amount(most: Money, hint: str = "") -> Field:
    return Field(
        "amount",
        f"Amount in {most.currency}",
        "decimal",
        decimal_text(most.amount, most.currency),
        hint=f"At most {money(most)}. {hint}".strip(),
        max_length=20,
        is_required=True,
    )


def _refund(refund: RefundRead) -> Row:
    failure = refund.failure_message or refund.failure_code
    return Row(
        [
            refund.created_at,
            refund.amount,
            Badge(refund.state, _REFUND_TONES[refund.state]),
            Text(refund.reason),
            user_link(refund.actor_id),
            refund.settled_at,
            Text(failure) if failure else None,
        ]
    )


def _exchange(one: TransactionRead) -> Row:
    """What the gateway said in full is in the API: it is long, and nothing to decide by."""
    return Row([one.created_at, one.kind, one.status, one.amount, one.gateway_reference, one.duration_ms])


async def _capture(desk: Desk, form: Form) -> None:
    payment = await PaymentDeskService.get_payment(desk.id(), viewer=desk.viewer)
    wanted = filled(CaptureCreate, {"amount": {"amount": form.get("amount"), "currency": payment.amount.currency}})

    async def work(key: str) -> None:
        await PaymentDeskService.capture_payment(
            payment.id,
            viewer=desk.viewer,
            amount=wanted.amount.money if wanted.amount else None,
            key=key,
            gateways=desk.gateways,
            listener=desk.listener,
            settings=desk.settings,
        )

    await desk.once_outside(form, work)


async def _void(desk: Desk, form: Form) -> None:
    async def work(key: str) -> None:
        await PaymentDeskService.void_payment(
            desk.id(),
            viewer=desk.viewer,
            key=key,
            gateways=desk.gateways,
            listener=desk.listener,
            settings=desk.settings,
        )

    await desk.once_outside(form, work)


async def _give_back(desk: Desk, form: Form) -> None:
    payment = await PaymentDeskService.get_payment(desk.id(), viewer=desk.viewer)
    amount = {"amount": form.get("amount"), "currency": payment.amount.currency}
    wanted = filled(RefundCreate, {"amount": amount, "reason": form.get("reason")})

    async def work(key: str) -> None:
        refund = await PaymentDeskService.refund_payment(
            payment.id,
            viewer=desk.viewer,
            amount=wanted.amount.money,
            reason=wanted.reason,
            key=key,
            gateways=desk.gateways,
            listener=desk.listener,
            settings=desk.settings,
        )
        if refund.state is RefundState.FAILED:
            raise GatewayRefusedError(refund.failure_code)  # the failed refund stays in the list

    await desk.once_outside(form, work)


PAYMENTS = View(
    "payments",
    "Payments",
    "what was taken, and giving it back",
    Group.SALES,
    Permission.MANAGE_PAYMENTS,
    pages={"": _list, "/{id}": _detail},
    moves={
        "/{id}/capture": Move(_capture, _detail, "The gateway was asked to take it; the state above tells what came of it."),
        "/{id}/void": Move(_void, _detail, "The payment was let go; the state above tells what came of it."),
        "/{id}/refund": Move(_give_back, _detail, "The refund is on its way; its line below tells how far it is."),
    },
)
