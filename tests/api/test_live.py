"""`/ws` on a real server over loopback: who gets in, what they are told, and what ends a connection."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
import websockets
from beanie import PydanticObjectId
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from api.app import create_app
from api.routes import live
from models.base import now
from models.blog.posts import Post, PostStatus
from models.database import Database, run_transaction
from models.events import EventType
from models.users import Role
from services.events import EventService
from services.live import LiveHub
from services.settings import Settings
from services.users.sessions import SessionService, hash_token
from tests.factories.blog import create_post
from tests.factories.users import create_session, create_user, open_session, viewer_of
from tests.races import patiently

Server = tuple[str, LiveHub]


class QuietServer(uvicorn.Server):
    """A server that leaves the signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@pytest.fixture
async def server(request: pytest.FixtureRequest, settings: Settings, database: Database) -> AsyncIterator[Server]:
    """The application served on a free port, following the events every 20 ms; its parameter is the seconds between two pings."""
    pings: float = getattr(request, "param", 20.0)
    following = settings.model_copy(
        update={"live_poll_seconds": 0.02, "base_url": "https://agora.example", "cors_origins": ["https://friend.example"]}
    )
    app = create_app(following, database=database)
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        ws_ping_interval=pings,
        ws_ping_timeout=patiently(pings / 2),
        lifespan="on",
        timeout_graceful_shutdown=2,
    )
    running = QuietServer(config)
    task = asyncio.create_task(running.serve())
    await eventually(lambda: running.started)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield f"ws://127.0.0.1:{port}/ws", app.state.live
    running.should_exit = True
    await task


@pytest.fixture
async def token(database: Database) -> str:
    return await create_session(await create_user())


@pytest.fixture
async def post(database: Database) -> Post:
    return await create_post(status=PostStatus.PUBLISHED)


@contextlib.asynccontextmanager
async def signed_in(server: Server, token: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """A connection whose `ready` has been read."""
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(server[0], additional_headers=headers, close_timeout=0.5, **options) as socket:
        assert (await next_of(socket))["type"] == "ready"
        yield socket


async def eventually(condition: Callable[[], bool], *, seconds: float = 5) -> None:
    async with asyncio.timeout(patiently(seconds)):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


async def next_of(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(patiently(3)):
        message: dict[str, Any] = json.loads(await socket.recv())
    return message


async def say(socket: ClientConnection, **message: Any) -> dict[str, Any]:
    await socket.send(json.dumps(message))
    return await next_of(socket)


async def closed_with(socket: ClientConnection, *, seconds: float = 3) -> tuple[int, list[dict[str, Any]]]:
    """The code the server closes with, and what it says before."""
    said = []
    try:
        async with asyncio.timeout(patiently(seconds)):
            while True:
                said.append(json.loads(await socket.recv()))
    except ConnectionClosed:
        return socket.close_code or 0, said


async def happen(type: EventType, subject: str, *, times: int = 1) -> None:
    async def work(session: object) -> None:
        for _ in range(times):
            await EventService.record(session, type, subject)

    await run_transaction(work)


class TestGettingIn:
    async def test_blg_a4_nobody_gets_in_without_saying_who_they_are(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live, "AUTHENTICATE_SECONDS", 0.1)
        async with connect(server[0]) as socket:
            code, said = await closed_with(socket)

        assert code == 4401
        assert [message["code"] for message in said] == ["not_authenticated"]
        assert server[1].connections == set()

    @pytest.mark.parametrize(
        "first",
        [
            '{"type":"subscribe","topics":["posts"]}',
            '{"type":"ping"}',
            "not json",
            '{"type":"authenticate","token":{"$gt":""}}',
            b"x",
        ],
    )
    async def test_first_message_must_say_who_it_is(self, server: Server, first: str | bytes) -> None:
        async with connect(server[0]) as socket:
            await socket.send(first)
            code, said = await closed_with(socket)

        assert (code, said[0]["type"]) == (4401, "error")

    async def test_unknown_token_is_refused_in_header_and_message(self, server: Server, database: Database) -> None:
        wrong = "A" * 43
        async with connect(server[0], additional_headers={"Authorization": f"Bearer {wrong}"}) as socket:
            assert (await closed_with(socket))[0] == 4401
        async with connect(server[0]) as socket:
            await socket.send(json.dumps({"type": "authenticate", "token": wrong}))
            code, said = await closed_with(socket)
            assert (code, said[0]["code"]) == (4401, "unauthenticated")

    async def test_token_in_the_first_message_lets_in(self, server: Server) -> None:
        user = await create_user()
        async with connect(server[0]) as socket:
            answer = await say(socket, type="authenticate", token=await create_session(user))

        assert answer == {"type": "ready", "user_id": str(user.id), "sequence": 0}

    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "null", "https://agora.example.evil.example", "http://agora.example"]
    )
    async def test_s9_foreign_origin_is_refused_before_the_handshake(self, server: Server, token: str, origin: str) -> None:
        with pytest.raises(InvalidStatus) as refused:
            await connect(server[0], additional_headers={"Authorization": f"Bearer {token}"}, origin=websockets.Origin(origin))

        assert refused.value.response.status_code == 403

    @pytest.mark.parametrize("origin", ["https://agora.example", "https://friend.example"])
    async def test_own_and_configured_origins_are_let_in(self, server: Server, token: str, origin: str) -> None:
        async with signed_in(server, token, origin=websockets.Origin(origin)) as socket:
            assert await say(socket, type="ping", id="1") == {"type": "pong", "id": "1"}

    async def test_connections_per_person_are_bounded(self, server: Server, token: str) -> None:
        server[1].max_per_user = 1
        async with signed_in(server, token):
            async with connect(server[0], additional_headers={"Authorization": f"Bearer {token}"}) as second:
                code, said = await closed_with(second)
            assert (code, said[0]["code"]) == (1013, "too_many_connections")

    async def test_full_house_is_told(self, server: Server, token: str) -> None:
        server[1].max_connections = 0
        async with connect(server[0]) as socket:
            assert (await closed_with(socket))[0] == 1013


