"""One's own account, public profiles, user administration and the audit log."""

from typing import Annotated

from beanie import PydanticObjectId
from fastapi import Path, Query, Request, Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Allowed, Config, Cursor, Cursors, IfMatch, Limit, ObjectIdPath, Paging, SignedIn
from api.routing import make_router, refuses
from api.schemas.users import DeleteAccount, Lock, ProfileUpdate, RevokedSessions, RoleChange, UserCreate
from models.audit import AuditRead
from models.users import LoginRecordRead, Role, SessionRead, UserAccount, UserProfile
from services.audit import AuditService
from services.errors import PermissionDeniedError, PreconditionError
from services.pagination import CursorPage, InvalidCursorError, Page
from services.ratelimits import TooManyAttemptsError
from services.users.accounts import RankTooLowError, UserNotFoundError, UserService, UserSort
from services.users.administration import LastSuperAdminError, OwnAccountError, UserAdministration, UserChangedError
from services.users.credentials import WrongPasswordError
from services.users.identity import EmailTakenError, InvalidEmailError, InvalidUsernameError, UsernameTakenError
from services.users.logins import LoginService
from services.users.passwords import WeakPasswordError
from services.users.permissions import Permission, Viewer
from services.users.sessions import SessionNotFoundError, SessionService

me = make_router("/users/me", "Accounts: me")
profiles = make_router("/profiles", "Accounts: profiles")
administration = make_router("/users", "Accounts: administration")
audit = make_router("/audit", "Accounts: administration")

# `/users/me` stands before `/users/{user_id}`.
ROUTERS = [me, profiles, administration, audit]

_ON_OTHERS = (UserNotFoundError, PermissionDeniedError, RankTooLowError)


@me.get("", response_model=UserAccount, responses=NOT_MODIFIED)
async def get_me(request: Request, viewer: SignedIn) -> Response:
    """One's own account with its private fields, whether the address is confirmed, and the role."""
    return answer(request, await UserService.get_me(viewer))


@me.patch("", response_model=UserAccount, responses=refuses(PreconditionError))
async def update_me(request: Request, body: ProfileUpdate, viewer: SignedIn, revision: IfMatch) -> Response:
    """Change one's names and public profile; with If-Match only if nobody changed them since."""
    return answer(request, await UserService.update_me(body, viewer=viewer, revision=revision))


@me.delete("", status_code=204, responses=refuses(WrongPasswordError, LastSuperAdminError, TooManyAttemptsError))
async def delete_me(body: DeleteAccount, viewer: SignedIn, settings: Config) -> None:
    """End one's account for good: personal data goes, posts and comments stay without a name."""
    await UserAdministration.delete_me(body.password, viewer=viewer, settings=settings)


@me.get("/sessions")
async def list_sessions(viewer: SignedIn) -> list[SessionRead]:
    """The devices on which one is signed in, newest first."""
    return await SessionService.list_active(viewer)


@me.delete("/sessions")
async def revoke_other_sessions(viewer: SignedIn) -> RevokedSessions:
    """Sign out everywhere but here."""
    return RevokedSessions(revoked_count=await SessionService.revoke_others(viewer))


@me.delete("/sessions/{session_id}", status_code=204, responses=refuses(SessionNotFoundError))
async def revoke_session(session_id: ObjectIdPath, viewer: SignedIn) -> None:
    """Sign out one device."""
    await SessionService.revoke(session_id, viewer=viewer)


@me.get("/logins", responses=refuses(InvalidCursorError))
async def list_logins(
    viewer: SignedIn, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20
) -> CursorPage[LoginRecordRead]:
    """Attempts to sign in to one's account within 90 days, newest first."""
    return await LoginService.list_logins(viewer=viewer, cursors=cursors, cursor=cursor, limit=limit)


@profiles.get("/{username}", response_model=UserProfile, responses={**refuses(UserNotFoundError), **NOT_MODIFIED})
async def get_profile(
    request: Request,
    username: Annotated[str, Path(max_length=50, description="A person's username", examples=["janedoe"])],
) -> Response:
    """A person as everyone may see them."""
    return answer(request, await UserService.get_profile(username))


