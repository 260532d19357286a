"""The outbox: facts written with their cause, numbered once visible, read by consumers that remember how far they came."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from beanie import PydanticObjectId
from pymongo import UpdateOne

from models.base import now as present
from models.database import DuplicateKeyError, Session, heed_cancellation, run_transaction
from models.events import Checkpoint, DeadLetter, Event, EventType

log = structlog.get_logger(__name__)

MAX_FAILURES = 8  # then the event becomes a dead letter and the consumer goes on
BATCH = 200
ROUND_SECONDS = 2.0  # of one consumer, so that one whose events take long does not keep the others from their next ones
SEQUENCER = "sequencer"  # its checkpoint row holds the last number given


@dataclass(frozen=True, slots=True)
class Consumer:
    """A durable reader of events. `handle` sees an event at least once, in order per subject, and must bear to see it again."""

    name: str
    types: Collection[EventType]
    handle: Callable[[Event], Awaitable[None]]


class EventService:
    @staticmethod
    async def record(
        session: Session,
        type: EventType,
        subject: str,
        *,
        actor_id: PydanticObjectId | None = None,
        payload: dict[str, Any] | None = None,
    ) -> Event:
        """Write a fact in the transaction of its cause. There is no way to record one outside a transaction."""
        event = Event(type=type, subject=subject, actor_id=actor_id, payload=payload or {})
        return await event.store_later(session=session)

    @staticmethod
    async def number_new() -> int:
        """Give the facts that became visible since the last call their sequence numbers, without gaps; returns how many.

        Facts are numbered after their commit, so no consumer can read past one that is committed later with a smaller number.
        Should two processes meet here, one's transaction waits for the other's: numbers written by turns could appear out of
        order. Facts are taken by the time they were recorded, because ids made by two processes within a second are unordered.
        """
        waiting = await Event.find_rows({"sequence": None}, {"_id": 1}, limit=1)
        if not waiting:
            return 0

        async def number(session: Session) -> int:
            await _checkpoints([SEQUENCER])
            rows = await Event.find_rows(
                {"sequence": None}, {"_id": 1}, sort=[("created_at", 1), ("_id", 1)], limit=BATCH, session=session
            )
            counter = await Checkpoint.change({"consumer": SEQUENCER}, {"$inc": {"sequence": len(rows)}}, session=session)
            assert counter is not None
            first = counter.sequence - len(rows) + 1
            stamp = present()
            updates = [
                UpdateOne({"_id": row["_id"]}, {"$set": {"sequence": first + n, "updated_at": stamp}})
                for n, row in enumerate(rows)
            ]
            if updates:
                await Event.collection().bulk_write(updates, ordered=True, session=session)
            return len(rows)

        return await run_transaction(number, hot=[SEQUENCER])

    @staticmethod
    async def last_sequence() -> int:
        """The number of the newest numbered fact; 0 when there is none."""
        rows = await Event.find_rows({"sequence": {"$gt": 0}}, {"sequence": 1}, sort=[("sequence", -1)], limit=1)
        return int(rows[0]["sequence"]) if rows else 0

    @staticmethod
    async def is_behind(consumer: Consumer) -> bool:
        """Whether events are to come to the consumer, so that what it has not done it may only not have done yet."""
        if await Event.find_rows({"sequence": None}, {"_id": 1}, limit=1):
            return True
        checkpoint = await Checkpoint.find_row({"consumer": consumer.name}, {"sequence": 1})
        return (checkpoint["sequence"] if checkpoint else 0) < await EventService.last_sequence()

    @staticmethod
    async def list_after(sequence: int, *, limit: int = BATCH) -> list[Event]:
        """Numbered facts after `sequence`, in order."""
        return [Event.from_row(row) for row in await _rows_after(sequence, limit)]

    @staticmethod
    async def deliver(*consumers: Consumer, now: datetime | None = None) -> int:
        """Hand each consumer what follows its checkpoint; returns how many events they passed, added up.

        A consumer stops at an event whose handling fails and tries it again later, each time after a longer pause; after
        `MAX_FAILURES` the event is kept as a dead letter and passed. It stops after two seconds, too; the next call goes on.
        One that fails or lags does not hold up the others. Those that stand at one place share one reading of what follows,
        and one write moves all past what concerned nobody.
        """
        now = now or present()
        checkpoints = await _checkpoints([SEQUENCER, *(consumer.name for consumer in consumers)])
        ready = [consumer for consumer in consumers if not _is_waiting(checkpoints[consumer.name], now)]
        places = {checkpoints[consumer.name].sequence for consumer in ready}
        last = checkpoints[SEQUENCER].sequence
        following = dict(zip(places, await asyncio.gather(*(_following(place, last) for place in places)), strict=True))
        rounds = [_Round(consumer, checkpoints[consumer.name]) for consumer in ready]
        handed = (_hand_over(round, following[round.checkpoint.sequence], now) for round in rounds)
        # All of them end before this does: one that was left at work would be handed the same events once more, beside itself.
        failures = [failure for failure in await asyncio.gather(*handed, return_exceptions=True) if failure is not None]
        if failures:
            raise failures[0]
        moves = [UpdateOne(*_past(round.consumer, round.overlooked)) for round in rounds if round.overlooked is not None]
        if moves:
            await Checkpoint.collection().bulk_write(moves, ordered=False)
        return sum(round.passed for round in rounds)

    @staticmethod
    async def pump(consumers: Collection[Consumer], *, now: datetime | None = None) -> int:
        """Number what is new and deliver it to every consumer; returns how many events were numbered or passed."""
        return await EventService.number_new() + await EventService.deliver(*consumers, now=now)


@dataclass(slots=True)
class _Round:
    """How far a consumer came; `overlooked` is the last event that did not concern it and is not written down as passed."""

    consumer: Consumer
    checkpoint: Checkpoint
    passed: int = 0
    overlooked: int | None = None


async def _hand_over(round: _Round, rows: list[dict[str, Any]], now: datetime) -> None:
    ends_at = time.monotonic() + ROUND_SECONDS
    for row in rows:
        if time.monotonic() > ends_at:
            return
        if row["type"] in round.consumer.types:
            event = Event.from_row(row)
            try:
                await round.consumer.handle(event)
            except Exception as error:
                heed_cancellation()
                if round.overlooked is not None:  # before the failure is noted, which is one of the event after the checkpoint
                    await _pass(round.consumer, round.overlooked)
                    round.overlooked = None
                if not await _note_failure(round, event, error, now):
                    return
            await _pass(round.consumer, row["sequence"])
            round.overlooked = None
            round.checkpoint.failures = 0
        else:
            round.overlooked = row["sequence"]
        round.passed += 1


def _is_waiting(checkpoint: Checkpoint, now: datetime) -> bool:
    return checkpoint.retry_at is not None and now < checkpoint.retry_at


async def _following(sequence: int, last: int) -> list[dict[str, Any]]:
    """What a consumer gets next; `last` is the last number given."""
    rows = await _rows_after(sequence)
    if rows or sequence >= last:
        return rows
    # Somebody deleted what comes next: the first ones that are left.
    return await Event.find_rows({"sequence": {"$gt": sequence}}, sort=[("sequence", 1)], limit=BATCH)


async def _rows_after(sequence: int, limit: int = BATCH) -> list[dict[str, Any]]:
    """Within the next numbers, which have no gaps: the embedded server sorts all that a filter finds, however few are wanted.

    So one that is far behind would pay for everything ahead of it with each batch.
    """
    query = {"sequence": {"$gt": sequence, "$lt": sequence + limit + 1}}
    return await Event.find_rows(query, sort=[("sequence", 1)], limit=limit)


async def _checkpoints(names: Collection[str]) -> dict[str, Checkpoint]:
    """By consumer; those of new ones are made."""
    rows = await Checkpoint.find_rows({"consumer": {"$in": list(names)}})
    known = {row["consumer"]: Checkpoint.from_row(row) for row in rows}
    return known | {name: await _begin(name) for name in names if name not in known}


async def _begin(consumer: str) -> Checkpoint:
    try:
        return await Checkpoint(consumer=consumer).store()
    except DuplicateKeyError:  # another process met it first
        return (await _checkpoints([consumer]))[consumer]


async def _pass(consumer: Consumer, sequence: int) -> None:
    await Checkpoint.change_row(*_past(consumer, sequence))


def _past(consumer: Consumer, sequence: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The condition and the move of its checkpoint past that event; never back."""
    moved = {"sequence": sequence, "failures": 0, "retry_at": None, "last_error": None, "updated_at": present()}
    return {"consumer": consumer.name, "sequence": {"$lt": sequence}}, {"$set": moved}


async def _note_failure(round: _Round, event: Event, error: Exception, now: datetime) -> bool:
    """True when the consumer gives the event up and goes on."""
    consumer = round.consumer
    failures = round.checkpoint.failures + 1
    reason = f"{type(error).__name__}: {error}"[:500]
    log.warning("event_failed", consumer=consumer.name, event_type=event.type, failures=failures, reason=reason)
    if failures < MAX_FAILURES:
        await Checkpoint.change(
            {"consumer": consumer.name},
            {
                "$set": {
                    "failures": failures,
                    "last_error": reason,
                    "retry_at": now + timedelta(seconds=min(300, 2**failures)),
                }
            },
        )
        return False
    letter = DeadLetter(consumer=consumer.name, event_id=event.id, sequence=event.sequence or 0, error=reason, failed_at=now)
    with contextlib.suppress(DuplicateKeyError):  # given up before, and then killed before moving on
        await letter.store()
    return True
