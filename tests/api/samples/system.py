"""Webhooks, jobs, events and reconciliation: kept by administrators, owned by nobody."""

from beanie import PydanticObjectId

from models.base import now
from models.events import Checkpoint, DeadLetter
from models.jobs import Job
from models.webhooks import DeliveryState, WebhookDelivery, WebhookEndpoint
from tests.api.world import Body, Operation, Provider, Query, World, fixed
from tests.factories.webhooks import create_delivery, create_endpoint


async def _endpoint(world: World) -> WebhookEndpoint:
    found: WebhookEndpoint = await world.once("webhook endpoint", create_endpoint)
    return found


async def _endpoint_id(world: World, operation: Operation, variant: str) -> str:
    return str((await _endpoint(world)).id)


async def _delivery_id(world: World, operation: Operation, variant: str) -> str:
    endpoint = await _endpoint(world)
    made: WebhookDelivery = await world.once("webhook delivery", lambda: create_delivery(endpoint, state=DeliveryState.DELIVERED))
    return str(made.id)


async def _letter_id(world: World, operation: Operation, variant: str) -> str:
    letter = DeadLetter(consumer="test", event_id=PydanticObjectId(), sequence=1, error="it failed", failed_at=now())
    return str((await world.once("dead letter", letter.store)).id)


async def _name(world: World, operation: Operation, variant: str) -> str:
    """A job's, or a consumer's."""
    name = f"test-{PydanticObjectId()}"
    if "/jobs/" in operation.path:
        job: Job = await world.once("job", Job(name=name, next_run_at=now()).store)
        return job.name
    checkpoint: Checkpoint = await world.once("checkpoint", Checkpoint(consumer=name).store)
    return checkpoint.consumer


VALUES: dict[str, Provider] = {
    "endpoint_id": _endpoint_id,
    "delivery_id": _delivery_id,
    "letter_id": _letter_id,
    "name": _name,
}
QUERIES: dict[str, Query] = {}
BODIES: dict[str, Body] = {
    # An address, because names are looked up.
    "create_webhook_endpoint": fixed(url="https://93.184.215.14/agora", topics=["order.placed"]),
    "update_webhook_endpoint": fixed(description="The warehouse"),
    "rotate_webhook_secret": fixed(overlap_hours=1),
    "replay_failed_webhook_deliveries": fixed(since="2026-11-20T00:00:00Z"),
}
