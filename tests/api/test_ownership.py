"""Things of others named where no path leads to them: in bodies and by tokens (RELIABILITY S3). Paths are tried by the matrix."""

from typing import Any

import httpx2
import pytest
from beanie import PydanticObjectId

from models.database import Database
from models.ecommerce.orders import Order
from models.ecommerce.reviews import Review
from models.users import User
from services.mail import MemoryMailer
from services.settings import Settings
from tests.api.operations import ABSENT_ID, valid_call
from tests.api.samples.orders import VALUES as ORDER_VALUES
from tests.api.world import OPERATIONS, Operation, World
from tests.factories.catalog import create_product
from tests.factories.customers import create_address, create_customer, make_place
from tests.factories.reviews import create_bought

BY_ID: dict[str, Operation] = {operation.id: operation for operation in OPERATIONS}


@pytest.fixture
def world(settings: Settings, mailer: MemoryMailer, database: Database) -> World:
    return World(settings, mailer)


@pytest.fixture
async def owner(world: World) -> User:
    """Whose things are named; it is the member who names them."""
    return await world.person("stranger")


async def said(client: httpx2.AsyncClient, world: World, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    headers = {**await world.headers("member"), "Idempotency-Key": str(PydanticObjectId())}
    answer = await client.post(path, json=body, headers=headers)
    return answer.status_code, {name: value for name, value in answer.json().items() if name != "request_id"}


class TestBodies:
    @pytest.mark.parametrize("operation", ["checkout", "create_order"])
    @pytest.mark.parametrize("field", ["shipping_address_id", "billing_address_id"])
    async def test_s3_address_of_another_is_as_absent(
        self, client: httpx2.AsyncClient, world: World, owner: User, operation: str, field: str
    ) -> None:
        address = await create_address(await create_customer(user=owner))
        call = await valid_call(BY_ID[operation], world)
        body = {**(call.body or {}), "shipping_address": make_place().model_dump()}
        if field == "shipping_address_id":
            del body["shipping_address"]

        foreign = await said(client, world, call.path, {**body, field: str(address.id)})
        absent = await said(client, world, call.path, {**body, field: ABSENT_ID})

        assert foreign == absent
        assert foreign[0] in (400, 404)
        assert await Order.find_rows({}) == []

    async def test_s3_order_for_another_customer_is_as_for_an_absent_one(
        self, client: httpx2.AsyncClient, world: World, owner: User
    ) -> None:
        customer = await create_customer(user=owner)
        call = await valid_call(BY_ID["create_order"], world)

        foreign = await said(client, world, call.path, {**(call.body or {}), "customer_id": str(customer.id)})
        absent = await said(client, world, call.path, {**(call.body or {}), "customer_id": ABSENT_ID})

        assert foreign == absent
        assert foreign[0] in (403, 404)
        assert await Order.find_rows({}) == []

    async def test_s3_review_by_the_order_of_another_is_as_by_an_absent_one(
        self, client: httpx2.AsyncClient, world: World, owner: User
    ) -> None:
        product = await create_product()
        order = await create_bought(owner, product)
        path = f"/api/v1/shop/products/{product.id}/reviews"
        body = {"rating": 1, "title": "Not mine", "content": "Never had it."}

        foreign = await said(client, world, path, {**body, "order_id": str(order.id)})
        absent = await said(client, world, path, {**body, "order_id": ABSENT_ID})

        assert foreign == absent
        assert foreign[0] == 400
        assert await Review.find_rows({}) == []


class TestTokens:
    @pytest.mark.parametrize("token", ["", "0" * 43, "$ne", "null", "x" * 200])
    async def test_s3_order_is_not_shown_for_a_token_that_is_not_its_own(
        self, client: httpx2.AsyncClient, world: World, token: str
    ) -> None:
        operation = BY_ID["get_order"]
        order_id = await ORDER_VALUES["order_id"](world, operation, "")
        headers = {"X-Order-Token": token}

        shown = [(await client.get(f"/api/v1/orders/{id}", headers=headers)).json() for id in (order_id, ABSENT_ID)]

        assert [(answer["status"], answer["code"]) for answer in shown] == [(404, "order_not_found")] * 2

    @pytest.mark.parametrize("token", ["", "0" * 43, "$ne", "user:{member}", "guest:x"])
    async def test_s3_cart_is_empty_for_a_token_that_is_not_its_own(
        self, client: httpx2.AsyncClient, world: World, token: str
    ) -> None:
        await valid_call(BY_ID["checkout"], world)  # fills the member's cart
        member = await world.person("member")

        answer = await client.get("/api/v1/shop/cart", headers={"Cart-Token": token.format(member=member.id)})

        assert (answer.status_code, answer.json()["lines"]) == (200, [])
