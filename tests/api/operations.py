"""Every operation of the OpenAPI document, with a request that is valid for it: what the sweeping tests are driven from."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx2
from beanie import PydanticObjectId

from models.blog.comments import Comment, CommentBan, CommentStatus
from models.blog.posts import Post, PostStatus
from models.blog.taxonomy import Category, Tag
from models.users import LoginSession, Role, User
from scripts.openapi import current_document
from services.blog.previews import PreviewService
from services.mail import MemoryMailer
from services.settings import Settings
from services.users.credentials import CredentialService, PasswordResetService
from services.users.passwords import PasswordService
from services.users.registrations import RegistrationService
from services.users.sessions import SessionService
from tests.factories.blog import create_category, create_post, create_tag
from tests.factories.comments import create_ban, create_comment
from tests.factories.users import CLIENT, PASSWORD, create_user, deliver_mail, new_account, open_session, token_in, viewer_of

DOCUMENT: dict[str, Any] = json.loads(current_document())


@dataclass(frozen=True)
class Operation:
    """One method on one path, as the document describes it."""

    id: str
    method: str
    path: str
    needs_session: bool
    parameters: list[dict[str, Any]]
    body: dict[str, Any] | None  # the schema of the request's body

    @property
    def path_parameters(self) -> list[dict[str, Any]]:
        return [parameter for parameter in self.parameters if parameter["in"] == "path"]

    @property
    def query_parameters(self) -> list[dict[str, Any]]:
        return [parameter for parameter in self.parameters if parameter["in"] == "query"]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, where a reference stands for it."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return DOCUMENT["components"]["schemas"][name] if name else schema


def _operation(path: str, method: str, described: dict[str, Any]) -> Operation:
    content = described.get("requestBody", {}).get("content", {}).get("application/json")
    return Operation(
        id=described["operationId"],
        method=method.upper(),
        path=path,
        needs_session=bool(described.get("security")),
        parameters=described.get("parameters", []),
        body=resolved(content["schema"]) if content else None,
    )


OPERATIONS: list[Operation] = [
    _operation(path, method, described) for path, methods in DOCUMENT["paths"].items() for method, described in methods.items()
]


# Who calls, besides `anonymous`. What each owns is told by World, and in `permissions.json`.
ROLES: dict[str, Role] = {
    "stranger": Role.USER,
    "member": Role.USER,
    "writer": Role.AUTHOR,
    "author": Role.AUTHOR,
    "editor": Role.EDITOR,
    "manager": Role.MANAGER,
    "admin": Role.ADMIN,
}


@dataclass
class World:
    """People and things to call operations on, made when first needed and made anew after `spoil`.

    `person` knows the callers of ROLES and, beside them, the `chief`: a super administrator, who calls nothing.

    The published post, its draft twin and their category and tag are the writer's; the comment, the session, the account and the
    profile that paths lead to are the member's.
    """

    settings: Settings
    mailer: MemoryMailer
    _made: dict[str, Any] = field(default_factory=dict)

    async def once(self, name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        if name not in self._made:
            self._made[name] = await make()
        return self._made[name]

    def spoil(self) -> None:
        """Forget everybody and everything: the next request finds it new."""
        self._made = {}

    async def person(self, name: str) -> User:
        async def make() -> User:
            password_hash = await PasswordService.hash(PASSWORD, settings=self.settings)
            return await create_user(role=ROLES.get(name, Role.SUPER_ADMIN), password_hash=password_hash)

        found: User = await self.once(name, make)
        return found

    async def headers(self, name: str) -> dict[str, str]:
        """The Authorization header of a caller; none for `anonymous`."""
        if name == "anonymous":
            return {}
        user = await self.person(name)
        opened = await self.once(f"{name}'s session", lambda: open_session(user))
        return {"Authorization": f"Bearer {opened.token}"}

    async def other_session(self) -> LoginSession:
        """The member's, besides the one they call with."""
        member = await self.person("member")
        opened = await self.once("other session", lambda: open_session(member))
        found: LoginSession = opened.session
        return found

    async def category(self) -> Category:
        found: Category = await self.once("category", create_category)
        return found

    async def tag(self) -> Tag:
        found: Tag = await self.once("tag", create_tag)
        return found

    async def post(self, status: PostStatus = PostStatus.PUBLISHED) -> Post:
        author = await self.person("writer")
        found: Post = await self.once(f"{status} post", lambda: create_post(author=author, status=status))
        return found

    async def comment(self, status: CommentStatus = CommentStatus.APPROVED) -> Comment:
        post, author = await self.post(), await self.person("member")
        found: Comment = await self.once(
            f"{status} comment", lambda: create_comment(post=post, author_id=author.id, status=status)
        )
        return found

    async def ban(self) -> CommentBan:
        found: CommentBan = await self.once("ban", lambda: create_ban("address:198.51.100.77"))
        return found

    async def preview_token(self) -> str:
        post, writer = await self.post(), await self.person("writer")
        link = await PreviewService.create_preview(post.id, viewer=viewer_of(writer), settings=self.settings)
        return link.token

    async def registration_token(self) -> str:
        wish = new_account()
        await RegistrationService.register(wish, client=CLIENT, settings=self.settings)
        return await self._mailed_token(wish.email)

    async def reset_token(self) -> str:
        email = (await self.person("member")).email
        await PasswordResetService.request(email, client=CLIENT, settings=self.settings)
        return await self._mailed_token(email)

    async def email_change_token(self) -> str:
        member = await self.person("member")
        opened = await open_session(member)
        viewer = await SessionService.find_viewer(opened.token)
        assert viewer is not None
        address = f"new-{PydanticObjectId()}@example.com"
        await CredentialService.request_email_change(address, PASSWORD, viewer=viewer, client=CLIENT, settings=self.settings)
        return await self._mailed_token(address)

    async def _mailed_token(self, address: str) -> str:
        await deliver_mail(self.settings, self.mailer)
        return token_in(next(mail for mail in reversed(self.mailer.sent) if mail.to == address))