@administration.get("", responses=refuses(PermissionDeniedError))
async def list_users(
    viewer: Annotated[Viewer, Allowed(Permission.READ_USER)],
    page: Paging,
    role: Annotated[Role | None, Query(description="Of this role alone")] = None,
    is_active: Annotated[bool | None, Query(description="Those that stand, or those that were ended")] = None,
    search: Annotated[str | None, Query(max_length=254, description="A whole username or e-mail address")] = None,
    sort: Annotated[UserSort, Query(description="Order")] = UserSort.NEWEST,
) -> Page[UserAccount]:
    """Accounts with their private fields, the newest first unless `sort` says otherwise; those that were ended, too."""
    return await UserService.list_users(page, viewer=viewer, role=role, is_active=is_active, search=search, sort=sort)


@administration.post(
    "",
    status_code=201,
    responses=refuses(
        PermissionDeniedError,
        RankTooLowError,
        UsernameTakenError,
        EmailTakenError,
        WeakPasswordError,
        InvalidUsernameError,
        InvalidEmailError,
    ),
)
async def create_user(
    body: UserCreate, viewer: Annotated[Viewer, Allowed(Permission.CREATE_USER)], settings: Config
) -> UserAccount:
    """Make an account that needs no confirmation."""
    return await UserService.create_user(body, viewer=viewer, settings=settings)


@administration.get(
    "/{user_id}",
    response_model=UserAccount,
    responses={**refuses(UserNotFoundError, PermissionDeniedError), **NOT_MODIFIED},
)
async def get_user(request: Request, user_id: ObjectIdPath, viewer: Annotated[Viewer, Allowed(Permission.READ_USER)]) -> Response:
    """One account with its private fields."""
    return answer(request, await UserService.get_user_by_id(user_id, viewer=viewer))


@administration.patch("/{user_id}", response_model=UserAccount, responses=refuses(*_ON_OTHERS, PreconditionError))
async def update_user(
    request: Request,
    user_id: ObjectIdPath,
    body: ProfileUpdate,
    viewer: Annotated[Viewer, Allowed(Permission.UPDATE_USER)],
    revision: IfMatch,
) -> Response:
    """Change a person's names and public profile."""
    return answer(request, await UserService.update_user(user_id, body, viewer=viewer, revision=revision))


@administration.delete(
    "/{user_id}", status_code=204, responses=refuses(*_ON_OTHERS, OwnAccountError, LastSuperAdminError, UserChangedError)
)
async def delete_user(user_id: ObjectIdPath, viewer: Annotated[Viewer, Allowed(Permission.DELETE_USER)]) -> None:
    """End a person's account for good: personal data goes, posts and comments stay without a name."""
    await UserAdministration.delete_user(user_id, viewer=viewer)


@administration.put("/{user_id}/role", responses=refuses(*_ON_OTHERS, OwnAccountError, LastSuperAdminError, UserChangedError))
async def change_user_role(
    user_id: ObjectIdPath, body: RoleChange, viewer: Annotated[Viewer, Allowed(Permission.MANAGE_ROLES)]
) -> UserAccount:
    """Give a person another role. Ends their sessions."""
    return await UserAdministration.change_role(user_id, body.role, viewer=viewer)


@administration.put("/{user_id}/lock", responses=refuses(*_ON_OTHERS, OwnAccountError, LastSuperAdminError, UserChangedError))
async def lock_user(
    user_id: ObjectIdPath, body: Lock, viewer: Annotated[Viewer, Allowed(Permission.UPDATE_USER)], settings: Config
) -> UserAccount:
    """Suspend a person: their sessions end and no device may sign in until then."""
    return await UserAdministration.lock(user_id, viewer=viewer, settings=settings, minutes=body.minutes)


@administration.delete("/{user_id}/lock", responses=refuses(*_ON_OTHERS, OwnAccountError, UserChangedError))
async def unlock_user(user_id: ObjectIdPath, viewer: Annotated[Viewer, Allowed(Permission.UPDATE_USER)]) -> UserAccount:
    """Lift a suspension or a lock after failed logins."""
    return await UserAdministration.unlock(user_id, viewer=viewer)


@audit.get("", responses=refuses(PermissionDeniedError, InvalidCursorError))
async def list_audit_entries(
    viewer: Annotated[Viewer, Allowed(Permission.READ_AUDIT)],
    cursors: Cursors,
    subject: Annotated[
        str | None, Query(max_length=100, description="What was done something to", examples=["user:65f0c0ffee0ddba11ca7f00d"])
    ] = None,
    actor_id: Annotated[PydanticObjectId | None, Query(description="Only what this person did")] = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> CursorPage[AuditRead]:
    """Security acts and administration, newest first."""
    return await AuditService.list_entries(
        viewer=viewer, cursors=cursors, subject=subject, actor_id=actor_id, cursor=cursor, limit=limit
    )
