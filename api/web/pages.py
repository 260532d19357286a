"""The pages that need no sign-in: a front page, and where the links of mails lead."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response

from api.client import client_info
from api.errors import status_of
from api.web.admin import pages as admin
from api.web.dashboard import pages as dashboard
from api.web.dashboard import saved
from api.web.rendering import WEB, page
from services.errors import AppError
from services.settings import Settings
from services.users.credentials import CredentialService, PasswordResetService
from services.users.passwords import WeakPasswordError
from services.users.registrations import RegistrationService
from services.users.sessions import ClientInfo


@dataclass(frozen=True)
class MailedLink:
    """A page of which the mail holds the address. Opening it changes nothing, so mail scanners may; its button acts."""

    path: str
    title: str
    button: str
    act: Callable[[str, str, ClientInfo, Settings], Awaitable[str]]  # token and password, returns what to say
    asks_password: bool = False


async def _verify(token: str, password: str, client: ClientInfo, settings: Settings) -> str:
    user = await RegistrationService.verify(token, client=client)
    return f"Welcome, {user.first_name}. Your account is ready: sign in as {user.username}."


async def _reset(token: str, password: str, client: ClientInfo, settings: Settings) -> str:
    await PasswordResetService.reset(token, password, client=client, settings=settings)
    return "Your new password is set, and every device was signed out. Sign in with it."


async def _change_email(token: str, password: str, client: ClientInfo, settings: Settings) -> str:
    await CredentialService.confirm_email_change(token, client=client)
    return "Your new address is confirmed, and every device was signed out. Sign in again."


MAILED_LINKS = [
    MailedLink("/account/verify", "Confirm your address", "Open my account", _verify),
    MailedLink("/account/reset", "Choose a new password", "Set the password", _reset, asks_password=True),
    MailedLink("/account/email", "Confirm your new address", "Use this address", _change_email),
]


async def front_page(request: Request) -> Response:
    return page(request, "front.html")


def _mailed_link_page(link: MailedLink) -> Callable[[Request], Awaitable[Response]]:
    async def show(request: Request) -> Response:
        if request.method == "GET":
            token = request.query_params.get("token", "")
            return page(request, "mailed_link.html", link=link, token=token, outcome="")
        settings: Settings = request.app.state.settings
        fields = parse_qs((await request.body()).decode(errors="replace"))
        token, password = fields.get("token", [""])[0], fields.get("password", [""])[0]
        client = client_info(request.scope, settings.trusted_proxies)
        try:
            outcome = await link.act(token, password, client, settings)
        except AppError as error:
            again = token if isinstance(error, WeakPasswordError) else ""
            status = status_of(type(error))
            return page(request, "mailed_link.html", status=status, link=link, token=again, outcome=error.detail)
        return page(request, "mailed_link.html", link=link, token="", outcome=outcome)

    return show


def install(app: FastAPI) -> None:
    app.mount("/static/agora", StaticFiles(directory=WEB / "static"), name="agora_assets")
    app.add_route("/", front_page, include_in_schema=False)
    dashboard.install(app)
    saved.install(app)
    admin.install(app)
    for link in MAILED_LINKS:
        app.add_route(link.path, _mailed_link_page(link), methods=["GET", "POST"], include_in_schema=False)
