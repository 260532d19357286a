"""The page about sales: how full prices became net sales, and by what they were made."""

import asyncio

from api.web import formats
from api.web.dashboard.controls import Controls
from api.web.dashboard.figures import Chart, ChartRow, Series, Sheet, Table, money_cell
from api.web.dashboard.overview import products_table, sources_table
from api.web.dashboard.saleparts import is_quiet, nothing_sold, over_time, refunds_tile, sales_tile, written
from models.analytics.reports import CouponReport, SalesReport, TopCategories
from services.analytics.sales import SalesReportService
from services.users.permissions import Viewer

TOP = 25
TOP_CATEGORIES = 12
_STEPS = {
    "gross": "Lines at full price",
    "discount": "Discounts taken off",
    "tax": "Tax",
    "shipping": "Shipping",
    "total": "Paid",
    "refunds": "Given back",
    "net": "Net sales",
}


async def sales_page(controls: Controls, viewer: Viewer) -> Sheet:
    """From full price to net, over time, by category, product, coupon and source."""
    scope = controls.scope
    sales, series, categories, products, coupons, sources = await asyncio.gather(
        SalesReportService.get_sales_report(scope, viewer=viewer),
        SalesReportService.get_revenue_series(scope, viewer=viewer),
        SalesReportService.list_top_categories(scope, viewer=viewer, limit=TOP_CATEGORIES),
        SalesReportService.list_top_products(scope, viewer=viewer, limit=TOP),
        SalesReportService.list_coupon_sales(scope, viewer=viewer, limit=TOP),
        SalesReportService.list_source_sales(scope, viewer=viewer, limit=TOP),
    )
    tiles = [
        sales_tile(sales, "net", "Net sales", note="Paid, less what was given back"),
        sales_tile(sales, "total", "Paid", note="With tax and shipping"),
        sales_tile(sales, "discount", "Discounts", less_is_better=True),
        refunds_tile(sales),
        sales_tile(sales, "cancelled_count", "Cancelled", note="After they were paid", less_is_better=True, key="cancelled"),
    ]
    if is_quiet(sales):
        return Sheet(tiles=tiles, empty=nothing_sold(controls))
    charts = [over_time(series, controls, key="paid", name="Paid", value=lambda point: point.total)]
    if categories.rows:
        charts.append(_categories_chart(categories, controls))
    tables = [_steps_table(sales), _coupons_table(coupons), products_table(products), sources_table(sources)]
    return Sheet(tiles=tiles, charts=charts, tables=tables)


def _categories_chart(categories: TopCategories, controls: Controls) -> Chart:
    rows = [ChartRow(row.name or "In no category", [money_cell(row.total)]) for row in categories.rows]
    summary = f"Paid by category, {controls.days_text}. The highest was {rows[0].cells[0].text}, {rows[0].label}."
    sign = formats.currency_sign(categories.currency)
    return Chart("categories", "Paid by category", summary, "Category", [Series("Paid")], rows, sign, is_across=True)


def _steps_table(sales: SalesReport) -> Table:
    """The figures that add up; tax does not where prices include it."""
    columns = ["", "This period"] if sales.previous is None else ["", "This period", "Period before"]
    rows = []
    for field, name in _STEPS.items():
        row = [name, written(getattr(sales.figures, field))]
        if sales.previous is not None:
            row.append(written(getattr(sales.previous, field)))
        rows.append(row)
    return Table("steps", "From full price to net", columns, rows, "")


def _coupons_table(coupons: CouponReport) -> Table:
    rows = [
        (row.code or "No longer there", formats.count(row.orders_count), formats.money(row.discount), formats.money(row.total))
        for row in coupons.rows
    ]
    return Table("coupons", "Coupons", ("Code", "Orders", "Taken off", "Paid"), rows, "No coupon was used.")
