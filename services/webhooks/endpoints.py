"""Webhook endpoints: registered, changed, switched off and on, given new secrets."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import httpx2
from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints

from models.base import now as present
from models.database import Session, run_transaction
from models.events import EventType
from models.webhooks import (
    DeliveryState,
    OffReason,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEndpointCreated,
    WebhookEndpointRead,
    WebhookSecret,
    WebhookTopic,
)
from services.audit import AuditService
from services.errors import NotFoundError, PreconditionError, RuleViolatedError
from services.events import EventService
from services.settings import Settings
from services.users.permissions import Permission, Viewer
from services.webhooks.guard import MAX_URL_LENGTH, OutboundPolicy, Resolver, checked_addresses, parse_url, resolve_name
from services.webhooks.signing import endpoint_secret

MAX_ENDPOINTS = 50  # each has a few messages under way at most, so this bounds the connections of a worker
OFF = "the endpoint is off"

EndpointUrl = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_LENGTH)]
Topics = Annotated[list[WebhookTopic], Field(min_length=1, max_length=len(WebhookTopic))]
Description = Annotated[str, StringConstraints(max_length=200)]


class WebhookEndpointNotFoundError(NotFoundError):
    """There is no such webhook endpoint."""

    code = "webhook_endpoint_not_found"

    def __init__(self, endpoint_id: PydanticObjectId) -> None:
        super().__init__("webhook endpoint", endpoint_id)


class TooManyEndpointsError(RuleViolatedError):
    """There are as many webhook endpoints as there may be."""

    code = "too_many_webhook_endpoints"

    def __init__(self) -> None:
        super().__init__(f"There are {MAX_ENDPOINTS} webhook endpoints already.")


class WebhookEndpointDraft(BaseModel):
    """An endpoint to be."""

    url: EndpointUrl = Field(examples=["https://erp.example.com/agora"])
    topics: Topics = Field(description="The types of events to send; `*` is all of them", examples=[["order.placed"]])
    description: Description = ""


class WebhookEndpointChanges(BaseModel):
    """What is to change; what is left out stays."""

    url: EndpointUrl = Field(default_factory=str)
    topics: Topics = Field(default_factory=list)
    description: Description = Field(default_factory=str)
    is_active: bool = Field(default_factory=bool, description="Switching it on again forgets why it was off")


class WebhookEndpointService:
    @staticmethod
    async def create_endpoint(
        draft: WebhookEndpointDraft, *, viewer: Viewer, settings: Settings, resolver: Resolver = resolve_name
    ) -> WebhookEndpointCreated:
        """The endpoint, active, with its secret. Raises PermissionDeniedError, UnsafeUrlError, TooManyEndpointsError."""
        viewer.require(Permission.MANAGE_WEBHOOKS)
        url = await _checked(draft.url, settings=settings, resolver=resolver)
        if await WebhookEndpoint.count_rows({}) >= MAX_ENDPOINTS:
            raise TooManyEndpointsError
        endpoint = WebhookEndpoint(url=url, topics=list(dict.fromkeys(draft.topics)), description=draft.description)

        async def work(session: Session) -> None:
            await endpoint.store(session=session)
            await _audit(session, "webhook.created", endpoint, viewer.user_id)

        await run_transaction(work)
        secret = endpoint_secret(endpoint.id, endpoint.secret_generation, settings=settings)
        return WebhookEndpointCreated(endpoint=to_read(endpoint), secret=secret)

    @staticmethod
    async def list_endpoints(*, viewer: Viewer) -> list[WebhookEndpointRead]:
        """All of them, the oldest first. Raises PermissionDeniedError."""
        viewer.require(Permission.MANAGE_WEBHOOKS)
        return [to_read(endpoint) for endpoint in await all_endpoints()]

    @staticmethod
    async def get_endpoint(endpoint_id: PydanticObjectId, *, viewer: Viewer) -> WebhookEndpointRead:
        """Raises PermissionDeniedError, WebhookEndpointNotFoundError."""
        viewer.require(Permission.MANAGE_WEBHOOKS)
        return to_read(await find_endpoint(endpoint_id))

    @staticmethod
    async def update_endpoint(
        endpoint_id: PydanticObjectId,
        changes: WebhookEndpointChanges,
        *,
        viewer: Viewer,
        settings: Settings,
        revision: int | None = None,
        resolver: Resolver = resolve_name,
    ) -> WebhookEndpointRead:
        """The endpoint with the changes; one that is switched off gives up what it was still to be sent.

        Raises PermissionDeniedError, WebhookEndpointNotFoundError, UnsafeUrlError, and PreconditionError when `revision` is
        not the present one.
        """
        viewer.require(Permission.MANAGE_WEBHOOKS)
        before = await find_endpoint(endpoint_id)
        fields = changes.model_dump(exclude_unset=True)
        if "url" in fields:
            fields["url"] = await _checked(fields["url"], settings=settings, resolver=resolver)
        if "topics" in fields:
            fields["topics"] = list(dict.fromkeys(fields["topics"]))
        if "is_active" in fields:
            fields["off_reason"] = None if fields["is_active"] else before.off_reason or OffReason.MANUAL
            fields["failing_since"] = None
        query: dict[str, Any] = {"_id": endpoint_id} if revision is None else {"_id": endpoint_id, "revision": revision}

        async def work(session: Session) -> WebhookEndpoint | None:
            changed = await WebhookEndpoint.change(query, {"$set": fields, "$inc": {"revision": 1}}, session=session)
            if changed is not None:
                await _audit(session, "webhook.updated", changed, viewer.user_id)
            return changed

        changed = await run_transaction(work, hot=[endpoint_id])
        if changed is None:
            await find_endpoint(endpoint_id)
            raise PreconditionError
        if not changed.is_active:
            await give_up_pending(endpoint_id)
        return to_read(changed)

    @staticmethod
    async def delete_endpoint(endpoint_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Nothing is sent to it any more, and its log is gone. Raises PermissionDeniedError, WebhookEndpointNotFoundError."""
        viewer.require(Permission.MANAGE_WEBHOOKS)
        endpoint = await find_endpoint(endpoint_id)

        async def work(session: Session) -> None:
            result = await WebhookEndpoint.collection().delete_one({"_id": endpoint_id}, session=session)
            if result.deleted_count:
                await _audit(session, "webhook.deleted", endpoint, viewer.user_id)

        await run_transaction(work, hot=[endpoint_id])
        await give_up_pending(endpoint_id)

    @staticmethod
    async def rotate_secret(
        endpoint_id: PydanticObjectId,
        *,
        overlap_hours: int,
        viewer: Viewer,
        settings: Settings,
        now: datetime | None = None,
    ) -> WebhookSecret:
        """A new secret. The present one signs beside it for `overlap_hours`, an older one no more.

        Raises PermissionDeniedError, WebhookEndpointNotFoundError.
        """
        viewer.require(Permission.MANAGE_WEBHOOKS)
        until = (now or present()) + timedelta(hours=overlap_hours) if overlap_hours else None

        async def work(session: Session) -> WebhookEndpoint:
            rotated = await WebhookEndpoint.change(
                {"_id": endpoint_id},
                {"$inc": {"secret_generation": 1, "revision": 1}, "$set": {"previous_secret_until": until}},
                session=session,
            )
            if rotated is None:
                raise WebhookEndpointNotFoundError(endpoint_id)
            await _audit(session, "webhook.secret_rotated", rotated, viewer.user_id)
            return rotated

        rotated = await run_transaction(work, hot=[endpoint_id])
        secret = endpoint_secret(endpoint_id, rotated.secret_generation, settings=settings)
        return WebhookSecret(secret=secret, previous_secret_until=rotated.previous_secret_until)


