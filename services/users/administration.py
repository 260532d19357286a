"""What staff do to accounts, and how an account ends. Each act ends sessions and leaves a line in the audit log."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session, run_transaction
from models.events import EventType
from models.social import Follow
from models.users import AccountToken, LoginRecord, Role, User, UserAccount
from services.errors import InvalidStateError, PermissionDeniedError, RuleViolatedError
from services.events import EventService
from services.settings import Settings
from services.users.accounts import account_of, load_target, record_act, require_rank, require_standing
from services.users.credentials import CredentialService
from services.users.identity import DELETED_PREFIX
from services.users.passwords import UNUSABLE_HASH
from services.users.permissions import Permission, Viewer
from services.users.sessions import SessionService


class OwnAccountError(PermissionDeniedError):
    """This cannot be done to oneself."""

    code = "own_account"

    def __init__(self) -> None:
        super().__init__("You cannot do this to your own account.")


class LastSuperAdminError(RuleViolatedError):
    """Without this person nobody could administer Agora any more."""

    code = "last_super_admin"

    def __init__(self) -> None:
        super().__init__("The last super administrator stays.")


class UserChangedError(InvalidStateError):
    """Somebody else changed or removed this person at the same moment."""

    code = "user_changed"

    def __init__(self) -> None:
        super().__init__("This person was changed at the same moment: look again.")


class UserAdministration:
    @staticmethod
    async def change_role(user_id: PydanticObjectId, role: Role, *, viewer: Viewer) -> UserAccount:
        """Give another person a role, neither theirs nor the new one above one's own, and end their sessions.

        Raises PermissionDeniedError, OwnAccountError, UserNotFoundError, RankTooLowError and LastSuperAdminError.
        """
        viewer.require(Permission.MANAGE_ROLES)
        _refuse_self(user_id, viewer)
        target = await load_target(user_id, viewer, Permission.MANAGE_ROLES)
        require_rank(viewer, role)
        if target.role is role:
            return account_of(target)

        async def work(session: Session) -> tuple[User, list[str]]:
            await require_standing(session, viewer)
            if target.role is Role.SUPER_ADMIN:
                await _keep_a_super_admin(session, user_id)
            update = {"$set": {"role": role}, "$inc": {"revision": 1}}
            changed = await _change(session, target, update)
            await EventService.record(session, EventType.USER_UPDATED, f"user:{user_id}", actor_id=viewer.user_id)
            details = {"from": target.role, "to": role}
            await record_act(session, "user.role_changed", user_id, viewer=viewer, details=details)
            return changed, await SessionService.revoke_within(session, user_id, actor_id=viewer.user_id)

        return account_of(await _run(work, user_id))

    @staticmethod
    async def lock(
        user_id: PydanticObjectId, *, viewer: Viewer, settings: Settings, minutes: int | None = None, now: datetime | None = None
    ) -> UserAccount:
        """Suspend another person: sessions end, and no device may sign in for `minutes`, by default 30."""
        now = now or present()
        _refuse_self(user_id, viewer)
        target = await load_target(user_id, viewer, Permission.UPDATE_USER)
        until = now + timedelta(minutes=settings.lock_minutes if minutes is None else minutes)

        async def work(session: Session) -> tuple[User, list[str]]:
            await require_standing(session, viewer)
            if target.role is Role.SUPER_ADMIN:
                await _keep_a_super_admin(session, user_id)
            changed = await _change(session, target, {"$set": {"suspended_until": until}})
            await record_act(session, "user.locked", user_id, viewer=viewer, details={"until": until})
            return changed, await SessionService.revoke_within(session, user_id, actor_id=viewer.user_id)

        return account_of(await _run(work, user_id))

    @staticmethod
    async def unlock(user_id: PydanticObjectId, *, viewer: Viewer) -> UserAccount:
        """Lift a suspension and a failed-login lock of another person, and forget the failures."""
        _refuse_self(user_id, viewer)
        target = await load_target(user_id, viewer, Permission.UPDATE_USER)
        update = {"$set": {"suspended_until": None, "locked_until": None, "failed_login_attempts": 0}}

        async def work(session: Session) -> tuple[User, list[str]]:
            await require_standing(session, viewer)
            changed = await _change(session, target, update)
            await record_act(session, "user.unlocked", user_id, viewer=viewer)
            return changed, []

        return account_of(await _run(work, user_id))

    @staticmethod
    async def delete_user(user_id: PydanticObjectId, *, viewer: Viewer) -> None:
        """Deactivate another person for good; see `_deactivate`. Needs DELETE_USER.

        Raises PermissionDeniedError, OwnAccountError, UserNotFoundError, RankTooLowError and LastSuperAdminError.
        """
        viewer.require(Permission.DELETE_USER)
        _refuse_self(user_id, viewer)
        await _deactivate(await load_target(user_id, viewer, Permission.DELETE_USER), viewer)

    @staticmethod
    async def delete_me(password: str, *, viewer: Viewer, settings: Settings, now: datetime | None = None) -> None:
        """Deactivate one's own account for good. Raises WrongPasswordError and LastSuperAdminError."""
        await _deactivate(await CredentialService.require_password(password, viewer=viewer, settings=settings, now=now), viewer)


