"""Idempotency-Key: one effect per key, its answer given again byte for byte, races and crashes included."""

import asyncio
import contextvars
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from beanie import PydanticObjectId

from models.base import now
from models.blog.taxonomy import Tag
from models.database import Database, run_transaction
from models.idempotency import IdempotentAnswer, KeyHolder
from services import idempotency
from services.idempotency import (
    Answer,
    Claim,
    IdempotencyInProgressError,
    IdempotencyKeyReusedError,
    IdempotencyService,
    InvalidIdempotencyKeyError,
    KeyedRequest,
)
from tests.claims import another_process

SECRET = b"a-secret-for-tests-only"


@pytest.fixture(autouse=True)
def life(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Some of these tests leave claims behind on which nobody works; they end with the process of the test."""
    monkeypatch.setattr(idempotency, "TWIN_WAITS_SECONDS", 0.1)
    with another_process():
        yield


def make_request(
    key: str = "k1", *, caller: str = "user-1", path: str = "/api/v1/tags", query: bytes = b"", body: bytes = b"{}"
) -> KeyedRequest:
    return KeyedRequest(key=key, caller=caller, method="POST", path=path, query=query, body=body)


async def create_tag() -> Answer:
    """The effect under test: one more tag, which nothing but the key makes unique."""
    number = PydanticObjectId()
    tag = Tag(id=number, name="tag", slug=str(number))

    async def work(session: object) -> None:
        await tag.store(session=session)

    await run_transaction(work)
    return Answer(
        201,
        {"content-type": "application/json", "location": f"/tags/{tag.id}"},
        b'{"id":"%b","\xc3\xa9":1}' % str(tag.id).encode(),
    )


async def run(request: KeyedRequest, *, now: datetime | None = None) -> Answer:
    return await IdempotencyService.run(request, work=create_tag, secret=SECRET, now=now)


async def outcomes(*requests: KeyedRequest) -> list[Answer | BaseException]:
    return await asyncio.gather(*(run(request) for request in requests), return_exceptions=True)


class TestRun:
    async def test_replay_is_byte_identical_and_has_no_second_effect(self, database: Database) -> None:
        first = await run(make_request())
        second = await run(make_request())

        assert (second.status, second.headers, second.body) == (first.status, first.headers, first.body)
        assert (first.is_replay, second.is_replay) == (False, True)
        assert len(await Tag.find_rows({})) == 1

    async def test_r6_fifty_twins_have_one_effect(self, database: Database) -> None:
        for round_number in range(5):
            request = make_request(f"round-{round_number}")

            answers = await outcomes(*[request] * 50)

            given = {answer.body for answer in answers if isinstance(answer, Answer)}
            refused = [answer for answer in answers if not isinstance(answer, Answer)]
            assert len(given) == 1
            assert all(isinstance(error, IdempotencyInProgressError) for error in refused)
            assert (await run(request)).body in given
            assert len(await Tag.find_rows({})) == round_number + 1

    async def test_twin_waits_and_is_given_the_answer(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(idempotency, "TWIN_WAITS_SECONDS", 10)
        began, may_end = asyncio.Event(), asyncio.Event()

        async def slow() -> Answer:
            began.set()
            await may_end.wait()
            return await create_tag()

        first = asyncio.create_task(IdempotencyService.run(make_request(), work=slow, secret=SECRET))
        await began.wait()
        twins = [asyncio.create_task(run(make_request())) for _ in range(50)]
        await asyncio.sleep(0.2)
        assert not any(twin.done() for twin in twins)
        may_end.set()

        answers = await asyncio.gather(*twins)
        assert {answer.body for answer in answers} == {(await first).body}
        assert all(answer.is_replay for answer in answers)
        assert len(await Tag.find_rows({})) == 1

    async def test_twins_of_what_failed_have_one_effect(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each may try, one after the other, until one succeeds."""
        monkeypatch.setattr(idempotency, "TWIN_WAITS_SECONDS", 10)
        tries: list[int] = []

        async def fail_at_first() -> Answer:
            tries.append(1)
            await asyncio.sleep(0)
            if len(tries) < 3:
                raise LookupError
            return await create_tag()

        calls = [IdempotencyService.run(make_request(), work=fail_at_first, secret=SECRET) for _ in range(20)]
        answers = await asyncio.gather(*calls, return_exceptions=True)

        assert sum(isinstance(answer, LookupError) for answer in answers) == 2
        assert len({answer.body for answer in answers if isinstance(answer, Answer)}) == 1
        assert (len(tries), len(await Tag.find_rows({}))) == (3, 1)

    async def test_other_body_under_the_same_key_is_refused(self, database: Database) -> None:
        await run(make_request(body=b'{"amount":1}'))

        with pytest.raises(IdempotencyKeyReusedError):
            await run(make_request(body=b'{"amount":2}'))
        with pytest.raises(IdempotencyKeyReusedError):
            await run(make_request(body=b'{"amount":1}', query=b"notify=true"))

        assert len(await Tag.find_rows({})) == 1

    async def test_other_body_while_the_first_is_worked_on_is_refused(self, database: Database) -> None:
        await IdempotencyService.claim(make_request(body=b"1"), secret=SECRET)

        with pytest.raises(IdempotencyKeyReusedError):
            await run(make_request(body=b"2"))

    @pytest.mark.parametrize("other", [make_request(caller="user-2"), make_request(path="/api/v1/posts"), make_request("k2")])
    async def test_same_key_of_another_caller_or_path_is_independent(self, database: Database, other: KeyedRequest) -> None:
        first = await run(make_request())
        second = await run(other)

        assert first.body != second.body
        assert len(await Tag.find_rows({})) == 2

    async def test_refusal_is_not_stored_and_its_effect_is_undone(self, database: Database) -> None:
        async def refuse() -> Answer:
            await create_tag()
            return Answer(409, {}, b"taken")

        refused = await IdempotencyService.run(make_request(), work=refuse, secret=SECRET)
        assert (refused.status, refused.body) == (409, b"taken")
        assert await Tag.find_rows({}) == []

        assert (await run(make_request())).status == 201
        assert len(await Tag.find_rows({})) == 1

    async def test_failure_is_raised_and_gives_the_key_back(self, database: Database) -> None:
        async def fail() -> Answer:
            await create_tag()
            raise LookupError

        with pytest.raises(LookupError):
            await IdempotencyService.run(make_request(), work=fail, secret=SECRET)
        assert await Tag.find_rows({}) == []
        assert await IdempotentAnswer.find_rows({}) == []

        assert (await run(make_request(body=b"corrected"))).status == 201

    async def test_cancelled_request_gives_the_key_back(self, database: Database) -> None:
        started = asyncio.Event()

        async def hang() -> Answer:
            await create_tag()
            started.set()
            await asyncio.sleep(30)
            raise AssertionError

        task = asyncio.create_task(IdempotencyService.run(make_request(), work=hang, secret=SECRET))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert (await run(make_request())).status == 201
        assert len(await Tag.find_rows({})) == 1

    async def test_slow_request_that_lost_its_claim_undoes_its_effect(self, database: Database) -> None:
        start = now() - timedelta(minutes=2)

        async def overtaken() -> Answer:
            answer = await create_tag()
            if not others:
                # An empty context: another process has no part in this transaction.
                with another_process():
                    others.append(await asyncio.create_task(run(make_request()), context=contextvars.Context()))
            return answer

        others: list[Answer] = []
        with pytest.raises(IdempotencyInProgressError):
            await IdempotencyService.run(make_request(), work=overtaken, secret=SECRET, now=start)

        assert [answer.status for answer in others] == [201]
        assert len(await Tag.find_rows({})) == 1
        assert (await run(make_request())).body == others[0].body

    async def test_answer_is_kept_for_a_day(self, database: Database) -> None:
        start = now()
        first = await run(make_request(), now=start)

        kept = await run(make_request(), now=start + timedelta(hours=23, minutes=59))
        assert kept.body == first.body
        assert len(await Tag.find_rows({})) == 1

        again = await run(make_request(body=b"something new"), now=start + timedelta(hours=24))
        assert again.body != first.body
        assert len(await Tag.find_rows({})) == 2

    @pytest.mark.parametrize("key", ["", "a" * 256, "with space", "tab\t", "nul\0", "ключ", "\x7f"])
    async def test_impossible_key_is_refused_and_stores_nothing(self, database: Database, key: str) -> None:
        with pytest.raises(InvalidIdempotencyKeyError):
            await run(make_request(key))

        assert await Tag.find_rows({}) == []
        assert await IdempotentAnswer.find_rows({}) == []

    async def test_longest_key_is_taken(self, database: Database) -> None:
        assert (await run(make_request("~" * 255))).status == 201

    async def test_stored_row_tells_neither_key_nor_body(self, database: Database) -> None:
        await run(make_request("secret-key", body=b"secret-body"))

        (row,) = await IdempotentAnswer.find_rows({})
        assert "secret" not in f"{row['scope']} {row['fingerprint']}"
        other = await IdempotencyService.claim(make_request("secret-key", body=b"secret-body"), secret=b"another")
        assert isinstance(other, Claim)
        assert other.scope != row["scope"]


class TestAbandoned:
    """A claim stands while it is worked on; when that is over without a word, the next request takes it."""

    async def test_rows_of_before_claims_named_their_holder_are_answered_and_taken_over(self, database: Database) -> None:
        start = now()
        first = await run(make_request())
        with another_process():
            await IdempotencyService.claim(make_request("k2"), secret=SECRET, now=start)
        await IdempotentAnswer.collection().update_many({}, {"$unset": {"holder_id": 1}})

        assert (await run(make_request())).body == first.body
        with pytest.raises(IdempotencyInProgressError):
            await run(make_request("k2"), now=start + timedelta(seconds=2.9))
        assert (await run(make_request("k2"), now=start + timedelta(seconds=3))).status == 201

    async def test_r11_of_a_process_that_died_is_free_after_three_seconds_and_goes_to_one(self, database: Database) -> None:
        start = now()
        with another_process():
            assert isinstance(await IdempotencyService.claim(make_request(), secret=SECRET, now=start), Claim)

        with pytest.raises(IdempotencyInProgressError):
            await run(make_request(), now=start + timedelta(seconds=2.9))
        assert await Tag.find_rows({}) == []

        twins = [run(make_request(), now=start + timedelta(seconds=3)) for _ in range(50)]
        answers = await asyncio.gather(*twins, return_exceptions=True)
        assert len({answer.body for answer in answers if isinstance(answer, Answer)}) == 1
        assert all(isinstance(answer, Answer | IdempotencyInProgressError) for answer in answers)
        assert len(await Tag.find_rows({})) == 1

    async def test_r11_of_this_process_is_free_at_once_when_it_could_not_be_given_back(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail() -> Answer:
            raise LookupError

        async def lost(claim: Claim) -> None:
            """The database is away."""

        monkeypatch.setattr(IdempotencyService, "release", lost)
        with pytest.raises(LookupError):
            await IdempotencyService.run(make_request(), work=fail, secret=SECRET)
        assert len(await IdempotentAnswer.find_rows({"status": None})) == 1

        answers = await outcomes(*[make_request()] * 50)

        assert len({answer.body for answer in answers if isinstance(answer, Answer)}) == 1
        assert len(await Tag.find_rows({})) == 1

    async def test_what_this_process_works_on_stands_however_long_it_takes(self, database: Database) -> None:
        start = now()
        assert isinstance(await IdempotencyService.claim(make_request(), secret=SECRET, now=start), Claim)

        with pytest.raises(IdempotencyInProgressError):
            await run(make_request(), now=start + timedelta(minutes=5))

        assert await Tag.find_rows({}) == []

    async def test_what_another_process_works_on_stands_until_three_seconds_after_its_last_sign_of_life(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(idempotency, "SIGN_OF_LIFE_SECONDS", 0.01)
        begun = now()
        start = begun - timedelta(minutes=1)
        with another_process():
            async with IdempotencyService.alive():
                assert isinstance(await IdempotencyService.claim(make_request(), secret=SECRET, now=start), Claim)
                for _ in range(500):
                    if await KeyHolder.find_rows({}):
                        break
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
            lives = await KeyHolder.find_rows({})
        assert len(lives) == 1
        (answer,) = await IdempotentAnswer.find_rows({})
        assert lives[0]["_id"] == answer["holder_id"]
        silent_at = lives[0]["alive_until"]
        assert begun < silent_at - timedelta(seconds=3) <= now()

        with pytest.raises(IdempotencyInProgressError):
            await run(make_request(), now=silent_at - timedelta(milliseconds=1))
        assert (await run(make_request(), now=silent_at)).status == 201

        assert len(await Tag.find_rows({})) == 1

    async def test_nothing_is_said_of_work_that_is_soon_done(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(idempotency, "SIGN_OF_LIFE_SECONDS", 0.5)
        async with IdempotencyService.alive():
            await run(make_request())
            await asyncio.sleep(0.55)

        assert await KeyHolder.find_rows({}) == []
