"""Bad input to every operation, driven from the OpenAPI document: the right 4xx, no echo, nothing written (S3, S13)."""

import copy
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import pytest
from beanie import PydanticObjectId

from models.base import now
from models.blog.posts import PostStatus
from models.documents import DOCUMENTS
from models.ratelimits import RateWindow
from models.users import LoginRecord, LoginSession, User
from services.mail import MemoryMailer
from services.settings import Settings
from tests.api.operations import Call, path_values, valid_call
from tests.api.world import OPERATIONS, Operation, World, resolved
from tests.factories.blog import create_post
from tests.factories.users import create_session, open_session
from tests.races import rounds

CANARY = "canary7f3a91"  # stands in the values sent, and must not come back
OPERATORS: list[Any] = [{"$gt": CANARY}, {"$ne": None}, {"$where": f"'{CANARY}'"}, {"$regex": CANARY, "$options": "i"}]
OPERATOR_TEXTS = ['{"$gt": ""}', '{"$ne": null}', "$where", "[$ne]", "$eq", ".*", "'; db.users.drop()"]
PRIVILEGED = [
    "role",
    "is_active",
    "is_verified",
    "password_hash",
    "posts_count",
    "likes_count",
    "comments_count",
    "views_count",
    "status",
    "author_id",
    "user_id",
    "revision",
    "created_at",
    "locked_until",
    "id",
    "_id",
    "$set",
    "__proto__",
    # Of the shop: what is worked out, counted or decided there.
    "price",
    "unit_price",
    "cost_price",
    "subtotal",
    "discount",
    "discounts",
    "shipping",
    "tax",
    "total",
    "totals",
    "amount",
    "currency",
    "payment_status",
    "payment_id",
    "captured",
    "refundable",
    "refunded",
    "is_stock_taken",
    "on_hand",
    "reserved",
    "available",
    "usage_count",
    "sales_count",
    "rating_average",
    "is_approved",
    "loyalty_points",
    "total_spent",
    "customer_id",
    "seller_id",
    "secret",
]
UNWRITTEN = [document for document in DOCUMENTS if document not in (RateWindow, LoginRecord)]

WITH_BODY = [operation for operation in OPERATIONS if operation.body is not None]
T = TypeVar("T")
Body = dict[str, Any]
Path = tuple[str | int, ...]  # 0 stands for the first of a list


@dataclass(frozen=True)
class Bad:
    """One malformed body and what may be answered to it."""

    name: str
    content: bytes
    statuses: frozenset[int] = frozenset({422})
    content_type: str = "application/json"


def dumps(body: Any) -> bytes:
    return json.dumps(body).encode()


def leaves(schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, dict[str, Any], bool]]:
    """Every field of a body with its schema and whether it may be null: those of objects within it too, and of its lists."""
    for name, declared in schema.get("properties", {}).items():
        choices = [resolved(choice) for choice in declared.get("anyOf", [declared])]
        nullable = any(choice.get("type") == "null" for choice in choices)
        (field, *others) = [choice for choice in choices if choice.get("type") != "null"]
        if others:
            field = {"type": "any", "types": {choice["type"] for choice in (field, *others)}}
        yield (*path, name), field, nullable
        yield from leaves(field, (*path, name))
        if field.get("type") == "array":
            yield from leaves(resolved(field["items"]), (*path, name, 0))


def with_value(body: Body, path: Path, value: Any) -> Body:
    changed = copy.deepcopy(body)
    inner: Any = changed
    for name, following in itertools.pairwise(path):
        if following == 0:
            if not inner.get(name):
                inner[name] = [{}]
        elif name != 0 and not isinstance(inner.get(name), dict):
            inner[name] = {}
        inner = inner[name]
    inner[path[-1]] = value
    return changed


def objects(schema: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, set[str]]]:
    """The body, every object within it and the first of every list of them, with the names of its fields."""
    yield path, set(schema["properties"])
    for name, declared in schema["properties"].items():
        for choice in [resolved(choice) for choice in declared.get("anyOf", [declared])]:
            place: Path = (*path, name)
            if choice.get("type") == "array":
                place, choice = (*place, 0), resolved(choice["items"])
            if "properties" in choice:
                yield from objects(choice, place)


def fields(operation: Operation) -> list[tuple[Path, dict[str, Any], bool]]:
    assert operation.body is not None
    return list(leaves(operation.body))


def broken(operation: Operation, body: Body) -> Iterator[Bad]:
    whole = dumps(body)
    for content in (
        b"",
        b"{",
        whole[:-1],
        whole + b"}",
        b"nope",
        str(body).encode(),
        json.dumps(body).encode("utf-16"),
        b"{'a': 1}",
    ):
        yield Bad(f"broken {content[-8:]!r}", content, frozenset({400, 422}))


