"""Every read of webhooks, jobs and dead letters is served by a declared index, and costs no more commands than it should."""

import asyncio

from models.base import now
from models.database import Database
from models.events import DeadLetter
from models.users import Role
from models.webhooks import DeliveryState, WebhookEndpoint
from services.deadletters import DeadLetterService
from services.jobs import JobService
from services.pagination import CursorCodec
from services.settings import Settings
from services.webhooks.deliveries import WebhookDeliveryService
from services.webhooks.endpoints import WebhookEndpointService
from services.webhooks.sending import WebhookSender
from tests.commands import CommandLog
from tests.factories.users import create_user, viewer_of
from tests.factories.webhooks import create_delivery, create_endpoint
from tests.receivers import receiving, with_loopback
from tests.shapes import serving_index

CURSORS = CursorCodec(b"0" * 32)


async def test_every_list_and_look_up_is_served(database: Database, commands: CommandLog) -> None:
    admin = viewer_of(await create_user(role=Role.ADMIN))
    endpoint = await create_endpoint()
    for state in (DeliveryState.PENDING, DeliveryState.FAILED, DeliveryState.FAILED):
        delivery = await create_delivery(endpoint, state=state)
    for _ in range(2):
        await DeadLetter(consumer="test", event_id=delivery.event_id, sequence=1, error="no", failed_at=now()).store()
        delivery = await create_delivery(endpoint)

    with commands.counting() as sent:
        for wanted in (None, DeliveryState.FAILED):
            page = await WebhookDeliveryService.list_deliveries(endpoint.id, viewer=admin, cursors=CURSORS, state=wanted, limit=1)
            await WebhookDeliveryService.list_deliveries(
                endpoint.id, viewer=admin, cursors=CURSORS, state=wanted, cursor=page.next_cursor, limit=1
            )
        await WebhookDeliveryService.get_delivery(endpoint.id, delivery_id=delivery.id, viewer=admin)
        await WebhookDeliveryService.list_due(endpoint.id, limit=5)
        await WebhookDeliveryService.find_waiting_endpoint()
        for consumer in (None, "test"):
            letters = await DeadLetterService.list_letters(viewer=admin, cursors=CURSORS, consumer=consumer, limit=1)
            await DeadLetterService.list_letters(
                viewer=admin, cursors=CURSORS, consumer=consumer, cursor=letters.next_cursor, limit=1
            )
        await DeadLetterService.replay_requested([])
        await JobService.list_jobs(viewer=admin)

    served = {(read.collection, serving_index(read)) for read in sent.reads}
    assert served == {
        ("webhook_endpoints", "_id_"),
        ("webhook_deliveries", "_id_"),
        ("webhook_deliveries", "state_due"),
        ("webhook_deliveries", "endpoint_state_due"),
        ("webhook_deliveries", "endpoint_newest"),
        ("webhook_deliveries", "endpoint_state_newest"),
        ("event_dead_letters", "_id_"),
        ("event_dead_letters", "consumer_newest"),
        ("event_dead_letters", "replay_sequence"),
        ("events", "_id_"),
        ("jobs", "name_unique"),
    }


async def test_an_attempt_takes_three_commands_and_a_look_when_idle_one(
    database: Database, commands: CommandLog, settings: Settings
) -> None:
    near = with_loopback(settings)
    sender = WebhookSender(near)
    async with receiving() as receiver:
        delivery = await create_delivery(await create_endpoint(url=receiver.url))
        with commands.counting() as sent:
            assert await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near) is DeliveryState.DELIVERED
    await sender.aclose()
    assert len(sent) == 3

    with commands.counting() as idle:
        assert await WebhookDeliveryService.find_waiting_endpoint() is None
    assert len(idle) == 1


async def test_fifty_rotations_at_once_are_fifty_secrets(database: Database, settings: Settings) -> None:
    admin = viewer_of(await create_user(role=Role.ADMIN))
    endpoint = await create_endpoint()

    rotated = await asyncio.gather(
        *(WebhookEndpointService.rotate_secret(endpoint.id, overlap_hours=1, viewer=admin, settings=settings) for _ in range(50))
    )

    row = await WebhookEndpoint.find_row({"_id": endpoint.id})
    assert row is not None
    assert (row["secret_generation"], row["revision"]) == (51, 51)
    assert len({each.secret for each in rotated}) == 50
