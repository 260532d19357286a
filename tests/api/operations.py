"""Every operation with a request that is valid for it, and the same request for something that does not exist."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any
from urllib.parse import quote

import httpx2
from beanie import PydanticObjectId

from models.users import Role
from tests.api.samples import BY_SEGMENT
from tests.api.world import Operation, World

ABSENT_ID = "65f0c0ffee0ddba11ca7f00d"
_ABSENT = {
    "number": "1",
    "username": "nobody-at-all",
    "slug": "nothing-of-this-name",
    "gateway": "no-such-gateway",
    "kind": "shipping",
}


@dataclass(frozen=True)
class Call:
    """A request that is valid for its operation."""

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any] | None
    is_keyed: bool = False

    async def send(self, client: httpx2.AsyncClient, headers: dict[str, str]) -> httpx2.Response:
        # "*" where an operation asks for the revision that was read: any.
        headers = {**headers, "If-Match": "*"}
        if self.is_keyed:
            headers["Idempotency-Key"] = str(PydanticObjectId())
        return await client.request(self.method, self.path, params=self.query, json=self.body, headers=headers)


async def valid_call(operation: Operation, world: World, *, variant: str = "") -> Call:
    """A request that succeeds for whoever may make it; `variant` names another thing than the usual one to make it for."""
    sample = sample_of(operation)
    values = {name: quote(value, safe="") for name, value in (await path_values(operation, world, variant)).items()}
    make_body, make_query = sample.BODIES.get(operation.id), sample.QUERIES.get(operation.id)
    body = await make_body(world) if make_body else None
    if variant == "granting":
        body = {**(body or {}), "role": Role.SUPER_ADMIN}
    query = await make_query(world, variant) if make_query else {}
    return Call(operation.method, operation.path.format(**values), query, body, operation.needs_key)


def absent_call(operation: Operation, call: Call) -> Call:
    """The same request for something that does not exist."""
    values = {"key": "nothing-of-this-name"} if operation.id in ("get_category", "get_post_by_slug") else {}
    names = [parameter["name"] for parameter in operation.path_parameters]
    path = operation.path.format(**{name: values.get(name) or _ABSENT.get(name, ABSENT_ID) for name in names})
    return Call(call.method, path, call.query, call.body, call.is_keyed)


def sample_of(operation: Operation) -> ModuleType:
    return BY_SEGMENT[operation.path.removeprefix("/api/v1").split("/")[1]]


async def path_values(operation: Operation, world: World, variant: str) -> dict[str, str]:
    values = sample_of(operation).VALUES
    return {
        parameter["name"]: await values[parameter["name"]](world, operation, variant) for parameter in operation.path_parameters
    }
