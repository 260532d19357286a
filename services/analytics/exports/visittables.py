"""The reports of visits, and what is low in stock, as tables: the rows of their JSON."""

from models.analytics.events import SearchedTerm
from models.analytics.supply import LowStockItem
from models.analytics.visits import TrafficPoint, VisitSource
from services.analytics.exports.tables import Table, rows_table
from services.analytics.reports.supply import SupplyReportService
from services.analytics.reports.visits import VisitReportService
from services.analytics.scopes import ReportScope
from services.users.permissions import Viewer


async def traffic_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row per bucket."""
    report = await VisitReportService.get_traffic_report(scope, viewer=viewer)
    return rows_table(TrafficPoint, report.points, currency=scope.currency, zone=scope.period.zone)


async def search_table(scope: ReportScope, *, viewer: Viewer, limit: int) -> Table:
    """What most visitors searched for; nothing that fewer than three did."""
    report = await VisitReportService.list_searched_terms(scope, viewer=viewer, limit=limit)
    return rows_table(SearchedTerm, report.rows, currency=scope.currency, zone=scope.period.zone)


async def visit_source_table(scope: ReportScope, *, viewer: Viewer, limit: int) -> Table:
    report = await VisitReportService.list_visit_sources(scope, viewer=viewer, limit=limit)
    return rows_table(VisitSource, report.rows, currency=scope.currency, zone=scope.period.zone)


async def low_stock_table(scope: ReportScope, *, viewer: Viewer, limit: int) -> Table:
    """What is low now, whatever the period, the fewest pieces first."""
    report = await SupplyReportService.list_low_stock(scope.currency, viewer=viewer, limit=limit)
    return rows_table(LowStockItem, report.items, currency=scope.currency, zone=scope.period.zone)
