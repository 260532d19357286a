import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from beanie import PydanticObjectId

from models.base import now
from models.blog.posts import PostStatus
from models.database import Session, run_transaction
from models.ecommerce.reviews import Review
from models.events import Checkpoint, Event, EventType
from models.payments import Payment
from models.webhooks import DeliveryState, WebhookDelivery, WebhookEndpoint, WebhookTopic
from services.events import EventService
from services.settings import Settings
from services.webhooks.facts import WEBHOOK_EVENTS, outside_facts
from services.webhooks.pump import WEBHOOK_CONSUMER, webhook_job
from services.worker import WorkerService
from tests.factories.blog import create_post
from tests.factories.catalog import create_product
from tests.factories.orders import create_order, make_line, usd
from tests.factories.webhooks import create_delivery, create_endpoint
from tests.races import patiently
from tests.receivers import Receiver, receiving, reply, with_loopback

pytestmark = pytest.mark.usefixtures("database")


async def record(type: EventType, subject: str, **payload: Any) -> Event:
    async def work(session: Session) -> Event:
        return await EventService.record(session, type, subject, payload=payload)

    return await run_transaction(work)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    async with asyncio.timeout(patiently(seconds)):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    worker = asyncio.create_task(WorkerService.run([webhook_job(settings)], [WEBHOOK_CONSUMER]))
    try:
        yield worker
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


class TestConsumer:
    async def test_one_message_per_endpoint_that_wants_it_however_often_it_is_seen(self) -> None:
        wants = await create_endpoint(topics=[WebhookTopic.ORDER_PLACED])
        everything = await create_endpoint()
        await create_endpoint(topics=[WebhookTopic.STOCK_LOW])
        await create_endpoint(is_active=False)
        order = await create_order()
        event = await record(EventType.ORDER_PLACED, f"order:{order.id}")
        await EventService.pump([WEBHOOK_CONSUMER])
        await Checkpoint.change({"consumer": "webhooks"}, {"$set": {"sequence": 0}})

        await EventService.pump([WEBHOOK_CONSUMER])

        rows = await WebhookDelivery.find_rows({}, sort=[("endpoint_id", 1)])
        assert [(row["endpoint_id"], row["event_id"]) for row in rows] == [(wants.id, event.id), (everything.id, event.id)]
        message = json.loads(rows[0]["body"])
        assert set(message) == {"id", "type", "timestamp", "data"}
        assert (message["id"], message["type"]) == (f"evt_{event.id}", "order.placed")
        assert message["timestamp"].endswith("Z")
        assert message["data"]["number"] == order.number

    def test_every_topic_is_an_event(self) -> None:
        assert {type.value for type in WEBHOOK_EVENTS} == {topic.value for topic in WebhookTopic} - {"*"}


class TestFacts:
    async def test_pay_5_order_is_told_without_anything_personal(self) -> None:
        order = await create_order(
            lines=[make_line(quantity=2, price=1999, sku="LAMP", name="Lamp")],
            email="grace@example.com",
            customer_notes="ring twice",
            admin_notes="watch this one",
            guest_token_hash="a-hash",
            hold_reason="payment_review",
            source_key="retail:1",
        )
        facts = await outside_facts(await record(EventType.ORDER_PLACED, f"order:{order.id}"))
        assert facts is not None
        text = json.dumps(facts)
        for secret in ("grace@", "ring twice", "watch this", "a-hash", "payment_review", "placement_key", "retail:1", "address"):
            assert secret not in text
        assert facts["order_id"] == str(order.id)
        assert facts["totals"]["total"] == {"amount": "39.98", "currency": "USD"}
        assert [(line["sku"], line["quantity"], line["total"]["amount"]) for line in facts["lines"]] == [("LAMP", 2, "39.98")]

    async def test_payment_is_told_without_token_and_instrument(self) -> None:
        payment = await Payment(
            subject="order:1",
            key="secret-key",
            amount=usd(1999),
            method="card",
            gateway="sandbox",
            token="tok_visa",
            instrument="visa ****4242",
            customer_key="user:1",
            gateway_reference="ch_1",
        ).store()
        facts = await outside_facts(await record(EventType.PAYMENT_CAPTURED, f"payment:{payment.id}"))
        assert facts == {
            "payment_id": str(payment.id),
            "subject": "order:1",
            "amount": {"amount": "19.99", "currency": "USD"},
            "method": "card",
            "gateway": "sandbox",
            "state": "created",
            "failure_code": None,
        }

    async def test_product_is_told_without_its_cost_and_a_draft_not_at_all(self) -> None:
        product = await create_product(name="Lamp")
        facts = await outside_facts(await record(EventType.PRODUCT_UPDATED, f"product:{product.id}"))
        assert facts is not None
        assert facts["name"] == "Lamp"
        assert "cost" not in json.dumps(facts)
        draft = await create_product(status="draft")
        assert await outside_facts(await record(EventType.PRODUCT_UPDATED, f"product:{draft.id}")) is None
        gone = await create_product(status="discontinued")
        assert await outside_facts(await record(EventType.PRODUCT_REMOVED, f"product:{gone.id}")) == {"product_id": str(gone.id)}

    async def test_stock_is_told_by_named_fields_alone(self) -> None:
        id = PydanticObjectId()
        event = await record(EventType.STOCK_LOW, f"product:{id}", variant_id=str(id), sku="LAMP", available=2, cost="secret")
        assert await outside_facts(event) == {"product_id": str(id), "variant_id": str(id), "sku": "LAMP", "available": 2}

    async def test_draft_of_a_post_is_not_told(self) -> None:
        post, draft = await create_post(status=PostStatus.PUBLISHED), await create_post(status=PostStatus.DRAFT)
        facts = await outside_facts(await record(EventType.POST_PUBLISHED, f"post:{post.id}"))
        assert facts == {"post_id": str(post.id), "slug": post.slug, "title": post.title}
        assert await outside_facts(await record(EventType.POST_UPDATED, f"post:{draft.id}")) is None

    async def test_review_is_told_while_it_is_public_and_then_by_its_ids(self) -> None:
        ids = {name: PydanticObjectId() for name in ("product_id", "customer_id", "author_id", "order_id")}
        review = await Review(**ids, rating=4, title="Bright", content="x", content_html="x", status="approved").store()
        about = f"review:{review.id}"
        facts = {"review_id": str(review.id), "product_id": str(review.product_id), "rating": 4, "title": "Bright"}
        assert await outside_facts(await record(EventType.REVIEW_APPROVED, about)) == facts
        assert await outside_facts(await record(EventType.REVIEW_WITHDRAWN, about)) is None
        await Review.change({"_id": review.id}, {"$set": {"status": "rejected"}})
        assert await outside_facts(await record(EventType.REVIEW_APPROVED, about)) is None
        assert await outside_facts(await record(EventType.REVIEW_WITHDRAWN, about)) == {
            "review_id": str(review.id),
            "product_id": str(review.product_id),
        }

    @pytest.mark.parametrize("type", sorted(WEBHOOK_EVENTS))
    async def test_what_is_gone_is_no_error(self, type: EventType) -> None:
        facts = await outside_facts(await record(type, f"{type.partition('.')[0]}:{PydanticObjectId()}"))
        assert facts is None or set(facts) in ({"product_id"}, {"post_id"})


