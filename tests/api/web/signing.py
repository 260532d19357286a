"""Signing in as a browser does it: by the form, with the cookies that come with it."""

import re
from typing import Any

import httpx2

from models.users import Role, User
from services.settings import Settings
from tests.factories.users import PASSWORD, create_login_user

LOGIN = "/dashboard/login"
LOGOUT = "/dashboard/logout"
SESSION = "agora_session"


def form_token_in(page: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', page)
    assert found is not None, page
    return found.group(1)


async def open_form(client: httpx2.AsyncClient) -> str:
    """The token of a sign-in form that this client was shown."""
    return form_token_in((await client.get(LOGIN)).text)


async def send_form(client: httpx2.AsyncClient, login: str, password: str = PASSWORD, **fields: str) -> httpx2.Response:
    """Open the form and send it; `fields` replace or add to its own."""
    token = await open_form(client)
    data = {"form_token": token, "login": login, "password": password, **fields}
    return await client.post(LOGIN, data=data)


async def enter(client: httpx2.AsyncClient, settings: Settings, role: Role = Role.MANAGER, **over: Any) -> User:
    """A new person of this role, signed in with this client's cookies."""
    user = await create_login_user(settings=settings, role=role, **over)
    answer = await send_form(client, user.username)
    assert answer.status_code == 303, answer.text
    return user
