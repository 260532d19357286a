import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from beanie import PydanticObjectId
from standardwebhooks import Webhook, WebhookVerificationError

from models.audit import AuditEntry
from models.base import now
from models.database import Database
from models.events import Event, EventType
from models.users import Role
from models.webhooks import DeliveryState, OffReason, WebhookDelivery, WebhookEndpoint
from services.pagination import CursorCodec
from services.settings import Settings
from services.users.permissions import Viewer
from services.webhooks.deliveries import (
    LONGEST_DELAY,
    MAX_ATTEMPTS,
    WebhookDeliveryNotFoundError,
    WebhookDeliveryPendingError,
    WebhookDeliveryService,
    WebhookEndpointOffError,
    delay_after,
)
from services.webhooks.endpoints import WebhookEndpointChanges, WebhookEndpointService
from services.webhooks.sending import KEPT_BYTES, WebhookSender
from services.webhooks.signing import endpoint_secret
from tests.factories.users import create_user, viewer_of
from tests.factories.webhooks import create_delivery, create_endpoint
from tests.races import patiently
from tests.receivers import Received, Receiver, receiving, reply, with_loopback

pytestmark = pytest.mark.usefixtures("database")

CURSORS = CursorCodec(b"0" * 32)
DAY = timedelta(days=1)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


@pytest.fixture
def near(settings: Settings) -> Settings:
    """Settings under which loopback may be sent to."""
    return with_loopback(settings)


@pytest.fixture
async def sender(near: Settings) -> AsyncIterator[WebhookSender]:
    made = WebhookSender(near)
    yield made
    await made.aclose()


@pytest.fixture
async def admin(database: Database) -> Viewer:
    return viewer_of(await create_user(role=Role.ADMIN))


async def stored(delivery: WebhookDelivery) -> WebhookDelivery:
    row = await WebhookDelivery.find_row({"_id": delivery.id})
    assert row is not None
    return WebhookDelivery.from_row(row)


async def stored_endpoint(endpoint: WebhookEndpoint) -> WebhookEndpoint:
    row = await WebhookEndpoint.find_row({"_id": endpoint.id})
    assert row is not None
    return WebhookEndpoint.from_row(row)


