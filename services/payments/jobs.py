"""The worker's part in payments: what was left open is asked about until it is settled."""

from datetime import timedelta

from services.jobs import RecurringJob
from services.payments.gateways import make_gateways
from services.payments.listeners import PaymentListener
from services.payments.payments import PaymentService
from services.payments.refunds import RefundService
from services.settings import Settings

RESOLVE_EVERY = timedelta(seconds=2)
# How long payments wait after the worker that asked was killed. It is renewed for as long as asking takes.
RESOLVE_LEASE = timedelta(seconds=10)


def payment_resolver(settings: Settings, listener: PaymentListener) -> RecurringJob:
    """The job that settles payments and refunds of unknown outcome by asking, never by charging again."""

    async def resolve() -> str:
        async with make_gateways(settings) as gateways:
            payments = await PaymentService.resolve_due(gateways=gateways, listener=listener, settings=settings)
            refunds = await RefundService.resolve_due(gateways=gateways, listener=listener, settings=settings)
        return f"{payments} payments and {refunds} refunds asked about"

    return RecurringJob("resolve_payments", RESOLVE_EVERY, resolve, RESOLVE_LEASE)
