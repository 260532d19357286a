"""From events to messages, and the job that keeps sending what is due."""

import asyncio
from datetime import timedelta

import structlog
from beanie import PydanticObjectId

from models.database import DatabaseUnavailableError, PyMongoError, heed_cancellation
from models.events import Event
from models.webhooks import WebhookEndpoint, WebhookTopic
from services.events import Consumer
from services.jobs import RecurringJob
from services.settings import Settings
from services.webhooks.deliveries import WebhookDeliveryService
from services.webhooks.endpoints import all_endpoints, give_up_pending
from services.webhooks.facts import WEBHOOK_EVENTS, outside_facts
from services.webhooks.sending import WebhookSender

log = structlog.get_logger(__name__)

DELIVERY_JOB = "deliver_webhooks"
DELIVERY_LEASE = timedelta(seconds=6)  # how long messages wait after the worker that sent them was killed
IDLE_SECONDS = 0.5
WIDTH = 4  # messages under way to one endpoint; one alone while it fails
GRACE_SECONDS = 1.5  # for what is under way when the worker is asked to end; the whole process has ten
_BATCH = 32


async def _handle(event: Event) -> None:
    topic = WebhookTopic(event.type.value)
    endpoints = [each for each in await all_endpoints() if each.is_active and {topic, WebhookTopic.ALL} & set(each.topics)]
    data = await outside_facts(event) if endpoints else None
    if data is None:
        return
    for endpoint in endpoints:
        await WebhookDeliveryService.create_delivery(
            endpoint, event_id=event.id, event_type=event.type, happened_at=event.created_at, data=data
        )


WEBHOOK_CONSUMER = Consumer("webhooks", WEBHOOK_EVENTS, _handle)
"""Makes one message of an event for each endpoint that wants it, however often it sees the event."""


def webhook_job(settings: Settings, *, sender: WebhookSender | None = None) -> RecurringJob:
    """The job that sends messages. It never finishes: whoever holds its lease sends."""

    async def run() -> str | None:
        used = sender or WebhookSender(settings)
        try:
            await _Pump(used, settings).run()
        finally:
            await used.aclose()
        return None

    return RecurringJob(DELIVERY_JOB, timedelta(0), run, DELIVERY_LEASE)


class _Pump:
    """A lane for each endpoint with something to be sent, so that a slow one holds up nobody else."""

    def __init__(self, sender: WebhookSender, settings: Settings) -> None:
        self._sender = sender
        self._settings = settings
        self._lanes: dict[PydanticObjectId, asyncio.Task[None]] = {}
        self._is_ending = False

    async def run(self) -> None:
        try:
            while True:
                heed_cancellation()
                await self._open_lanes()
                await asyncio.sleep(IDLE_SECONDS)
        finally:
            await self._end()

    async def _open_lanes(self) -> None:
        self._lanes = {key: lane for key, lane in self._lanes.items() if not lane.done()}
        try:
            waiting = await WebhookDeliveryService.find_waiting_endpoint()
            if waiting is None:
                return
            endpoints = await all_endpoints()
            for endpoint in endpoints:
                if endpoint.is_active and endpoint.id not in self._lanes:
                    self._lanes[endpoint.id] = asyncio.create_task(self._drain(endpoint))
            if waiting not in {endpoint.id for endpoint in endpoints if endpoint.is_active}:
                await give_up_pending(waiting)  # made while its endpoint was switched off
        except (PyMongoError, DatabaseUnavailableError) as error:
            heed_cancellation()
            log.warning("webhooks_wait_for_database", reason=type(error).__name__)

    async def _drain(self, endpoint: WebhookEndpoint) -> None:
        """Send what is due at one endpoint until nothing is."""
        width = asyncio.Semaphore(1 if endpoint.failing_since else WIDTH)

        async def attempt(delivery_id: PydanticObjectId) -> None:
            async with width:
                if not self._is_ending:
                    await WebhookDeliveryService.attempt(delivery_id, sender=self._sender, settings=self._settings)

        try:
            while due := await WebhookDeliveryService.list_due(endpoint.id, limit=_BATCH):
                if self._is_ending:
                    return
                async with asyncio.TaskGroup() as attempts:
                    for delivery_id in due:
                        attempts.create_task(attempt(delivery_id))
        except* (PyMongoError, DatabaseUnavailableError) as errors:
            heed_cancellation()
            log.warning("webhook_lane_waits", endpoint_id=str(endpoint.id), reason=type(errors.exceptions[0]).__name__)
        except* Exception:
            heed_cancellation()
            log.exception("webhook_lane_failed", endpoint_id=str(endpoint.id))

    async def _end(self) -> None:
        """Begin nothing more, let what is under way finish, and give back the rest."""
        self._is_ending = True
        lanes = list(self._lanes.values())
        if lanes:
            await asyncio.wait(lanes, timeout=GRACE_SECONDS)
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(*lanes, return_exceptions=True)