class TestAttempt:
    async def test_pay_5_message_arrives_signed_and_is_logged(
        self, receiver: Receiver, sender: WebhookSender, near: Settings
    ) -> None:
        """PAY-5: the source only stored the row."""
        receiver.answer = lambda request: reply(200, b"thank you")
        endpoint = await create_endpoint(url=receiver.url)
        delivery = await create_delivery(endpoint)

        assert await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near) is DeliveryState.DELIVERED

        (received,) = receiver.requests
        secret = endpoint_secret(endpoint.id, 1, settings=near)
        assert Webhook(secret).verify(received.body, received.headers) == {"type": "order.placed"}
        assert received.body == delivery.body
        assert received.target == "/hook"
        assert received.headers["host"] == f"127.0.0.1:{receiver.port}"
        assert received.headers["webhook-id"] == f"evt_{delivery.event_id}"
        assert received.headers["content-type"] == "application/json"
        after = await stored(delivery)
        assert (after.state, after.attempts_count, after.owner, after.last_error) == (DeliveryState.DELIVERED, 1, None, None)
        (attempt,) = after.attempts
        assert (attempt.status, attempt.answer, attempt.error) == (200, "thank you", None)
        assert after.delivered_at is not None
        other = Webhook(endpoint_secret(PydanticObjectId(), 1, settings=near))
        with pytest.raises(WebhookVerificationError):
            other.verify(received.body, received.headers)

    async def test_failure_is_tried_again_later_each_time_under_the_same_id(
        self, receiver: Receiver, sender: WebhookSender, near: Settings
    ) -> None:
        answers = iter([503, 500, 200])
        receiver.answer = lambda request: reply(next(answers))
        delivery = await create_delivery(await create_endpoint(url=receiver.url))
        moment = delivery.due_at
        for seconds in (5, 15):
            state = await WebhookDeliveryService.attempt(
                delivery.id, sender=sender, settings=near, now=moment, jitter=lambda: 1.0
            )
            assert state is DeliveryState.PENDING
            after = await stored(delivery)
            assert after.due_at == moment + timedelta(seconds=seconds)
            early = after.due_at - timedelta(milliseconds=1)
            assert await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near, now=early) is None
            moment = after.due_at

        last = await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near, now=moment)

        assert last is DeliveryState.DELIVERED
        assert len(set(receiver.message_ids)) == 1
        assert len({request.headers["webhook-timestamp"] for request in receiver.requests}) == 3
        assert len({request.headers["webhook-signature"] for request in receiver.requests}) == 3
        assert [attempt.status for attempt in (await stored(delivery)).attempts] == [503, 500, 200]

    def test_delays_grow_to_half_a_day_and_take_three_days_in_all(self) -> None:
        delays = [delay_after(attempts, jitter=1.0) for attempts in range(1, MAX_ATTEMPTS)]
        assert delays[:3] == [timedelta(seconds=5), timedelta(seconds=15), timedelta(seconds=45)]
        assert delays[-1] == LONGEST_DELAY
        assert 3 * DAY < sum(delays, timedelta()) < 3.5 * DAY
        assert delay_after(1, jitter=0.8) == timedelta(seconds=4)

    async def test_r13_last_failure_gives_it_up(self, receiver: Receiver, sender: WebhookSender, near: Settings) -> None:
        receiver.answer = lambda request: reply(500)
        endpoint = await create_endpoint(url=receiver.url)
        delivery = await create_delivery(endpoint, attempts_count=MAX_ATTEMPTS - 1)

        assert await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near) is DeliveryState.FAILED

        assert (await stored(delivery)).last_error == "answered 500"
        assert await WebhookDeliveryService.list_due(endpoint.id, limit=10, now=now() + 99 * DAY) == []

    async def test_r13_one_that_kills_its_senders_is_given_up(
        self, receiver: Receiver, sender: WebhookSender, near: Settings
    ) -> None:
        delivery = await create_delivery(await create_endpoint(url=receiver.url), attempts_count=MAX_ATTEMPTS)

        assert await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near) is DeliveryState.FAILED

        assert receiver.requests == []

    async def test_receiver_may_ask_for_more_time(self, receiver: Receiver, sender: WebhookSender, near: Settings) -> None:
        receiver.answer = lambda request: reply(429, retry_after="600")
        delivery = await create_delivery(await create_endpoint(url=receiver.url))

        await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near, now=delivery.due_at)

        assert (await stored(delivery)).due_at == delivery.due_at + timedelta(minutes=10)

    async def test_r13_fifty_senders_send_once(self, receiver: Receiver, sender: WebhookSender, near: Settings) -> None:
        receiver.pause = timedelta(milliseconds=50)
        delivery = await create_delivery(await create_endpoint(url=receiver.url))

        states = await asyncio.gather(
            *(WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near) for _ in range(50))
        )

        assert sorted(filter(None, states)) == [DeliveryState.DELIVERED]
        assert len(receiver.requests) == 1

    async def test_r13_killed_sender_is_followed_after_its_lease(
        self, receiver: Receiver, sender: WebhookSender, near: Settings
    ) -> None:
        delivery = await create_delivery(await create_endpoint(url=receiver.url))
        begun = delivery.due_at
        lease = timedelta(seconds=2 * near.webhook_timeout_seconds + 1)
        # What a sender leaves behind that dies while it waits for the answer.
        await WebhookDelivery.change(
            {"_id": delivery.id}, {"$set": {"due_at": begun + lease, "owner": PydanticObjectId()}, "$inc": {"attempts_count": 1}}
        )
        almost = begun + lease - timedelta(milliseconds=1)
        assert await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near, now=almost) is None

        state = await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near, now=begun + lease)

        assert state is DeliveryState.DELIVERED
        assert (await stored(delivery)).attempts_count == 2

    async def test_r15_cancelled_sender_gives_it_back(self, receiver: Receiver, sender: WebhookSender, near: Settings) -> None:
        receiver.pause = timedelta(seconds=0.8)
        delivery = await create_delivery(await create_endpoint(url=receiver.url))
        task = asyncio.create_task(WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near))
        await receiver.was_called.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        after = await stored(delivery)
        assert (after.state, after.owner, after.last_error) == (DeliveryState.PENDING, None, "interrupted")
        assert after.due_at <= now()

    async def test_gone_switches_the_endpoint_off_with_event_and_audit(
        self, receiver: Receiver, sender: WebhookSender, near: Settings
    ) -> None:
        receiver.answer = lambda request: reply(410)
        endpoint = await create_endpoint(url=receiver.url)
        delivery, waiting = await create_delivery(endpoint), await create_delivery(endpoint)

        assert await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near) is DeliveryState.FAILED

        after = await stored_endpoint(endpoint)
        assert (after.is_active, after.off_reason) == (False, OffReason.GONE)
        assert (await stored(waiting)).state is DeliveryState.FAILED
        (event,) = await Event.find_rows({"type": EventType.WEBHOOK_DISABLED})
        assert (event["subject"], event["payload"]) == (f"webhook_endpoint:{endpoint.id}", {"reason": "gone"})
        (entry,) = await AuditEntry.find_rows({"action": "webhook.disabled"})
        assert entry["details"]["host"] == "127.0.0.1"
        assert await WebhookDeliveryService.attempt(waiting.id, sender=sender, settings=near) is None
        assert len(receiver.requests) == 1

    async def test_days_of_failure_switch_it_off_and_a_success_starts_the_count_anew(
        self, receiver: Receiver, sender: WebhookSender, near: Settings
    ) -> None:
        receiver.answer = lambda request: reply(500)
        endpoint = await create_endpoint(url=receiver.url)
        start = now()

        async def fail(moment: datetime) -> WebhookEndpoint:
            delivery = await create_delivery(endpoint, due_at=moment)
            await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near, now=moment)
            return await stored_endpoint(endpoint)

        assert (await fail(start)).failing_since == start
        assert (await fail(start + 5 * DAY - timedelta(seconds=1))).is_active
        receiver.answer = lambda request: reply(204)
        assert (await fail(start + 5 * DAY - timedelta(seconds=1))).failing_since is None
        receiver.answer = lambda request: reply(500)
        assert (await fail(start + 6 * DAY)).is_active
        after = await fail(start + 11 * DAY)
        assert (after.is_active, after.off_reason) == (False, OffReason.FAILING)

    async def test_endless_and_slow_answers_cost_no_more_than_their_beginning(
        self, receiver: Receiver, sender: WebhookSender, near: Settings
    ) -> None:
        receiver.answer = lambda request: b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n" + b"x" * 2_000_000
        delivery = await create_delivery(await create_endpoint(url=receiver.url))

        assert await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near) is DeliveryState.DELIVERED

        assert (await stored(delivery)).attempts[0].answer == "x" * KEPT_BYTES

    async def test_receiver_that_says_nothing_is_left_after_the_timeout(self, receiver: Receiver, settings: Settings) -> None:
        receiver.pause = timedelta(seconds=patiently(6))
        short = with_loopback(settings, webhook_timeout_seconds=0.3)
        impatient = WebhookSender(short)
        delivery = await create_delivery(await create_endpoint(url=receiver.url))

        assert await WebhookDeliveryService.attempt(delivery.id, sender=impatient, settings=short) is DeliveryState.PENDING

        (attempt,) = (await stored(delivery)).attempts
        assert attempt.error in ("TimeoutError", "ReadTimeout")
        assert 250 <= attempt.duration_ms < patiently(6000)
        await impatient.aclose()

    async def test_s10_endpoint_that_moved_inside_since_is_not_called(self, receiver: Receiver, settings: Settings) -> None:
        delivery = await create_delivery(await create_endpoint(url=receiver.url))
        sender = WebhookSender(settings)

        assert await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=settings) is DeliveryState.PENDING

        assert receiver.connections_count == 0
        assert (await stored(delivery)).last_error == "its host is neither on the public internet nor in AGORA_WEBHOOK_NETWORKS"
        await sender.aclose()


