"""The consumers of events: how far each has come, and what it gave up on."""

from typing import Annotated

from fastapi import Path, Query

from api.dependencies import Allowed, Cursor, Cursors, Limit, ObjectIdPath
from api.routing import make_router, refuses
from api.schemas.events import ReplayedLetters
from models.events import ConsumerRead, DeadLetterRead
from services.deadletters import ConsumerNotFoundError, DeadLetterNotFoundError, DeadLetterService
from services.pagination import CursorPage, InvalidCursorError
from services.users.permissions import Permission, Viewer

router = make_router("/events", "System: jobs and events")

SystemKeeper = Annotated[Viewer, Allowed(Permission.MANAGE_SYSTEM)]
ConsumerName = Annotated[str, Path(max_length=100, description="The consumer's name", examples=["account_mail"])]


@router.get("/consumers")
async def list_event_consumers(viewer: SystemKeeper) -> list[ConsumerRead]:
    """Every consumer of events, by name: how far it came, and why it stands still if it does."""
    return await DeadLetterService.list_consumers(viewer=viewer)


@router.post("/consumers/{name}/replay", status_code=202, responses=refuses(ConsumerNotFoundError))
async def replay_dead_letters(name: ConsumerName, viewer: SystemKeeper) -> ReplayedLetters:
    """Have everything that a consumer gave up on handled once more."""
    return ReplayedLetters(replayed_count=await DeadLetterService.request_replay_of_all(name, viewer=viewer))


@router.get("/dead-letters", responses=refuses(InvalidCursorError))
async def list_dead_letters(
    viewer: SystemKeeper,
    cursors: Cursors,
    consumer: Annotated[str | None, Query(max_length=100, description="Only what this consumer gave up on")] = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> CursorPage[DeadLetterRead]:
    """The events that consumers gave up on, newest first."""
    return await DeadLetterService.list_letters(viewer=viewer, cursors=cursors, consumer=consumer, cursor=cursor, limit=limit)


@router.post("/dead-letters/{letter_id}/replay", status_code=202, responses=refuses(DeadLetterNotFoundError))
async def replay_dead_letter(letter_id: ObjectIdPath, viewer: SystemKeeper) -> DeadLetterRead:
    """Have one event handled once more: it is gone from the list then, or back with a new reason."""
    return await DeadLetterService.request_replay(letter_id, viewer=viewer)
