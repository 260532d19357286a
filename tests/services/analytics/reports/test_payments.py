"""Payments and fraud, by hand and against plain Python over the payments themselves."""

import random
from collections import Counter
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
from services.analytics.scopes import ReportScope
from services.errors import PermissionDeniedError
from services.payments.offline import IMPORTED
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.payments import create_payment

MANAGER = Viewer(PydanticObjectId(), "manager", Role.MANAGER)
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
    return await create_payment(**{"state": state, **fields, **over})


async def refunded(amount: int, *, at: datetime | None = BEGUN, state: RefundState = RefundState.SUCCEEDED, **over: Any) -> None:
    fields: dict[str, Any] = {"payment_id": PydanticObjectId(), "subject": "order:1", "gateway": "sandbox", "reason": ""}
    more = {"key": str(PydanticObjectId()), "amount": cents(amount), "state": state, "settled_at": at}
    await Refund(**{**fields, **more, **over}).store()


async def review(rule: str, amount: int, *, at: datetime = BEGUN, **over: Any) -> None:
    fields: dict[str, Any] = {"payment_id": PydanticObjectId(), "subject": "order:1", "method": "card"}
    money = cents(amount, over.pop("currency", "USD"))
    await FraudReview(**{**fields, "rule": rule, "amount": money, "created_at": at, **over}).store()


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

    async def test_figures_by_hand(self, database: Database, commands: CommandLog) -> None:
        await settled(PaymentState.CAPTURED, 1000)
        await settled(PaymentState.CAPTURED, 500, method="wallet", gateway="stripe")
        await settled(PaymentState.FAILED, failure_code="card_declined")
        await settled(PaymentState.FAILED, failure_code="card_declined", method="wallet")
        await settled(PaymentState.FAILED, failure_code="blocked")
        await settled(PaymentState.VOIDED)
        await settled(PaymentState.CAPTURED, 70, created_at=BEFORE)  # begun before, taken within
        await create_payment(state=PaymentState.PROCESSING, created_at=BEGUN)
        await settled(PaymentState.CAPTURED, 9000, at=BEFORE)
        await settled(PaymentState.CAPTURED, 9000, currency="EUR")
        await settled(PaymentState.CAPTURED, 9000, gateway=IMPORTED)
        await refunded(300)
        await refunded(40, gateway="stripe")
        await refunded(8, state=RefundState.FAILED)
        await refunded(1, at=None, state=RefundState.PENDING)
        await refunded(9000, at=BEFORE)
        await refunded(9000, gateway=IMPORTED)

        with commands.counting() as sent:
            report = await PaymentReportService.get_payments(scope(), viewer=MANAGER)

        figures = report.figures
        assert (figures.attempts_count, figures.captured_count, figures.captured.amount) == (7, 3, 1570)
        assert (figures.failed_count, figures.voided_count, figures.capture_rate) == (3, 1, 5000)
        assert (report.refunds_count, report.refunds.amount, report.failed_refunds_count) == (2, 340, 1)
        assert [(one.code, one.count) for one in report.failures] == [("card_declined", 2), ("blocked", 1)]
        assert [(one.method, one.attempts_count, one.captured.amount, one.capture_rate) for one in report.methods] == [
            ("card", 5, 1070, 5000),
            ("wallet", 2, 500, 5000),
        ]
        assert [(one.gateway, one.captured.amount, one.refunds_count, one.refunds.amount) for one in report.gateways] == [
            ("sandbox", 1070, 1, 300),
            ("stripe", 500, 1, 40),
        ]
        assert (report.open_payments_count, report.open_refunds_count) == (1, 1)
        assert len(sent) == 5

    async def test_comparison_is_of_the_days_just_before(self, database: Database, commands: CommandLog) -> None:
        await settled(PaymentState.CAPTURED, 1000, at=BEFORE)

        with commands.counting() as sent:
            report = await PaymentReportService.get_payments(scope(is_compared=True), viewer=MANAGER)

        assert report.previous is not None
        assert (report.figures.captured.amount, report.previous.captured.amount) == (0, 1000)
        assert len(sent) == 7

    @pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
    async def test_random_payments_equal_plain_python(self, database: Database, zone: str) -> None:
        """Over the night in which clocks go back, by local dates."""
        dice = random.Random(zone)
        made = []
        for _ in range(60):
            at = datetime(2026, 10, 20, tzinfo=UTC) + timedelta(minutes=15 * dice.randrange(96 * 20))
            state = dice.choice([PaymentState.CAPTURED, PaymentState.FAILED, PaymentState.VOIDED])
            code = dice.choice(["card_declined", "expired"]) if state is PaymentState.FAILED else None
            method = dice.choice(["card", "wallet"])
            later = at + timedelta(hours=dice.randrange(50))
            made.append(await settled(state, dice.randrange(1, 999), at=at, settled_at=later, method=method, failure_code=code))
        start, end = date(2026, 10, 25), date(2026, 11, 2)

        report = await PaymentReportService.get_payments(scope(start, end, zone), viewer=MANAGER)

        def is_in(moment: datetime | None) -> bool:
            assert moment is not None
            return start <= moment.astimezone(ZoneInfo(zone)).date() < end

        ended = [one for one in made if is_in(one.settled_at)]
        assert report.figures.attempts_count == sum(is_in(one.created_at) for one in made)
        assert report.figures.captured.amount == sum(one.captured for one in ended)
        assert report.figures.voided_count == sum(one.state is PaymentState.VOIDED for one in ended)
        assert {one.code: one.count for one in report.failures} == Counter(one.failure_code for one in ended if one.failure_code)
        assert {one.method: one.captured_count for one in report.methods} == Counter(
            one.method for one in ended if one.state is PaymentState.CAPTURED
        )

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

    async def test_figures_by_hand(self, database: Database, commands: CommandLog) -> None:
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
        assert len(sent) == 4