@dataclass(frozen=True)
class Call:
    """A request that is valid for its operation."""

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any] | None

    async def send(self, client: httpx2.AsyncClient, headers: dict[str, str]) -> httpx2.Response:
        # "*" where an operation asks for the revision that was read: any.
        return await client.request(
            self.method, self.path, params=self.query, json=self.body, headers={**headers, "If-Match": "*"}
        )


async def valid_call(operation: Operation, world: World, *, variant: str = "") -> Call:
    """A request that succeeds for whoever may make it; `variant` names another thing than the usual one to make it for."""
    values = {name: quote(value, safe="") for name, value in (await path_values(operation, world, variant)).items()}
    make_body = BODIES.get(operation.id)
    body = await make_body(world) if make_body else None
    if variant == "granting":
        body = {**(body or {}), "role": Role.SUPER_ADMIN}
    return Call(operation.method, operation.path.format(**values), await _query(operation, world, variant), body)


def absent_call(operation: Operation, call: Call) -> Call:
    """The same request for something that does not exist."""
    values = {"number": "1", "username": "nobody-at-all", "slug": "no-such-post"}
    if operation.id in ("get_category", "get_post_by_slug"):
        values["key"] = "nothing-of-this-name"
    names = [parameter["name"] for parameter in operation.path_parameters]
    path = operation.path.format(**{name: values.get(name, "65f0c0ffee0ddba11ca7f00d") for name in names})
    return Call(call.method, path, call.query, call.body)


# The status a post or comment must have for an operation to move it, and the one that a variant wants.
_POST_STATUS = {
    "draft": PostStatus.DRAFT,
    "trashed": PostStatus.TRASHED,
    "publish_post": PostStatus.DRAFT,
    "schedule_post": PostStatus.DRAFT,
    "restore_post": PostStatus.TRASHED,
}
_COMMENT_STATUS = {
    "pending": CommentStatus.PENDING,
    "approve_comment": CommentStatus.PENDING,
    "reject_comment": CommentStatus.PENDING,
}


