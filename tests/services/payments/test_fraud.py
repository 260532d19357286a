"""The fraud check: rules as data, asked before anything is charged, and the queue they fill."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from beanie import PydanticObjectId
from pydantic import ValidationError

from models.audit import AuditEntry
from models.base import now
from models.database import Database
from models.events import Event, EventType
from models.fraud import FraudAction, FraudReview, FraudReviewState, FraudRule
from models.payments import Payment, PaymentState, Transaction
from models.users import Role
from services.payments.gateways import Gateways
from services.payments.payments import PaymentService
from services.payments.reviews import FraudReviewDecidedError, FraudReviewNotFoundError, FraudReviewService
from services.payments.rules import (
    FraudRuleChanges,
    FraudRuleDraft,
    FraudRuleNameTakenError,
    FraudRuleNotFoundError,
    FraudRuleService,
)
from services.settings import Settings
from services.users.permissions import Viewer
from tests.factories.payments import RecordingListener, create_payment, usd
from tests.factories.users import create_user, viewer_of
from tests.sandbox import RunningSandbox


@pytest.fixture
async def manager(database: Database) -> Viewer:
    return viewer_of(await create_user(role=Role.MANAGER))


def draft(*conditions: dict[str, Any], action: str = "block", **over: Any) -> FraudRuleDraft:
    return FraudRuleDraft.model_validate({"name": "A rule", "conditions": conditions, "action": action, "priority": 1, **over})


async def pay(gateways: Gateways, settings: Settings, *, address: str = "203.0.113.9", **over: Any) -> Payment:
    payment = await create_payment(**over)
    return await PaymentService.execute(
        payment.id, gateways=gateways, listener=RecordingListener(), settings=settings, client_address=address
    )


class TestCheck:
    @pytest.mark.usefixtures("database")
    @pytest.mark.parametrize(
        ("amount", "method", "state"),
        [
            ("5000.00", "card", PaymentState.CAPTURED),
            ("5000.01", "card", PaymentState.IN_REVIEW),
            ("10000.00", "wallet", PaymentState.CAPTURED),
            ("10000.01", "wallet", PaymentState.IN_REVIEW),
            ("10000.01", "card", PaymentState.IN_REVIEW),
        ],
    )
    async def test_n_13_pay_6_defaults_hold_without_a_single_rule(
        self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox, amount: str, method: str, state: PaymentState
    ) -> None:
        """PAY-6: in the source no rules meant no check at all."""
        assert await FraudRule.count_rows({}) == 0
        done = await pay(gateways, settings, amount=usd(amount), method=method)
        assert done.state is state
        assert (sandbox.books.payment_of(done.key) is None) == (state is PaymentState.IN_REVIEW)

    async def test_pay_6_conditions_decide_before_charging(
        self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox, manager: Viewer
    ) -> None:
        """PAY-6: in the source conditions were ignored, and the check came after the payment."""
        conditions = [
            {"field": "country", "operator": "is", "values": ["AQ", "BV"]},
            {"field": "amount", "operator": "at_least", "values": ["40"]},
        ]
        await FraudRuleService.create_rule(draft(*conditions), viewer=manager)
        fits = await pay(gateways, settings, country="AQ", amount=usd("40.00"))
        cheap = await pay(gateways, settings, country="AQ", amount=usd("39.99"))
        elsewhere = await pay(gateways, settings, country="NO", amount=usd("40.00"))
        assert [row.state for row in (fits, cheap, elsewhere)] == [
            PaymentState.FAILED,
            PaymentState.CAPTURED,
            PaymentState.CAPTURED,
        ]
        assert (fits.failure_code, fits.asked_at, fits.declined_at, fits.token) == ("blocked", None, None, None)
        assert sandbox.books.payment_of(fits.key) is None
        assert await Transaction.count_rows({"payment_id": fits.id}) == 0

    async def test_pay_6_the_first_rule_that_fits_decides_and_a_disabled_one_does_not(
        self, gateways: Gateways, settings: Settings, manager: Viewer
    ) -> None:
        card = {"field": "method", "operator": "is", "values": ["card"]}
        blocking = await FraudRuleService.create_rule(draft(card, name="second", priority=2), viewer=manager)
        allowing = await FraudRuleService.create_rule(draft(card, name="first", action="allow", priority=1), viewer=manager)
        assert (await pay(gateways, settings)).state is PaymentState.CAPTURED
        await FraudRuleService.update_rule(allowing.id, FraudRuleChanges(enabled=False), viewer=manager)
        assert (await pay(gateways, settings)).state is PaymentState.FAILED
        await FraudRuleService.delete_rule(blocking.id, viewer=manager)
        assert (await pay(gateways, settings)).state is PaymentState.CAPTURED

    async def test_account_age_and_how_often_a_customer_paid_count(
        self, gateways: Gateways, settings: Settings, manager: Viewer
    ) -> None:
        young = {"field": "account_age_hours", "operator": "below", "values": ["24"]}
        often = {"field": "payments_of_customer", "operator": "above", "values": ["1"], "window_minutes": 60}
        await FraudRuleService.create_rule(draft(young, often, action="review"), viewer=manager)
        day_old = now() - timedelta(hours=24)
        states = [(await pay(gateways, settings, customer_key="customer:new")).state for _ in range(3)]
        old = [(await pay(gateways, settings, customer_key="customer:old", payer_since=day_old)).state for _ in range(3)]
        assert states == [PaymentState.CAPTURED, PaymentState.CAPTURED, PaymentState.IN_REVIEW]
        assert old == [PaymentState.CAPTURED] * 3

    @pytest.mark.usefixtures("database")
    @pytest.mark.parametrize("who", ["customer", "address"])
    async def test_s19_twenty_declined_cards_block_the_next(self, gateways: Gateways, settings: Settings, who: str) -> None:
        moment = now() - timedelta(minutes=9)
        facts = {"state": PaymentState.FAILED, "asked_at": moment, "declined_at": moment, "failure_code": "card_declined"}
        same = {"customer_key": "customer:thief"} if who == "customer" else {"client_address": "203.0.113.66"}
        for _ in range(19):
            await create_payment(**facts, **same)
        mine = {"customer_key": "customer:thief"} if who == "customer" else {}
        address = "203.0.113.66" if who == "address" else "198.51.100.1"
        twentieth = await pay(gateways, settings, address=address, token="tok_declined", **mine)
        assert twentieth.failure_code == "card_declined"
        assert (await pay(gateways, settings, address=address, **mine)).failure_code == "blocked"
        assert (await pay(gateways, settings, address="192.0.2.1")).state is PaymentState.CAPTURED
        await Payment.change_many({}, {"$set": {"asked_at": now() - timedelta(minutes=11)}})
        assert (await pay(gateways, settings, address=address, **mine)).state is PaymentState.CAPTURED

    @pytest.mark.usefixtures("database")
    async def test_s19_forty_declined_cards_at_once_do_not_slip_through(
        self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox
    ) -> None:
        attempts = await asyncio.gather(
            *(pay(gateways, settings, customer_key="customer:thief", token="tok_declined") for _ in range(40))
        )
        codes = [done.failure_code for done in attempts]
        assert (codes.count("card_declined"), codes.count("blocked")) == (20, 20)
        reached = [done for done in attempts if sandbox.books.payment_of(done.key)]
        assert len(reached) == 20


class TestRules:
    async def test_defaults_are_made_when_first_asked_for_and_once(self, manager: Viewer) -> None:
        listed = await asyncio.gather(*(FraudRuleService.list_rules(viewer=manager) for _ in range(5)))
        assert [rule.name for rule in listed[-1]] == [
            "20 declines of a customer in 10 minutes",
            "20 declines of a network address in 10 minutes",
            "amount above 10000",
            "card amount above 5000",
        ]
        assert await FraudRule.count_rows({}) == 4

    async def test_the_first_rule_of_ones_own_stands_beside_the_defaults(self, manager: Viewer) -> None:
        made = await FraudRuleService.create_rule(
            draft({"field": "amount", "operator": "above", "values": ["1"]}), viewer=manager
        )
        assert await FraudRule.count_rows({}) == 5
        assert await FraudRuleService.get_rule(made.id, viewer=manager) == made
        (entry,) = await AuditEntry.find_rows({"action": "fraud_rule.created"})
        assert (entry["actor_id"], entry["subject"]) == (manager.user_id, f"fraud_rule:{made.id}")
        with pytest.raises(FraudRuleNameTakenError):
            await FraudRuleService.create_rule(draft({"field": "amount", "operator": "above", "values": ["1"]}), viewer=manager)

    async def test_unknown_rule_is_not_found(self, manager: Viewer) -> None:
        for attempt in (
            FraudRuleService.get_rule(PydanticObjectId(), viewer=manager),
            FraudRuleService.update_rule(PydanticObjectId(), FraudRuleChanges(enabled=False), viewer=manager),
            FraudRuleService.delete_rule(PydanticObjectId(), viewer=manager),
        ):
            with pytest.raises(FraudRuleNotFoundError):
                await attempt

    @pytest.mark.parametrize(
        "condition",
        [
            {"field": "amount", "operator": "above", "values": ["lots"]},
            {"field": "amount", "operator": "above", "values": ["NaN"]},
            {"field": "amount", "operator": "above", "values": ["-1"]},
            {"field": "amount", "operator": "above", "values": ["1", "2"]},
            {"field": "amount", "operator": "above", "values": []},
            {"field": "amount", "operator": "above", "values": ["1"], "window_minutes": 5},
            {"field": "country", "operator": "above", "values": ["US"]},
            {"field": "declines_of_customer", "operator": "above", "values": ["5"]},
            {"field": "shoe_size", "operator": "above", "values": ["5"]},
        ],
    )
    def test_conditions_that_make_no_sense_are_refused(self, condition: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            draft(condition)


class TestReviews:
    async def held(self, gateways: Gateways, settings: Settings) -> tuple[Payment, FraudReview]:
        payment = await pay(gateways, settings, amount=usd("12000.00"))
        row = await FraudReview.find_row({"payment_id": payment.id})
        assert row is not None
        return payment, FraudReview.from_row(row)

    async def test_s19_a_held_payment_is_not_charged_and_its_owner_is_told(
        self, gateways: Gateways, settings: Settings, manager: Viewer, sandbox: RunningSandbox
    ) -> None:
        payment, review = await self.held(gateways, settings)
        assert (review.rule, review.state, payment.state) == (
            "amount above 10000",
            FraudReviewState.OPEN,
            PaymentState.IN_REVIEW,
        )
        assert sandbox.books.payment_of(payment.key) is None
        assert await Event.count_rows({"type": EventType.PAYMENT_HELD}) == 1
        again = await PaymentService.execute(payment.id, gateways=gateways, listener=RecordingListener(), settings=settings)
        assert again.state is PaymentState.IN_REVIEW

    async def test_s19_approval_charges_and_is_audited(
        self, gateways: Gateways, settings: Settings, manager: Viewer, sandbox: RunningSandbox
    ) -> None:
        payment, review = await self.held(gateways, settings)
        listener = RecordingListener()
        for _ in range(2):  # the second time tells how it stands
            decided = await FraudReviewService.approve_review(
                review.id, viewer=manager, note="Called", gateways=gateways, listener=listener, settings=settings
            )
        assert (decided.state, decided.decided_by, decided.note) == (FraudReviewState.APPROVED, manager.user_id, "Called")
        kept = await PaymentService.get(payment.id)
        assert (kept.state, kept.captured) == (PaymentState.CAPTURED, 1_200_000)
        assert listener.payments == [PaymentState.PROCESSING, PaymentState.CAPTURED]
        (entry,) = await AuditEntry.find_rows({"subject": f"payment:{payment.id}"})
        assert (entry["action"], entry["actor_id"]) == ("payment.review_approved", manager.user_id)
        assert [row.captured for row in sandbox.books.payments.values() if row.description == payment.subject] == [1_200_000]

    async def test_rejection_fails_the_payment_without_a_call(
        self, gateways: Gateways, settings: Settings, manager: Viewer, sandbox: RunningSandbox
    ) -> None:
        payment, review = await self.held(gateways, settings)
        listener = RecordingListener()
        await FraudReviewService.reject_review(review.id, viewer=manager, note="", listener=listener)
        kept = await PaymentService.get(payment.id)
        assert (kept.state, kept.failure_code, kept.token) == (PaymentState.FAILED, "rejected", None)
        assert listener.payments == [PaymentState.FAILED]
        assert sandbox.books.payment_of(payment.key) is None

    async def test_of_twenty_decisions_one_counts(
        self, gateways: Gateways, settings: Settings, manager: Viewer, database: Database
    ) -> None:
        payment, review = await self.held(gateways, settings)
        other = viewer_of(await create_user(role=Role.MANAGER))

        async def decide(number: int) -> bool:
            try:
                if number % 2:
                    await FraudReviewService.approve_review(
                        review.id, viewer=manager, note="", gateways=gateways, listener=RecordingListener(), settings=settings
                    )
                else:
                    await FraudReviewService.reject_review(review.id, viewer=other, note="", listener=RecordingListener())
            except FraudReviewDecidedError:
                return False
            return True

        assert sum(await asyncio.gather(*(decide(number) for number in range(20)))) == 10  # all of the one who was first
        kept = await PaymentService.get(payment.id)
        assert kept.state in (PaymentState.CAPTURED, PaymentState.FAILED)
        assert await AuditEntry.count_rows({"subject": f"payment:{payment.id}"}) == 1

    async def test_voiding_the_payment_closes_its_review(self, gateways: Gateways, settings: Settings, manager: Viewer) -> None:
        payment, review = await self.held(gateways, settings)
        await PaymentService.void(payment.id, key="v", gateways=gateways, listener=RecordingListener(), settings=settings)
        with pytest.raises(FraudReviewDecidedError):
            await FraudReviewService.approve_review(
                review.id, viewer=manager, note="", gateways=gateways, listener=RecordingListener(), settings=settings
            )
        assert (await PaymentService.get(payment.id)).state is PaymentState.VOIDED

    async def test_unknown_review_is_not_found(self, manager: Viewer) -> None:
        with pytest.raises(FraudReviewNotFoundError):
            await FraudReviewService.reject_review(PydanticObjectId(), viewer=manager, note="", listener=RecordingListener())


def test_actions_are_the_three_of_pay_6() -> None:
    assert list(FraudAction) == ["allow", "review", "block"]
