"""The live hub: who is told what, in order, once, and without waiting for anybody."""

import asyncio
from typing import Any

import pytest
from beanie import PydanticObjectId
from pydantic import TypeAdapter

from models.blog.comments import Comment, CommentStatus
from models.blog.posts import Post, PostStatus
from models.database import Database, DatabaseUnavailableError, run_transaction
from models.events import Event, EventType
from models.live import LiveEvent
from models.users import Role
from services.events import Consumer, EventService
from services.live import (
    MAX_RESUMED,
    MAX_TOPICS,
    QUEUE_LENGTH,
    SESSION_OVER,
    TRY_AGAIN_LATER,
    LiveConnection,
    LiveHub,
    ResumeTooFarError,
    TooManyConnectionsError,
    TooManyTopicsError,
    TopicNotFoundError,
)
from services.users.permissions import Viewer
from tests.factories.blog import create_post
from tests.factories.users import create_user
from tests.races import patiently

_event: TypeAdapter[LiveEvent] = TypeAdapter(LiveEvent)


def make_viewer(role: Role = Role.USER, **over: Any) -> Viewer:
    return Viewer(**{"user_id": PydanticObjectId(), "username": "x", "role": role, "session_id": PydanticObjectId(), **over})


async def happen(*facts: tuple[EventType, str], payload: dict[str, Any] | None = None) -> None:
    async def work(session: object) -> None:
        for type, subject in facts:
            await EventService.record(session, type, subject, payload=payload)

    await run_transaction(work)


def open_connection(hub: LiveHub, viewer: Viewer | None = None) -> LiveConnection:
    connection = hub.connect("203.0.113.7")
    hub.identify(connection, viewer or make_viewer())
    return connection


async def received(connection: LiveConnection) -> list[LiveEvent]:
    """What has been queued for the connection."""
    events = []
    while connection._outgoing:
        text = await connection.next_message()
        assert text is not None
        events.append(_event.validate_json(text))
    return events


async def kinds(connection: LiveConnection) -> list[str]:
    return [event.fact.type for event in await received(connection)]


@pytest.fixture
async def hub(database: Database) -> LiveHub:
    hub = LiveHub()
    await hub.look()
    return hub


@pytest.fixture
async def post(database: Database) -> Post:
    return await create_post(status=PostStatus.PUBLISHED, likes_count=3, comments_count=2)


class TestSubscribe:
    async def test_only_what_happens_afterwards_and_is_followed_is_told(self, hub: LiveHub, post: Post) -> None:
        connection = open_connection(hub)
        await happen((EventType.POST_UPDATED, f"post:{post.id}"))
        await hub.look()

        await hub.subscribe(connection, ["posts"])
        await happen((EventType.POST_PUBLISHED, f"post:{post.id}"), (EventType.POST_LIKED, f"post:{post.id}"))
        await hub.look()

        (event,) = await received(connection)
        assert (event.sequence, event.topics) == (2, ["posts"])
        assert event.fact.model_dump() == {"type": "post.published", "post_id": post.id, "slug": post.slug, "title": post.title}

    async def test_event_of_two_topics_is_told_once(self, hub: LiveHub, post: Post) -> None:
        connection = open_connection(hub)
        await hub.subscribe(connection, ["posts", f"post:{post.id}"])
        await happen((EventType.POST_UPDATED, f"post:{post.id}"))
        await hub.look()

        (event,) = await received(connection)
        assert event.topics == [f"post:{post.id}", "posts"]

    @pytest.mark.parametrize(
        "topic", ["user:656565656565656565656565", "moderation", "post:1", "post:", "users", "", "*", "posts:1"]
    )
    async def test_foreign_and_absent_topics_are_refused_alike(self, hub: LiveHub, topic: str) -> None:
        connection = open_connection(hub)

        with pytest.raises(TopicNotFoundError) as refused:
            await hub.subscribe(connection, ["posts", topic])

        assert str(refused.value) == "There is no such topic."
        assert connection.topics == {}

    async def test_moderators_follow_moderation_and_everyone_themselves(self, hub: LiveHub) -> None:
        editor = make_viewer(Role.EDITOR)
        connection = open_connection(hub, editor)

        await hub.subscribe(connection, ["moderation", f"user:{editor.user_id}"])

        assert set(connection.topics) == {"moderation", f"user:{editor.user_id}"}

    async def test_unknown_connection_follows_nothing(self, hub: LiveHub) -> None:
        with pytest.raises(TopicNotFoundError):
            await hub.subscribe(hub.connect("203.0.113.7"), ["posts"])

    async def test_topics_are_bounded(self, hub: LiveHub) -> None:
        connection = open_connection(hub)
        await hub.subscribe(connection, [f"post:{PydanticObjectId()}" for _ in range(MAX_TOPICS)])

        with pytest.raises(TooManyTopicsError):
            await hub.subscribe(connection, ["posts"])
        assert len(connection.topics) == MAX_TOPICS


