"""People: their accounts as they and user administration see them, and their public profiles."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.database import DuplicateKeyError, Session, duplicate_index, run_transaction
from models.events import EventType
from models.users import Role, User, UserAccount, UserProfile
from services.audit import AuditService
from services.errors import NotFoundError, PermissionDeniedError, PreconditionError, UnauthenticatedError, require_revision
from services.events import EventService
from services.pagination import Page, PageRequest, page_of
from services.settings import Settings
from services.users.identity import (
    EmailTakenError,
    InvalidEmailError,
    InvalidUsernameError,
    UsernameTakenError,
    choose_username,
    normalize_email,
    normalize_username,
)
from services.users.inputs import NewUser, ProfileChanges
from services.users.passwords import PasswordService
from services.users.permissions import RANKS, SYSTEM, Permission, Viewer
from services.users.registrations import require_free_username


class UserNotFoundError(NotFoundError):
    """No such person, or none any more."""

    code = "user_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("user", key)


class RankTooLowError(PermissionDeniedError):
    """The person, or the role to be given, stands above the caller."""

    code = "rank_too_low"

    def __init__(self) -> None:
        super().__init__("This is above your own role.")


class UserSort(StrEnum):
    """The orders in which administration can list people."""

    NEWEST = "-created_at"
    OLDEST = "created_at"


class UserService:
    @staticmethod
    async def create_user(new: NewUser, *, viewer: Viewer, settings: Settings, now: datetime | None = None) -> UserAccount:
        """Make an account that is verified at once. Needs CREATE_USER; nobody gives a role above their own.

        Raises UsernameTakenError, EmailTakenError, InvalidUsernameError, InvalidEmailError, WeakPasswordError, RankTooLowError.
        """
        now = now or present()
        viewer.require(Permission.CREATE_USER)
        require_rank(viewer, new.role)
        username, email = choose_username(new.username), normalize_email(new.email)
        PasswordService.check_policy(new.password, username=username, email=email.normalized)
        user = User(
            username=username,
            email=email.written,
            email_normalized=email.normalized,
            first_name=new.first_name,
            last_name=new.last_name,
            password_hash=await PasswordService.hash(new.password, settings=settings),
            role=new.role,
            is_verified=True,
        )

        async def work(session: Session) -> None:
            await require_standing(session, viewer)
            await require_free_username(session, username, now=now)
            await user.store(session=session)
            await EventService.record(session, EventType.USER_CREATED, f"user:{user.id}", actor_id=viewer.user_id)
            await record_act(session, "user.created", user.id, viewer=viewer, details={"role": new.role})

        try:
            await run_transaction(work, hot=[f"username:{username}"])
        except DuplicateKeyError as error:
            if duplicate_index(error) == "email_unique":
                raise EmailTakenError from error
            raise UsernameTakenError(username) from error
        return account_of(user)

    @staticmethod
    async def get_user_by_id(user_id: PydanticObjectId, *, viewer: Viewer) -> UserAccount:
        """The account with its private fields: one's own, or anybody's with READ_USER. Raises UserNotFoundError."""
        if viewer.user_id != user_id:
            viewer.require(Permission.READ_USER)
        row = await User.find_row({"_id": user_id})
        if row is None:
            raise UserNotFoundError(user_id)
        return account_of(User.from_row(row))

    @staticmethod
    async def get_me(viewer: Viewer) -> UserAccount:
        return await UserService.get_user_by_id(viewer.user_id, viewer=viewer)

    @staticmethod
    async def get_profile(username: str) -> UserProfile:
        """What everyone may see of an active person. Raises UserNotFoundError."""
        try:
            row = await User.find_row({"username": normalize_username(username)})
        except InvalidUsernameError as error:
            raise UserNotFoundError(username) from error
        if row is None or not row["is_active"]:
            raise UserNotFoundError(username)
        return profile_of(User.from_row(row))

    @staticmethod
    async def list_users(
        page: PageRequest,
        *,
        viewer: Viewer,
        role: Role | None = None,
        is_active: bool | None = None,
        search: str | None = None,
        sort: UserSort = UserSort.NEWEST,
    ) -> Page[UserAccount]:
        """Accounts for administration. `search` is a whole username or e-mail address, in any case; it matches at most one."""
        viewer.require(Permission.READ_USER)
        query: dict[str, Any] = {}
        if role is not None:
            query["role"] = role
        if is_active is not None:
            query["is_active"] = is_active
        if search is not None:
            found = await _search(search, query)
            return page_of([account_of(user) for user in found[page.skip : page.skip + page.limit]], page, len(found))
        direction = -1 if sort is UserSort.NEWEST else 1
        rows = await User.find_rows(query, sort=[("_id", direction)], skip=page.skip, limit=page.limit)
        total = await User.count_rows(query)
        return page_of([account_of(User.from_row(row)) for row in rows], page, total)

    @staticmethod
    async def update_user(
        user_id: PydanticObjectId, changes: ProfileChanges, *, viewer: Viewer, revision: int | None = None
    ) -> UserAccount:
        """Change the fields that are set: of oneself, or with UPDATE_USER of somebody not above oneself.

        Raises UserNotFoundError, RankTooLowError, and PreconditionError when `revision` is not the account's any more.
        """
        given = changes.given()
        target = await load_target(user_id, viewer, Permission.UPDATE_USER)
        require_revision(revision, target.revision)
        if not given:
            return account_of(target)
        query: dict[str, Any] = {"_id": user_id, "is_active": True, "role": target.role}
        if revision is not None:
            query["revision"] = revision

        async def work(session: Session) -> User:
            changed = await User.change(query, {"$set": given, "$inc": {"revision": 1}}, session=session)
            if changed is None:
                raise PreconditionError
            await EventService.record(session, EventType.USER_UPDATED, f"user:{user_id}", actor_id=viewer.user_id)
            if user_id != viewer.user_id:
                await record_act(session, "user.updated", user_id, viewer=viewer, details={"fields": sorted(given)})
            return changed

        return account_of(await run_transaction(work, hot=[user_id]))

    @staticmethod
    async def update_me(changes: ProfileChanges, *, viewer: Viewer, revision: int | None = None) -> UserAccount:
        return await UserService.update_user(viewer.user_id, changes, viewer=viewer, revision=revision)


def require_rank(viewer: Viewer, role: Role) -> None:
    """Raises RankTooLowError when `role` stands above the viewer's."""
    if RANKS[role] > RANKS[viewer.role]:
        raise RankTooLowError


