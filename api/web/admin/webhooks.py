"""Outbound webhooks: their endpoints, what was sent to them, and sending it again."""

from api.schemas.webhooks import WebhookEndpointUpdate
from api.web.admin.desk import ADMIN, Desk, Form, filled
from api.web.admin.layout import Action, Badge, Link, Page, Row, Table, Text, Value
from api.web.admin.views import Act, Group, Move, Queue, View
from models.webhooks import (
    DeliveryState,
    WebhookAttempt,
    WebhookDeliveryRead,
    WebhookDeliverySummary,
    WebhookEndpointRead,
)
from services.users.permissions import Permission
from services.waiting import Waiting
from services.webhooks.deliveries import WebhookDeliveryService
from services.webhooks.endpoints import WebhookEndpointService

_PATH = f"{ADMIN}/webhooks"
_TONES = {DeliveryState.DELIVERED: "good", DeliveryState.FAILED: "bad", DeliveryState.PENDING: "wait"}


async def _list(desk: Desk) -> Page:
    endpoints = await WebhookEndpointService.list_endpoints(viewer=desk.viewer)
    failed = await WebhookDeliveryService.count_failed(viewer=desk.viewer)
    columns = ["Endpoint", "What for", "Topics", "State", "Failing since", "Given up", "Made"]
    rows = [_endpoint(one, failed.get(one.id, 0)) for one in endpoints]
    return Page(
        title="Webhooks",
        tables=[Table("Endpoints", columns, rows, "There is no endpoint.")],
        note="Endpoints are made by the API, which alone tells a secret.",
    )


def _endpoint(endpoint: WebhookEndpointRead, failed: int) -> Row:
    log = f"{_PATH}/{endpoint.id}"
    return Row(
        [
            Link(log, endpoint.url),
            Text(endpoint.description) if endpoint.description else None,
            ", ".join(endpoint.topics),
            _activity(endpoint),
            endpoint.failing_since,
            Link(f"{log}?state={DeliveryState.FAILED}", f"{failed:,}") if failed else 0,
            endpoint.created_at,
        ]
    )


def _activity(endpoint: WebhookEndpointRead) -> Badge:
    if endpoint.is_active:
        return Badge("active", "good")
    return Badge(f"off: {endpoint.off_reason}" if endpoint.off_reason else "off", "bad")


async def _deliveries(desk: Desk) -> Page:
    endpoint = await WebhookEndpointService.get_endpoint(desk.id(), viewer=desk.viewer)
    state = desk.choice("state", DeliveryState)
    found = await WebhookDeliveryService.list_deliveries(
        endpoint.id, viewer=desk.viewer, cursors=desk.cursors, state=state, cursor=desk.cursor
    )
    columns = ["Message", "Event", "State", "Attempts", "Made", "Delivered, or sent next", "Last failure"]
    facts: list[tuple[str, Value]] = [
        ("Endpoint", endpoint.url),
        ("What for", Text(endpoint.description) if endpoint.description else None),
        ("State", _activity(endpoint)),
        ("Failing since", endpoint.failing_since),
    ]
    return Page(
        title="Webhook deliveries",
        back=Link(_PATH, "Webhooks"),
        facts=facts,
        actions=_actions(endpoint),
        tabs=desk.tabs("state", DeliveryState, state),
        tables=[
            Table(
                "Messages of the last 30 days, newest first",
                columns,
                [_message(endpoint, one) for one in found.items],
                "No such message.",
            )
        ],
        paging=desk.further(found.next_cursor, state=state),
    )


def _actions(endpoint: WebhookEndpointRead) -> list[Action]:
    """An endpoint that is off is sent nothing, and nothing again, until it is on."""
    log, read = f"{_PATH}/{endpoint.id}", {"revision": str(endpoint.revision)}
    if not endpoint.is_active:
        return [Action(f"{log}/on", "Switch on", hidden=read)]
    return [
        Action(f"{log}/ping", "Send a test message"),
        Action(f"{log}/again", "Send again all that was given up"),
        Action(f"{log}/off", "Switch off", hidden=read, is_grave=True),
    ]


