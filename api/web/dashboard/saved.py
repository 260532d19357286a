"""`/dashboard/saved`: the dashboards that people put together for themselves, from what any page of figures shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qsl

from beanie import PydanticObjectId
from bson import ObjectId
from fastapi import FastAPI, Request
from starlette.datastructures import QueryParams
from starlette.responses import RedirectResponse, Response

from api.errors import status_of
from api.web import formats, signin
from api.web.dashboard.controls import CUSTOM, FIELDS, RANGES, Controls
from api.web.dashboard.showing import LOGOUT, controls_from, figures_page, figures_part, for_analysts, part_for
from api.web.dashboard.views import VIEWS, WIDGETS, View
from api.web.dashboard.widgets import Widget
from api.web.rendering import page
from models.analytics.dashboards import SavedDashboardRead
from services.analytics.dashboards import (
    MAX_NAME,
    DashboardChanges,
    DashboardDraft,
    DashboardNotFoundError,
    DashboardService,
    RangeDraft,
    scope_of,
)
from services.analytics.scopes import Comparison
from services.errors import AppError, UnprocessableError
from services.users.permissions import Viewer

SAVED = "/dashboard/saved"
PARTS = "/dashboard/parts/saved"

# What a form may ask to be done with a dashboard; the name of the widget follows those that are about one.
RENAME, KEEP, ADD, REMOVE, EARLIER, LATER, DELETE = "rename", "keep", "add", "remove", "earlier", "later", "delete"
_KINDS = {"tile": "Figures", "chart": "Charts", "table": "Tables"}


class StrangeChangeError(UnprocessableError):
    """A form asks for something that no page of ours offers."""

    code = "strange_change"

    def __init__(self) -> None:
        super().__init__("That cannot be done with a saved dashboard: reload the page and try again.")


class BadDashboardNameError(UnprocessableError):
    """The name that was filled in is empty, or too long."""

    code = "bad_dashboard_name"

    def __init__(self) -> None:
        super().__init__(f"A dashboard needs a name of at most {MAX_NAME} characters.")


@dataclass(frozen=True, slots=True)
class Shelf:
    """The widgets of one kind on a dashboard, in their order."""

    title: str
    widgets: Sequence[Widget]


async def _list(request: Request, visit: signin.PageVisit, viewer: Viewer) -> Response:
    return await _listed(request, visit, viewer)


async def _listed(
    request: Request,
    visit: signin.PageVisit,
    viewer: Viewer,
    *,
    fields: dict[str, str] | None = None,
    refusal: AppError | None = None,
) -> Response:
    """One's own dashboards; when one could not be saved, with its form and the reason."""
    return page(
        request,
        "dashboard/saved.html",
        status=200 if refusal is None else status_of(type(refusal)),
        dashboards=[(one, _told(one)) for one in await DashboardService.list_dashboards(viewer=viewer)],
        views=VIEWS,
        viewer=viewer,
        visit=visit,
        fields=fields or {},
        refusal="" if refusal is None else refusal.detail,
        max_name=MAX_NAME,
        saved_path=SAVED,
        logout_path=LOGOUT,
    )


async def _create(request: Request, visit: signin.PageVisit, viewer: Viewer) -> Response:
    """Save what a page shows, as it was asked for."""
    fields = await signin.read_form(request)
    try:
        view = next((view for view in VIEWS if view.name == fields.get("view")), None)
        if view is None:
            raise StrangeChangeError
        query = QueryParams(parse_qsl(fields.get("query", "").removeprefix("?")))
        draft = DashboardDraft.model_validate(
            {
                **_about(controls_from(request, query), query),
                "name": _name(fields),
                "widgets": [widget.name for widget in view.widgets],
            }
        )
        made = await DashboardService.create_dashboard(draft, viewer=viewer, settings=signin.settings_of(request))
    except AppError as error:
        return await _listed(request, visit, viewer, fields=fields, refusal=error)
    return RedirectResponse(f"{SAVED}/{made.id}", 303)


