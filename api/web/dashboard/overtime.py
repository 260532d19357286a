"""Parts of widgets: a figure over time as a chart, and a figure beside that of the period before as a tile."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from api.web import formats
from api.web.dashboard.controls import Controls
from api.web.dashboard.figures import Better, Cell, Chart, ChartRow, Series, Tile, change_of, count_cell, money_cell
from models.money import Money
from services.analytics.periods import Granularity
from services.analytics.reports.figures import change

EACH = {Granularity.HOUR: "hour", Granularity.DAY: "day", Granularity.WEEK: "week", Granularity.MONTH: "month"}
_NO_CELL = Cell(formats.MISSING, "")

Figure = Money | int


class Point(Protocol):
    """A bucket of a series."""

    @property
    def starts_at(self) -> datetime: ...


P = TypeVar("P", bound=Point)


def written(value: Figure) -> str:
    return formats.money(value) if isinstance(value, Money) else formats.count(value)


def compared_tile(
    key: str,
    label: str,
    now: Figure | None,
    before: Figure | None,
    *,
    note: str = "",
    better: Better = "more",
    write: Callable[[Figure], str] = written,
) -> Tile:
    """A figure, and how far it moved from that of the period before; None where there is none, or nothing is compared."""
    value = formats.MISSING if now is None else write(now)
    if now is None or before is None:
        return Tile(key, label, value, note)
    moved = change_of(change(size(now), size(before)), before=write(before), better=better)
    return Tile(key, label, value, note, moved)


def share_of(value: Figure) -> str:
    """A figure in basis points, written as a share."""
    return formats.share(size(value))


def over_time(
    points: Sequence[P],
    earlier: Sequence[P] | None,
    controls: Controls,
    *,
    key: str,
    name: str,
    value: Callable[[P], Figure],
) -> Chart:
    """A figure in bars; as a dotted line that of the period before, bucket by bucket, as far as it has as many."""
    columns = [Series(name)]
    if earlier is not None:
        columns.append(Series("Period before", "dotted"))
    rows = []
    for index, point in enumerate(points):
        cells = [cell_of(value(point))]
        if earlier is not None:
            cells.append(cell_of(value(earlier[index])) if index < len(earlier) else _NO_CELL)
        rows.append(bucket_row(point.starts_at, controls, cells))
    best = max(points, key=lambda point: size(value(point)))
    peak = f"The highest was {written(value(best))}, {bucket_row(best.starts_at, controls, []).label}."
    prefix = formats.currency_sign(controls.scope.currency) if isinstance(value(best), Money) else ""
    return _chart(key, name, peak, columns, rows, controls, prefix=prefix)


def together_over_time(
    points: Sequence[P], controls: Controls, *, key: str, name: str, values: Sequence[tuple[str, Callable[[P], int]]]
) -> Chart:
    """Counts that make up a whole, on top of each other."""
    rows = [bucket_row(point.starts_at, controls, [count_cell(value(point)) for _, value in values]) for point in points]
    sums = ", ".join(f"{formats.count(sum(value(point) for point in points))} {label.lower()}" for label, value in values)
    columns = [Series(label) for label, _ in values]
    return _chart(key, name, f"In all {sums}.", columns, rows, controls, is_stacked=True)


def _chart(
    key: str,
    name: str,
    said: str,
    columns: Sequence[Series],
    rows: Sequence[ChartRow],
    controls: Controls,
    *,
    prefix: str = "",
    is_stacked: bool = False,
) -> Chart:
    each = EACH[controls.scope.granularity]
    summary = f"{name} per {each}, {controls.days_text}. {said}"
    return Chart(key, f"{name} per {each}", summary, each.capitalize(), columns, rows, prefix, is_stacked=is_stacked)


def bucket_row(moment: datetime, controls: Controls, cells: list[Cell]) -> ChartRow:
    """The row of the bucket that begins then, named in the page's zone."""
    local = moment.astimezone(controls.scope.period.zone)
    granularity = controls.scope.granularity
    return ChartRow(formats.moment(local, granularity), cells, formats.tick(local, granularity))


def cell_of(value: Figure) -> Cell:
    return money_cell(value) if isinstance(value, Money) else count_cell(value)


def size(value: Figure) -> int:
    return value.amount if isinstance(value, Money) else value
