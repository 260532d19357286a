"""What reports of customers tell: figures, segments, cohorts. They name nobody."""

from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import Field

from models.analytics.reports import Frozen, ReportWindow
from models.base import UtcDatetime
from models.money import Currency, Money


class CustomerFigures(Frozen):
    """Who bought within a time; guests are not among them. All zero when nobody did."""

    customers_count: int = Field(description="Customers with a sale within it: new_count + returning_count", examples=[42])
    new_count: int = Field(description="Those whose first sale ever, in this currency, lies within it", examples=[12])
    returning_count: int = Field(description="Those who had bought before", examples=[30])
    orders_count: int = Field(description="Their orders paid within it, those cancelled later included", examples=[51])
    total: Money = Field(description="What was paid for these orders; refunds do not lessen it")
    average_order_value: Money = Field(description="total / orders_count, half-up; zero without orders")
    average_spend: Money = Field(description="total / customers_count, half-up; zero without customers")
    average_orders: int = Field(description="Hundredths of an order per customer: 121 is 1.21, half-up", examples=[121])


class CustomerLifetime(Frozen):
    """All customers who ever bought in the currency, as they stand now. All zero when nobody did."""

    customers_count: int = Field(examples=[310])
    orders_count: int = Field(description="Orders that were paid, without those cancelled", examples=[702])
    net: Money = Field(description="What they paid, less what was given back")
    lifetime_value: Money = Field(description="net / customers_count, half-up: what a customer has been worth to date")
    average_orders: int = Field(description="Hundredths of an order per customer, half-up", examples=[226])


class CustomerInsights(Frozen):
    """Who bought in a period, who of them was new, and what a customer is worth."""

    window: ReportWindow
    currency: Currency
    figures: CustomerFigures
    lifetime: CustomerLifetime
    previous_window: ReportWindow | None = Field(description="Null unless a comparison was asked for; so is the next")
    previous: CustomerFigures | None


class CustomerPoint(Frozen):
    """One hour, day, week or month. Somebody who bought in several is told in each of them."""

    starts_at: UtcDatetime
    ends_at: UtcDatetime = Field(description="Not included")
    label: str = Field(description="For an axis, in the report's time zone", examples=["2026-11-01"])
    new_count: int = Field(description="Customers whose first sale ever, in this currency, lies within it", examples=[3])
    returning_count: int = Field(description="Those who bought within it and had before", examples=[9])


class CustomerSeries(Frozen):
    """Who bought over time."""

    window: ReportWindow
    currency: Currency
    points: list[CustomerPoint] = Field(description="One per bucket, also where nobody bought")


class CustomerSegment(StrEnum):
    """By recency, frequency and money, each scored 1 to 5."""

    CHAMPIONS = "champions"  # bought lately, often, and for much
    LOYAL = "loyal"  # often, and not long ago
    NEW = "new"  # lately, for the first time
    PROMISING = "promising"  # lately, for the second time
    NEEDS_ATTENTION = "needs_attention"  # once or twice, some time ago
    AT_RISK = "at_risk"  # often or for much, but long ago
    LOST = "lost"  # once or twice, for little, long ago


class SegmentFigures(Frozen):
    """The customers of one segment."""

    segment: CustomerSegment
    customers_count: int = Field(examples=[17])
    orders_count: int = Field(description="To date, without those cancelled", examples=[96])
    net: Money = Field(description="To date: paid less given back")
    share: int | None = Field(description="Of all customers here, in basis points, half-up; null when there are none")


class SegmentReport(Frozen):
    """Every customer with an order that stands is in exactly one segment."""

    as_of: UtcDatetime = Field(description="The minute it is of, at most two hours ago")
    currency: Currency
    segments: list[SegmentFigures] = Field(description="Always all seven, in their order")


class SegmentMember(Frozen):
    """One customer of a segment; their profile tells who they are."""

    customer_id: PydanticObjectId
    recency: int = Field(description="5: bought within 30 days; 4: 60, 3: 120, 2: 240; else 1", examples=[5])
    frequency: int = Field(description="Orders: 1, 2, 3 to 4, 5 to 8, 9 and more are 1 to 5", examples=[3])
    monetary: int = Field(
        description="Spend beside the average customer's: 5 from twice of it, 4 from all, 3 from half, 2 from a quarter; else 1",
        examples=[4],
    )
    orders_count: int = Field(description="To date, without those cancelled", examples=[4])
    net: Money = Field(description="To date: paid less given back")
    first_paid_at: UtcDatetime
    last_paid_at: UtcDatetime = Field(description="The last order that was not cancelled")


class CohortCell(Frozen):
    """Who of a cohort bought in one month."""

    months_since: int = Field(description="0: the month of the first purchase", examples=[1])
    customers_count: int = Field(description="Customers of the cohort with a sale in that month", examples=[9])
    share: int | None = Field(description="Of the cohort, in basis points, half-up; null for a cohort of nobody", examples=[2143])


class Cohort(Frozen):
    """Everybody who bought for the first time in one month."""

    month: str = Field(examples=["2026-10"])
    customers_count: int = Field(examples=[42])
    cells: list[CohortCell] = Field(description="One per month from their first to the report's last, without gaps")


class CohortReport(Frozen):
    """Who came back: months of first purchase by months since. The months are those the period touches, each one whole."""

    window: ReportWindow = Field(description="The whole months")
    currency: Currency
    cohorts: list[Cohort] = Field(description="The oldest first, months in which nobody came included")
