"""Sessions: opaque tokens of which only the hash is stored, one read per authenticated request, revocable at any moment."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session, after_commit, run_transaction
from models.events import EventType
from models.users import LoginSession, Role, SessionRead, User
from services.cache import Cache
from services.errors import NotFoundError, UnauthenticatedError
from services.events import EventService
from services.settings import Settings
from services.users.permissions import Viewer

TOKEN_BYTES = 32
MAX_SESSIONS_LISTED = 100
_TOKEN_LENGTH = 43  # of 32 bytes in unpadded base64url
_TOUCH_EVERY = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Where a request comes from, as far as that is known."""

    address: str
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session and its token, which exists in clear only here."""

    token: str
    session: LoginSession


@dataclass(frozen=True, slots=True)
class _Known:
    viewer: Viewer
    expires_at: datetime


class SessionNotFoundError(NotFoundError):
    """No such session, or somebody else's, or one that is over."""

    code = "session_not_found"

    def __init__(self, session_id: object = None) -> None:
        super().__init__("session", session_id)


# A revoked session is refused at once by the process that revoked it and within this second by every other one (RELIABILITY S8).
_known: Cache[str, _Known] = Cache("sessions", ttl=1.0, size=10_000)


class SessionService:
    @staticmethod
    async def create(
        session: Session, user: User, *, device_id: str, client: ClientInfo, settings: Settings, now: datetime
    ) -> NewSession:
        """Open a session for `user` within a transaction; the token is told this once."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        opened = LoginSession(
            user_id=user.id,
            username=user.username,
            role=user.role,
            token_hash=hash_token(token),
            device_id=device_id,
            address=client.address,
            user_agent=client.user_agent[:300],
            last_seen_at=now,
            expires_at=now + timedelta(hours=settings.session_hours),
        )
        await opened.store(session=session)
        return NewSession(token, opened)

    @staticmethod
    async def find_viewer(token: str, *, now: datetime | None = None) -> Viewer | None:
        """Whose token this is; None for an unknown, ended or expired one.

        One read by the unique `token_hash`, or none when the token was seen within the last second. Every five minutes the read
        is followed by one write that notes when the session was last seen.
        """
        if len(token) != _TOKEN_LENGTH:
            return None
        now = now or present()
        token_hash = hash_token(token)
        try:
            known = await _known.get_or_load(token_hash, lambda: _load(token_hash, now))
        except UnauthenticatedError:
            return None
        return known.viewer if now < known.expires_at else None

    @staticmethod
    async def list_active(viewer: Viewer, *, now: datetime | None = None) -> list[SessionRead]:
        """The viewer's sessions, newest first, at most 100; without those that are over and not yet removed."""
        now = now or present()
        rows = await LoginSession.find_rows({"user_id": viewer.user_id}, sort=[("_id", -1)], limit=MAX_SESSIONS_LISTED)
        return [_read(LoginSession.from_row(row), viewer) for row in rows if now < row["expires_at"]]

    @staticmethod
    async def extend(
        session_id: PydanticObjectId | None, *, viewer: Viewer, settings: Settings, now: datetime | None = None
    ) -> SessionRead:
        """Give one of the viewer's sessions its full life from now.

        Raises SessionNotFoundError for somebody else's, and for one that is over: it stays over.
        """
        now = now or present()
        extended = await LoginSession.change(
            {"_id": session_id, "user_id": viewer.user_id, "expires_at": {"$gt": now}},
            {"$set": {"expires_at": now + timedelta(hours=settings.session_hours), "last_seen_at": now}},
        )
        if extended is None:
            raise SessionNotFoundError(session_id)
        SessionService.forget([extended.token_hash])
        return _read(extended, viewer)

    @staticmethod
    async def revoke(session_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """End one of the viewer's sessions. Raises SessionNotFoundError, also for somebody else's."""

        async def work(session: Session) -> list[str]:
            return await SessionService.revoke_within(session, viewer.user_id, only=session_id, actor_id=viewer.user_id)

        ended = await run_transaction(work)
        if not ended:
            raise SessionNotFoundError(session_id)
        SessionService.forget(ended)

    @staticmethod
    async def revoke_others(viewer: Viewer) -> int:
        """End all of the viewer's sessions but the one that asks; returns how many."""

        async def work(session: Session) -> list[str]:
            return await SessionService.revoke_within(session, viewer.user_id, keep=viewer.session_id, actor_id=viewer.user_id)

        ended = await run_transaction(work)
        SessionService.forget(ended)
        return len(ended)

    @staticmethod
    async def revoke_within(
        session: Session,
        user_id: PydanticObjectId,
        *,
        only: PydanticObjectId | None = None,
        keep: PydanticObjectId | None = None,
        actor_id: PydanticObjectId | None = None,
    ) -> list[str]:
        """End a person's sessions in the transaction of the reason: all, `only` one, or all but the one to `keep`.

        Returns their token hashes, which the caller hands to `forget` after the commit.
        """
        query: dict[str, object] = {"user_id": user_id}
        if only is not None:
            query["_id"] = only
        elif keep is not None:
            query["_id"] = {"$ne": keep}
        rows = await LoginSession.find_rows(query, {"token_hash": 1}, session=session)
        if not rows:
            return []
        await LoginSession.collection().delete_many({"_id": {"$in": [row["_id"] for row in rows]}}, session=session)
        is_all = only is None and keep is None
        await EventService.record(
            session,
            EventType.USER_SESSIONS_REVOKED,
            f"user:{user_id}",
            actor_id=actor_id,
            payload={} if is_all else {"session_ids": [str(row["_id"]) for row in rows]},
        )
        return [row["token_hash"] for row in rows]

    @staticmethod
    def forget(token_hashes: Sequence[str]) -> None:
        """Let this process feel an end at once, or as soon as the running transaction is committed."""
        if token_hashes:
            after_commit(partial(_known.invalidate, token_hashes))

    @staticmethod
    async def cleanup_expired(*, now: datetime | None = None) -> int:
        """Delete sessions that are over and return how many. The TTL index does the same in its own time."""
        result = await LoginSession.collection().delete_many({"expires_at": {"$lte": now or present()}})
        deleted: int = result.deleted_count
        return deleted


def hash_token(token: str) -> str:
    """What is stored of a token. It has 256 random bits, so a plain hash is enough: there is nothing to guess."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


_FIELDS = {"user_id": 1, "username": 1, "role": 1, "expires_at": 1, "last_seen_at": 1}


async def _load(token_hash: str, now: datetime) -> _Known:
    row = await LoginSession.find_row({"token_hash": token_hash}, _FIELDS)
    if row is None or row["expires_at"] <= now:
        raise UnauthenticatedError
    if row["last_seen_at"] < now - _TOUCH_EVERY:
        stale = {"_id": row["_id"], "last_seen_at": row["last_seen_at"]}  # of several requests at once, one writes
        await LoginSession.change(stale, {"$set": {"last_seen_at": now}})
    viewer = Viewer(PydanticObjectId(row["user_id"]), row["username"], Role(row["role"]), PydanticObjectId(row["_id"]))
    return _Known(viewer, row["expires_at"])


def _read(session: LoginSession, viewer: Viewer) -> SessionRead:
    return SessionRead(
        id=session.id,
        is_current=session.id == viewer.session_id,
        address=session.address,
        user_agent=session.user_agent,
        created_at=session.created_at,
        last_seen_at=session.last_seen_at,
        expires_at=session.expires_at,
    )
