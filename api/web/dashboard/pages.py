"""`/dashboard`: signing in and out, the pages of figures, their parts that are read again while a page is open, and files."""

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from starlette.datastructures import QueryParams
from starlette.responses import RedirectResponse, Response

from api.conditional import is_unchanged
from api.errors import problem_for
from api.routes.analytics.exports import FileResponse
from api.web import chartlibrary, signin
from api.web.dashboard.controls import FINENESS, RANGES, Controls, UnknownCurrencyError, controls_of, zones
from api.web.dashboard.figures import Sheet
from api.web.dashboard.views import VIEWS, WIDGETS, View
from api.web.dashboard.widgets import FILES, Reports
from api.web.landing import goal_of, landing_of
from api.web.rendering import ACTIVE_POLICY, environment, page, problem_page
from models.base import now as present
from services.analytics.currencies import list_currencies
from services.analytics.exports import ExportService, ReportNotFoundError
from services.analytics.files import ExportFormat
from services.analytics.periods import InvalidPeriodError
from services.analytics.scopes import UnknownTimeZoneError
from services.cache import Cache
from services.errors import AppError
from services.settings import Settings
from services.users.permissions import Permission, Viewer
from services.users.sessions import SessionNotFoundError

HOME = "/dashboard"
LOGIN = "/dashboard/login"
LOGOUT = "/dashboard/logout"

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class _Made:
    """The figures of a page, and their part of it as it is sent."""

    sheet: Sheet
    tag: str
    body: bytes


# With the poll of a second and the rollups behind, an order moves the figures within two seconds.
_sheets: Cache[Hashable, _Made] = Cache("dashboard", ttl=0.5, size=64)
# The currencies that anything was sold in; a new one need not be offered within a second.
_currencies: Cache[str, list[str]] = Cache("dashboard-currencies", ttl=30.0, size=1)
_part = environment.get_template("dashboard/sheet.html")


def _for_people(handler: Handler) -> Handler:
    """Whatever goes wrong is told as a page."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except Exception as error:
            return problem_page(request, error)

    return answered


async def login(request: Request) -> Response:
    """The form; who is signed in already goes on."""
    visit = await signin.visit_of(request)
    target = signin.safe_next(request.query_params.get("next"))
    goal = None if visit.viewer is None else goal_of(visit.viewer, target)
    if goal is not None:
        return RedirectResponse(goal, 303)
    return _login_form(request, visit, target)


async def enter(request: Request) -> Response:
    """Sign in. A session that this browser held is ended: the new one has a token that was never anywhere before."""
    visit = await signin.visit_of(request)
    try:
        fields = await signin.read_form(request)
        target = signin.safe_next(fields.get("next"))
        entered = await signin.sign_in(request, fields.get("login", "")[:254], fields.get("password", "")[:256])
    except AppError as error:
        refusal = problem_for(request.scope, error)
        again = _login_form(request, visit, HOME, status=refusal.status_code, refusal=error.detail)
        if "Retry-After" in refusal.headers:
            again.headers["Retry-After"] = refusal.headers["Retry-After"]
        return again
    session = entered.opened.session
    viewer = Viewer(session.user_id, session.username, session.role, session.id)
    await _end(request, visit.viewer)
    goal = goal_of(viewer, target)
    if goal is None:
        await _end(request, viewer)
        refused = page(request, "dashboard/refused.html", status=403, username=viewer.username, login_path=LOGIN, goal=None)
        signin.drop_session(request, refused)
        return refused
    answer = RedirectResponse(goal, 303)
    signin.hold_session(request, answer, entered)
    return answer


async def leave(request: Request) -> Response:
    """Sign out. Without a session there is nothing to protect, so an old page's button leads to the form, too."""
    visit = await signin.visit_of(request)
    if visit.viewer is not None:
        await signin.read_form(request)
        await _end(request, visit.viewer)
    answer = RedirectResponse(LOGIN, 303)
    signin.drop_session(request, answer)
    return answer


async def _end(request: Request, viewer: Viewer | None) -> None:
    with contextlib.suppress(SessionNotFoundError):  # it was ended elsewhere meanwhile
        await signin.end_session(request, viewer)


def _login_form(request: Request, visit: signin.PageVisit, target: str, *, status: int = 200, refusal: str = "") -> Response:
    form = page(request, "dashboard/login.html", status=status, visit=visit, target=target, refusal=refusal, login_path=LOGIN)
    signin.keep_visit(request, form, visit)
    return form


def _refused(request: Request, visit: signin.PageVisit, viewer: Viewer) -> Response:
    return page(
        request,
        "dashboard/refused.html",
        status=403,
        username=viewer.username,
        form_token=visit.form_token,
        logout_path=LOGOUT,
        goal=landing_of(viewer),
    )


