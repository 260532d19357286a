"""What integrators' staff send (webhook endpoints, rotations, replays) and what their programs are sent."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from api.schemas.base import Input, with_example
from models.base import UtcDatetime
from models.webhooks import WebhookTopic
from services.webhooks.endpoints import WebhookEndpointChanges, WebhookEndpointDraft


class WebhookEndpointCreate(WebhookEndpointDraft, Input):
    """A new endpoint. Its secret is made by Agora."""


class WebhookEndpointUpdate(WebhookEndpointChanges, Input):
    """Changes to an endpoint: what is left out stays."""


class SecretRotation(Input):
    """A wish for a new secret."""

    model_config = with_example(overlap_hours=24)

    overlap_hours: int = Field(
        default=24, ge=0, le=168, description="How long the present secret signs beside the new one; 0 when it leaked"
    )


class FailedReplay(Input):
    """A wish for everything that was given up."""

    since: UtcDatetime = Field(description="Messages made since", examples=["2026-11-20T00:00:00Z"])


class ReplayedDeliveries(BaseModel):
    """How many messages are sent again."""

    replayed_count: int = Field(examples=[12])


class WebhookMessage(BaseModel):
    """One event, as outsiders are told of it."""

    id: str = Field(examples=["evt_65f0c0ffee0ddba11ca7f00d"])
    type: WebhookTopic | Literal["webhook.ping"] = Field(description="Never `*`", examples=[WebhookTopic.POST_PUBLISHED])
    timestamp: datetime = Field(examples=["2026-11-21T10:30:00Z"])
    data: dict[str, Any] = Field(
        description="Ids and public facts of what it is about; no person's name, no address",
        examples=[{"post_id": "65f0c0ffee0ddba11ca7f00d", "slug": "hello-agora", "title": "Hello, Agora"}],
    )