async def path_values(operation: Operation, world: World, variant: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for parameter in operation.path_parameters:
        name = parameter["name"]
        if name in ("post_id", "slug") or (name == "key" and "/posts/" in operation.path):
            post = await world.post(_POST_STATUS.get(variant) or _POST_STATUS.get(operation.id) or PostStatus.PUBLISHED)
            by_slug = name == "slug" or operation.id == "get_post_by_slug"
            values[name] = post.slug if by_slug else str(post.id)
        elif name == "key":
            category = await world.category()
            values[name] = category.slug if operation.id == "get_category" else str(category.id)
        elif name == "comment_id":
            status = _COMMENT_STATUS.get(variant) or _COMMENT_STATUS.get(operation.id) or CommentStatus.APPROVED
            values[name] = str((await world.comment(status)).id)
        elif name == "username":
            values[name] = (await world.person("member")).username
        elif name == "user_id":
            values[name] = str((await world.person("chief" if variant == "chief" else "member")).id)
        elif name == "session_id":
            values[name] = str((await world.other_session()).id)
        elif name == "ban_id":
            values[name] = str((await world.ban()).id)
        elif name == "tag_id":
            values[name] = str((await world.tag()).id)
        else:
            assert name == "number", f"no value for {operation.id}'s {name}"
            values[name] = "1"
    return values


async def _query(operation: Operation, world: World, variant: str) -> dict[str, str]:
    if operation.id == "search_posts":
        return {"q": "content"}
    if operation.id == "get_preview":
        return {"token": await world.preview_token()}
    if operation.id == "diff_revisions":
        return {"from": "1", "to": "1"}
    if operation.id == "list_comment_queue" and variant == "of a post":
        return {"post_id": str((await world.post()).id)}
    return {}


def _fixed(**body: Any) -> Callable[[World], Awaitable[dict[str, Any]]]:
    async def make(world: World) -> dict[str, Any]:
        return body

    return make


async def _registration(world: World) -> dict[str, Any]:
    return new_account().model_dump()


async def _login(world: World) -> dict[str, Any]:
    return {"login": (await world.person("member")).username, "password": PASSWORD}


async def _verification(world: World) -> dict[str, Any]:
    return {"token": await world.registration_token()}


async def _reset(world: World) -> dict[str, Any]:
    return {"token": await world.reset_token(), "new_password": "another long password"}


async def _email_confirmation(world: World) -> dict[str, Any]:
    return {"token": await world.email_change_token()}


async def _comment_ids(world: World) -> dict[str, Any]:
    return {"action": "spam", "comment_ids": [str((await world.comment()).id)]}


BODIES: dict[str, Callable[[World], Awaitable[dict[str, Any]]]] = {
    "register": _registration,
    "verify_registration": _verification,
    "login": _login,
    "request_password_reset": _fixed(email="somebody@example.com"),
    "reset_password": _reset,
    "change_password": _fixed(current_password=PASSWORD, new_password="another long password"),
    "request_email_change": _fixed(new_email="another@example.com", password=PASSWORD),
    "confirm_email_change": _email_confirmation,
    "update_me": _fixed(bio="Writes."),
    "delete_me": _fixed(password=PASSWORD),
    "create_user": _registration,
    "update_user": _fixed(bio="Writes."),
    "change_user_role": _fixed(role="vendor"),
    "lock_user": _fixed(minutes=5),
    "create_post": _fixed(title="A post", content="Its content."),
    "update_post": _fixed(title="Another title"),
    "schedule_post": _fixed(scheduled_at="2100-01-01T00:00:00Z"),
    "create_category": _fixed(name="A category"),
    "update_category": _fixed(description="What it is about."),
    "rename_tag": _fixed(name="Another name"),
    "add_comment": _fixed(content="A comment.", guest={"name": "Ada", "email": "ada@example.com"}),
    "update_comment": _fixed(content="Another text."),
    "moderate_comments": _comment_ids,
    "create_comment_ban": _fixed(kind="address", value="198.51.100.9"),
}
