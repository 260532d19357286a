"""Orders over HTTP, as customers, guests and staff see them."""

from typing import Any

import httpx2
import pytest
from beanie import PydanticObjectId
from fastapi import FastAPI

from models.database import Database
from models.ecommerce.catalog import Product
from models.ecommerce.orders import Order
from models.payments import Payment
from models.users import Role
from services.payments.gateways import Gateways
from tests.api.conftest import SignIn
from tests.books import all_of, differences
from tests.factories.carts import CART_TOKEN, create_cart
from tests.factories.checkout import TOKEN_DECLINED, TOKEN_OK, DoubleGateway, create_stocked
from tests.factories.customers import make_place
from tests.factories.orders import create_order

ORDERS = "/api/v1/orders"
CHECKOUT = "/api/v1/shop/checkout"


@pytest.fixture
def gateway(app: FastAPI) -> DoubleGateway:
    double = DoubleGateway()
    app.state.gateways = Gateways([double])
    return double


def keyed(headers: dict[str, str], key: str | None = None) -> dict[str, str]:
    return {**headers, "Idempotency-Key": key or str(PydanticObjectId())}


async def fill(client: httpx2.AsyncClient, headers: dict[str, str], product: Product, quantity: int = 1) -> dict[str, Any]:
    item = {"product_id": str(product.id), "variant_id": str(product.variants[0].id), "quantity": quantity}
    answer = await client.post("/api/v1/shop/cart/items", json=item, headers=headers)
    assert answer.status_code == 201, answer.text
    cart: dict[str, Any] = answer.json()
    return cart


def wish(**over: Any) -> dict[str, Any]:
    return {"payment_token": TOKEN_OK, "shipping_address": make_place().model_dump(), **over}


