"""Dashboards that people put together for themselves: which figures, in which order, of which time."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pymongo import ASCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.money import Currency

# BSON has times only, so a day is stored as its text.
StoredDay = Annotated[
    date, PlainSerializer(date.isoformat, return_type=str), WithJsonSchema({"type": "string", "format": "date"})
]


class DashboardWidget(StrEnum):
    """Everything that can stand on a saved dashboard, by the name that the pages of figures give it."""

    TILE_NET = "tile-net"
    TILE_ORDERS = "tile-orders"
    TILE_AVERAGE = "tile-average"
    TILE_UNITS = "tile-units"
    TILE_REFUNDS = "tile-refunds"
    CHART_NET_SALES = "chart-net-sales"
    CHART_ORDERS = "chart-orders"
    TABLE_TOP_PRODUCTS = "table-top-products"
    TABLE_SOURCES = "table-sources"
    TILE_TOTAL = "tile-total"
    TILE_DISCOUNT = "tile-discount"
    TILE_CANCELLED = "tile-cancelled"
    CHART_PAID = "chart-paid"
    CHART_CATEGORIES = "chart-categories"
    TABLE_STEPS = "table-steps"
    TABLE_COUPONS = "table-coupons"
    TILE_CUSTOMERS = "tile-customers"
    TILE_NEW_CUSTOMERS = "tile-new-customers"
    TILE_RETURNING_CUSTOMERS = "tile-returning-customers"
    TILE_SPEND = "tile-spend"
    TILE_LIFETIME = "tile-lifetime"
    CHART_NEWCOMERS = "chart-newcomers"
    CHART_SEGMENTS = "chart-segments"
    TABLE_COHORTS = "table-cohorts"
    TILE_CONVERSION = "tile-conversion"
    TILE_ABANDONED = "tile-abandoned"
    TILE_RECOVERED = "tile-recovered"
    TILE_SEARCHES = "tile-searches"
    CHART_BEST_PRODUCTS = "chart-best-products"
    CHART_FUNNEL = "chart-funnel"
    TABLE_PRODUCTS = "table-products"
    TABLE_TERMS = "table-terms"
    TILE_STOCK_VALUE = "tile-stock-value"
    TILE_TURNOVER = "tile-turnover"
    TILE_GOODS_SOLD = "tile-goods-sold"
    TILE_LOW_STOCK = "tile-low-stock"
    TILE_DEAD_STOCK = "tile-dead-stock"
    CHART_COVER = "chart-cover"
    TABLE_LOW = "table-low"
    TABLE_DEAD = "table-dead"
    TILE_VIEWS = "tile-views"
    TILE_LIKES = "tile-likes"
    TILE_COMMENTS = "tile-comments"
    TILE_VISITORS = "tile-visitors"
    TILE_ACTIVE = "tile-active"
    TILE_SIGNUPS = "tile-signups"
    CHART_VIEWS = "chart-views"
    CHART_REACTIONS = "chart-reactions"
    CHART_ACTIVE = "chart-active"
    CHART_SIGNUPS = "chart-signups"
    TABLE_POSTS = "table-posts"
    TABLE_AUTHORS = "table-authors"
    TABLE_VISIT_SOURCES = "table-visit-sources"


class DashboardRange(BaseModel):
    """Which days: the last so many up to and with today, or those from `start` up to and without `end`."""

    model_config = ConfigDict(frozen=True)

    last_days: int | None = Field(description="With today; null when `start` and `end` say it", examples=[30])
    start: StoredDay | None = Field(description="The first day", examples=["2026-11-01"])
    end: StoredDay | None = Field(description="The day after the last", examples=["2026-12-01"])


class SavedDashboard(AgoraDocument):
    """Somebody's own choice of figures. `place` is one of the few that each person has, so nobody has more than those."""

    owner_id: PydanticObjectId
    place: int
    name: str
    name_key: str  # of the name, whatever its capitals and blanks
    range: DashboardRange
    timezone: str | None  # None is the house's, whichever that is by then; so is the currency
    granularity: str | None  # None is as fine as a chart of that range shows well
    is_compared: bool
    currency: Currency | None
    widgets: list[DashboardWidget]
    revision: int = 1

    class Settings:
        name = "saved_dashboards"
        indexes = [
            # Somebody's dashboards by name, and that they can tell them apart.
            IndexModel([("owner_id", ASCENDING), ("name_key", ASCENDING)], name="owner_name_unique", unique=True),
            # How many there are at most, however many are saved at once.
            IndexModel([("owner_id", ASCENDING), ("place", ASCENDING)], name="owner_place_unique", unique=True),
        ]


class SavedDashboardRead(BaseModel):
    """A dashboard as its owner saved it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    name: str = Field(examples=["Monday morning"])
    range: DashboardRange
    timezone: str | None = Field(description="Whose days they are; null for the house's", examples=["Europe/Berlin"])
    granularity: str | None = Field(description="Null: as fine as a chart of the range shows well", examples=["day"])
    is_compared: bool = Field(description="Whether the period of the same length just before is shown beside it")
    currency: Currency | None = Field(description="Null for the shop's")
    widgets: list[DashboardWidget] = Field(description="What is shown, in its order")
    revision: int = Field(description="Send it as If-Match to change the dashboard", examples=[1])
    created_at: UtcDatetime
    updated_at: UtcDatetime
