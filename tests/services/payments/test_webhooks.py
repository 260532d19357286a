"""What gateways tell: believed when signed, once, and in whatever order it comes."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.base import now
from models.database import Session
from models.events import Event
from models.payments import GatewayEvent, Payment, PaymentState, Refund, RefundState, Transaction, TransactionKind
from scripts.sandbox.gateway import signed
from services.payments.gateways import Gateways
from services.payments.payments import PaymentService
from services.payments.port import InvalidWebhookError
from services.payments.settlement import SETTLES_FROM
from services.payments.webhooks import GatewayNotFoundError, GatewayWebhookService
from services.settings import Settings
from tests.factories.payments import RecordingListener, captured_payment, create_payment, usd
from tests.races import patiently, seeds
from tests.sandbox import SANDBOX_SECRET

pytestmark = pytest.mark.usefixtures("database")


async def in_flight(**over: Any) -> Payment:
    """A payment that was sent and not answered."""
    moment = now() - timedelta(seconds=3)
    terms = {"state": PaymentState.PROCESSING, "asked_at": moment, "check_at": moment, "sent_count": 1}
    return await create_payment(**{**terms, **over})


async def pending_refund(payment: Payment, amount: str, **over: Any) -> Refund:
    """A refund that was sent and not answered; the payment holds its amount aside already."""
    terms: dict[str, Any] = {"key": f"{payment.key}:{amount}", "amount": usd(amount), "asked_at": now(), "sent_count": 1}
    fixed = {"payment_id": payment.id, "subject": payment.subject, "gateway": "sandbox", "reason": "Broken"}
    return await Refund(**{**fixed, **terms, **over}).store()


def message(event_id: str, kind: str, data: Mapping[str, Any], *, at: datetime | None = None) -> tuple[dict[str, str], bytes]:
    body = json.dumps({"type": kind, "data": data}).encode()
    return signed(SANDBOX_SECRET, event_id, body, at=at), body


def said_of(payment: Payment, state: str, *, captured: int = 0, code: str | None = None) -> dict[str, Any]:
    return {
        "id": f"sbx_{payment.id}",
        "key": payment.key,
        "state": state,
        "amount": payment.amount.amount,
        "currency": "USD",
        "captured": captured,
        "instrument": "visa ****4242",
        "failure_code": code,
        "failure_message": None,
    }


def said_of_refund(refund: Refund, state: str, *, code: str | None = None) -> dict[str, Any]:
    row = {"id": f"sbr_{refund.id}", "key": refund.key, "payment": "", "amount": refund.amount.amount, "currency": "USD"}
    return {**row, "state": state, "failure_code": code, "failure_message": None}


async def receive(gateways: Gateways, headers: dict[str, str], body: bytes, listener: RecordingListener | None = None) -> bool:
    return await GatewayWebhookService.receive(
        "sandbox", headers=headers, body=body, gateways=gateways, listener=listener or RecordingListener()
    )


async def everything() -> list[int]:
    return [await document.count_rows({}) for document in (GatewayEvent, Transaction, Event)]


class TestReceive:
    async def test_pay_5_settles_and_takes_its_effect_once(self, gateways: Gateways) -> None:
        payment, listener = await in_flight(), RecordingListener()
        told = message("evt_1", "payment.captured", said_of(payment, "captured", captured=4990))
        assert [await receive(gateways, *told, listener) for _ in range(3)] == [True, False, False]
        kept = await PaymentService.get(payment.id)
        assert (kept.state, kept.captured, kept.refundable, kept.check_at) == (PaymentState.CAPTURED, 4990, 4990, None)
        assert listener.payments == [PaymentState.CAPTURED]
        assert await everything() == [1, 1, 1]
        (row,) = await Transaction.find_rows({})
        assert (row["kind"], row["payment_id"]) == (TransactionKind.WEBHOOK, payment.id)

    @pytest.mark.parametrize("what", ["signature", "body", "missing", "malformed", "secret"])
    async def test_pay_5_a_bad_signature_is_refused_and_nothing_changes(self, gateways: Gateways, what: str) -> None:
        payment = await in_flight()
        headers, body = message("evt_1", "payment.captured", said_of(payment, "captured", captured=4990))
        if what == "signature":
            headers["webhook-signature"] = "v1,AAAA"
        elif what == "body":
            body = body.replace(b"4990", b"9990")
        elif what == "missing":
            del headers["webhook-timestamp"]
        elif what == "malformed":
            headers["webhook-signature"] = "nonsense"
        else:
            headers = signed("whsec_b3RoZXI=", "evt_1", body)
        with pytest.raises(InvalidWebhookError):
            await receive(gateways, headers, body)
        assert (await PaymentService.get(payment.id)).state is PaymentState.PROCESSING
        assert await everything() == [0, 0, 0]

    @pytest.mark.parametrize("seconds", [-301, 301])
    async def test_r7_older_than_300_seconds_is_refused(self, gateways: Gateways, seconds: int) -> None:
        payment = await in_flight()
        at = datetime.now(UTC) + timedelta(seconds=seconds + (1 if seconds > 0 else 0))
        told = message("evt_1", "payment.captured", said_of(payment, "captured", captured=4990), at=at)
        with pytest.raises(InvalidWebhookError):
            await receive(gateways, *told)
        assert await everything() == [0, 0, 0]

    async def test_a_gateway_nobody_knows_is_not_found(self, gateways: Gateways) -> None:
        with pytest.raises(GatewayNotFoundError):
            await GatewayWebhookService.receive(
                "paypigeon", headers={}, body=b"", gateways=gateways, listener=RecordingListener()
            )

    async def test_what_is_about_nothing_of_ours_is_kept_and_changes_nothing(self, gateways: Gateways) -> None:
        payment = await in_flight(gateway="stripe")
        told = message("evt_1", "payment.captured", said_of(payment, "captured", captured=4990))
        assert await receive(gateways, *told) is True
        assert (await PaymentService.get(payment.id)).state is PaymentState.PROCESSING
        assert await everything() == [1, 0, 0]

    async def test_a_failure_while_handling_leaves_it_to_be_sent_again(self, gateways: Gateways) -> None:
        class Stumbling(RecordingListener):
            async def payment_changed(self, session: Session, payment: Payment) -> None:
                raise RuntimeError("the owner stumbles")

        payment = await in_flight()
        told = message("evt_1", "payment.captured", said_of(payment, "captured", captured=4990))
        with pytest.raises(RuntimeError, match="stumbles"):
            await receive(gateways, *told, Stumbling())
        assert (await PaymentService.get(payment.id)).state is PaymentState.PROCESSING
        assert await everything() == [0, 0, 0]
        assert await receive(gateways, *told) is True
        assert (await PaymentService.get(payment.id)).state is PaymentState.CAPTURED

    async def test_late_news_moves_nothing_backwards(self, gateways: Gateways) -> None:
        payment = await in_flight()
        for number, (kind, state, captured) in enumerate(
            [("captured", "captured", 4990), ("authorised", "authorised", 0), ("failed", "failed", 0), ("pending", "pending", 0)]
        ):
            await receive(gateways, *message(f"evt_{number}", f"payment.{kind}", said_of(payment, state, captured=captured)))
        kept = await PaymentService.get(payment.id)
        assert (kept.state, kept.captured, kept.failure_code) == (PaymentState.CAPTURED, 4990, None)

    async def test_money_that_was_taken_outweighs_a_failure_believed_in(self, gateways: Gateways) -> None:
        """And leaves what reports tell of what was believed before."""
        given_up = now() - timedelta(hours=1)
        payment = await in_flight(state=PaymentState.FAILED, failure_code="no_answer", settled_at=given_up)
        await receive(gateways, *message("evt_1", "payment.voided", said_of(payment, "voided")))
        voided = await PaymentService.get(payment.id)
        await receive(gateways, *message("evt_2", "payment.captured", said_of(payment, "captured", captured=4990)))
        kept = await PaymentService.get(payment.id)
        assert (kept.state, kept.captured, kept.failure_code) == (PaymentState.CAPTURED, 4990, None)
        assert (kept.failed_at, kept.failed_code, kept.voided_at) == (given_up, "no_answer", voided.settled_at)

    async def test_what_was_never_sent_cannot_be_captured_by_a_webhook(self, gateways: Gateways) -> None:
        payment = await create_payment(state=PaymentState.FAILED, failure_code="blocked")
        await receive(gateways, *message("evt_1", "payment.captured", said_of(payment, "captured", captured=4990)))
        assert (await PaymentService.get(payment.id)).state is PaymentState.FAILED


Message = tuple[dict[str, str], bytes]


async def life(order: random.Random | None) -> tuple[list[Payment], list[Refund], list[Message]]:
    """A payment in flight and a captured one with three refunds in flight, and thirteen messages of twelve types about them."""
    paid = await in_flight()
    returned = await captured_payment(refundable=4990 - 3000)
    refunds = [await pending_refund(returned, amount) for amount in ("10.00", "15.00", "5.00")]
    first, second, third = refunds
    facts: list[tuple[str, dict[str, Any]]] = [
        ("payment.created", said_of(paid, "pending")),
        ("payment.pending", said_of(paid, "pending")),
        ("payment.failed", said_of(paid, "failed", code="try_again")),
        ("payment.authorised", said_of(paid, "authorised")),
        ("payment.captured", said_of(paid, "captured", captured=4000)),
        ("payment.updated", said_of(paid, "captured", captured=4000)),
        ("refund.created", said_of_refund(first, "pending")),
        ("refund.succeeded", said_of_refund(first, "succeeded")),
        ("refund.failed", said_of_refund(second, "failed", code="refund_refused")),
        ("refund.pending", said_of_refund(third, "pending")),
        ("refund.updated", said_of_refund(third, "succeeded")),
        ("dispute.opened", {"id": "dsp_1"}),
        ("dispute.closed", {"id": "dsp_1"}),
    ]
    messages = [message(f"evt_{number}", kind, data) for number, (kind, data) in enumerate(facts)]
    if order is not None:
        messages = messages * 3
        order.shuffle(messages)
    return [paid, returned], refunds, messages


async def outcome(payments: Sequence[Payment], refunds: Sequence[Refund]) -> dict[str, Any]:
    """State and ledger, without the ids and times that differ from life to life."""
    money = [await PaymentService.get(payment.id) for payment in payments]
    back = [Refund.from_row(row) for row in await Refund.find_rows({"payment_id": payments[1].id}, sort=[("_id", 1)])]
    log = await Transaction.find_rows({})
    return {
        "payments": [(row.state, row.captured, row.refunded, row.refundable, row.instrument) for row in money],
        "refunds": [(row.state, row.failure_code) for row in back],
        "log": Counter((row["kind"], row["status"], row["amount"]["amount"]) for row in log),
        "taken": await GatewayEvent.count_rows({}),
    }


EXPECTED = {
    "payments": [
        (PaymentState.CAPTURED, 4000, 0, 4000, "visa ****4242"),
        (PaymentState.CAPTURED, 4990, 1500, 3490, None),
    ],
    "refunds": [
        (RefundState.SUCCEEDED, None),
        (RefundState.FAILED, "refund_refused"),
        (RefundState.SUCCEEDED, None),
    ],
    "log": Counter(
        {
            ("webhook", "pending", 4990): 2,
            ("webhook", "failed", 4990): 1,
            ("webhook", "succeeded", 4990): 3,
            ("webhook", "pending", 1000): 1,
            ("webhook", "succeeded", 1000): 1,
            ("webhook", "failed", 1500): 1,
            ("webhook", "pending", 500): 1,
            ("webhook", "succeeded", 500): 1,
        }
    ),
    "taken": 13,
}


class TestR7:
    async def test_in_order(self, gateways: Gateways) -> None:
        payments, refunds, messages = await life(None)
        for headers, body in messages:
            assert await receive(gateways, headers, body) is True
        assert await outcome(payments, refunds) == EXPECTED

    @pytest.mark.parametrize("seed", seeds())
    async def test_r7_three_times_each_shuffled_ten_at_once_is_the_same(self, gateways: Gateways, seed: int) -> None:
        payments, refunds, messages = await life(random.Random(seed))
        slots, seconds = asyncio.Semaphore(10), list[float]()

        async def deliver(headers: dict[str, str], body: bytes) -> None:
            async with slots:
                began = time.perf_counter()
                await receive(gateways, headers, body)
                seconds.append(time.perf_counter() - began)

        await asyncio.gather(*(deliver(*told) for told in messages))
        assert await outcome(payments, refunds) == EXPECTED
        # Failed before it was captured, or captured at once: the owner hears of the capture once either way.
        assert await Event.count_rows({"type": "payment.captured"}) == 1
        assert sorted(seconds)[int(len(seconds) * 0.95)] < patiently(0.5)

    @pytest.mark.parametrize("seed", seeds())
    async def test_resolver_against_webhook_settles_once(self, gateways: Gateways, settings: Settings, seed: int) -> None:
        payment = await create_payment(token="tok_timeout_after")
        await PaymentService.execute(payment.id, gateways=gateways, listener=RecordingListener(), settings=settings)
        told = message(f"evt_{seed}", "payment.captured", said_of(payment, "captured", captured=4990))

        async def resolve() -> None:
            later = now() + timedelta(seconds=5)
            await PaymentService.resolve_due(gateways=gateways, listener=RecordingListener(), settings=settings, now=later)

        await asyncio.gather(*(resolve() if n % 2 else receive(gateways, *told) for n in range(12)))
        kept = await PaymentService.get(payment.id)
        assert (kept.state, kept.captured, kept.refundable) == (PaymentState.CAPTURED, 4990, 4990)
        assert await Event.count_rows({"type": "payment.captured"}) == 1


def test_states_only_move_forward() -> None:
    """Whatever leads to a state stands before it, and nothing leads back to being unsent."""
    rank = [PaymentState.PROCESSING, PaymentState.FAILED, PaymentState.AUTHORISED, PaymentState.VOIDED, PaymentState.CAPTURED]
    for reached, before in SETTLES_FROM.items():
        assert all(rank.index(state) < rank.index(reached) for state in before)
    assert set(SETTLES_FROM) == set(rank[1:])
