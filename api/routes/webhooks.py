"""Outbound webhooks: endpoints, their secrets, and the log of what was sent to them."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Allowed, Config, Cursor, Cursors, Limit, ObjectIdPath, RequiredIfMatch
from api.routing import make_router, refuses
from api.schemas.webhooks import (
    FailedReplay,
    ReplayedDeliveries,
    SecretRotation,
    WebhookEndpointCreate,
    WebhookEndpointUpdate,
)
from models.webhooks import (
    DeliveryState,
    WebhookDeliveryRead,
    WebhookDeliverySummary,
    WebhookEndpointCreated,
    WebhookEndpointRead,
    WebhookSecret,
)
from services.errors import PreconditionError, PreconditionRequiredError
from services.pagination import CursorPage, InvalidCursorError
from services.users.permissions import Permission, Viewer
from services.webhooks.deliveries import (
    WebhookDeliveryNotFoundError,
    WebhookDeliveryPendingError,
    WebhookDeliveryService,
    WebhookEndpointOffError,
)
from services.webhooks.endpoints import TooManyEndpointsError, WebhookEndpointNotFoundError, WebhookEndpointService
from services.webhooks.guard import UnsafeUrlError

router = make_router("/webhooks", "System: outbound webhooks")

WebhookKeeper = Annotated[Viewer, Allowed(Permission.MANAGE_WEBHOOKS)]


@router.get("")
async def list_webhook_endpoints(viewer: WebhookKeeper) -> list[WebhookEndpointRead]:
    """All endpoints, the oldest first."""
    return await WebhookEndpointService.list_endpoints(viewer=viewer)


@router.post("", status_code=201, responses=refuses(UnsafeUrlError, TooManyEndpointsError))
async def create_webhook_endpoint(body: WebhookEndpointCreate, viewer: WebhookKeeper, settings: Config) -> WebhookEndpointCreated:
    """Have events sent to a URL, signed by the Standard Webhooks scheme. The secret is in this answer and in no other."""
    return await WebhookEndpointService.create_endpoint(body, viewer=viewer, settings=settings)


@router.get(
    "/{endpoint_id}", response_model=WebhookEndpointRead, responses={**refuses(WebhookEndpointNotFoundError), **NOT_MODIFIED}
)
async def get_webhook_endpoint(request: Request, endpoint_id: ObjectIdPath, viewer: WebhookKeeper) -> Response:
    """An endpoint, the events it wants, and how it has been doing; never its secret."""
    return answer(request, await WebhookEndpointService.get_endpoint(endpoint_id, viewer=viewer))


@router.patch(
    "/{endpoint_id}",
    response_model=WebhookEndpointRead,
    responses=refuses(WebhookEndpointNotFoundError, UnsafeUrlError, PreconditionError, PreconditionRequiredError),
)
async def update_webhook_endpoint(
    request: Request,
    endpoint_id: ObjectIdPath,
    body: WebhookEndpointUpdate,
    viewer: WebhookKeeper,
    settings: Config,
    revision: RequiredIfMatch,
) -> Response:
    """Change an endpoint, or switch it off and on; `If-Match` names its `revision`, as in `"3"`."""
    return answer(
        request,
        await WebhookEndpointService.update_endpoint(endpoint_id, body, viewer=viewer, settings=settings, revision=revision),
    )


@router.delete("/{endpoint_id}", status_code=204, responses=refuses(WebhookEndpointNotFoundError))
async def delete_webhook_endpoint(endpoint_id: ObjectIdPath, viewer: WebhookKeeper) -> None:
    """Send nothing to it any more; its log goes with it."""
    await WebhookEndpointService.delete_endpoint(endpoint_id, viewer=viewer)


@router.post("/{endpoint_id}/secret", responses=refuses(WebhookEndpointNotFoundError))
async def rotate_webhook_secret(
    endpoint_id: ObjectIdPath, body: SecretRotation, viewer: WebhookKeeper, settings: Config
) -> WebhookSecret:
    """A new secret, shown this once. For `overlap_hours` messages carry the signatures of both."""
    return await WebhookEndpointService.rotate_secret(
        endpoint_id, overlap_hours=body.overlap_hours, viewer=viewer, settings=settings
    )


@router.post("/{endpoint_id}/ping", status_code=202, responses=refuses(WebhookEndpointNotFoundError, WebhookEndpointOffError))
async def ping_webhook_endpoint(endpoint_id: ObjectIdPath, viewer: WebhookKeeper) -> WebhookDeliverySummary:
    """Send a test message of the type `webhook.ping`; the delivery tells what became of it."""
    return await WebhookDeliveryService.ping(endpoint_id, viewer=viewer)


@router.get("/{endpoint_id}/deliveries", responses=refuses(WebhookEndpointNotFoundError, InvalidCursorError))
async def list_webhook_deliveries(
    endpoint_id: ObjectIdPath,
    viewer: WebhookKeeper,
    cursors: Cursors,
    state: Annotated[DeliveryState | None, Query(description="Only messages in this state")] = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> CursorPage[WebhookDeliverySummary]:
    """What was sent to an endpoint in the last 30 days, or will be, newest first."""
    return await WebhookDeliveryService.list_deliveries(
        endpoint_id, viewer=viewer, cursors=cursors, state=state, cursor=cursor, limit=limit
    )


@router.post("/{endpoint_id}/replay", status_code=202, responses=refuses(WebhookEndpointNotFoundError, WebhookEndpointOffError))
async def replay_failed_webhook_deliveries(
    endpoint_id: ObjectIdPath, body: FailedReplay, viewer: WebhookKeeper
) -> ReplayedDeliveries:
    """Send everything again that was made since a moment and was given up."""
    count = await WebhookDeliveryService.replay_failed(endpoint_id, since=body.since, viewer=viewer)
    return ReplayedDeliveries(replayed_count=count)


@router.get(
    "/{endpoint_id}/deliveries/{delivery_id}",
    response_model=WebhookDeliveryRead,
    responses={**refuses(WebhookEndpointNotFoundError, WebhookDeliveryNotFoundError), **NOT_MODIFIED},
)
async def get_webhook_delivery(
    request: Request, endpoint_id: ObjectIdPath, delivery_id: ObjectIdPath, viewer: WebhookKeeper
) -> Response:
    """One message, its text, and what came of each attempt."""
    return answer(request, await WebhookDeliveryService.get_delivery(endpoint_id, delivery_id=delivery_id, viewer=viewer))


@router.post(
    "/{endpoint_id}/deliveries/{delivery_id}/replay",
    status_code=202,
    responses=refuses(
        WebhookEndpointNotFoundError, WebhookDeliveryNotFoundError, WebhookEndpointOffError, WebhookDeliveryPendingError
    ),
)
async def replay_webhook_delivery(
    endpoint_id: ObjectIdPath, delivery_id: ObjectIdPath, viewer: WebhookKeeper
) -> WebhookDeliverySummary:
    """Send one message again, under the id its receiver knows it by."""
    return await WebhookDeliveryService.replay_delivery(endpoint_id, delivery_id=delivery_id, viewer=viewer)
