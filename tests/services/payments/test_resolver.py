"""Lost answers: settled by asking, by the gateway's own books charged once each; and whatever happens, the sums hold."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect

from models.base import now
from models.database import Session, in_transaction
from models.events import Event
from models.money import Money
from models.payments import Payment, PaymentState, Refund, RefundState
from scripts.sandbox.books import Books, Refused
from services.errors import AppError
from services.payments.gateways import Gateways
from services.payments.payments import PaymentService
from services.payments.port import (
    Charge,
    GatewayNotice,
    GatewayResult,
    GatewayState,
    InvalidWebhookError,
    Outcome,
    Remembered,
    ReportLine,
)
from services.payments.refunds import RefundService
from services.payments.resolving import resolve_each
from services.payments.sandbox import SandboxGateway
from services.settings import Settings
from tests.factories.payments import RecordingListener, create_payment
from tests.races import rounds
from tests.sandbox import SANDBOX_SECRET, RunningSandbox

LOST = rounds(20, 200)


class WatchedGateway(SandboxGateway):
    """The sandbox's client, which notes every call made inside a transaction."""

    calls_inside = 0
    calls = 0

    async def _send(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        self.calls_inside += in_transaction()
        return await super()._send(*arguments, **named)


async def test_outage_leaves_nobody_at_work() -> None:
    """Else they would go on beside the next worker, without a lease."""
    ended: list[str] = []

    async def resolve(item: str) -> bool:
        if item == "first":
            raise AutoReconnect("the database is away")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(item)
        return True

    with pytest.raises(AutoReconnect):
        await resolve_each(["slow", "first"], resolve)

    assert ended == ["slow"]


@pytest.mark.usefixtures("database")
async def test_r8_charged_and_then_dropped_is_never_charged_twice(settings: Settings, sandbox: RunningSandbox) -> None:
    """R8: 200 by `make stress-payments`; settled within 60 seconds, and no call inside a transaction."""
    gateway = WatchedGateway(sandbox.url, SANDBOX_SECRET, timeout=10)
    payments = [await create_payment(token="tok_timeout_after") for _ in range(LOST)]
    slots = asyncio.Semaphore(10)
    async with Gateways([gateway]) as gateways:
        tools: dict[str, Any] = {"gateways": gateways, "listener": RecordingListener(), "settings": settings}

        async def twice(payment: Payment) -> None:
            """The customer's impatient second click included."""
            async with slots:
                await asyncio.gather(*(PaymentService.execute(payment.id, **tools) for _ in range(2)))

        began = now()
        await asyncio.gather(*(twice(payment) for payment in payments))
        for second in range(0, 60, 2):
            await PaymentService.resolve_due(now=began + timedelta(seconds=second), limit=500, **tools)
    subjects = {payment.subject for payment in payments}
    booked = [row.captured for row in sandbox.books.payments.values() if row.description in subjects]
    kept = await Payment.find_rows({}, {"state": 1, "captured": 1, "sent_count": 1})
    assert booked == [4990] * LOST
    assert [(row["state"], row["captured"], row["sent_count"]) for row in kept] == [("captured", 4990, 1)] * LOST
    assert await Event.count_rows({"type": "payment.captured"}) == LOST
    assert gateway.calls_inside == 0
    assert gateway.calls > LOST


class BooksGateway:
    """The sandbox's books without the line: `drops` loses the answer of the next call, `fails` the call itself."""

    name = "sandbox"

    def __init__(self) -> None:
        self.books = Books()
        self.drops = False
        self.fails = False

    async def charge(self, charge: Charge) -> GatewayResult:
        def take() -> GatewayResult:
            self.books.charge(
                key=charge.key,
                amount=charge.amount.amount,
                currency=charge.amount.currency,
                method=charge.method,
                token=charge.token,
                capture=not charge.captures_later,
                description=charge.description,
            )
            return self._payment(charge.key)

        return self._over_the_line(take)

    async def capture(self, payment: Remembered, amount: Money, *, key: str) -> GatewayResult:
        def take() -> GatewayResult:
            self.books.capture(self.books.payment(payment.reference or ""), amount.amount)
            return self._payment(payment.key)

        return self._over_the_line(take)

    async def void(self, payment: Remembered, *, key: str) -> GatewayResult:
        def let_go() -> GatewayResult:
            self.books.void(self.books.payment(payment.reference or ""))
            return self._payment(payment.key)

        return self._over_the_line(let_go)

    async def refund(self, payment: Remembered, amount: Money, *, key: str, reason: str) -> GatewayResult:
        def give() -> GatewayResult:
            self.books.refund(self.books.payment(payment.reference or ""), key=key, amount=amount.amount)
            return self._refund(key)

        return self._over_the_line(give)

    async def payment_status(self, payment: Remembered) -> GatewayResult:
        return self._payment(payment.key)

    async def refund_status(self, refund: Remembered, payment: Remembered) -> GatewayResult:
        return self._refund(refund.key)

    async def report(self, since: datetime, until: datetime) -> list[ReportLine]:
        return []

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> GatewayNotice:
        raise InvalidWebhookError("none are sent")

    async def close(self) -> None:
        return None

    def _over_the_line(self, act: Any) -> GatewayResult:
        assert not in_transaction()
        drops, fails, self.drops, self.fails = self.drops, self.fails, False, False
        if fails:
            return GatewayResult(Outcome.UNKNOWN)
        try:
            result: GatewayResult = act()
        except Refused as refused:
            result = GatewayResult(Outcome.DECLINED, code=refused.code)
        return GatewayResult(Outcome.UNKNOWN) if drops else result

    def _payment(self, key: str) -> GatewayResult:
        row = self.books.payment_of(key)
        if row is None:
            return GatewayResult(Outcome.ABSENT)
        outcome = {"failed": Outcome.DECLINED, "pending": Outcome.PENDING}.get(row.state, Outcome.SUCCEEDED)
        return GatewayResult(outcome, GatewayState(row.state), row.id, row.captured, code=row.failure_code)

    def _refund(self, key: str) -> GatewayResult:
        row = self.books.refund_of(key)
        if row is None:
            return GatewayResult(Outcome.ABSENT)
        outcome = {"failed": Outcome.DECLINED, "succeeded": Outcome.SUCCEEDED}.get(row.state, Outcome.PENDING)
        return GatewayResult(outcome, reference=row.id, code=row.failure_code)


# By hand, not from the code: where a payment may go in one step of the world (which may be several of its own).
AFTER = {
    "created": {"created", "processing", "authorised", "captured", "failed", "voided"},
    "processing": {"processing", "authorised", "captured", "failed"},
    "authorised": {"authorised", "captured", "voided"},
    "captured": {"captured"},
    "failed": {"failed"},
    "voided": {"voided"},
}

LINES = st.sampled_from(["answers", "answers", "drops", "fails"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["execute", "execute", "capture", "void", "refund", "refund", "retry", "resolve"]),
        LINES,
        st.integers(min_value=1, max_value=6000),
    ),
    min_size=1,
    max_size=30,
)
TOKENS = st.sampled_from(["tok_ok", "tok_ok", "tok_declined", "tok_capture_refused", "tok_refund_refused"])