class TestSecrets:
    async def test_rotation_signs_with_both_until_the_overlap_is_over(
        self, receiver: Receiver, sender: WebhookSender, near: Settings, admin: Viewer
    ) -> None:
        endpoint = await create_endpoint(url=receiver.url)
        old = endpoint_secret(endpoint.id, 1, settings=near)
        new = await WebhookEndpointService.rotate_secret(endpoint.id, overlap_hours=24, viewer=admin, settings=near)
        assert new.secret not in ("", old)
        assert new.secret == endpoint_secret(endpoint.id, 2, settings=near)

        async def verifies(*secrets: str) -> list[bool]:
            delivery = await create_delivery(endpoint)
            await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near)
            received = receiver.requests[-1]
            return [is_verified(secret, received) for secret in secrets]

        assert await verifies(old, new.secret) == [True, True]
        await WebhookEndpoint.change({"_id": endpoint.id}, {"$set": {"previous_secret_until": now()}})
        assert await verifies(old, new.secret) == [False, True]
        newest = await WebhookEndpointService.rotate_secret(endpoint.id, overlap_hours=0, viewer=admin, settings=near)
        assert await verifies(old, new.secret, newest.secret) == [False, False, True]

    async def test_no_secret_is_stored(self, near: Settings, admin: Viewer) -> None:
        endpoint = await create_endpoint()
        rotated = await WebhookEndpointService.rotate_secret(endpoint.id, overlap_hours=1, viewer=admin, settings=near)
        rows = [*await WebhookEndpoint.find_rows({}), *await AuditEntry.find_rows({}), *await Event.find_rows({})]
        assert rotated.secret.removeprefix("whsec_") not in str(rows)
        assert "whsec_" not in str(rows)


