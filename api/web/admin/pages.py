"""The routes of the admin: each page asks who looks, each move changes one thing through a service and leads on."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import groupby

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from api.errors import problem_for, status_of
from api.web import rendering, signin
from api.web.admin.desk import ADMIN, Desk, new_key
from api.web.admin.layout import Page, Tab, kept, shown
from api.web.admin.register import VIEWS, open_to
from api.web.admin.views import Build, Move, View
from services.errors import AppError, PermissionDeniedError, PreconditionError, RateLimitedError, UnavailableError
from services.users.permissions import Permission, Viewer
from services.waiting import WaitingService

Handler = Callable[[Request], Awaitable[Response]]
Work = Callable[[Request, signin.PageVisit, Viewer], Awaitable[Response]]


def install(app: FastAPI) -> None:
    app.add_route(ADMIN, _behind_sign_in(_front), methods=["GET"], include_in_schema=False)
    for view in VIEWS:
        for path, build in view.pages.items():
            app.add_route(view.path + path, _behind_sign_in(_shows(view, build)), methods=["GET"], include_in_schema=False)
        for path, move in view.moves.items():
            app.add_route(view.path + path, _behind_sign_in(_makes(view, path, move)), methods=["POST"], include_in_schema=False)


def _behind_sign_in(work: Work) -> Handler:
    """Sends strangers to the sign-in. Whatever goes wrong is told as a page."""

    async def handle(request: Request) -> Response:
        try:
            visit = await signin.visit_of(request)
            if visit.viewer is None:
                return signin.to_login(request, target="" if request.method == "GET" else ADMIN)
            try:
                return await work(request, visit, visit.viewer)
            except AppError as error:
                heading = _HEADINGS.get(status_of(type(error)), "That did not work")
                return _render(request, visit, visit.viewer, Page(heading), error=error)
        except Exception as error:
            refusal = problem_for(request.scope, error)
            detail = json.loads(bytes(refusal.body))["detail"]
            told = rendering.page(request, "admin_problem.html", status=refusal.status_code, detail=detail)
            return _may_be_tried_again(told, refusal.headers.get("Retry-After"))

    return handle


def _redirect(target: str) -> Response:
    return RedirectResponse(target, HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})


def _may_be_tried_again(page: Response, seconds: str | int | None) -> Response:
    if seconds is not None:
        page.headers["Retry-After"] = str(seconds)
    return page


_HEADINGS = {
    HTTPStatus.FORBIDDEN: "This is not for you",
    HTTPStatus.NOT_FOUND: "There is no such page",
    HTTPStatus.UNPROCESSABLE_ENTITY: "That cannot be read",
}


@dataclass(frozen=True, slots=True)
class Waits:
    """How much waits for people, and the page that lists it."""

    href: str
    label: str
    count: int


async def _front(request: Request, visit: signin.PageVisit, viewer: Viewer) -> Response:
    if not open_to(viewer):
        raise PermissionDeniedError("There is nothing here for your role.")
    counts = await WaitingService.count(viewer=viewer)
    queues = [
        Waits(view.path + one.query, one.label, counts[one.kind])
        for view in open_to(viewer)
        for one in view.queues
        if one.kind in counts
    ]
    return _render(request, visit, viewer, Page("Admin"), queues=queues, is_front=True)


def _shows(view: View, build: Build) -> Work:
    async def show(request: Request, visit: signin.PageVisit, viewer: Viewer) -> Response:
        viewer.require(view.permission)
        page = await build(Desk(request, viewer, path=request.url.path))
        return _render(request, visit, viewer, page, view=view, notice=_notice(view, request))

    return show


def _makes(view: View, path: str, move: Move) -> Work:
    async def make(request: Request, visit: signin.PageVisit, viewer: Viewer) -> Response:
        viewer.require(view.permission)
        desk = Desk(request, viewer, path=view.path_of(move.page, request.path_params))
        form = await desk.read_form()
        try:
            target = await move.act(desk, form) or desk.path
        except AppError as error:
            is_stale = isinstance(error, PreconditionError)
            page = kept(await move.page(desk), request.url.path, form.fields, is_stale=is_stale)
            return _render(request, visit, viewer, page, view=view, error=error)
        return _redirect(f"{target}?done={path.rpartition('/')[2]}")

    return make


def _notice(view: View, request: Request) -> str:
    """What the move that led here has done. The address only names it: it cannot make the page say anything else."""
    name = request.query_params.get("done", "")
    return next((move.done for path, move in view.moves.items() if path.rpartition("/")[2] == name), "")


def _render(
    request: Request,
    visit: signin.PageVisit,
    viewer: Viewer,
    page: Page,
    *,
    view: View | None = None,
    notice: str = "",
    error: AppError | None = None,
    queues: Sequence[Waits] = (),
    is_front: bool = False,
) -> Response:
    groups = [(group.value, list(members)) for group, members in groupby(open_to(viewer), lambda one: one.group)]
    menu = [(group, [Tab(one.path, one.title, one is view) for one in members]) for group, members in groups]
    rendered = rendering.page(
        request,
        "admin.html",
        status=status_of(type(error)) if error else 200,
        page=page,
        queues=queues,
        groups=groups if is_front else [],
        menu=menu,
        has_dashboard=viewer.can(Permission.VIEW_REPORTS),
        viewer=viewer,
        form_token=visit.form_token,
        new_key=new_key,
        shown=shown,
        notice=notice,
        problem=error.detail if error else "",
    )
    return _may_be_tried_again(rendered, error.retry_after if isinstance(error, RateLimitedError | UnavailableError) else None)
