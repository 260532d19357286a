"""The worker: which jobs and consumers there are, and the loop that keeps them going through every outage."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial

import structlog

from models.database import DatabaseUnavailableError, PyMongoError, heed_cancellation, watch
from models.events import Event
from services.analytics.dashboards import DASHBOARD_ERASURE
from services.analytics.purchases.purchases import PURCHASE_CONSUMER
from services.analytics.reports.segments import SegmentService
from services.analytics.rollups.consumer import ROLLUP_CONSUMER
from services.analytics.rollups.rollups import RollupService
from services.analytics.stock.ledger import LedgerService
from services.analytics.visits.traffic import TrafficService
from services.blog.anonymity import ANONYMITY_CONSUMER
from services.blog.lifecycle import PublishingService
from services.deadletters import DeadLetterService
from services.ecommerce.abandonment import AbandonmentService, cart_reminder_consumer
from services.ecommerce.catalog.recommendations import RecommendationService
from services.ecommerce.catalog.stock import AVAILABILITY_CONSUMER
from services.ecommerce.erasure import CUSTOMER_ERASURE
from services.ecommerce.mails import order_mail_consumer
from services.ecommerce.orders.jobs import order_jobs
from services.ecommerce.orders.settlement import OrderSettlement
from services.ecommerce.returns.refunds import RETURN_CONSUMER
from services.ecommerce.stock_items import STOCK_NAME_CONSUMER
from services.ecommerce.stock_notices import STOCK_NOTICE_CONSUMER, stock_notice_mail_consumer
from services.events import Consumer, EventService
from services.inventory.reservations import ReservationService
from services.jobs import JobService, RecurringJob
from services.mail import Mailer, make_mailer
from services.payments.jobs import payment_resolver
from services.settings import Settings
from services.users.mails import account_mail_consumer
from services.webhooks.pump import WEBHOOK_CONSUMER, webhook_job

log = structlog.get_logger(__name__)

PUMP = "events"
PUMP_LEASE = timedelta(seconds=6)  # how long events wait after the worker that numbered them was killed
IDLE_SECONDS = 1.0  # without a word from the change stream, look anyway this often
LONGEST_PAUSE = 2.0


def make_jobs(settings: Settings) -> list[RecurringJob]:
    """Every recurring job of Agora."""
    return [
        RecurringJob("publish_due_posts", timedelta(seconds=10), _publish_due_posts),
        RecurringJob("purge_trashed_posts", timedelta(days=1), _purge_trashed_posts),
        RecurringJob("roll_up_visits", timedelta(seconds=5), _roll_up_visits),
        RecurringJob("take_segment_snapshots", timedelta(hours=1), _take_segment_snapshots),
        RecurringJob("renew_rollups", timedelta(hours=1), _renew_rollups),
        RecurringJob("follow_stock_ledger", timedelta(minutes=5), _follow_stock_ledger),
        RecurringJob("forget_visits", timedelta(days=1), partial(_forget_visits, settings)),
        RecurringJob("replay_dead_letters", timedelta(seconds=5), partial(_replay_dead_letters, make_consumers(settings))),
        RecurringJob("mark_abandoned_carts", timedelta(minutes=5), partial(_mark_abandoned_carts, settings)),
        RecurringJob("expire_reservations", timedelta(seconds=20), _expire_reservations),
        RecurringJob("rebuild_recommendations", timedelta(hours=6), _rebuild_recommendations),
        webhook_job(settings),
        payment_resolver(settings, OrderSettlement(settings)),
        *order_jobs(settings),
    ]


def make_consumers(settings: Settings, *, mailer: Mailer | None = None) -> list[Consumer]:
    """Every durable consumer of events; mail goes to `mailer`, or where the settings say.

    Caches are none: each API process listens for its own (`LiveHub.listeners`).
    """
    mailer = mailer or make_mailer(settings)
    return [
        account_mail_consumer(settings, mailer),
        order_mail_consumer(settings, mailer),
        cart_reminder_consumer(settings, mailer),
        stock_notice_mail_consumer(settings, mailer),
        ANONYMITY_CONSUMER,
        CUSTOMER_ERASURE,
        DASHBOARD_ERASURE,
        AVAILABILITY_CONSUMER,
        STOCK_NAME_CONSUMER,
        STOCK_NOTICE_CONSUMER,
        RETURN_CONSUMER,
        ROLLUP_CONSUMER,
        PURCHASE_CONSUMER,
        WEBHOOK_CONSUMER,
    ]


async def _publish_due_posts() -> str:
    return f"{await PublishingService.publish_due()} posts published or archived"


async def _roll_up_visits() -> str:
    return f"{await TrafficService.roll_up_all()} visit events rolled up"


async def _take_segment_snapshots() -> str:
    return f"segments of customers in {await SegmentService.take_snapshots()} currencies"


async def _renew_rollups() -> str:
    return f"{await RollupService.renew()} facts of an older version counted anew"


async def _follow_stock_ledger() -> str:
    return f"{await LedgerService.follow_all()} stock movements summed"


async def _forget_visits(settings: Settings) -> str:
    return f"{await TrafficService.forget_marks(settings=settings)} marks of visits forgotten"


async def _replay_dead_letters(consumers: Sequence[Consumer]) -> str:
    return f"{await DeadLetterService.replay_requested(consumers)} events replayed"


async def _mark_abandoned_carts(settings: Settings) -> str:
    return f"{await AbandonmentService.mark_abandoned(settings=settings)} carts abandoned"


async def _expire_reservations() -> str:
    expired = batch = await ReservationService.expire_due()
    while batch:
        batch = await ReservationService.expire_due()
        expired += batch
    return f"{expired} reservations expired"


async def _rebuild_recommendations() -> str:
    return f"recommendations for {await RecommendationService.rebuild()} products"


async def _purge_trashed_posts() -> str:
    purged = batch = await PublishingService.purge_due()
    while batch:
        batch = await PublishingService.purge_due()
        purged += batch
    return f"{purged} posts purged"


class WorkerService:
    @staticmethod
    async def run(jobs: Sequence[RecurringJob], consumers: Sequence[Consumer]) -> None:
        """Run the jobs as they fall due and hand events to the consumers, until cancelled.

        Any number of workers may run at once: leases decide who does what. A database that is away is waited for.
        """
        calls = {job.name: (job, asyncio.Event()) for job in [*jobs, event_pump(consumers)]}
        async with asyncio.TaskGroup() as tasks:
            for name, (job, call) in calls.items():
                tasks.create_task(_through_outages(name, partial(_keep, job, call)))
            tasks.create_task(_through_outages("schedule", partial(_call_due, {name: call for name, (_, call) in calls.items()})))


def event_pump(consumers: Sequence[Consumer]) -> RecurringJob:
    """The job that numbers events and delivers them. It never finishes: whoever holds its lease is the pump."""

    async def pump() -> str | None:
        wake = asyncio.Event()
        listener = asyncio.create_task(_through_outages("event stream", partial(_listen, wake)))
        try:
            while True:
                heed_cancellation()
                wake.clear()
                await _pump_dry(consumers)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_SECONDS):
                        await wake.wait()
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    return RecurringJob(PUMP, timedelta(0), pump, PUMP_LEASE)


async def _pump_dry(consumers: Sequence[Consumer]) -> None:
    """Deliver until nothing moves. An outage ends this round, not the lease: the pump goes on where it was."""
    try:
        while await EventService.pump(consumers):
            heed_cancellation()
    except (PyMongoError, DatabaseUnavailableError) as error:
        heed_cancellation()
        log.warning("event_pump_waits_for_database", reason=type(error).__name__)


async def _listen(wake: asyncio.Event) -> None:
    """Set `wake` whenever an event is recorded."""
    async with watch(Event.collection(), [{"$match": {"operationType": "insert"}}]) as stream:
        while True:
            heed_cancellation()
            # Not `next()`, which the client's timeout would end in every quiet spell; this waits a second at the server.
            if await stream.try_next() is not None:
                wake.set()


async def _keep(job: RecurringJob, call: asyncio.Event) -> None:
    """Run one job whenever it is called, for as long as it is due."""
    await JobService.register(job)
    while True:
        heed_cancellation()
        if await JobService.run_if_due(job) is None:
            heed_cancellation()  # it may have come while the driver asked, and nobody calls any more
            await call.wait()
            call.clear()


async def _call_due(calls: Mapping[str, asyncio.Event]) -> None:
    """Look once a second which jobs are due, all of them in one question, and call those."""
    while True:
        heed_cancellation()
        for name in await JobService.list_due():
            if name in calls:
                calls[name].set()
        await asyncio.sleep(IDLE_SECONDS)


async def _through_outages(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Repeat `work` whenever it fails for want of the database, or for a reason nobody thought of, with growing pauses."""
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        heed_cancellation()
        begun = loop.time()
        try:
            await work()
        except (PyMongoError, DatabaseUnavailableError) as error:
            heed_cancellation()
            log.warning("worker_waits_for_database", part=name, reason=type(error).__name__)
        except Exception:
            heed_cancellation()
            log.exception("worker_part_failed", part=name)
        failures = 0 if loop.time() - begun > 10 else failures + 1
        await asyncio.sleep(random.uniform(0.5, 1.0) * min(LONGEST_PAUSE, 0.1 * 2**failures))  # jitter, no secret
