"""Visits over HTTP: what clients tell, and what the API sees itself."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI

from models.analytics.events import VisitEvent
from models.base import now
from models.blog.posts import PostStatus
from models.database import Database
from models.users import Role
from services.analytics.visits.collector import VisitCollector
from services.payments.gateways import Gateways
from tests.api.conftest import SignIn
from tests.factories.blog import create_post
from tests.factories.checkout import TOKEN_DECLINED, TOKEN_OK, DoubleGateway, create_stocked
from tests.factories.customers import make_place
from tests.factories.visits import BROWSER

EVENTS = "/api/v1/analytics/events"
HEADERS = {"User-Agent": BROWSER}
Client = httpx2.AsyncClient


def told(**over: Any) -> dict[str, Any]:
    return {"id": str(uuid4()), "kind": "page_view", "at": now().isoformat(), "path": "/shirts", **over}


async def kept(**query: Any) -> list[dict[str, Any]]:
    return await VisitEvent.find_rows(query, sort=[("kind", 1)])


async def seen(app: FastAPI) -> list[str]:
    """The kinds of what the API noted."""
    visits: VisitCollector = app.state.visits
    await visits.flush()
    return [row["kind"] for row in await kept()]


class TestRecordEvents:
    async def test_batch_is_counted_once(self, client: Client, database: Database) -> None:
        batch = {"events": [told(), told(kind="checkout_started"), told(at="2020-01-01T00:00:00Z")]}

        first = await client.post(EVENTS, json=batch, headers=HEADERS)
        again = await client.post(EVENTS, json=batch, headers={**HEADERS, "Idempotency-Key": "is not needed"})

        assert (first.status_code, first.json()) == (202, {"accepted": 2, "duplicates": 0, "ignored": 1})
        assert (again.status_code, again.json()) == (202, {"accepted": 0, "duplicates": 2, "ignored": 1})
        assert [row["kind"] for row in await kept()] == ["checkout_started", "page_view"]

    async def test_who_is_signed_in_counts_as_everyone_does_and_is_not_noted(
        self, client: Client, as_role: SignIn, database: Database
    ) -> None:
        for role in (None, Role.USER, Role.MANAGER, Role.ADMIN):
            headers = HEADERS if role is None else {**HEADERS, **await as_role(role)}
            answer = await client.post(EVENTS, json={"events": [told()]}, headers=headers)
            assert (answer.status_code, answer.json()["accepted"]) == (202, 1)

        rows = await kept()
        assert len(rows) == 4
        assert len({row["visitor"] for row in rows}) == 1
        assert {name for row in rows for name in row if "user" in name or "actor" in name} == set()

    @pytest.mark.parametrize(
        "headers",
        [
            {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"},
            {"User-Agent": ""},
            {**HEADERS, "DNT": "1"},
            {**HEADERS, "Sec-GPC": "1"},
            {**HEADERS, "Sec-Purpose": "prefetch;prerender"},
        ],
        ids=["robot", "nameless", "DNT", "GPC", "prefetch"],
    )
    async def test_robots_and_the_unwilling_are_ignored(
        self, client: Client, database: Database, headers: dict[str, str]
    ) -> None:
        answer = await client.post(EVENTS, json={"events": [told(), told()]}, headers=headers)

        assert (answer.status_code, answer.json()) == (202, {"accepted": 0, "duplicates": 0, "ignored": 2})
        assert await kept() == []

    @pytest.mark.parametrize(
        ("bad", "pointer"),
        [
            ({"kind": "product_view"}, "/events/1/kind"),
            ({"kind": "paid"}, "/events/1/kind"),
            ({"id": "7"}, "/events/1/id"),
            ({"at": "yesterday"}, "/events/1/at"),
            ({"path": ""}, "/events/1/path"),
            ({"path": "/" * 501}, "/events/1/path"),
            ({"user_id": "65f0c0ffee0ddba11ca7f00d"}, "/events/1/user_id"),
            ({"properties": {"a": 1}}, "/events/1/properties"),
        ],
    )
    async def test_one_bad_event_refuses_its_batch_and_says_where(
        self, client: Client, database: Database, bad: dict[str, Any], pointer: str
    ) -> None:
        answer = await client.post(EVENTS, json={"events": [told(), told(**bad)]}, headers=HEADERS)

        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert await kept() == []

    async def test_batches_are_bounded_in_number_and_in_bytes(self, client: Client, database: Database) -> None:
        many = await client.post(EVENTS, json={"events": [told() for _ in range(51)]}, headers=HEADERS)
        none = await client.post(EVENTS, json={"events": []}, headers=HEADERS)
        long = [told(path="/" + "\u20ac" * 490, referrer="\u20ac" * 490) for _ in range(25)]
        large = await client.post(EVENTS, json={"events": long}, headers=HEADERS)

        assert [(answer.status_code, answer.json()["code"]) for answer in (many, none, large)] == [
            (422, "malformed_input"),
            (422, "malformed_input"),
            (413, "body_too_large"),
        ]
        assert await kept() == []
        full = await client.post(EVENTS, json={"events": [told() for _ in range(50)]}, headers=HEADERS)
        assert full.json()["accepted"] == 50

    async def test_nothing_of_who_sent_it_stands_anywhere(self, client: Client, database: Database) -> None:
        headers = {"User-Agent": "Mozilla/5.0 PlantedAgent/1.0", "Referer": "https://planted.example/"}

        await client.post(EVENTS, json={"events": [told(path="/a?secret=planted")]}, headers=headers)

        names = await database.raw.list_collection_names()
        stored = str([await database.raw[name].find({}).to_list(None) for name in names])
        assert "page_view" in stored
        assert [word for word in ("203.0.113.7", "lanted") if word in stored] == []


class TestSeen:
    async def test_views_and_searches_are_noted_once(self, client: Client, app: FastAPI, database: Database) -> None:
        product, post = await create_stocked(5), await create_post(status=PostStatus.PUBLISHED)
        for _ in range(2):
            await client.get(f"/api/v1/shop/products/{product.slug}", headers=HEADERS)
            await client.get(f"/api/v1/blog/posts/{post.slug}", headers=HEADERS)
        for query in ("q=Linen", "q=linen&page=2", "q=", "sort=newest"):
            await client.get(f"/api/v1/shop/products?{query}", headers=HEADERS)
        await client.get("/api/v1/blog/search?q=mongodb", headers=HEADERS)
        await client.get("/api/v1/shop/products/no-such-thing", headers=HEADERS)

        assert await seen(app) == ["post_view", "product_view", "search", "search"]
        assert {row["subject"] for row in await kept()} == {"", f"post:{post.id}", f"product:{product.id}"}
        assert {row["term"] for row in await kept(kind="search")} == {"linen", "mongodb"}

    @pytest.mark.parametrize("headers", [{"User-Agent": "curl/8.5.0"}, {**HEADERS, "DNT": "1"}, {**HEADERS, "Sec-GPC": "1"}])
    async def test_nothing_is_noted_of_robots_and_the_unwilling(
        self, client: Client, app: FastAPI, database: Database, headers: dict[str, str]
    ) -> None:
        product = await create_stocked(5)
        await client.get(f"/api/v1/shop/products/{product.slug}", headers=headers)
        await client.get("/api/v1/shop/products?q=linen", headers=headers)

        assert await seen(app) == []

    async def test_way_to_an_order_is_noted_without_the_order(self, client: Client, app: FastAPI, database: Database) -> None:
        """Repeated under its key, a checkout is the same one; refused, a cart is not filled."""
        app.state.gateways = Gateways([DoubleGateway()])
        product = await create_stocked(5)
        item = {"product_id": str(product.id), "variant_id": str(product.variants[0].id), "quantity": 1}
        cart = await client.post("/api/v1/shop/cart/items", json=item, headers={**HEADERS, "Idempotency-Key": "cart"})
        await client.post("/api/v1/shop/cart/items", json={**item, "quantity": 999}, headers=HEADERS)
        guest = {**HEADERS, "Cart-Token": cart.json()["cart_token"]}
        wish = {"payment_token": TOKEN_DECLINED, "shipping_address": make_place().model_dump(), "email": "ada@example.com"}

        declined = await client.post("/api/v1/shop/checkout", json=wish, headers={**guest, "Idempotency-Key": "one"})
        assert declined.json()["code"] == "payment_declined", declined.text
        assert await seen(app) == ["cart_add", "checkout"]
        wish["payment_token"] = TOKEN_OK
        for _ in range(2):
            paid = await client.post("/api/v1/shop/checkout", json=wish, headers={**guest, "Idempotency-Key": "two"})
            assert paid.status_code == 201, paid.text

        assert await seen(app) == ["cart_add", "checkout", "checkout", "paid"]
        rows = await kept()
        assert len({row["visitor"] for row in rows}) == 1
        assert {row["subject"] for row in rows} == {""}
        assert paid.json()["order"]["id"] not in str(rows)

    async def test_taking_things_out_is_noted(self, client: Client, app: FastAPI, database: Database) -> None:
        product = await create_stocked(5)
        variant = str(product.variants[0].id)
        item = {"product_id": str(product.id), "variant_id": variant, "quantity": 1}
        cart = await client.post("/api/v1/shop/cart/items", json=item, headers=HEADERS)
        guest = {**HEADERS, "Cart-Token": cart.json()["cart_token"]}
        for _ in range(2):
            await client.delete(f"/api/v1/shop/cart/items/{variant}", headers=guest)

        assert await seen(app) == ["cart_add", "cart_remove"]
