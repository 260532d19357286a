"""Who bought, who of them was new, who came back. Read from the rows that `purchases` keeps, never from orders."""

from datetime import datetime, timedelta
from typing import Any

from models.analytics.customers import (
    Cohort,
    CohortCell,
    CohortReport,
    CustomerFigures,
    CustomerInsights,
    CustomerLifetime,
)
from models.analytics.purchases import CustomerSale, CustomerValue
from models.money import Money
from services.analytics.buckets import quotient, stretch_number
from services.analytics.figures import rate, window_of, window_or_none
from services.analytics.periods import Granularity, Period
from services.analytics.scopes import ReportScope
from services.errors import UnprocessableError
from services.heavy import heavy_work
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
        """Who bought in the period and what customers are worth to date, all zero when nobody bought. Two or three commands.

        The cost grows with the sales of the period and with the number of customers, not with orders outside it. Raises
        PermissionDeniedError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        earlier = scope.previous
        async with heavy_work():
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
    async def get_cohorts(scope: ReportScope, *, viewer: Viewer) -> CohortReport:
        """For every month that the period touches, who first bought in it and how many of them bought in each month after it.

        Months are those of the report's zone. One command. Raises PermissionDeniedError, TooManyCohortsError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        months = _whole_months(scope.period)
        buckets = months.buckets(Granularity.MONTH)
        if len(buckets) > MAX_COHORTS:
            raise TooManyCohortsError
        starts = [bucket.start for bucket in buckets]
        async with heavy_work():
            rows = await CustomerSale.aggregate_rows(cohort_pipeline(scope.currency, starts, months.bounds[1]))
        counts = {(row["_id"]["cohort"], row["_id"]["month"]): int(row["customers"]) for row in rows}
        cohorts = []
        for cohort, bucket in enumerate(buckets):
            size = counts.get((cohort, cohort), 0)
            cells = [
                CohortCell(months_since=month - cohort, customers_count=came, share=rate(came, size))
                for month in range(cohort, len(starts))
                for came in [counts.get((cohort, month), 0)]
            ]
            cohorts.append(Cohort(month=bucket.label, customers_count=size, cells=cells))
        return CohortReport(window=window_of(months), currency=scope.currency, cohorts=cohorts)


async def lifetime_of(currency: str) -> CustomerLifetime:
    """All customers who ever bought in the currency, to date."""
    rows = await CustomerValue.aggregate_rows(lifetime_pipeline(currency))
    found = rows[0] if rows else {"customers": 0, "orders": 0, "net": 0}
    customers, orders, net = int(found["customers"]), int(found["orders"]), int(found["net"])
    return CustomerLifetime(
        customers_count=customers,
        orders_count=orders,
        net=Money(amount=net, currency=currency),
        lifetime_value=Money(amount=quotient(net, customers), currency=currency),
        average_orders=quotient(100 * orders, customers),
    )


async def _figures(period: Period, currency: str) -> CustomerFigures:
    starts_at, ends_at = period.bounds
    rows = await CustomerSale.aggregate_rows(buyers_pipeline(currency, starts_at, ends_at))
    found = rows[0] if rows else {"customers": 0, "new": 0, "orders": 0, "total": 0}
    customers, new, orders, total = (int(found[name]) for name in ("customers", "new", "orders", "total"))
    return CustomerFigures(
        customers_count=customers,
        new_count=new,
        returning_count=customers - new,
        orders_count=orders,
        total=Money(amount=total, currency=currency),
        average_order_value=Money(amount=quotient(total, orders), currency=currency),
        average_spend=Money(amount=quotient(total, customers), currency=currency),
        average_orders=quotient(100 * orders, customers),
    )


def buyers_pipeline(currency: str, starts_at: datetime, ends_at: datetime) -> list[dict[str, Any]]:
    """One row, `{"customers": 3, "new": 1, "orders": 5, "total": 12345}`, or none when nobody did; starts in `customer_sales`."""
    return [
        {"$match": {"currency": currency, "paid_at": {"$gte": starts_at, "$lt": ends_at}}},
        {
            "$group": {
                "_id": "$customer_id",
                "first": {"$min": "$first_paid_at"},
                "orders": {"$sum": 1},
                "total": {"$sum": "$total"},
            }
        },
        {
            "$group": {
                "_id": None,
                "customers": {"$sum": 1},
                "new": {"$sum": {"$cond": [{"$gte": ["$first", starts_at]}, 1, 0]}},
                "orders": {"$sum": "$orders"},
                "total": {"$sum": "$total"},
            }
        },
        {"$project": {"_id": 0}},
    ]


def lifetime_pipeline(currency: str) -> list[dict[str, Any]]:
    """One row, `{"customers": 3, "orders": 5, "net": 12345}`, or none when nobody ever bought; starts in `customer_values`."""
    return [
        {"$match": {"currency": currency}},
        {
            "$group": {
                "_id": None,
                "customers": {"$sum": 1},
                "orders": {"$sum": "$kept_count"},
                "net": {"$sum": "$net"},
            }
        },
        {"$project": {"_id": 0}},
    ]


def cohort_pipeline(currency: str, starts: list[datetime], ends_at: datetime) -> list[dict[str, Any]]:
    """Rows `{"_id": {"cohort": 0, "month": 2}, "customers": 7}`, both numbers of `starts`; starts in `customer_sales`."""
    return [
        {"$match": {"currency": currency, "first_paid_at": {"$gte": starts[0], "$lt": ends_at}}},
        {"$match": {"paid_at": {"$lt": ends_at}}},
        {
            "$group": {
                "_id": {
                    "customer_id": "$customer_id",
                    "cohort": stretch_number("$first_paid_at", starts),
                    "month": stretch_number("$paid_at", starts),
                }
            }
        },
        {"$group": {"_id": {"cohort": "$_id.cohort", "month": "$_id.month"}, "customers": {"$sum": 1}}},
    ]


def _whole_months(period: Period) -> Period:
    last = period.end - timedelta(days=1)
    return Period(period.start.replace(day=1), (last.replace(day=1) + timedelta(days=31)).replace(day=1), period.zone)
