"""Payments and fraud, counted from their rows: by hand, and against plain Python over the payments themselves."""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from beanie import PydanticObjectId

from models.database import Database
from models.fraud import FraudReview, FraudReviewState
from models.money import Money
from models.payments import Payment, PaymentState, Refund, RefundState
from models.users import Role
from services.analytics.periods import Period
from services.analytics.reports.payments import PaymentReportService
from services.analytics.rollups.rollups import RollupService
from services.analytics.scopes import ReportScope
from services.errors import PermissionDeniedError
from services.payments.offline import IMPORTED
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.orders import create_order
from tests.factories.payments import create_payment
from tests.factories.sales import count_everything

MANAGER = Viewer(PydanticObjectId(), "manager", Role.MANAGER)
ORDER = PydanticObjectId()  # all are about one
BEGUN = datetime(2026, 11, 5, 10, 0, tzinfo=UTC)
BEFORE = datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)


def scope(start: date = date(2026, 11, 1), end: date = date(2026, 12, 1), zone: str = "UTC", **over: Any) -> ReportScope:
    return ReportScope(**{"period": Period(start, end, ZoneInfo(zone)), "currency": "USD", **over})


def cents(amount: int, currency: str = "USD") -> Money:
    return Money(amount=amount, currency=currency)


async def settled(state: PaymentState, amount: int = 1000, *, at: datetime = BEGUN, **over: Any) -> Payment:
    captured = amount if state is PaymentState.CAPTURED else 0
    money = cents(amount, over.pop("currency", "USD"))
    fields: dict[str, Any] = {"created_at": at, "settled_at": at, "captured": captured, "amount": money}
    return await create_payment(**{"subject": f"order:{ORDER}", "state": state, **fields, **over})


async def refunded(
    of: Payment, amount: int, *, at: datetime | None = BEGUN, state: RefundState = RefundState.SUCCEEDED, **over: Any
) -> Refund:
    fields: dict[str, Any] = {"payment_id": of.id, "subject": of.subject, "gateway": of.gateway, "reason": ""}
    more = {"key": str(PydanticObjectId()), "amount": cents(amount), "state": state, "settled_at": at}
    return await Refund(**{**fields, **more, **over}).store()


async def review(rule: str, amount: int, *, at: datetime = BEGUN, **over: Any) -> None:
    """Of a payment that was let go on 1 December, and so is in nobody's way."""
    money = cents(amount, over.pop("currency", "USD"))
    after = datetime(2026, 12, 1, tzinfo=UTC)
    payment = await settled(PaymentState.VOIDED, amount, at=after, currency=money.currency)
    fields: dict[str, Any] = {"payment_id": payment.id, "subject": payment.subject, "method": "card"}
    await FraudReview(**{**fields, "rule": rule, "amount": money, "created_at": at, **over}).store()


@pytest.fixture
async def books(database: Database) -> None:
    """An order that everything is about."""
    await create_order(id=ORDER)


async def random_payments(dice: random.Random) -> tuple[Sequence[Payment], Sequence[Refund]]:
    """Sixty of twenty days, with what was given back of them, counted."""
    made, refunds = [], []
    for _ in range(60):
        at = datetime(2026, 10, 20, tzinfo=UTC) + timedelta(minutes=15 * dice.randrange(96 * 20))
        state = dice.choice([PaymentState.CAPTURED, PaymentState.FAILED, PaymentState.VOIDED])
        fields: dict[str, Any] = {"method": dice.choice(["card", "wallet"]), "gateway": dice.choice(["sandbox", "stripe"])}
        if state is PaymentState.FAILED:
            fields["failure_code"] = dice.choice(["card_declined", "expired"])
        elif dice.random() < 0.3:
            fields |= {"failed_at": at, "failed_code": "no_answer"}
        if state is PaymentState.CAPTURED and dice.random() < 0.2:
            fields["voided_at"] = at + timedelta(hours=1)
        later = at + timedelta(hours=dice.randrange(50))
        payment = await settled(state, dice.randrange(1, 999), at=at, settled_at=later, **fields)
        made.append(payment)
        if payment.captured:
            outcome = dice.choice([RefundState.SUCCEEDED, RefundState.FAILED])
            refunds.append(await refunded(payment, dice.randrange(1, 50), at=later + timedelta(hours=30), state=outcome))
    await count_everything()
    return made, refunds


