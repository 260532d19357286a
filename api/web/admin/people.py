"""Accounts: who there is, their roles, and locking them out. What may be done to whom is decided by the services."""

from api.schemas.users import Lock, RoleChange
from api.web.admin.desk import ADMIN, Desk, Form, filled
from api.web.admin.layout import Action, Badge, Field, Link, Page, Row, Table, Value, options
from api.web.admin.views import Group, Move, View
from models.users import Role, UserAccount
from services.users.accounts import UserService
from services.users.administration import UserAdministration
from services.users.permissions import RANKS, Permission, Viewer

_PATH = f"{ADMIN}/users"


async def _list(desk: Desk) -> Page:
    role, wanted = desk.choice("role", Role), desk.asked("search", max_length=254)
    found = await UserService.list_users(desk.page, viewer=desk.viewer, role=role, search=wanted)
    columns = ["Username", "Name", "E-mail", "Role", "State", "Last seen", "Joined"]
    return Page(
        title="Users",
        tabs=desk.tabs("role", Role, role),
        path=desk.path,
        search=[Field("search", "Whole username or e-mail", "search", wanted or "", max_length=254)],
        tables=[Table(_counted(found.total_count), columns, [_row(one) for one in found.items], "Nobody is found.")],
        paging=desk.numbered(found.page, found.total_pages, role=role, search=wanted),
    )


def _counted(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people, newest first"


def _row(account: UserAccount) -> Row:
    return Row(
        [
            Link(f"{_PATH}/{account.id}", account.username),
            account.full_name,
            account.email,
            account.role,
            _state(account),
            account.last_login_at,
            account.created_at,
        ]
    )


def _state(account: UserAccount) -> Badge:
    if not account.is_active:
        return Badge("gone", "bad")
    if account.suspended_until is not None:
        return Badge("suspended", "bad")
    if account.locked_until is not None:
        return Badge("locked", "wait")
    return Badge("active", "good") if account.is_verified else Badge("not verified", "wait")


async def _detail(desk: Desk) -> Page:
    account = await UserService.get_user_by_id(desk.id(), viewer=desk.viewer)
    return Page(
        title=account.username,
        back=Link(_PATH, "Users"),
        facts=_facts(account, desk.viewer),
        actions=_actions(account, desk.viewer),
    )


def _facts(account: UserAccount, viewer: Viewer) -> list[tuple[str, Value]]:
    facts: list[tuple[str, Value]] = [
        ("Name", account.full_name),
        ("E-mail", account.email),
        ("Role", account.role),
        ("State", _state(account)),
        ("Suspended until", account.suspended_until),
        ("Locked until", account.locked_until),
        ("Verified", account.is_verified),
        ("Last signed in", account.last_login_at),
        ("Signed in", f"{account.login_count:,} times"),
        ("Posts", account.posts_count),
        ("Followers", account.followers_count),
        ("Joined", account.created_at),
    ]
    if viewer.can(Permission.READ_AUDIT):
        facts.append(("History", Link(f"{ADMIN}/audit?subject=user:{account.id}", "in the audit log")))
    return facts


def _actions(account: UserAccount, viewer: Viewer) -> list[Action]:
    """What the viewer's permissions and rank let them try; nothing on oneself and on former members."""
    if account.id == viewer.user_id or not account.is_active or RANKS[account.role] > RANKS[viewer.role]:
        return []
    here = f"{_PATH}/{account.id}"
    actions = []
    if viewer.can(Permission.MANAGE_ROLES):
        roles = options(role for role in Role if RANKS[role] <= RANKS[viewer.role])
        field = Field("role", "Role", "select", account.role.value, roles, is_required=True)
        actions.append(Action(f"{here}/role", "Change the role", [field], is_grave=True))
    if viewer.can(Permission.UPDATE_USER):
        minutes = Field("minutes", "Minutes", "number", "30", max_length=6, is_required=True)
        actions.append(Action(f"{here}/lock", "Suspend", [minutes], is_grave=True))
        if account.suspended_until is not None or account.locked_until is not None:
            actions.append(Action(f"{here}/unlock", "Lift the lock"))
    return actions


async def _change_role(desk: Desk, form: Form) -> None:
    role = filled(RoleChange, {"role": form.get("role")}).role
    await UserAdministration.change_role(desk.id(), role, viewer=desk.viewer)


async def _lock(desk: Desk, form: Form) -> None:
    minutes = filled(Lock, {"minutes": form.number("minutes")}).minutes
    await UserAdministration.lock(desk.id(), viewer=desk.viewer, settings=desk.settings, minutes=minutes)


async def _unlock(desk: Desk, form: Form) -> None:
    await UserAdministration.unlock(desk.id(), viewer=desk.viewer)


USERS = View(
    "users",
    "Users and roles",
    "who there is, and what they may do",
    Group.PEOPLE,
    Permission.READ_USER,
    pages={"": _list, "/{id}": _detail},
    moves={
        "/{id}/role": Move(_change_role, _detail, "The role was changed; their sessions ended."),
        "/{id}/lock": Move(_lock, _detail, "The person is suspended; their sessions ended."),
        "/{id}/unlock": Move(_unlock, _detail, "The lock is lifted."),
    },
)
