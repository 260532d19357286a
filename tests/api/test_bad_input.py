"""Bad queries, paths and tokens to every operation: the right 4xx, nothing written (S3). Bodies are in `test_bad_bodies.py`."""

import hashlib
from urllib.parse import quote

import httpx2
import pytest

from models.base import now
from models.blog.posts import PostStatus
from models.users import LoginSession, User
from services.mail import MemoryMailer
from services.settings import Settings
from tests.api.malformed import OPERATOR_TEXTS, by_turns, contents, fault, is_free_text, keyed, show
from tests.api.operations import path_values, valid_call
from tests.api.world import OPERATIONS, World
from tests.factories.blog import create_post
from tests.factories.users import create_session, open_session


@pytest.fixture
def world(settings: Settings, mailer: MemoryMailer) -> World:
    return World(settings, mailer)


@pytest.fixture
async def admin(world: World) -> dict[str, str]:
    """Nothing is refused to an admin for want of permission, so what is refused is refused for its form."""
    return {**await world.headers("admin"), "If-Match": "*"}


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
