"""Money given back: never more than was taken, and held aside until the gateway has spoken."""

import asyncio
import random
from datetime import timedelta

import pytest
from beanie import PydanticObjectId

from models.base import now
from models.database import DuplicateKeyError, run_transaction
from models.events import Event, EventType
from models.money import Money
from models.payments import Payment, PaymentState, Refund, RefundState
from services.payments.gateways import Gateways
from services.payments.operations import InvalidAmountError, PaymentStateError
from services.payments.payments import PaymentService
from services.payments.refunds import Refundable, RefundKeyReusedError, RefundService, RefundTooLargeError
from services.payments.settlement import PaymentNotFoundError
from services.settings import Settings
from tests.factories.payments import RecordingListener, captured_payment, create_payment, usd
from tests.races import seeds
from tests.sandbox import RunningSandbox

pytestmark = pytest.mark.usefixtures("database")


async def charged(gateways: Gateways, settings: Settings, **over: object) -> Payment:
    """A payment that the sandbox has taken."""
    payment = await create_payment(**over)
    done = await PaymentService.execute(payment.id, gateways=gateways, listener=RecordingListener(), settings=settings)
    assert done.state is PaymentState.CAPTURED
    return done


async def request(payment: Payment, amount: Money, *, key: str = "") -> Refund:
    return await run_transaction(
        lambda session: RefundService.request(
            session, payment_id=payment.id, amount=amount, reason="Broken", key=key or str(PydanticObjectId())
        ),
        hot=[payment.id],
    )


async def sums(payment: Payment) -> tuple[int, int, int]:
    kept = await PaymentService.get(payment.id)
    return kept.captured, kept.refunded, kept.refundable


class TestRequest:
    async def test_pay_4_holds_the_amount_aside(self) -> None:
        payment = await captured_payment(amount=usd("50.00"))
        refund = await request(payment, usd("20.00"))
        assert (refund.state, refund.amount, refund.subject) == (RefundState.PENDING, usd("20.00"), payment.subject)
        assert await sums(payment) == (5000, 0, 3000)
        assert await Event.count_rows({"type": EventType.REFUND_CREATED}) == 1

    async def test_pay_4_more_than_is_left_is_refused(self) -> None:
        payment = await captured_payment(amount=usd("50.00"))
        await request(payment, usd("30.00"))
        with pytest.raises(RefundTooLargeError) as refused:
            await request(payment, usd("20.01"))
        assert refused.value.refundable == usd("20.00")
        assert await sums(payment) == (5000, 0, 2000)
        assert await Refund.count_rows({}) == 1

    @pytest.mark.parametrize("amount", [usd("0.00"), usd("-1.00"), Money.of("1.00", "EUR")])
    async def test_r4_zero_negative_and_other_currency_are_refused(self, amount: Money) -> None:
        payment = await captured_payment(amount=usd("50.00"))
        with pytest.raises(InvalidAmountError):
            await request(payment, amount)
        assert await sums(payment) == (5000, 0, 5000)

    async def test_pay_4_what_was_not_captured_is_refused(self) -> None:
        payment = await create_payment()
        with pytest.raises(PaymentStateError):
            await request(payment, usd("1.00"))

    async def test_pay_4_a_payment_that_does_not_exist_is_refused(self) -> None:
        with pytest.raises(PaymentNotFoundError):
            await run_transaction(
                lambda session: RefundService.request(
                    session, payment_id=PydanticObjectId(), amount=usd("1.00"), reason="", key="k"
                )
            )

    async def test_same_key_is_the_same_refund(self) -> None:
        payment = await captured_payment(amount=usd("50.00"))
        first = await request(payment, usd("20.00"), key="r1")
        again = await request(payment, usd("20.00"), key="r1")
        assert first.id == again.id
        assert await sums(payment) == (5000, 0, 3000)
        with pytest.raises(RefundKeyReusedError):
            await request(payment, usd("21.00"), key="r1")

    @pytest.mark.parametrize("seed", seeds())
    async def test_r4_of_twenty_refunds_of_sixty_per_cent_one_is_accepted(self, seed: int) -> None:
        payment = await captured_payment(amount=usd("100.00"))

        async def try_it(delay: float) -> bool:
            await asyncio.sleep(delay)
            try:
                await run_transaction(
                    lambda session: RefundService.request(
                        session, payment_id=payment.id, amount=usd("60.00"), reason="", key=str(PydanticObjectId())
                    )
                )
            except RefundTooLargeError:
                return False
            return True

        delays = random.Random(seed)
        accepted = await asyncio.gather(*(try_it(delays.random() / 100) for _ in range(20)))
        assert sum(accepted) == 1
        assert await sums(payment) == (10_000, 0, 4000)
        assert [row["amount"]["amount"] for row in await Refund.find_rows({"payment_id": payment.id})] == [6000]

    async def test_twenty_requests_under_one_key_are_one_refund(self) -> None:
        payment = await captured_payment(amount=usd("100.00"))

        async def once() -> PydanticObjectId:
            made = await run_transaction(
                lambda session: RefundService.request(session, payment_id=payment.id, amount=usd("10.00"), reason="", key="twin")
            )
            return made.id

        assert len(set(await asyncio.gather(*(once() for _ in range(20))))) == 1
        assert await sums(payment) == (10_000, 0, 9000)


