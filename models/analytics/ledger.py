"""What the ledger of stock movements comes to, so that reports of the stock need not read it from the beginning."""

from datetime import UTC, datetime

from beanie import PydanticObjectId
from pydantic import Field
from pymongo import ASCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.money import Currency

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
VERSION = 1  # of how the rows look: those of an older one are not read, and the worker sums anew


class LedgerMark(AgoraDocument):
    """How far the ledger is summed: every movement written before `until` is in the rows of this generation, and no other."""

    ledger: str  # `stock`
    generation: int = 1
    version: int = 0
    until: UtcDatetime = BEGINNING

    class Settings:
        name = "analytics_ledgers"
        indexes = [IndexModel([("ledger", ASCENDING)], name="ledger_unique", unique=True)]


class StockDay(AgoraDocument):
    """What moved on one UTC day at the locations of one currency, by when it occurred."""

    generation: int
    currency: Currency
    day: UtcDatetime  # its midnight
    totals: dict[str, int] = Field(default_factory=dict)  # value, sold, sold_cost, signed as in the ledger
    quarters: dict[str, dict[str, int]] = Field(default_factory=dict)  # the same by number of the quarter-hour, "0" to "95"

    class Settings:
        name = "stock_days"
        indexes = [
            IndexModel(
                [("generation", ASCENDING), ("currency", ASCENDING), ("day", ASCENDING)], name="place_unique", unique=True
            ),
        ]


class VariantMonth(AgoraDocument):
    """How many pieces of a variant were sold in one UTC month, its thirds and days, and the quarter-hours in which any were."""

    generation: int
    variant_id: PydanticObjectId
    currency: Currency
    month: UtcDatetime  # midnight of its first day
    # Pieces are signed as in the ledger
    pieces: int = 0  # of the whole month
    thirds: dict[str, int] = Field(default_factory=dict)  # "1" to "3", as of rollups
    days: dict[str, int] = Field(default_factory=dict)  # by number of the day, "1" to "31"
    sold: dict[str, int] = Field(default_factory=dict)  # by number of the quarter-hour in the month, from "0"

    class Settings:
        name = "stock_variant_months"
        indexes = [
            IndexModel(
                [("generation", ASCENDING), ("variant_id", ASCENDING), ("currency", ASCENDING), ("month", ASCENDING)],
                name="place_unique",
                unique=True,
            ),
        ]


class VariantSold(AgoraDocument):
    """When a variant was sold last, cancelled sales included."""

    generation: int
    variant_id: PydanticObjectId
    last_sold_at: UtcDatetime

    class Settings:
        name = "stock_variants_sold"
        indexes = [
            IndexModel([("generation", ASCENDING), ("variant_id", ASCENDING)], name="place_unique", unique=True),
            # What was sold since a moment.
            IndexModel([("generation", ASCENDING), ("last_sold_at", ASCENDING)], name="generation_sold"),
        ]
