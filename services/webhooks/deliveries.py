"""Messages to webhook endpoints: made of events, attempted until they get through, logged and replayed."""

import contextlib
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from beanie import PydanticObjectId
from bson import ObjectId

from models.base import now as present
from models.clock import new_id
from models.database import DuplicateKeyError, Session, run_transaction
from models.webhooks import (
    PING,
    DeliveryState,
    OffReason,
    WebhookAttempt,
    WebhookDelivery,
    WebhookDeliveryRead,
    WebhookDeliverySummary,
    WebhookEndpoint,
)
from services.audit import AuditService
from services.errors import InvalidStateError, NotFoundError
from services.pagination import CursorCodec, CursorPage, find_stretch
from services.settings import Settings
from services.users.permissions import Permission, Viewer
from services.webhooks.endpoints import OFF, find_endpoint, switch_off
from services.webhooks.sending import Outcome, WebhookSender
from services.webhooks.signing import signed_headers

MAX_ATTEMPTS = 15  # with the delays below these take three days
FIRST_DELAY = timedelta(seconds=5)
LONGEST_DELAY = timedelta(hours=12)
KEPT_FOR = timedelta(days=30)
KEPT_ATTEMPTS = 20
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)  # nothing is older

Jitter = Callable[[], float]


class WebhookDeliveryNotFoundError(NotFoundError):
    """The webhook endpoint has no such delivery."""

    code = "webhook_delivery_not_found"

    def __init__(self, delivery_id: PydanticObjectId) -> None:
        super().__init__("webhook delivery", delivery_id)


class WebhookDeliveryPendingError(InvalidStateError):
    """The message is still to be sent, so there is nothing to replay."""

    code = "webhook_delivery_pending"

    def __init__(self) -> None:
        super().__init__("This message is still to be sent.")


class WebhookEndpointOffError(InvalidStateError):
    """The endpoint is switched off: nothing is sent to it."""

    code = "webhook_endpoint_off"

    def __init__(self) -> None:
        super().__init__("The endpoint is off: switch it on first.")


