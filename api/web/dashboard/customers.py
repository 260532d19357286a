"""The page about customers: who was new, who came back, what they are worth, and where they stand."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

from api.web import formats
from api.web.dashboard.figures import Cell, Chart, ChartRow, Heat, HeatCell, Series, Tile, count_cell, money_cell
from api.web.dashboard.overtime import Figure, compared_tile, together_over_time
from api.web.dashboard.widgets import File, Reports, Widget
from models.analytics.customers import Cohort, CustomerFigures, CustomerSegment
from services.analytics.periods import FIRST_DAY, Period
from services.analytics.reports.customers import CustomerReportService
from services.analytics.reports.segments import SegmentService
from services.analytics.scopes import ReportScope

COHORT_MONTHS = 12
SEGMENTS = {
    CustomerSegment.CHAMPIONS: ("Champions", "lately, often and for much"),
    CustomerSegment.LOYAL: ("Loyal", "often, and not long ago"),
    CustomerSegment.NEW: ("New", "lately, for the first time"),
    CustomerSegment.PROMISING: ("Promising", "lately, for the second time"),
    CustomerSegment.NEEDS_ATTENTION: ("Needs attention", "once or twice, some time ago"),
    CustomerSegment.AT_RISK: ("At risk", "often or for much, but long ago"),
    CustomerSegment.LOST: ("Lost", "once or twice, for little, long ago"),
}
_LEVELS = (1_000, 2_000, 3_500, 5_000)  # basis points from which a cell is darker; what is above nothing has the first shade


def _figure(key: str, label: str, value: Callable[[CustomerFigures], Figure], *, note: str = "") -> Widget:
    async def make(reports: Reports) -> Tile:
        report = await reports.read(CustomerReportService.get_customer_insights)
        before = None if report.previous is None else value(report.previous)
        return compared_tile(key, label, value(report.figures), before, note=note)

    return Widget("tile", key, label, make, File("customers"))


async def _lifetime(reports: Reports) -> Tile:
    lifetime = (await reports.read(CustomerReportService.get_customer_insights)).lifetime
    note = f"To date, of {formats.count(lifetime.customers_count)} customers"
    return Tile("lifetime", "Value of a customer", formats.money(lifetime.lifetime_value), note)


async def _newcomers(reports: Reports) -> Chart:
    report = await reports.read(CustomerReportService.get_customer_series)
    return together_over_time(
        report.points,
        reports.controls,
        key="newcomers",
        name="Customers",
        values=[("Returning", lambda point: point.returning_count), ("New", lambda point: point.new_count)],
    )


async def _segments(reports: Reports) -> Chart:
    report = await reports.read_calmly(SegmentService.get_segments, reports.scope.currency)
    rows = []
    for one in report.segments:
        name, meaning = SEGMENTS[one.segment]
        cells = [count_cell(one.customers_count), Cell(formats.share(one.share), ""), money_cell(one.net)]
        rows.append(ChartRow(f"{name}: bought {meaning}", cells, name))
    columns = [Series("Customers"), Series("Of all", "told"), Series("Spent to date", "told")]
    largest = max(report.segments, key=lambda one: one.customers_count)
    summary = (
        f"Customers by segment, now. The largest is {SEGMENTS[largest.segment][0]}, {formats.count(largest.customers_count)}."
    )
    return Chart("segments", "Customers by segment, now", summary, "Segment", columns, rows, is_across=True)


def cohort_months(scope: ReportScope) -> ReportScope:
    """The twelve months up to that of the last day: one month alone would show nobody coming back."""
    last = scope.period.end - timedelta(days=1)
    month = last.year * 12 + last.month - COHORT_MONTHS
    start = max(date(month // 12, month % 12 + 1, 1), FIRST_DAY)
    return replace(scope, period=Period(start, scope.period.end, scope.period.zone), is_compared=False)


async def _cohorts(reports: Reports) -> Heat:
    report = await reports.read_calmly(CustomerReportService.get_cohorts, cohort_months(reports.scope))
    cohorts = [cohort for cohort in report.cohorts if cohort.customers_count]
    months = max((len(cohort.cells) for cohort in cohorts), default=0)
    columns = ["First bought in", "Customers", *(f"Month {number}" for number in range(1, months))]
    return Heat(
        "cohorts",
        "Who came back",
        columns,
        [(formats.month(cohort.month), formats.count(cohort.customers_count), _cells(cohort)) for cohort in cohorts],
        "Nobody bought for the first time in these twelve months.",
        "Of those who first bought in a month, how many bought again in each month after it.",
    )


def _cells(cohort: Cohort) -> list[HeatCell]:
    """Without the month itself, in which all of them bought."""
    return [
        HeatCell(formats.share(cell.share), formats.count(cell.customers_count), heat_level(cell.share or 0))
        for cell in cohort.cells[1:]
    ]


def heat_level(share: int) -> int:
    return 0 if share <= 0 else 1 + sum(share >= least for least in _LEVELS)


CUSTOMERS = [
    _figure("customers", "Customers", lambda one: one.customers_count, note="Who bought; guests are not among them"),
    _figure("new-customers", "New", lambda one: one.new_count, note="Bought for the first time"),
    _figure("returning-customers", "Returning", lambda one: one.returning_count, note="Had bought before"),
    _figure("spend", "Spend per customer", lambda one: one.average_spend, note="In this period, before refunds"),
    Widget("tile", "lifetime", "Value of a customer", _lifetime, File("customers")),
    Widget("chart", "newcomers", "New and returning customers over time", _newcomers, File("customer-series")),
    Widget("chart", "segments", "Customers by segment", _segments, File("segments")),
    Widget("table", "cohorts", "Who came back", _cohorts, File("cohorts", cohort_months)),
]
