import asyncio
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest

from models.database import Database, DuplicateKeyError
from models.ratelimits import RateWindow
from services.errors import UnavailableError
from services.ratelimits import RateLimitService, RatePolicy, TooManyAttemptsError
from tests.commands import CommandLog

POLICY = RatePolicy("test", 5, 300)
START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)  # the start of a window


class TestHit:
    async def test_it_counts_down_and_says_when_the_window_is_over(self, database: Database) -> None:
        states = [await RateLimitService.hit(POLICY, "a", now=START + timedelta(seconds=n)) for n in range(6)]
        assert [state.remaining for state in states] == [4, 3, 2, 1, 0, 0]
        assert [state.is_allowed for state in states] == [True] * 5 + [False]
        assert [state.retry_after for state in states] == [300, 299, 298, 297, 296, 295]

    async def test_subjects_and_policies_are_counted_apart_and_windows_anew(self, database: Database) -> None:
        for _ in range(6):
            await RateLimitService.hit(POLICY, "a", now=START)
        assert (await RateLimitService.hit(POLICY, "b", now=START)).remaining == 4
        assert (await RateLimitService.hit(RatePolicy("other", 5, 300), "a", now=START)).remaining == 4
        assert (await RateLimitService.hit(POLICY, "a", now=START + timedelta(seconds=300))).remaining == 4

    async def test_it_is_one_command(self, database: Database, commands: CommandLog) -> None:
        for _ in range(2):
            with commands.counting() as sent:
                await RateLimitService.hit(POLICY, "a", now=START)
            assert sent.sent == ["findAndModify rate_windows"]

    async def test_of_fifty_at_once_no_more_than_the_limit_pass(self, database: Database) -> None:
        for number in range(5):
            subject = f"subject {number}"
            states = await asyncio.gather(*(RateLimitService.hit(POLICY, subject, now=START) for _ in range(50)))
            assert sum(state.is_allowed for state in states) <= 5
            assert not (await RateLimitService.hit(POLICY, subject, now=START)).is_allowed
        rows = await RateWindow.find_rows({})
        assert [row["attempts_count"] for row in rows] == [51] * 5

    async def test_window_that_cannot_be_opened_lets_nobody_through_and_is_no_fault_of_the_caller(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class AlwaysTaken:
            async def find_one_and_update(self, *_: object, **__: object) -> NoReturn:
                raise DuplicateKeyError("another caller opened it")

        monkeypatch.setattr(RateWindow, "collection", AlwaysTaken)
        with pytest.raises(UnavailableError):
            await RateLimitService.hit(POLICY, "a", now=START)

    async def test_long_hostile_and_personal_subjects_are_kept_as_digests(self, database: Database) -> None:
        for subject in ("x" * 100_000, "\ud800", "a:b:c", "$inc", "jane@example.com"):
            assert (await RateLimitService.hit(POLICY, subject, now=START)).remaining == 4
        rows = await RateWindow.find_rows({})
        assert all(len(row["key"]) < 60 and "jane" not in row["key"] for row in rows)
        assert rows[0]["expires_at"] == START + timedelta(seconds=300)


class TestRequire:
    async def test_beyond_the_limit_it_raises(self, database: Database) -> None:
        for _ in range(5):
            await RateLimitService.require(POLICY, "a", now=START)
        with pytest.raises(TooManyAttemptsError) as refused:
            await RateLimitService.require(POLICY, "a", now=START + timedelta(seconds=100))
        assert refused.value.retry_after == 200
