"""What reports of supply tell: what runs out soonest, and what is low already."""

from pydantic import Field

from models.analytics.reports import Frozen, ReportWindow
from models.analytics.stock import StockCover, StockedVariant
from models.money import Currency


class CoverReport(Frozen):
    """What of the things that sell, and are not sold out, runs out first."""

    window: ReportWindow = Field(description="Whose pace it is")
    currency: Currency
    variants_count: int = Field(description="Variants that were sold within it, and of which something is left", examples=[120])
    items: list[StockCover] = Field(description="Those that last the shortest first; the same days go by SKU")


class LowStockItem(StockedVariant):
    """One variant at one location."""

    location: str = Field(examples=["Main warehouse"])
    available: int = Field(description="Below zero by what is promised and not there", examples=[2])
    low_stock_threshold: int = Field(examples=[5])
    reorder_point: int | None = Field(examples=[10])


class LowStockReport(Frozen):
    """What is low now."""

    currency: Currency
    levels_count: int = Field(description="Places of variants at or below their threshold", examples=[9])
    none_left_count: int = Field(description="Of those, where nothing is left", examples=[2])
    items: list[LowStockItem] = Field(description="Those with the fewest pieces first")
