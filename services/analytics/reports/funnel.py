"""The way to an order: how many looked, filled a cart, went to the checkout and paid, and what became of carts left alone."""

from collections.abc import Mapping

from models.analytics.reports import CartReport, FunnelReport, FunnelStage, ReportWindow
from models.analytics.rollups import Dimension
from models.ecommerce.cart_reads import AbandonmentReport
from models.money import Money
from services.analytics.reports.figures import Totals, rate, window_of, window_or_none
from services.analytics.rollups.rollups import RollupService, Sums
from services.analytics.scopes import ReportScope
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
        """What became of the carts found alone in the period, of those in the report's currency. Raises PermissionDeniedError."""
        viewer.require(Permission.VIEW_REPORTS)
        earlier, currency = scope.previous, scope.currency
        sums = await RollupService.sums(Dimension.CART, currency=currency, bounds=scope.bounds)
        window = window_of(scope.period)
        return CartReport(
            window=window,
            current=_carts(window, sums[-1], currency),
            previous=None if earlier is None else _carts(window_of(earlier), sums[0], currency),
        )


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


def _carts(window: ReportWindow, sums: Totals, currency: str) -> AbandonmentReport:
    abandoned, recovered = sums["abandoned"], sums["recovered"]
    return AbandonmentReport(
        starts_at=window.starts_at,
        ends_at=window.ends_at,
        abandoned_count=abandoned,
        reminded_count=sums["reminded"],
        recovered_count=recovered,
        recovery_rate=rate(recovered, abandoned) or 0,
        abandoned_value=[Money(amount=sums["value"], currency=currency)] if abandoned else [],
        recovered_value=[Money(amount=sums["recovered_value"], currency=currency)] if recovered else [],
    )
