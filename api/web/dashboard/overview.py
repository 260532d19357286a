"""The first page: what was sold, what came of it, and what sold best."""

from api.web import formats
from api.web.dashboard.figures import Chart, Table
from api.web.dashboard.overtime import over_time
from api.web.dashboard.saleparts import refunds_widget, sale_widget
from api.web.dashboard.widgets import File, Reports, Widget
from services.analytics.exports.exports import Ranking
from services.analytics.reports.sales import SalesReportService

TOP = 10


async def _net_sales(reports: Reports) -> Chart:
    series = await reports.read(SalesReportService.get_revenue_series)
    return over_time(
        series.points, series.previous, reports.controls, key="net-sales", name="Net sales", value=lambda point: point.net
    )


async def _orders(reports: Reports) -> Chart:
    series = await reports.read(SalesReportService.get_revenue_series)
    return over_time(
        series.points, series.previous, reports.controls, key="orders", name="Orders", value=lambda point: point.orders_count
    )


async def _products(reports: Reports) -> Table:
    top = await reports.read(SalesReportService.list_top_products, limit=TOP)
    rows = [(row.name or "No longer in the shop", formats.count(row.units_count), formats.money(row.total)) for row in top.rows]
    return Table("top-products", "Products that sold best", ("Product", "Pieces", "Total"), rows, "No product was sold.")


async def _sources(reports: Reports) -> Table:
    report = await reports.read(SalesReportService.list_source_sales, limit=TOP)
    rows = [(row.source, formats.count(row.orders_count), formats.money(row.net)) for row in report.rows]
    return Table("sources", "Where orders came from", ("Source", "Orders", "Net sales"), rows, "No order was paid.")


NET = sale_widget("net", "net", "Net sales", note="Paid, less what was given back")
UNITS = sale_widget("units", "units_count", "Pieces sold")
REFUNDS = refunds_widget()
PRODUCTS = Widget("table", "top-products", "Products that sold best", _products, File("products", ranking=Ranking(limit=TOP)))
SOURCES = Widget("table", "sources", "Where orders came from", _sources, File("sources", ranking=Ranking(limit=TOP)))

OVERVIEW = [
    NET,
    sale_widget("orders", "orders_count", "Orders", note="Counted when they are paid"),
    sale_widget("average", "average_order_value", "Average order", note="Before refunds"),
    UNITS,
    REFUNDS,
    Widget("chart", "net-sales", "Net sales over time", _net_sales, File("revenue")),
    Widget("chart", "orders", "Orders over time", _orders, File("revenue")),
    PRODUCTS,
    SOURCES,
]
