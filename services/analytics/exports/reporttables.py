"""The reports of customers, stock, payments, content and users as tables: the rows of their JSON."""

from collections.abc import AsyncIterator, Sequence

from models.analytics.content import AuthorFigures, ContentPoint, PostFigures
from models.analytics.customers import CohortCell, CustomerFigures, CustomerLifetime, CustomerPoint, SegmentFigures
from models.analytics.payments import FailureCount, FraudFigures, PaymentFigures
from models.analytics.stock import DeadStockItem, StockCover, TurnoverReport
from models.analytics.users import RoleFigures, UserPoint
from services.analytics.exports.saletables import CURRENT, PREVIOUS
from services.analytics.exports.tables import Cell, Table, cells_of, head_of, rows_table, table_of
from services.analytics.reports.content import ContentReportService
from services.analytics.reports.customers import CustomerReportService
from services.analytics.reports.inventory import InventoryReportService, dead_items, read_cover, read_dead_stock
from services.analytics.reports.payments import PaymentReportService
from services.analytics.reports.segments import SegmentService
from services.analytics.reports.users import UserReportService
from services.analytics.scopes import ReportScope
from services.users.permissions import Permission, Viewer

PAGE = 200  # variants read at a time

Rows = Sequence[Sequence[Cell]]


async def customer_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row per period; what customers have been worth to date stands beside the first."""
    report = await CustomerReportService.get_customer_insights(scope, viewer=viewer)
    zone = scope.period.zone
    lifetime = cells_of(report.lifetime, zone=zone)
    rows = [[CURRENT, *cells_of(report.figures, zone=zone), *lifetime]]
    if report.previous is not None:
        rows.append([PREVIOUS, *cells_of(report.previous, zone=zone), *[None] * len(lifetime)])
    to_date = [f"lifetime_{name}" for name in head_of(CustomerLifetime, currency=scope.currency)]
    return table_of(["period", *head_of(CustomerFigures, currency=scope.currency), *to_date], rows)


async def customer_series_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row per bucket."""
    report = await CustomerReportService.get_customer_series(scope, viewer=viewer)
    return rows_table(CustomerPoint, report.points, currency=scope.currency, zone=scope.period.zone)


async def cohort_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row per cohort and month since."""
    report = await CustomerReportService.get_cohorts(scope, viewer=viewer)
    rows = [
        [cohort.month, cohort.customers_count, *cells_of(cell, zone=scope.period.zone)]
        for cohort in report.cohorts
        for cell in cohort.cells
    ]
    return table_of(["month", "cohort_customers_count", *head_of(CohortCell, currency=scope.currency)], rows)


async def segment_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row per segment, as customers stand now, whatever the period; of which moment that is in each."""
    report = await SegmentService.get_segments(scope.currency, viewer=viewer)
    zone = scope.period.zone
    rows = [[report.as_of.astimezone(zone), *cells_of(row, zone=zone)] for row in report.segments]
    return table_of(["as_of", *head_of(SegmentFigures, currency=scope.currency)], rows)


async def turnover_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """One row."""
    report = await InventoryReportService.get_turnover(scope, viewer=viewer)
    names = [name for name in TurnoverReport.model_fields if name not in ("window", "currency")]
    return rows_table(TurnoverReport, [report], currency=scope.currency, zone=scope.period.zone, names=names)


async def cover_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row per variant, all of them, in the order of their ids."""
    viewer.require(Permission.VIEW_REPORTS)
    return Table(head_of(StockCover, currency=scope.currency), _cover(scope))


async def _cover(scope: ReportScope) -> AsyncIterator[Rows]:
    after = None
    while rows := await read_cover(scope, after=after, limit=PAGE):
        yield [cells_of(row, zone=scope.period.zone) for row in rows]
        after = rows[-1].variant_id


async def dead_stock_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """Every variant with pieces on hand of which none was sold since the period began, worth most first."""
    viewer.require(Permission.VIEW_REPORTS)
    return Table(head_of(DeadStockItem, currency=scope.currency), _dead_stock(scope))


async def _dead_stock(scope: ReportScope) -> AsyncIterator[Rows]:
    rows = await read_dead_stock(scope.currency, scope.period.bounds[0])
    for at in range(0, len(rows), PAGE):
        items = await dead_items(rows[at : at + PAGE], scope.currency)
        yield [cells_of(item, zone=scope.period.zone) for item in items]


async def payment_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row for all, one per method and one per gateway; refunds are told of all and of gateways."""
    report = await PaymentReportService.get_payments(scope, viewer=viewer)
    fields = [*PaymentFigures.model_fields, "refunds_count", "refunds"]
    zone = scope.period.zone
    everything = [*cells_of(report.figures, zone=zone), *cells_of(report, zone=zone, names=["refunds_count", "refunds"])]
    rows: list[list[Cell]] = [["all", None, *everything]]
    rows += [
        ["method", row.method, *cells_of(row, zone=zone, names=list(PaymentFigures.model_fields)), None, None]
        for row in report.methods
    ]
    rows += [["gateway", row.gateway, *cells_of(row, zone=zone, names=fields)] for row in report.gateways]
    if report.previous is not None:
        rows.append(["all before", None, *cells_of(report.previous, zone=zone), None, None])
    head = head_of(PaymentFigures, currency=scope.currency)
    return table_of(["of", "name", *head, "refunds_count", f"refunds ({scope.currency})"], rows)


async def failure_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row per reason for which payments failed, the most frequent first."""
    report = await PaymentReportService.get_payments(scope, viewer=viewer)
    return rows_table(FailureCount, report.failures, currency=scope.currency, zone=scope.period.zone)


async def fraud_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row for all and one per rule; payments that a rule refused outright are told of all."""
    report = await PaymentReportService.get_fraud(scope, viewer=viewer)
    zone, names = scope.period.zone, list(FraudFigures.model_fields)
    everything = cells_of(report, zone=zone, names=["open_count", "blocked_count", "blocked"])
    rows = [[None, *cells_of(report.figures, zone=zone), *everything]]
    rows += [[row.rule, *cells_of(row, zone=zone, names=names), row.open_count, None, None] for row in report.rules]
    head = head_of(FraudFigures, currency=scope.currency)
    return table_of(["rule", *head, "open_count", "blocked_count", f"blocked ({scope.currency})"], rows)


async def content_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row per bucket."""
    report = await ContentReportService.get_content(scope, viewer=viewer)
    return rows_table(ContentPoint, report.points, currency=scope.currency, zone=scope.period.zone)


async def post_table(scope: ReportScope, *, viewer: Viewer, limit: int) -> Table:
    """The posts with which most was done, best first."""
    report = await ContentReportService.get_content(scope, viewer=viewer, limit=limit)
    return rows_table(PostFigures, report.posts, currency=scope.currency, zone=scope.period.zone)


async def author_table(scope: ReportScope, *, viewer: Viewer, limit: int) -> Table:
    report = await ContentReportService.get_content(scope, viewer=viewer, limit=limit)
    return rows_table(AuthorFigures, report.authors, currency=scope.currency, zone=scope.period.zone)


async def user_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row per bucket."""
    report = await UserReportService.get_users(scope, viewer=viewer)
    return rows_table(UserPoint, report.points, currency=scope.currency, zone=scope.period.zone)


async def role_table(scope: ReportScope, *, viewer: Viewer) -> Table:
    """A row per role, the highest first."""
    report = await UserReportService.get_users(scope, viewer=viewer)
    return rows_table(RoleFigures, report.roles, currency=scope.currency, zone=scope.period.zone)
