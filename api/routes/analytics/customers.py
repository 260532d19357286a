"""Who buys: figures, cohorts and segments, which name nobody, and the customers of a segment for those who may see customers."""

from typing import Annotated

from fastapi import Path, Query, Request
from starlette.responses import Response

from api.dependencies import Allowed, Config, Paging
from api.reports import Analyst, ReportPeriod, answer_report, reports
from api.routing import make_router, refuses
from models.analytics.customers import CohortReport, CustomerInsights, SegmentMember, SegmentReport
from models.money import Currency
from services.analytics.reports.customers import CustomerReportService, TooManyCohortsError
from services.analytics.reports.segments import SegmentNotFoundError, SegmentService
from services.heavy import OverloadedError
from services.pagination import Page
from services.users.permissions import Permission, Viewer

router = make_router("/analytics/customers", "Analytics: customers")

OrderDesk = Annotated[Viewer, Allowed(Permission.MANAGE_ORDERS)]
OfCurrency = Annotated[
    Currency | None, Query(description="Of purchases in this currency; the shop's when left out", examples=["USD"])
]


@router.get("", response_model=CustomerInsights, responses=reports())
async def get_customer_insights(request: Request, viewer: Analyst, scope: ReportPeriod) -> Response:
    """Who bought in the period, who of them was new, and what a customer has been worth to date."""
    return await answer_report(request, scope, make=lambda: CustomerReportService.get_customer_insights(scope, viewer=viewer))


@router.get("/cohorts", response_model=CohortReport, responses=reports(TooManyCohortsError))
async def get_customer_cohorts(request: Request, viewer: Analyst, scope: ReportPeriod) -> Response:
    """Who first bought in each month that the period touches, and how many of them bought in each month after it."""
    return await answer_report(request, scope, make=lambda: CustomerReportService.get_cohorts(scope, viewer=viewer))


@router.get("/segments", response_model=SegmentReport, responses=reports())
async def get_customer_segments(request: Request, viewer: Analyst, settings: Config, currency: OfCurrency = None) -> Response:
    """All customers as they stand now, by how lately, how often and for how much they bought."""
    wanted = currency or settings.currency
    return await answer_report(request, wanted, make=lambda: SegmentService.get_segments(wanted, viewer=viewer))


@router.get("/segments/{segment}", responses=refuses(SegmentNotFoundError, OverloadedError))
async def list_segment_customers(
    segment: Annotated[str, Path(description="One of the segments", max_length=30, examples=["champions"])],
    viewer: OrderDesk,
    settings: Config,
    page: Paging,
    currency: OfCurrency = None,
) -> Page[SegmentMember]:
    """The customers of a segment, who spent most first."""
    return await SegmentService.list_members(segment, currency=currency or settings.currency, viewer=viewer, page=page)
