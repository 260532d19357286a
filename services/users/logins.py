"""Signing in: an attempt is reserved before the password is looked at, and all failures look and cost alike."""

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from beanie import PydanticObjectId
from pymongo import ReturnDocument

from models.base import now as present
from models.database import DuplicateKeyError, Session, run_transaction
from models.users import DeviceLock, LoginRecord, LoginRecordRead, User
from services.errors import UnauthenticatedError
from services.pagination import CursorCodec, CursorPage, find_stretch
from services.ratelimits import RateLimitService, RatePolicy
from services.settings import Settings
from services.users.identity import InvalidEmailError, InvalidUsernameError, normalize_email, normalize_username
from services.users.passwords import PasswordService
from services.users.permissions import Viewer
from services.users.sessions import ClientInfo, NewSession, SessionService
from services.users.tokens import device_token, known_device, new_device_id

RECORD_DAYS = 90
_DEVICE_LOCK_DAYS = 30


class InvalidCredentialsError(UnauthenticatedError):
    """Wrong name or password, or an account that may not sign in: which of these is not told."""

    code = "invalid_credentials"

    def __init__(self) -> None:
        super().__init__("The name or the password is wrong, or the account cannot be used right now.")


@dataclass(frozen=True, slots=True)
class Login:
    """A successful login. `device_token` is for the device to keep: it then counts as known."""

    opened: NewSession
    user: User
    device_token: str


@dataclass(frozen=True, slots=True)
class _Reservation:
    """Whether the password may be looked at, and whether a failure leaves the account locked."""

    is_granted: bool
    has_locked: bool


