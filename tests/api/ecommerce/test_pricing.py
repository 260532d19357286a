"""Coupons, promotions, zones and shipping methods over HTTP."""

from typing import Any

import httpx2
import pytest

from models.ecommerce.coupons import Coupon
from models.ecommerce.shipping import ShippingMethod
from models.users import Role
from tests.api.conftest import Headers, SignIn
from tests.factories.pricing import create_coupon, create_shipping_zone, usd

API = "/api/v1/shop"
TEN_OFF = {"kind": "percentage", "rate": 1000}


@pytest.fixture
async def staff(as_role: SignIn) -> Headers:
    return await as_role(Role.MANAGER)


class TestCoupons:
    async def test_is_made_changed_and_taken_out_of_use(self, client: httpx2.AsyncClient, staff: Headers) -> None:
        rule = {"kind": "fixed_amount", "amount": {"amount": "5.00", "currency": "USD"}}
        made = await client.post(f"{API}/coupons", json={"code": "five", "rule": rule}, headers=staff)
        assert made.status_code == 201
        body = made.json()
        assert (body["code"], body["rule"]["amount"], body["usage_count"]) == ("FIVE", rule["amount"], 0)
        path = f"{API}/coupons/{body['id']}"
        assert (await client.patch(path, json={"name": "X"}, headers=staff)).json()["code"] == "precondition_required"
        changed = await client.patch(path, json={"usage_limit": 3}, headers={**staff, "If-Match": '"1"'})
        assert (changed.status_code, changed.json()["usage_limit"], changed.json()["revision"]) == (200, 3, 2)
        stale = await client.patch(path, json={"usage_limit": 4}, headers={**staff, "If-Match": '"1"'})
        assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
        assert (await client.delete(path, headers=staff)).status_code == 204
        found = (await client.get(path, headers=staff)).json()
        assert (found["is_active"], found["usage_limit"]) == (False, 3)

    async def test_the_same_code_conflicts_and_a_repeated_request_does_not(
        self, client: httpx2.AsyncClient, staff: Headers
    ) -> None:
        body = {"code": "SAVE10", "rule": TEN_OFF}
        keyed = {**staff, "Idempotency-Key": "a-key-of-this-request"}
        first, again = [await client.post(f"{API}/coupons", json=body, headers=keyed) for _ in range(2)]
        assert (first.status_code, again.status_code, first.content) == (201, 201, again.content)
        other = await client.post(f"{API}/coupons", json=body, headers={**staff, "Idempotency-Key": "another-key"})
        assert (other.status_code, other.json()["code"]) == (409, "coupon_taken")
        assert await Coupon.count_rows({}) == 1

    @pytest.mark.parametrize(
        ("over", "pointer"),
        [
            ({"rule": {"kind": "percentage", "rate": 10_001}}, "/rule/rate"),
            ({"rule": {"kind": "percentage"}}, "/rule"),
            ({"rule": {**TEN_OFF, "more": 1}}, "/rule/more"),
            ({"rule": {"kind": "fixed_amount", "amount": {"amount": 500, "currency": "USD"}}}, "/rule/amount"),
            ({"usage_count": 5}, "/usage_count"),
            ({"code": "S V"}, "/code"),
            ({"starts_at": "2030-01-02T00:00:00"}, "/starts_at"),
            ({"starts_at": "2030-01-02T00:00:00Z", "expires_at": "2030-01-01T00:00:00Z"}, ""),
        ],
    )
    async def test_com_m10_what_makes_no_sense_is_malformed(
        self, client: httpx2.AsyncClient, staff: Headers, over: dict[str, Any], pointer: str
    ) -> None:
        answer = await client.post(f"{API}/coupons", json={"code": "SAVE10", "rule": TEN_OFF, **over}, headers=staff)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
        assert await Coupon.count_rows({}) == 0

    async def test_a_batch_is_made_listed_and_downloaded(self, client: httpx2.AsyncClient, staff: Headers) -> None:
        body = {"batch": "summer 26", "count": 12, "prefix": "S-", "rule": TEN_OFF}
        made = await client.post(f"{API}/coupons/batches", json=body, headers=staff)
        assert (made.status_code, made.json()) == (201, {"batch": "summer 26", "codes_count": 12})
        page = (await client.get(f"{API}/coupons?batch=summer%2026&limit=5", headers=staff)).json()
        assert (page["total_count"], len(page["items"])) == (12, 5)
        table = await client.get(f"{API}/coupons/codes.csv?batch=summer%2026", headers=staff)
        lines = table.text.splitlines()
        assert table.headers["content-type"] == "text/csv; charset=utf-8"
        assert table.headers["content-disposition"] == 'attachment; filename="codes.csv"'
        assert (len(lines), lines[0].split(",")[0]) == (13, "code")
        assert [line.split(",")[0] for line in lines[1:6]] == [item["code"] for item in page["items"]]
        again = await client.post(f"{API}/coupons/batches", json=body, headers=staff)
        assert (again.status_code, again.json()["code"]) == (409, "coupon_batch_taken")

    async def test_codes_are_nobody_elses_to_read(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        coupon = await create_coupon(batch="b")
        for path in ("coupons", f"coupons/{coupon.id}", "coupons/codes.csv?batch=b", "promotions", "discount-usage"):
            assert (await client.get(f"{API}/{path}")).status_code == 401
            assert (await client.get(f"{API}/{path}", headers=await as_role(Role.EDITOR))).status_code == 403

    async def test_usage_is_reported(self, client: httpx2.AsyncClient, staff: Headers) -> None:
        span = {"since": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"}
        for by in ("coupon", "batch", "promotion"):
            answer = await client.get(f"{API}/discount-usage", params={**span, "by": by}, headers=staff)
            assert (answer.status_code, answer.json()) == (200, [])
        wrong = await client.get(f"{API}/discount-usage", params={**span, "until": span["since"]}, headers=staff)
        assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_offer_span")


class TestShippingMethods:
    async def test_everybody_may_ask_what_is_offered_where(self, client: httpx2.AsyncClient) -> None:
        methods = [ShippingMethod(code="post", name="Post", rate=usd("5.00"), free_from=usd("50.00"))]
        await create_shipping_zone(countries=["US"], states=["IL"], methods=methods)
        here = await client.get(f"{API}/shipping-methods?country=us&state=il")
        assert here.json() == [
            {
                "code": "post",
                "name": "Post",
                "rate": {"amount": "5.00", "currency": "USD"},
                "free_from": {"amount": "50.00", "currency": "USD"},
                "is_by_weight": False,
            }
        ]
        there = await client.get(f"{API}/shipping-methods?country=FR&currency=EUR")
        assert [(method["code"], method["rate"]["currency"]) for method in there.json()] == [("standard", "EUR")]

    @pytest.mark.parametrize("query", ["", "country=XX", "country=US&currency=XXX", "country[$ne]=US"])
    async def test_a_place_that_is_none_is_malformed(self, client: httpx2.AsyncClient, query: str) -> None:
        assert (await client.get(f"{API}/shipping-methods?{query}")).status_code == 422


class TestPromotionsAndZones:
    async def test_a_promotion_over_http(self, client: httpx2.AsyncClient, staff: Headers) -> None:
        made = await client.post(f"{API}/promotions", json={"name": "Sale", "rule": TEN_OFF, "priority": 2}, headers=staff)
        assert (made.status_code, made.json()["priority"]) == (201, 2)
        path = f"{API}/promotions/{made.json()['id']}"
        changed = await client.patch(path, json={"is_exclusive": True}, headers={**staff, "If-Match": '"1"'})
        assert (changed.status_code, changed.json()["is_exclusive"]) == (200, True)
        assert (await client.delete(path, headers=staff)).status_code == 204
        assert (await client.get(f"{API}/promotions?is_active=true", headers=staff)).json()["items"] == []

    @pytest.mark.parametrize(
        ("name", "fields"),
        [
            ("tax-zones", {"rates": [{"rate": 1900}, {"tax_class": "books", "rate": 700}]}),
            ("shipping-zones", {"methods": [{"code": "post", "name": "Post", "rate": {"amount": "5.00", "currency": "USD"}}]}),
        ],
    )
    async def test_a_zone_over_http(self, client: httpx2.AsyncClient, staff: Headers, name: str, fields: dict[str, Any]) -> None:
        body = {"code": "DE", "name": "Germany", "countries": ["de"], **fields}
        made = await client.post(f"{API}/{name}", json=body, headers=staff)
        assert (made.status_code, made.json()["countries"]) == (201, ["DE"])
        again = await client.post(f"{API}/{name}", json=body, headers=staff)
        assert (again.status_code, again.json()["code"]) == (409, "zone_taken")
        path = f"{API}/{name}/{made.json()['id']}"
        changed = await client.patch(path, json={"name": "DE"}, headers={**staff, "If-Match": '"1"'})
        assert (changed.status_code, changed.json()["name"]) == (200, "DE")
        refused = await client.patch(path, json={"countries": [], "states": ["BY"]}, headers={**staff, "If-Match": '"2"'})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_zone")
        assert [zone["revision"] for zone in (await client.get(f"{API}/{name}", headers=staff)).json()] == [2]
        assert (await client.delete(path, headers=staff)).status_code == 204
        assert (await client.get(path, headers=staff)).status_code == 404
