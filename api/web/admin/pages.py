"""The routes of the admin: each page asks who looks, each move changes one thing through a service and leads on."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import quote

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from api.errors import status_of
from api.web import rendering, signin
from api.web.admin.comments import COMMENTS
from api.web.admin.desk import ADMIN, Desk, new_key
from api.web.admin.fraud import FRAUD
from api.web.admin.jobs import JOBS
from api.web.admin.layout import Page, Tab, shown
from api.web.admin.orders import ORDERS
from api.web.admin.payments import PAYMENTS
from api.web.admin.people import USERS
from api.web.admin.products import PRODUCTS
from api.web.admin.stock import STOCK
from api.web.admin.trail import AUDIT
from api.web.admin.views import Build, Move, View
from api.web.admin.webhooks import WEBHOOKS
from services.errors import AppError, PermissionDeniedError
from services.users.permissions import Viewer

VIEWS = [COMMENTS, FRAUD, ORDERS, PAYMENTS, STOCK, PRODUCTS, USERS, WEBHOOKS, JOBS, AUDIT]
_SIGN_IN = "/dashboard/login"

Handler = Callable[[Request], Awaitable[Response]]
Work = Callable[[Request, Desk, signin.PageVisit], Awaitable[Response]]


def install(app: FastAPI) -> None:
    app.add_route(ADMIN, _behind_sign_in(_front), methods=["GET"], include_in_schema=False)
    for view in VIEWS:
        for path, build in view.pages.items():
            app.add_route(view.path + path, _behind_sign_in(_shows(view, build)), methods=["GET"], include_in_schema=False)
        for path, move in view.moves.items():
            app.add_route(view.path + path, _behind_sign_in(_makes(view, path, move)), methods=["POST"], include_in_schema=False)


def _behind_sign_in(work: Work) -> Handler:
    """Sends strangers to the sign-in, and answers what a service refuses with a page."""

    async def handle(request: Request) -> Response:
        visit = await signin.visit_of(request)
        if visit.viewer is None:
            target = request.url.path if request.method == "GET" else ADMIN
            return RedirectResponse(f"{_SIGN_IN}?next={quote(target)}", HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})
        try:
            return await work(request, Desk(request, visit.viewer), visit)
        except AppError as error:
            return _render(request, visit, Page(_HEADINGS.get(status_of(type(error)), "That did not work")), error=error)

    return handle


_HEADINGS = {
    HTTPStatus.FORBIDDEN: "This is not for you",
    HTTPStatus.NOT_FOUND: "There is no such page",
    HTTPStatus.UNPROCESSABLE_ENTITY: "That cannot be read",
}


async def _front(request: Request, desk: Desk, visit: signin.PageVisit) -> Response:
    if not _open_to(desk.viewer):
        raise PermissionDeniedError("There is nothing here for your role.")
    return _render(request, visit, Page("Admin"), is_front=True)


def _shows(view: View, build: Build) -> Work:
    async def show(request: Request, desk: Desk, visit: signin.PageVisit) -> Response:
        desk.viewer.require(view.permission)
        return _render(request, visit, await build(desk), view=view, notice=_notice(view, request))

    return show


def _makes(view: View, path: str, move: Move) -> Work:
    async def make(request: Request, desk: Desk, visit: signin.PageVisit) -> Response:
        desk.viewer.require(view.permission)
        form = await desk.read_form()
        try:
            target = await move.act(desk, form)
        except AppError as error:
            return _render(request, visit, await move.page(desk), view=view, error=error)
        return RedirectResponse(f"{target}?done={path.rpartition('/')[2]}", HTTPStatus.SEE_OTHER, {"Cache-Control": "no-store"})

    return make


def _notice(view: View, request: Request) -> str:
    """What the move that led here has done. The address only names it: it cannot make the page say anything else."""
    name = request.query_params.get("done", "")
    return next((move.done for path, move in view.moves.items() if path.rpartition("/")[2] == name), "")


def _open_to(viewer: Viewer) -> list[View]:
    return [view for view in VIEWS if viewer.can(view.permission)]


def _render(
    request: Request,
    visit: signin.PageVisit,
    page: Page,
    *,
    view: View | None = None,
    notice: str = "",
    error: AppError | None = None,
    is_front: bool = False,
) -> Response:
    assert visit.viewer is not None
    views = _open_to(visit.viewer)
    return rendering.page(
        request,
        "admin.html",
        status=status_of(type(error)) if error else 200,
        page=page,
        views=views if is_front else [],
        menu=[Tab(one.path, one.title, one is view) for one in views],
        viewer=visit.viewer,
        form_token=visit.form_token,
        new_key=new_key,
        shown=shown,
        notice=notice,
        problem=error.detail if error else "",
    )
