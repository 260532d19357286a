"""Capturing and voiding what was authorised."""

import asyncio
from datetime import timedelta

import pytest

from models.audit import AuditEntry
from models.base import now
from models.payments import Payment, PaymentState
from services.errors import AppError
from services.payments.gateways import Gateways
from services.payments.operations import (
    CaptureTooLargeError,
    GatewayRefusedError,
    InvalidAmountError,
    PaymentStateError,
)
from services.payments.payments import PaymentService
from services.settings import Settings
from tests.factories.payments import RecordingListener, create_payment, usd
from tests.races import seeds
from tests.sandbox import RunningSandbox

pytestmark = pytest.mark.usefixtures("database")


async def authorised(gateways: Gateways, settings: Settings, **over: object) -> Payment:
    payment = await create_payment(**{"captures_later": True, **over})
    done = await PaymentService.execute(payment.id, gateways=gateways, listener=RecordingListener(), settings=settings)
    assert done.state is PaymentState.AUTHORISED
    return done


class TestCapture:
    @pytest.mark.parametrize(("amount", "captured"), [(None, 4990), ("49.90", 4990), ("12.34", 1234)])
    async def test_takes_the_whole_or_a_part(
        self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox, amount: str | None, captured: int
    ) -> None:
        payment, listener = await authorised(gateways, settings), RecordingListener()
        done = await PaymentService.capture(
            payment.id,
            key="c1",
            amount=usd(amount) if amount else None,
            gateways=gateways,
            listener=listener,
            settings=settings,
        )
        assert (done.state, done.captured, done.refundable) == (PaymentState.CAPTURED, captured, captured)
        assert listener.payments == [PaymentState.CAPTURED]
        booked = sandbox.books.payment_of(payment.key)
        assert booked is not None
        assert booked.captured == captured
        assert await AuditEntry.count_rows({"action": "payment.capture", "subject": f"payment:{payment.id}"}) == 1

    async def test_more_than_authorised_is_refused(self, gateways: Gateways, settings: Settings) -> None:
        payment = await authorised(gateways, settings)
        with pytest.raises(CaptureTooLargeError):
            await PaymentService.capture(
                payment.id,
                key="c1",
                amount=usd("49.91"),
                gateways=gateways,
                listener=RecordingListener(),
                settings=settings,
            )
        with pytest.raises(InvalidAmountError):
            await PaymentService.capture(
                payment.id,
                key="c1",
                amount=usd("0.00"),
                gateways=gateways,
                listener=RecordingListener(),
                settings=settings,
            )
        assert (await PaymentService.get(payment.id)).state is PaymentState.AUTHORISED

    async def test_same_key_captures_once_and_another_is_refused(self, gateways: Gateways, settings: Settings) -> None:
        payment = await authorised(gateways, settings)
        for _ in range(2):
            done = await PaymentService.capture(
                payment.id, key="c1", gateways=gateways, listener=RecordingListener(), settings=settings
            )
            assert done.captured == 4990
        with pytest.raises(PaymentStateError):
            await PaymentService.capture(payment.id, key="c2", gateways=gateways, listener=RecordingListener(), settings=settings)

    async def test_what_the_gateway_refuses_stays_authorised(self, gateways: Gateways, settings: Settings) -> None:
        payment = await authorised(gateways, settings, token="tok_capture_refused")
        with pytest.raises(GatewayRefusedError, match="authorisation_expired"):
            await PaymentService.capture(payment.id, key="c1", gateways=gateways, listener=RecordingListener(), settings=settings)
        kept = await PaymentService.get(payment.id)
        assert (kept.state, kept.operation, kept.check_at, kept.captured) == (PaymentState.AUTHORISED, None, None, 0)

    async def test_a_capture_whose_answer_was_lost_is_asked_about(self, gateways: Gateways, settings: Settings) -> None:
        payment = await authorised(gateways, settings, token="tok_capture_timeout")
        listener, began = RecordingListener(), now()
        open_ = await PaymentService.capture(
            payment.id, key="c1", gateways=gateways, listener=listener, settings=settings, now=began
        )
        assert (open_.state, open_.operation) == (PaymentState.AUTHORISED, "capture")
        later = began + timedelta(seconds=3)
        assert await PaymentService.resolve_due(gateways=gateways, listener=listener, settings=settings, now=later) == 1
        kept = await PaymentService.get(payment.id)
        assert (kept.state, kept.captured, kept.operation) == (PaymentState.CAPTURED, 4990, None)


class TestVoid:
    async def test_lets_go(self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox) -> None:
        payment, listener = await authorised(gateways, settings), RecordingListener()
        done = await PaymentService.void(payment.id, key="v1", gateways=gateways, listener=listener, settings=settings)
        assert (done.state, listener.payments) == (PaymentState.VOIDED, [PaymentState.VOIDED])
        booked = sandbox.books.payment_of(payment.key)
        assert booked is not None
        assert booked.state == "voided"

    async def test_a_payment_that_was_not_sent_is_given_up_without_a_call(
        self, gateways: Gateways, settings: Settings, sandbox: RunningSandbox
    ) -> None:
        payment = await create_payment()
        done = await PaymentService.void(payment.id, key="v1", gateways=gateways, listener=RecordingListener(), settings=settings)
        assert (done.state, done.token) == (PaymentState.VOIDED, None)
        again = await PaymentService.execute(payment.id, gateways=gateways, listener=RecordingListener(), settings=settings)
        assert again.state is PaymentState.VOIDED
        assert sandbox.books.payment_of(payment.key) is None

    async def test_a_payment_of_unknown_outcome_cannot_be_voided(self, gateways: Gateways, settings: Settings) -> None:
        payment = await create_payment(state=PaymentState.PROCESSING, asked_at=now(), sent_count=1)
        with pytest.raises(PaymentStateError):
            await PaymentService.void(payment.id, key="v1", gateways=gateways, listener=RecordingListener(), settings=settings)
        assert (await PaymentService.get(payment.id)).state is PaymentState.PROCESSING


@pytest.mark.parametrize("seed", seeds())
async def test_capture_against_void_one_of_them_happens(
    gateways: Gateways, settings: Settings, sandbox: RunningSandbox, seed: int
) -> None:
    payment = await authorised(gateways, settings)

    async def attempt(number: int) -> str:
        act = PaymentService.capture if (number + seed) % 2 else PaymentService.void
        try:
            done = await act(payment.id, key=f"o{number}", gateways=gateways, listener=RecordingListener(), settings=settings)
        except AppError as error:
            return error.code
        return str(done.state)

    answers = await asyncio.gather(*(attempt(number) for number in range(20)))
    kept = await PaymentService.get(payment.id)
    booked = sandbox.books.payment_of(payment.key)
    assert booked is not None
    assert sorted(answers) == sorted([str(kept.state), *["payment_state"] * 19])
    assert (str(kept.state), kept.captured) == (booked.state, booked.captured)