class TestExecute:
    async def test_gives_the_money_back_in_parts(self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox) -> None:
        payment = await charged(gateways, settings)
        listener = RecordingListener()
        for amount in ("10.00", "0.01", "39.89"):
            refund = await request(payment, usd(amount))
            done = await RefundService.execute(refund.id, gateways=gateways, listener=listener, settings=settings)
            assert done.state is RefundState.SUCCEEDED
        assert await sums(payment) == (4990, 4990, 0)
        assert listener.refunds == [
            (RefundState.SUCCEEDED, 1000),
            (RefundState.SUCCEEDED, 1001),
            (RefundState.SUCCEEDED, 4990),
        ]
        assert not listener.was_outside
        booked = sandbox.books.payment_of(payment.key)
        assert booked is not None
        assert (booked.captured, booked.refunded) == (4990, 4990)

    async def test_what_the_gateway_refuses_can_be_refunded_again(self, gateways: Gateways, settings: Settings) -> None:
        payment = await charged(gateways, settings, token="tok_refund_refused")
        listener = RecordingListener()
        refund = await request(payment, usd("10.00"))
        done = await RefundService.execute(refund.id, gateways=gateways, listener=listener, settings=settings)
        assert (done.state, done.failure_code) == (RefundState.FAILED, "refund_refused")
        assert await sums(payment) == (4990, 0, 4990)
        assert listener.refunds == [(RefundState.FAILED, 0)]
        assert await Event.count_rows({"type": EventType.REFUND_FAILED}) == 1

    async def test_pay_7_a_refund_whose_answer_was_lost_is_asked_about(
        self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox
    ) -> None:
        payment = await charged(gateways, settings, token="tok_refund_timeout")
        listener, began = RecordingListener(), now()
        refund = await request(payment, usd("10.00"))
        open_ = await RefundService.execute(refund.id, gateways=gateways, listener=listener, settings=settings, now=began)
        assert (open_.state, await sums(payment)) == (RefundState.PENDING, (4990, 0, 3990))
        later = began + timedelta(seconds=3)
        assert await RefundService.resolve_due(gateways=gateways, listener=listener, settings=settings, now=later) == 1
        assert await sums(payment) == (4990, 1000, 3990)
        assert [row.amount for row in sandbox.books.refunds.values() if row.key == refund.key] == [1000]

    async def test_a_refund_nobody_executed_is_sent_by_the_resolver(self, gateways: Gateways, settings: Settings) -> None:
        payment = await charged(gateways, settings)
        await request(payment, usd("10.00"))
        later = now() + timedelta(seconds=1)
        await RefundService.resolve_due(gateways=gateways, listener=RecordingListener(), settings=settings, now=later)
        assert await sums(payment) == (4990, 1000, 3990)

    async def test_twenty_executes_at_once_refund_once(
        self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox
    ) -> None:
        payment = await charged(gateways, settings)
        refund = await request(payment, usd("10.00"))
        await asyncio.gather(
            *(
                RefundService.execute(refund.id, gateways=gateways, listener=RecordingListener(), settings=settings)
                for _ in range(20)
            )
        )
        assert await sums(payment) == (4990, 1000, 3990)
        assert [row.amount for row in sandbox.books.refunds.values() if row.key == refund.key] == [1000]
        assert await Event.count_rows({"type": EventType.REFUND_SUCCEEDED}) == 1

    async def test_keys_are_held_by_an_index(self) -> None:
        payment = await captured_payment()
        refund = await request(payment, usd("1.00"), key="r1")
        with pytest.raises(DuplicateKeyError):
            await Refund(**{**refund.model_dump(), "id": PydanticObjectId()}).store()


class TestRefundable:
    async def test_names_what_is_left_of_each_payment_and_nothing_of_others(self) -> None:
        first = await captured_payment(subject="order:1", amount=usd("10.00"))
        second = await captured_payment(subject="order:1", amount=usd("20.00"))
        await captured_payment(subject="order:1", amount=usd("5.00"), refundable=0, refunded=500)
        await captured_payment(subject="order:2")
        await create_payment(subject="order:1")
        await request(second, usd("4.00"))
        assert await RefundService.refundable("order:1") == [
            Refundable(first.id, usd("10.00")),
            Refundable(second.id, usd("16.00")),
        ]
        assert await RefundService.refundable("order:3") == []
