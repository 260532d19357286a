"""The pages a person meets before there is a dashboard: a front page, its placeholder, and where the links of mails lead."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from api.client import client_info
from api.errors import status_of
from services.errors import AppError
from services.settings import Settings
from services.users.credentials import CredentialService, PasswordResetService
from services.users.passwords import WeakPasswordError
from services.users.registrations import RegistrationService
from services.users.sessions import ClientInfo

_FOLDER = Path(__file__).parent
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_environment = Environment(loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True, undefined=StrictUndefined)
_templates = Jinja2Templates(env=_environment)


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


def _page(request: Request, template: str, *, status: int = 200, **values: object) -> Response:
    context = {"title": request.app.state.settings.site_title, **values}
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    page: Response = _templates.TemplateResponse(request, template, context, status, headers)
    return page


async def front_page(request: Request) -> Response:
    return _page(request, "front.html")


async def dashboard(request: Request) -> Response:
    return _page(request, "dashboard.html")


def _mailed_link_page(link: MailedLink) -> Callable[[Request], Awaitable[Response]]:
    async def page(request: Request) -> Response:
        if request.method == "GET":
            token = request.query_params.get("token", "")
            return _page(request, "mailed_link.html", link=link, token=token, outcome="")
        settings: Settings = request.app.state.settings
        fields = parse_qs((await request.body()).decode(errors="replace"))
        token, password = fields.get("token", [""])[0], fields.get("password", [""])[0]
        client = client_info(request.scope, settings.trusted_proxies)
        try:
            outcome = await link.act(token, password, client, settings)
        except AppError as error:
            again = token if isinstance(error, WeakPasswordError) else ""
            status = status_of(type(error))
            return _page(request, "mailed_link.html", status=status, link=link, token=again, outcome=error.detail)
        return _page(request, "mailed_link.html", link=link, token="", outcome=outcome)

    return page


def install(app: FastAPI) -> None:
    app.mount("/static/agora", StaticFiles(directory=_FOLDER / "static"), name="agora_assets")
    app.add_route("/", front_page, include_in_schema=False)
    app.add_route("/dashboard", dashboard, include_in_schema=False)
    for link in MAILED_LINKS:
        app.add_route(link.path, _mailed_link_page(link), methods=["GET", "POST"], include_in_schema=False)