class TestTopics:
    async def test_blg_a4_typed_events_of_the_topic_arrive_in_order(self, server: Server, token: str, post: Post) -> None:
        topic = f"post:{post.id}"
        async with signed_in(server, token) as socket:
            assert await say(socket, type="subscribe", topics=[topic], id="s") == {
                "type": "subscribed",
                "topics": [topic],
                "sequence": 0,
                "id": "s",
            }
            await happen(EventType.POST_LIKED, topic)
            await happen(EventType.POST_UPDATED, topic)
            await happen(EventType.POST_UPDATED, f"post:{(await create_post(status=PostStatus.PUBLISHED)).id}")
            await happen(EventType.POST_LIKED, topic)
            told = [await next_of(socket) for _ in range(3)]

            assert [(event["sequence"], event["fact"]["type"]) for event in told] == [
                (1, "post.likes"),
                (2, "post.updated"),
                (4, "post.likes"),
            ]
            assert (await say(socket, type="unsubscribe", topics=[topic]))["type"] == "unsubscribed"
            await happen(EventType.POST_LIKED, topic)
            await asyncio.sleep(0.1)
            assert (await say(socket, type="ping"))["type"] == "pong"

    async def test_foreign_topic_is_refused_and_the_connection_stays(self, server: Server, token: str) -> None:
        async with signed_in(server, token) as socket:
            for topic in ("moderation", f"user:{PydanticObjectId()}", "nonsense"):
                answer = await say(socket, type="subscribe", topics=[topic], id="7")
                assert (answer["type"], answer["code"], answer["id"]) == ("error", "topic_not_found", "7")
            assert (await say(socket, type="ping"))["type"] == "pong"

    async def test_editor_hears_of_moderation(self, server: Server) -> None:
        async with signed_in(server, await create_session(await create_user(role=Role.EDITOR))) as socket:
            assert (await say(socket, type="subscribe", topics=["moderation"]))["type"] == "subscribed"

    async def test_s9_twenty_reconnects_lose_nothing_and_hear_nothing_twice(self, server: Server, token: str, post: Post) -> None:
        topic, seen = f"post:{post.id}", [0]

        async def go_on() -> None:
            for _ in range(40):
                await happen(EventType.POST_LIKED, topic, times=25)

        writing = asyncio.create_task(go_on())
        reconnects = 0
        while seen[-1] < 1000:
            async with signed_in(server, token) as socket:
                await socket.send(json.dumps({"type": "subscribe", "topics": [topic], "since": seen[-1]}))
                # Cut off for being too slow, as a busy machine may be, a client comes back like after any other break.
                with contextlib.suppress(ConnectionClosedError):
                    for _ in range(60):
                        message = await next_of(socket)
                        if message["type"] == "event":
                            seen.append(message["sequence"])
                        if seen[-1] == 1000:
                            break
                socket.transport.abort()  # the line breaks with messages under way
            reconnects += 1
        await writing

        assert reconnects >= 17
        assert seen == list(range(1001))