async def require_standing(session: Session, viewer: Viewer) -> None:
    """Raises UnauthenticatedError when the viewer is not any more what their session says; the system always is."""
    if viewer == SYSTEM:
        return
    row = await User.find_row({"_id": viewer.user_id}, session=session)
    if row is None or not row["is_active"] or row["role"] != viewer.role or User.from_row(row).is_suspended(present()):
        raise UnauthenticatedError


async def load_target(user_id: PydanticObjectId, viewer: Viewer, permission: Permission) -> User:
    """The active person an act is about: oneself, or with `permission` anybody not above oneself.

    Raises PermissionDeniedError, UserNotFoundError and RankTooLowError.
    """
    if user_id != viewer.user_id:
        viewer.require(permission)
    row = await User.find_row({"_id": user_id})
    if row is None or not row["is_active"]:
        raise UserNotFoundError(user_id)
    target = User.from_row(row)
    if user_id != viewer.user_id:
        require_rank(viewer, target.role)
    return target


async def record_act(
    session: Session, action: str, user_id: PydanticObjectId, *, viewer: Viewer, details: Mapping[str, Any] | None = None
) -> None:
    """Note what `viewer` did to this person."""
    actor_id = None if viewer == SYSTEM else viewer.user_id
    await AuditService.record(session, action, subject=f"user:{user_id}", actor_id=actor_id, details=dict(details or {}))


async def _search(text: str, query: Mapping[str, Any]) -> list[User]:
    """By a unique key alone; the rest is checked here, since an index may serve only what it covers (PERFORMANCE 3)."""
    try:
        if "@" in text:
            key = {"email_normalized": normalize_email(text).normalized}
        else:
            key = {"username": normalize_username(text.strip())}
    except (InvalidEmailError, InvalidUsernameError):
        return []
    row = await User.find_row(key)
    if row is None or any(row[field] != wanted for field, wanted in query.items()):
        return []
    return [User.from_row(row)]


def profile_of(user: User) -> UserProfile:
    return UserProfile(**_profile_fields(user))


def account_of(user: User) -> UserAccount:
    return UserAccount(
        **_profile_fields(user),
        email=user.email,
        first_name=user.first_name,
        last_name=user.last_name,
        is_active=user.is_active,
        is_verified=user.is_verified,
        locked_until=user.locked_until,
        suspended_until=user.suspended_until,
        last_login_at=user.last_login_at,
        login_count=user.login_count,
        updated_at=user.updated_at,
        revision=user.revision,
    )


def _profile_fields(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "username": user.username,
        "full_name": user.full_name,
        "avatar_url": user.avatar_url,
        "bio": user.bio,
        "website": user.website,
        "social_links": user.social_links,
        "role": user.role,
        "posts_count": user.posts_count,
        "followers_count": user.followers_count,
        "following_count": user.following_count,
        "created_at": user.created_at,
    }
