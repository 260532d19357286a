"""Callers and things for the sweeping tests: the operations of the OpenAPI document, and a world to call them on."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from models.users import Role, User
from scripts.openapi import SNAPSHOT
from services.mail import MemoryMailer
from services.settings import Settings
from services.users.passwords import PasswordService
from tests.factories.users import PASSWORD, create_user, open_session

DOCUMENT: dict[str, Any] = json.loads(SNAPSHOT.read_text("utf-8"))  # that it is current is for `test_openapi.py` to say


@dataclass(frozen=True)
class Operation:
    """One method on one path, as the document describes it."""

    id: str
    method: str
    path: str
    needs_session: bool
    parameters: list[dict[str, Any]]
    body: dict[str, Any] | None  # the schema of the request's body
    tagged: frozenset[int]  # statuses of answers that carry an ETag

    @property
    def needs_key(self) -> bool:
        """Whether it is refused without an Idempotency-Key."""
        return any(parameter["name"] == "Idempotency-Key" and parameter["required"] for parameter in self.parameters)

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
        needs_session=described.get("security") == [{"session": []}],
        parameters=described.get("parameters", []),
        body=resolved(content["schema"]) if content else None,
        tagged=frozenset(int(status) for status, told in described["responses"].items() if "ETag" in told.get("headers", {})),
    )


OPERATIONS: list[Operation] = [
    _operation(path, method, described) for path, methods in DOCUMENT["paths"].items() for method, described in methods.items()
]


# Who calls, besides `anonymous`. What each owns is told by World, and in `permissions.json`.
ROLES: dict[str, Role] = {
    "stranger": Role.USER,
    "member": Role.USER,
    "vendor": Role.VENDOR,
    "writer": Role.AUTHOR,
    "author": Role.AUTHOR,
    "editor": Role.EDITOR,
    "manager": Role.MANAGER,
    "admin": Role.ADMIN,
}


_hashed: list[str] = []  # the password of everybody, once it was hashed


@dataclass
class World:
    """People and things to call operations on, made when first needed and made anew after `spoil`.

    `person` knows the callers of ROLES and, beside them, the `chief`: a super administrator, who calls nothing.

    What else there is, and whose, is told in `tests/api/samples`.
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
            if not _hashed:
                _hashed.append(await PasswordService.hash(PASSWORD, settings=self.settings))
            (password_hash,) = _hashed
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


Provider = Callable[[World, Operation, str], Awaitable[str]]
"""Makes the value of a path parameter; the last argument is the variant."""
Body = Callable[[World], Awaitable[dict[str, Any]]]
Query = Callable[[World, str], Awaitable[dict[str, str]]]


def fixed(**body: Any) -> Body:
    """The same body for everyone."""

    async def make(world: World) -> dict[str, Any]:
        return body

    return make
