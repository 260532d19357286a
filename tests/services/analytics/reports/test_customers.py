"""Figures and cohorts of customers, by hand and against plain Python over the orders themselves."""

import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from beanie import PydanticObjectId

from models.analytics.customers import CustomerInsights
from models.database import Database
from models.ecommerce.orders import Order
from models.users import Role
from services.analytics.periods import Period
from services.analytics.purchases.purchases import PurchaseService
from services.analytics.reports.customers import CustomerReportService, TooManyCohortsError
from services.analytics.scopes import ReportScope
from services.errors import PermissionDeniedError
from services.users.permissions import Viewer
from tests.commands import CommandLog
from tests.factories.orders import create_order
from tests.factories.purchases import create_sale

MANAGER = Viewer(PydanticObjectId(), "manager", Role.MANAGER)
BERLIN = "Europe/Berlin"


def scope(start: str, end: str, zone: str = "UTC", **over: Any) -> ReportScope:
    period = Period(date.fromisoformat(start), date.fromisoformat(end), ZoneInfo(zone))
    return ReportScope(**{"period": period, "currency": "USD", **over})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


async def sell(*sales: tuple[PydanticObjectId | None, str, int], **over: Any) -> None:
    for customer_id, moment, amount in sales:
        await create_sale(customer_id, at(moment), amount, **over)
    for customer_id in {customer_id for customer_id, _, _ in sales if customer_id is not None}:
        await PurchaseService.recount(customer_id)


async def insights(wanted: ReportScope) -> CustomerInsights:
    return await CustomerReportService.get_customer_insights(wanted, viewer=MANAGER)


class TestGetCustomerInsights:
    async def test_com_s28_empty_shop_is_zeros_and_no_id(self, database: Database) -> None:
        report = (await insights(scope("2026-11-01", "2026-12-01", is_compared=True))).model_dump(mode="json")

        zero = {"amount": "0.00", "currency": "USD"}
        figures = {
            "customers_count": 0,
            "new_count": 0,
            "returning_count": 0,
            "orders_count": 0,
            "total": zero,
            "average_order_value": zero,
            "average_spend": zero,
            "average_orders": 0,
        }
        assert report["figures"] == report["previous"] == figures
        assert report["lifetime"] == {
            "customers_count": 0,
            "orders_count": 0,
            "net": zero,
            "lifetime_value": zero,
            "average_orders": 0,
        }
        assert "_id" not in str(report)

    async def test_com_s28_new_and_returning_are_computed(self, database: Database) -> None:
        """The source promised customers new within 30 days and returning ones, and computed neither."""
        old, both, new = (PydanticObjectId() for _ in range(3))
        await sell(
            (old, "2026-09-01T10:00+00:00", 5000),
            (both, "2026-10-15T10:00+00:00", 1000),
            (both, "2026-11-05T10:00+00:00", 2000),
            (new, "2026-11-02T10:00+00:00", 300),
            (new, "2026-11-20T10:00+00:00", 500),
            (None, "2026-11-03T10:00+00:00", 7777),
        )

        report = await insights(scope("2026-11-01", "2026-12-01", is_compared=True))

        figures = report.figures
        assert (figures.customers_count, figures.new_count, figures.returning_count) == (2, 1, 1)
        assert (figures.orders_count, figures.total.amount) == (3, 2800)
        assert (figures.average_order_value.amount, figures.average_spend.amount, figures.average_orders) == (933, 1400, 150)
        lifetime = report.lifetime
        assert (lifetime.customers_count, lifetime.orders_count, lifetime.net.amount) == (3, 5, 8800)
        assert (lifetime.lifetime_value.amount, lifetime.average_orders) == (2933, 167)
        assert report.previous is not None
        assert (report.previous.customers_count, report.previous.new_count) == (1, 1)
        assert report.previous_window is not None
        assert report.previous_window.start == date(2026, 10, 2)

    async def test_com_s28_end_is_not_included_and_days_are_the_zones(self, database: Database) -> None:
        """25 October 2026 has 25 hours in Berlin: it ends at 23:00 UTC, having begun at 22:00."""
        await sell(
            (PydanticObjectId(), "2026-10-24T21:59:59+00:00", 1),
            (PydanticObjectId(), "2026-10-24T22:00:00+00:00", 10),
            (PydanticObjectId(), "2026-10-25T22:59:59+00:00", 100),
            (PydanticObjectId(), "2026-10-25T23:00:00+00:00", 1000),
        )

        assert (await insights(scope("2026-10-25", "2026-10-26", BERLIN))).figures.total.amount == 110
        assert (await insights(scope("2026-10-25", "2026-10-26"))).figures.total.amount == 1100

    async def test_com_s28_unpaid_orders_count_nowhere_and_refunds_lessen_the_lifetime_value(self, database: Database) -> None:
        customer = PydanticObjectId()
        await create_order(customer_id=customer, placed_at=at("2026-11-05T10:00+00:00"))
        await sell((customer, "2026-11-06T10:00+00:00", 3000), refunded_amount=1000)

        report = await insights(scope("2026-11-01", "2026-12-01"))

        assert (report.figures.orders_count, report.figures.total.amount) == (1, 3000)
        assert (report.lifetime.net.amount, report.lifetime.lifetime_value.amount) == (2000, 2000)

    async def test_cancellation_leaves_the_period_and_lessens_what_customers_are_worth(self, database: Database) -> None:
        customer = PydanticObjectId()
        await sell((customer, "2026-11-05T10:00+00:00", 3000), cancelled_at=at("2026-11-06T10:00+00:00"), refunded_amount=3000)

        report = await insights(scope("2026-11-01", "2026-12-01"))

        assert (report.figures.orders_count, report.figures.total.amount) == (1, 3000)
        assert (report.lifetime.customers_count, report.lifetime.orders_count, report.lifetime.net.amount) == (1, 0, 0)

    async def test_other_currencies_are_another_report(self, database: Database) -> None:
        customer = PydanticObjectId()
        await sell((customer, "2026-10-05T10:00+00:00", 3000), currency="EUR")
        await sell((customer, "2026-11-05T10:00+00:00", 100))

        report = await insights(scope("2026-11-01", "2026-12-01"))

        assert (report.figures.new_count, report.figures.total.amount, report.lifetime.net.amount) == (1, 100, 100)

    async def test_cost_is_two_commands_three_with_a_comparison(self, database: Database, commands: CommandLog) -> None:
        await sell((PydanticObjectId(), "2026-11-05T10:00+00:00", 100))

        with commands.counting() as alone:
            await insights(scope("2026-11-01", "2026-12-01"))
        with commands.counting() as compared:
            await insights(scope("2026-11-01", "2026-12-01", is_compared=True))

        assert (len(alone), len(compared)) == (2, 3)

    async def test_readers_are_refused(self, database: Database) -> None:
        reader = Viewer(PydanticObjectId(), "editor", Role.EDITOR)

        with pytest.raises(PermissionDeniedError):
            await CustomerReportService.get_customer_insights(scope("2026-11-01", "2026-12-01"), viewer=reader)
        with pytest.raises(PermissionDeniedError):
            await CustomerReportService.get_cohorts(scope("2026-11-01", "2026-12-01"), viewer=reader)


