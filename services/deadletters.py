"""What keepers of the system see of the event consumers, and the second chance of events they gave up on."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import structlog
from beanie import PydanticObjectId

from models.base import LONG_AGO
from models.base import now as present
from models.database import DatabaseUnavailableError, PyMongoError, Session, heed_cancellation, is_unavailable, run_transaction
from models.events import Checkpoint, ConsumerRead, DeadLetter, DeadLetterRead, Event
from services.audit import AuditService
from services.errors import NotFoundError
from services.events import SEQUENCER, Consumer, EventService
from services.pagination import CursorCodec, CursorPage, find_stretch
from services.users.permissions import Permission, Viewer

log = structlog.get_logger(__name__)

_BATCH = 100


class DeadLetterNotFoundError(NotFoundError):
    """There is no such dead letter, or not any more."""

    code = "dead_letter_not_found"

    def __init__(self, letter_id: PydanticObjectId) -> None:
        super().__init__("dead letter", letter_id)


class ConsumerNotFoundError(NotFoundError):
    """No consumer of events of this name has ever run."""

    code = "consumer_not_found"

    def __init__(self, name: str) -> None:
        super().__init__("consumer", name)


class DeadLetterService:
    @staticmethod
    async def list_consumers(*, viewer: Viewer) -> list[ConsumerRead]:
        """Every durable consumer that has ever run, by name. Raises PermissionDeniedError."""
        viewer.require(Permission.MANAGE_SYSTEM)
        rows = await Checkpoint.find_rows({}, sort=[("consumer", 1)], limit=100)
        last = await EventService.last_sequence()
        counted = await DeadLetter.aggregate_rows([{"$group": {"_id": "$consumer", "count": {"$sum": 1}}}])
        letters = {row["_id"]: row["count"] for row in counted}
        return [
            ConsumerRead(
                name=row["consumer"],
                lag=max(0, last - row["sequence"]),
                dead_letters_count=letters.get(row["consumer"], 0),
                **{name: row.get(name) for name in ("sequence", "failures", "last_error", "retry_at")},
            )
            for row in rows
            if row["consumer"] != SEQUENCER
        ]

    @staticmethod
    async def list_letters(
        *, viewer: Viewer, cursors: CursorCodec, consumer: str | None = None, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[DeadLetterRead]:
        """What was given up, newest first, of one consumer if named. Raises PermissionDeniedError, InvalidCursorError."""
        viewer.require(Permission.MANAGE_SYSTEM)
        query: dict[str, Any] = {} if consumer is None else {"consumer": consumer}
        rows, next_cursor = await find_stretch(
            DeadLetter, query, listing=f"dead_letters:{consumer}", cursors=cursors, cursor=cursor, limit=limit
        )
        items = await _to_read(rows)
        return CursorPage[DeadLetterRead](items=items, next_cursor=next_cursor)

    @staticmethod
    async def request_replay(letter_id: PydanticObjectId, *, viewer: Viewer, now: datetime | None = None) -> DeadLetterRead:
        """Have the event handled once more by whichever worker looks next; it is gone then, or a dead letter again.

        Raises PermissionDeniedError, DeadLetterNotFoundError.
        """
        viewer.require(Permission.MANAGE_SYSTEM)

        async def work(session: Session) -> DeadLetter:
            asked = await DeadLetter.change({"_id": letter_id}, {"$set": {"replay_at": now or present()}}, session=session)
            if asked is None:
                raise DeadLetterNotFoundError(letter_id)
            subject = f"consumer:{asked.consumer}"
            details = {"event_id": str(asked.event_id)}
            await AuditService.record(session, "event.replayed", subject=subject, actor_id=viewer.user_id, details=details)
            return asked

        asked = await run_transaction(work, hot=[letter_id])
        (letter,) = await _to_read([asked.row()])
        return letter

    @staticmethod
    async def request_replay_of_all(consumer: str, *, viewer: Viewer, now: datetime | None = None) -> int:
        """As `request_replay` for everything this consumer gave up on; returns how many events.

        Raises PermissionDeniedError, ConsumerNotFoundError.
        """
        viewer.require(Permission.MANAGE_SYSTEM)
        if consumer == SEQUENCER or await Checkpoint.find_row({"consumer": consumer}, {"_id": 1}) is None:
            raise ConsumerNotFoundError(consumer)

        async def work(session: Session) -> int:
            query = {"consumer": consumer, "replay_at": None}
            asked = await DeadLetter.change_many(query, {"$set": {"replay_at": now or present()}}, session=session)
            if asked:
                details = {"events_count": asked}
                subject = f"consumer:{consumer}"
                await AuditService.record(session, "event.replayed", subject=subject, actor_id=viewer.user_id, details=details)
            return asked

        return await run_transaction(work, hot=[f"letters:{consumer}"])

    @staticmethod
    async def replay_requested(consumers: Collection[Consumer], *, now: datetime | None = None) -> int:
        """Handle the events that were asked for, in their order; returns how many were handled.

        At least once, like every delivery, but not in order with what the consumer has handled since.
        """
        by_name = {consumer.name: consumer for consumer in consumers}
        rows = await DeadLetter.find_rows(
            {"replay_at": {"$gt": LONG_AGO}},
            sort=[("replay_at", 1), ("sequence", 1)],
            limit=_BATCH,
        )
        handled = 0
        for row in rows:
            heed_cancellation()
            letter = DeadLetter.from_row(row)
            event = await Event.find_row({"_id": letter.event_id})
            consumer = by_name.get(letter.consumer)
            try:
                if event is not None and consumer is not None:
                    await consumer.handle(Event.from_row(event))
            except Exception as error:
                heed_cancellation()
                if isinstance(error, PyMongoError | DatabaseUnavailableError) and is_unavailable(error):
                    raise
                reason = f"{type(error).__name__}: {error}"[:500]
                log.warning("replayed_event_failed", consumer=letter.consumer, reason=reason)
                failed = {"error": reason, "failed_at": now or present(), "replay_at": None}
                await DeadLetter.change({"_id": letter.id}, {"$set": failed})
                continue
            await DeadLetter.collection().delete_one({"_id": letter.id})
            handled += 1
        return handled


async def _to_read(rows: list[dict[str, Any]]) -> list[DeadLetterRead]:
    ids = [row["event_id"] for row in rows]
    found = await Event.find_rows({"_id": {"$in": ids}}, {"type": 1, "subject": 1}) if ids else []
    events = {row["_id"]: row for row in found}
    letters = []
    for row in rows:
        event = events.get(row["event_id"], {})
        told = {"id": row["_id"], "event_type": event.get("type"), "subject": event.get("subject")}
        letters.append(DeadLetterRead.model_validate({"replay_at": None, **row, **told}))
    return letters