class TestResume:
    async def test_missed_events_are_told_once_and_before_later_ones(self, hub: LiveHub, post: Post) -> None:
        subject = f"post:{post.id}"
        await happen(*[(EventType.POST_LIKED, subject)] * 250)
        while await hub.look():
            pass
        connection = open_connection(hub)
        told: list[int] = []

        async def read() -> None:
            while len(told) < 245:
                text = await connection.next_message()
                assert text is not None
                told.append(_event.validate_json(text).sequence)

        async def go_on() -> None:
            for _ in range(5):
                await happen(*[(EventType.POST_LIKED, subject)] * 3)
                await hub.look()

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            group.create_task(hub.subscribe(connection, [subject], since=20))
            group.create_task(go_on())

        assert told == list(range(21, 266))

    async def test_confirmation_comes_before_the_missed_events(self, hub: LiveHub, post: Post) -> None:
        await happen((EventType.POST_UPDATED, f"post:{post.id}"), (EventType.POST_UPDATED, f"post:{post.id}"))
        await hub.look()
        connection = open_connection(hub)
        confirmed: list[tuple[int, int]] = []

        await hub.subscribe(
            connection, ["posts"], since=1, confirm=lambda position: confirmed.append((position, len(connection._outgoing)))
        )

        assert confirmed == [(2, 0)]
        assert [event.sequence for event in await received(connection)] == [2]

    async def test_process_that_lags_behind_tells_nothing_twice(self, hub: LiveHub, post: Post) -> None:
        await happen(*[(EventType.POST_UPDATED, f"post:{post.id}")] * 3)
        await EventService.number_new()  # another process has told them already; this hub has not looked
        connection = open_connection(hub)

        await hub.subscribe(connection, ["posts"], since=2)
        await hub.look()

        assert [event.sequence for event in await received(connection)] == [3]

    async def test_resuming_too_far_back_is_refused(self, hub: LiveHub) -> None:
        hub.position = MAX_RESUMED + 5
        connection = open_connection(hub)

        with pytest.raises(ResumeTooFarError):
            await hub.subscribe(connection, ["posts"], since=4)
        assert connection.topics == {}


