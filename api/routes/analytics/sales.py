"""What was sold, and how people came to buy."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.reports import Analyst, ReportPeriod, answer_report, reports
from api.routing import make_router
from models.analytics.reports import (
    CartReport,
    CouponReport,
    FunnelReport,
    RevenueSeries,
    SalesReport,
    SourceReport,
    TopCategories,
    TopProducts,
)
from services.analytics.reports.funnel import FunnelService
from services.analytics.reports.sales import MAX_ROWS, SalesReportService, TopBy

router = make_router("/analytics", "Analytics: sales")

By = Annotated[TopBy, Query(description="The figure that ranks them")]
Rows = Annotated[int, Query(ge=1, le=MAX_ROWS, description="How many at most")]


@router.get("/sales", response_model=SalesReport, responses=reports())
async def get_sales_report(request: Request, viewer: Analyst, scope: ReportPeriod) -> Response:
    """Orders, units, gross, discounts, tax, shipping, total, refunds and net of a period.

    An order counts when it is paid, a refund and a cancellation when they happen.
    """
    return await answer_report(request, scope, make=lambda: SalesReportService.get_sales_report(scope, viewer=viewer))


@router.get("/revenue", response_model=RevenueSeries, responses=reports())
async def get_revenue_series(request: Request, viewer: Analyst, scope: ReportPeriod) -> Response:
    """The figures of the sales report for each hour, day, week or month, also where nothing was sold."""
    return await answer_report(request, scope, make=lambda: SalesReportService.get_revenue_series(scope, viewer=viewer))


@router.get("/products", response_model=TopProducts, responses=reports())
async def list_top_products(
    request: Request, viewer: Analyst, scope: ReportPeriod, by: By = TopBy.TOTAL, limit: Rows = 10
) -> Response:
    """The products that sold best, with the names they have now."""
    return await answer_report(
        request,
        scope,
        by,
        limit,
        make=lambda: SalesReportService.list_top_products(scope, viewer=viewer, by=by, limit=limit),
    )


@router.get("/categories", response_model=TopCategories, responses=reports())
async def list_top_categories(
    request: Request, viewer: Analyst, scope: ReportPeriod, by: By = TopBy.TOTAL, limit: Rows = 10
) -> Response:
    """The categories that sold best, each without those below it."""
    return await answer_report(
        request,
        scope,
        by,
        limit,
        make=lambda: SalesReportService.list_top_categories(scope, viewer=viewer, by=by, limit=limit),
    )


@router.get("/coupons", response_model=CouponReport, responses=reports())
async def list_coupon_sales(request: Request, viewer: Analyst, scope: ReportPeriod, limit: Rows = MAX_ROWS) -> Response:
    """What coupons gave away and brought in, the most used first."""
    return await answer_report(
        request, scope, limit, make=lambda: SalesReportService.list_coupon_sales(scope, viewer=viewer, limit=limit)
    )


@router.get("/sources", response_model=SourceReport, responses=reports())
async def list_source_sales(request: Request, viewer: Analyst, scope: ReportPeriod, limit: Rows = MAX_ROWS) -> Response:
    """Sales by where they came from."""
    return await answer_report(
        request, scope, limit, make=lambda: SalesReportService.list_source_sales(scope, viewer=viewer, limit=limit)
    )


@router.get("/funnel", response_model=FunnelReport, responses=reports())
async def get_funnel(request: Request, viewer: Analyst, scope: ReportPeriod) -> Response:
    """How many looked, put something into a cart, went to the checkout, and paid."""
    return await answer_report(request, scope, make=lambda: FunnelService.get_funnel(scope, viewer=viewer))


@router.get("/carts", response_model=CartReport, responses=reports())
async def get_cart_report(request: Request, viewer: Analyst, scope: ReportPeriod) -> Response:
    """Carts by when they were found left alone, and how many of them were bought after all."""
    return await answer_report(request, scope, make=lambda: FunnelService.get_cart_report(scope, viewer=viewer))