class TestCheckout:
    async def test_from_the_cart_to_the_door(
        self, client: httpx2.AsyncClient, as_role: SignIn, gateway: DoubleGateway, database: Database
    ) -> None:
        tee = await create_stocked(5, "20.00")
        customer, staff = await as_role(), await as_role(Role.MANAGER)
        cart = await fill(client, customer, tee, 2)

        placed = await client.post(CHECKOUT, json=wish(cart_revision=cart["revision"]), headers=keyed(customer, "one"))
        again = await client.post(CHECKOUT, json=wish(cart_revision=cart["revision"]), headers=keyed(customer, "one"))

        assert placed.status_code == 201, placed.text
        assert again.content == placed.content
        order = placed.json()["order"]
        assert order["totals"]["total"] == {"amount": "54.00", "currency": "USD"}  # 40.00 + 4.00 tax + 10.00 shipping
        assert (order["status"], order["payment_status"], placed.json()["guest_token"]) == ("confirmed", "completed", None)
        url = f"{ORDERS}/{order['id']}"
        for status in ("PROCESSING", "SHIPPED", "DELIVERED"):
            moved = await client.put(f"{url}/status", json={"status": status, "carrier": "DHL"}, headers=staff)
            assert moved.status_code == 200, moved.text
        tracking = (await client.get(f"{url}/tracking", headers=customer)).json()
        assert (tracking["status"], tracking["shipped_count"], tracking["parcels"][0]["carrier"]) == ("delivered", 2, "DHL")
        timeline = (await client.get(f"{url}/history", headers=customer)).json()
        assert [(step["new_status"], step["changed_by"]) for step in timeline] == [
            ("pending", "customer"),
            ("confirmed", "gateway:double"),
            ("processing", "staff"),
            ("shipped", "staff"),
            ("delivered", "staff"),
        ]
        told = (await client.get(f"{url}/explain", headers=customer)).json()
        assert sum(round(100 * float(step["amount"]["amount"])) for step in told["steps"]) == 5400
        assert await differences(gateway) == []

    async def test_key_is_needed_and_another_body_under_it_is_refused(
        self, client: httpx2.AsyncClient, as_role: SignIn, gateway: DoubleGateway
    ) -> None:
        """R6: the same key with another body is 422, another person's same key is theirs."""
        tee = await create_stocked(5)
        first, second = await as_role(), await as_role()
        for headers in (first, second):
            await fill(client, headers, tee)

        without = await client.post(CHECKOUT, json=wish(), headers=first)
        done = await client.post(CHECKOUT, json=wish(), headers=keyed(first, "same"))
        other_body = await client.post(CHECKOUT, json=wish(customer_notes="now"), headers=keyed(first, "same"))
        other_person = await client.post(CHECKOUT, json=wish(), headers=keyed(second, "same"))

        assert (without.status_code, without.json()["code"]) == (400, "idempotency_key_required")
        assert done.status_code == 201
        assert (other_body.status_code, other_body.json()["code"]) == (422, "idempotency_key_reused")
        assert other_person.status_code == 201
        assert other_person.json()["order"]["id"] != done.json()["order"]["id"]

    async def test_declined_card_is_final_under_its_key(
        self, client: httpx2.AsyncClient, as_role: SignIn, gateway: DoubleGateway
    ) -> None:
        tee = await create_stocked(5)
        headers = await as_role()
        await fill(client, headers, tee)

        answers = [
            await client.post(CHECKOUT, json=wish(payment_token=TOKEN_DECLINED), headers=keyed(headers, "bad")) for _ in range(2)
        ]

        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(400, "payment_declined")] * 2
        assert answers[1].headers["idempotent-replayed"] == "true"
        cart = (await client.get("/api/v1/shop/cart", headers=headers)).json()
        assert [line["quantity"] for line in cart["lines"]] == [1]
        assert gateway.calls == 1
        assert await differences(gateway) == []

    async def test_guest_reads_and_cancels_with_the_token(self, client: httpx2.AsyncClient, gateway: DoubleGateway) -> None:
        tee = await create_stocked(5)
        await create_cart((tee, 1))

        placed = await client.post(CHECKOUT, json=wish(email="jane@example.com"), headers=keyed({"Cart-Token": CART_TOKEN}))

        assert placed.status_code == 201, placed.text
        url, token = f"{ORDERS}/{placed.json()['order']['id']}", placed.json()["guest_token"]
        assert (await client.get(url)).status_code == 404
        assert (await client.get(url, headers={"X-Order-Token": "x" * 60})).status_code == 404
        assert (await client.get(url, headers={"X-Order-Token": token})).json()["status"] == "confirmed"
        cancelled = await client.delete(url, headers={"X-Order-Token": token})
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        assert cancelled.json()["payment_status"] == "refunded"
        assert await differences(gateway) == []

    @pytest.mark.parametrize(
        "field", ["total", "status", "payment_status", "discount", "currency", "number", "user_id", "is_held", "lines", "price"]
    )
    async def test_s3_fields_that_are_not_the_buyers_are_refused(
        self, client: httpx2.AsyncClient, as_role: SignIn, field: str
    ) -> None:
        headers = await as_role()

        for path, body in ((CHECKOUT, wish()), (ORDERS, {"items": [{"product_id": "65f0c0ffee0ddba11ca7f00d", "quantity": 1}]})):
            answer = await client.post(path, json={**body, field: "1"}, headers=keyed(headers))
            assert answer.status_code == 422

        assert await all_of(Order) == []


