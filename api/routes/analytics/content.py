"""How the publication is read."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.reports import Analyst, ReportPeriod, answer_report, reports
from api.routing import make_router
from models.analytics.content import ContentReport
from services.analytics.reports.content import MAX_ROWS, ContentReportService, NoHoursError

router = make_router("/analytics/content", "Analytics: content")


@router.get("", response_model=ContentReport, responses=reports(NoHoursError))
async def get_content_report(
    request: Request,
    viewer: Analyst,
    scope: ReportPeriod,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS, description="Posts, and authors, to rank")] = 10,
) -> Response:
    """Views, likes and comments over time, and the posts and authors that had most of them."""
    return await answer_report(
        request, scope, limit, make=lambda: ContentReportService.get_content(scope, viewer=viewer, limit=limit)
    )
