"""The way to an order: how many looked, filled a cart, went to the checkout and paid, and what became of carts left alone."""

from collections.abc import Mapping

from models.analytics.reports import CartReport, FunnelReport, FunnelStage
from models.analytics.rollups import Dimension
from services.analytics.reports.figures import rate, window_of, window_or_none
from services.analytics.rollups.rollups import RollupService, Sums
from services.analytics.scopes import ReportScope
from services.ecommerce.abandonment import AbandonmentService
from services.heavy import heavy_work
from services.users.permissions import Permission, Viewer

STAGES = ("view", "cart", "checkout", "paid")


class FunnelService:
    @staticmethod
    async def get_funnel(scope: ReportScope, *, viewer: Viewer) -> FunnelReport:
        """The four steps in their order, all zero when nobody came. Raises PermissionDeniedError."""
        viewer.require(Permission.VIEW_REPORTS)
        earlier = scope.previous
        found = await RollupService.by_key_within(Dimension.STAGE, bounds=scope.bounds)
        return FunnelReport(
            window=window_of(scope.period),
            stages=_stages(found[-1]),
            previous_window=window_or_none(earlier),
            previous=None if earlier is None else _stages(found[0]),
        )

    @staticmethod
    async def get_cart_report(scope: ReportScope, *, viewer: Viewer) -> CartReport:
        """Carts left alone in the period, a year at most. Raises PermissionDeniedError, ReportWindowError, OverloadedError."""
        viewer.require(Permission.VIEW_REPORTS)
        windows = [window_of(scope.period)] + ([window_of(scope.previous)] if scope.previous else [])
        async with heavy_work():
            found = [
                await AbandonmentService.report(viewer=viewer, starts_at=window.starts_at, ends_at=window.ends_at)
                for window in windows
            ]
        return CartReport(window=windows[0], current=found[0], previous=found[1] if len(found) > 1 else None)


def _stages(found: Mapping[str, Sums]) -> list[FunnelStage]:
    counts = [found.get(stage, {}).get("visitors", 0) for stage in STAGES]
    return [
        FunnelStage(
            stage=stage,
            visitors_count=count,
            step_rate=rate(count, counts[max(0, at - 1)]),
            overall_rate=rate(count, counts[0]),
        )
        for at, (stage, count) in enumerate(zip(STAGES, counts, strict=True))
    ]
