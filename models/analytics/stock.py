"""What reports of the stock tell."""

from beanie import PydanticObjectId
from pydantic import Field

from models.analytics.reports import Frozen, ReportWindow
from models.base import UtcDatetime
from models.money import Currency, Money


class TurnoverReport(Frozen):
    """How often the stock was sold over within a period, at what it cost. All zero when nothing moved."""

    window: ReportWindow
    currency: Currency
    units_sold: int = Field(description="Pieces sold, less those that came back or were cancelled", examples=[120])
    cost_of_goods_sold: Money = Field(description="What those pieces had cost, at the moving average")
    value_at_start: Money = Field(description="Of the stock, when the period began")
    value_at_end: Money = Field(description="When it ended, or now")
    average_value: Money = Field(description="(value_at_start + value_at_end) / 2, half-up")
    turnover: int | None = Field(
        description="Hundredths: cost_of_goods_sold / average_value, half-up, 250 is 2.5 times; null without stock",
        examples=[250],
    )
    value_now: Money


class StockedVariant(Frozen):
    """A variant of which something lies somewhere, or did."""

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    sku: str = Field(examples=["TEE-RED-L"])
    name: str | None = Field(description="Of its product, as it is called now; null when there is none", examples=["Linen shirt"])
    variant_title: str | None = Field(description="Of its options; empty for a product's only one", examples=["Large / Red"])


class StockCover(StockedVariant):
    """How long the stock of one variant lasts."""

    available: int = Field(description="Pieces not promised to anybody, at all locations of the currency", examples=[40])
    units_sold: int = Field(description="In the period, less those that came back or were cancelled", examples=[60])
    days_of_cover: int | None = Field(
        description="Whole days: available / units sold per day of the period; null when none was sold, 0 when none is left",
        examples=[20],
    )


class DeadStockItem(StockedVariant):
    """One variant that lies there and does not sell."""

    on_hand: int
    value: Money


class DeadStockReport(Frozen):
    """What lies there and was not sold since a moment."""

    since: UtcDatetime
    currency: Currency
    variants_count: int = Field(description="Variants with pieces on hand and no sale since", examples=[7])
    on_hand: int = Field(description="Their pieces", examples=[310])
    value: Money = Field(description="What they are worth at the moving average")
    items: list[DeadStockItem] = Field(description="Those worth most first, as many as were asked for")