def is_verified(secret: str, received: Received) -> bool:
    try:
        Webhook(secret).verify(received.body, received.headers)
    except WebhookVerificationError:
        return False
    return True


class TestReplay:
    async def test_replayed_message_is_the_same_message(
        self, receiver: Receiver, sender: WebhookSender, near: Settings, admin: Viewer
    ) -> None:
        endpoint = await create_endpoint(url=receiver.url)
        delivery = await create_delivery(endpoint)
        with pytest.raises(WebhookDeliveryPendingError):
            await WebhookDeliveryService.replay_delivery(endpoint.id, delivery_id=delivery.id, viewer=admin)
        await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near)

        told = await WebhookDeliveryService.replay_delivery(endpoint.id, delivery_id=delivery.id, viewer=admin)
        assert (told.state, told.attempts_count) == (DeliveryState.PENDING, 0)
        await WebhookDeliveryService.attempt(delivery.id, sender=sender, settings=near)

        first, second = receiver.requests
        assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
        other = await create_endpoint()
        with pytest.raises(WebhookDeliveryNotFoundError):
            await WebhookDeliveryService.replay_delivery(other.id, delivery_id=delivery.id, viewer=admin)

    async def test_everything_given_up_since_a_moment(self, admin: Viewer) -> None:
        endpoint, other = await create_endpoint(), await create_endpoint()
        noon = datetime(2026, 11, 20, 12, tzinfo=UTC)

        async def given_up(moment: datetime, **over: object) -> WebhookDelivery:
            id = PydanticObjectId(f"{int(moment.timestamp()):08x}" + str(PydanticObjectId())[8:])
            return await create_delivery(**{"endpoint": endpoint, "id": id, "state": DeliveryState.FAILED, **over})  # type: ignore[arg-type]  # a mixed dictionary

        early = await given_up(noon - timedelta(seconds=2))
        wanted = [await given_up(noon), await given_up(noon + timedelta(hours=1))]
        done = await given_up(noon, state=DeliveryState.DELIVERED)
        foreign = await given_up(noon, endpoint=other)

        assert await WebhookDeliveryService.replay_failed(endpoint.id, since=noon, viewer=admin) == 2

        assert [(await stored(each)).state for each in wanted] == [DeliveryState.PENDING] * 2
        assert (await stored(early)).state is DeliveryState.FAILED
        assert (await stored(done)).state is DeliveryState.DELIVERED
        assert (await stored(foreign)).state is DeliveryState.FAILED

    @pytest.mark.parametrize(("year", "replayed"), [(1, 1), (1729, 1), (2200, 0), (9999, 0)])
    async def test_s1_moments_before_and_beyond_all_ids(self, admin: Viewer, year: int, replayed: int) -> None:
        """Found by fuzzing: ids count seconds from 1970 to 2106, and a moment outside was an error of ours."""
        endpoint = await create_endpoint()
        await create_delivery(endpoint, state=DeliveryState.FAILED)
        since = datetime(year, 6, 21, tzinfo=UTC)

        assert await WebhookDeliveryService.replay_failed(endpoint.id, since=since, viewer=admin) == replayed

    async def test_nothing_is_sent_to_an_endpoint_that_is_off(self, admin: Viewer, near: Settings) -> None:
        endpoint = await create_endpoint()
        waiting = await create_delivery(endpoint)
        await WebhookEndpointService.update_endpoint(
            endpoint.id, WebhookEndpointChanges(is_active=False), viewer=admin, settings=near
        )
        assert (await stored(waiting)).state is DeliveryState.FAILED
        assert (await stored_endpoint(endpoint)).off_reason is OffReason.MANUAL
        with pytest.raises(WebhookEndpointOffError):
            await WebhookDeliveryService.ping(endpoint.id, viewer=admin)
        with pytest.raises(WebhookEndpointOffError):
            await WebhookDeliveryService.replay_failed(endpoint.id, since=now(), viewer=admin)
        with pytest.raises(WebhookEndpointOffError):
            await WebhookDeliveryService.replay_delivery(endpoint.id, delivery_id=waiting.id, viewer=admin)

    async def test_ping_goes_to_one_endpoint_whatever_it_wants(
        self, receiver: Receiver, sender: WebhookSender, near: Settings, admin: Viewer
    ) -> None:
        endpoint = await create_endpoint(url=receiver.url, topics=["stock.low"])
        ping = await WebhookDeliveryService.ping(endpoint.id, viewer=admin)
        await WebhookDeliveryService.attempt(ping.id, sender=sender, settings=near)
        message = json.loads(receiver.requests[0].body)
        assert (message["type"], message["data"]) == ("webhook.ping", {"endpoint_id": str(endpoint.id)})


class TestListDeliveries:
    async def test_newest_first_in_stretches_and_by_state(self, admin: Viewer) -> None:
        endpoint = await create_endpoint()
        made = [await create_delivery(endpoint) for _ in range(3)]
        failed = await create_delivery(endpoint, state=DeliveryState.FAILED)
        await create_delivery(await create_endpoint())

        first = await WebhookDeliveryService.list_deliveries(endpoint.id, viewer=admin, cursors=CURSORS, limit=2)
        rest = await WebhookDeliveryService.list_deliveries(
            endpoint.id, viewer=admin, cursors=CURSORS, cursor=first.next_cursor, limit=2
        )
        assert [each.id for each in (*first.items, *rest.items)] == [failed.id, *(each.id for each in reversed(made))]
        assert rest.next_cursor is None
        only = await WebhookDeliveryService.list_deliveries(
            endpoint.id, viewer=admin, cursors=CURSORS, state=DeliveryState.FAILED
        )
        assert [(each.id, each.due_at) for each in only.items] == [(failed.id, None)]
