"""The queue of payments that a fraud rule holds back."""

from api.schemas.payments import ReviewDecision
from api.web.admin.desk import ADMIN, Desk, Form, filled
from api.web.admin.layout import Action, Field, Page, Row, Table, Text, Value
from api.web.admin.subjects import payment_link, subject_link
from api.web.admin.views import Group, Move, Queue, View
from models.fraud import FraudReviewRead, FraudReviewState
from services.payments.reviews import FraudReviewService
from services.users.permissions import Permission
from services.waiting import Waiting

_PATH = f"{ADMIN}/fraud"
_NOTE = Field("note", "Note", hint="Why; for the books")


async def _queue(desk: Desk) -> Page:
    state = desk.choice("state", FraudReviewState) or FraudReviewState.OPEN
    found = await FraudReviewService.list_reviews(viewer=desk.viewer, cursors=desk.cursors, state=state, cursor=desk.cursor)
    columns = ["Held since", "Amount", "Method", "For", "Payment", "Rule", "Note"]
    return Page(
        title="Fraud reviews",
        tabs=desk.tabs("state", FraudReviewState, state, has_all=False),
        tables=[Table("Newest first", columns, [_row(one) for one in found.items], "No payment waits here.")],
        paging=desk.further(found.next_cursor, state=state),
    )


def _row(review: FraudReviewRead) -> Row:
    cells: list[Value] = [
        review.created_at,
        review.amount,
        review.method.replace("_", " "),
        subject_link(review.subject),
        payment_link(review.payment_id),
        Text(review.rule),
        Text(review.note) if review.note else None,
    ]
    about = f"the payment of {review.amount}"
    actions = [
        Action(f"{_PATH}/{review.id}/approve", "Approve", [_NOTE], about=about),
        Action(f"{_PATH}/{review.id}/refuse", "Refuse", [_NOTE], is_grave=True, about=about),
    ]
    return Row(cells, actions if review.state is FraudReviewState.OPEN else [])


async def _approve(desk: Desk, form: Form) -> None:
    decision = filled(ReviewDecision, {"note": form.get("note")})
    await FraudReviewService.approve_review(
        desk.id(),
        viewer=desk.viewer,
        note=decision.note,
        gateways=desk.gateways,
        listener=desk.listener,
        settings=desk.settings,
    )


async def _refuse(desk: Desk, form: Form) -> None:
    decision = filled(ReviewDecision, {"note": form.get("note")})
    await FraudReviewService.reject_review(desk.id(), viewer=desk.viewer, note=decision.note, listener=desk.listener)


FRAUD = View(
    "fraud",
    "Fraud reviews",
    "payments that a rule holds back",
    Group.SALES,
    Permission.MANAGE_PAYMENTS,
    pages={"": _queue},
    moves={
        "/{id}/approve": Move(_approve, _queue, "The payment may go on; it was sent to its gateway."),
        "/{id}/refuse": Move(_refuse, _queue, "The payment was refused; nothing was charged."),
    },
    queues=[Queue(Waiting.FRAUD_REVIEWS, "Payments to look at")],
)
