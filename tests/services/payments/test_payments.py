"""Charging, and what becomes of it: declines, lost lines, twins."""

import asyncio
from datetime import timedelta

import pytest
from beanie import PydanticObjectId

from models.base import now
from models.database import Database, run_transaction
from models.events import Event, EventType
from models.payments import Payment, PaymentState, Transaction, TransactionKind, TransactionStatus
from services.payments.gateways import Gateways, UnknownGatewayError
from services.payments.payments import NothingToPayError, PaymentKeyReusedError, PaymentService
from services.payments.settlement import PaymentNotFoundError
from services.settings import Settings
from tests.commands import CommandLog
from tests.factories.payments import RecordingListener, create_payment, usd
from tests.sandbox import RunningSandbox

pytestmark = pytest.mark.usefixtures("database")


async def reread(payment: Payment) -> Payment:
    return await PaymentService.get(payment.id)


async def log_of(payment: Payment) -> list[tuple[TransactionKind, TransactionStatus]]:
    rows = await Transaction.find_rows({"payment_id": payment.id}, sort=[("_id", 1)])
    return [(TransactionKind(row["kind"]), TransactionStatus(row["status"])) for row in rows]


class TestCreate:
    async def test_is_written_down_before_anything_is_asked(self) -> None:
        made = await PaymentService.create(
            None, subject="order:1", key="k1", amount=usd("12.30"), method="card", gateway="sandbox", token="tok_ok"
        )
        kept = await reread(made)
        assert (kept.subject, kept.amount, kept.state, kept.token) == ("order:1", usd("12.30"), PaymentState.CREATED, "tok_ok")
        assert (kept.captured, kept.refunded, kept.refundable, kept.sent_count) == (0, 0, 0, 0)

    async def test_same_key_is_the_same_payment_in_one_command_each(self, commands: CommandLog) -> None:
        terms = {"subject": "order:1", "key": "k1", "amount": usd("12.30"), "method": "card", "gateway": "sandbox"}
        with commands.counting() as sent:
            first = await PaymentService.create(None, **terms)  # type: ignore[arg-type]
        again = await PaymentService.create(None, **terms)  # type: ignore[arg-type]
        assert (first.id, len(sent)) == (again.id, 1)

    async def test_twenty_at_once_under_one_key_are_one(self) -> None:
        async def create() -> PydanticObjectId:
            made = await run_transaction(
                lambda session: PaymentService.create(
                    session, subject="order:1", key="k1", amount=usd("5.00"), method="card", gateway="sandbox"
                )
            )
            return made.id

        assert len(set(await asyncio.gather(*(create() for _ in range(20))))) == 1
        assert await Payment.count_rows({}) == 1

    async def test_same_key_for_another_amount_is_refused(self) -> None:
        payment = await create_payment(amount=usd("5.00"))
        with pytest.raises(PaymentKeyReusedError):
            await PaymentService.create(
                None, subject=payment.subject, key=payment.key, amount=usd("6.00"), method="card", gateway="sandbox"
            )
        assert (await reread(payment)).amount == usd("5.00")

    @pytest.mark.parametrize("amount", ["0.00", "-1.00"])
    async def test_nothing_to_pay_is_refused(self, amount: str) -> None:
        with pytest.raises(NothingToPayError):
            await PaymentService.create(None, subject="order:1", key="k1", amount=usd(amount), method="card", gateway="sandbox")
        assert await Payment.count_rows({}) == 0


