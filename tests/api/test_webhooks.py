import json
from typing import Any

import httpx2
import pytest
from beanie import PydanticObjectId
from standardwebhooks import Webhook

from models.audit import AuditEntry
from models.database import Database
from models.idempotency import IdempotentAnswer
from models.users import Role
from models.webhooks import WebhookDelivery, WebhookEndpoint
from services.settings import Settings
from services.webhooks.deliveries import WebhookDeliveryService
from services.webhooks.endpoints import MAX_ENDPOINTS
from services.webhooks.sending import WebhookSender
from tests.api.conftest import Headers, SignIn
from tests.factories.webhooks import create_delivery, create_endpoint
from tests.receivers import receiving, with_loopback

PATH = "/api/v1/webhooks"
# A public address, because names are looked up.
URL = "https://93.184.215.14/agora?token=not-to-be-told"


@pytest.fixture
async def admin(as_role: SignIn) -> Headers:
    return await as_role(Role.ADMIN)


class TestCreateWebhookEndpoint:
    async def test_pay_5_secret_is_shown_once_and_kept_nowhere(
        self, client: httpx2.AsyncClient, admin: Headers, settings: Settings
    ) -> None:
        body = {"url": URL, "topics": ["order.placed", "order.placed"], "description": "ERP"}

        answer = await client.post(PATH, json=body, headers={**admin, "Idempotency-Key": "one"})

        assert answer.status_code == 201
        created = answer.json()
        assert created["secret"].startswith("whsec_")
        endpoint = created["endpoint"]
        assert (endpoint["topics"], endpoint["is_active"], endpoint["revision"]) == (["order.placed"], True, 1)
        for path in (PATH, f"{PATH}/{endpoint['id']}"):
            assert "secret" not in (await client.get(path, headers=admin)).text.replace("previous_secret_until", "")
        raw = created["secret"].removeprefix("whsec_")
        for document in (WebhookEndpoint, IdempotentAnswer, AuditEntry):
            assert raw not in str(await document.find_rows({}))
        (entry,) = await AuditEntry.find_rows({"action": "webhook.created"})
        assert "not-to-be-told" not in str(entry)

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            ({"url": "http://127.0.0.1:1/", "topics": ["*"]}, 400, "unsafe_webhook_url"),
            ({"url": "https://169.254.169.254/", "topics": ["*"]}, 400, "unsafe_webhook_url"),
            ({"url": "ftp://93.184.215.14/", "topics": ["*"]}, 400, "unsafe_webhook_url"),
            ({"url": URL, "topics": []}, 422, "malformed_input"),
            ({"url": URL, "topics": ["user.created"]}, 422, "malformed_input"),
            ({"url": URL, "topics": ["*"], "secret": "whsec_mine"}, 422, "malformed_input"),
        ],
    )
    async def test_what_cannot_be_sent_to_is_refused_and_nothing_made(
        self, client: httpx2.AsyncClient, admin: Headers, body: dict[str, Any], status: int, code: str
    ) -> None:
        answer = await client.post(PATH, json=body, headers=admin)

        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert await WebhookEndpoint.find_rows({}) == []

    async def test_there_are_so_many_at_most(self, client: httpx2.AsyncClient, admin: Headers) -> None:
        for _ in range(MAX_ENDPOINTS):
            await create_endpoint()
        answer = await client.post(PATH, json={"url": URL, "topics": ["*"]}, headers=admin)
        assert (answer.status_code, answer.json()["code"]) == (400, "too_many_webhook_endpoints")

    @pytest.mark.parametrize("role", [Role.USER, Role.VENDOR, Role.EDITOR, Role.MANAGER])
    async def test_only_administrators(self, client: httpx2.AsyncClient, as_role: SignIn, role: Role) -> None:
        answer = await client.post(PATH, json={"url": URL, "topics": ["*"]}, headers=await as_role(role))
        assert answer.status_code == 403
        assert await WebhookEndpoint.find_rows({}) == []


