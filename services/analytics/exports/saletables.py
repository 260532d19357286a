"""The shop's reports as tables. Those that can be compared tell in their first column which period a row is about."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from models.analytics.reports import (
    CategorySales,
    CouponSales,
    FunnelStage,
    ProductSales,
    RevenuePoint,
    SalesFigures,
    SourceSales,
)
from models.ecommerce.cart_reads import AbandonmentReport
from models.ecommerce.orders import Order
from models.money import Money
from services.analytics.exports.tables import Cell, Table, cells_of, decimal_of, head_of, percent_of, rows_table, table_of
from services.analytics.periods import Granularity
from services.analytics.reports.funnel import FunnelService
from services.analytics.reports.sales import SalesReportService, TopBy
from services.analytics.scopes import ReportScope
from services.users.permissions import Permission, Viewer

BATCH = 500

CURRENT, PREVIOUS, CHANGE = "current", "previous", "change (%)"


async def sales_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row for the period; with a comparison one for the period before, and one for the change in per cent."""
    report = await SalesReportService.get_sales_report(scope, viewer=viewer)
    zone = scope.period.zone
    rows: list[list[Cell]] = [[CURRENT, *cells_of(report.figures, zone=zone)]]
    if report.previous is not None and report.change is not None:
        rows.append([PREVIOUS, *cells_of(report.previous, zone=zone)])
        rows.append([CHANGE, *(percent_of(getattr(report.change, name)) for name in SalesFigures.model_fields)])
    return table_of(["period", *head_of(SalesFigures, currency=scope.currency)], rows)


async def revenue_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row per bucket, those of the period before after those of the period."""
    series = await SalesReportService.get_revenue_series(scope, viewer=viewer)
    return _compared(RevenuePoint, series.points, series.previous or [], scope)


async def product_table(scope: ReportScope, *, viewer: Viewer, by: TopBy, limit: int) -> Table:
    top = await SalesReportService.list_top_products(scope, viewer=viewer, by=by, limit=limit)
    return rows_table(ProductSales, top.rows, currency=scope.currency, zone=scope.period.zone)


async def category_table(scope: ReportScope, *, viewer: Viewer, by: TopBy, limit: int) -> Table:
    top = await SalesReportService.list_top_categories(scope, viewer=viewer, by=by, limit=limit)
    return rows_table(CategorySales, top.rows, currency=scope.currency, zone=scope.period.zone)


async def coupon_table(scope: ReportScope, *, viewer: Viewer, limit: int) -> Table:
    report = await SalesReportService.list_coupon_sales(scope, viewer=viewer, limit=limit)
    return rows_table(CouponSales, report.rows, currency=scope.currency, zone=scope.period.zone)


async def source_table(scope: ReportScope, *, viewer: Viewer, limit: int) -> Table:
    report = await SalesReportService.list_source_sales(scope, viewer=viewer, limit=limit)
    return rows_table(SourceSales, report.rows, currency=scope.currency, zone=scope.period.zone)


async def funnel_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row per step."""
    report = await FunnelService.get_funnel(scope, viewer=viewer)
    return _compared(FunnelStage, report.stages, report.previous or [], scope)


async def cart_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row per period."""
    report = await FunnelService.get_cart_report(scope, viewer=viewer)
    head = [
        "period",
        "abandoned_count",
        "reminded_count",
        "recovered_count",
        "recovery_rate (%)",
        f"abandoned_value ({scope.currency})",
        f"recovered_value ({scope.currency})",
    ]
    rows = [_cart_cells(CURRENT, report.current, scope.currency)]
    if report.previous is not None:
        rows.append(_cart_cells(PREVIOUS, report.previous, scope.currency))
    return table_of(head, rows)


async def order_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """Every order of the currency placed within the period, whatever became of it, oldest first, and nothing personal."""
    viewer.require(Permission.VIEW_REPORTS)
    sums = [f"{name} ({scope.currency})" for name in (*_ORDER_SUMS, "refunded")]
    return Table([*_ORDER_FACTS, *sums], _orders(scope))


def _compared(model: type[BaseModel], rows: Sequence[BaseModel], before: Sequence[BaseModel], scope: ReportScope) -> Table:
    told = [
        [period, *cells_of(row, zone=scope.period.zone)] for period, part in ((CURRENT, rows), (PREVIOUS, before)) for row in part
    ]
    return table_of(["period", *head_of(model, currency=scope.currency)], told)


def _cart_cells(period: str, report: AbandonmentReport, currency: str) -> list[Cell]:
    return [
        period,
        report.abandoned_count,
        report.reminded_count,
        report.recovered_count,
        percent_of(report.recovery_rate),
        _value_of(report.abandoned_value, currency),
        _value_of(report.recovered_value, currency),
    ]


def _value_of(values: Sequence[Money], currency: str) -> Cell:
    return decimal_of(sum(value.amount for value in values if value.currency == currency), currency)


_ORDER_FACTS = (
    "number",
    "placed_at",
    "paid_at",
    "cancelled_at",
    "status",
    "payment_status",
    "payment_method",
    "source",
    "customer_id",
    "items_count",
)
_ORDER_SUMS = ("subtotal", "discount", "tax", "shipping", "total")
_ORDER_FIELDS = {**dict.fromkeys(_ORDER_FACTS, 1), "totals": 1, "refunded": 1, "currency": 1}


async def _orders(scope: ReportScope) -> AsyncIterator[list[list[Cell]]]:
    """Some hundred at a time, month by month: by ids that are found in the order in which the month's orders were placed.

    The embedded server sorts everything that lies ahead for every page. It loses the boundary of a range, so the first instant is
    asked for from just before it; and the currency is looked at here, because its index serves a filter by time alone.
    """
    for month in scope.period.buckets(Granularity.MONTH):
        within = {"placed_at": {"$gt": month.start - timedelta(milliseconds=1), "$lt": month.end}}
        ids = [row["_id"] for row in await Order.find_rows(within, {"_id": 1}, sort=[("placed_at", 1), ("_id", 1)])]
        for at in range(0, len(ids), BATCH):
            batch = ids[at : at + BATCH]
            rows = {row["_id"]: row for row in await Order.find_rows({"_id": {"$in": batch}}, _ORDER_FIELDS, limit=BATCH)}
            yield [_order_cells(rows[id], scope) for id in batch if id in rows and rows[id]["currency"] == scope.currency]


def _order_cells(row: Mapping[str, Any], scope: ReportScope) -> list[Cell]:
    facts: list[Cell] = []
    for name in _ORDER_FACTS:
        value = row.get(name)
        if name.endswith("_at"):
            facts.append(None if value is None else value.astimezone(scope.period.zone))
        else:
            facts.append(value if value is None or isinstance(value, int) else str(value))
    sums = [decimal_of(row["totals"][name]["amount"], scope.currency) for name in _ORDER_SUMS]
    return [*facts, *sums, decimal_of(row["refunded"]["amount"], scope.currency)]
