"""How the stock moves: turnover, cover and dead stock."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from api.dependencies import Config, Cursor, Cursors, Limit
from api.reports import Analyst, ReportPeriod, answer_report, reports
from api.routing import make_router
from models.analytics.stock import DeadStockReport, StockCover, TurnoverReport
from models.money import Currency
from services.analytics.reports.inventory import MAX_DEAD_DAYS, MAX_DEAD_ITEMS, InventoryReportService
from services.pagination import CursorPage, InvalidCursorError

router = make_router("/analytics/inventory", "Analytics: inventory")


@router.get("/turnover", response_model=TurnoverReport, responses=reports())
async def get_stock_turnover(request: Request, viewer: Analyst, scope: ReportPeriod) -> Response:
    """How often the stock was sold over in the period, at what it cost, and what it is worth."""
    return await answer_report(request, scope, make=lambda: InventoryReportService.get_turnover(scope, viewer=viewer))


@router.get("/cover", response_model=CursorPage[StockCover], responses=reports(InvalidCursorError))
async def list_stock_cover(
    request: Request, viewer: Analyst, scope: ReportPeriod, cursors: Cursors, cursor: Cursor = None, limit: Limit = 20
) -> Response:
    """How many days the stock of each variant lasts, sold as in the period."""
    return await answer_report(
        request,
        scope,
        cursor,
        limit,
        make=lambda: InventoryReportService.list_cover(scope, viewer=viewer, cursors=cursors, cursor=cursor, limit=limit),
    )


@router.get("/dead-stock", response_model=DeadStockReport, responses=reports())
async def get_dead_stock(
    request: Request,
    viewer: Analyst,
    settings: Config,
    days: Annotated[int, Query(ge=1, le=MAX_DEAD_DAYS, description="Not sold for so many days")] = 90,
    limit: Annotated[int, Query(ge=1, le=MAX_DEAD_ITEMS, description="Variants to name")] = 20,
    currency: Annotated[
        Currency | None, Query(description="Of locations of this currency; the shop's when left out", examples=["USD"])
    ] = None,
) -> Response:
    """What lies there and does not sell, worth most first."""
    wanted = currency or settings.currency
    return await answer_report(
        request,
        wanted,
        days,
        limit,
        make=lambda: InventoryReportService.get_dead_stock(wanted, viewer=viewer, days=days, limit=limit),
    )
