"""The outbox: facts are kept or lost with their cause, numbered once, and reach every consumer whatever dies on the way."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from models.base import now
from models.blog.taxonomy import Tag
from models.database import Database, DuplicateKeyError, run_transaction
from models.events import Checkpoint, DeadLetter, Event, EventType
from services.events import MAX_FAILURES, Consumer, EventService
from tests.commands import CommandLog


class KilledError(BaseException):
    """Stands for the process being killed: nothing in the code under test may catch it and go on."""


async def record(*subjects: str, type: EventType = EventType.POST_UPDATED) -> list[Event]:
    async def work(session: object) -> list[Event]:
        return [await EventService.record(session, type, subject, payload={"n": n}) for n, subject in enumerate(subjects)]

    return await run_transaction(work)


def consumer_of(handle: Callable[[Event], Awaitable[None]], name: str = "test", types: Any = tuple(EventType)) -> Consumer:
    return Consumer(name=name, types=types, handle=handle)


class Recorder:
    """A consumer that remembers what it saw; `fail_on` subjects raise."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.fail_on: set[str] = set()

    async def __call__(self, event: Event) -> None:
        if event.subject in self.fail_on:
            raise ValueError(f"cannot handle {event.subject}")
        self.seen.append(event.subject)


async def sequences() -> list[int]:
    return [row["sequence"] for row in await Event.find_rows({}, {"sequence": 1}, sort=[("sequence", 1)])]


class TestRecord:
    async def test_fact_is_lost_with_its_cause(self, database: Database) -> None:
        async def work(session: object) -> None:
            await Tag(name="a", slug="a").store(session=session)
            await EventService.record(session, EventType.TAG_CHANGED, "tag:1")
            raise LookupError

        with pytest.raises(LookupError):
            await run_transaction(work)

        assert await Event.find_rows({}) == []

    async def test_fact_is_kept_as_recorded(self, database: Database) -> None:
        (event,) = await record("post:1")

        (row,) = await Event.find_rows({})
        assert Event.from_row(row) == event
        assert (event.sequence, event.payload, event.type) == (None, {"n": 0}, EventType.POST_UPDATED)


class TestNumberNew:
    async def test_nothing_to_number(self, database: Database) -> None:
        assert await EventService.number_new() == 0
        assert await EventService.last_sequence() == 0

    async def test_numbers_follow_each_other_without_gaps(self, database: Database) -> None:
        await record("post:1", "post:2")
        assert await EventService.number_new() == 2
        await record("post:3")
        assert await EventService.number_new() == 1

        assert [(event.sequence, event.subject) for event in await EventService.list_after(0)] == [
            (1, "post:1"),
            (2, "post:2"),
            (3, "post:3"),
        ]
        assert [event.subject for event in await EventService.list_after(1, limit=1)] == ["post:2"]
        assert await EventService.last_sequence() == 3

    async def test_facts_of_other_processes_are_taken_by_time_not_by_id(self, database: Database) -> None:
        start = now()
        (late, early) = await record("post:late", "post:early")
        await Event.collection().update_one({"_id": late.id}, {"$set": {"created_at": start + timedelta(milliseconds=5)}})
        await Event.collection().update_one({"_id": early.id}, {"$set": {"created_at": start}})

        await EventService.number_new()

        assert [event.subject for event in await EventService.list_after(0)] == ["post:early", "post:late"]

    async def test_several_sequencers_at_once_give_each_fact_one_number_in_order(self, database: Database) -> None:
        for round_number in range(5):
            await record(*[f"post:{n}" for n in range(40)])

            await asyncio.gather(*(EventService.number_new() for _ in range(10)))

            assert await sequences() == list(range(1, 40 * (round_number + 1) + 1))
            newest = await EventService.list_after(40 * round_number)
            assert [event.payload["n"] for event in newest] == list(range(40))

    async def test_fact_committed_later_gets_a_later_number(self, database: Database) -> None:
        numbered = asyncio.Event()

        async def slow(session: object) -> None:
            await EventService.record(session, EventType.POST_CREATED, "post:slow")
            await numbered.wait()

        task = asyncio.create_task(run_transaction(slow))
        await asyncio.sleep(0.02)
        await record("post:quick")
        await EventService.number_new()
        numbered.set()
        await task
        await EventService.number_new()

        assert [event.subject for event in await EventService.list_after(0)] == ["post:quick", "post:slow"]