class TestLook:
    async def test_first_look_tells_nothing_of_the_past(self, database: Database, post: Post) -> None:
        await happen((EventType.POST_UPDATED, f"post:{post.id}"))
        await EventService.number_new()

        hub = LiveHub()
        await hub.look()

        assert hub.position == 1

    async def test_every_fact_with_its_figures(self, hub: LiveHub, post: Post) -> None:
        user = await create_user(followers_count=4)
        connection = open_connection(hub, make_viewer(Role.EDITOR, user_id=user.id))
        await hub.subscribe(connection, ["posts", f"post:{post.id}", "moderation", f"user:{user.id}"])
        pending = await create_comment(post, CommentStatus.PENDING)
        approved = await create_comment(post, CommentStatus.APPROVED, likes_count=7)
        rejected = await create_comment(post, CommentStatus.REJECTED)
        gone = await create_post(status=PostStatus.ARCHIVED)

        await happen(
            (EventType.POST_LIKED, f"post:{post.id}"),
            (EventType.POST_UNLIKED, f"post:{post.id}"),
            (EventType.COMMENT_CREATED, f"comment:{pending.id}"),
            (EventType.COMMENT_APPROVED, f"comment:{approved.id}"),
            (EventType.COMMENT_LIKED, f"comment:{approved.id}"),
            (EventType.COMMENT_WITHDRAWN, f"comment:{rejected.id}"),
            (EventType.POST_WITHDRAWN, f"post:{gone.id}"),
            (EventType.USER_FOLLOWED, f"user:{user.id}"),
        )
        await hub.look()

        shown = [event.fact.model_dump() for event in await received(connection)]
        assert shown == [
            {"type": "post.likes", "post_id": post.id, "likes_count": 3},
            {"type": "post.likes", "post_id": post.id, "likes_count": 3},
            {"type": "comment.waiting", "post_id": post.id, "comment_id": pending.id},
            {"type": "comment.approved", "post_id": post.id, "comment_id": approved.id, "comments_count": 2},
            {"type": "comment.likes", "post_id": post.id, "comment_id": approved.id, "likes_count": 7},
            {"type": "comment.withdrawn", "post_id": post.id, "comment_id": rejected.id, "comments_count": 2},
            {"type": "post.withdrawn", "post_id": gone.id},
            {"type": "user.followers", "user_id": user.id, "followers_count": 4},
        ]

    async def test_nothing_private_is_told(self, hub: LiveHub, post: Post) -> None:
        """Drafts, comments that wait, people's own affairs and accounts: no public topic hears of them."""
        draft = await create_post(status=PostStatus.DRAFT)
        waiting = await create_comment(post, CommentStatus.PENDING)
        on_draft = await create_comment(draft, CommentStatus.APPROVED)
        user = await create_user()
        connection = open_connection(hub)
        await hub.subscribe(connection, ["posts", f"post:{post.id}", f"post:{draft.id}"])

        await happen(
            (EventType.POST_CREATED, f"post:{draft.id}"),
            (EventType.POST_UPDATED, f"post:{draft.id}"),
            (EventType.POST_PUBLISHED, f"post:{draft.id}"),
            (EventType.POST_LIKED, f"post:{draft.id}"),
            (EventType.COMMENT_CREATED, f"comment:{waiting.id}"),
            (EventType.COMMENT_APPROVED, f"comment:{waiting.id}"),
            (EventType.COMMENT_LIKED, f"comment:{waiting.id}"),
            (EventType.COMMENT_APPROVED, f"comment:{on_draft.id}"),
            (EventType.COMMENT_APPROVED, f"comment:{PydanticObjectId()}"),
            (EventType.POST_WITHDRAWN, f"post:{post.id}"),  # and public again since
            (EventType.USER_CREATED, f"user:{user.id}"),
            (EventType.USER_FOLLOWED, f"user:{user.id}"),
            (EventType.PASSWORD_RESET_REQUESTED, "password_reset:x"),
            (EventType.CATEGORY_CHANGED, f"category:{user.id}"),
        )
        await hub.look()

        assert await kinds(connection) == []

    async def test_every_type_of_event_is_borne(self, hub: LiveHub) -> None:
        connection = open_connection(hub)
        await hub.subscribe(connection, ["posts"])
        await happen(*[(type, f"{type.partition('.')[0]}:{PydanticObjectId()}") for type in EventType])

        assert await hub.look() == len(EventType)
        assert await kinds(connection) == ["post.withdrawn"]

    async def test_without_connections_nothing_is_read_but_the_events(self, hub: LiveHub, post: Post, commands: Any) -> None:
        await happen((EventType.POST_UPDATED, f"post:{post.id}"))
        await EventService.number_new()

        with commands.counting() as sent:
            await hub.look()

        assert sent.sent == ["find events", "find events"]

    async def test_session_over_ends_its_connections_alone(self, hub: LiveHub) -> None:
        mine, other_device, someone = make_viewer(), make_viewer(), make_viewer()
        other_device = make_viewer(user_id=mine.user_id)
        connections = [open_connection(hub, viewer) for viewer in (mine, other_device, someone)]

        await happen((EventType.USER_SESSIONS_REVOKED, f"user:{mine.user_id}"), payload={"session_ids": [str(mine.session_id)]})
        await hub.look()
        assert [connection.end_code for connection in connections] == [SESSION_OVER, 0, 0]

        await happen((EventType.USER_SESSIONS_REVOKED, f"user:{mine.user_id}"))
        await hub.look()
        assert [connection.end_code for connection in connections] == [SESSION_OVER, SESSION_OVER, 0]

    async def test_listeners_hear_their_types_and_one_that_fails_stops_nobody(self, database: Database, post: Post) -> None:
        heard: list[str] = []

        async def listen(event: Event) -> None:
            heard.append(event.type)

        async def fail(event: Event) -> None:
            raise ValueError

        wanted = {EventType.TAG_CHANGED}
        hub = LiveHub(listeners=[Consumer("bad", wanted, fail), Consumer("good", wanted, listen)])
        await hub.look()
        await happen((EventType.TAG_CHANGED, "tag:1"), (EventType.POST_UPDATED, f"post:{post.id}"))
        await hub.look()

        assert heard == [EventType.TAG_CHANGED]
        assert hub.position == 2