async def _show(request: Request, visit: signin.PageVisit, viewer: Viewer) -> Response:
    return await _shown(request, visit, viewer, await _found(request, viewer))


async def _shown(
    request: Request, visit: signin.PageVisit, viewer: Viewer, dashboard: SavedDashboardRead, *, refusal: AppError | None = None
) -> Response:
    """A dashboard with its figures, and the forms that change it; when one was refused, with the reason."""
    view = _view_of(dashboard)
    return await figures_page(
        request,
        visit,
        viewer,
        view=view,
        query=_query_of(request, dashboard),
        template="dashboard/own.html",
        status=200 if refusal is None else status_of(type(refusal)),
        dashboard=dashboard,
        is_other=any(request.query_params.get(name) for name in FIELDS),
        shelves=[Shelf(title, [one for one in view.widgets if one.kind == kind]) for kind, title in _KINDS.items()],
        unused=_unused(dashboard),
        is_arranging="arrange" in request.query_params or refusal is not None or not dashboard.widgets,
        problem="" if refusal is None else refusal.detail,
        max_name=MAX_NAME,
        saved_path=SAVED,
    )


async def _part(request: Request, viewer: Viewer) -> Response:
    dashboard = await _found(request, viewer)
    return await figures_part(request, viewer, view=_view_of(dashboard), query=_query_of(request, dashboard))


async def _change(request: Request, visit: signin.PageVisit, viewer: Viewer) -> Response:
    """What a button asks for. The form tells the revision that was read: what changed meanwhile is shown instead."""
    fields = await signin.read_form(request)
    dashboard = await _found(request, viewer)
    act, _, name = fields.get("do", "").partition(" ")
    if act == DELETE:
        await DashboardService.delete_dashboard(dashboard.id, viewer=viewer)
        return RedirectResponse(SAVED, 303)
    try:
        await DashboardService.update_dashboard(
            dashboard.id,
            _changes(request, dashboard, act, name, fields),
            viewer=viewer,
            settings=signin.settings_of(request),
            revision=_revision(fields),
        )
    except AppError as error:
        return await _shown(request, visit, viewer, await _found(request, viewer), refusal=error)
    # The widget that was moved is where the keyboard goes on from.
    place = {KEEP: "", RENAME: "#arrange", REMOVE: "#arrange", ADD: f"#widget-{fields.get('widget', '')}"}
    query = "" if act == KEEP else "?arrange=on"
    return RedirectResponse(f"{SAVED}/{dashboard.id}{query}{place.get(act, f'#widget-{name}')}", 303)


def _changes(request: Request, dashboard: SavedDashboardRead, act: str, name: str, fields: dict[str, str]) -> DashboardChanges:
    """Raises StrangeChangeError, BadDashboardNameError, and what the controls raise."""
    if act == RENAME:
        return DashboardChanges(name=_name(fields))
    if act == KEEP:
        query = QueryParams(parse_qsl(fields.get("query", "").removeprefix("?")))
        return DashboardChanges.model_validate(_about(controls_from(request, query), query))
    widgets = _rearranged([str(one) for one in dashboard.widgets], act, fields.get("widget", "") if act == ADD else name)
    return DashboardChanges.model_validate({"widgets": widgets})


def _rearranged(names: list[str], act: str, name: str) -> list[str]:
    """The names with one added, removed, or past the next of its kind; as they are where it is at the end already."""
    if name not in WIDGETS or (name in names) is (act == ADD):
        raise StrangeChangeError
    if act == ADD:
        return [*names, name]
    if act == REMOVE:
        return [one for one in names if one != name]
    if act not in (EARLIER, LATER):
        raise StrangeChangeError
    alike = [one for one in names if WIDGETS[one].kind == WIDGETS[name].kind]
    at = alike.index(name) + (1 if act == LATER else -1)
    if not 0 <= at < len(alike):
        return names
    other = alike[at]
    return [name if one == other else other if one == name else one for one in names]