class TestDeliver:
    async def test_only_wanted_types_are_handed_over_and_all_are_passed(self, database: Database) -> None:
        await record("post:1")
        await record("comment:1", type=EventType.COMMENT_CREATED)
        await EventService.number_new()
        recorder = Recorder()

        passed = await EventService.deliver(consumer_of(recorder, types={EventType.COMMENT_CREATED}))

        assert (passed, recorder.seen) == (2, ["comment:1"])
        row = await Checkpoint.find_row({"consumer": "test"})
        assert row is not None
        assert row["sequence"] == 2
        assert await EventService.deliver(consumer_of(recorder)) == 0

    async def test_failure_stops_there_and_is_tried_again_after_a_growing_pause(self, database: Database) -> None:
        await record("post:1", "post:2", "post:3")
        await EventService.number_new()
        recorder = Recorder()
        recorder.fail_on = {"post:2"}
        start = now()

        assert await EventService.deliver(consumer_of(recorder), now=start) == 1
        assert await EventService.deliver(consumer_of(recorder), now=start + timedelta(seconds=1.9)) == 0
        assert await EventService.deliver(consumer_of(recorder), now=start + timedelta(seconds=2)) == 0
        row = await Checkpoint.find_row({"consumer": "test"})
        assert row is not None
        assert (row["sequence"], row["failures"]) == (1, 2)
        assert row["retry_at"] == start + timedelta(seconds=6)
        assert row["last_error"] == "ValueError: cannot handle post:2"

        recorder.fail_on = set()
        assert await EventService.deliver(consumer_of(recorder), now=start + timedelta(seconds=6)) == 2
        assert recorder.seen == ["post:1", "post:2", "post:3"]
        row = await Checkpoint.find_row({"consumer": "test"})
        assert row is not None
        assert (row["sequence"], row["failures"], row["retry_at"], row["last_error"]) == (3, 0, None, None)

    async def test_event_that_always_fails_becomes_one_dead_letter_and_the_rest_goes_on(self, database: Database) -> None:
        (bad, _) = await record("post:bad", "post:good")
        await EventService.number_new()
        recorder = Recorder()
        recorder.fail_on = {"post:bad"}
        moment = now()

        for _ in range(MAX_FAILURES):
            assert recorder.seen == []
            await EventService.deliver(consumer_of(recorder), now=moment)
            moment += timedelta(minutes=10)

        assert recorder.seen == ["post:good"]
        (letter,) = await DeadLetter.find_rows({})
        assert (letter["consumer"], letter["event_id"], letter["sequence"]) == ("test", bad.id, 1)
        assert letter["error"] == "ValueError: cannot handle post:bad"

    async def test_giving_up_twice_keeps_one_dead_letter(self, database: Database) -> None:
        (bad,) = await record("post:bad")
        await EventService.number_new()
        await DeadLetter(consumer="test", event_id=bad.id, sequence=1, error="before the kill", failed_at=now()).store()
        await Checkpoint(consumer="test", failures=MAX_FAILURES - 1).store()
        recorder = Recorder()
        recorder.fail_on = {"post:bad"}

        assert await EventService.deliver(consumer_of(recorder)) == 1

        assert len(await DeadLetter.find_rows({})) == 1