def other_shapes(operation: Operation, body: Body) -> Iterator[Bad]:
    shapes: list[Any] = [[], [body], CANARY, 1, None, True, {}]
    for shape in shapes:
        # Where every field may be left out, an empty object says nothing and is no mistake.
        if shape != {} or (operation.body or {}).get("required"):
            yield Bad(f"shape {str(shape)[:20]}", dumps(shape))


def missing(operation: Operation, body: Body) -> Iterator[Bad]:
    for name in (operation.body or {}).get("required", []):
        yield Bad(f"without {name}", dumps({key: value for key, value in body.items() if key != name}))


def wrong_types(operation: Operation, body: Body) -> Iterator[Bad]:
    for turn, (path, field, nullable) in enumerate(fields(operation)):
        kinds = field.get("types", {field["type"]})
        values: list[Any] = [[[CANARY]], {"other": [CANARY]}]
        if "string" not in kinds:
            values.append(CANARY)
        if field.get("format") != "date-time":  # numbers are times: seconds since 1970
            values += [] if kinds & {"integer", "number"} else [12345, 1.5]
            values += [] if kinds & {"integer", "number", "boolean"} else [True]
        if not nullable:
            values.append(None)
        for value in by_turns(values, turn, 2):
            yield Bad(f"{path} = {value}", dumps(with_value(body, path, value)))


def operators(operation: Operation, body: Body) -> Iterator[Bad]:
    for turn, (path, field, _) in enumerate(fields(operation)):
        for operator in by_turns(OPERATORS, turn, 2):
            value = [operator] if field["type"] == "array" else operator
            yield Bad(f"{path} = {operator}", dumps(with_value(body, path, value)))


def by_turns(values: list[T], turn: int, few: int) -> list[T]:
    """Some of the values, others at the next turn; all of them in a thorough run."""
    count = rounds(few, len(values))
    return [values[(turn * count + at) % len(values)] for at in range(count)]


def no_numbers(operation: Operation, body: Body) -> Iterator[Bad]:
    for turn, (path, _, _) in enumerate(fields(operation)):
        for text in by_turns([b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000], turn, 2):
            yield Bad(
                f"{path} = {text[:9]!r}",
                dumps(with_value(body, path, CANARY)).replace(dumps(CANARY), text),
                frozenset({400, 422}),
            )


