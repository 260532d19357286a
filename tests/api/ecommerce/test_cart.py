from typing import Any

import httpx2
import pytest

from models.base import now
from models.database import Database
from models.ecommerce.carts import Cart, CartAbandonment
from models.ecommerce.catalog import Product
from models.users import Role
from services.ecommerce.carts import guest_owner
from tests.api.conftest import Headers, SignIn
from tests.factories.catalog import create_product, money
from tests.factories.inventory import stock
from tests.factories.pricing import create_coupon

CART = "/api/v1/shop/cart"
ITEMS = f"{CART}/items"
Client = httpx2.AsyncClient


async def in_stock(quantity: int = 9, **over: Any) -> Product:
    product = await create_product(**over)
    await stock(product.variants[0], quantity, product=product)
    return product


def item_of(product: Product, quantity: int = 1, **more: Any) -> dict[str, Any]:
    return {"product_id": str(product.id), "variant_id": str(product.variants[0].id), "quantity": quantity, **more}


def line_path(product: Product) -> str:
    return f"{ITEMS}/{product.variants[0].id}"


async def guest_with(client: Client, product: Product, quantity: int = 1) -> Headers:
    answer = await client.post(ITEMS, json=item_of(product, quantity))
    assert answer.status_code == 201, answer.text
    return {"Cart-Token": answer.json()["cart_token"]}


class TestGuests:
    async def test_from_the_first_thing_to_an_empty_cart(self, client: Client, database: Database) -> None:
        product = await in_stock()

        guest = await guest_with(client, product, 2)
        shown = (await client.get(CART, headers=guest)).json()
        assert [(line["name"], line["quantity"]) for line in shown["lines"]] == [(product.name, 2)]
        assert shown["lines"][0]["unit_price"] == {"amount": "19.90", "currency": "USD"}
        assert (shown["cart_token"], shown["totals"]["subtotal"]["amount"]) == (None, "39.80")
        changed = await client.patch(line_path(product), json={"quantity": 3}, headers=guest)
        assert (changed.status_code, changed.json()["pieces_count"]) == (200, 3)
        assert (await client.delete(line_path(product), headers=guest)).status_code == 204
        assert (await client.delete(line_path(product), headers=guest)).json()["code"] == "cart_line_not_found"
        assert (await client.delete(CART, headers=guest)).status_code == 204

        assert (await client.get(CART, headers=guest)).json()["lines"] == []

    async def test_com_s7_looking_writes_nothing(self, client: Client, database: Database, as_role: SignIn) -> None:
        """COM-S7"""
        for headers in ({}, {"Cart-Token": "x" * 43}, await as_role()):
            assert (await client.get(CART, headers=headers)).json()["lines"] == []

        assert await Cart.find_rows({}) == []

    async def test_a_token_opens_one_cart_and_no_other(self, client: Client, database: Database) -> None:
        product = await in_stock()
        mine = await guest_with(client, product)
        theirs = await guest_with(client, product, 5)

        assert mine != theirs
        assert (await client.get(CART, headers=mine)).json()["pieces_count"] == 1
        assert (await client.get(CART, headers=theirs)).json()["pieces_count"] == 5