async def check_sums(payment: Payment) -> Payment:
    kept = await PaymentService.get(payment.id)
    refunds = await Refund.find_rows({"payment_id": payment.id})
    by_state = {state: sum(row["amount"]["amount"] for row in refunds if row["state"] == state) for state in RefundState}
    assert kept.captured >= kept.refunded >= 0
    assert kept.refundable >= 0
    assert kept.refunded == by_state[RefundState.SUCCEEDED]
    assert kept.captured == kept.refunded + kept.refundable + by_state[RefundState.PENDING]
    assert kept.captured <= kept.amount.amount
    return kept


@pytest.mark.usefixtures("database")
@given(steps=STEPS, captures_later=st.booleans(), token=TOKENS)
@hypothesis_settings(max_examples=rounds(15, 2000))
async def test_r9_whatever_happens_the_sums_hold_and_no_edge_is_illegal(
    settings: Settings, steps: list[tuple[str, str, int]], captures_later: bool, token: str
) -> None:
    gateway, moment = BooksGateway(), now()
    tools: dict[str, Any] = {"gateways": Gateways([gateway]), "listener": RecordingListener(), "settings": settings}
    payment = await create_payment(captures_later=captures_later, token=token)
    before = str(payment.state)
    refund: Refund | None = None

    for number, (act, line, cents) in enumerate(steps):
        gateway.drops, gateway.fails = line == "drops", line == "fails"
        moment += timedelta(seconds=13)
        amount, key = Money(amount=cents, currency="USD"), f"{payment.id}:{number}"
        try:
            if act == "execute":
                await PaymentService.execute(payment.id, now=moment, **tools)
            elif act == "capture":
                await PaymentService.capture(payment.id, key=key, amount=amount, now=moment, **tools)
            elif act == "void":
                await PaymentService.void(payment.id, key=key, now=moment, **tools)
            elif act == "refund":
                refund = await RefundService.request(None, payment_id=payment.id, amount=amount, reason="", key=key)
                await RefundService.execute(refund.id, now=moment, **tools)
            elif act == "retry" and refund is not None:
                await RefundService.execute(refund.id, now=moment, **tools)
            else:
                await PaymentService.resolve_due(now=moment, **tools)
                await RefundService.resolve_due(now=moment, **tools)
        except AppError:
            pass
        kept = await check_sums(payment)
        assert str(kept.state) in AFTER[before]
        before = str(kept.state)

    gateway.drops = gateway.fails = False
    for _ in range(6):
        moment += timedelta(minutes=11)
        await PaymentService.resolve_due(now=moment, **tools)
        await RefundService.resolve_due(now=moment, **tools)
    kept = await check_sums(payment)
    booked = gateway.books.payment_of(payment.key)
    assert await Refund.count_rows({"payment_id": payment.id, "state": RefundState.PENDING}) == 0
    assert kept.operation is None
    if booked is None:
        assert kept.state in (PaymentState.CREATED, PaymentState.VOIDED, PaymentState.FAILED)
    else:
        assert (str(kept.state), kept.captured, kept.refunded) == (booked.state, booked.captured, booked.refunded)


