"""Who bought, who of them was new, who came back. Read from the days and sums that `purchases` keeps, never from single sales."""

from datetime import timedelta

from models.analytics.customers import (
    Cohort,
    CohortCell,
    CohortReport,
    CustomerFigures,
    CustomerInsights,
    CustomerLifetime,
    CustomerPoint,
    CustomerSeries,
)
from models.analytics.purchases import CustomerTotals
from models.money import Money
from services.analytics.periods import Granularity, Period
from services.analytics.purchases.days import read_stretches
from services.analytics.reports.buckets import quotient
from services.analytics.reports.figures import rate, window_of, window_or_none
from services.analytics.scopes import ReportScope
from services.errors import UnprocessableError
from services.users.permissions import Permission, Viewer

MAX_COHORTS = 36


class TooManyCohortsError(UnprocessableError):
    """A period of more months than cohorts are told of."""

    code = "too_many_cohorts"

    def __init__(self) -> None:
        super().__init__(f"Cohorts are told over at most {MAX_COHORTS} months.")


class CustomerReportService:
    @staticmethod
    async def get_customer_insights(scope: ReportScope, *, viewer: Viewer) -> CustomerInsights:
        """Who bought in the period and what customers are worth to date, all zero when nobody bought.

        Two commands, one more where days of UTC are cut, twice that with a comparison; they read a row per day, however many
        bought. Raises PermissionDeniedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        earlier = scope.previous
        figures = await _figures(scope.period, scope.currency)
        lifetime = await lifetime_of(scope.currency)
        previous = None if earlier is None else await _figures(earlier, scope.currency)
        return CustomerInsights(
            window=window_of(scope.period),
            currency=scope.currency,
            figures=figures,
            lifetime=lifetime,
            previous_window=window_or_none(earlier),
            previous=previous,
        )

    @staticmethod
    async def get_customer_series(scope: ReportScope, *, viewer: Viewer) -> CustomerSeries:
        """Who bought in each bucket of the period, new or not. One command, two where buckets cut days of UTC.

        Raises PermissionDeniedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        buckets = scope.period.buckets(scope.granularity)
        stretches = await read_stretches(scope.currency, [buckets[0].start, *(bucket.end for bucket in buckets)])
        points = [
            CustomerPoint(
                starts_at=bucket.start,
                ends_at=bucket.end,
                label=bucket.label,
                new_count=bought.newcomers.bit_count(),
                returning_count=(bought.buyers & ~bought.newcomers).bit_count(),
            )
            for bucket, bought in zip(buckets, stretches, strict=True)
        ]
        return CustomerSeries(window=window_of(scope.period), currency=scope.currency, points=points)

    @staticmethod
    async def get_cohorts(scope: ReportScope, *, viewer: Viewer) -> CohortReport:
        """For every month that the period touches, who first bought in it and how many of them bought in each month after it.

        Months are those of the report's zone. One command, two where they cut days of UTC; a row per day is read. Raises
        PermissionDeniedError and TooManyCohortsError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        months = _whole_months(scope.period)
        buckets = months.buckets(Granularity.MONTH)
        if len(buckets) > MAX_COHORTS:
            raise TooManyCohortsError
        stretches = await read_stretches(scope.currency, [*(bucket.start for bucket in buckets), months.bounds[1]])
        cohorts = []
        for number, (bucket, first) in enumerate(zip(buckets, stretches, strict=True)):
            size = first.newcomers.bit_count()
            cells = [
                CohortCell(months_since=since, customers_count=came, share=rate(came, size))
                for since, month in enumerate(stretches[number:])
                for came in [(first.newcomers & month.buyers).bit_count()]
            ]
            cohorts.append(Cohort(month=bucket.label, customers_count=size, cells=cells))
        return CohortReport(window=window_of(months), currency=scope.currency, cohorts=cohorts)


async def lifetime_of(currency: str) -> CustomerLifetime:
    """All customers who ever bought in the currency, to date. One command."""
    found = await CustomerTotals.find_row({"currency": currency}) or {"customers": 0, "kept": 0, "net": 0}
    customers, orders, net = found["customers"], found["kept"], found["net"]
    return CustomerLifetime(
        customers_count=customers,
        orders_count=orders,
        net=Money(amount=net, currency=currency),
        lifetime_value=Money(amount=quotient(net, customers), currency=currency),
        average_orders=quotient(100 * orders, customers),
    )


async def _figures(period: Period, currency: str) -> CustomerFigures:
    [bought] = await read_stretches(currency, period.bounds)
    customers, new = bought.buyers.bit_count(), bought.newcomers.bit_count()
    return CustomerFigures(
        customers_count=customers,
        new_count=new,
        returning_count=customers - new,
        orders_count=bought.orders,
        total=Money(amount=bought.total, currency=currency),
        average_order_value=Money(amount=quotient(bought.total, bought.orders), currency=currency),
        average_spend=Money(amount=quotient(bought.total, customers), currency=currency),
        average_orders=quotient(100 * bought.orders, customers),
    )


def _whole_months(period: Period) -> Period:
    last = period.end - timedelta(days=1)
    return Period(period.start.replace(day=1), (last.replace(day=1) + timedelta(days=31)).replace(day=1), period.zone)