def _figures_page(view: View) -> Handler:
    async def show(request: Request) -> Response:
        visit = await signin.visit_of(request)
        viewer = visit.viewer
        if viewer is None:
            return _to_login(request)
        if not viewer.can(Permission.VIEW_REPORTS):
            return _refused(request, visit, viewer)
        status, refusal, sheet = 200, "", Sheet()
        try:
            controls = _controls(request, request.query_params)
        except (InvalidPeriodError, UnknownTimeZoneError, UnknownCurrencyError) as error:
            controls, status, refusal = _controls(request, QueryParams()), 422, error.detail
        else:
            sheet = (await _made(view, controls, viewer)).sheet
        return page(
            request,
            "dashboard/view.html",
            status=status,
            policy=ACTIVE_POLICY,
            view=view,
            views=VIEWS,
            viewer=viewer,
            visit=visit,
            controls=controls,
            refusal=refusal,
            sheet=sheet,
            ranges=RANGES,
            fineness=FINENESS,
            currencies=await _choices(controls, signin.settings_of(request)),
            zones=zones(),
            library=chartlibrary,
            logout_path=LOGOUT,
        )

    return show


def _figures_part(view: View) -> Handler:
    """The figures alone, as they would stand in the page now; 304 while they are those that the page shows."""

    async def show(request: Request) -> Response:
        viewer = (await signin.visit_of(request)).viewer
        if viewer is None:
            return _bare(401)
        if not viewer.can(Permission.VIEW_REPORTS):
            return _bare(403)
        made = await _made(view, _controls(request, request.query_params), viewer)
        headers = {"ETag": made.tag, "Cache-Control": "private, no-cache", "Vary": "Cookie"}
        if is_unchanged(request, made.tag):
            return Response(status_code=304, headers=headers)
        return Response(made.body, 200, headers, "text/html")

    return show


async def _choices(controls: Controls, settings: Settings) -> list[str]:
    """The currencies to choose from: none where there is but the one that is shown."""
    found = await _currencies.get_or_load("", list_currencies)
    choices = sorted({*found, controls.scope.currency, settings.currency})
    return choices if len(choices) > 1 else []


async def download(request: Request) -> Response:
    """What a widget shows as a file. The pages of others cannot have one made: their requests are told from ours."""
    viewer = (await signin.visit_of(request)).viewer
    if viewer is None:
        return _to_login(request)
    viewer.require(Permission.VIEW_REPORTS)
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise signin.StrangeFormError
    name, _, format = request.path_params["file"].rpartition(".")
    widget = WIDGETS.get(name)
    if widget is None or widget.file is None or format not in list(ExportFormat):
        raise ReportNotFoundError(name)
    file, scope = widget.file, _controls(request, request.query_params).scope
    export = await ExportService.export(
        file.report, file.scope(scope), viewer=viewer, format=ExportFormat(format), ranking=file.ranking
    )
    return FileResponse(export)


async def _made(view: View, controls: Controls, viewer: Viewer) -> _Made:
    """The figures of half a second ago at most. Who asks was looked at before: all who may see them see the same."""

    async def make() -> _Made:
        sheet = await view.make(Reports(controls, viewer))
        body = _part.render(sheet=sheet).encode()
        return _Made(sheet, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"', body)

    return await _sheets.get_or_load((view.name, controls), make)


def _bare(status: int) -> Response:
    return Response(status_code=status, headers={"Cache-Control": "no-store"})


def _controls(request: Request, query: QueryParams) -> Controls:
    return controls_of(query, settings=signin.settings_of(request), now=present())


def _to_login(request: Request) -> Response:
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    target = signin.safe_next(target)
    return RedirectResponse(LOGIN if target == HOME else f"{LOGIN}?{urlencode({'next': target})}", 303)


def install(app: FastAPI) -> None:
    chartlibrary.install(app)
    app.add_route(LOGIN, _for_people(login), methods=["GET"], include_in_schema=False)
    app.add_route(LOGIN, _for_people(enter), methods=["POST"], include_in_schema=False)
    app.add_route(LOGOUT, _for_people(leave), methods=["POST"], include_in_schema=False)
    app.add_route(f"{FILES}/{{file}}", _for_people(download), methods=["GET"], include_in_schema=False)
    for view in VIEWS:
        app.add_route(view.path, _for_people(_figures_page(view)), methods=["GET"], include_in_schema=False)
        app.add_route(view.part_path, _figures_part(view), methods=["GET"], include_in_schema=False)