@pytest.mark.usefixtures("database")
async def test_two_resolvers_ask_once(gateways: Gateways, settings: Settings) -> None:
    for _ in range(5):
        payment = await create_payment(token="tok_timeout_after")
        await PaymentService.execute(payment.id, gateways=gateways, listener=RecordingListener(), settings=settings)
    later = now() + timedelta(seconds=3)
    asked = await asyncio.gather(
        *(
            PaymentService.resolve_due(gateways=gateways, listener=RecordingListener(), settings=settings, now=later)
            for _ in range(4)
        )
    )
    assert sum(asked) == 5


@pytest.mark.usefixtures("database")
async def test_one_that_cannot_be_settled_does_not_hold_up_the_others(gateways: Gateways, settings: Settings) -> None:
    class Stumbling(RecordingListener):
        async def payment_changed(self, session: Session, payment: Payment) -> None:
            if payment.subject == "order:poison":
                raise RuntimeError("its owner stumbles")

    payments = [await create_payment(token="tok_timeout_after", subject=subject) for subject in ("order:poison", "order:good")]
    for payment in payments:
        await PaymentService.execute(payment.id, gateways=gateways, listener=RecordingListener(), settings=settings)
    later = now() + timedelta(seconds=3)
    asked = await PaymentService.resolve_due(gateways=gateways, listener=Stumbling(), settings=settings, now=later)
    kept = [(await PaymentService.get(payment.id)).state for payment in payments]
    assert (asked, kept) == (1, [PaymentState.PROCESSING, PaymentState.CAPTURED])
    again = await PaymentService.resolve_due(
        gateways=gateways, listener=RecordingListener(), settings=settings, now=later + timedelta(seconds=10)
    )
    assert again == 1
    assert (await PaymentService.get(payments[0].id)).state is PaymentState.CAPTURED