class TestPump:
    async def test_consumer_that_fails_does_not_hold_up_another(self, database: Database) -> None:
        await record("post:1", "post:2")
        good, bad = Recorder(), Recorder()
        bad.fail_on = {"post:1"}

        moved = await EventService.pump([consumer_of(bad, "bad"), consumer_of(good, "good")])

        assert moved == 4  # two numbered, two passed by the good one
        assert (good.seen, bad.seen) == (["post:1", "post:2"], [])

    async def test_failure_is_told_when_nobody_is_at_work_any_more(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A consumer that was left at work would be handed the same events once more, and would see old ones after new ones."""
        await record("post:1")
        bad, seen = Recorder(), list[str]()
        bad.fail_on = {"post:1"}

        async def slow(event: Event) -> None:
            await asyncio.sleep(0.05)
            seen.append(event.subject)

        async def away(*_: object) -> bool:
            raise AutoReconnect("the database is away")

        monkeypatch.setattr("services.events._note_failure", away)
        with pytest.raises(AutoReconnect):
            await EventService.pump([consumer_of(bad, "bad"), consumer_of(slow, "slow")])

        assert seen == ["post:1"]
        places = {row["consumer"]: row["sequence"] for row in await Checkpoint.find_rows({})}
        assert (places["bad"], places["slow"]) == (0, 1)

    async def test_what_concerns_nobody_costs_three_commands_however_many_consumers(
        self, database: Database, commands: CommandLog
    ) -> None:
        """Their checkpoints in one question, the events in another, and one move of all of them."""
        consumers = [consumer_of(Recorder(), f"consumer {n}", {EventType.COMMENT_CREATED}) for n in range(9)]
        await EventService.pump(consumers)
        await record("post:1", "post:2")
        await EventService.number_new()

        with commands.counting() as sent:
            assert await EventService.deliver(*consumers) == 18

        assert sent.sent == ["find event_checkpoints", "find events", "update event_checkpoints"]
        assert {row["sequence"] for row in await Checkpoint.find_rows({})} == {2}

    async def test_consumer_that_lags_gets_what_it_missed_beside_the_others(self, database: Database) -> None:
        early, late = Recorder(), Recorder()
        await record("post:1")
        await EventService.pump([consumer_of(early, "early")])
        await record("post:2")
        await EventService.pump([consumer_of(early, "early"), consumer_of(late, "late")])
        assert (early.seen, late.seen) == (["post:1", "post:2"],) * 2

    async def test_consumer_far_behind_asks_for_a_batch_of_numbers_and_passes_what_was_deleted(
        self, database: Database, commands: CommandLog
    ) -> None:
        """Its question names both ends: with one alone, the embedded server sorts all that lies ahead for each batch."""
        await record("post:1", "post:2")
        await EventService.number_new()
        gone = {"$inc": {"sequence": 1000}}  # as if there had been a thousand before them
        await Event.collection().update_many({}, gone)
        await Checkpoint.collection().update_one({"consumer": "sequencer"}, gone)
        late = Recorder()

        with commands.counting() as sent:
            while await EventService.deliver(consumer_of(late)):
                pass

        assert late.seen == ["post:1", "post:2"]
        asked = [read.filter["sequence"] for read in sent.reads if read.collection == "events"]
        assert asked == [{"$gt": 0, "$lt": 201}, {"$gt": 0}, {"$gt": 1002, "$lt": 1203}]

    async def test_failure_after_what_did_not_concern_it_is_tried_again_after_its_pause(self, database: Database) -> None:
        start = now()
        bad = Recorder()
        bad.fail_on = {"post:2"}
        consumer = consumer_of(bad, types={EventType.POST_UPDATED})
        await record("tag:1", type=EventType.TAG_CHANGED)
        await record("post:2")
        await EventService.number_new()
        assert await EventService.deliver(consumer, now=start) == 1
        (checkpoint,) = [row for row in await Checkpoint.find_rows({}) if row["consumer"] == "test"]
        assert (checkpoint["sequence"], checkpoint["failures"]) == (1, 1)
        assert checkpoint["retry_at"] > start

    async def test_two_pumps_at_once_miss_nothing_and_keep_the_order_per_subject(self, database: Database) -> None:
        effects = Recorder()

        async def handle(event: Event) -> None:
            try:
                await Tag(id=event.id, name=event.subject, slug=str(event.id)).store()  # the effect, keyed by the event
            except DuplicateKeyError:
                return
            await effects(event)

        for n in range(6):
            await record(*[f"post:{n}"] * 5)
            await asyncio.gather(*(EventService.pump([consumer_of(handle)]) for _ in range(4)))

        assert effects.seen == [f"post:{n}" for n in range(6) for _ in range(5)]
        assert await sequences() == list(range(1, 31))

    async def test_r16_one_event_per_change_across_kills_at_every_step(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A kill before or after every write of the pump and of its consumer; each change has one effect, in order."""
        original = Checkpoint.change
        handled: list[int] = []
        steps = 0
        kill_at = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            if steps == kill_at:
                raise KilledError

        async def change(*arguments: Any, **options: Any) -> Checkpoint | None:
            step()
            changed = await original(*arguments, **options)
            step()
            return changed

        async def handle(event: Event) -> None:
            step()
            try:
                await Tag(id=event.id, name=event.subject, slug=str(event.id)).store()
            except DuplicateKeyError:
                return
            handled.append(event.payload["n"])
            step()

        monkeypatch.setattr(Checkpoint, "change", change)
        kills = 0
        for next_step in range(1, 16):
            kill_at = next_step
            await record("post:1", "post:1", "post:1")
            steps = 0
            try:
                await EventService.pump([consumer_of(handle)])
            except KilledError:
                kills += 1
        kill_at = 0
        await EventService.pump([consumer_of(handle)])

        assert kills >= 10
        assert handled == [0, 1, 2] * 15
        assert await sequences() == list(range(1, 46))
        assert await DeadLetter.find_rows({}) == []

    async def test_slow_consumer_takes_several_rounds_so_that_others_get_theirs(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.events.ROUND_SECONDS", 0.05)
        handled: list[int] = []

        async def handle(event: Event) -> None:
            await asyncio.sleep(0.03)
            handled.append(event.payload["n"])

        await record(*[f"post:{n}" for n in range(6)])
        slow = Consumer("slow", {EventType.POST_UPDATED}, handle)
        await EventService.number_new()

        first = await EventService.deliver(slow)
        while await EventService.deliver(slow):
            pass

        assert 1 <= first < 6
        assert handled == list(range(6))
