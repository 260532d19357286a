"""Who joins and who signs in."""

from fastapi import Request
from starlette.responses import Response

from api.reports import Analyst, ReportPeriod, answer_report, reports
from api.routing import make_router
from models.analytics.users import UserReport
from services.analytics.reports.users import UserReportService

router = make_router("/analytics/users", "Analytics: users")


@router.get("", response_model=UserReport, responses=reports())
async def get_user_report(request: Request, viewer: Analyst, scope: ReportPeriod) -> Response:
    """Registrations, sign-ins and failed ones over time, people active by day, week and month, and accounts by role."""
    return await answer_report(request, scope, make=lambda: UserReportService.get_users(scope, viewer=viewer))
