"""The page about the stock: what it is worth, how fast it moves, what runs out and what does not sell."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from api.web import formats
from api.web.dashboard.figures import Better, Chart, ChartRow, Series, Table, Tile, count_cell
from api.web.dashboard.overtime import Figure, compared_tile, size, written
from api.web.dashboard.widgets import File, Reports, Widget
from models.analytics.stock import StockedVariant, TurnoverReport
from models.base import now as present
from services.analytics.exports.exports import Ranking
from services.analytics.periods import Period
from services.analytics.reports.inventory import InventoryReportService
from services.analytics.reports.supply import SupplyReportService
from services.analytics.scopes import ReportScope

TOP = 15
TOP_DRAWN = 12
DEAD_DAYS = 90


def _turnover(
    key: str,
    label: str,
    value: Callable[[TurnoverReport], Figure | None],
    *,
    note: str = "",
    better: Better = "more",
    write: Callable[[Figure], str] = written,
) -> Widget:
    async def make(reports: Reports) -> Tile:
        now = await reports.read_calmly(InventoryReportService.get_turnover, of_now(reports.scope))
        earlier = before(reports.scope)
        past = None if earlier is None else await reports.read_calmly(InventoryReportService.get_turnover, earlier)
        return compared_tile(key, label, value(now), None if past is None else value(past), note=note, better=better, write=write)

    return Widget("tile", key, label, make, File("turnover"))


def of_now(scope: ReportScope) -> ReportScope:
    return replace(scope, is_compared=False)


def before(scope: ReportScope) -> ReportScope | None:
    """The period before, for reports that do not compare; None where nothing is to be compared."""
    return None if scope.previous is None else replace(scope, period=scope.previous, is_compared=False)


def _dead_days(scope: ReportScope) -> ReportScope:
    """The last days, whatever the range: what lies there is told of the present."""
    today = present().astimezone(scope.period.zone).date()
    period = Period(today - timedelta(days=DEAD_DAYS), today + timedelta(days=1), scope.period.zone)
    return replace(scope, period=period, is_compared=False)


def _times(value: Figure) -> str:
    return f"{formats.hundredths(size(value))}×"


async def _low(reports: Reports) -> Tile:
    report = await reports.read_calmly(SupplyReportService.list_low_stock, reports.scope.currency, limit=TOP)
    note = f"Now; nothing is left of {formats.count(report.none_left_count)}"
    return Tile("low-stock", "Running low", formats.count(report.levels_count), note)


async def _dead(reports: Reports) -> Tile:
    report = await reports.read_calmly(InventoryReportService.get_dead_stock, reports.scope.currency, days=DEAD_DAYS, limit=TOP)
    note = f"{formats.count(report.on_hand)} pieces, none sold in {DEAD_DAYS} days"
    return Tile("dead-stock", "Does not sell", formats.money(report.value), note)


async def _cover(reports: Reports) -> Chart:
    report = await reports.read_calmly(SupplyReportService.list_shortest_cover, of_now(reports.scope), limit=TOP_DRAWN)
    rows = [
        ChartRow(_name(one), [count_cell(one.days_of_cover or 0), count_cell(one.available), count_cell(one.units_sold)])
        for one in report.items
    ]
    columns = [Series("Days"), Series("Available", "told"), Series("Sold", "told")]
    summary = f"Days that what is left lasts at the pace of {reports.controls.days_text}, the shortest first."
    if rows:
        summary += f" The first is {rows[0].label}: {rows[0].cells[0].text} days."
    return Chart("cover", "Days that what is left lasts", summary, "Product", columns, rows, is_across=True)


async def _low_list(reports: Reports) -> Table:
    report = await reports.read_calmly(SupplyReportService.list_low_stock, reports.scope.currency, limit=TOP)
    rows = [
        (
            _name(one),
            formats.count(one.available),
            formats.count(one.low_stock_threshold),
            formats.MISSING if one.reorder_point is None else formats.count(one.reorder_point),
        )
        for one in report.items
    ]
    columns = ("Product", "Available", "Low at", "Reorder at")
    places = [", ".join(part for part in (_sku(one), one.location) if part) for one in report.items]
    return Table("low", "Running low, now", columns, rows, "Nothing is low.", _rest(report.levels_count, len(rows)), small=places)


async def _dead_list(reports: Reports) -> Table:
    report = await reports.read_calmly(InventoryReportService.get_dead_stock, reports.scope.currency, days=DEAD_DAYS, limit=TOP)
    rows = [(_name(one), formats.count(one.on_hand), formats.money(one.value)) for one in report.items]
    title = f"Not sold in {DEAD_DAYS} days"
    columns = ("Product", "On hand", "Worth")
    rest, skus = _rest(report.variants_count, len(rows)), [_sku(one) for one in report.items]
    return Table("dead", title, columns, rows, "Everything sold.", rest, small=skus)


def _name(one: StockedVariant) -> str:
    """`Linen shirt, Large / Red`; the SKU where there is no such product any more."""
    if one.name is None:
        return one.sku
    return f"{one.name}, {one.variant_title}" if one.variant_title else one.name


def _sku(one: StockedVariant) -> str:
    return one.sku if one.name is not None else "No longer in the shop"


def _rest(count: int, shown: int) -> str:
    return f"And {formats.count(count - shown)} more." if count > shown else ""


STOCK = [
    _turnover("stock-value", "Stock", lambda one: one.value_at_end, note="What it had cost, at the end", better="neither"),
    _turnover("turnover", "Turnover", lambda one: one.turnover, note="How often the stock was sold over", write=_times),
    _turnover("goods-sold", "Cost of what was sold", lambda one: one.cost_of_goods_sold),
    Widget("tile", "low-stock", "Running low", _low, File("low-stock", ranking=Ranking(limit=TOP))),
    Widget("tile", "dead-stock", "Does not sell", _dead, File("dead-stock", _dead_days)),
    Widget("chart", "cover", "Days that what is left lasts", _cover, File("cover")),
    Widget("table", "low", "Running low", _low_list, File("low-stock", ranking=Ranking(limit=TOP))),
    Widget("table", "dead", f"Not sold in {DEAD_DAYS} days", _dead_list, File("dead-stock", _dead_days)),
]
