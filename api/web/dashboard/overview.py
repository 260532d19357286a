"""The first page: what was sold, what came of it, and what sold best."""

import asyncio

from api.web import formats
from api.web.dashboard.controls import Controls
from api.web.dashboard.figures import Sheet, Table
from api.web.dashboard.saleparts import is_quiet, nothing_sold, over_time, refunds_tile, sales_tile
from models.analytics.reports import SourceReport, TopProducts
from services.analytics.sales import SalesReportService
from services.users.permissions import Viewer

TOP = 10


async def overview(controls: Controls, viewer: Viewer) -> Sheet:
    """Sales, orders and refunds of the period, over time, with the products and sources that made them."""
    scope = controls.scope
    sales, series, products, sources = await asyncio.gather(
        SalesReportService.get_sales_report(scope, viewer=viewer),
        SalesReportService.get_revenue_series(scope, viewer=viewer),
        SalesReportService.list_top_products(scope, viewer=viewer, limit=TOP),
        SalesReportService.list_source_sales(scope, viewer=viewer, limit=TOP),
    )
    tiles = [
        sales_tile(sales, "net", "Net sales", note="Paid, less what was given back"),
        sales_tile(sales, "orders_count", "Orders", note="Counted when they are paid", key="orders"),
        sales_tile(sales, "average_order_value", "Average order", note="Before refunds", key="average"),
        sales_tile(sales, "units_count", "Pieces sold", key="units"),
        refunds_tile(sales),
    ]
    if is_quiet(sales):
        return Sheet(tiles=tiles, empty=nothing_sold(controls))
    charts = [
        over_time(series, controls, key="net-sales", name="Net sales", value=lambda point: point.net),
        over_time(series, controls, key="orders", name="Orders", value=lambda point: point.orders_count),
    ]
    return Sheet(tiles=tiles, charts=charts, tables=[products_table(products), sources_table(sources)])


def products_table(products: TopProducts) -> Table:
    rows = [
        (row.name or "No longer in the shop", formats.count(row.units_count), formats.money(row.total)) for row in products.rows
    ]
    return Table("top-products", "Products that sold best", ("Product", "Pieces", "Total"), rows, "No product was sold.")


def sources_table(sources: SourceReport) -> Table:
    rows = [(row.source, formats.count(row.orders_count), formats.money(row.net)) for row in sources.rows]
    return Table("sources", "Where orders came from", ("Source", "Orders", "Net sales"), rows, "No order was paid.")
