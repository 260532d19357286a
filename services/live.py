"""Live activity: what happened, told within a second to those who are connected and follow its topic.

Every process follows the numbered events for itself and tells its own connections, so no process needs to know of another.
Nothing here is durable: who was away names the last sequence they saw and is told what they missed. What is told is looked up
when it is told: of a post that is a draft by then nothing is said but that it was withdrawn.

Topics: `posts`, `post:<id>`, `user:<id>` for that person alone, `moderation` for those who moderate comments.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import structlog
from bson import ObjectId

from models.database import DatabaseUnavailableError, PyMongoError, heed_cancellation
from models.events import Event, EventType
from models.live import LiveEvent
from services.errors import NotFoundError, RateLimitedError, RuleViolatedError
from services.events import BATCH, Consumer, EventService
from services.livefacts import Told, facts_of
from services.users.permissions import Permission, Viewer

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.25
PAUSE_SECONDS = 1.0  # after a look that failed for want of the database
QUEUE_LENGTH = 100  # messages a client may lag behind before it is cut off
MAX_TOPICS = 50  # of one connection
MAX_RESUMED = 1_000  # events; who missed more reads the present state again
_RESUME_SECONDS = 10.0

# Why a connection ends, as WebSocket close codes.
TRY_AGAIN_LATER = 1013
SESSION_OVER = 4401


class TooManyConnectionsError(RateLimitedError):
    """The person, the network address or the process has as many live connections as it may."""

    code = "too_many_connections"

    def __init__(self) -> None:
        super().__init__(30, "Too many live connections.")


class TooManyTopicsError(RuleViolatedError):
    """One connection follows at most 50 topics."""

    code = "too_many_topics"

    def __init__(self) -> None:
        super().__init__(f"One connection follows at most {MAX_TOPICS} topics.")


class TopicNotFoundError(NotFoundError):
    """There is no such topic, or it is not for the caller."""

    code = "topic_not_found"

    def __init__(self, topic: str) -> None:
        super().__init__("topic", topic)


class ResumeTooFarError(RuleViolatedError):
    """More was missed than is told again."""

    code = "resume_too_far"

    def __init__(self, since: int) -> None:
        super().__init__(f"More than {MAX_RESUMED} events were missed: read the present state and subscribe anew.")
        self.since = since


class LiveConnection:
    """One client: what it follows, what it has yet to be sent, and why it ended. Nothing here waits for the client."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.viewer: Viewer | None = None
        self.topics: dict[str, int] = {}  # each with the sequence after which its events are wanted
        self.end_code = 0
        self.end_reason = ""
        self.ended = asyncio.Event()
        self._outgoing: deque[str] = deque()
        self._moved = asyncio.Event()
        self._taken = asyncio.Event()
        self._held: list[str] | None = None  # what happens while missed events are told

    def send(self, text: str) -> None:
        """Queue a message. A client that lags too far behind is cut off instead: others never wait for it."""
        if self.ended.is_set():
            return
        if len(self._outgoing) >= QUEUE_LENGTH:
            self.end(TRY_AGAIN_LATER, "too_slow")
            return
        self._outgoing.append(text)
        self._moved.set()

    def tell(self, text: str) -> None:
        """Queue an event, behind the missed ones that are still being told."""
        if self._held is None:
            self.send(text)
        elif len(self._held) < QUEUE_LENGTH // 2:
            self._held.append(text)
        else:
            self.end(TRY_AGAIN_LATER, "too_slow")

    def end(self, code: int, reason: str, *, last_words: str | None = None) -> None:
        """End the connection and drop what is queued; `last_words` are still sent. The first reason stands."""
        if self.ended.is_set():
            return
        self.end_code, self.end_reason = code, reason
        self._outgoing.clear()
        if last_words is not None:
            self._outgoing.append(last_words)
        self.ended.set()
        self._moved.set()
        self._taken.set()

    async def next_message(self) -> str | None:
        """The next message, waited for; None when the connection has ended."""
        while not self._outgoing:
            if self.ended.is_set():
                return None
            self._moved.clear()
            await self._moved.wait()
        self._taken.set()
        return self._outgoing.popleft()

    async def room(self) -> None:
        """Wait until half the queue is free, for as long as a resuming client may take; then it is cut off."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RESUME_SECONDS):
                while not self.ended.is_set() and len(self._outgoing) > QUEUE_LENGTH // 2:
                    self._taken.clear()
                    await self._taken.wait()
                return
        self.end(TRY_AGAIN_LATER, "too_slow")

    @contextlib.asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """Hold back what happens inside the block, and queue it behind what the block sends."""
        self._held = []
        try:
            yield
            await self.room()
        finally:
            held, self._held = self._held, None
            for text in held:
                self.send(text)


@dataclass(eq=False)
class LiveHub:
    """The connections of this process and how far it has told the events."""

    listeners: Sequence[Consumer] = ()  # told of events in this process too, such as caches; not durable
    max_connections: int = 1_000
    max_per_user: int = 10
    max_unknown_per_address: int = 20
    connections: set[LiveConnection] = field(default_factory=set)
    position: int | None = None  # the last event told; None until the first look

    def connect(self, address: str) -> LiveConnection:
        """A connection of somebody not known yet. Raises TooManyConnectionsError."""
        unknown = sum(1 for other in self.connections if other.viewer is None and other.address == address)
        if len(self.connections) >= self.max_connections or unknown >= self.max_unknown_per_address:
            raise TooManyConnectionsError
        connection = LiveConnection(address)
        self.connections.add(connection)
        return connection

    def identify(self, connection: LiveConnection, viewer: Viewer) -> None:
        """Say whose connection it is. Raises TooManyConnectionsError."""
        own = sum(1 for other in self.connections if other.viewer is not None and other.viewer.user_id == viewer.user_id)
        if own >= self.max_per_user:
            raise TooManyConnectionsError
        connection.viewer = viewer

    def disconnect(self, connection: LiveConnection) -> None:
        self.connections.discard(connection)

    async def current_position(self) -> int:
        """The last event told so far."""
        if self.position is None:
            await self.look()
        return self.position or 0

    async def subscribe(
        self,
        connection: LiveConnection,
        topics: Sequence[str],
        *,
        since: int | None = None,
        confirm: Callable[[int], None] = lambda position: None,
    ) -> None:
        """Follow these topics from now on, or from after the event `since`.

        `confirm` is called with the last event told so far before anything missed is told. Missed events are told before
        later ones, each once. Raises TopicNotFoundError, TooManyTopicsError and
        ResumeTooFarError, and then follows none of them.
        """
        for topic in topics:
            if not _may_follow(connection.viewer, topic):
                raise TopicNotFoundError(topic)
        if len(connection.topics.keys() | set(topics)) > MAX_TOPICS:
            raise TooManyTopicsError
        position = await self.current_position()
        # A process that lags behind the one the client comes from must not tell again what that one told.
        after = position if since is None else max(position, since)
        if since is not None and position - since > MAX_RESUMED:
            raise ResumeTooFarError(since)
        connection.topics.update(dict.fromkeys(topics, after))
        confirm(position)
        if since is not None and since < position:
            await self._tell_missed(connection, set(topics), since, position)

    async def _tell_missed(self, connection: LiveConnection, topics: set[str], since: int, position: int) -> None:
        async with connection.holding():
            while since < position and not connection.ended.is_set():
                events = await EventService.list_after(since, limit=BATCH)
                if not events:
                    return
                for told in await facts_of([event for event in events if (event.sequence or 0) <= position]):
                    if wanted := sorted(topics & told.topics):
                        await connection.room()
                        connection.send(_text(told, wanted))
                since = events[-1].sequence or position

    async def look(self) -> int:
        """Number what is new, tell everyone what follows `position`, and return how many events were passed.

        Numbering here, and not only in the worker, keeps logouts prompt when no worker runs.
        """
        if self.position is None:
            last = await EventService.last_sequence()
            self.position = last if self.position is None else self.position
            return 0
        await EventService.number_new()
        events = await EventService.list_after(self.position)
        for event in events:
            await self._tell_listeners(event)
            self._end_sessions(event)
        told_facts = await facts_of(events) if any(connection.topics for connection in self.connections) else []
        for told in told_facts:
            self._publish(told)
        if events:
            self.position = events[-1].sequence
        return len(events)

    async def _tell_listeners(self, event: Event) -> None:
        for listener in self.listeners:
            if event.type in listener.types:
                try:
                    await listener.handle(event)
                except Exception:
                    heed_cancellation()
                    log.exception("live_listener_failed", listener=listener.name, event_type=event.type)

    def _end_sessions(self, event: Event) -> None:
        """Close what a revoked session had opened (RELIABILITY S8, S9)."""
        if event.type not in (EventType.USER_SESSIONS_REVOKED, EventType.USER_DEACTIVATED):
            return
        ended = event.payload.get("session_ids")
        for connection in list(self.connections):
            viewer = connection.viewer
            if viewer is None or f"user:{viewer.user_id}" != event.subject:
                continue
            if ended is None or str(viewer.session_id) in ended:
                connection.end(SESSION_OVER, "session_over")

    def _publish(self, told: Told) -> None:
        texts: dict[tuple[str, ...], str] = {}
        for connection in list(self.connections):
            following = connection.topics
            wanted = tuple(sorted(topic for topic in told.topics if following.get(topic, told.sequence) < told.sequence))
            if wanted:
                text = texts.get(wanted) or texts.setdefault(wanted, _text(told, list(wanted)))
                connection.tell(text)

    @contextlib.asynccontextmanager
    async def running(self, *, poll_seconds: float = POLL_SECONDS) -> AsyncIterator["LiveHub"]:
        """Follow the events until the block ends; then every connection is ended. With 0 seconds nothing is followed."""
        following = [asyncio.create_task(self._follow(poll_seconds))] if poll_seconds else []
        try:
            yield self
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
            for connection in list(self.connections):
                connection.end(1001, "going_away")

    async def _follow(self, poll_seconds: float) -> None:
        while True:
            heed_cancellation()
            try:
                while await self.look() == BATCH:
                    heed_cancellation()
            except (PyMongoError, DatabaseUnavailableError) as error:
                heed_cancellation()
                log.warning("live_waits_for_database", reason=type(error).__name__)
                await asyncio.sleep(PAUSE_SECONDS)
            except Exception:
                heed_cancellation()
                log.exception("live_look_failed")
                await asyncio.sleep(PAUSE_SECONDS)
            await asyncio.sleep(poll_seconds)


def _may_follow(viewer: Viewer | None, topic: str) -> bool:
    kind, _, key = topic.partition(":")
    if viewer is None:
        return False
    if topic == "posts":
        return True
    if topic == "moderation":
        return viewer.can(Permission.MODERATE_COMMENTS)
    if kind == "user":
        return key == str(viewer.user_id)
    return kind == "post" and ObjectId.is_valid(key)


def _text(told: Told, topics: list[str]) -> str:
    event = LiveEvent(sequence=told.sequence, topics=topics, happened_at=told.happened_at, fact=told.fact)
    return event.model_dump_json()
