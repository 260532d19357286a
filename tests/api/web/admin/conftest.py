"""People at the desks of the admin: each with a session held by a cookie, reading pages and sending the forms on them."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from html import unescape
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from models.users import Role, User
from services.payments.gateways import Gateways
from services.payments.sandbox import SandboxGateway
from services.settings import Settings
from services.users.tokens import form_token
from tests.factories.users import create_user, open_session
from tests.sandbox import SANDBOX_SECRET, RunningSandbox

FORM_KEY = re.compile(r'name="form_key" value="([^"]+)"')


@dataclass(frozen=True)
class Clerk:
    """Somebody with a browser. `token` is what the forms of their session carry."""

    client: httpx2.AsyncClient
    user: User
    cookies: dict[str, str]
    token: str

    async def get(self, path: str) -> httpx2.Response:
        return await self.client.get(path, headers=self.cookies)

    async def page(self, path: str) -> str:
        """The page, without the escapes of HTML."""
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return unescape(answer.text)

    async def send(self, path: str, **fields: Any) -> httpx2.Response:
        """A form of this session."""
        return await self.client.post(path, data={"form_token": self.token, **fields}, headers=self.cookies)

    async def key(self, path: str) -> str:
        """The key of the one form on the page that counts once."""
        found = FORM_KEY.findall((await self.get(path)).text)
        assert len(found) == 1
        key: str = found[0]
        return key


SeatClerk = Callable[..., Awaitable[Clerk]]


@pytest.fixture
def seat(client: httpx2.AsyncClient, settings: Settings) -> SeatClerk:
    """`clerk = await seat(Role.EDITOR)`: a new person of that role, signed in."""

    async def sit_down(role: Role, **over: Any) -> Clerk:
        user = await create_user(role=role, **over)
        opened = await open_session(user, settings=settings)
        token = form_token(f"session:{opened.session.id}", settings=settings)
        return Clerk(client, user, {"Cookie": f"agora_session={opened.token}"}, token)

    return sit_down


@pytest.fixture
async def editor(seat: SeatClerk) -> Clerk:
    return await seat(Role.EDITOR)


@pytest.fixture
async def manager(seat: SeatClerk) -> Clerk:
    return await seat(Role.MANAGER)


@pytest.fixture
async def admin(seat: SeatClerk) -> Clerk:
    return await seat(Role.ADMIN)


@pytest.fixture
async def gateway(app: FastAPI, sandbox: RunningSandbox) -> AsyncIterator[Gateways]:
    """The sandbox as the application's gateway."""
    app.state.gateways = Gateways([SandboxGateway(sandbox.url, SANDBOX_SECRET, timeout=5)])
    yield app.state.gateways
    await app.state.gateways.close()