class TestSignedIn:
    async def test_com_s9_a_guests_cart_joins_on_login(self, client: Client, database: Database, as_role: SignIn) -> None:
        """COM-S9: by the merge, or by any change that carries the token."""
        product, other = await in_stock(), await in_stock()
        guest, user = await guest_with(client, product, 2), await as_role()
        await client.post(ITEMS, json=item_of(product), headers=user)

        assert (await client.get(CART, headers={**user, **guest})).json()["pieces_count"] == 3
        assert (await client.get(CART, headers=user)).json()["pieces_count"] == 1
        for _ in range(2):
            merged = await client.post(f"{CART}/merge", headers={**user, **guest})
            assert (merged.status_code, merged.json()["pieces_count"]) == (200, 3)
        again = await guest_with(client, other)
        answer = await client.post(ITEMS, json=item_of(other), headers={**user, **again})

        assert (answer.json()["pieces_count"], answer.json()["cart_token"]) == (5, None)
        assert (await client.get(CART, headers=again)).json()["lines"] == []

    async def test_merging_needs_somebody(self, client: Client, database: Database) -> None:
        guest = await guest_with(client, await in_stock())

        assert (await client.post(f"{CART}/merge", headers=guest)).status_code == 401
        assert (await Cart.find_rows({}))[0]["owner"] == guest_owner(guest["Cart-Token"])

    async def test_etag_and_if_match(self, client: Client, database: Database, as_role: SignIn) -> None:
        product, user = await in_stock(), await as_role()
        added = await client.post(ITEMS, json=item_of(product), headers=user)
        tag = added.headers["etag"]

        read = await client.get(CART, headers={**user, "If-None-Match": tag})
        assert (read.status_code, read.content) == (304, b"")
        good = await client.patch(line_path(product), json={"quantity": 2}, headers={**user, "If-Match": tag})
        assert good.status_code == 200
        for send in (
            client.patch(line_path(product), json={"quantity": 5}, headers={**user, "If-Match": tag}),
            client.delete(line_path(product), headers={**user, "If-Match": tag}),
            client.delete(CART, headers={**user, "If-Match": tag}),
            client.post(ITEMS, json=item_of(product), headers={**user, "If-Match": tag}),
        ):
            assert (await send).status_code == 412
        assert (await client.get(CART, headers=user)).json()["pieces_count"] == 2
        assert (await client.get(CART, headers={**user, "If-None-Match": tag})).status_code == 200

    async def test_the_same_key_adds_once(self, client: Client, database: Database, as_role: SignIn) -> None:
        product, user = await in_stock(), await as_role()
        keyed = {**user, "Idempotency-Key": "add-once"}

        first = await client.post(ITEMS, json=item_of(product), headers=keyed)
        second = await client.post(ITEMS, json=item_of(product), headers=keyed)

        assert (first.content, second.headers["idempotent-replayed"]) == (second.content, "true")
        assert (await client.get(CART, headers=user)).json()["pieces_count"] == 1

    async def test_answer_under_a_key_shows_the_cart_as_it_became(
        self, client: Client, database: Database, as_role: SignIn
    ) -> None:
        product, user = await in_stock(), await as_role()
        await create_coupon(code="SAVE10")

        added = await client.post(ITEMS, json=item_of(product, 2), headers={**user, "Idempotency-Key": "one"})
        found = await client.get(CART, headers=user)
        assert (added.status_code, added.json()["pieces_count"], added.json()["revision"]) == (201, 2, 1)
        assert (added.json(), added.headers["etag"]) == (found.json(), found.headers["etag"])

        coupon = await client.post(f"{CART}/coupons", json={"code": "SAVE10"}, headers={**user, "Idempotency-Key": "two"})
        assert (coupon.status_code, coupon.json()["coupon_codes"], coupon.json()["revision"]) == (200, ["SAVE10"], 2)
        assert coupon.json() == (await client.get(CART, headers=user)).json()

    async def test_guest_under_a_key_sees_what_went_into_the_new_cart(self, client: Client, database: Database) -> None:
        added = await client.post(ITEMS, json=item_of(await in_stock()), headers={"Idempotency-Key": "guest"})

        token = added.json()["cart_token"]
        found = (await client.get(CART, headers={"Cart-Token": token})).json()
        assert (added.json()["pieces_count"], found["pieces_count"]) == (1, 1)
        assert added.json() == {**found, "cart_token": token}