def _message(endpoint: WebhookEndpointRead, delivery: WebhookDeliverySummary) -> Row:
    cells: list[Value] = [
        Link(f"{_PATH}/{endpoint.id}/{delivery.id}", delivery.message_id),
        delivery.event_type,
        Badge(delivery.state, _TONES[delivery.state]),
        delivery.attempts_count,
        delivery.created_at,
        delivery.due_at or delivery.delivered_at,
        Text(delivery.last_error) if delivery.last_error else None,
    ]
    return Row(cells, _replays(endpoint, delivery))


def _replays(endpoint: WebhookEndpointRead, delivery: WebhookDeliverySummary) -> list[Action]:
    """Nothing for what is being sent anyway, and for endpoints that are off."""
    is_waiting = delivery.state is DeliveryState.PENDING
    if not endpoint.is_active or (is_waiting and not delivery.attempts_count):
        return []
    label = "Send now" if is_waiting else "Send again"
    return [Action(f"{_PATH}/{endpoint.id}/{delivery.id}/replay", label, about=f"the message {delivery.message_id}")]


async def _delivery(desk: Desk) -> Page:
    endpoint = await WebhookEndpointService.get_endpoint(desk.id(), viewer=desk.viewer)
    delivery = await WebhookDeliveryService.get_delivery(endpoint.id, delivery_id=desk.id("delivery_id"), viewer=desk.viewer)
    return Page(
        title=f"Message {delivery.message_id}",
        back=Link(f"{_PATH}/{endpoint.id}", "Deliveries"),
        facts=_facts(delivery),
        actions=_replays(endpoint, delivery),
        tables=[
            Table(
                "Attempts, the last 20 at most",
                ["When", "Answer", "Milliseconds", "How it began", "Failure"],
                [_attempt(one) for one in delivery.attempts],
                "It was not sent yet.",
            )
        ],
    )


def _facts(delivery: WebhookDeliveryRead) -> list[tuple[str, Value]]:
    return [
        ("Event", delivery.event_type),
        ("State", Badge(delivery.state, _TONES[delivery.state])),
        ("Attempts", delivery.attempts_count),
        ("Next attempt", delivery.due_at),
        ("Delivered", delivery.delivered_at),
        ("Last failure", Text(delivery.last_error) if delivery.last_error else None),
        ("What is sent", Text(delivery.body)),
    ]


def _attempt(attempt: WebhookAttempt) -> Row:
    return Row(
        [
            attempt.at,
            None if attempt.status is None else str(attempt.status),
            attempt.duration_ms,
            Text(attempt.answer) if attempt.answer else None,
            Text(attempt.error) if attempt.error else None,
        ]
    )


async def _replay(desk: Desk, form: Form) -> None:
    await WebhookDeliveryService.replay_delivery(desk.id(), delivery_id=desk.id("delivery_id"), viewer=desk.viewer)


def _switch(*, is_active: bool) -> Act:
    async def act(desk: Desk, form: Form) -> None:
        changes = filled(WebhookEndpointUpdate, {"is_active": is_active})
        await WebhookEndpointService.update_endpoint(
            desk.id(), changes, viewer=desk.viewer, settings=desk.settings, revision=form.number("revision")
        )

    return act


async def _ping(desk: Desk, form: Form) -> None:
    await WebhookDeliveryService.ping(desk.id(), viewer=desk.viewer)


async def _send_again(desk: Desk, form: Form) -> None:
    endpoint = await WebhookEndpointService.get_endpoint(desk.id(), viewer=desk.viewer)
    await WebhookDeliveryService.replay_failed(endpoint.id, since=endpoint.created_at, viewer=desk.viewer)


WEBHOOKS = View(
    "webhooks",
    "Webhooks",
    "what was sent to other systems",
    Group.SYSTEM,
    Permission.MANAGE_WEBHOOKS,
    pages={"": _list, "/{id}": _deliveries, "/{id}/{delivery_id}": _delivery},
    moves={
        "/{id}/on": Move(_switch(is_active=True), _deliveries, "The endpoint is sent what happens from now on."),
        "/{id}/off": Move(_switch(is_active=False), _deliveries, "The endpoint is sent nothing more."),
        "/{id}/ping": Move(_ping, _deliveries, "The test message is on its way."),
        "/{id}/again": Move(_send_again, _deliveries, "What was given up is on its way again, under the same ids."),
        "/{id}/{delivery_id}/replay": Move(_replay, _deliveries, "The message is on its way again, under the same id."),
    },
    queues=[Queue(Waiting.WEBHOOKS, "Webhooks given up")],
)