class TestExecute:
    async def test_pay_1_takes_the_money_and_tells_the_listener_inside_the_transaction(
        self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox
    ) -> None:
        payment, listener = await create_payment(), RecordingListener()
        done = await PaymentService.execute(payment.id, gateways=gateways, listener=listener, settings=settings)
        kept = await reread(payment)
        assert done == kept
        assert (kept.state, kept.captured, kept.refundable, kept.refunded) == (PaymentState.CAPTURED, 4990, 4990, 0)
        assert (kept.instrument, kept.token, kept.check_at) == ("visa ****4242", None, None)
        assert listener.payments == [PaymentState.PROCESSING, PaymentState.CAPTURED]
        assert not listener.was_outside
        booked = sandbox.books.payment_of(payment.key)
        assert booked is not None
        assert (booked.id, booked.captured) == (kept.gateway_reference, 4990)
        assert [row["type"] for row in await Event.find_rows({"subject": f"payment:{payment.id}"})] == [
            EventType.PAYMENT_CAPTURED
        ]

    @pytest.mark.parametrize(
        ("token", "code"), [("tok_declined", "card_declined"), ("tok_insufficient_funds", "insufficient_funds")]
    )
    async def test_pay_2_a_failed_payment_is_kept_with_its_reason(
        self, gateways: Gateways, settings: Settings, token: str, code: str
    ) -> None:
        payment, listener = await create_payment(token=token), RecordingListener()
        done = await PaymentService.execute(payment.id, gateways=gateways, listener=listener, settings=settings)
        kept = await reread(payment)
        assert done == kept
        assert (kept.state, kept.failure_code, kept.captured, kept.token) == (PaymentState.FAILED, code, 0, None)
        assert kept.declined_at is not None
        assert listener.payments == [PaymentState.PROCESSING, PaymentState.FAILED]
        assert await log_of(payment) == [(TransactionKind.CHARGE, TransactionStatus.FAILED)]

    async def test_authorises_what_is_captured_later(self, gateways: Gateways, settings: Settings) -> None:
        payment = await create_payment(captures_later=True)
        done = await PaymentService.execute(payment.id, gateways=gateways, listener=RecordingListener(), settings=settings)
        assert (done.state, done.captured, done.refundable) == (PaymentState.AUTHORISED, 0, 0)
        assert await log_of(payment) == [(TransactionKind.AUTHORISE, TransactionStatus.SUCCEEDED)]

    async def test_invoice_is_promised_without_a_gateway(self, gateways: Gateways, settings: Settings) -> None:
        name = gateways.choose("invoice", "sandbox")
        payment = await create_payment(method="invoice", gateway=name, token=None)
        done = await PaymentService.execute(payment.id, gateways=gateways, listener=RecordingListener(), settings=settings)
        assert (name, done.state) == ("offline", PaymentState.AUTHORISED)

    async def test_pay_1_unknown_gateway_is_an_error_and_changes_nothing(self, gateways: Gateways, settings: Settings) -> None:
        payment = await create_payment(gateway="paypigeon")
        with pytest.raises(UnknownGatewayError):
            await PaymentService.execute(payment.id, gateways=gateways, listener=RecordingListener(), settings=settings)
        assert (await reread(payment)).state is PaymentState.CREATED

    async def test_unknown_payment_is_not_found(self, gateways: Gateways, settings: Settings) -> None:
        with pytest.raises(PaymentNotFoundError):
            await PaymentService.execute(PydanticObjectId(), gateways=gateways, listener=RecordingListener(), settings=settings)

    async def test_pay_7_a_charge_whose_answer_was_lost_is_asked_about_and_not_repeated(
        self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox
    ) -> None:
        payment, listener = await create_payment(token="tok_timeout_after"), RecordingListener()
        open_ = await PaymentService.execute(payment.id, gateways=gateways, listener=listener, settings=settings)
        assert (open_.state, listener.payments) == (PaymentState.PROCESSING, [PaymentState.PROCESSING])
        done = await PaymentService.execute(payment.id, gateways=gateways, listener=listener, settings=settings)
        assert (done.state, done.captured) == (PaymentState.CAPTURED, 4990)
        assert await log_of(payment) == [
            (TransactionKind.CHARGE, TransactionStatus.UNKNOWN),
            (TransactionKind.STATUS, TransactionStatus.SUCCEEDED),
        ]
        assert [row.captured for row in sandbox.books.payments.values() if row.description == payment.subject] == [4990]

    async def test_twenty_executes_at_once_charge_once(
        self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox
    ) -> None:
        payment = await create_payment()

        async def execute() -> Payment:
            return await PaymentService.execute(payment.id, gateways=gateways, listener=RecordingListener(), settings=settings)

        await asyncio.gather(*(execute() for _ in range(20)))
        kept = await reread(payment)
        assert (kept.state, kept.sent_count, kept.captured) == (PaymentState.CAPTURED, 1, 4990)
        assert [row.captured for row in sandbox.books.payments.values() if row.description == payment.subject] == [4990]
        assert await Event.count_rows({"type": EventType.PAYMENT_CAPTURED}) == 1


class TestResolver:
    async def test_a_charge_that_never_arrived_is_sent_again_under_its_key_and_then_given_up(
        self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox
    ) -> None:
        payment, listener = await create_payment(token="tok_timeout_before"), RecordingListener()
        began = now()
        moment = began
        await PaymentService.execute(payment.id, gateways=gateways, listener=listener, settings=settings, now=moment)
        while (await reread(payment)).state is PaymentState.PROCESSING and moment < began + timedelta(minutes=2):
            moment += timedelta(seconds=1)
            await PaymentService.resolve_due(gateways=gateways, listener=listener, settings=settings, now=moment)
        kept = await reread(payment)
        assert (kept.state, kept.failure_code, kept.sent_count) == (PaymentState.FAILED, "no_answer", 3)
        assert kept.declined_at is None
        assert moment - began <= timedelta(seconds=60)
        assert listener.payments == [PaymentState.PROCESSING, PaymentState.FAILED]
        assert sandbox.books.payment_of(payment.key) is None

    async def test_a_charge_that_arrives_at_the_second_try_is_taken_once(
        self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox
    ) -> None:
        payment, listener = await create_payment(token="tok_timeout_before_once"), RecordingListener()
        began = now()
        await PaymentService.execute(payment.id, gateways=gateways, listener=listener, settings=settings, now=began)
        for second in range(1, 40):
            await PaymentService.resolve_due(
                gateways=gateways, listener=listener, settings=settings, now=began + timedelta(seconds=second)
            )
        kept = await reread(payment)
        assert (kept.state, kept.sent_count, kept.captured) == (PaymentState.CAPTURED, 2, 4990)
        assert [row.captured for row in sandbox.books.payments.values() if row.description == payment.subject] == [4990]


class TestNoCallInsideATransaction:
    async def test_execute_inside_a_transaction_is_refused_before_the_call(
        self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox, database: Database
    ) -> None:
        payment = await create_payment()
        with pytest.raises(RuntimeError, match="inside a transaction"):
            await run_transaction(
                lambda session: PaymentService.execute(
                    payment.id, gateways=gateways, listener=RecordingListener(), settings=settings
                )
            )
        assert sandbox.books.payment_of(payment.key) is None
        assert (await reread(payment)).state is PaymentState.CREATED
