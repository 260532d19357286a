"""Webhook deliveries, jobs and the audit log."""

import re
from datetime import timedelta
from typing import Any

from beanie import PydanticObjectId

from models.audit import AuditEntry
from models.base import now
from models.ecommerce.orders import OrderStatus
from models.events import Checkpoint, DeadLetter
from models.jobs import Job
from models.users import Role
from models.webhooks import DeliveryState, WebhookDelivery
from tests.api.web.admin.conftest import Clerk, SeatClerk
from tests.api.web.admin.world import World
from tests.factories.orders import create_order
from tests.factories.users import create_user
from tests.factories.webhooks import create_delivery, create_endpoint, make_endpoint


async def state_of(delivery: WebhookDelivery) -> tuple[str, int]:
    row = await WebhookDelivery.find_row({"_id": delivery.id})
    assert row is not None
    return row["state"], row["attempts_count"]


async def noted(subject: str) -> list[tuple[str, Any]]:
    return [(row["action"], row["actor_id"]) for row in await AuditEntry.find_rows({"subject": subject})]


class TestWebhooks:
    async def test_a_failed_message_is_found_and_sent_again(self, admin: Clerk) -> None:
        endpoint = await create_endpoint()
        failed = await create_delivery(endpoint, state=DeliveryState.FAILED, attempts_count=15, last_error="answered 503")
        sent = await create_delivery(endpoint, state=DeliveryState.DELIVERED)
        log = f"/admin/webhooks/{endpoint.id}"

        assert f'<a href="{log}?state=failed">1</a>' in await admin.page("/admin/webhooks")
        page = await admin.page(f"{log}?state=failed")
        assert str(failed.event_id) in page
        assert "answered 503" in page
        assert str(sent.event_id) not in page
        assert "order.placed" in await admin.page(f"{log}/{failed.id}")

        answer = await admin.send(f"{log}/{failed.id}/replay")

        assert (answer.status_code, answer.headers["location"]) == (303, f"{log}?done=replay")
        assert await state_of(failed) == (DeliveryState.PENDING, 0)
        assert await noted(f"webhook_endpoint:{endpoint.id}") == [("webhook_delivery.replayed", admin.user.id)]

    async def test_what_waits_for_its_next_attempt_is_sent_now_and_what_is_on_its_way_is_not(self, admin: Clerk) -> None:
        endpoint = await create_endpoint()
        later = now() + timedelta(hours=12)
        waiting = await create_delivery(endpoint, attempts_count=3, due_at=later, last_error="answered 503")
        fresh = await create_delivery(endpoint)
        under_way = await create_delivery(endpoint, attempts_count=1, owner=PydanticObjectId())
        log = f"/admin/webhooks/{endpoint.id}"
        assert (await admin.page(log)).count("Send now") == 2

        answer = await admin.send(f"{log}/{waiting.id}/replay")
        refused = [await admin.send(f"{log}/{one.id}/replay") for one in (fresh, under_way)]

        assert answer.status_code == 303
        row = await WebhookDelivery.find_row({"_id": waiting.id})
        assert row is not None
        assert (row["state"], row["attempts_count"], row["due_at"] < later) == (DeliveryState.PENDING, 0, True)
        assert [one.status_code for one in refused] == [409, 409]
        assert "This message is still to be sent." in refused[0].text
        assert [await state_of(one) for one in (fresh, under_way)] == [(DeliveryState.PENDING, 0), (DeliveryState.PENDING, 1)]

    async def test_an_endpoint_that_is_on_again_is_tried_and_sent_all_that_was_given_up(self, admin: Clerk) -> None:
        endpoint = await create_endpoint()
        log = f"/admin/webhooks/{endpoint.id}"
        waiting = await create_delivery(endpoint, attempts_count=1)

        assert (await admin.send(f"{log}/off", revision="1")).status_code == 303
        assert await state_of(waiting) == (DeliveryState.FAILED, 1)
        assert (await admin.send(f"{log}/on", revision="1")).status_code == 412  # somebody has switched it off meanwhile
        assert "Send again" not in await admin.page(log)
        assert (await admin.send(f"{log}/ping")).status_code == 409
        assert (await admin.send(f"{log}/on", revision="2")).status_code == 303
        answers = [await admin.send(f"{log}/{move}") for move in ("again", "ping")]

        assert [answer.status_code for answer in answers] == [303, 303]
        assert await state_of(waiting) == (DeliveryState.PENDING, 0)
        assert await WebhookDelivery.count_rows({"event_type": "webhook.ping"}) == 1
        acts = ["webhook.updated", "webhook.updated", "webhook_delivery.replayed"]
        assert sorted(await noted(f"webhook_endpoint:{endpoint.id}")) == [(act, admin.user.id) for act in acts]
        assert f'<a href="{log}">webhook endpoint {str(endpoint.id)[-6:]}</a>' in await admin.page("/admin/audit")

    async def test_another_endpoints_message_is_404(self, admin: Clerk) -> None:
        endpoint, other = await create_endpoint(), await create_endpoint()
        failed = await create_delivery(other, state=DeliveryState.FAILED)
        path = f"/admin/webhooks/{endpoint.id}/{failed.id}"

        assert (await admin.get(path)).status_code == 404
        assert (await admin.send(f"{path}/replay")).status_code == 404
        assert (await state_of(failed))[0] == DeliveryState.FAILED


