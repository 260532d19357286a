from typing import Any

import httpx2
import pytest

from models.database import Database
from models.ecommerce.customers import Address, Customer
from models.users import Role
from tests.api.conftest import SignIn
from tests.factories.customers import create_customer, make_place
from tests.factories.users import create_user

ME = "/api/v1/shop/customers/me"
CUSTOMERS = "/api/v1/shop/customers"
ADDRESSES = "/api/v1/shop/addresses"
Client = httpx2.AsyncClient
PLACE: dict[str, Any] = make_place().model_dump(mode="json")


class TestMe:
    async def test_is_there_from_the_first_time_and_can_be_changed(
        self, client: Client, database: Database, as_role: SignIn
    ) -> None:
        headers = await as_role(first_name="Ada", last_name="Lovelace")

        first = await client.get(ME, headers=headers)
        assert first.status_code == 200
        shown = first.json()
        assert (shown["first_name"], shown["spent"], shown["points_balance"]) == (
            "Ada",
            {"amount": "0.00", "currency": "USD"},
            0,
        )
        assert (await client.get(ME, headers={**headers, "If-None-Match": first.headers["etag"]})).status_code == 304
        patch = {"phone": "+1 202 555 0143", "newsletter_subscribed": True}
        changed = await client.patch(ME, json=patch, headers={**headers, "If-Match": first.headers["etag"]})
        stale = await client.patch(ME, json={"language": "de"}, headers={**headers, "If-Match": first.headers["etag"]})

        assert (changed.json()["phone"], changed.json()["newsletter_subscribed"]) == ("+12025550143", True)
        assert stale.status_code == 412
        assert [row["language"] for row in await Customer.find_rows({})] == ["en"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"points_balance": 1},
            {"orders_count": 1},
            {"spent": {"amount": "9.00", "currency": "USD"}},
            {"user_id": "65f0c0ffee0ddba11ca7f00d"},
            {"password": "another long password"},
            {"language": "xx"},
            {"first_name": None},
            {"phone": "()- -"},
        ],
    )
    async def test_com_m1_nothing_privileged_and_nothing_malformed(
        self, client: Client, database: Database, as_role: SignIn, wrong: dict[str, Any]
    ) -> None:
        """COM-M1, S3"""
        assert (await client.patch(ME, json=wrong, headers=await as_role())).status_code == 422

    async def test_points(self, client: Client, database: Database, as_role: SignIn) -> None:
        answer = await client.get(f"{ME}/points", headers=await as_role())

        assert answer.json() == {"balance": 0, "items": [], "next_cursor": None}


class TestStaff:
    async def test_managers_see_customers(self, client: Client, database: Database, as_role: SignIn) -> None:
        customer = await create_customer(user=await create_user(username="ada"))
        manager = await as_role(Role.MANAGER)

        listed = (await client.get(CUSTOMERS, params={"search": "ada"}, headers=manager)).json()
        shown = await client.get(f"{CUSTOMERS}/{customer.id}", headers=manager)

        assert [row["id"] for row in listed["items"]] == [str(customer.id)]
        assert (shown.json()["username"], shown.json()["email"]) == ("ada", "ada@example.com")
        for role in (Role.USER, Role.EDITOR):
            headers = await as_role(role)
            assert (await client.get(CUSTOMERS, headers=headers)).status_code == 403
            assert (await client.get(f"{CUSTOMERS}/{customer.id}", headers=headers)).status_code == 403


class TestAddresses:
    async def test_a_book_from_the_first_to_the_last(self, client: Client, database: Database, as_role: SignIn) -> None:
        headers = await as_role()

        first = await client.post(ADDRESSES, json={"address": {**PLACE, "country": "us"}}, headers=headers)
        second = await client.post(ADDRESSES, json={"address": PLACE, "is_default_billing": True}, headers=headers)
        assert (first.status_code, first.json()["address"]["country"]) == (201, "US")
        assert (first.json()["is_default_shipping"], second.json()["is_default_billing"]) == (True, True)
        path = f"{ADDRESSES}/{second.json()['id']}"
        default = await client.put(f"{path}/default/shipping", headers=headers)
        assert default.json()["is_default_shipping"]
        moved = await client.patch(path, json={"address": {**PLACE, "city": "Cairo"}}, headers=headers)
        assert (moved.json()["address"]["city"], moved.json()["kind"]) == ("Cairo", "both")
        assert (await client.get(path, headers={**headers, "If-None-Match": moved.headers["etag"]})).status_code == 304
        assert (await client.delete(path, headers=headers)).status_code == 204
        assert (await client.get(path, headers=headers)).status_code == 404

        [left] = (await client.get(ADDRESSES, headers=headers)).json()
        assert (left["is_default_shipping"], left["is_default_billing"]) == (True, True)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"address": {**PLACE, "country": "XX"}},
            {"address": {**PLACE, "extra": 1}},
            {"address": {**PLACE, "line1": " "}},
            {"address": PLACE, "customer_id": "65f0c0ffee0ddba11ca7f00d"},
            {"address": PLACE, "kind": "home"},
            {},
        ],
    )
    async def test_com_m2_malformed_ones_are_refused(
        self, client: Client, database: Database, as_role: SignIn, wrong: dict[str, Any]
    ) -> None:
        """COM-M2, S3"""
        headers = await as_role()

        assert (await client.post(ADDRESSES, json=wrong, headers=headers)).status_code == 422
        assert await Address.find_rows({}) == []

    async def test_patch_refuses_null_and_strangers_fields(self, client: Client, database: Database, as_role: SignIn) -> None:
        headers = await as_role()
        made = await client.post(ADDRESSES, json={"address": PLACE}, headers=headers)
        path = f"{ADDRESSES}/{made.json()['id']}"

        for wrong in ({"address": None}, {"kind": None}, {"address": {"city": "Cairo"}}, {"customer_id": "x"}):
            assert (await client.patch(path, json=wrong, headers=headers)).status_code == 422
        assert (await client.patch(path, json={}, headers=headers)).json() == made.json()