class TestEnding:
    async def test_s9_logout_closes_within_two_seconds(self, server: Server) -> None:
        user = await create_user()
        first, second = await open_session(user), await open_session(user)
        async with signed_in(server, first.token) as ended, signed_in(server, second.token) as staying:
            await SessionService.revoke(first.session.id, viewer=viewer_of(user, second.session))

            code, said = await closed_with(ended, seconds=2)
            assert (code, said) == (4401, [])
            assert (await say(staying, type="ping"))["type"] == "pong"

    async def test_session_that_runs_out_is_noticed_at_the_next_beat(
        self, server: Server, token: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live, "_FIRST_CHECK_SECONDS", 0.05)
        async with signed_in(server, token) as socket:
            await SessionService.cleanup_expired(now=now() + timedelta(days=2))
            SessionService.forget([hash_token(token)])

            assert (await closed_with(socket))[0] == 4401

    async def test_heartbeat_is_sent(self, server: Server, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(live, "_FIRST_CHECK_SECONDS", 0.01)
        monkeypatch.setattr(live, "PING_SECONDS", 0.02)
        async with signed_in(server, token) as socket:
            assert await next_of(socket) == {"type": "ping"}

    @pytest.mark.parametrize(
        ("message", "code", "error"),
        [
            ("hello", 1008, "malformed_message"),
            ("[]", 1008, "malformed_message"),
            ('{"type":"broadcast","text":"to all"}', 1008, "malformed_message"),
            ('{"type":"ping","extra":1}', 1008, "malformed_message"),
            ('{"type":"subscribe","topics":[]}', 1008, "malformed_message"),
            ('{"type":"subscribe","topics":["posts"],"since":-1}', 1008, "malformed_message"),
            ('{"type":"subscribe","topics":["posts"],"since":NaN}', 1008, "malformed_message"),
            ('{"type":"subscribe","topics":[{"$ne":1}]}', 1008, "malformed_message"),
            ('{"type":"authenticate","token":"again"}', 1008, "malformed_message"),
            ("[" * 8000, 1008, "malformed_message"),
            ('{"type":"ping","id":"\\ud800"}', 1008, "malformed_message"),
            (b"\x00\x01", 1008, "malformed_message"),
            ("x" * 8193, 1009, "message_too_large"),
            ("\u20ac" * 3000, 1009, "message_too_large"),
            ("x" * 65_536, 1009, "message_too_large"),
        ],
        ids=range(15),
    )
    async def test_blg_a4_what_is_no_message_is_refused_and_nobody_hears_it(
        self, server: Server, token: str, message: str | bytes, code: int, error: str
    ) -> None:
        async with signed_in(server, token) as listener, signed_in(server, token) as socket:
            await say(listener, type="subscribe", topics=["posts"])
            await socket.send(message)

            closed, said = await closed_with(socket)
            assert (closed, [told["code"] for told in said]) == (code, [error])
            assert str(message[:20]) not in json.dumps(said)
            assert await say(listener, type="ping") == {"type": "pong", "id": None}

    async def test_too_many_messages_a_second_close(self, server: Server, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
        async with signed_in(server, token) as socket:
            moment = time.monotonic()  # all of them in one, however slow the machine
            monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: moment))
            for _ in range(30):
                await socket.send('{"type":"ping"}')

            code, said = await closed_with(socket)
            assert (code, said[-1]["code"]) == (1008, "rate_limited")
            assert len(said) <= 21

    @pytest.mark.parametrize("server", [0.3], indirect=True)
    async def test_s9_stalled_reader_delays_nobody_and_is_dropped(self, server: Server, token: str, post: Post) -> None:
        """BLG-A4: one dead peer does not end the broadcast."""
        topic = f"post:{post.id}"
        async with signed_in(server, token) as reading, signed_in(server, token, max_queue=1) as stalled:
            for socket in (stalled, reading):
                await say(socket, type="subscribe", topics=[topic])
            stalled.transport.pause_reading()
            before = len(server[1].connections)
            longest = 0.0
            for _ in range(15):
                begun = asyncio.get_running_loop().time()
                await happen(EventType.POST_LIKED, topic, times=10)
                for _ in range(10):
                    assert (await next_of(reading))["type"] == "event"
                longest = max(longest, asyncio.get_running_loop().time() - begun)
            await eventually(lambda: len(server[1].connections) < before)

        assert longest < patiently(0.5)

    async def test_peer_that_vanishes_is_forgotten(self, server: Server, token: str, post: Post) -> None:
        async with signed_in(server, token) as staying:
            await say(staying, type="subscribe", topics=["posts"])
            async with signed_in(server, token) as vanishing:
                vanishing.transport.abort()
            await eventually(lambda: len(server[1].connections) == 1)
            await happen(EventType.POST_UPDATED, f"post:{post.id}")
            assert (await next_of(staying))["fact"]["type"] == "post.updated"
