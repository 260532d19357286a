"""The first page: what was sold, what came of it, and what sold best."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from api.web import formats
from api.web.dashboard.controls import Controls
from api.web.dashboard.figures import Cell, Chart, ChartRow, Series, Sheet, Table, Tile, change_of, count_cell, money_cell
from models.analytics.reports import RevenuePoint, RevenueSeries, SalesReport, SourceReport, TopProducts
from models.money import Money
from services.analytics.periods import Granularity
from services.analytics.sales import SalesReportService
from services.users.permissions import Viewer

TOP = 10
_NO_CELL = Cell(formats.MISSING, "")
_EACH = {Granularity.HOUR: "hour", Granularity.DAY: "day", Granularity.WEEK: "week", Granularity.MONTH: "month"}


async def overview(controls: Controls, viewer: Viewer) -> Sheet:
    """Sales, orders and refunds of the period, over time, with the products and sources that made them."""
    scope = controls.scope
    sales, series, products, sources = await asyncio.gather(
        SalesReportService.get_sales_report(scope, viewer=viewer),
        SalesReportService.get_revenue_series(scope, viewer=viewer),
        SalesReportService.list_top_products(scope, viewer=viewer, limit=TOP),
        SalesReportService.list_source_sales(scope, viewer=viewer, limit=TOP),
    )
    if sales.figures.orders_count == sales.figures.refunds_count == sales.figures.cancelled_count == 0:
        return Sheet(tiles=_tiles(sales), empty=f"In this period ({controls.days_text}) nothing was sold or given back.")
    return Sheet(
        tiles=_tiles(sales),
        charts=[_net_chart(series, controls), _orders_chart(series, controls)],
        tables=[_products_table(products), _sources_table(sources)],
    )


def _tiles(sales: SalesReport) -> list[Tile]:
    now, before, change = sales.figures, sales.previous, sales.change

    def tile(key: str, label: str, field: str, note: str = "", *, less_is_better: bool = False) -> Tile:
        value = _text(getattr(now, field))
        if before is None or change is None:
            return Tile(key, label, value, note)
        earlier = _text(getattr(before, field))
        moved = change_of(getattr(change, field), before=earlier, less_is_better=less_is_better)
        return Tile(key, label, value, note, moved)

    return [
        tile("net", "Net sales", "net", "Paid, less what was given back"),
        tile("orders", "Orders", "orders_count", "Counted when they are paid"),
        tile("average", "Average order", "average_order_value", "Before refunds"),
        tile("units", "Pieces sold", "units_count"),
        tile("refunds", "Refunds", "refunds", _times(now.refunds_count), less_is_better=True),
    ]


def _text(value: Money | int) -> str:
    return formats.money(value) if isinstance(value, Money) else formats.count(value)


def _times(number: int) -> str:
    return "None given" if number == 0 else f"{formats.count(number)} given"


def _net_chart(series: RevenueSeries, controls: Controls) -> Chart:
    best = max(series.points, key=lambda point: point.net.amount)
    each = _EACH[controls.scope.granularity]
    summary = (
        f"Net sales per {each}, {controls.days_text}. The highest was {formats.money(best.net)}, "
        f"{_moment(best.starts_at, controls)}."
    )
    title = f"Net sales per {each}"
    sign = formats.currency_sign(series.currency)
    return _over_time(
        "net-sales", title, summary, series, controls, name="Net sales", cell=lambda point: money_cell(point.net), prefix=sign
    )


def _orders_chart(series: RevenueSeries, controls: Controls) -> Chart:
    best = max(series.points, key=lambda point: point.orders_count)
    each = _EACH[controls.scope.granularity]
    summary = (
        f"Orders per {each}, {controls.days_text}. The most were {formats.count(best.orders_count)}, "
        f"{_moment(best.starts_at, controls)}."
    )
    title = f"Orders per {each}"
    return _over_time(
        "orders", title, summary, series, controls, name="Orders", cell=lambda point: count_cell(point.orders_count)
    )


def _over_time(
    key: str,
    title: str,
    summary: str,
    series: RevenueSeries,
    controls: Controls,
    *,
    name: str,
    cell: Callable[[RevenuePoint], Cell],
    prefix: str = "",
) -> Chart:
    """Bars of the period; as a dotted line the period before, bucket by bucket, as far as it has as many."""
    columns = [Series(name)]
    earlier: Sequence[RevenuePoint] = ()
    if series.previous is not None:
        columns.append(Series("Period before", "dotted"))
        earlier = series.previous
    rows = []
    for index, point in enumerate(series.points):
        cells = [cell(point)]
        if series.previous is not None:
            cells.append(cell(earlier[index]) if index < len(earlier) else _NO_CELL)
        local = point.starts_at.astimezone(controls.scope.period.zone)
        granularity = controls.scope.granularity
        rows.append(ChartRow(formats.moment(local, granularity), cells, formats.tick(local, granularity)))
    return Chart(key, title, summary, _EACH[controls.scope.granularity].capitalize(), columns, rows, prefix)


def _moment(moment: datetime, controls: Controls) -> str:
    return formats.moment(moment.astimezone(controls.scope.period.zone), controls.scope.granularity)


def _products_table(products: TopProducts) -> Table:
    rows = [
        (row.name or "No longer in the shop", formats.count(row.units_count), formats.money(row.total)) for row in products.rows
    ]
    return Table("top-products", "Products that sold best", ("Product", "Pieces", "Total"), rows, "No product was sold.")


def _sources_table(sources: SourceReport) -> Table:
    rows = [(row.source, formats.count(row.orders_count), formats.money(row.net)) for row in sources.rows]
    return Table("sources", "Where orders came from", ("Source", "Orders", "Net sales"), rows, "No order was paid.")