class TestRefusals:
    async def test_each_has_its_code_and_changes_nothing(self, client: Client, database: Database, as_role: SignIn) -> None:
        product, user = await in_stock(3), await as_role()
        await client.post(ITEMS, json=item_of(product), headers=user)

        for body, code in (
            (item_of(product, 3), "cart_stock"),
            (item_of(product, currency="EUR"), "cart_currency"),
            (item_of(await in_stock(status="inactive")), "not_for_sale"),
            ({**item_of(product), "variant_id": "65f0c0ffee0ddba11ca7f00d"}, "not_for_sale"),
        ):
            answer = await client.post(ITEMS, json=body, headers=user)
            assert (answer.status_code, answer.json()["code"]) == (400, code)

        assert (await client.get(CART, headers=user)).json()["pieces_count"] == 1

    @pytest.mark.parametrize(
        "wrong",
        [
            {"quantity": 0},
            {"quantity": -1},
            {"quantity": 10_001},
            {"quantity": 1.5},
            {"currency": "XXX"},
            {"product_id": {"$ne": None}},
            {"product_id": None},
            {"variant_id": None},
            {"price": "0.01"},
            {"unit_price": {"amount": "0.01", "currency": "USD"}},
        ],
    )
    async def test_com_m6_malformed_items_and_prices_of_the_client(
        self, client: Client, database: Database, wrong: dict[str, Any]
    ) -> None:
        """COM-M6, S3: quantities are bounded, and no client names a price."""
        answer = await client.post(ITEMS, json={**item_of(await in_stock()), **wrong})

        assert answer.status_code == 422
        assert await Cart.find_rows({}) == []


class TestCoupons:
    async def test_kept_when_usable_else_the_reason(self, client: Client, database: Database, as_role: SignIn) -> None:
        product, user = await in_stock(), await as_role()
        await create_coupon(code="TEN")
        await client.post(ITEMS, json=item_of(product), headers=user)

        refused = await client.post(f"{CART}/coupons", json={"code": "NEVER"}, headers=user)
        kept = await client.post(f"{CART}/coupons", json={"code": "ten"}, headers=user)
        assert (refused.status_code, refused.json()["code"]) == (400, "coupon_unknown")
        assert (kept.json()["coupon_codes"], kept.json()["totals"]["discount"]["amount"]) == (["TEN"], "1.99")

        assert (await client.delete(f"{CART}/coupons/TEN", headers=user)).status_code == 204
        assert (await client.delete(f"{CART}/coupons/TEN", headers=user)).status_code == 404
        assert (await client.get(CART, headers=user)).json()["coupon_codes"] == []


class TestPreview:
    async def test_takes_a_country(self, client: Client, database: Database) -> None:
        guest = await guest_with(client, await in_stock())

        shown = await client.get(CART, params={"country": "de", "state": "BY"}, headers=guest)
        wrong = await client.get(CART, params={"country": "XX"}, headers=guest)

        assert (shown.json()["country"], shown.json()["state"], wrong.status_code) == ("DE", "BY", 422)


class TestReport:
    async def test_com_s9_rate_for_managers(self, client: Client, database: Database, as_role: SignIn) -> None:
        """COM-S9"""
        product = await in_stock()
        moment = now()
        for recovered in (None, moment):
            await CartAbandonment(
                cart_id=product.id, value=money("10.00"), pieces=1, abandoned_at=moment, recovered_at=recovered
            ).store()
        span = {"since": "2020-01-01T00:00:00Z", "until": "2020-02-01T00:00:00Z"}
        path = "/api/v1/shop/reports/abandoned-carts"
        manager = await as_role(Role.MANAGER)

        assert (await client.get(path, params=span, headers=await as_role(Role.EDITOR))).status_code == 403
        empty = await client.get(path, params=span, headers=manager)
        assert (empty.status_code, empty.json()["abandoned_count"]) == (200, 0)
        span = {"since": f"{moment:%Y}-01-01T00:00:00Z", "until": f"{moment.year + 1}-01-01T00:00:00Z"}
        full = (await client.get(path, params=span, headers=manager)).json()
        assert (full["abandoned_count"], full["recovered_count"], full["recovery_rate"]) == (2, 1, 5000)
        assert full["abandoned_value"] == [{"amount": "20.00", "currency": "USD"}]
        for since, until in (
            ("2026-01-01T00:00:00", "2026-02-01T00:00:00"),
            ("1767225600", "1769904000"),
            ("0001-01-01T00:00:00+14:00", "0001-01-02T00:00:00+14:00"),
            ("9999-12-30T00:00:00-12:00", "9999-12-31T23:00:00-12:00"),
        ):
            span = {"since": since, "until": until}
            assert (await client.get(path, params=span, headers=manager)).status_code == 422
