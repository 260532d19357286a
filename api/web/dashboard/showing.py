"""How pages of figures are shown: whole, and their figures alone while they are open; to whom, and what else they are told."""

import hashlib
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import QueryParams
from starlette.responses import Response

from api.conditional import is_unchanged
from api.web import chartlibrary, signin
from api.web.dashboard.controls import FINENESS, RANGES, Controls, UnknownCurrencyError, controls_of, refilled, zones
from api.web.dashboard.figures import Sheet
from api.web.dashboard.views import VIEWS, View
from api.web.dashboard.widgets import Reports
from api.web.landing import landing_of
from api.web.rendering import ACTIVE_POLICY, environment, page, problem_page
from models.base import now as present
from services.analytics.currencies import list_currencies
from services.analytics.periods import InvalidPeriodError
from services.analytics.scopes import UnknownTimeZoneError
from services.cache import Cache
from services.settings import Settings
from services.users.permissions import Permission, Viewer

LOGOUT = "/dashboard/logout"

Handler = Callable[[Request], Awaitable[Response]]
AnalystHandler = Callable[[Request, signin.PageVisit, Viewer], Awaitable[Response]]
PartHandler = Callable[[Request, Viewer], Awaitable[Response]]


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


def for_people(handler: Handler) -> Handler:
    """Whatever goes wrong is told as a page."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except Exception as error:
            return problem_page(request, error)

    return answered


def for_analysts(handler: AnalystHandler) -> Handler:
    """For those who may see reports; others are led to the form, or told so. What goes wrong is told as a page."""

    async def answered(request: Request) -> Response:
        visit = await signin.visit_of(request)
        if visit.viewer is None:
            return signin.to_login(request)
        if not visit.viewer.can(Permission.VIEW_REPORTS):
            return _refused(request, visit, visit.viewer)
        return await handler(request, visit, visit.viewer)

    return for_people(answered)


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


async def figures_page(
    request: Request,
    visit: signin.PageVisit,
    viewer: Viewer,
    *,
    view: View,
    query: QueryParams,
    template: str = "dashboard/view.html",
    status: int = 200,
    **more: object,
) -> Response:
    """The page with what its controls ask for; what cannot be asked is told beneath them, who stand as they were filled in."""
    settings, refusal, sheet = signin.settings_of(request), "", Sheet()
    try:
        controls = controls_from(request, query)
    except (InvalidPeriodError, UnknownTimeZoneError, UnknownCurrencyError) as error:
        controls, status, refusal = refilled(query, settings=settings, now=present()), 422, error.detail
    else:
        sheet = (await _made(view, controls, viewer)).sheet
    return page(
        request,
        template,
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
        currencies=await _choices(controls, settings),
        zones=zones(),
        library=chartlibrary,
        logout_path=LOGOUT,
        **more,
    )


async def figures_part(request: Request, viewer: Viewer, *, view: View, query: QueryParams) -> Response:
    """The figures alone, as they would stand in the page now; 304 while they are those that the page shows."""
    made = await _made(view, controls_from(request, query), viewer)
    headers = {"ETag": made.tag, "Cache-Control": "private, no-cache", "Vary": "Cookie"}
    if is_unchanged(request, made.tag):
        return Response(status_code=304, headers=headers)
    return Response(made.body, 200, headers, "text/html")


def part_for(handler: PartHandler) -> Handler:
    """A part of a page, for its script: who may not see it gets a bare status."""

    async def answered(request: Request) -> Response:
        viewer = (await signin.visit_of(request)).viewer
        if viewer is None:
            return _bare(401)
        if not viewer.can(Permission.VIEW_REPORTS):
            return _bare(403)
        return await handler(request, viewer)

    return answered


def _bare(status: int) -> Response:
    return Response(status_code=status, headers={"Cache-Control": "no-store"})


async def _choices(controls: Controls, settings: Settings) -> list[str]:
    """The currencies to choose from: none where there is but the one that is shown."""
    found = await _currencies.get_or_load("", list_currencies)
    choices = sorted({*found, controls.scope.currency, settings.currency})
    return choices if len(choices) > 1 else []


async def _made(view: View, controls: Controls, viewer: Viewer) -> _Made:
    """The figures of half a second ago at most. Who asks was looked at before: all who may see them see the same."""

    async def make() -> _Made:
        sheet = await view.make(Reports(controls, viewer))
        body = _part.render(sheet=sheet).encode()
        return _Made(sheet, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"', body)

    key = (view.quiet, *(widget.name for widget in view.widgets), controls)
    return await _sheets.get_or_load(key, make)


def controls_from(request: Request, query: QueryParams) -> Controls:
    """Raises as `controls_of`."""
    return controls_of(query, settings=signin.settings_of(request), now=present())