class TestGetCustomerSeries:
    async def test_tells_the_new_from_those_who_came_back_in_each_day_of_the_zone(
        self, database: Database, commands: CommandLog
    ) -> None:
        old, new = PydanticObjectId(), PydanticObjectId()
        await sell(
            (old, "2026-09-01T10:00+00:00", 5000),
            (old, "2026-11-01T23:30+01:00", 1000),
            (new, "2026-11-02T00:30+01:00", 1000),
            (new, "2026-11-02T09:00+01:00", 1000),
            (new, "2026-11-03T09:00+01:00", 1000),
        )

        with commands.counting() as sent:
            series = await CustomerReportService.get_customer_series(scope("2026-11-01", "2026-11-05", BERLIN), viewer=MANAGER)

        assert [(point.label, point.new_count, point.returning_count) for point in series.points] == [
            ("2026-11-01", 0, 1),
            ("2026-11-02", 1, 0),
            ("2026-11-03", 0, 1),
            ("2026-11-04", 0, 0),
        ]
        assert len(sent) == 2, sent.sent

    async def test_is_for_those_who_see_reports(self, database: Database) -> None:
        with pytest.raises(PermissionDeniedError):
            await CustomerReportService.get_customer_series(
                scope("2026-11-01", "2026-11-02"), viewer=Viewer(PydanticObjectId(), "ed", Role.EDITOR)
            )


class TestGetCohorts:
    async def test_triangle_by_hand(self, database: Database) -> None:
        one, two, three, four = (PydanticObjectId() for _ in range(4))
        await sell(
            (one, "2026-08-03T10:00+00:00", 1),
            (one, "2026-08-30T10:00+00:00", 1),
            (one, "2026-10-03T10:00+00:00", 1),
            (two, "2026-08-31T23:30+00:00", 1),
            (three, "2026-10-01T10:00+00:00", 1),
            (four, "2026-07-01T10:00+00:00", 1),
            (four, "2026-08-01T10:00+00:00", 1),
        )

        report = await CustomerReportService.get_cohorts(scope("2026-08-15", "2026-10-16"), viewer=MANAGER)

        assert (report.window.start, report.window.end) == (date(2026, 8, 1), date(2026, 11, 1))
        assert [
            (cohort.month, cohort.customers_count, [(cell.customers_count, cell.share) for cell in cohort.cells])
            for cohort in report.cohorts
        ] == [
            ("2026-08", 2, [(2, 10_000), (0, 0), (1, 5_000)]),
            ("2026-09", 0, [(0, None), (0, None)]),
            ("2026-10", 1, [(1, 10_000)]),
        ]
        assert [cell.months_since for cell in report.cohorts[0].cells] == [0, 1, 2]

    async def test_months_begin_when_they_do_in_the_zone(self, database: Database) -> None:
        """23:30 UTC on 31 August is September in Berlin, and on 31 October it is November only from 23:00 on."""
        await sell(
            (PydanticObjectId(), "2026-08-31T22:00+00:00", 1),
            (PydanticObjectId(), "2026-10-31T22:30+00:00", 1),
            (PydanticObjectId(), "2026-10-31T23:00+00:00", 1),
        )

        report = await CustomerReportService.get_cohorts(scope("2026-08-01", "2026-12-01", BERLIN), viewer=MANAGER)

        assert [cohort.customers_count for cohort in report.cohorts] == [0, 1, 1, 1]

    async def test_nobody_is_a_triangle_of_zeros(self, database: Database, commands: CommandLog) -> None:
        with commands.counting() as sent:
            report = await CustomerReportService.get_cohorts(scope("2026-01-01", "2026-04-01"), viewer=MANAGER)

        assert [[cell.customers_count for cell in cohort.cells] for cohort in report.cohorts] == [[0, 0, 0], [0, 0], [0]]
        assert len(sent) == 1

    async def test_more_than_three_years_are_refused(self, database: Database) -> None:
        with pytest.raises(TooManyCohortsError):
            await CustomerReportService.get_cohorts(scope("2023-01-01", "2026-02-01"), viewer=MANAGER)