class TestJob:
    async def test_event_reaches_the_receiver_and_a_slow_one_holds_up_nobody(
        self, receiver: Receiver, settings: Settings
    ) -> None:
        async with receiving() as slow:
            slow.pause = timedelta(seconds=patiently(10))
            fast_endpoint = await create_endpoint(url=receiver.url, topics=[WebhookTopic.ORDER_PLACED])
            slow_endpoint = await create_endpoint(url=slow.url, topics=[WebhookTopic.ORDER_PLACED])
            for _ in range(10):
                await create_delivery(slow_endpoint)
            order = await create_order()

            async def arrived() -> bool:
                return len(receiver.requests) == 12

            async with working(with_loopback(settings, webhook_timeout_seconds=patiently(10))):
                for _ in range(12):
                    await record(EventType.ORDER_PLACED, f"order:{order.id}")
                await until(arrived, 4)
                assert 1 <= len(slow.requests) <= 4
                slow.pause = timedelta(0)
                slow.hang_up()
            assert len(set(receiver.message_ids)) == 12
            states = [row["state"] for row in await WebhookDelivery.find_rows({"endpoint_id": fast_endpoint.id})]
            assert states == [DeliveryState.DELIVERED] * 12

    async def test_r15_ending_lets_what_is_under_way_finish(self, receiver: Receiver, settings: Settings) -> None:
        receiver.pause = timedelta(seconds=0.4)
        endpoint = await create_endpoint(url=receiver.url)
        for _ in range(10):
            await create_delivery(endpoint)
        async with working(with_loopback(settings)) as worker:
            await receiver.was_called.wait()
            await asyncio.sleep(0.1)
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        sent = len(receiver.requests)
        rows = await WebhookDelivery.find_rows({})
        states = [row["state"] for row in rows]
        assert 1 <= sent <= 4
        assert (states.count(DeliveryState.DELIVERED), states.count(DeliveryState.PENDING)) == (sent, 10 - sent)
        assert all(row["owner"] is None for row in rows)

        async def all_there() -> bool:
            return await WebhookDelivery.count_rows({"state": DeliveryState.DELIVERED}) == 10

        receiver.pause = timedelta(0)
        async with working(with_loopback(settings)):
            await until(all_there)
        assert len(receiver.requests) == len(set(receiver.message_ids)) == 10

    async def test_what_was_made_while_its_endpoint_was_switched_off_is_given_up(
        self, receiver: Receiver, settings: Settings
    ) -> None:
        off = await create_endpoint(url=receiver.url, is_active=False)
        orphan = await create_delivery(await _gone())
        waiting = await create_delivery(off)

        async def nothing_pending() -> bool:
            return await WebhookDelivery.count_rows({"state": DeliveryState.PENDING}) == 0

        async with working(with_loopback(settings)):
            await until(nothing_pending)
        assert receiver.requests == []
        rows = await WebhookDelivery.find_rows({"_id": {"$in": [orphan.id, waiting.id]}})
        assert [row["last_error"] for row in rows] == ["the endpoint is off"] * 2

    async def test_failing_endpoint_is_asked_one_message_at_a_time(self, receiver: Receiver, settings: Settings) -> None:
        receiver.pause = timedelta(seconds=0.2)
        receiver.answer = lambda request: reply(500)
        endpoint = await create_endpoint(url=receiver.url, failing_since=now())
        for _ in range(4):
            await create_delivery(endpoint)
        async with working(with_loopback(settings)):
            await receiver.was_called.wait()
            await asyncio.sleep(0.1)
            assert len(receiver.requests) == 1


async def _gone() -> WebhookEndpoint:
    endpoint = await create_endpoint()
    await WebhookEndpoint.collection().delete_one({"_id": endpoint.id})
    return endpoint