class TestGetPayments:
    async def test_nothing_is_zeros(self, database: Database) -> None:
        report = (await PaymentReportService.get_payments(scope(), viewer=MANAGER)).model_dump(mode="json")

        zero = {"amount": "0.00", "currency": "USD"}
        assert report["figures"] == {
            "attempts_count": 0,
            "captured_count": 0,
            "captured": zero,
            "failed_count": 0,
            "voided_count": 0,
            "capture_rate": None,
        }
        assert (report["refunds"], report["failures"], report["methods"], report["gateways"]) == (zero, [], [], [])
        assert (report["open_payments_count"], report["open_refunds_count"], report["previous"]) == (0, 0, None)

    async def test_figures_by_hand(self, books: None, commands: CommandLog) -> None:
        card = await settled(PaymentState.CAPTURED, 1000)
        wallet = await settled(PaymentState.CAPTURED, 500, method="wallet", gateway="stripe")
        await settled(PaymentState.FAILED, failure_code="card_declined")
        await settled(PaymentState.FAILED, failure_code="card_declined", method="wallet")
        await settled(PaymentState.FAILED, failure_code="blocked")
        await settled(PaymentState.VOIDED)
        await settled(PaymentState.CAPTURED, 70, created_at=BEFORE)  # begun before, taken within
        await create_payment(subject=card.subject, state=PaymentState.PROCESSING, created_at=BEGUN)  # nobody answered yet
        await settled(PaymentState.CAPTURED, 9000, at=BEFORE)
        await settled(PaymentState.CAPTURED, 9000, currency="EUR")
        imported = await settled(PaymentState.CAPTURED, 9000, gateway=IMPORTED)
        await refunded(card, 300)
        await refunded(wallet, 40)
        await refunded(card, 8, state=RefundState.FAILED)
        await refunded(card, 1, at=None, state=RefundState.PENDING)
        await refunded(card, 9000, at=BEFORE)
        await refunded(imported, 9000)
        await count_everything()

        with commands.counting() as sent:
            report = await PaymentReportService.get_payments(scope(), viewer=MANAGER)

        figures = report.figures
        assert (figures.attempts_count, figures.captured_count, figures.captured.amount) == (6, 3, 1570)
        assert (figures.failed_count, figures.voided_count, figures.capture_rate) == (3, 1, 5000)
        assert (report.refunds_count, report.refunds.amount, report.failed_refunds_count) == (2, 340, 1)
        assert [(one.code, one.count) for one in report.failures] == [("card_declined", 2), ("blocked", 1)]
        assert [(one.method, one.attempts_count, one.captured.amount, one.capture_rate) for one in report.methods] == [
            ("card", 4, 1070, 5000),
            ("wallet", 2, 500, 5000),
        ]
        assert [(one.gateway, one.captured.amount, one.refunds_count, one.refunds.amount) for one in report.gateways] == [
            ("sandbox", 1070, 1, 300),
            ("stripe", 500, 1, 40),
        ]
        assert (report.open_payments_count, report.open_refunds_count) == (1, 1)
        assert len(sent) == 6

    async def test_money_that_came_after_a_failure_and_a_void_leaves_both_where_they_were(self, books: None) -> None:
        """Live, while the one after the other happens, as well as told of the last state alone."""
        payment = await settled(PaymentState.FAILED, 1000, at=BEFORE, failure_code="no_answer")
        await count_everything()
        overtaken = {"failed_at": BEFORE, "failed_code": "no_answer", "failure_code": None}
        voided = {**overtaken, "state": PaymentState.VOIDED, "settled_at": BEGUN}
        captured = {**overtaken, "voided_at": BEGUN, "state": PaymentState.CAPTURED, "settled_at": BEGUN, "captured": 1000}
        for state in (voided, captured):
            await Payment.change({"_id": payment.id}, {"$set": state})
            await count_everything()

        told = []
        for _ in range(2):
            report = await PaymentReportService.get_payments(scope(is_compared=True), viewer=MANAGER)
            assert report.previous is not None
            told.append((report.previous, report.figures))
            await RollupService.rebuild(pause=timedelta(0))

        before, now = told[0]
        assert (before.attempts_count, before.failed_count, before.captured_count) == (1, 1, 0)
        assert (now.attempts_count, now.voided_count, now.captured_count, now.captured.amount) == (0, 1, 1, 1000)
        assert told[0] == told[1]

    async def test_comparison_is_of_the_days_just_before(self, books: None, commands: CommandLog) -> None:
        await settled(PaymentState.CAPTURED, 1000, at=BEFORE)
        await count_everything()

        with commands.counting() as sent:
            report = await PaymentReportService.get_payments(scope(is_compared=True), viewer=MANAGER)

        assert report.previous is not None
        assert (report.figures.captured.amount, report.previous.captured.amount) == (0, 1000)
        assert len(sent) == 6

    async def test_random_payments_equal_plain_python(self, books: None) -> None:
        """Over the night in which clocks go back, by local dates; some captured after they had failed or were let go."""
        dice = random.Random(1)
        made, refunds = await random_payments(dice)
        start, end = date(2026, 10, 25), date(2026, 11, 2)

        for zone in ("Europe/Berlin", "America/New_York"):
            report = await PaymentReportService.get_payments(scope(start, end, zone), viewer=MANAGER)

            def is_in(moment: datetime | None, zone: str = zone) -> bool:
                return moment is not None and start <= moment.astimezone(ZoneInfo(zone)).date() < end

            def of_state(state: PaymentState, is_in: Any = is_in) -> list[Payment]:
                return [one for one in made if one.state is state and is_in(one.settled_at)]

            captured = of_state(PaymentState.CAPTURED)
            codes = [one.failure_code for one in of_state(PaymentState.FAILED)]
            codes += [one.failed_code for one in made if is_in(one.failed_at)]
            figures = report.figures
            assert figures.attempts_count == sum(is_in(one.created_at) for one in made)
            assert figures.captured.amount == sum(one.captured for one in captured)
            assert figures.voided_count == len(of_state(PaymentState.VOIDED)) + sum(is_in(one.voided_at) for one in made)
            assert figures.failed_count == len(codes)
            assert {one.code: one.count for one in report.failures} == Counter(codes)
            for one in report.gateways:
                own = [payment for payment in captured if payment.gateway == one.gateway]
                assert (one.captured_count, one.captured.amount) == (len(own), sum(payment.captured for payment in own))
                back = [part for part in refunds if part.gateway == one.gateway and is_in(part.settled_at)]
                done = [part.amount.amount for part in back if part.state is RefundState.SUCCEEDED]
                assert (one.refunds_count, one.refunds.amount) == (len(done), sum(done))

    async def test_readers_are_refused(self, database: Database) -> None:
        reader = Viewer(PydanticObjectId(), "editor", Role.EDITOR)

        with pytest.raises(PermissionDeniedError):
            await PaymentReportService.get_payments(scope(), viewer=reader)
        with pytest.raises(PermissionDeniedError):
            await PaymentReportService.get_fraud(scope(), viewer=reader)