class TestSlowClients:
    async def test_blg_a4_one_that_does_not_read_is_cut_off_and_the_others_hear_everything(
        self, hub: LiveHub, post: Post
    ) -> None:
        stalled, reading = open_connection(hub), open_connection(hub)
        for connection in (stalled, reading):
            await hub.subscribe(connection, ["posts"])
        heard: list[str] = []

        for _ in range(QUEUE_LENGTH // 50 + 1):
            await happen(*[(EventType.POST_UPDATED, f"post:{post.id}")] * 50)
            await hub.look()
            heard += await kinds(reading)

        assert len(heard) == 150
        assert (stalled.end_code, stalled.end_reason) == (TRY_AGAIN_LATER, "too_slow")
        assert await stalled.next_message() is None

    async def test_first_reason_to_end_stands(self, hub: LiveHub) -> None:
        connection = open_connection(hub)
        connection.send("queued")
        connection.end(1008, "first", last_words="goodbye")
        connection.end(1000, "second")
        connection.send("too late")

        assert (connection.end_code, connection.end_reason) == (1008, "first")
        assert [await connection.next_message(), await connection.next_message()] == ["goodbye", None]

    async def test_too_much_happening_during_a_resume_cuts_off(self, hub: LiveHub) -> None:
        connection = open_connection(hub)
        async with connection.holding():
            for _ in range(QUEUE_LENGTH):
                connection.tell("x")

        assert connection.end_code == TRY_AGAIN_LATER


class TestLimits:
    async def test_connections_are_bounded_per_person_per_unknown_address_and_in_all(self, database: Database) -> None:
        hub = LiveHub(max_connections=5, max_per_user=2, max_unknown_per_address=3)
        viewer = make_viewer()
        first = open_connection(hub, viewer)
        open_connection(hub, viewer)
        third = hub.connect("203.0.113.7")
        with pytest.raises(TooManyConnectionsError):
            hub.identify(third, viewer)
        hub.disconnect(first)
        hub.identify(third, viewer)

        for _ in range(3):
            hub.connect("198.51.100.1")
        with pytest.raises(TooManyConnectionsError):
            hub.connect("198.51.100.1")
        with pytest.raises(TooManyConnectionsError):
            hub.connect("198.51.100.2")  # five in all

    async def test_disconnecting_twice_is_harmless(self, hub: LiveHub) -> None:
        connection = open_connection(hub)
        hub.disconnect(connection)
        hub.disconnect(connection)
        assert hub.connections == set()


class TestRunning:
    async def test_follows_until_the_end_and_then_ends_everyone(self, database: Database, post: Post) -> None:
        hub = LiveHub()
        async with hub.running(poll_seconds=0.01):
            connection = open_connection(hub)
            await hub.subscribe(connection, ["posts"])
            await happen((EventType.POST_UPDATED, f"post:{post.id}"))
            async with asyncio.timeout(patiently(2)):
                assert await connection.next_message() is not None

        assert (connection.end_code, connection.end_reason) == (1001, "going_away")

    async def test_survives_a_database_that_is_away(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        looks = 0

        async def look(hub: LiveHub) -> int:
            nonlocal looks
            looks += 1
            if looks == 1:
                raise DatabaseUnavailableError("away")
            return 0

        monkeypatch.setattr(LiveHub, "look", look)
        monkeypatch.setattr("services.live.PAUSE_SECONDS", 0.01)
        async with LiveHub().running(poll_seconds=0.01):
            await asyncio.sleep(0.1)

        assert looks > 1


async def create_comment(post: Post, status: CommentStatus, **over: Any) -> Comment:
    return await Comment(post_id=post.id, content="x", content_html="<p>x</p>", author_name="Jane", status=status, **over).store()