class TestJobs:
    async def test_is_asked_to_run_now(self, admin: Clerk) -> None:
        later = now() + timedelta(hours=1)
        await Job(name="tidy_up", next_run_at=later, last_error="RuntimeError: no", run_count=4).store()
        assert "RuntimeError: no" in await admin.page("/admin/jobs")

        answer = await admin.send("/admin/jobs/tidy_up/run")

        assert (answer.status_code, answer.headers["location"]) == (303, "/admin/jobs?done=run")
        row = await Job.find_row({"name": "tidy_up"})
        assert row is not None
        assert row["next_run_at"] < later
        assert await noted("job:tidy_up") == [("job.requested", admin.user.id)]

    async def test_a_job_nobody_knows_is_404(self, admin: Clerk) -> None:
        assert (await admin.send("/admin/jobs/no_such_job/run")).status_code == 404


class TestEvents:
    async def test_what_was_given_up_is_asked_for_again_one_by_one_and_all_together(self, admin: Clerk) -> None:
        await Checkpoint(consumer="mail", sequence=5).store()
        letters = [
            await DeadLetter(
                consumer="mail", event_id=PydanticObjectId(), sequence=number, error="SMTPError: no", failed_at=now()
            ).store()
            for number in (3, 4, 5)
        ]
        assert (await admin.page("/admin/events")).count("SMTPError: no") == 3

        one = await admin.send(f"/admin/events/{letters[0].id}/again")
        asked = await DeadLetter.count_rows({"replay_at": None})
        rest = await admin.send("/admin/events/consumers/mail/all")
        gone = [await admin.send("/admin/events/consumers/nobody/all"), await admin.send(f"/admin/events/{admin.user.id}/again")]

        assert (one.headers["location"], rest.headers["location"]) == ("/admin/events?done=again", "/admin/events?done=all")
        assert (asked, await DeadLetter.count_rows({"replay_at": None})) == (2, 0)
        assert (await noted("consumer:mail"))[0] == ("event.replayed", admin.user.id)
        assert [answer.status_code for answer in gone] == [404, 404]


class TestFront:
    async def test_tells_what_waits_and_leads_there(self, admin: Clerk, seat: SeatClerk) -> None:
        await World.made()
        for status in (OrderStatus.PROCESSING, OrderStatus.PROCESSING, OrderStatus.SHIPPED):
            await create_order(status=status)
        await create_delivery(await create_endpoint(), state=DeliveryState.FAILED)
        await create_delivery(make_endpoint(), state=DeliveryState.FAILED)  # of an endpoint that is gone: nobody can send it

        page, editors = await admin.page("/admin"), await (await seat(Role.EDITOR)).page("/admin")

        waits = re.findall(r'<a href="([^"]+)"[^>]*><strong><span class="figure">([^<]+)</span></strong> ([^<]+)</a>', page)
        assert waits == [
            ("/admin/comments", "1", "Comments to moderate"),
            ("/admin/reviews", "1", "Reviews to moderate"),
            ("/admin/orders?status=processing", "2", "Orders to send"),
            ("/admin/returns", "1", "Returns to decide"),
            ("/admin/returns?status=approved", "0", "Returns to take in"),
            ("/admin/returns?status=received", "0", "Returns to pay back"),
            ("/admin/fraud", "1", "Payments to look at"),
            ("/admin/stock?supply=low", "1", "Stock running low"),
            ("/admin/webhooks", "2", "Webhooks given up"),
            ("/admin/events", "1", "Events given up"),
        ]
        assert re.findall(r"</strong> ([^<]+)</a>", editors) == ["Comments to moderate", "Reviews to moderate"]


class TestAudit:
    async def test_is_narrowed_to_one_subject(self, admin: Clerk) -> None:
        one, other = await create_user(role=Role.AUTHOR), await create_user()
        for user in (one, other):
            await admin.send(f"/admin/users/{user.id}/lock", minutes="5")

        page = await admin.page(f"/admin/audit?subject=user:{one.id}")

        assert "user.locked" in page
        assert f"/admin/users/{one.id}" in page
        assert f"/admin/users/{other.id}" not in page
        assert (await admin.get("/admin/audit?actor=nobody")).status_code == 422