def no_texts(operation: Operation, body: Body) -> Iterator[Bad]:
    texts = [b"\\ud800", b"\\udfff\\ud800", b"\\u0000", b"a\\u0000b", b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80"]
    for turn, (path, field, _) in enumerate(fields(operation)):
        if field["type"] not in ("string", "array"):
            continue
        for text in by_turns(texts, turn, 3):
            value = [CANARY] if field["type"] == "array" else CANARY
            content = dumps(with_value(body, path, value)).replace(CANARY.encode(), text)
            yield Bad(f"{path} = {text!r}", content, frozenset({400, 422}))


def too_long(operation: Operation, body: Body) -> Iterator[Bad]:
    for path, field, _ in fields(operation):
        if field["type"] == "string" and "format" not in field:
            yield Bad(f"{path} too long", dumps(with_value(body, path, CANARY * 20_000)))
        if field["type"] == "array":
            yield Bad(f"{path} too many", dumps(with_value(body, path, ["65f0c0ffee0ddba11ca7f00d"] * 20_000)))


def too_deep(operation: Operation, body: Body) -> Iterator[Bad]:
    depth = 50_000
    statuses = frozenset({400, 422})
    yield Bad("arrays", b"[" * depth + b"]" * depth, statuses)
    yield Bad("open arrays", b"[" * depth, statuses)
    yield Bad("objects", b'{"a":' * depth + b"1" + b"}" * depth, statuses)
    for path, _, _ in fields(operation)[:2]:
        nested = b"[" * depth + b"]" * depth
        yield Bad(f"{path} deep", dumps(with_value(body, path, CANARY)).replace(dumps(CANARY), nested), statuses)


def other_types(operation: Operation, body: Body) -> Iterator[Bad]:
    kinds = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", ""]
    for kind in [*kinds, "application/jsonp", "json", "text/json"]:
        yield Bad(f"as {kind}", dumps(body), frozenset({415}), kind)


KINDS: list[Callable[[Operation, Body], Iterator[Bad]]] = [
    broken,
    other_shapes,
    missing,
    wrong_types,
    operators,
    no_numbers,
    no_texts,
    too_long,
    too_deep,
    other_types,
]


def show(faults: dict[str, str]) -> str:
    """All of them, however many."""
    return "\n" + "\n".join(f"{name}\n    {what}" for name, what in faults.items())


def keyed(call: Call, headers: dict[str, str]) -> dict[str, str]:
    """These headers, with a new Idempotency-Key where the operation does not go without."""
    return {**headers, "Idempotency-Key": str(PydanticObjectId())} if call.is_keyed else headers


async def contents() -> dict[str, Any]:
    """Everything stored but what counts requests: a session's last sight is noted every five minutes."""
    return {document.__name__: await document.find_rows({}, sort=[("_id", 1)]) for document in UNWRITTEN}


def fault(answer: httpx2.Response, statuses: frozenset[int]) -> str | None:
    """What is wrong with the answer to bad input; None when nothing is."""
    if answer.status_code not in statuses:
        return f"{answer.status_code}: {answer.text[:200]}"
    if answer.headers["content-type"] != "application/problem+json" or not answer.json()["code"]:
        return "no problem"
    told = {key: value for key, value in answer.json().items() if key != "instance"}
    if CANARY in json.dumps(told) or len(answer.content) > 20_000:
        return f"echoes: {answer.text[:200]}"
    return None


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


def is_free_text(schema: dict[str, Any]) -> bool:
    """Whether any text may stand for the parameter."""
    choices = [resolved(choice) for choice in schema.get("anyOf", [schema])]
    choices += [resolved(choice["items"]) for choice in choices if choice.get("type") == "array"]
    return any(choice.get("type") == "string" and not {"enum", "pattern", "format"} & choice.keys() for choice in choices)


class TestQueries:
    async def test_bad_query_parameter_is_refused_or_found_nothing(
        self, client: httpx2.AsyncClient, world: World, admin: dict[str, str]
    ) -> None:
        faults, tried = {}, set()
        reading = [operation for operation in OPERATIONS if operation.query_parameters]
        calls = [(operation, await valid_call(operation, world)) for operation in reading]
        before = await contents()

        for turn, (operation, call) in enumerate(calls):
            for place, parameter in enumerate(operation.query_parameters):
                is_free = is_free_text(parameter["schema"])
                every = [*OPERATOR_TEXTS, "nope", "1e999", "NaN", "-1", "9" * 30, "1;2", "", "٣"]
                texts = [quote(text, safe="") for text in by_turns(every, turn + place, 5)]
                cases = {text: {200, 400, 404, 422} if is_free else {422} for text in texts}
                cases |= {"x" * 20_000: {422}, "%00": {422}, "a%00b": {422}}
                cases |= {raw: {200, 400, 404, 422} if is_free else {422} for raw in ("%ff", "%ed%a0%80", "%c0%80")}
                for text, statuses in cases.items():
                    rest = "".join(f"&{key}={value}" for key, value in call.query.items() if key != parameter["name"])
                    url = f"{call.path}?{parameter['name']}={text}{rest}"
                    if call.method != "GET" and 200 in statuses:
                        continue  # it would be done
                    answer = await client.request(call.method, url, headers=admin)
                    is_fine = answer.status_code == 200 and 200 in statuses
                    found = None if is_fine else fault(answer, frozenset(statuses))
                    if found is not None:
                        faults[f"{operation.id}: {parameter['name']}={text[:30]}"] = found
                tried.add(operation.id)

        assert faults == {}, show(faults)
        assert tried == {operation.id for operation in OPERATIONS if operation.query_parameters}
        assert await contents() == before

    async def test_operator_in_the_name_of_a_parameter_selects_nothing(
        self, client: httpx2.AsyncClient, admin: dict[str, str]
    ) -> None:
        """`author[$ne]=x` is a parameter that nobody asked for, not a condition: the answer is that without it."""
        for path in ("/api/v1/blog/posts", "/api/v1/users"):
            plain = await client.get(path, headers=admin)
            for name in ("author[$ne]", "role[$gt]", "search[$regex]", "$where"):
                answer = await client.get(f"{path}?{quote(name)}=x", headers=admin)
                assert (answer.status_code, answer.content) == (200, plain.content)

    @pytest.mark.parametrize("text", OPERATOR_TEXTS)
    async def test_operator_as_a_search_finds_nobody(self, client: httpx2.AsyncClient, admin: dict[str, str], text: str) -> None:
        await create_post(status=PostStatus.PUBLISHED)

        users = await client.get("/api/v1/users", params={"search": text}, headers=admin)
        by_author = await client.get("/api/v1/blog/posts", params={"author": text})
        by_tag = await client.get("/api/v1/blog/posts", params={"tag": text})

        assert [answer.json()["total_count"] for answer in (users, by_author, by_tag)] == [0, 0, 0]

    async def test_operator_as_a_login_lets_nobody_in(self, client: httpx2.AsyncClient, world: World) -> None:
        await world.person("member")

        for text in OPERATOR_TEXTS:
            answer = await client.post("/api/v1/auth/login", json={"login": text * 3, "password": text})
            assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")


class TestPaths:
    async def test_malformed_path_parameter_is_refused(
        self, client: httpx2.AsyncClient, world: World, admin: dict[str, str]
    ) -> None:
        addressed = [operation for operation in OPERATIONS if operation.path_parameters]
        calls = [(operation, await valid_call(operation, world)) for operation in addressed]
        before, faults = await contents(), {}

        for turn, (operation, call) in enumerate(calls):
            for place, parameter in enumerate(operation.path_parameters):
                is_free = is_free_text(parameter["schema"])
                texts = [*OPERATOR_TEXTS, "nope", "65f0", "0", "-1", "1.5", "9" * 30, "65f0c0ffee0ddba11ca7f00z", " ", "ü"]
                chosen = by_turns(texts, turn + place, 5)
                cases = {quote(text, safe=""): {404, 422} if is_free else {422} for text in chosen}
                cases |= {"x" * 5000: {422}, "%00": {422}, "%ff": {404, 422}, "%ed%a0%80": {404, 422}}
                for text, statuses in cases.items():
                    values = {key: quote(value, safe="") for key, value in (await path_values(operation, world, "")).items()}
                    path = operation.path.format(**{**values, parameter["name"]: text})
                    answer = await client.request(
                        call.method, path, params=call.query, json=call.body, headers=keyed(call, admin)
                    )
                    found = fault(answer, frozenset(statuses))
                    if found is not None:
                        faults[f"{operation.id}: {parameter['name']}={text[:30]}"] = found

        assert faults == {}, show(faults)
        assert await contents() == before


class TestTokens:
    @pytest.fixture
    async def forged(self, world: World) -> list[bytes]:
        """Tokens that are nobody's: made up, spoiled, over, and what a thief of the database would have."""
        member = await world.person("member")
        good = await create_session(member)
        over = (await open_session(member, now=now().replace(year=2020))).token
        ended = await open_session(member)
        await LoginSession.collection().delete_one({"_id": ended.session.id})
        gone = await world.person("stranger")
        left = await create_session(gone)
        await LoginSession.collection().delete_many({"user_id": gone.id})
        await User.collection().update_one({"_id": gone.id}, {"$set": {"is_active": False}})
        stored = (await LoginSession.find_rows({"user_id": member.id}, limit=1))[0]
        jwt = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhZG1pbiIsInJvbGUiOiJzdXBlcl9hZG1pbiJ9."
        texts = [
            "",
            "null",
            "undefined",
            '{"$ne": null}',
            "$ne",
            jwt,
            good[:-1],
            good + "A",
            good[::-1],
            good.swapcase(),
            f"{good} {good}",
            over,
            ended.token,
            left,
            str(stored["token_hash"]),
            hashlib.sha256(good.encode()).hexdigest(),
            str(stored["_id"]),
            str(member.id),
            "x" * 10_000,
        ]
        return [*(text.encode() for text in texts), b"\xff\xfe" * 20, "ключ".encode()]

    async def test_s3_forged_token_is_refused_by_every_operation(
        self, client: httpx2.AsyncClient, world: World, forged: list[bytes]
    ) -> None:
        guarded = [operation for operation in OPERATIONS if operation.needs_session]
        calls = [(operation, await valid_call(operation, world)) for operation in guarded]
        before = await contents()

        for number, (operation, call) in enumerate(calls):
            # Every token meets some operations, every operation meets several tokens.
            for token in forged[number % 4 :: 4]:
                headers = {b"Authorization": b"Bearer " + token}
                if call.is_keyed:
                    headers[b"Idempotency-Key"] = b"forged"
                answer = await client.request(call.method, call.path, params=call.query, json=call.body, headers=headers)
                assert fault(answer, frozenset({401})) is None, (operation.id, token[:30], answer.text)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["code"] == "unauthenticated"

        assert await contents() == before

    async def test_s3_every_forged_token_is_nobody(self, client: httpx2.AsyncClient, forged: list[bytes]) -> None:
        for token in forged:
            answer = await client.get("/api/v1/users/me", headers={b"Authorization": b"Bearer " + token})
            assert answer.status_code == 401, token[:30]

    @pytest.mark.parametrize("scheme", ["Basic", "Token", "Bearer:", "", "Digest"])
    async def test_token_under_another_scheme_is_refused(self, client: httpx2.AsyncClient, world: World, scheme: str) -> None:
        token = await create_session(await world.person("admin"))

        answer = await client.get("/api/v1/users/me", headers={"Authorization": f"{scheme} {token}".strip()})

        assert answer.status_code == 401

    async def test_token_in_the_query_is_refused(self, client: httpx2.AsyncClient, world: World) -> None:
        token = await create_session(await world.person("admin"))

        for name in ("token", "access_token", "authorization"):
            assert (await client.get("/api/v1/users/me", params={name: token})).status_code == 401
