"""Webhook deliveries, jobs and the audit log."""

from datetime import timedelta
from typing import Any

from models.audit import AuditEntry
from models.base import now
from models.jobs import Job
from models.users import Role
from models.webhooks import DeliveryState, WebhookDelivery
from tests.api.web.admin.conftest import Clerk
from tests.factories.users import create_user
from tests.factories.webhooks import create_delivery, create_endpoint


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

        assert log in await admin.page("/admin/webhooks")
        page = await admin.page(f"{log}?state=failed")
        assert str(failed.event_id) in page
        assert "answered 503" in page
        assert str(sent.event_id) not in page
        assert "order.placed" in await admin.page(f"{log}/{failed.id}")

        answer = await admin.send(f"{log}/{failed.id}/replay")

        assert (answer.status_code, answer.headers["location"]) == (303, f"{log}?done=replay")
        assert await state_of(failed) == (DeliveryState.PENDING, 0)
        assert await noted(f"webhook_endpoint:{endpoint.id}") == [("webhook_delivery.replayed", admin.user.id)]

    async def test_what_is_on_its_way_is_not_sent_again(self, admin: Clerk) -> None:
        endpoint = await create_endpoint()
        waiting = await create_delivery(endpoint, attempts_count=3)

        answer = await admin.send(f"/admin/webhooks/{endpoint.id}/{waiting.id}/replay")

        assert answer.status_code == 409
        assert "This message is still to be sent." in answer.text
        assert await state_of(waiting) == (DeliveryState.PENDING, 3)

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
