"""Visits, in figures."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.reports import Analyst, ReportPeriod, answer_report, reports
from api.routing import make_router
from models.analytics.visits import SearchReport, TrafficReport, VisitSourceReport
from services.analytics.reports.visits import VisitReportService

router = make_router("/analytics/traffic", "Analytics: visits")

Rows = Annotated[int, Query(ge=1, le=100, description="How many at most")]


@router.get("", response_model=TrafficReport, responses=reports())
async def get_traffic_report(request: Request, viewer: Analyst, scope: ReportPeriod) -> Response:
    """Views, searches, carts and checkouts of a period, and visitors, in all and over time. The same in every currency."""
    return await answer_report(request, scope, make=lambda: VisitReportService.get_traffic_report(scope, viewer=viewer))


@router.get("/sources", response_model=VisitSourceReport, responses=reports())
async def list_visit_sources(request: Request, viewer: Analyst, scope: ReportPeriod, limit: Rows = 20) -> Response:
    """The sites and campaigns that visitors came from."""
    return await answer_report(
        request, scope, limit, make=lambda: VisitReportService.list_visit_sources(scope, viewer=viewer, limit=limit)
    )


@router.get("/searches", response_model=SearchReport, responses=reports())
async def list_searched_terms(request: Request, viewer: Analyst, scope: ReportPeriod, limit: Rows = 20) -> Response:
    """What visitors searched for, as far as three or more did."""
    return await answer_report(
        request, scope, limit, make=lambda: VisitReportService.list_searched_terms(scope, viewer=viewer, limit=limit)
    )
