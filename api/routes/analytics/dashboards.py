"""Dashboards that people save for themselves."""

from fastapi import Request
from starlette.responses import Response

from api.conditional import NOT_MODIFIED, answer
from api.dependencies import Config, ObjectIdPath, RequiredIfMatch
from api.reports import Analyst
from api.routing import make_router, refuses
from api.schemas.dashboards import DashboardCreate, DashboardUpdate
from models.analytics.dashboards import SavedDashboardRead
from services.analytics.dashboards import (
    DashboardNameTakenError,
    DashboardNotFoundError,
    DashboardRacedError,
    DashboardService,
    DashboardsFullError,
)
from services.analytics.periods import InvalidPeriodError
from services.analytics.scopes import UnknownTimeZoneError
from services.errors import PreconditionError, PreconditionRequiredError

router = make_router("/analytics/dashboards", "Analytics: saved dashboards")


@router.get("")
async def list_dashboards(viewer: Analyst) -> list[SavedDashboardRead]:
    """One's own saved dashboards, by name."""
    return await DashboardService.list_dashboards(viewer=viewer)


@router.post(
    "",
    status_code=201,
    responses=refuses(
        UnknownTimeZoneError, InvalidPeriodError, DashboardNameTakenError, DashboardRacedError, DashboardsFullError
    ),
)
async def create_dashboard(body: DashboardCreate, viewer: Analyst, settings: Config) -> SavedDashboardRead:
    """Save a choice of figures for oneself: which, in which order, of which days, in whose zone and in which currency."""
    return await DashboardService.create_dashboard(body, viewer=viewer, settings=settings)


@router.get("/{dashboard_id}", response_model=SavedDashboardRead, responses={**NOT_MODIFIED, **refuses(DashboardNotFoundError)})
async def get_dashboard(request: Request, dashboard_id: ObjectIdPath, viewer: Analyst) -> Response:
    """One of one's own dashboards: its figures in their order, with range, zone and currency."""
    return answer(request, await DashboardService.get_dashboard(dashboard_id, viewer=viewer))


@router.patch(
    "/{dashboard_id}",
    response_model=SavedDashboardRead,
    responses=refuses(
        DashboardNotFoundError,
        UnknownTimeZoneError,
        InvalidPeriodError,
        DashboardNameTakenError,
        PreconditionError,
        PreconditionRequiredError,
    ),
)
async def update_dashboard(
    request: Request,
    dashboard_id: ObjectIdPath,
    body: DashboardUpdate,
    viewer: Analyst,
    settings: Config,
    revision: RequiredIfMatch,
) -> Response:
    """Rename it, choose or order its figures anew, or change their range; `If-Match` names its `revision`, as in `"3"`."""
    return answer(
        request, await DashboardService.update_dashboard(dashboard_id, body, viewer=viewer, settings=settings, revision=revision)
    )


@router.delete("/{dashboard_id}", status_code=204, responses=refuses(DashboardNotFoundError))
async def delete_dashboard(dashboard_id: ObjectIdPath, viewer: Analyst) -> None:
    """Delete it for good."""
    await DashboardService.delete_dashboard(dashboard_id, viewer=viewer)
