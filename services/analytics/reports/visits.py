"""Reports of visits: how much was looked at, where visitors came from, and what they searched for."""

from collections.abc import Mapping

from models.analytics.rollups import METRICS, Dimension
from models.analytics.visits import SearchReport, TrafficFigures, TrafficPoint, TrafficReport, VisitSource, VisitSourceReport
from services.analytics.reports.figures import window_of, window_or_none
from services.analytics.rollups.rollups import RollupService
from services.analytics.scopes import ReportScope
from services.analytics.visits.traffic import TrafficService
from services.heavy import rollup_reads
from services.users.permissions import Permission, Viewer


class VisitReportService:
    @staticmethod
    async def get_traffic_report(scope: ReportScope, *, viewer: Viewer) -> TrafficReport:
        """What was looked at in the period, in all and in each of its buckets. Raises PermissionDeniedError."""
        viewer.require(Permission.VIEW_REPORTS)
        earlier = scope.previous
        buckets = scope.period.buckets(scope.granularity)
        bounds = [*scope.bounds[:-1], *(bucket.end for bucket in buckets)]
        series = await RollupService.sums(Dimension.TRAFFIC, bounds=bounds)
        previous = None if earlier is None else series.pop(0)
        figures = {name: sum(sums[name] for sums in series) for name in METRICS[Dimension.TRAFFIC]}
        return TrafficReport(
            window=window_of(scope.period),
            granularity=scope.granularity,
            figures=TrafficFigures(**_counts(figures)),
            points=[
                TrafficPoint(starts_at=bucket.start, ends_at=bucket.end, label=bucket.label, **_counts(sums))
                for bucket, sums in zip(buckets, series, strict=True)
            ],
            previous_window=window_or_none(earlier),
            previous=None if previous is None else TrafficFigures(**_counts(previous)),
        )

    @staticmethod
    async def list_visit_sources(scope: ReportScope, *, viewer: Viewer, limit: int = 20) -> VisitSourceReport:
        """The sites and campaigns that visitors came from. Raises PermissionDeniedError and OverloadedError."""
        viewer.require(Permission.VIEW_REPORTS)
        async with rollup_reads():
            found = await RollupService.top(Dimension.SOURCE, period=scope.period, metric="visits", limit=limit)
        rows = [VisitSource(source=source, visits_count=sums["visits"]) for source, sums in found]
        return VisitSourceReport(window=window_of(scope.period), rows=rows)

    @staticmethod
    async def list_searched_terms(scope: ReportScope, *, viewer: Viewer, limit: int = 20) -> SearchReport:
        """What visitors searched for. Raises PermissionDeniedError and OverloadedError."""
        viewer.require(Permission.VIEW_REPORTS)
        async with rollup_reads():
            rows = await TrafficService.list_searches(period=scope.period, limit=limit)
        return SearchReport(window=window_of(scope.period), rows=rows)


def _counts(sums: Mapping[str, int]) -> dict[str, int]:
    return {name: sums.get(name.removesuffix("_count"), 0) for name in TrafficFigures.model_fields}
