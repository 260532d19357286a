"""The three reports that the sources name, under their names and with their arguments."""

from datetime import date, datetime

from models.analytics.customers import CustomerInsights
from models.analytics.reports import ProductSales, SalesReport
from services.analytics.reports.customers import CustomerReportService
from services.analytics.reports.sales import SalesReportService
from services.analytics.scopes import ReportScope
from services.settings import Settings
from services.users.permissions import Viewer


class AnalyticsService:
    """In the house's currency and time zone; the services of each report take any, and compare."""

    @staticmethod
    async def get_sales_report(start: date, end: date, *, viewer: Viewer, settings: Settings) -> SalesReport:
        """What was paid from `start` until before `end`, and what was given back within that time; all zero when nothing was.

        Raises PermissionDeniedError and InvalidPeriodError.
        """
        scope = ReportScope.of(settings=settings, start=start, end=end)
        return await SalesReportService.get_sales_report(scope, viewer=viewer)

    @staticmethod
    async def get_top_products(
        limit: int = 10, *, viewer: Viewer, settings: Settings, now: datetime | None = None
    ) -> list[ProductSales]:
        """The products that sold best in the last thirty days, each with its category; empty when none sold.

        Raises PermissionDeniedError and OverloadedError.
        """
        scope = ReportScope.of(settings=settings, now=now)
        return (await SalesReportService.list_top_products(scope, viewer=viewer, limit=limit)).rows

    @staticmethod
    async def get_customer_insights(*, viewer: Viewer, settings: Settings, now: datetime | None = None) -> CustomerInsights:
        """What customers are worth, how often they buy, and who was new or came back in the last thirty days.

        Raises PermissionDeniedError and OverloadedError.
        """
        return await CustomerReportService.get_customer_insights(ReportScope.of(settings=settings, now=now), viewer=viewer)
