"""Webhook endpoints and what is sent to them."""

from typing import Any

from beanie import PydanticObjectId

from models.base import now
from models.webhooks import WebhookDelivery, WebhookEndpoint, WebhookTopic
from services.webhooks.deliveries import KEPT_FOR


def make_endpoint(**over: Any) -> WebhookEndpoint:
    """An active endpoint that wants everything, unsaved."""
    defaults: dict[str, Any] = {"url": "https://hooks.example.com/agora", "topics": [WebhookTopic.ALL]}
    return WebhookEndpoint(**{**defaults, **over})


async def create_endpoint(**over: Any) -> WebhookEndpoint:
    return await make_endpoint(**over).store()


def make_delivery(endpoint: WebhookEndpoint, **over: Any) -> WebhookDelivery:
    """A message that is due, unsaved."""
    moment = now()
    defaults: dict[str, Any] = {
        "endpoint_id": endpoint.id,
        "event_id": PydanticObjectId(),
        "event_type": "order.placed",
        "body": '{"type": "order.placed"}',
        "due_at": moment,
        "expires_at": moment + KEPT_FOR,
    }
    return WebhookDelivery(**{**defaults, **over})


async def create_delivery(endpoint: WebhookEndpoint, **over: Any) -> WebhookDelivery:
    return await make_delivery(endpoint, **over).store()
