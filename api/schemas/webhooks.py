"""What integrators' staff send: webhook endpoints, rotations and replays."""

from pydantic import BaseModel, Field

from api.schemas.base import Input, with_example
from models.base import UtcDatetime
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