class TestUpdateWebhookEndpoint:
    async def test_stale_copy_changes_nothing(self, client: httpx2.AsyncClient, admin: Headers, database: Database) -> None:
        endpoint = await create_endpoint()
        path = f"{PATH}/{endpoint.id}"
        first = await client.patch(path, json={"description": "a"}, headers={**admin, "If-Match": '"1"'})
        assert (first.status_code, first.json()["revision"]) == (200, 2)
        stale = await client.patch(path, json={"description": "b"}, headers={**admin, "If-Match": '"1"'})
        assert stale.status_code == 412
        assert (await client.patch(path, json={"description": "b"}, headers=admin)).status_code == 428
        row = await WebhookEndpoint.find_row({"_id": endpoint.id})
        assert row is not None
        assert row["description"] == "a"

    async def test_s10_it_cannot_be_moved_inside(self, client: httpx2.AsyncClient, admin: Headers, database: Database) -> None:
        endpoint = await create_endpoint()
        answer = await client.patch(
            f"{PATH}/{endpoint.id}", json={"url": "https://10.0.0.1/"}, headers={**admin, "If-Match": "*"}
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "unsafe_webhook_url")

    async def test_off_and_on_again(self, client: httpx2.AsyncClient, admin: Headers, database: Database) -> None:
        endpoint = await create_endpoint()
        path, any_copy = f"{PATH}/{endpoint.id}", {**admin, "If-Match": "*"}
        off = (await client.patch(path, json={"is_active": False}, headers=any_copy)).json()
        assert (off["is_active"], off["off_reason"]) == (False, "manual")
        assert (await client.post(f"{path}/ping", headers=admin)).json()["code"] == "webhook_endpoint_off"
        on = (await client.patch(path, json={"is_active": True}, headers=any_copy)).json()
        assert (on["is_active"], on["off_reason"]) == (True, None)


class TestDeleteWebhookEndpoint:
    async def test_it_and_its_log_are_gone(self, client: httpx2.AsyncClient, admin: Headers, database: Database) -> None:
        endpoint = await create_endpoint()
        delivery = await create_delivery(endpoint)
        assert (await client.delete(f"{PATH}/{endpoint.id}", headers=admin)).status_code == 204
        for path in ("", "/deliveries", f"/deliveries/{delivery.id}"):
            assert (await client.get(f"{PATH}/{endpoint.id}{path}", headers=admin)).status_code == 404
        row = await WebhookDelivery.find_row({"_id": delivery.id})
        assert row is not None
        assert row["state"] == "failed"


class TestDeliveries:
    async def test_from_ping_to_log_to_replay(
        self, client: httpx2.AsyncClient, admin: Headers, database: Database, settings: Settings
    ) -> None:
        near = with_loopback(settings)
        sender = WebhookSender(near)
        async with receiving() as receiver:
            endpoint = await create_endpoint(url=receiver.url)
            path = f"{PATH}/{endpoint.id}"
            secret = (await client.post(f"{path}/secret", json={"overlap_hours": 0}, headers=admin)).json()["secret"]
            ping = await client.post(f"{path}/ping", headers=admin)
            assert ping.status_code == 202
            id = PydanticObjectId(ping.json()["id"])
            await WebhookDeliveryService.attempt(id, sender=sender, settings=near)

            shown = (await client.get(f"{path}/deliveries/{id}", headers=admin)).json()
            assert (shown["state"], shown["attempts_count"], shown["due_at"]) == ("delivered", 1, None)
            assert [attempt["status"] for attempt in shown["attempts"]] == [204]
            assert json.loads(shown["body"])["type"] == "webhook.ping"
            assert Webhook(secret).verify(receiver.requests[0].body, receiver.requests[0].headers)

            assert (await client.post(f"{path}/deliveries/{id}/replay", headers=admin)).status_code == 202
            again = await client.post(f"{path}/deliveries/{id}/replay", headers=admin)
            assert (again.status_code, again.json()["code"]) == (409, "webhook_delivery_pending")
            listed = (await client.get(f"{path}/deliveries?state=pending", headers=admin)).json()
            assert [each["id"] for each in listed["items"]] == [str(id)]
            replay = await client.post(f"{path}/replay", json={"since": "2026-01-01T00:00:00Z"}, headers=admin)
            assert (replay.status_code, replay.json()) == (202, {"replayed_count": 0})
        await sender.aclose()
