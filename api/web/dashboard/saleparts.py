"""Parts that several pages about sales are made of: a figure of the sales report as a tile, and a figure over time as a chart."""

from collections.abc import Callable
from datetime import datetime

from api.web import formats
from api.web.dashboard.controls import Controls
from api.web.dashboard.figures import Cell, Chart, ChartRow, Series, Tile, change_of, count_cell, money_cell
from models.analytics.reports import RevenuePoint, RevenueSeries, SalesReport
from models.money import Money
from services.analytics.periods import Granularity

EACH = {Granularity.HOUR: "hour", Granularity.DAY: "day", Granularity.WEEK: "week", Granularity.MONTH: "month"}
_NO_CELL = Cell(formats.MISSING, "")


def is_quiet(sales: SalesReport) -> bool:
    """Nothing was sold, given back or cancelled."""
    figures = sales.figures
    return figures.orders_count == figures.refunds_count == figures.cancelled_count == 0


def nothing_sold(controls: Controls) -> str:
    return f"In this period ({controls.days_text}) nothing was sold or given back."


def sales_tile(
    sales: SalesReport, field: str, label: str, *, note: str = "", less_is_better: bool = False, key: str = ""
) -> Tile:
    """One figure of the report, compared where the report compares."""
    value, key = written(getattr(sales.figures, field)), key or field
    if sales.previous is None or sales.change is None:
        return Tile(key, label, value, note)
    before = written(getattr(sales.previous, field))
    moved = change_of(getattr(sales.change, field), before=before, less_is_better=less_is_better)
    return Tile(key, label, value, note, moved)


def refunds_tile(sales: SalesReport) -> Tile:
    number = sales.figures.refunds_count
    note = "None given" if number == 0 else f"{formats.count(number)} given"
    return sales_tile(sales, "refunds", "Refunds", note=note, less_is_better=True)


def written(value: Money | int) -> str:
    return formats.money(value) if isinstance(value, Money) else formats.count(value)


def over_time(
    series: RevenueSeries, controls: Controls, *, key: str, name: str, value: Callable[[RevenuePoint], Money | int]
) -> Chart:
    """A figure in bars; as a dotted line that of the period before, bucket by bucket, as far as it has as many."""
    granularity = controls.scope.granularity
    each = EACH[granularity]
    columns, earlier = [Series(name)], series.previous
    if earlier is not None:
        columns.append(Series("Period before", "dotted"))
    rows = []
    for index, point in enumerate(series.points):
        cells = [_cell(value(point))]
        if earlier is not None:
            cells.append(_cell(value(earlier[index])) if index < len(earlier) else _NO_CELL)
        rows.append(bucket_row(point.starts_at, controls, cells))
    best = max(series.points, key=lambda point: _size(value(point)))
    label = bucket_row(best.starts_at, controls, []).label
    summary = f"{name} per {each}, {controls.days_text}. The highest was {written(value(best))}, {label}."
    sign = formats.currency_sign(series.currency) if isinstance(value(best), Money) else ""
    return Chart(key, f"{name} per {each}", summary, each.capitalize(), columns, rows, sign)


def bucket_row(moment: datetime, controls: Controls, cells: list[Cell]) -> ChartRow:
    """The row of the bucket that begins then, named in the page's zone."""
    local = moment.astimezone(controls.scope.period.zone)
    granularity = controls.scope.granularity
    return ChartRow(formats.moment(local, granularity), cells, formats.tick(local, granularity))


def _cell(value: Money | int) -> Cell:
    return money_cell(value) if isinstance(value, Money) else count_cell(value)


def _size(value: Money | int) -> int:
    return value.amount if isinstance(value, Money) else value
