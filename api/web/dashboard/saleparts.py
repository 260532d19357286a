"""Parts of the pages about sales: a figure of the sales report as a tile, and what is said when nothing was sold."""

from api.web import formats
from api.web.dashboard.figures import Better, Tile
from api.web.dashboard.overtime import compared_tile
from api.web.dashboard.widgets import File, Reports, Widget
from services.analytics.reports.sales import SalesReportService


async def nothing_sold(reports: Reports) -> str:
    """What stands instead of the figures where nothing was sold, given back or cancelled; empty where something was."""
    figures = (await reports.read(SalesReportService.get_sales_report)).figures
    if figures.orders_count or figures.refunds_count or figures.cancelled_count:
        return ""
    return f"In this period ({reports.controls.days_text}) nothing was sold or given back."


def sale_widget(key: str, field: str, label: str, *, note: str = "", better: Better = "more") -> Widget:
    """One figure of the sales report, compared where the report compares."""

    async def make(reports: Reports) -> Tile:
        return await _tile(reports, key, field, label, note=note, better=better)

    return Widget("tile", key, label, make, File("sales"))


def refunds_widget() -> Widget:
    async def make(reports: Reports) -> Tile:
        number = (await reports.read(SalesReportService.get_sales_report)).figures.refunds_count
        note = "None given" if number == 0 else f"{formats.count(number)} given"
        return await _tile(reports, "refunds", "refunds", "Refunds", note=note, better="less")

    return Widget("tile", "refunds", "Refunds", make, File("sales"))


async def _tile(reports: Reports, key: str, field: str, label: str, *, note: str, better: Better) -> Tile:
    report = await reports.read(SalesReportService.get_sales_report)
    before = None if report.previous is None else getattr(report.previous, field)
    return compared_tile(key, label, getattr(report.figures, field), before, note=note, better=better)
