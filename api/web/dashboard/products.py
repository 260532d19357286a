"""The page about products: what sold, how visitors came to buy it, and what they looked for."""

from collections.abc import Callable

from api.web import formats
from api.web.dashboard.figures import Better, Cell, Chart, ChartRow, Series, Table, Tile, count_cell, money_cell
from api.web.dashboard.overtime import Figure, compared_tile, share_of, written
from api.web.dashboard.overview import UNITS
from api.web.dashboard.sales import CATEGORIES, COUPONS
from api.web.dashboard.widgets import File, Reports, Widget
from models.ecommerce.cart_reads import AbandonmentReport
from services.analytics.exports.exports import Ranking
from services.analytics.reports.funnel import FunnelService
from services.analytics.reports.sales import SalesReportService
from services.analytics.reports.visits import VisitReportService

TOP = 25
TOP_DRAWN = 10
_STAGES = {
    "view": ("Looked at a product", "Looked"),
    "cart": ("Put one into a cart", "Cart"),
    "checkout": ("Went to the checkout", "Checkout"),
    "paid": ("Paid", "Paid"),
}


async def _conversion(reports: Reports) -> Tile:
    report = await reports.read(FunnelService.get_funnel)
    before = None if report.previous is None else report.previous[-1].overall_rate
    note = "Of those who looked at a product"
    return compared_tile("conversion", "Visitors who paid", report.stages[-1].overall_rate, before, note=note, write=share_of)


def _carts(
    key: str,
    label: str,
    value: Callable[[AbandonmentReport], Figure],
    *,
    note: str,
    better: Better = "more",
    write: Callable[[Figure], str] = written,
) -> Widget:
    async def make(reports: Reports) -> Tile:
        report = await reports.read_calmly(FunnelService.get_cart_report)
        before = None if report.previous is None else value(report.previous)
        return compared_tile(key, label, value(report.current), before, note=note, better=better, write=write)

    return Widget("tile", key, label, make, File("carts"))


async def _searched(reports: Reports) -> Tile:
    report = await reports.read(VisitReportService.get_traffic_report)
    before = None if report.previous is None else report.previous.searches_count
    return compared_tile("searches", "Searches", report.figures.searches_count, before, note="Of products and posts")


async def _best(reports: Reports) -> Chart:
    top = await reports.read(SalesReportService.list_top_products, limit=TOP)
    rows = [
        ChartRow(row.name or "No longer in the shop", [money_cell(row.total), count_cell(row.units_count)])
        for row in top.rows[:TOP_DRAWN]
    ]
    summary = f"Paid by product, {reports.controls.days_text}."
    if rows:
        summary += f" The highest was {rows[0].cells[0].text}, {rows[0].label}."
    sign = formats.currency_sign(top.currency)
    columns = [Series("Paid"), Series("Pieces", "told")]
    return Chart("best-products", "Paid by product", summary, "Product", columns, rows, sign, is_across=True)


async def _funnel(reports: Reports) -> Chart:
    report = await reports.read(FunnelService.get_funnel)
    columns = [Series("Visitors"), Series("Of the step before", "told"), Series("Of all who looked", "told")]
    rows = []
    for at, stage in enumerate(report.stages):
        step = formats.share(stage.step_rate) if at else formats.MISSING
        cells = [count_cell(stage.visitors_count), Cell(step, ""), Cell(formats.share(stage.overall_rate), "")]
        name, short = _STAGES[stage.stage]
        rows.append(ChartRow(name, cells, short))
    first, last = report.stages[0], report.stages[-1]
    summary = (
        f"From looking to paying, {reports.controls.days_text}. Of {formats.count(first.visitors_count)} visitors who looked, "
        f"{formats.count(last.visitors_count)} paid."
    )
    return Chart("funnel", "From looking to paying", summary, "Step", columns, rows, is_across=True)


async def _list(reports: Reports) -> Table:
    top = await reports.read(SalesReportService.list_top_products, limit=TOP)
    rows = [
        (
            row.name or "No longer in the shop",
            row.category or formats.MISSING,
            formats.count(row.orders_count),
            formats.count(row.units_count),
            formats.count(row.returned_units_count),
            formats.money(row.total),
        )
        for row in top.rows
    ]
    columns = ("Product", "Category", "Orders", "Pieces", "Came back", "Paid")
    return Table("products", "Products", columns, rows, "No product was sold.", words=2, is_broad=True)


async def _terms(reports: Reports) -> Table:
    report = await reports.read(VisitReportService.list_searched_terms, limit=TOP)
    rows = [(row.term, formats.count(row.visitors_count), formats.count(row.searches_count)) for row in report.rows]
    empty = "Nothing was searched for by three visitors or more."
    return Table("terms", "What visitors searched for", ("Search", "Visitors", "Times"), rows, empty)


PRODUCTS = [
    UNITS,
    Widget("tile", "conversion", "Visitors who paid", _conversion, File("funnel")),
    _carts(
        "abandoned",
        "Carts left alone",
        lambda one: one.abandoned_count,
        note="With something in them",
        better="less",
    ),
    _carts(
        "recovered",
        "Bought after all",
        lambda one: one.recovery_rate,
        note="Of carts left alone",
        write=share_of,
    ),
    Widget("tile", "searches", "Searches", _searched, File("traffic")),
    Widget("chart", "best-products", "Paid by product", _best, File("products", ranking=Ranking(limit=TOP_DRAWN))),
    CATEGORIES,
    Widget("chart", "funnel", "From looking to paying", _funnel, File("funnel")),
    Widget("table", "products", "Products", _list, File("products", ranking=Ranking(limit=TOP))),
    COUPONS,
    Widget("table", "terms", "What visitors searched for", _terms, File("searches", ranking=Ranking(limit=TOP))),
]
