"""What reports of the shop tell. Money is exact and of the report's one currency, times are UTC, shares are in basis points."""

from datetime import date

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field

from models.base import UtcDatetime
from models.ecommerce.cart_reads import AbandonmentReport
from models.money import Currency, Money


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class ReportWindow(Frozen):
    """A period: whole days of a time zone, and what they are in UTC."""

    start: date = Field(description="The first day", examples=["2026-11-01"])
    end: date = Field(description="The day after the last", examples=["2026-12-01"])
    timezone: str = Field(description="Whose days they are", examples=["Europe/Berlin"])
    starts_at: UtcDatetime = Field(examples=["2026-10-31T23:00:00Z"])
    ends_at: UtcDatetime = Field(description="Not included", examples=["2026-11-30T23:00:00Z"])


class SalesFigures(Frozen):
    """What was sold within a time. All zero when nothing was.

    An order counts when it is paid, money given back when it was given back, a cancellation when it happened: what comes later
    does not change what was told of the past. Orders that are not paid count nowhere.
    """

    orders_count: int = Field(description="Orders that were paid", examples=[42])
    units_count: int = Field(description="Pieces of those orders", examples=[97])
    gross: Money = Field(description="Their lines at full price")
    discount: Money = Field(description="Taken off the lines")
    tax: Money = Field(description="Charged on them; where prices include it, it is contained in `gross`")
    shipping: Money = Field(description="Charged for sending them")
    total: Money = Field(description="What was paid: gross - discount + tax + shipping, without the tax where prices include it")
    refunds: Money = Field(description="Money given back, tax and shipping included, whenever its order was paid")
    refunds_count: int = Field(description="How often money was given back", examples=[3])
    net: Money = Field(description="total - refunds; below zero when more was given back than taken")
    average_order_value: Money = Field(description="total / orders, half-up; zero without orders")
    cancelled_count: int = Field(description="Orders cancelled after they had counted", examples=[1])


class SalesChange(Frozen):
    """How far each figure moved from the period before, in basis points of it, half-up; null where that was 0."""

    orders_count: int | None = Field(examples=[1250])
    units_count: int | None
    gross: int | None
    discount: int | None
    tax: int | None
    shipping: int | None
    total: int | None
    refunds: int | None
    refunds_count: int | None
    net: int | None
    average_order_value: int | None
    cancelled_count: int | None


class SalesReport(Frozen):
    """What was sold in a period and, if that was asked for, in the one before."""

    window: ReportWindow
    currency: Currency
    figures: SalesFigures
    previous_window: ReportWindow | None = Field(description="Null unless a comparison was asked for; so are the next two")
    previous: SalesFigures | None
    change: SalesChange | None


class RevenuePoint(SalesFigures):
    """What was sold in one hour, day, week or month. Those at the edges of the period may be parts of one."""

    starts_at: UtcDatetime
    ends_at: UtcDatetime = Field(description="Not included")
    label: str = Field(description="For an axis, in the report's time zone", examples=["2026-11-01"])


class RevenueSeries(Frozen):
    """What was sold, one point per bucket, also where nothing was; the points add up to the sales report."""

    window: ReportWindow
    currency: Currency
    granularity: str = Field(examples=["day"])
    points: list[RevenuePoint]
    previous_window: ReportWindow | None = Field(description="Null unless a comparison was asked for; so is the next")
    previous: list[RevenuePoint] | None


class LineFigures(Frozen):
    """What lines of paid orders came to. Money given back is told by the sales report alone, as it names no lines."""

    orders_count: int = Field(description="Paid orders with such a line", examples=[12])
    units_count: int = Field(description="Pieces", examples=[15])
    gross: Money = Field(description="At full price")
    discount: Money
    tax: Money
    total: Money = Field(description="gross - discount + tax, without the tax where prices include it")
    returned_units_count: int = Field(
        description="Pieces that came back within the time, whenever they were bought", examples=[1]
    )


class ProductSales(LineFigures):
    """One product."""

    rank: int = Field(description="From 1", examples=[1])
    product_id: PydanticObjectId
    name: str | None = Field(description="At present; null when the product is gone", examples=["Linen shirt"])
    slug: str | None = Field(examples=["linen-shirt"])
    category: str | None = Field(description="Name of the category it is in at present; null without one", examples=["Shirts"])


class TopProducts(Frozen):
    """The products that sold best, best first; the same figure goes by id."""

    window: ReportWindow
    currency: Currency
    rows: list[ProductSales]


class CategorySales(LineFigures):
    """One category, without those below it: the one that a line's product was in when it was bought."""

    rank: int = Field(description="From 1", examples=[1])
    category_id: PydanticObjectId | None = Field(description="Null for what was in no category")
    name: str | None = Field(description="At present; null without a category, or when it is gone", examples=["Shirts"])
    slug: str | None = Field(examples=["shirts"])


class TopCategories(Frozen):
    """The categories that sold best, best first; the same figure goes by id."""

    window: ReportWindow
    currency: Currency
    rows: list[CategorySales]


class CouponSales(Frozen):
    """One coupon."""

    coupon_id: PydanticObjectId
    code: str | None = Field(description="Null when the coupon is gone", examples=["SAVE10"])
    name: str | None = Field(examples=["Ten off"])
    orders_count: int = Field(description="Paid orders that used it", examples=[12])
    discount: Money = Field(description="What it took off, shipping included")
    total: Money = Field(description="What was paid for those orders")


class CouponReport(Frozen):
    """What coupons gave away and brought in, the most used first; the same use goes by id."""

    window: ReportWindow
    currency: Currency
    rows: list[CouponSales]


class SourceSales(SalesFigures):
    """Where orders came from."""

    source: str = Field(description="`shop`, `api`, `import`, or a campaign", examples=["shop"])


class SourceReport(Frozen):
    """Sales by where they came from, the highest total first; the same total goes by name."""

    window: ReportWindow
    currency: Currency
    rows: list[SourceSales]


class FunnelStage(Frozen):
    """One step on the way to an order."""

    stage: str = Field(description="`view`, `cart`, `checkout` or `paid`", examples=["cart"])
    visitors_count: int = Field(description="Visitors who came so far, each counted once a day", examples=[310])
    step_rate: int | None = Field(description="Of those of the step before, in basis points, half-up; null when there were none")
    overall_rate: int | None = Field(
        description="Of those of the first step, in basis points, half-up; null when there were none"
    )


class FunnelReport(Frozen):
    """How many looked, put something into a cart, went to the checkout and paid, in all currencies."""

    window: ReportWindow
    stages: list[FunnelStage] = Field(description="Always four, in their order")
    previous_window: ReportWindow | None = Field(description="Null unless a comparison was asked for; so is the next")
    previous: list[FunnelStage] | None


class CartReport(Frozen):
    """Carts that were left alone, and what became of them, in one currency."""

    window: ReportWindow
    current: AbandonmentReport
    previous: AbandonmentReport | None = Field(description="Null unless a comparison was asked for")
