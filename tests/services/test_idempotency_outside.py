"""Idempotency-Key for work that speaks to the outside: no transaction around it, its effects keyed, its answer stored."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from models import database as seam
from models.base import now
from models.blog.taxonomy import Tag
from models.database import Database, DuplicateKeyError, Session, run_transaction, start_again
from models.idempotency import IdempotentAnswer
from services.idempotency import Answer, Claim, IdempotencyInProgressError, IdempotencyService, KeyedRequest, Operation
from tests.claims import another_process
from tests.commands import CommandLog

SECRET = b"a-secret-for-tests-only"
REQUEST = KeyedRequest(key="k1", caller="user-1", method="POST", path="/api/v1/shop/checkout", body=b"{}")


async def tag_once(operation: Operation) -> Answer:
    """The effect: one tag for each operation key, however often it is asked for."""
    with contextlib.suppress(DuplicateKeyError):
        await Tag(name="tag", slug=operation.key).store()
    return Answer(201, {"content-type": "application/json"}, operation.key.encode())


async def run(work: Callable[[Operation], Awaitable[Answer]] = tag_once, request: KeyedRequest = REQUEST) -> Answer:
    return await IdempotencyService.run_outside(request, work=work, secret=SECRET)


class TestRunOutside:
    async def test_no_transaction_is_open_around_the_work(self, database: Database) -> None:
        inside: list[object] = []

        async def look(operation: Operation) -> Answer:
            inside.append(seam._ambient.get())
            return await tag_once(operation)

        await run(look)

        assert inside == [None]

    async def test_answer_is_given_again_without_working_again(self, database: Database) -> None:
        async def never(operation: Operation) -> Answer:
            raise AssertionError(operation.key)

        first = await run()
        again = await run(never)

        assert (again.status, again.headers, again.body) == (first.status, first.headers, first.body)
        assert (first.is_replay, again.is_replay) == (False, True)

    async def test_the_key_of_the_effects_is_the_same_for_the_same_request_alone(self, database: Database) -> None:
        keys = [
            (await run(request=KeyedRequest(key=key, caller=caller, method="POST", path="/p"))).body
            for key, caller in (("k1", "a"), ("k1", "a"), ("k2", "a"), ("k1", "b"))
        ]

        assert keys[0] == keys[1]
        assert len(set(keys)) == 3

    async def test_r6_fifty_twins_have_one_effect(self, database: Database) -> None:
        answers = await asyncio.gather(*(run() for _ in range(50)), return_exceptions=True)

        assert len({answer.body for answer in answers if isinstance(answer, Answer)}) == 1
        assert all(isinstance(answer, Answer | IdempotencyInProgressError) for answer in answers)
        assert len(await Tag.find_rows({})) == 1

    async def test_retry_after_a_crash_goes_on_under_the_same_key(self, database: Database) -> None:
        with another_process():
            crashed = await IdempotencyService.claim(REQUEST, secret=SECRET, now=now() - timedelta(seconds=6))
        assert isinstance(crashed, Claim)
        await tag_once(Operation(crashed))  # and then the process dies

        answer = await run()

        assert answer.body == crashed.scope.encode()
        assert len(await Tag.find_rows({})) == 1

    async def test_twin_that_was_overtaken_is_refused_and_the_other_answer_stays(self, database: Database) -> None:
        async def slow(operation: Operation) -> Answer:
            await IdempotentAnswer.change({"scope": operation.key}, {"$set": {"claimed_until": now() - timedelta(seconds=1)}})
            with another_process():
                others.append(await run())
            return Answer(201, {}, b"mine")

        others: list[Answer] = []
        with pytest.raises(IdempotencyInProgressError):
            await run(slow)

        assert (await run()).body == others[0].body

    async def test_failure_is_raised_and_gives_the_key_back(self, database: Database) -> None:
        async def fail(operation: Operation) -> Answer:
            raise LookupError(operation.key)

        with pytest.raises(LookupError):
            await run(fail)

        assert await IdempotentAnswer.find_rows({}) == []

    @pytest.mark.parametrize(("status", "is_kept"), [(200, True), (400, True), (409, True), (500, False), (503, False)])
    async def test_refusals_that_are_outcomes_are_kept_and_breakdowns_are_not(
        self, database: Database, status: int, is_kept: bool
    ) -> None:
        async def answer(operation: Operation) -> Answer:
            return Answer(status, {}, b"said")

        assert (await run(answer)).status == status

        assert (await run()).is_replay is is_kept


class TestKeep:
    """An answer that is stored by the one transaction the work turned out to be."""

    async def test_effect_and_answer_are_one_commit(self, database: Database, commands: CommandLog) -> None:
        async def work(operation: Operation) -> Answer:
            answer = Answer(201, {}, b"kept")

            async def place(session: Session) -> None:
                await Tag(name="tag", slug="tag").store_later(session=session)
                await operation.keep(answer, session=session)

            await run_transaction(place)
            return Answer(201, {}, b"kept")

        with commands.counting() as sent:
            first = await run(work)

        assert sent.sent == ["insert idempotent_answers", "bulkWrite 1", "commitTransaction 1"]
        again = await run(work)
        assert (first.body, again.body, again.is_replay) == (b"kept", b"kept", True)
        assert len(await Tag.find_rows({})) == 1

    async def test_what_an_attempt_kept_that_came_to_nothing_is_forgotten(self, database: Database) -> None:
        attempts: list[int] = []

        async def work(operation: Operation) -> Answer:
            async def place(session: Session) -> None:
                attempts.append(1)
                if len(attempts) == 1:
                    await operation.keep(Answer(201, {}, b"first"), session=session)
                    raise start_again("overtaken")

            await run_transaction(place)
            return Answer(201, {}, b"second")

        assert (await run(work)).body == b"second"
        assert (await run(work)).body == b"second"
        assert len(attempts) == 2

    async def test_a_claim_that_was_lost_undoes_the_effect(self, database: Database) -> None:
        async def work(operation: Operation) -> Answer:
            await IdempotentAnswer.change({"scope": operation.key}, {"$set": {"claimed_until": now() - timedelta(seconds=1)}})
            with another_process():
                others.append(await run())

            async def place(session: Session) -> None:
                await Tag(name="mine", slug="mine").store_later(session=session)
                await operation.keep(Answer(201, {}, b"mine"), session=session)

            await run_transaction(place)
            return Answer(201, {}, b"mine")

        others: list[Answer] = []
        with pytest.raises(IdempotencyInProgressError):
            await run(work)

        assert (await run()).body == others[0].body
        assert [row["name"] for row in await Tag.find_rows({})] == ["tag"]
