"""Sign-in by cookie for the pages: the sessions of the API, held by a browser, and what keeps strangers' pages from using them.

The API itself never looks at these cookies: it takes bearer tokens alone, so no request of another site can act through it.
"""

import re
import secrets
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.client import client_info
from services.errors import PermissionDeniedError, RuleViolatedError
from services.settings import Settings
from services.users.logins import Login, LoginService
from services.users.permissions import Viewer
from services.users.sessions import ClientInfo, SessionService
from services.users.tokens import form_token, is_form_token

HOME = "/dashboard"
LOGIN = "/dashboard/login"
MAX_FORM_BYTES = 16 * 1024
MAX_FORM_FIELDS = 50
_SESSION = "agora_session"
_DEVICE = "agora_page_device"
_VISIT = "agora_visit"  # what the token of the sign-in form hangs on, while there is no session
_DEVICE_SECONDS = 365 * 24 * 3600
_VISIT_SECONDS = 3600

# Paths of the pages and their files, with a plain query. Anything that a browser might read as another host is none. No part of a
# path begins with a dot, so that none leads upwards.
_OUR_PAGE = re.compile(r"/(?:dashboard|admin)(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*/?(?:\?[A-Za-z0-9_.~%&=+:,/-]*)?")
_SIGN_IN_PAGES = ("/dashboard/login", "/dashboard/logout", "/admin/login", "/admin/logout")


class StrangeFormError(PermissionDeniedError):
    """A form that did not come from a page of ours, or whose page is too old."""

    code = "strange_form"

    def __init__(self) -> None:
        super().__init__("This form did not come from a current page of ours: reload the page and try again.")


class FormTooLargeError(RuleViolatedError):
    """A form with more fields or bytes than any page of ours sends."""

    code = "form_too_large"

    def __init__(self) -> None:
        super().__init__("The form is too large.")


@dataclass(frozen=True, slots=True)
class PageVisit:
    """Who looks at a page: the session's person, if the browser holds one, and the token that its forms carry."""

    viewer: Viewer | None
    form_token: str
    fresh_visit: str | None = None  # set as a cookie with the page, when there was none


def settings_of(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def client_of(request: Request) -> ClientInfo:
    return client_info(request.scope, settings_of(request).trusted_proxies)


async def viewer_of(request: Request) -> Viewer | None:
    """Whose session the browser holds, as it was when the request came in: it is read once."""
    state = request.scope.setdefault("state", {})
    if "page_viewer" not in state:
        state["page_viewer"] = await SessionService.find_viewer(_cookie(request, _SESSION) or "")
    viewer: Viewer | None = state["page_viewer"]
    return viewer


async def visit_of(request: Request) -> PageVisit:
    """Who looks. One read at most; forms of people who are not signed in are bound to a cookie of an hour instead."""
    settings = settings_of(request)
    viewer = await viewer_of(request)
    if viewer is not None:
        return PageVisit(viewer, form_token(f"session:{viewer.session_id}", settings=settings))
    known = _cookie(request, _VISIT)
    visit = known if known and len(known) <= 100 else secrets.token_urlsafe(16)
    return PageVisit(None, form_token(f"visit:{visit}", settings=settings), None if visit == known else visit)


def keep_visit(request: Request, response: Response, visit: PageVisit) -> None:
    """Let the browser hold what the page's form is bound to."""
    if visit.fresh_visit is not None:
        _set(request, response, _VISIT, visit.fresh_visit, _VISIT_SECONDS)


async def read_form(request: Request, *, max_bytes: int = MAX_FORM_BYTES, max_fields: int = MAX_FORM_FIELDS) -> dict[str, str]:
    """The fields of a form of ours, the last of equal names.

    Raises StrangeFormError unless it was sent from our own origin with the token of the caller's session, and FormTooLargeError.
    """
    if not _is_own_origin(request):
        raise StrangeFormError
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise StrangeFormError
    body = await request.body()
    if len(body) > max_bytes:
        raise FormTooLargeError
    try:
        fields = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=max_fields))
    except ValueError as error:
        raise FormTooLargeError from error
    if not await _is_bound(request, fields.get("form_token", "")):
        raise StrangeFormError
    return fields


async def _is_bound(request: Request, token: str) -> bool:
    """Whether the token is that of the caller's session or, for those without one, of their visit."""
    settings = settings_of(request)
    viewer = await viewer_of(request)
    if viewer is not None:
        return is_form_token(token, f"session:{viewer.session_id}", settings=settings)
    visit = _cookie(request, _VISIT)
    return bool(visit) and is_form_token(token, f"visit:{visit}", settings=settings)


def _is_own_origin(request: Request) -> bool:
    """Browsers say where a form was sent from; programs need not, they hold no cookie of somebody else's."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return True
    base = urlsplit(settings_of(request).base_url)
    own = {f"{base.scheme}://{base.netloc}", f"{request.url.scheme}://{request.headers.get('host', '')}"}
    return origin in own


def safe_next(target: str | None) -> str:
    """Where to go after signing in: a page of ours, or the dashboard for whatever else was named."""
    if not target or len(target) > 500 or not _OUR_PAGE.fullmatch(target) or target.startswith(_SIGN_IN_PAGES):
        return HOME
    return target


def to_login(request: Request, *, target: str = "") -> Response:
    """To the form, and from there to `target`, or to what was asked for now."""
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    goal = safe_next(target or asked)
    return RedirectResponse(LOGIN if goal == HOME else f"{LOGIN}?next={quote(goal)}", 303, {"Cache-Control": "no-store"})


async def sign_in(request: Request, login: str, password: str) -> Login:
    """As the API's login does it, with its limits, its locks and its answers."""
    return await LoginService.authenticate(
        login, password, device=_cookie(request, _DEVICE), client=client_of(request), settings=settings_of(request)
    )


def hold_session(request: Request, response: Response, entered: Login) -> None:
    """Let the browser hold the session that was opened, and the device's token."""
    seconds = settings_of(request).session_hours * 3600
    _set(request, response, _SESSION, entered.opened.token, seconds)
    _set(request, response, _DEVICE, entered.device_token, _DEVICE_SECONDS)
    _drop(request, response, _VISIT)


async def end_session(request: Request, viewer: Viewer | None) -> None:
    """End the session for every browser and client that holds its token."""
    if viewer is not None:
        await LoginService.logout(viewer)


def drop_session(request: Request, response: Response) -> None:
    _drop(request, response, _SESSION)


def _name(request: Request, name: str) -> str:
    """With https, the prefix by which browsers take the cookie from this very host alone, not from its neighbours."""
    return f"__Host-{name}" if _is_secure(request) else name


def _is_secure(request: Request) -> bool:
    """Always in production; in development, where the pages are served over https."""
    settings = settings_of(request)
    return settings.is_production or settings.base_url.startswith("https://")


def _cookie(request: Request, name: str) -> str | None:
    return request.cookies.get(_name(request, name))


def _set(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    secure = _is_secure(request)
    response.set_cookie(_name(request, name), value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="lax")


def _drop(request: Request, response: Response, name: str) -> None:
    response.delete_cookie(_name(request, name), path="/", secure=_is_secure(request), httponly=True, samesite="lax")