class LoginService:
    @staticmethod
    async def authenticate(
        login: str,
        password: str,
        *,
        device: str | None = None,
        client: ClientInfo,
        settings: Settings,
        now: datetime | None = None,
    ) -> Login:
        """Sign in by username or e-mail address and open a session.

        Raises TooManyAttemptsError, and InvalidCredentialsError for everything else: an unknown name, a wrong password, a locked,
        suspended, unverified or deactivated account. Each of those sends the same commands and computes one Argon2 hash.

        A failure counts against the account or, when `device` is the token of a device known to it, against that device alone:
        whoever locks the account from outside does not lock out its owner (RELIABILITY S7).
        """
        now = now or present()
        await RateLimitService.require(RatePolicy("login", settings.login_attempts, 300), client.address, now=now)
        typed, query = _find_by(login)
        row = await User.find_row(query)
        user = User.from_row(row) if row is not None else None
        known = known_device(device, user.id, settings=settings) if user is not None else None
        account_policy = RatePolicy("login_account", settings.account_login_attempts, 3600)
        await RateLimitService.require(account_policy, f"device:{known}" if known else f"typed:{typed}", now=now)
        subject_id = user.id if user is not None else _NOBODY
        if known is None:
            reservation = await _reserve_on_account(subject_id, typed, settings, now)
        else:
            reservation = await _reserve_on_device(known, settings, now)
        may_enter = user is not None and reservation.is_granted and not user.is_suspended(now)
        stored = user.password_hash if user is not None and may_enter else None
        verdict = await PasswordService.verify(password, stored, settings=settings)
        if user is None or not verdict.is_right or not user.is_active or not user.is_verified:
            await _login_record(subject_id, client, now, has_locked=reservation.has_locked).store()
            raise InvalidCredentialsError
        return await _enter(user, verdict.new_hash, known, client, settings, now)

    @staticmethod
    async def logout(viewer: Viewer) -> None:
        """End the session that asks; every process refuses its token within a second, this one at once."""
        if viewer.session_id is not None:
            await SessionService.revoke(viewer.session_id, viewer=viewer)

    @staticmethod
    async def list_logins(
        *, viewer: Viewer, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[LoginRecordRead]:
        """The viewer's own login history of 90 days, newest first, failures included. Raises InvalidCursorError."""
        query: dict[str, Any] = {"user_id": viewer.user_id}
        rows, next_cursor = await find_stretch(
            LoginRecord, query, listing=f"logins:{viewer.user_id}", cursors=cursors, cursor=cursor, limit=limit
        )
        items = [LoginRecordRead.model_validate({"has_locked": False, **row, "id": row["_id"]}) for row in rows]
        return CursorPage[LoginRecordRead](items=items, next_cursor=next_cursor)


# Stands in for accounts that do not exist, so that an attempt on one costs what an attempt on any other does.
_NOBODY = PydanticObjectId("000000000000000000000000")


def _find_by(login: str) -> tuple[str, dict[str, Any]]:
    """The typed name in normal form, for its limit, and the query for its account; what cannot be a name finds nobody."""
    try:
        if "@" in login:
            address = normalize_email(login).normalized
            return address, {"email_normalized": address}
        username = normalize_username(login.strip())
    except (InvalidEmailError, InvalidUsernameError):
        return login.strip().casefold(), {"username": ""}
    return username, {"username": username}


def _attempt_update(settings: Settings, now: datetime) -> list[dict[str, Any]]:
    """Count one attempt; the last one allowed sets the lock at once, and after a lock that is over counting starts anew.

    The attempt is counted before the password is checked, so that parallel guesses cannot all pass the check. A right password
    takes the count and the lock away again. Refused attempts are counted on, which is how the row as it is after the update
    tells whether this attempt was among the first five. (The row as it was before would tell it more plainly, but the embedded
    server gives concurrent callers the same one.)
    """
    until = now + timedelta(minutes=settings.lock_minutes)
    is_over = {"$and": [{"$gt": ["$locked_until", None]}, {"$lte": ["$locked_until", now]}]}  # null sorts below every time
    attempts = {"$cond": [is_over, 1, {"$add": [{"$ifNull": ["$failed_login_attempts", 0]}, 1]}]}
    has_locked = {"$eq": ["$failed_login_attempts", settings.lock_after_failures]}
    is_open = {"$lt": ["$failed_login_attempts", settings.lock_after_failures]}
    lock = {"$cond": [has_locked, until, {"$cond": [is_open, None, "$locked_until"]}]}
    return [{"$set": {"failed_login_attempts": attempts, "updated_at": now}}, {"$set": {"locked_until": lock}}]


def _reservation(row: dict[str, Any] | None, settings: Settings) -> _Reservation:
    if row is None:
        return _Reservation(is_granted=False, has_locked=False)
    attempts = row["failed_login_attempts"]
    return _Reservation(attempts <= settings.lock_after_failures, attempts == settings.lock_after_failures)


async def _reserve_on_account(user_id: PydanticObjectId, typed: str, settings: Settings, now: datetime) -> _Reservation:
    """In a transaction only for its queue: a plain write would wait in the server for a transaction on the same person.

    In the motor lane each such wait holds one of a few threads, and the transaction then finds none to commit with. Attempts on
    accounts that do not exist queue by the typed name, so that they wait alike.
    """

    async def work(session: Session) -> _Reservation:
        row = await User.collection().find_one_and_update(
            {"_id": user_id},
            _attempt_update(settings, now),
            _ATTEMPTS,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        return _reservation(row, settings)

    return await run_transaction(work, hot=[f"login:{typed}" if user_id == _NOBODY else user_id])


async def _reserve_on_device(device_id: str, settings: Settings, now: datetime) -> _Reservation:
    """As on an account; the device's first attempt makes the row.

    Not by an upsert: of several at once the embedded server answers some with nothing.
    """
    update, query = _attempt_update(settings, now), {"device_id": device_id}
    while True:
        row = await DeviceLock.collection().find_one_and_update(query, update, _ATTEMPTS, return_document=ReturnDocument.AFTER)
        if row is not None:
            return _reservation(row, settings)
        with contextlib.suppress(DuplicateKeyError):  # another attempt made it first
            await DeviceLock(device_id=device_id, expires_at=now + timedelta(days=_DEVICE_LOCK_DAYS)).store()


_ATTEMPTS = {"failed_login_attempts": 1}


def _login_record(
    user_id: PydanticObjectId, client: ClientInfo, now: datetime, *, succeeded: bool = False, has_locked: bool = False
) -> LoginRecord:
    return LoginRecord(
        user_id=user_id,
        succeeded=succeeded,
        has_locked=has_locked,
        address=client.address,
        user_agent=client.user_agent[:300],
        expires_at=now + timedelta(days=RECORD_DAYS),
    )


async def _enter(
    user: User, new_hash: str | None, known: str | None, client: ClientInfo, settings: Settings, now: datetime
) -> Login:
    """Open the session, unless the account was deactivated, suspended or got another password or role in the meantime."""
    unchanged = {
        "_id": user.id,
        "is_active": True,
        "is_verified": True,
        "password_hash": user.password_hash,
        "suspended_until": user.suspended_until,
    }
    changes: dict[str, Any] = {"last_login_at": now}
    if known is None:  # a known device must not give strangers their five tries again
        changes |= {"failed_login_attempts": 0, "locked_until": None}
    if new_hash is not None:
        changes["password_hash"] = new_hash
    device_id = known or new_device_id()

    async def work(session: Session) -> tuple[User, NewSession]:
        entered = await User.change(unchanged, {"$set": changes, "$inc": {"login_count": 1}}, session=session)
        if entered is None:
            raise InvalidCredentialsError
        if known is not None:
            await DeviceLock.collection().delete_one({"device_id": known}, session=session)
        await _login_record(user.id, client, now, succeeded=True).store_later(session=session)
        opened = await SessionService.create(session, entered, device_id=device_id, client=client, settings=settings, now=now)
        return entered, opened

    entered, opened = await run_transaction(work, hot=[user.id])
    return Login(opened, entered, device_token(user.id, device_id, settings=settings))
