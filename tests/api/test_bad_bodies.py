"""Malformed bodies to every operation, driven from the OpenAPI document: the right 4xx, no echo, nothing written (S3, S13)."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pytest

from services.mail import MemoryMailer
from services.settings import Settings
from tests.api.malformed import (
    CANARY,
    KINDS,
    PRIVILEGED,
    WITH_BODY,
    Bad,
    Body,
    contents,
    fault,
    fields,
    keyed,
    objects,
    show,
    with_value,
)
from tests.api.operations import valid_call
from tests.api.world import Operation, World

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def world(settings: Settings, mailer: MemoryMailer) -> World:
    return World(settings, mailer)


@pytest.fixture
async def admin(world: World) -> dict[str, str]:
    """Nothing is refused to an admin for want of permission, so what is refused is refused for its form."""
    return {**await world.headers("admin"), "If-Match": "*"}


class TestBodies:
    @pytest.mark.parametrize("kind", KINDS)
    async def test_s13_bad_body_is_refused_and_writes_nothing(
        self,
        client: httpx2.AsyncClient,
        world: World,
        admin: dict[str, str],
        kind: Callable[[Operation, Body], Iterator[Bad]],
    ) -> None:
        calls = [(operation, await valid_call(operation, world)) for operation in WITH_BODY]
        before, faults, tried = await contents(), {}, 0

        for operation, call in calls:
            assert call.body is not None
            for bad in kind(operation, call.body):
                headers = keyed(call, {**admin, "Content-Type": bad.content_type})
                answer = await client.request(call.method, call.path, content=bad.content, headers=headers)
                tried += 1
                found = fault(answer, bad.statuses)
                if found is not None:
                    faults[f"{operation.id}: {bad.name}"] = found

        assert faults == {}, show(faults)
        assert tried >= len(WITH_BODY) - 6  # six of them require no field
        assert await contents() == before

    async def test_s13_body_over_the_limit_is_refused_by_every_operation(
        self, client: httpx2.AsyncClient, world: World, admin: dict[str, str], settings: Settings
    ) -> None:
        calls = [(operation, await valid_call(operation, world)) for operation in WITH_BODY]
        before = await contents()
        content = b'{"title": "' + CANARY.encode() + b"x" * settings.max_body_bytes + b'"}'

        for operation, call in calls:
            headers = keyed(call, {**admin, "Content-Type": "application/json"})
            answer = await client.request(call.method, call.path, content=content, headers=headers)
            assert fault(answer, frozenset({413})) is None, (operation.id, answer.status_code)

        assert await contents() == before

    async def test_s13_chunked_body_over_the_limit(
        self, client: httpx2.AsyncClient, admin: dict[str, str], settings: Settings
    ) -> None:
        read = 0

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal read
            yield b'{"title": "'
            for _ in range(10 * settings.max_body_bytes // 65_536):
                read += 65_536
                yield b"x" * 65_536

        before = await contents()
        headers = {**admin, "Content-Type": "application/json"}
        answer = await client.post("/api/v1/blog/posts", content=chunks(), headers=headers)

        assert fault(answer, frozenset({413})) is None
        assert await contents() == before

    async def test_refused_body_under_a_key_stores_no_answer(
        self, client: httpx2.AsyncClient, world: World, admin: dict[str, str]
    ) -> None:
        calls = [(operation, await valid_call(operation, world)) for operation in WITH_BODY if operation.method == "POST"]
        before = await contents()

        for operation, call in calls:
            body = {**(call.body or {}), "is_admin": True}
            answer = await client.post(call.path, json=body, headers={**admin, "Idempotency-Key": operation.id})
            assert fault(answer, frozenset({422})) is None, operation.id

        assert await contents() == before

    async def test_s3_privileged_field_is_named_in_the_refusal(
        self, client: httpx2.AsyncClient, world: World, admin: dict[str, str]
    ) -> None:
        """Refused for being unknown wherever it stands in the body, and not by luck for something else."""
        calls = [(operation, await valid_call(operation, world)) for operation in WITH_BODY]
        before, tried = await contents(), 0

        for operation, call in calls:
            for place, known in objects(operation.body or {}):
                above = "".join(f"/{part}" for part in place)
                for some in (PRIVILEGED[::2], PRIVILEGED[1::2]):  # an answer names no more than 50
                    names = [name for name in some if name not in known]
                    body = call.body or {}
                    for name in names:
                        body = with_value(body, (*place, name), CANARY)
                    answer = await client.request(call.method, call.path, json=body, headers=keyed(call, admin))
                    assert answer.status_code == 422, (operation.id, place)
                    tried += len(names)
                    said = {(error["pointer"], error["code"]) for error in answer.json()["errors"]}
                    if (above, "value_error") not in said:  # money says all that is wrong with it in one sentence
                        assert {(f"{above}/{name}", "extra_forbidden") for name in names} <= said, (operation.id, place)

        assert tried > 40 * len(WITH_BODY)
        assert await contents() == before

    @pytest.mark.parametrize(
        ("operation_id", "change"),
        [
            ("create_post", {"status": "archived"}),
            ("create_post", {"status": "trashed"}),
            ("create_user", {"role": "owner"}),
            ("change_user_role", {"role": "root"}),
            ("moderate_comments", {"action": "approve_all"}),
            ("create_comment_ban", {"kind": "everyone"}),
            ("lock_user", {"minutes": -5}),
            ("add_to_cart", {"quantity": 0}),
            ("add_to_cart", {"quantity": 10**12}),
            ("change_order_status", {"status": "teleported"}),
            ("change_many_statuses", {"status": "paid"}),
            ("create_order", {"items": []}),
            ("pay_order", {"payment_method": "promise"}),
            ("refund_payment", {"amount": {"amount": "0.00", "currency": "USD"}}),
            ("refund_payment", {"amount": {"amount": "-5.00", "currency": "USD"}}),
            ("refund_payment", {"amount": {"amount": "1.001", "currency": "USD"}}),
            ("refund_payment", {"amount": {"amount": "1e3", "currency": "USD"}}),
            ("refund_return", {"amount": {"amount": "5.00", "currency": "ZZZ"}}),
            ("request_return", {"lines": []}),
            ("create_coupon", {"rule": {"kind": "percentage", "rate": 10_001}}),
            ("create_coupon", {"rule": {"kind": "everything"}}),
            ("create_review", {"rating": 6}),
            ("create_stock_write_off", {"quantity": -1}),
            ("create_webhook_endpoint", {"topics": ["order.invented"]}),
        ],
    )
    async def test_s3_value_outside_the_list_is_refused(
        self, client: httpx2.AsyncClient, world: World, admin: dict[str, str], operation_id: str, change: Body
    ) -> None:
        operation = next(operation for operation in WITH_BODY if operation.id == operation_id)
        call = await valid_call(operation, world)
        before = await contents()

        answer = await client.request(call.method, call.path, json={**(call.body or {}), **change}, headers=keyed(call, admin))

        assert answer.status_code == 422
        assert await contents() == before


class TestTypes:
    @pytest.mark.parametrize(
        ("kind", "wrong", "code", "some"),
        [
            ("integer", [True, "1"], "int_type", {("add_to_cart", "/quantity"), ("create_product", "/variants/0/weight_grams")}),
            ("boolean", [1, "true"], "bool_type", {("update_category", "/is_active"), ("create_coupon", "/is_combinable")}),
        ],
    )
    async def test_text_and_other_scalars_are_no_numbers_and_no_truth_values(
        self,
        client: httpx2.AsyncClient,
        world: World,
        admin: dict[str, str],
        kind: str,
        wrong: list[Any],
        code: str,
        some: set[tuple[str, str]],
    ) -> None:
        calls = [(operation, await valid_call(operation, world)) for operation in WITH_BODY]
        before, tried, taken = await contents(), set(), []

        for operation, call in calls:
            places = [path for path, field, _ in fields(operation) if field["type"] == kind]
            for value in wrong:
                for path in places:
                    body = with_value(call.body or {}, path, value)
                    answer = await client.request(call.method, call.path, json=body, headers=keyed(call, admin))
                    pointer = "".join(f"/{part}" for part in path)
                    errors = answer.json()["errors"] if answer.status_code == 422 else []
                    # Named in the refusal, so that it is not refused for something else that is missing beside it.
                    if not any(error["pointer"] == pointer and error["code"] == code for error in errors):
                        taken.append((operation.id, pointer, value, answer.text[:300]))
                    tried.add((operation.id, pointer))

        assert taken == []
        assert some <= tried
        assert await contents() == before

    async def test_whole_number_may_be_written_with_a_point(
        self, client: httpx2.AsyncClient, world: World, admin: dict[str, str]
    ) -> None:
        """JSON Schema calls 3.0 an integer, and some languages write no other."""
        operation = next(operation for operation in WITH_BODY if operation.id == "lock_user")
        call = await valid_call(operation, world)

        answers = [
            await client.request(call.method, call.path, content=b'{"minutes": %s}' % text, headers={**admin, **JSON})
            for text in (b"3.0", b"3.5")
        ]

        assert [answer.status_code for answer in answers] == [200, 422]

    async def test_numbers_and_truth_values_in_a_query_are_text(self, client: httpx2.AsyncClient, admin: dict[str, str]) -> None:
        answers = [
            await client.get(path, headers=admin)
            for path in ("/api/v1/blog/posts?page=1", "/api/v1/users?is_active=true", "/api/v1/users?is_active=x")
        ]

        assert [answer.status_code for answer in answers] == [200, 200, 422]