class TestGetFraud:
    async def test_nothing_is_zeros(self, database: Database) -> None:
        report = await PaymentReportService.get_fraud(scope(), viewer=MANAGER)

        assert (report.figures.reviewed_count, report.figures.released.amount, report.open_count) == (0, 0, 0)
        assert (report.blocked_count, report.blocked.amount, report.rules) == (0, 0, [])

    async def test_figures_by_hand(self, books: None, commands: CommandLog) -> None:
        approved, rejected = FraudReviewState.APPROVED, FraudReviewState.REJECTED
        await review("large", 100)
        await review("large", 200, state=approved, decided_at=BEGUN)
        await review("large", 400, at=BEFORE, state=rejected, decided_at=BEGUN)  # held before, decided within
        await review("strange", 800, state=approved, decided_at=BEGUN + timedelta(days=30))  # decided after
        await review("old", 1600, at=BEFORE)  # waits since before
        await review("older", 3200, at=BEFORE, state=approved, decided_at=BEFORE)
        await review("large", 6400, currency="EUR")
        await settled(PaymentState.FAILED, 5000, failure_code="blocked")
        await settled(PaymentState.FAILED, 7000, failure_code="card_declined")
        await settled(PaymentState.FAILED, 9000, failure_code="blocked", at=BEFORE)
        await count_everything()

        with commands.counting() as sent:
            report = await PaymentReportService.get_fraud(scope(), viewer=MANAGER)

        figures = report.figures
        assert (figures.reviewed_count, figures.reviewed.amount) == (3, 1100)
        assert (figures.released_count, figures.released.amount) == (1, 200)
        assert (figures.rejected_count, figures.rejected.amount) == (1, 400)
        assert (report.open_count, report.blocked_count, report.blocked.amount) == (2, 1, 5000)
        assert [
            (rule.rule, rule.reviewed_count, rule.released_count, rule.rejected_count, rule.open_count) for rule in report.rules
        ] == [("large", 2, 1, 1, 1), ("old", 0, 0, 0, 1), ("strange", 1, 0, 0, 0)]
        assert len(sent) == 5
