"""Secrets of webhook endpoints, and the signatures made with them (Standard Webhooks, version 1)."""

import base64
import hashlib
from datetime import datetime

from beanie import PydanticObjectId
from standardwebhooks import Webhook

from models.webhooks import WebhookEndpoint
from services.settings import Settings

_PREFIX = "whsec_"


def endpoint_secret(endpoint_id: PydanticObjectId, generation: int, *, settings: Settings) -> str:
    """The secret of one generation of an endpoint: a keyed digest, so that no secret lies in the database or its backups."""
    key = hashlib.blake2b(settings.secret_bytes, person=b"agora-webhook").digest()
    raw = hashlib.blake2b(endpoint_id.binary + generation.to_bytes(8, "big"), key=key, digest_size=32).digest()
    return _PREFIX + base64.b64encode(raw).decode()


def signed_headers(endpoint: WebhookEndpoint, message_id: str, body: str, *, now: datetime, settings: Settings) -> dict[str, str]:
    """The three headers of a message sent now; with both signatures while the former secret still holds."""
    generations = [endpoint.secret_generation]
    if endpoint.previous_secret_until is not None and now < endpoint.previous_secret_until:
        generations.append(endpoint.secret_generation - 1)
    signatures = [
        Webhook(endpoint_secret(endpoint.id, generation, settings=settings)).sign(message_id, now, body)
        for generation in generations
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
