"""What Agora sends to others, for the OpenAPI document alone: nothing here is ever called."""

from typing import Annotated

from fastapi import APIRouter, Header

from api.schemas.webhooks import WebhookMessage

router = APIRouter(tags=["System: outbound webhooks"], generate_unique_id_function=lambda route: route.name)


@router.post(
    "message",
    status_code=204,
    responses={
        204: {"description": "Taken, as any 2xx."},
        410: {"description": "The endpoint is switched off."},
        "default": {"description": "It is sent again, up to 15 times in about three days, and not before `Retry-After`."},
    },
)
async def webhook_message(
    body: WebhookMessage,
    webhook_id: Annotated[str, Header(description="The same whenever this is sent again: handle it once")],
    webhook_timestamp: Annotated[int, Header(description="Seconds since 1970: refuse what is more than five minutes away")],
    webhook_signature: Annotated[
        str, Header(description="`v1,` and the HMAC-SHA256 of `id.timestamp.body`; two while the secret is rotated")
    ],
) -> None:
    """An event, to every endpoint that asked for its type; by the Standard Webhooks scheme, at least once, in any order."""