async def _deactivate(target: User, viewer: Viewer) -> None:
    """End an account in one transaction.

    Name, address, texts and password go; the username becomes free; sessions, mailed tokens, login history and follows go, the
    counters of those on the other end with them. Posts, comments and likes stay and show "Former member". Nothing brings it back.
    """
    user_id = target.id

    async def work(session: Session) -> tuple[User, list[str]]:
        await require_standing(session, viewer)
        if target.role is Role.SUPER_ADMIN:
            await _keep_a_super_admin(session, user_id)
        ended = await SessionService.revoke_within(session, user_id, actor_id=viewer.user_id)
        changed = await _change(session, target, {"$set": _ANONYMOUS, "$inc": {"revision": 1}})
        name = f"{DELETED_PREFIX}{user_id}"
        await User.rekey({"_id": user_id}, {"username": name, "email_normalized": name}, session=session)
        await AccountToken.collection().delete_many({"user_id": user_id}, session=session)
        await LoginRecord.collection().delete_many({"user_id": user_id}, session=session)
        await _remove_follows(session, user_id)
        await EventService.record(session, EventType.USER_DEACTIVATED, f"user:{user_id}", actor_id=viewer.user_id)
        await record_act(session, "user.deactivated", user_id, viewer=viewer)
        return changed, ended

    await _run(work, user_id)


_ANONYMOUS: dict[str, Any] = {
    "email": "",
    "first_name": "Former",
    "last_name": "member",
    "password_hash": UNUSABLE_HASH,
    "role": Role.USER,
    "is_active": False,
    "last_login_at": None,
    "bio": "",
    "avatar_url": None,
    "website": None,
    "social_links": {},
    "followers_count": 0,
    "following_count": 0,
}


async def _remove_follows(session: Session, user_id: PydanticObjectId) -> None:
    followed = await Follow.find_rows({"follower_id": user_id}, {"following_id": 1}, session=session)
    followers = await Follow.find_rows({"following_id": user_id}, {"follower_id": 1}, session=session)
    for rows, other, counter in (
        (followed, "following_id", "followers_count"),
        (followers, "follower_id", "following_count"),
    ):
        if rows:
            await Follow.collection().delete_many({"_id": {"$in": [row["_id"] for row in rows]}}, session=session)
            others = [row[other] for row in rows]
            await User.collection().update_many({"_id": {"$in": others}}, {"$inc": {counter: -1}}, session=session)


async def _keep_a_super_admin(session: Session, user_id: PydanticObjectId) -> None:
    """Raises LastSuperAdminError unless another active one stays.

    Counting alone would not do: two who remove each other at once would both count two. Writing to all of them makes such
    transactions collide, so that one of them starts again and counts anew.
    """
    everyone = {"role": Role.SUPER_ADMIN, "is_active": True}
    await User.collection().update_many(everyone, {"$inc": {"guard": 1}}, session=session)
    rows = await User.find_rows(everyone, {"_id": 1}, limit=2, session=session)
    if all(row["_id"] == user_id for row in rows):
        raise LastSuperAdminError


def _refuse_self(user_id: PydanticObjectId, viewer: Viewer) -> None:
    if user_id == viewer.user_id:
        raise OwnAccountError


async def _change(session: Session, target: User, update: dict[str, Any]) -> User:
    """The person changed, unless their role moved since the ranks were compared, or they are gone."""
    changed = await User.change({"_id": target.id, "is_active": True, "role": target.role}, update, session=session)
    if changed is None:
        raise UserChangedError
    return changed


async def _run(work: Callable[[Session], Awaitable[tuple[User, list[str]]]], user_id: PydanticObjectId) -> User:
    user, ended = await run_transaction(work, hot=[user_id])
    SessionService.forget(ended)
    return user
