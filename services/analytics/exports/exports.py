"""Reports as files. Each is written whole before the first byte is sent, so that nobody takes a part for the whole.

The file lies on the disk, not in memory, and is written behind the gate of heavy work; sending it to whoever reads slowly holds
no place there.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import IO

from services.analytics.exports.files import MEDIA_TYPES, ExportFormat, TableWriter, writer_of
from services.analytics.exports.reporttables import (
    author_table,
    cohort_table,
    content_table,
    cover_table,
    customer_series_table,
    customer_table,
    dead_stock_table,
    failure_table,
    fraud_table,
    payment_table,
    post_table,
    role_table,
    segment_table,
    turnover_table,
    user_table,
)
from services.analytics.exports.saletables import (
    cart_table,
    category_table,
    coupon_table,
    funnel_table,
    order_table,
    product_table,
    revenue_table,
    sales_table,
    source_table,
)
from services.analytics.exports.tables import Table
from services.analytics.exports.visittables import low_stock_table, search_table, traffic_table, visit_source_table
from services.analytics.reports.content import MAX_ROWS
from services.analytics.reports.sales import TopBy
from services.analytics.scopes import ReportScope
from services.errors import NotFoundError
from services.heavy import heavy_work
from services.users.permissions import Permission, Viewer

CHUNK = 64 * 1024


class ReportNotFoundError(NotFoundError):
    """There is no such report, or none that can be had as a file."""

    code = "report_not_found"

    def __init__(self, name: str) -> None:
        super().__init__("report", name)


@dataclass(frozen=True, slots=True)
class Ranking:
    """How reports of the best are cut; others do not look at it."""

    by: TopBy = TopBy.TOTAL
    limit: int = 100


Exporter = Callable[[ReportScope, Viewer, Ranking], Awaitable[Table]]

EXPORTERS: dict[str, Exporter] = {
    "sales": lambda scope, viewer, _: sales_table(scope, viewer=viewer),
    "revenue": lambda scope, viewer, _: revenue_table(scope, viewer=viewer),
    "products": lambda scope, viewer, ranking: product_table(scope, viewer=viewer, by=ranking.by, limit=ranking.limit),
    "categories": lambda scope, viewer, ranking: category_table(scope, viewer=viewer, by=ranking.by, limit=ranking.limit),
    "coupons": lambda scope, viewer, ranking: coupon_table(scope, viewer=viewer, limit=ranking.limit),
    "sources": lambda scope, viewer, ranking: source_table(scope, viewer=viewer, limit=ranking.limit),
    "funnel": lambda scope, viewer, _: funnel_table(scope, viewer=viewer),
    "carts": lambda scope, viewer, _: cart_table(scope, viewer=viewer),
    "orders": lambda scope, viewer, _: order_table(scope, viewer=viewer),
    "customers": lambda scope, viewer, _: customer_table(scope, viewer=viewer),
    "customer-series": lambda scope, viewer, _: customer_series_table(scope, viewer=viewer),
    "cohorts": lambda scope, viewer, _: cohort_table(scope, viewer=viewer),
    "segments": lambda scope, viewer, _: segment_table(scope, viewer=viewer),
    "turnover": lambda scope, viewer, _: turnover_table(scope, viewer=viewer),
    "cover": lambda scope, viewer, _: cover_table(scope, viewer=viewer),
    "dead-stock": lambda scope, viewer, _: dead_stock_table(scope, viewer=viewer),
    "payments": lambda scope, viewer, _: payment_table(scope, viewer=viewer),
    "payment-failures": lambda scope, viewer, _: failure_table(scope, viewer=viewer),
    "fraud": lambda scope, viewer, _: fraud_table(scope, viewer=viewer),
    "content": lambda scope, viewer, _: content_table(scope, viewer=viewer),
    "posts": lambda scope, viewer, ranking: post_table(scope, viewer=viewer, limit=min(ranking.limit, MAX_ROWS)),
    "authors": lambda scope, viewer, ranking: author_table(scope, viewer=viewer, limit=min(ranking.limit, MAX_ROWS)),
    "users": lambda scope, viewer, _: user_table(scope, viewer=viewer),
    "roles": lambda scope, viewer, _: role_table(scope, viewer=viewer),
    "traffic": lambda scope, viewer, _: traffic_table(scope, viewer=viewer),
    "searches": lambda scope, viewer, ranking: search_table(scope, viewer=viewer, limit=min(ranking.limit, MAX_ROWS)),
    "visit-sources": lambda scope, viewer, ranking: visit_source_table(scope, viewer=viewer, limit=min(ranking.limit, MAX_ROWS)),
    "low-stock": lambda scope, viewer, ranking: low_stock_table(scope, viewer=viewer, limit=ranking.limit),
}
"""By the path of the report: a new one is an entry here."""


@dataclass(frozen=True, slots=True)
class Export:
    """A finished file. Whoever has it closes it."""

    name: str
    media_type: str
    size: int  # bytes
    file: IO[bytes]

    async def chunks(self) -> AsyncIterator[bytes]:
        while chunk := await asyncio.to_thread(self.file.read, CHUNK):
            yield chunk

    async def close(self) -> None:
        await asyncio.to_thread(self.file.close)


class ExportService:
    @staticmethod
    async def export(
        report: str, scope: ReportScope, *, viewer: Viewer, format: ExportFormat, ranking: Ranking | None = None
    ) -> Export:
        """The rows of a report as a file.

        Raises PermissionDeniedError, ReportNotFoundError, OverloadedError, and whatever the report itself raises.
        """
        viewer.require(Permission.VIEW_REPORTS)
        exporter = EXPORTERS.get(report)
        if exporter is None:
            raise ReportNotFoundError(report)
        table = await exporter(scope, viewer, ranking or Ranking())
        file = await asyncio.to_thread(tempfile.TemporaryFile)
        try:
            async with heavy_work():
                size = await _write(table, file, format, name=report)
        except BaseException:
            file.close()
            raise
        last = scope.period.end - timedelta(days=1)
        return Export(f"{report}_{scope.period.start}_{last}.{format}", MEDIA_TYPES[format], size, file)


async def _write(table: Table, file: IO[bytes], format: ExportFormat, *, name: str) -> int:
    """Write all rows, in a thread while the next are read here; returns the size and leaves the file at its start."""
    writer: TableWriter = await asyncio.to_thread(writer_of, format, file, name=name, head=table.head)
    try:
        async for rows in table.batches:
            await asyncio.to_thread(writer.write, rows)
    finally:
        await asyncio.to_thread(writer.close)  # also of what is given up: the parts of a workbook lie on the disk
    size = file.seek(0, 2)
    file.seek(0)
    return size
