"""`/dashboard`: signing in and out, the pages of figures, and files."""

import contextlib
from collections.abc import Mapping

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from api.errors import problem_for
from api.routes.analytics.exports import FileResponse
from api.web import chartlibrary, signin
from api.web.dashboard.showing import (
    LOGOUT,
    AnalystHandler,
    PartHandler,
    controls_from,
    figures_page,
    figures_part,
    for_analysts,
    for_people,
    part_for,
)
from api.web.dashboard.views import VIEWS, WIDGETS, View
from api.web.dashboard.widgets import FILES
from api.web.landing import goal_of
from api.web.rendering import page
from api.web.signin import LOGIN
from services.analytics.exports.exports import ExportService, ReportNotFoundError
from services.analytics.exports.files import ExportFormat
from services.errors import AppError
from services.users.permissions import Permission, Viewer
from services.users.sessions import SessionNotFoundError


async def login(request: Request) -> Response:
    """The form; who is signed in already goes on."""
    visit = await signin.visit_of(request)
    goal = None if visit.viewer is None else goal_of(visit.viewer, signin.safe_next(request.query_params.get("next")))
    if goal is not None:
        return RedirectResponse(goal, 303)
    return _login_form(request, visit, {"next": request.query_params.get("next", "")})


async def enter(request: Request) -> Response:
    """Sign in. A session that this browser held is ended: the new one has a token that was never anywhere before."""
    visit, fields = await signin.visit_of(request), dict[str, str]()
    try:
        fields = await signin.read_form(request)
        entered = await signin.sign_in(request, fields.get("login", "")[:254], fields.get("password", "")[:256])
    except AppError as error:
        refusal = problem_for(request.scope, error)
        again = _login_form(request, visit, fields, status=refusal.status_code, refusal=error.detail)
        if "Retry-After" in refusal.headers:
            again.headers["Retry-After"] = refusal.headers["Retry-After"]
        return again
    session = entered.opened.session
    viewer = Viewer(session.user_id, session.username, session.role, session.id)
    await _end(request, visit.viewer)
    goal = goal_of(viewer, signin.safe_next(fields.get("next")))
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


def _login_form(
    request: Request, visit: signin.PageVisit, fields: Mapping[str, str], *, status: int = 200, refusal: str = ""
) -> Response:
    """The form, with where it leads and whom it names as they were sent, and never the password."""
    form = page(
        request,
        "dashboard/login.html",
        status=status,
        visit=visit,
        target=signin.safe_next(fields.get("next")),
        login=fields.get("login", "")[:254],
        refusal=refusal,
        login_path=LOGIN,
    )
    signin.keep_visit(request, form, visit)
    return form


def _page_of(view: View) -> AnalystHandler:
    async def show(request: Request, visit: signin.PageVisit, viewer: Viewer) -> Response:
        return await figures_page(request, visit, viewer, view=view, query=request.query_params)

    return show


def _part_of(view: View) -> PartHandler:
    async def show(request: Request, viewer: Viewer) -> Response:
        return await figures_part(request, viewer, view=view, query=request.query_params)

    return show


async def download(request: Request) -> Response:
    """What a widget shows as a file. The pages of others cannot have one made: their requests are told from ours."""
    viewer = (await signin.visit_of(request)).viewer
    if viewer is None:
        return signin.to_login(request)
    viewer.require(Permission.VIEW_REPORTS)
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise signin.StrangeFormError
    name, _, format = request.path_params["file"].rpartition(".")
    widget = WIDGETS.get(name)
    if widget is None or widget.file is None or format not in list(ExportFormat):
        raise ReportNotFoundError(name)
    file, scope = widget.file, controls_from(request, request.query_params).scope
    export = await ExportService.export(
        file.report, file.scope(scope), viewer=viewer, format=ExportFormat(format), ranking=file.ranking
    )
    return FileResponse(export)


def install(app: FastAPI) -> None:
    chartlibrary.install(app)
    app.add_route(LOGIN, for_people(login), methods=["GET"], include_in_schema=False)
    app.add_route(LOGIN, for_people(enter), methods=["POST"], include_in_schema=False)
    app.add_route(LOGOUT, for_people(leave), methods=["POST"], include_in_schema=False)
    app.add_route(f"{FILES}/{{file}}", for_people(download), methods=["GET"], include_in_schema=False)
    for view in VIEWS:
        app.add_route(view.path, for_analysts(_page_of(view)), methods=["GET"], include_in_schema=False)
        app.add_route(view.part_path, part_for(_part_of(view)), methods=["GET"], include_in_schema=False)
