"""The page about sales: how full prices became net sales, and by what they were made."""

from api.web import formats
from api.web.dashboard.figures import Chart, ChartRow, Series, Table, money_cell
from api.web.dashboard.overtime import over_time, written
from api.web.dashboard.overview import NET, PRODUCTS, REFUNDS, SOURCES
from api.web.dashboard.saleparts import sale_widget
from api.web.dashboard.widgets import File, Reports, Widget
from services.analytics.exports.exports import Ranking
from services.analytics.reports.sales import SalesReportService

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


async def _paid(reports: Reports) -> Chart:
    series = await reports.read(SalesReportService.get_revenue_series)
    return over_time(series.points, series.previous, reports.controls, key="paid", name="Paid", value=lambda point: point.total)


async def _categories(reports: Reports) -> Chart:
    top = await reports.read(SalesReportService.list_top_categories, limit=TOP_CATEGORIES)
    rows = [ChartRow(row.name or "In no category", [money_cell(row.total)]) for row in top.rows]
    summary = f"Paid by category, {reports.controls.days_text}."
    if rows:
        summary += f" The highest was {rows[0].cells[0].text}, {rows[0].label}."
    sign = formats.currency_sign(top.currency)
    return Chart("categories", "Paid by category", summary, "Category", [Series("Paid")], rows, sign, is_across=True)


async def _steps(reports: Reports) -> Table:
    """The figures that add up; tax does not where prices include it."""
    sales = await reports.read(SalesReportService.get_sales_report)
    columns = ["", "This period"] if sales.previous is None else ["", "This period", "Period before"]
    rows = []
    for field, name in _STEPS.items():
        row = [name, written(getattr(sales.figures, field))]
        if sales.previous is not None:
            row.append(written(getattr(sales.previous, field)))
        rows.append(row)
    return Table("steps", "From full price to net", columns, rows, "")


async def _coupons(reports: Reports) -> Table:
    report = await reports.read(SalesReportService.list_coupon_sales, limit=TOP)
    rows = [
        (row.code or "No longer there", formats.count(row.orders_count), formats.money(row.discount), formats.money(row.total))
        for row in report.rows
    ]
    return Table("coupons", "Coupons", ("Code", "Orders", "Taken off", "Paid"), rows, "No coupon was used.")


CATEGORIES = Widget(
    "chart", "categories", "Paid by category", _categories, File("categories", ranking=Ranking(limit=TOP_CATEGORIES))
)
COUPONS = Widget("table", "coupons", "Coupons", _coupons, File("coupons", ranking=Ranking(limit=TOP)))

SALES = [
    NET,
    sale_widget("total", "total", "Paid", note="With tax and shipping"),
    sale_widget("discount", "discount", "Discounts", better="less"),
    REFUNDS,
    sale_widget("cancelled", "cancelled_count", "Cancelled", note="After they were paid", better="less"),
    Widget("chart", "paid", "Paid over time", _paid, File("revenue")),
    CATEGORIES,
    Widget("table", "steps", "From full price to net", _steps, File("sales")),
    COUPONS,
    PRODUCTS,
    SOURCES,
]
