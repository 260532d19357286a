"""What was sold: in all, over time, of which products and categories, with which coupons, and where it came from.

Everything is read from rollups, so that it costs the same for few orders and for many; names are those of the present.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from beanie import PydanticObjectId

from models.analytics.reports import (
    CategorySales,
    CouponReport,
    CouponSales,
    ProductSales,
    RevenuePoint,
    RevenueSeries,
    SalesReport,
    SourceReport,
    SourceSales,
    TopCategories,
    TopProducts,
)
from models.analytics.rollups import Dimension
from models.base import AgoraDocument
from models.ecommerce.catalog import Product
from models.ecommerce.coupons import Coupon
from models.money import Money
from services.analytics.reports.figures import change_of, line_fields, sales_fields, sales_figures, window_of, window_or_none
from services.analytics.rollups.rollups import RollupService
from services.analytics.scopes import ReportScope
from services.ecommerce.catalog.reference import get_reference
from services.heavy import rollup_reads
from services.users.permissions import Permission, Viewer

MAX_ROWS = 100


class TopBy(StrEnum):
    """What products and categories are ranked by: a metric of theirs."""

    TOTAL = "total"
    GROSS = "gross"
    UNITS = "units"
    ORDERS = "orders"


class SalesReportService:
    @staticmethod
    async def get_sales_report(scope: ReportScope, *, viewer: Viewer) -> SalesReport:
        """What was sold in the period, all zero when nothing was. Raises PermissionDeniedError."""
        viewer.require(Permission.VIEW_REPORTS)
        sums = await RollupService.sums(Dimension.TOTAL, currency=scope.currency, bounds=scope.bounds)
        earlier, figures = scope.previous, sales_figures(sums[-1], scope.currency)
        previous = None if earlier is None else sales_figures(sums[0], scope.currency)
        return SalesReport(
            window=window_of(scope.period),
            currency=scope.currency,
            figures=figures,
            previous_window=window_or_none(earlier),
            previous=previous,
            change=None if previous is None else change_of(figures, previous),
        )

    @staticmethod
    async def get_revenue_series(scope: ReportScope, *, viewer: Viewer) -> RevenueSeries:
        """What was sold in each bucket of the period, in order and without gaps. Raises PermissionDeniedError."""
        viewer.require(Permission.VIEW_REPORTS)
        earlier = scope.previous
        before = [] if earlier is None else earlier.buckets(scope.granularity)
        buckets = [*before, *scope.period.buckets(scope.granularity)]
        bounds = [buckets[0].start, *(bucket.end for bucket in buckets)]
        sums = await RollupService.sums(Dimension.TOTAL, currency=scope.currency, bounds=bounds)
        points = [
            RevenuePoint(starts_at=bucket.start, ends_at=bucket.end, label=bucket.label, **sales_fields(totals, scope.currency))
            for bucket, totals in zip(buckets, sums, strict=True)
        ]
        return RevenueSeries(
            window=window_of(scope.period),
            currency=scope.currency,
            granularity=scope.granularity,
            points=points[len(before) :],
            previous_window=window_or_none(earlier),
            previous=None if earlier is None else points[: len(before)],
        )

    @staticmethod
    async def list_top_products(scope: ReportScope, *, viewer: Viewer, by: TopBy = TopBy.TOTAL, limit: int = 10) -> TopProducts:
        """The products that sold best, `limit` of them at most, none when nothing was sold.

        Raises PermissionDeniedError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        best = await _top(Dimension.PRODUCT, scope, metric=by, limit=limit)
        named = await _named(Product, [key for key, _ in best], {"name": 1, "slug": 1, "category_id": 1})
        reference = await get_reference()
        rows = []
        for rank, (key, totals) in enumerate(best, start=1):
            product = named.get(key, {})
            category = reference.name_of(product.get("category_id"))
            rows.append(
                ProductSales(
                    rank=rank,
                    product_id=PydanticObjectId(key),
                    name=product.get("name"),
                    slug=product.get("slug"),
                    category=category.name if category else None,
                    **line_fields(totals, scope.currency),
                )
            )
        return TopProducts(window=window_of(scope.period), currency=scope.currency, rows=rows)

    @staticmethod
    async def list_top_categories(
        scope: ReportScope, *, viewer: Viewer, by: TopBy = TopBy.TOTAL, limit: int = 10
    ) -> TopCategories:
        """The categories that sold best, `limit` of them at most; what was in none is a row of its own.

        Raises PermissionDeniedError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        best = await _top(Dimension.CATEGORY, scope, metric=by, limit=limit)
        reference = await get_reference()
        rows = []
        for rank, (key, totals) in enumerate(best, start=1):
            category_id = PydanticObjectId(key) if PydanticObjectId.is_valid(key) else None
            category = reference.name_of(category_id)
            rows.append(
                CategorySales(
                    rank=rank,
                    category_id=category_id,
                    name=category.name if category else None,
                    slug=category.slug if category else None,
                    **line_fields(totals, scope.currency),
                )
            )
        return TopCategories(window=window_of(scope.period), currency=scope.currency, rows=rows)

    @staticmethod
    async def list_coupon_sales(scope: ReportScope, *, viewer: Viewer, limit: int = MAX_ROWS) -> CouponReport:
        """What each coupon gave away and brought in, the most used first. Raises PermissionDeniedError and OverloadedError."""
        viewer.require(Permission.VIEW_REPORTS)
        best = await _top(Dimension.COUPON, scope, metric="orders", limit=limit)
        named = await _named(Coupon, [key for key, _ in best], {"code": 1, "name": 1})
        rows = [
            CouponSales(
                coupon_id=PydanticObjectId(key),
                code=named.get(key, {}).get("code"),
                name=named.get(key, {}).get("name"),
                orders_count=totals.get("orders", 0),
                discount=Money(amount=totals.get("discount", 0), currency=scope.currency),
                total=Money(amount=totals.get("total", 0), currency=scope.currency),
            )
            for key, totals in best
        ]
        return CouponReport(window=window_of(scope.period), currency=scope.currency, rows=rows)

    @staticmethod
    async def list_source_sales(scope: ReportScope, *, viewer: Viewer, limit: int = MAX_ROWS) -> SourceReport:
        """Sales by where they came from, the highest total first; also those to which money went back and nothing else.

        Raises PermissionDeniedError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        async with rollup_reads():
            found = await RollupService.by_key(Dimension.SOURCE, currency=scope.currency, period=scope.period)
        rows = [SourceSales(source=key, **sales_fields(totals, scope.currency)) for key, totals in found.items()]
        rows = sorted(rows, key=lambda row: (-row.total.amount, row.source))[:limit]
        return SourceReport(window=window_of(scope.period), currency=scope.currency, rows=rows)


async def _top(dimension: Dimension, scope: ReportScope, *, metric: str, limit: int) -> list[tuple[str, dict[str, int]]]:
    async with rollup_reads():
        return await RollupService.top(dimension, currency=scope.currency, period=scope.period, metric=metric, limit=limit)


async def _named(document: type[AgoraDocument], keys: Sequence[str], fields: dict[str, int]) -> dict[str, dict[str, Any]]:
    """These fields of the documents with these ids, by id; without those that are gone. No command for no keys."""
    ids = [PydanticObjectId(key) for key in keys]
    rows = await document.find_rows({"_id": {"$in": ids}}, fields) if ids else []
    return {str(row["_id"]): row for row in rows}
