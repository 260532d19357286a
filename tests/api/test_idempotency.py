"""Idempotency-Key over HTTP: one effect per key, the same bytes again, and what it does not reach (RELIABILITY R6)."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from api.app import create_app
from models.blog.comments import Comment
from models.blog.posts import Post, PostRevision, PostSlug, PostStatus
from models.blog.taxonomy import Tag
from models.database import Database
from models.events import Event
from models.idempotency import IdempotentAnswer
from models.users import LoginSession, Role, User
from services.cache import clear_all_caches
from services.mail import MemoryMailer
from services.settings import Settings
from tests.api.conftest import Headers, SignIn
from tests.api.operations import valid_call
from tests.api.world import OPERATIONS, World
from tests.factories.blog import create_post
from tests.factories.users import PASSWORD, create_login_user, create_session, create_user

POSTS = "/api/v1/blog/posts"


@dataclass(frozen=True)
class Effect:
    """An operation that creates, who may call it, and what it leaves behind."""

    path: str
    body: dict[str, Any]
    other_body: dict[str, Any]
    wrong_body: dict[str, Any]
    headers: Headers
    others_headers: Headers
    leaves: dict[str, int]  # how much one effect adds to each collection

    def keyed(self, key: str) -> Headers:
        return {**self.headers, "Idempotency-Key": key}

    async def stored(self) -> dict[str, int]:
        documents = [Post, PostSlug, PostRevision, Tag, Comment, Event]
        return {document.__name__: len(await document.find_rows({})) for document in documents}

    async def happened(self, before: dict[str, int]) -> float:
        """How many times the effect was had since `before`; every collection must agree."""
        after = await self.stored()
        times = {(after[name] - before[name]) / count for name, count in self.leaves.items()}
        assert len(times) == 1, (before, after)
        untouched = before.keys() - self.leaves.keys()
        assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}
        return times.pop()


@pytest.fixture(params=["post", "comment"])
async def effect(request: pytest.FixtureRequest, database: Database, as_role: SignIn) -> Effect:
    if request.param == "post":
        await Tag(name="Échos", slug="echos").store()
        return Effect(
            path=POSTS,
            body={"title": "Once", "content": "Said once.", "status": "published", "tag_names": ["Échos"]},
            other_body={"title": "Twice", "content": "Said once.", "status": "published", "tag_names": ["Échos"]},
            wrong_body={"title": "Once", "content": "Said once.", "category_id": "65f0c0ffee0ddba11ca7f00d"},
            headers=await as_role(Role.AUTHOR),
            others_headers=await as_role(Role.AUTHOR),
            leaves={"Post": 1, "PostSlug": 1, "PostRevision": 1, "Event": 2},  # created and published
        )
    post = await create_post(status=PostStatus.PUBLISHED)
    return Effect(
        path=f"{POSTS}/{post.id}/comments",
        body={"content": "Said once: **é**."},
        other_body={"content": "Said twice."},
        wrong_body={"content": "A reply.", "parent_id": "65f0c0ffee0ddba11ca7f00d"},
        headers=await as_role(Role.EDITOR),
        others_headers=await as_role(Role.EDITOR),
        leaves={"Comment": 1, "Event": 2},  # created and approved
    )


@contextlib.asynccontextmanager
async def reborn(settings: Settings, database: Database) -> AsyncIterator[httpx2.AsyncClient]:
    """A client on an application that was started anew on the same database."""
    app = create_app(settings, database=database)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app, client=("203.0.113.7", 50_001)), base_url="http://agora.test"
        ) as connected,
    ):
        yield connected


def kept(answer: httpx2.Response) -> tuple[int, bytes, dict[str, str]]:
    """What must be the same when an answer is given again: all but what belongs to the request that asks for it."""
    own = {"x-request-id", "idempotent-replayed", "ratelimit", "ratelimit-policy"}
    return answer.status_code, answer.content, {name: value for name, value in answer.headers.items() if name not in own}


class TestReplay:
    async def test_r6_replay_is_byte_identical_and_has_no_second_effect(self, client: httpx2.AsyncClient, effect: Effect) -> None:
        before = await effect.stored()

        first = await client.post(effect.path, json=effect.body, headers=effect.keyed("k"))
        again = [await client.post(effect.path, json=effect.body, headers=effect.keyed("k")) for _ in range(3)]

        assert first.status_code == 201
        assert "idempotent-replayed" not in first.headers
        assert [kept(answer) for answer in again] == [kept(first)] * 3
        assert {answer.headers["Idempotent-Replayed"] for answer in again} == {"true"}
        assert len({answer.headers["X-Request-ID"] for answer in [first, *again]}) == 4
        assert await effect.happened(before) == 1

    async def test_replay_is_the_first_answer_even_when_things_have_moved_on(
        self, client: httpx2.AsyncClient, effect: Effect
    ) -> None:
        first = await client.post(effect.path, json=effect.body, headers=effect.keyed("k"))
        document: type[Post] | type[Comment] = Post if effect.path == POSTS else Comment
        await document.collection().update_one({"slug": "once"} if document is Post else {}, {"$set": {"content": "Changed."}})

        again = await client.post(effect.path, json=effect.body, headers=effect.keyed("k"))

        assert kept(again) == kept(first)

    async def test_without_a_key_each_request_has_its_effect(self, client: httpx2.AsyncClient, effect: Effect) -> None:
        before = await effect.stored()

        for _ in range(2):
            assert (await client.post(effect.path, json=effect.body, headers=effect.headers)).status_code == 201

        assert await effect.happened(before) == 2
        assert await IdempotentAnswer.find_rows({}) == []

    async def test_r6_survives_a_restart(
        self, client: httpx2.AsyncClient, effect: Effect, settings: Settings, database: Database
    ) -> None:
        before = await effect.stored()
        first = await client.post(effect.path, json=effect.body, headers=effect.keyed("k"))
        clear_all_caches()

        async with reborn(settings, database) as other:
            again = await other.post(effect.path, json=effect.body, headers=effect.keyed("k"))
            differs = await other.post(effect.path, json=effect.other_body, headers=effect.keyed("k"))

        assert kept(again) == kept(first)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (differs.status_code, differs.json()["code"]) == (422, "idempotency_key_reused")
        assert await effect.happened(before) == 1


class TestTwins:
    async def test_r6_fifty_parallel_twins_have_one_effect(self, client: httpx2.AsyncClient, effect: Effect) -> None:
        for number in range(3):
            before = await effect.stored()
            headers = effect.keyed(f"round-{number}")

            answers = await asyncio.gather(*(client.post(effect.path, json=effect.body, headers=headers) for _ in range(50)))

            given = [answer for answer in answers if answer.status_code == 201]
            refused = [answer for answer in answers if answer.status_code != 201]
            assert len({answer.content for answer in given}) == 1
            assert sum("idempotent-replayed" not in answer.headers for answer in given) == 1
            assert {(answer.status_code, answer.json()["code"]) for answer in refused} <= {(409, "idempotency_in_progress")}
            assert {answer.headers["Retry-After"] for answer in refused} <= {"1"}
            last = await client.post(effect.path, json=effect.body, headers=headers)
            assert last.content == given[0].content
            assert await effect.happened(before) == 1

    async def test_twins_over_two_applications_have_one_effect(
        self, client: httpx2.AsyncClient, effect: Effect, settings: Settings, database: Database
    ) -> None:
        before = await effect.stored()

        async with reborn(settings, database) as other:
            answers = await asyncio.gather(
                *(
                    (client, other)[number % 2].post(effect.path, json=effect.body, headers=effect.keyed("k"))
                    for number in range(30)
                )
            )

        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
        assert await effect.happened(before) == 1


class TestOtherRequests:
    async def test_r6_other_body_under_the_same_key_is_refused(self, client: httpx2.AsyncClient, effect: Effect) -> None:
        before = await effect.stored()
        await client.post(effect.path, json=effect.body, headers=effect.keyed("k"))

        other = await client.post(effect.path, json=effect.other_body, headers=effect.keyed("k"))
        query = await client.post(f"{effect.path}?x=1", json=effect.body, headers=effect.keyed("k"))

        for answer in (other, query):
            assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
            assert answer.headers["content-type"] == "application/problem+json"
        assert await effect.happened(before) == 1

    async def test_r6_same_key_of_another_user_is_independent(self, client: httpx2.AsyncClient, effect: Effect) -> None:
        before = await effect.stored()

        mine = await client.post(effect.path, json=effect.body, headers=effect.keyed("k"))
        theirs = await client.post(effect.path, json=effect.body, headers={**effect.others_headers, "Idempotency-Key": "k"})
        differing = await client.post(
            effect.path, json=effect.other_body, headers={**effect.others_headers, "Idempotency-Key": "k"}
        )

        assert (mine.status_code, theirs.status_code, differing.status_code) == (201, 201, 422)
        assert "idempotent-replayed" not in theirs.headers
        assert mine.json()["id"] != theirs.json()["id"]
        assert await effect.happened(before) == 2

    async def test_key_follows_the_person_over_sessions_and_not_the_address(
        self, client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        post = await create_post(status=PostStatus.PUBLISHED)
        guest = {"content": "Said once.", "guest": {"name": "Ada", "email": "ada@example.com"}}
        path, key = f"{POSTS}/{post.id}/comments", {"Idempotency-Key": "k"}
        await create_login_user(settings=settings, username="jane", role=Role.EDITOR)
        login = {"login": "jane", "password": PASSWORD}
        tokens = [(await client.post("/api/v1/auth/login", json=login)).json()["token"] for _ in range(2)]

        by_guest = [await client.post(path, json=guest, headers=key) for _ in range(2)]
        by_jane = [await client.post(path, json=guest, headers={**key, "Authorization": f"Bearer {token}"}) for token in tokens]

        assert by_guest[0].content == by_guest[1].content
        assert by_jane[0].content == by_jane[1].content
        assert by_guest[0].json()["id"] != by_jane[0].json()["id"]
        assert len(await Comment.find_rows({})) == 2


class TestRefusals:
    async def test_refusal_is_not_stored_and_the_key_is_free_again(self, client: httpx2.AsyncClient, effect: Effect) -> None:
        before = await effect.stored()

        malformed = await client.post(effect.path, json={}, headers=effect.keyed("k"))
        wrong = await client.post(effect.path, json=effect.wrong_body, headers=effect.keyed("k"))
        assert (malformed.status_code, wrong.status_code) == (422, 404)
        assert await IdempotentAnswer.find_rows({}) == []
        assert await effect.stored() == before

        right = await client.post(effect.path, json=effect.body, headers=effect.keyed("k"))
        assert right.status_code == 201
        assert "idempotent-replayed" not in right.headers
        assert await effect.happened(before) == 1

    async def test_denial_is_not_stored(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        headers = {**await as_role(Role.USER), "Idempotency-Key": "k"}

        answer = await client.post(POSTS, json={"title": "A", "content": "B"}, headers=headers)
        unknown = await client.post(POSTS, json={"title": "A", "content": "B"}, headers={"Idempotency-Key": "k"})

        assert (answer.status_code, unknown.status_code) == (403, 401)
        assert await IdempotentAnswer.find_rows({}) == []
        assert await Post.find_rows({}) == []

    @pytest.mark.parametrize("key", [b"", b"x" * 256, b"two words", b"tab\there", "ключ".encode(), b"\xff", b"del\x7f"])
    async def test_impossible_key_is_refused(self, client: httpx2.AsyncClient, effect: Effect, key: bytes) -> None:
        before = await effect.stored()
        headers = {name.encode(): value.encode() for name, value in effect.headers.items()}

        answer = await client.post(effect.path, json=effect.body, headers={**headers, b"Idempotency-Key": key})

        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")
        assert await effect.stored() == before
        assert await IdempotentAnswer.find_rows({}) == []

    async def test_longest_key_is_taken(self, client: httpx2.AsyncClient, effect: Effect) -> None:
        answer = await client.post(effect.path, json=effect.body, headers=effect.keyed("~" * 255))

        assert answer.status_code == 201


class TestWhoMayComesFirst:
    """Who are you (401), may you (403), and only then: what of the key (400)."""

    async def test_no_key_is_asked_of_who_may_not_call_a_gateway(
        self, client: httpx2.AsyncClient, settings: Settings, mailer: MemoryMailer
    ) -> None:
        world = World(settings, mailer)
        told: dict[str, tuple[int, ...]] = {}

        for operation in OPERATIONS:
            if operation.needs_key:
                call = dataclasses.replace(await valid_call(operation, world), is_keyed=False)
                callers = ["anonymous", "stranger", "admin"]
                told[operation.id] = tuple([(await call.send(client, await world.headers(who))).status_code for who in callers])

        anyones = {name for name, statuses in told.items() if statuses == (400, 400, 400)}
        assert anyones == {"checkout", "pay_order"}
        staffs = {name: statuses for name, statuses in told.items() if name not in anyones}
        assert staffs == dict.fromkeys(
            [
                "approve_fraud_review",
                "capture_payment",
                "change_many_statuses",
                "refund_payment",
                "refund_return",
                "repair_drift",
                "void_payment",
            ],
            (401, 403, 400),
        )
        assert await IdempotentAnswer.find_rows({}) == []

    async def test_impossible_key_is_not_told_to_who_may_not(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        key = {"Idempotency-Key": "two words"}
        callers = [key, {**await as_role(Role.USER), **key}, {**await as_role(Role.AUTHOR), **key}]

        answers = [await client.post(POSTS, json={"title": "A", "content": "B"}, headers=caller) for caller in callers]

        assert [answer.status_code for answer in answers] == [401, 403, 400]

    async def test_stored_answer_is_not_given_to_who_may_no_longer(
        self, client: httpx2.AsyncClient, database: Database, as_role: SignIn
    ) -> None:
        user = await create_user(role=Role.AUTHOR)
        body, key = {"title": "Once", "content": "Said once."}, {"Idempotency-Key": "k"}
        headers = {"Authorization": f"Bearer {await create_session(user)}", **key}
        first = await client.post(POSTS, json=body, headers=headers)
        moved = await client.put(f"/api/v1/users/{user.id}/role", json={"role": "user"}, headers=await as_role(Role.ADMIN))
        demoted = User.from_row(await User.find_row({"_id": user.id}) or {})

        ended = await client.post(POSTS, json=body, headers=headers)
        again = await client.post(POSTS, json=body, headers={"Authorization": f"Bearer {await create_session(demoted)}", **key})

        assert (first.status_code, moved.status_code) == (201, 200)
        assert (ended.status_code, again.status_code) == (401, 403)


class TestWhatAKeyDoesNotReach:
    async def test_answers_of_auth_are_not_stored(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        """They hold tokens: each login is a session of its own, and no token lies in the database."""
        user = await create_login_user(settings=settings)
        body = {"login": user.username, "password": PASSWORD}

        answers = [await client.post("/api/v1/auth/login", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]

        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].json()["token"] != answers[1].json()["token"]
        assert not any("idempotent-replayed" in answer.headers for answer in answers)
        assert len(await LoginSession.find_rows({"user_id": user.id})) == 2
        assert await IdempotentAnswer.find_rows({}) == []

    async def test_failed_logins_under_one_key_are_each_counted(self, client: httpx2.AsyncClient, settings: Settings) -> None:
        user = await create_login_user(settings=settings)
        body = {"login": user.username, "password": "wrong password"}

        for _ in range(3):
            assert (await client.post("/api/v1/auth/login", json=body, headers={"Idempotency-Key": "k"})).status_code == 401

        row = await User.find_row({"_id": user.id}, {"failed_login_attempts": 1})
        assert row is not None
        assert row["failed_login_attempts"] == 3

    async def test_methods_that_may_be_repeated_anyway_ignore_it(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        post = await create_post(status=PostStatus.PUBLISHED)
        headers = {**await as_role(Role.USER), "Idempotency-Key": "k"}

        answers = [await client.put(f"{POSTS}/{post.id}/like", headers=headers) for _ in range(2)]
        answers.append(await client.get(POSTS, headers=headers))

        assert [answer.status_code for answer in answers] == [200] * 3
        assert not any("idempotent-replayed" in answer.headers for answer in answers)
        assert await IdempotentAnswer.find_rows({}) == []

    async def test_toggle_under_a_key_turns_over_once(self, client: httpx2.AsyncClient, as_role: SignIn) -> None:
        """What is not safe to repeat becomes so."""
        post = await create_post(status=PostStatus.PUBLISHED)
        headers = {**await as_role(Role.USER), "Idempotency-Key": "k"}

        answers = [await client.post(f"{POSTS}/{post.id}/like", headers=headers) for _ in range(2)]

        assert [answer.json()["liked"] for answer in answers] == [True, True]
        stored = await Post.find_row({"_id": post.id}, {"likes_count": 1})
        assert stored is not None
        assert stored["likes_count"] == 1