class TestSourceContract:
    """COM-A1: the five endpoints of the sources."""

    async def test_com_a1_create_read_list_move_and_cancel(
        self, client: httpx2.AsyncClient, as_role: SignIn, gateway: DoubleGateway
    ) -> None:
        laptop = await create_stocked(5, "999.99")
        customer, staff = await as_role(), await as_role(Role.MANAGER)
        body = {"items": [{"product_id": str(laptop.id), "quantity": 1, "unit_price": 999.99}]}

        created = await client.post(f"{ORDERS}/", json=body, headers=customer)
        assert created.status_code == 201, created.text
        url = f"{ORDERS}/{created.json()['id']}"
        read = await client.get(url, headers=customer)
        assert read.json() == created.json()
        listed = await client.get(f"{ORDERS}/", params={"status": "PENDING", "page": 1, "limit": 10}, headers=customer)
        assert [item["id"] for item in listed.json()["items"]] == [created.json()["id"]]
        unknown = await client.put(f"{url}/status", json={"status": "LOST"}, headers=staff)
        invalid = await client.put(f"{url}/status", json={"status": "SHIPPED"}, headers=staff)
        assert (unknown.status_code, invalid.status_code) == (422, 409)
        assert invalid.json()["code"] == "order_transition"
        cancelled = await client.delete(url, headers=customer)
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        assert (await client.delete(url, headers=customer)).json() == cancelled.json()
        assert await differences(gateway) == []

    async def test_com_a1_pending_order_is_paid_by_a_request_of_its_own(
        self, client: httpx2.AsyncClient, as_role: SignIn, gateway: DoubleGateway
    ) -> None:
        tee = await create_stocked(5)
        customer = await as_role()
        created = (
            await client.post(
                ORDERS, json={"items": [{"product_id": str(tee.id), "quantity": 1}]}, headers=keyed(customer, "place")
            )
        ).json()
        url = f"{ORDERS}/{created['id']}/payments"

        declined = await client.post(url, json={"payment_token": TOKEN_DECLINED}, headers=keyed(customer, "a"))
        paid = await client.post(url, json={"payment_token": TOKEN_OK}, headers=keyed(customer, "b"))
        twice = await client.post(url, json={"payment_token": TOKEN_OK}, headers=keyed(customer, "c"))

        assert (declined.status_code, declined.json()["code"]) == (400, "payment_declined")
        assert (paid.status_code, paid.json()["status"]) == (201, "confirmed")
        assert (twice.status_code, twice.json()["code"]) == (409, "order_not_payable")
        assert len(await all_of(Payment)) == 2
        assert await differences(gateway) == []

    @pytest.mark.parametrize(
        "items",
        [
            [],
            [{"quantity": 1}],
            [{"product_id": "65f0c0ffee0ddba11ca7f00d", "quantity": 0}],
            [{"product_id": "x", "quantity": 1}],
        ],
    )
    async def test_com_s19_empty_and_malformed_orders_are_422(
        self, client: httpx2.AsyncClient, as_role: SignIn, items: list[dict[str, Any]]
    ) -> None:
        answer = await client.post(ORDERS, json={"items": items}, headers=await as_role())

        assert answer.status_code == 422
        assert await all_of(Order) == []

    async def test_s3_foreign_orders_do_not_exist(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        order = await create_order(user_id=PydanticObjectId())
        headers = await as_role()

        for path in ("", "/history", "/tracking", "/explain"):
            foreign = await client.get(f"{ORDERS}/{order.id}{path}", headers=headers)
            absent = await client.get(f"{ORDERS}/{PydanticObjectId()}{path}", headers=headers)
            assert foreign.status_code == absent.status_code == 404
            assert foreign.json()["code"] == absent.json()["code"]
        assert (await client.delete(f"{ORDERS}/{order.id}", headers=headers)).status_code == 404
        assert (await client.get(ORDERS, headers=headers)).json()["total_count"] == 0


class TestDesk:
    async def test_com_s24_bulk_and_export(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        good, bad = await create_order(status="confirmed"), await create_order(status="delivered")
        staff = await as_role(Role.MANAGER)
        body = {"order_ids": [str(good.id), str(bad.id)], "status": "PROCESSING"}

        moved = await client.post(f"{ORDERS}/bulk-status", json=body, headers=keyed(staff))
        table = await client.get(f"{ORDERS}/export", params={"status": "PROCESSING"}, headers=staff)

        assert [(row["is_moved"], row["code"]) for row in moved.json()["rows"]] == [(True, None), (False, "order_transition")]
        assert table.headers["content-type"].startswith("text/csv")
        assert [line.split(",")[0] for line in table.text.splitlines()] == ["number", good.number]
