"""Numbers: each once, without gaps, and in few commands."""

import asyncio

import pytest

from models.database import Database, PyMongoError
from models.sequences import Sequence
from services import sequences
from services.sequences import SequenceService
from tests.commands import CommandLog


class TestNextValue:
    async def test_each_of_fifty_callers_gets_a_number_of_their_own(self, database: Database, commands: CommandLog) -> None:
        first = [await SequenceService.next_value("A"), await SequenceService.next_value("A")]
        with commands.counting() as sent:
            numbers = await asyncio.gather(*(SequenceService.next_value("A") for _ in range(50)))
        others = await asyncio.gather(SequenceService.next_value("B"), SequenceService.next_value("A"))

        assert first == [1, 2]
        assert list(numbers) == list(range(3, 53))  # in the order in which they asked
        assert list(others) == [1, 53]
        assert sent.sent == ["findAndModify sequences"]

    async def test_who_asks_while_a_command_is_under_way_is_in_the_next(self, database: Database) -> None:
        async def ask(number: int) -> int:
            await asyncio.sleep(number * 0.0005)
            return await SequenceService.next_value("A")

        numbers = await asyncio.gather(*(ask(number) for number in range(50)))

        assert sorted(numbers) == list(range(1, 51))
        row = await Sequence.find_row({"name": "A"})
        assert row is not None
        assert row["value"] == 50

    async def test_one_who_leaves_takes_nothing_from_the_others(self, database: Database) -> None:
        calls = [asyncio.create_task(SequenceService.next_value("A")) for _ in range(3)]
        await asyncio.sleep(0)
        calls[0].cancel()

        told = await asyncio.gather(*calls, return_exceptions=True)

        assert isinstance(told[0], asyncio.CancelledError)
        assert told[1:] == [2, 3]

    async def test_a_failure_is_told_to_all_who_shared_it_and_to_nobody_else(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(name: str, count: int) -> int:
            raise PyMongoError

        with monkeypatch.context() as away:
            away.setattr(sequences, "_advance", fail)
            told = await asyncio.gather(*(SequenceService.next_value("A") for _ in range(3)), return_exceptions=True)

        assert [type(error) for error in told] == [PyMongoError] * 3
        assert await SequenceService.next_value("A") == 1