async def switch_off(endpoint_id: PydanticObjectId, reason: OffReason, *, condition: Mapping[str, Any] | None = None) -> bool:
    """Switch an endpoint off for what it did, with an event and a word in the audit log; false when it was off, or is gone."""

    async def work(session: Session) -> bool:
        changed = await WebhookEndpoint.change(
            {"_id": endpoint_id, "is_active": True, **(condition or {})},
            {"$set": {"is_active": False, "off_reason": reason}, "$inc": {"revision": 1}},
            session=session,
        )
        if changed is None:
            return False
        await EventService.record(
            session, EventType.WEBHOOK_DISABLED, f"webhook_endpoint:{endpoint_id}", payload={"reason": reason.value}
        )
        await _audit(session, "webhook.disabled", changed, None)
        return True

    is_off = await run_transaction(work, hot=[endpoint_id])
    if is_off:
        await give_up_pending(endpoint_id)
    return is_off


async def give_up_pending(endpoint_id: PydanticObjectId) -> None:
    """What an endpoint that is off or gone was still to be sent has failed; it can be replayed when the endpoint is back."""
    await WebhookDelivery.change_many(
        {"endpoint_id": endpoint_id, "state": DeliveryState.PENDING},
        {"$set": {"state": DeliveryState.FAILED, "owner": None, "last_error": OFF}},
    )


async def all_endpoints() -> list[WebhookEndpoint]:
    """Every endpoint, the oldest first."""
    return [WebhookEndpoint.from_row(row) for row in await WebhookEndpoint.find_rows({}, sort=[("_id", 1)], limit=1000)]


async def find_endpoint(endpoint_id: PydanticObjectId) -> WebhookEndpoint:
    """Raises WebhookEndpointNotFoundError."""
    row = await WebhookEndpoint.find_row({"_id": endpoint_id})
    if row is None:
        raise WebhookEndpointNotFoundError(endpoint_id)
    return WebhookEndpoint.from_row(row)


def to_read(endpoint: WebhookEndpoint) -> WebhookEndpointRead:
    return WebhookEndpointRead.model_validate(endpoint.model_dump())


async def _checked(text: str, *, settings: Settings, resolver: Resolver) -> str:
    policy = OutboundPolicy.of(settings)
    url = parse_url(str(parse_url(text, policy=policy)), policy=policy)  # in its normal form, which may be longer
    await checked_addresses(url, policy=policy, resolver=resolver)
    return str(url)


async def _audit(session: Session, action: str, endpoint: WebhookEndpoint, actor_id: PydanticObjectId | None) -> None:
    """URLs often hold a token of the receiver's, so only the host is noted."""
    host = httpx2.URL(endpoint.url).host
    details = {"host": host, "is_active": endpoint.is_active, "topics": [str(topic) for topic in endpoint.topics]}
    await AuditService.record(session, action, subject=f"webhook_endpoint:{endpoint.id}", actor_id=actor_id, details=details)