def recomputed(orders: Iterable[Order], zone: str, start: date, end: date) -> dict[str, int]:
    """The figures of a period, by the local date of each order and nothing else."""
    sales = [(order.customer_id, order.paid_at, order.totals.total.amount) for order in orders if order.paid_at]
    local = [(who, when.astimezone(ZoneInfo(zone)).date(), amount) for who, when, amount in sales if who is not None]
    within = [(who, day, amount) for who, day, amount in local if start <= day < end]
    buyers = {who for who, _, _ in within}
    before = {who for who, day, _ in local if day < start}
    return {
        "customers_count": len(buyers),
        "new_count": len(buyers - before),
        "returning_count": len(buyers & before),
        "orders_count": len(within),
        "total": sum(amount for _, _, amount in within),
    }


@pytest.mark.parametrize("zone", ["UTC", BERLIN, "Asia/Kathmandu", "America/New_York"])
async def test_random_history_equals_plain_python(database: Database, zone: str) -> None:
    """Half a year over both changes of the clocks, with guests, cancellations and refunds; any range, and every cohort."""
    dice = random.Random(zone)
    customers: list[PydanticObjectId | None] = [None, *(PydanticObjectId() for _ in range(12))]
    begin = datetime(2026, 9, 1, tzinfo=UTC)
    orders = []
    for _ in range(70):
        paid_at = begin + timedelta(minutes=15 * dice.randrange(96 * 210))
        amount = dice.randrange(0, 9000)
        is_cancelled = dice.random() < 0.2
        orders.append(
            await create_sale(
                dice.choice(customers),
                paid_at,
                amount,
                cancelled_at=paid_at + timedelta(days=1) if is_cancelled else None,
                refunded_amount=amount if is_cancelled else dice.choice([0, amount // 2]),
            )
        )
    for customer_id in customers[1:]:
        assert customer_id is not None
        await PurchaseService.recount(customer_id)

    for _ in range(4):
        start = date(2026, 9, 1) + timedelta(days=dice.randrange(180))
        end = start + timedelta(days=dice.randrange(1, 60))
        report = await insights(scope(str(start), str(end), zone))
        figures = report.figures.model_dump()
        wanted = recomputed(orders, zone, start, end)
        assert {**{name: figures[name] for name in wanted}, "total": report.figures.total.amount} == wanted
    mine = [order for order in orders if order.customer_id is not None]
    assert report.lifetime.net.amount == sum(order.totals.total.amount - order.refunded.amount for order in mine)
    assert report.lifetime.orders_count == sum(order.cancelled_at is None for order in mine)

    cohorts = (await CustomerReportService.get_cohorts(scope("2026-09-01", "2027-04-01", zone), viewer=MANAGER)).cohorts
    assert {(cohort.month, cell.months_since): cell.customers_count for cohort in cohorts for cell in cohort.cells} == triangle(
        mine, zone
    )


def triangle(orders: list[Order], zone: str) -> dict[tuple[str, int], int]:
    months = ["2026-09", "2026-10", "2026-11", "2026-12", "2027-01", "2027-02", "2027-03"]
    bought: dict[PydanticObjectId, set[str]] = {}
    for order in orders:
        assert order.customer_id is not None
        assert order.paid_at is not None
        bought.setdefault(order.customer_id, set()).add(f"{order.paid_at.astimezone(ZoneInfo(zone)):%Y-%m}")
    return {
        (first, number): sum(1 for seen in bought.values() if min(seen) == first and month in seen)
        for at_first, first in enumerate(months)
        for number, month in enumerate(months[at_first:])
    }


async def test_reports_never_read_single_sales(database: Database, commands: CommandLog) -> None:
    """What keeps the cost from growing with orders and customers."""
    with commands.counting() as sent:
        await insights(scope("2026-11-01", "2026-12-01", is_compared=True))
        await CustomerReportService.get_cohorts(scope("2026-11-01", "2026-12-01"), viewer=MANAGER)

    assert {name.partition(" ")[2] for name in sent.sent} == {"customer_days", "customer_totals"}