def _name(fields: dict[str, str]) -> str:
    name = fields.get("name", "").strip()
    if not name or len(name) > MAX_NAME or "\0" in name:
        raise BadDashboardNameError
    return name


def _revision(fields: dict[str, str]) -> int:
    text = fields.get("revision", "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise StrangeChangeError
    return int(text)


async def _found(request: Request, viewer: Viewer) -> SavedDashboardRead:
    text = request.path_params["id"]
    if not ObjectId.is_valid(text):
        raise DashboardNotFoundError(text)
    return await DashboardService.get_dashboard(PydanticObjectId(text), viewer=viewer)


def _view_of(dashboard: SavedDashboardRead) -> View:
    """A page like those of the house, of the dashboard's widgets."""
    widgets = [WIDGETS[one] for one in dashboard.widgets]
    return View(f"saved/{dashboard.id}", f"{SAVED}/{dashboard.id}", dashboard.name, "what happens", widgets)


def _told(dashboard: SavedDashboardRead) -> str:
    """What it is about, in a few words."""
    chosen, shown = dashboard.range, len(dashboard.widgets)
    days = "Today" if chosen.last_days == 1 else f"Last {chosen.last_days} days"
    if chosen.start is not None and chosen.end is not None:
        days = formats.days(chosen.start, chosen.end - timedelta(days=1))
    return f"{days}, {shown} {'thing' if shown == 1 else 'things'} shown"


def _unused(dashboard: SavedDashboardRead) -> list[tuple[str, list[Widget]]]:
    """What could be added, by the page that shows it; what several pages show stands under the first of them."""
    left = {name: widget for name, widget in WIDGETS.items() if name not in dashboard.widgets}
    found = []
    for view in VIEWS:
        offered = [left.pop(widget.name) for widget in view.widgets if widget.name in left]
        if offered:
            found.append((view.label, offered))
    return found


def _about(controls: Controls, query: QueryParams) -> dict[str, object]:
    """What the controls ask for, to be saved: the range by its name, and the house's zone and currency where none is chosen."""
    fixed = RangeDraft(start=controls.first, end=controls.last + timedelta(days=1))
    days = RANGES[controls.range][1]
    return {
        "range": RangeDraft(last_days=days) if days else fixed,
        "timezone": query.get("zone") or None,
        "granularity": controls.per or None,
        "is_compared": controls.is_compared,
        "currency": query.get("currency") or None,
    }


def _query_of(request: Request, dashboard: SavedDashboardRead) -> QueryParams:
    """What the address asks for; what was saved where it asks for nothing."""
    if any(request.query_params.get(name) for name in FIELDS):
        return request.query_params
    period = scope_of(dashboard, settings=signin.settings_of(request)).period
    named = next((name for name, (_, days) in RANGES.items() if days and days == dashboard.range.last_days), CUSTOM)
    query = {
        "range": named,
        "compare": (Comparison.PREVIOUS if dashboard.is_compared else Comparison.NONE).value,
        "zone": dashboard.timezone,
        "per": dashboard.granularity,
        "currency": dashboard.currency,
    }
    if named == CUSTOM:
        query |= {"from": period.start.isoformat(), "to": (period.end - timedelta(days=1)).isoformat()}
    return QueryParams({name: value for name, value in query.items() if value})


def install(app: FastAPI) -> None:
    app.add_route(SAVED, for_analysts(_list), methods=["GET"], include_in_schema=False)
    app.add_route(SAVED, for_analysts(_create), methods=["POST"], include_in_schema=False)
    app.add_route(f"{SAVED}/{{id}}", for_analysts(_show), methods=["GET"], include_in_schema=False)
    app.add_route(f"{SAVED}/{{id}}", for_analysts(_change), methods=["POST"], include_in_schema=False)
    app.add_route(f"{PARTS}/{{id}}", part_for(_part), methods=["GET"], include_in_schema=False)
