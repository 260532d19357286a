"""The reports beside sales over HTTP: their shapes, who may ask, what is refused, and that copies are not sent twice."""

from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from beanie import PydanticObjectId

from models.base import now
from models.users import Role
from services.analytics.purchases.purchases import PurchaseService
from tests.api.conftest import SignIn
from tests.commands import CommandLog
from tests.factories.inventory import a_variant, stock
from tests.factories.purchases import create_sale

BASE = "/api/v1/analytics"
REPORTS = [
    "/customers",
    "/customers/cohorts",
    "/customers/segments",
    "/inventory/turnover",
    "/inventory/cover",
    "/inventory/dead-stock",
    "/payments",
    "/payments/fraud",
    "/content",
    "/users",
]


@pytest.mark.parametrize("path", REPORTS)
async def test_report_is_tagged_and_not_sent_to_who_has_it(client: httpx2.AsyncClient, as_role: SignIn, path: str) -> None:
    headers = await as_role(Role.MANAGER)
    dates = {} if path.endswith(("segments", "dead-stock")) else {"start": "2026-11-01", "end": "2026-11-08"}

    answer = await client.get(f"{BASE}{path}", headers=headers, params=dates)
    again = await client.get(f"{BASE}{path}", headers={**headers, "If-None-Match": answer.headers["etag"]}, params=dates)

    assert answer.status_code == 200
    assert '"_id"' not in answer.text
    assert again.status_code == 304


@pytest.mark.parametrize("path", [*REPORTS, "/customers/segments/new"])
async def test_only_who_may_see_reports_sees_one(client: httpx2.AsyncClient, as_role: SignIn, path: str) -> None:
    assert (await client.get(f"{BASE}{path}")).status_code == 401
    for role in (Role.USER, Role.VENDOR, Role.AUTHOR, Role.EDITOR):
        assert (await client.get(f"{BASE}{path}", headers=await as_role(role))).status_code == 403


class TestGetCustomerInsights:
    async def test_com_s28_customers_of_a_month_in_a_zone(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        old, new = PydanticObjectId(), PydanticObjectId()
        await create_sale(old, datetime(2026, 9, 1, tzinfo=UTC), 5000)
        await create_sale(old, datetime(2026, 10, 31, 23, 30, tzinfo=UTC), 1000)  # November in Berlin
        await create_sale(new, datetime(2026, 11, 2, tzinfo=UTC), 250)
        for customer_id in (old, new):
            await PurchaseService.recount(customer_id)

        answer = await client.get(
            f"{BASE}/customers",
            headers=await as_role(Role.MANAGER),
            params={"start": "2026-11-01", "end": "2026-12-01", "timezone": "Europe/Berlin", "compare": "previous"},
        )

        body = answer.json()
        assert body["figures"] == {
            "customers_count": 2,
            "new_count": 1,
            "returning_count": 1,
            "orders_count": 2,
            "total": {"amount": "12.50", "currency": "USD"},
            "average_order_value": {"amount": "6.25", "currency": "USD"},
            "average_spend": {"amount": "6.25", "currency": "USD"},
            "average_orders": 100,
        }
        assert body["lifetime"]["lifetime_value"] == {"amount": "31.25", "currency": "USD"}
        assert body["previous"]["customers_count"] == 0
        assert (body["window"]["starts_at"], body["previous_window"]["end"]) == ("2026-10-31T23:00:00Z", "2026-11-01")

    async def test_many_readers_at_once_are_one_report(
        self, client: httpx2.AsyncClient, as_role: SignIn, commands: CommandLog
    ) -> None:
        headers = await as_role(Role.MANAGER)
        await client.get("/api/v1/users/me", headers=headers)

        with commands.counting() as sent:
            answers = [await client.get(f"{BASE}/customers", headers=headers) for _ in range(3)]

        assert {answer.status_code for answer in answers} == {200}
        assert sum(name.startswith("find customer_") for name in sent.sent) == 2

    async def test_cohorts_of_more_than_three_years_are_refused(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        answer = await client.get(
            f"{BASE}/customers/cohorts",
            headers=await as_role(Role.MANAGER),
            params={"start": "2023-01-01", "end": "2026-06-01"},
        )

        assert (answer.status_code, answer.json()["code"]) == (422, "too_many_cohorts")


class TestListSegmentCustomers:
    async def test_members_are_named_by_id_alone(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        customer_id = PydanticObjectId()
        await create_sale(customer_id, now() - timedelta(days=2), 999)
        await PurchaseService.recount(customer_id)
        headers = await as_role(Role.MANAGER)

        answer = await client.get(f"{BASE}/customers/segments/new", headers=headers)

        assert answer.json()["total_count"] == 1
        [member] = answer.json()["items"]
        assert (member["customer_id"], member["net"]["amount"], member["orders_count"]) == (str(customer_id), "9.99", 1)
        assert "email" not in answer.text
        assert (await client.get(f"{BASE}/customers/segments/gold", headers=headers)).status_code == 404


class TestListStockCover:
    async def test_pages_follow_by_cursor_and_odd_cursors_are_refused(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        for _ in range(3):
            await stock(a_variant(), 2)
        headers = await as_role(Role.MANAGER)

        first = (await client.get(f"{BASE}/inventory/cover", headers=headers, params={"limit": 2})).json()
        more = {"limit": 2, "cursor": first["next_cursor"]}
        second = (await client.get(f"{BASE}/inventory/cover", headers=headers, params=more)).json()
        odd = await client.get(f"{BASE}/inventory/cover", headers=headers, params={"cursor": "abc"})

        assert len({item["variant_id"] for item in first["items"] + second["items"]}) == 3
        assert second["next_cursor"] is None
        assert {item["days_of_cover"] for item in first["items"]} == {None}
        assert (odd.status_code, odd.json()["code"]) == (400, "invalid_cursor")


async def test_views_are_not_told_by_the_hour(client: httpx2.AsyncClient, as_role: SignIn) -> None:
    answer = await client.get(
        f"{BASE}/content",
        headers=await as_role(Role.MANAGER),
        params={"start": "2026-11-01", "end": "2026-11-02", "granularity": "hour"},
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "no_hours")