class WebhookDeliveryService:
    @staticmethod
    async def create_delivery(
        endpoint: WebhookEndpoint,
        *,
        event_id: PydanticObjectId,
        event_type: str,
        happened_at: datetime,
        data: dict[str, Any],
        now: datetime | None = None,
    ) -> bool:
        """Put a message on its way; false when the endpoint has one of this event already."""
        now = now or present()
        # The text is made once: what a receiver is told again is what it was told.
        message = {"id": message_id(event_id), "type": event_type, "timestamp": happened_at, "data": data}
        body = orjson.dumps(message, option=orjson.OPT_UTC_Z).decode()
        delivery = WebhookDelivery(
            endpoint_id=endpoint.id,
            event_id=event_id,
            event_type=event_type,
            body=body,
            due_at=now,
            expires_at=now + KEPT_FOR,
        )
        try:
            await delivery.store()
        except DuplicateKeyError:
            return False
        return True

    @staticmethod
    async def list_deliveries(
        endpoint_id: PydanticObjectId,
        *,
        viewer: Viewer,
        cursors: CursorCodec,
        state: DeliveryState | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> CursorPage[WebhookDeliverySummary]:
        """An endpoint's log of the last 30 days, newest first.

        Raises PermissionDeniedError, WebhookEndpointNotFoundError, InvalidCursorError.
        """
        viewer.require(Permission.MANAGE_WEBHOOKS)
        await find_endpoint(endpoint_id)
        query: dict[str, Any] = {"endpoint_id": endpoint_id, **({"state": state} if state else {})}
        rows, next_cursor = await find_stretch(
            WebhookDelivery,
            query,
            {"body": 0, "attempts": 0},
            listing=f"webhook:{endpoint_id}:{state}",
            cursors=cursors,
            cursor=cursor,
            limit=limit,
        )
        items = [WebhookDeliverySummary.model_validate(_told(row)) for row in rows]
        return CursorPage[WebhookDeliverySummary](items=items, next_cursor=next_cursor)

    @staticmethod
    async def get_delivery(
        endpoint_id: PydanticObjectId, *, delivery_id: PydanticObjectId, viewer: Viewer
    ) -> WebhookDeliveryRead:
        """Raises PermissionDeniedError, WebhookEndpointNotFoundError, WebhookDeliveryNotFoundError."""
        viewer.require(Permission.MANAGE_WEBHOOKS)
        await find_endpoint(endpoint_id)
        row = await WebhookDelivery.find_row({"_id": delivery_id})
        if row is None or row["endpoint_id"] != endpoint_id:
            raise WebhookDeliveryNotFoundError(delivery_id)
        return WebhookDeliveryRead.model_validate(_told(row))

    @staticmethod
    async def ping(endpoint_id: PydanticObjectId, *, viewer: Viewer, now: datetime | None = None) -> WebhookDeliverySummary:
        """A test message on its way to the endpoint, whatever its topics.

        Raises PermissionDeniedError, WebhookEndpointNotFoundError, WebhookEndpointOffError.
        """
        viewer.require(Permission.MANAGE_WEBHOOKS)
        now = now or present()
        endpoint = await _active(endpoint_id)
        event_id = new_id()
        await WebhookDeliveryService.create_delivery(
            endpoint, event_id=event_id, event_type=PING, happened_at=now, data={"endpoint_id": str(endpoint_id)}, now=now
        )
        row = await WebhookDelivery.find_row({"endpoint_id": endpoint_id, "event_id": event_id})
        assert row is not None
        return WebhookDeliverySummary.model_validate(_told(row))

    @staticmethod
    async def replay_delivery(
        endpoint_id: PydanticObjectId, *, delivery_id: PydanticObjectId, viewer: Viewer, now: datetime | None = None
    ) -> WebhookDeliverySummary:
        """Send a message again under its own id, from the first attempt on, whether or not it got through.

        One that failed and waits for its next attempt is sent now. Raises PermissionDeniedError, WebhookEndpointNotFoundError,
        WebhookDeliveryNotFoundError, WebhookEndpointOffError, and WebhookDeliveryPendingError while it is being sent anyway.
        """
        viewer.require(Permission.MANAGE_WEBHOOKS)
        await _active(endpoint_id)
        query = {"_id": delivery_id, "endpoint_id": endpoint_id}
        is_over = {**query, "state": {"$ne": DeliveryState.PENDING}}
        waits = {**query, "state": DeliveryState.PENDING, "owner": None, "attempts_count": {"$gt": 0}}

        async def replay(session: Session) -> WebhookDelivery | None:
            update = _replayed(now or present())
            changed = await WebhookDelivery.change(is_over, update, session=session)
            changed = changed or await WebhookDelivery.change(waits, update, session=session)
            if changed is not None:
                subject, details = f"webhook_endpoint:{endpoint_id}", {"delivery_id": str(delivery_id)}
                await AuditService.record(
                    session, "webhook_delivery.replayed", subject=subject, actor_id=viewer.user_id, details=details
                )
            return changed

        changed = await run_transaction(replay, hot=[delivery_id])
        if changed is None:
            if await WebhookDelivery.find_row(query, {"_id": 1}) is None:
                raise WebhookDeliveryNotFoundError(delivery_id)
            raise WebhookDeliveryPendingError
        return WebhookDeliverySummary.model_validate(_told(changed.row()))

    @staticmethod
    async def count_failed(*, viewer: Viewer) -> dict[PydanticObjectId, int]:
        """How many messages of the last 30 days were given up, by their endpoint; of those that there still are. Two commands.

        Raises PermissionDeniedError.
        """
        viewer.require(Permission.MANAGE_WEBHOOKS)
        counted = await WebhookDelivery.aggregate_rows(failed_pipeline())
        known = {row["_id"] for row in await WebhookEndpoint.find_rows({}, {"_id": 1})} if counted else set()
        return {row["_id"]: row["count"] for row in counted if row["_id"] in known}

    @staticmethod
    async def replay_failed(
        endpoint_id: PydanticObjectId, *, since: datetime, viewer: Viewer, now: datetime | None = None
    ) -> int:
        """Send again whatever was made since that moment and was given up; returns how many messages. Noted in the audit log.

        Raises PermissionDeniedError, WebhookEndpointNotFoundError, WebhookEndpointOffError.
        """
        viewer.require(Permission.MANAGE_WEBHOOKS)
        await _active(endpoint_id)
        now = now or present()
        # Ids begin with the second they were made in, counted from 1970; the one before it, because embedded servers lose the
        # boundary.
        after = ObjectId.from_datetime(min(max(since, _FIRST), now + timedelta(days=1)) - timedelta(seconds=1))
        query = {"endpoint_id": endpoint_id, "state": DeliveryState.FAILED, "_id": {"$gt": after}}
        replayed = await WebhookDelivery.change_many(query, _replayed(now))

        async def note(session: Session) -> None:
            subject, details = f"webhook_endpoint:{endpoint_id}", {"deliveries_count": replayed}
            await AuditService.record(
                session, "webhook_delivery.replayed", subject=subject, actor_id=viewer.user_id, details=details
            )

        if replayed:
            await run_transaction(note)
        return replayed

    @staticmethod
    async def list_due(endpoint_id: PydanticObjectId, *, limit: int, now: datetime | None = None) -> list[PydanticObjectId]:
        """The ids of messages to be sent to an endpoint now, the longest waiting first."""
        query = {"endpoint_id": endpoint_id, "state": DeliveryState.PENDING, "due_at": _until(now or present())}
        rows = await WebhookDelivery.find_rows(query, {"_id": 1}, sort=[("due_at", 1)], limit=limit)
        return [row["_id"] for row in rows]

    @staticmethod
    async def find_waiting_endpoint(*, now: datetime | None = None) -> PydanticObjectId | None:
        """The endpoint whose message waits longest, if any is due."""
        query = {"state": DeliveryState.PENDING, "due_at": _until(now or present())}
        rows = await WebhookDelivery.find_rows(query, {"endpoint_id": 1}, sort=[("due_at", 1)], limit=1)
        return rows[0]["endpoint_id"] if rows else None

    @staticmethod
    async def attempt(
        delivery_id: PydanticObjectId,
        *,
        sender: WebhookSender,
        settings: Settings,
        now: datetime | None = None,
        jitter: Jitter = lambda: random.uniform(0.8, 1.2),
    ) -> DeliveryState | None:
        """Send one message that is due and write down what came of it; None when it is not due, or another sends it.

        A sender that is killed meanwhile is followed by another after its lease, which outlasts every attempt. One that is
        cancelled gives the message back, to be sent at once.
        """
        started = now or present()
        lease = timedelta(seconds=2 * sender.total_seconds + 1)
        owner = PydanticObjectId()
        delivery = await WebhookDelivery.change(
            {"_id": delivery_id, "state": DeliveryState.PENDING, "due_at": {"$lte": started}},
            {"$set": {"due_at": started + lease, "owner": owner}, "$inc": {"attempts_count": 1}},
        )
        if delivery is None:
            return None
        row = await WebhookEndpoint.find_row({"_id": delivery.endpoint_id})
        if row is None or not row["is_active"]:
            return await _settle(delivery, {"state": DeliveryState.FAILED, "last_error": OFF})
        endpoint = WebhookEndpoint.from_row(row)
        if delivery.attempts_count > MAX_ATTEMPTS:  # so often begun and never finished: it kills who sends it
            return await _settle(delivery, {"state": DeliveryState.FAILED, "last_error": "its senders died"})
        headers = signed_headers(endpoint, message_id(delivery.event_id), delivery.body, now=started, settings=settings)
        try:
            outcome = await sender.send(endpoint.url, body=delivery.body, headers=headers)
        except BaseException:
            with contextlib.suppress(Exception):
                await _settle(delivery, {"due_at": started, "last_error": "interrupted"})
            raise
        return await _note(delivery, endpoint, outcome, started, now or present(), jitter, settings)


def failed_pipeline() -> list[dict[str, Any]]:
    """Rows `{"_id": <endpoint>, "count": 3}`, without those of which nothing failed."""
    return [{"$match": {"state": DeliveryState.FAILED}}, {"$group": {"_id": "$endpoint_id", "count": {"$sum": 1}}}]


def message_id(event_id: PydanticObjectId) -> str:
    """What a receiver knows the message by, the same on every attempt and replay."""
    return f"evt_{event_id}"


def delay_after(attempts: int, *, jitter: float) -> timedelta:
    """How long to wait after so many failed attempts: 5 s, then three times as long each time, 12 h at most."""
    return min(LONGEST_DELAY, FIRST_DELAY * int(3 ** min(attempts - 1, 20))) * jitter


async def _note(
    delivery: WebhookDelivery,
    endpoint: WebhookEndpoint,
    outcome: Outcome,
    started: datetime,
    finished: datetime,
    jitter: Jitter,
    settings: Settings,
) -> DeliveryState | None:
    """Write an attempt into the message, and what it says about the endpoint into that."""
    attempt = WebhookAttempt(
        at=started, status=outcome.status, duration_ms=outcome.duration_ms, answer=outcome.answer, error=outcome.error
    )
    if outcome.is_success:
        done = {"state": DeliveryState.DELIVERED, "delivered_at": finished, "last_error": None}
        state = await _settle(delivery, done, attempt)
        if endpoint.failing_since is not None:
            await WebhookEndpoint.change({"_id": endpoint.id}, {"$set": {"failing_since": None}})
        return state
    last_error = outcome.error or f"answered {outcome.status}"
    if outcome.status == 410:
        state = await _settle(delivery, {"state": DeliveryState.FAILED, "last_error": last_error}, attempt)
        await switch_off(endpoint.id, OffReason.GONE)
        return state
    if delivery.attempts_count >= MAX_ATTEMPTS:
        state = await _settle(delivery, {"state": DeliveryState.FAILED, "last_error": last_error}, attempt)
    else:
        delay = delay_after(delivery.attempts_count, jitter=jitter())
        if outcome.retry_after is not None:
            delay = max(delay, min(LONGEST_DELAY, timedelta(seconds=outcome.retry_after)))
        state = await _settle(delivery, {"due_at": finished + delay, "last_error": last_error}, attempt)
    if endpoint.failing_since is None:
        await WebhookEndpoint.change({"_id": endpoint.id, "failing_since": None}, {"$set": {"failing_since": finished}})
    elif endpoint.failing_since <= finished - timedelta(days=settings.webhook_failing_days):
        await switch_off(endpoint.id, OffReason.FAILING, condition={"failing_since": endpoint.failing_since})
    return state


async def _settle(
    delivery: WebhookDelivery, fields: dict[str, Any], attempt: WebhookAttempt | None = None
) -> DeliveryState | None:
    """End an attempt, if it is still this one's; else None."""
    update: dict[str, Any] = {"$set": {**fields, "owner": None}}
    if attempt is not None:
        update["$push"] = {"attempts": {"$each": [attempt.model_dump()], "$slice": -KEPT_ATTEMPTS}}
    settled = await WebhookDelivery.change({"_id": delivery.id, "owner": delivery.owner}, update)
    return None if settled is None else settled.state


async def _active(endpoint_id: PydanticObjectId) -> WebhookEndpoint:
    endpoint = await find_endpoint(endpoint_id)
    if not endpoint.is_active:
        raise WebhookEndpointOffError
    return endpoint


def _replayed(now: datetime) -> dict[str, Any]:
    return {"$set": {"state": DeliveryState.PENDING, "due_at": now, "attempts_count": 0, "expires_at": now + KEPT_FOR}}


def _until(now: datetime) -> dict[str, Any]:
    """Due by now, told as "before the next millisecond": the embedded server may leave a boundary out."""
    return {"$lt": now + timedelta(milliseconds=1)}


def _told(row: dict[str, Any]) -> dict[str, Any]:
    due_at = row["due_at"] if row["state"] == DeliveryState.PENDING else None
    return {**row, "id": row["_id"], "message_id": message_id(row["event_id"]), "due_at": due_at}
