"""A client on the real application, and people to sign in as."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib.util import find_spec
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from models.database import Database
from models.users import Role
from services.mail import MemoryMailer
from services.settings import Settings
from tests.factories.users import create_session, create_user
from tests.races import patiently

Headers = dict[str, str]
SignIn = Callable[..., Awaitable[Headers]]


@pytest.fixture(scope="session", autouse=True)
def missing_module_is_known_to_be_missing() -> Iterator[None]:
    """The client asks for sniffio at each request, and Python would look along its whole path every time."""
    absent: Any = None
    with pytest.MonkeyPatch.context() as patched:
        if find_spec("sniffio") is None:
            patched.setitem(sys.modules, "sniffio", absent)
        yield


@pytest.fixture
def mailer() -> MemoryMailer:
    return MemoryMailer()


@pytest.fixture
async def app(settings: Settings, database: Database) -> AsyncIterator[FastAPI]:
    application = create_app(settings, database=database)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Speaks to the application in this process, from 203.0.113.7."""
    transport = httpx2.ASGITransport(app=app, client=("203.0.113.7", 50_000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://agora.test") as connected:
        yield connected


@pytest.fixture
async def one_window() -> None:
    """No window of the rate limits, which all begin at whole five minutes, ends during the test."""
    left = 300 - time.time() % 300
    if left < patiently(1):
        await asyncio.sleep(left)


@pytest.fixture
def as_role(database: Database) -> SignIn:
    """`headers = await as_role(Role.EDITOR)`: the Authorization header of a new person of that role."""

    async def sign_in(role: Role = Role.USER, **over: Any) -> Headers:
        user = await create_user(role=role, **over)
        return {"Authorization": f"Bearer {await create_session(user)}"}

    return sign_in
