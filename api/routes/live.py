"""`/ws`: live activity over a WebSocket, authenticated, typed and bounded.

The server's own control pings (uvicorn: every 20 seconds, 20 seconds to answer) drop peers that are gone; the queue of
`services.live` drops those that are there and do not read.
"""

import asyncio
import contextlib
import time
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, Field, TypeAdapter
from starlette.websockets import WebSocketDisconnect

from api.client import client_info
from api.schemas.live import (
    Authenticate,
    ClientPing,
    ErrorMessage,
    Pong,
    Ready,
    ServerPing,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from models.database import DatabaseUnavailableError, PyMongoError, heed_cancellation
from services.errors import AppError
from services.live import SESSION_OVER, TRY_AGAIN_LATER, LiveConnection, LiveHub, TooManyConnectionsError
from services.settings import Settings
from services.users.sessions import SessionService

MAX_MESSAGE_BYTES = 8 * 1024
MAX_MESSAGES_PER_SECOND = 20
AUTHENTICATE_SECONDS = 5.0
PING_SECONDS = 20.0
_FIRST_CHECK_SECONDS = 2.0  # a session that was revoked in the second in which it was looked up is noticed here
_CLOSE_SECONDS = 1.0

_POLICY_VIOLATION = 1008
_TOO_BIG = 1009
_INTERNAL_ERROR = 1011

Message: TypeAlias = Annotated[Authenticate | Subscribe | Unsubscribe | ClientPing, Field(discriminator="type")]

log = structlog.get_logger(__name__)

router = APIRouter()
_messages: TypeAdapter[Message] = TypeAdapter(Message)


class _MalformedError(Exception):
    """What the client sent cannot stand: it is told so and the connection closed."""

    def __init__(self, close_code: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.close_code = close_code
        self.code = code


@router.websocket("/ws", name="live")
async def live(websocket: WebSocket) -> None:
    """Refuses foreign origins before the handshake; everyone else has five seconds to say who they are."""
    settings: Settings = websocket.app.state.settings
    hub: LiveHub = websocket.app.state.live
    if not _is_allowed_origin(websocket, settings):
        await websocket.close(_POLICY_VIOLATION)  # before the handshake: HTTP 403
        return
    await websocket.accept()
    try:
        connection = hub.connect(client_info(websocket.scope, settings.trusted_proxies).address)
    except TooManyConnectionsError as error:
        await websocket.close(TRY_AGAIN_LATER, error.code)
        return
    try:
        await _Conversation(websocket, hub, connection).hold()
    finally:
        hub.disconnect(connection)


def _is_allowed_origin(websocket: WebSocket, settings: Settings) -> bool:
    """Programs send no Origin; of web pages only our own and the configured ones may connect."""
    origin = websocket.headers.get("origin")
    if origin is None:
        return True
    base = urlsplit(settings.base_url)
    return origin in (f"{base.scheme}://{base.netloc}", *settings.cors_origins)


class _Conversation:
    """One client's connection: who they are, then what they ask and what they are told, until either side ends it."""

    def __init__(self, websocket: WebSocket, hub: LiveHub, connection: LiveConnection) -> None:
        self.websocket = websocket
        self.hub = hub
        self.connection = connection
        self._allowance = float(MAX_MESSAGES_PER_SECOND)
        self._counted_at = time.monotonic()

    async def hold(self) -> None:
        """Run until the connection ends, then say why. A peer that takes no more bytes does not hold this up."""
        listening = asyncio.create_task(self._listen())
        sending = asyncio.create_task(self._send())
        try:
            await self.connection.ended.wait()
            listening.cancel()
            with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):  # gone, or deaf
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await sending
                    await self.websocket.close(self.connection.end_code, self.connection.end_reason)
        finally:
            listening.cancel()
            sending.cancel()
            await asyncio.gather(listening, sending, return_exceptions=True)

    async def _send(self) -> None:
        try:
            while (text := await self.connection.next_message()) is not None:
                await self.websocket.send_text(text)
        except (RuntimeError, WebSocketDisconnect):
            self.connection.end(1000, "gone")

    async def _listen(self) -> None:
        checking: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(AUTHENTICATE_SECONDS):
                token = await self._authenticate()
            checking = asyncio.create_task(self._keep_alive(token))
            while True:
                await self._answer(await self._receive())
        except WebSocketDisconnect:
            self.connection.end(1000, "gone")
        except TimeoutError:
            self._refuse(SESSION_OVER, "not_authenticated", "Say who you are within five seconds.")
        except _MalformedError as error:
            self._refuse(error.close_code, error.code, str(error))
        except TooManyConnectionsError as error:
            self._refuse(TRY_AGAIN_LATER, error.code, error.detail)
        except (PyMongoError, DatabaseUnavailableError):
            self._refuse(TRY_AGAIN_LATER, "database_unavailable", "The database cannot be reached right now.")
        except Exception:
            log.exception("live_connection_failed")
            self._refuse(_INTERNAL_ERROR, "internal_error", "Something went wrong on our side.")
        finally:
            if checking is not None:
                checking.cancel()

    async def _authenticate(self) -> str:
        """The token of who it is, once they are known to the hub."""
        scheme, _, token = self.websocket.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            message = await self._receive(SESSION_OVER)
            if not isinstance(message, Authenticate):
                raise _MalformedError(SESSION_OVER, "not_authenticated", "Say who you are first.")
            token = message.token
        viewer = await SessionService.find_viewer(token.strip())
        if viewer is None:
            raise _MalformedError(SESSION_OVER, "unauthenticated", "This session is over, or never was.")
        self.hub.identify(self.connection, viewer)
        self._tell(Ready(user_id=str(viewer.user_id), sequence=await self.hub.current_position()))
        return token.strip()

    async def _keep_alive(self, token: str) -> None:
        """Ping, and see whether the session still stands: it may run out without an event."""
        pause = _FIRST_CHECK_SECONDS
        while True:
            heed_cancellation()
            await asyncio.sleep(pause)
            try:
                if await SessionService.find_viewer(token) is None:
                    self.connection.end(SESSION_OVER, "session_over")
                    return
            except (PyMongoError, DatabaseUnavailableError):
                heed_cancellation()  # asked again at the next beat
            if pause == PING_SECONDS:
                self._tell(ServerPing())
            pause = PING_SECONDS

    async def _receive(self, close_code: int = _POLICY_VIOLATION) -> Message:
        received = await self.websocket.receive()
        if received["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(received.get("code", 1005))
        self._count()
        text = received.get("text")
        if text is None:
            raise _MalformedError(close_code, "malformed_message", "Messages are JSON texts.")
        if len(text) > MAX_MESSAGE_BYTES or len(text.encode(errors="surrogatepass")) > MAX_MESSAGE_BYTES:
            raise _MalformedError(_TOO_BIG, "message_too_large", f"A message has at most {MAX_MESSAGE_BYTES} bytes.")
        try:
            return _messages.validate_json(text)
        except ValueError as error:
            raise _MalformedError(close_code, "malformed_message", "This is none of the messages known here.") from error

    def _count(self) -> None:
        """A bucket of 20 messages that refills by 20 a second."""
        now = time.monotonic()
        refilled = self._allowance + (now - self._counted_at) * MAX_MESSAGES_PER_SECOND
        self._allowance = min(refilled, MAX_MESSAGES_PER_SECOND) - 1
        self._counted_at = now
        if self._allowance < 0:
            raise _MalformedError(_POLICY_VIOLATION, "rate_limited", f"At most {MAX_MESSAGES_PER_SECOND} messages a second.")

    async def _answer(self, message: Message) -> None:
        if isinstance(message, ClientPing):
            self._tell(Pong(id=message.id))
        elif isinstance(message, Unsubscribe):
            for topic in message.topics:
                self.connection.topics.pop(topic, None)
            self._tell(Unsubscribed(topics=message.topics, id=message.id))
        elif isinstance(message, Subscribe):
            await self._subscribe(message)
        else:
            raise _MalformedError(_POLICY_VIOLATION, "malformed_message", "You have said who you are.")

    async def _subscribe(self, message: Subscribe) -> None:
        def confirm(position: int) -> None:
            self._tell(Subscribed(topics=message.topics, sequence=position, id=message.id))

        try:
            await self.hub.subscribe(self.connection, message.topics, since=message.since, confirm=confirm)
        except AppError as error:
            self._tell(ErrorMessage(code=error.code, detail=error.detail, id=message.id))

    def _tell(self, message: BaseModel) -> None:
        self.connection.send(message.model_dump_json())

    def _refuse(self, close_code: int, code: str, detail: str) -> None:
        last_words = ErrorMessage(code=code, detail=detail, id=None).model_dump_json()
        self.connection.end(close_code, code, last_words=last_words)
