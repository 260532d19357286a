"""Stock between locations, and stock that is counted."""

from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.clock import new_id
from models.money import Currency, Money


class TransferStatus(StrEnum):
    DRAFT = "draft"
    IN_TRANSIT = "in_transit"  # left one location, and not all of it came to the other yet
    RECEIVED = "received"  # all of it came, or was lost
    CANCELLED = "cancelled"  # before it left


class TransferLine(BaseModel):
    id: PydanticObjectId = Field(default_factory=new_id)
    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    sku: str
    quantity: int = Field(description="Pieces to move")
    received_quantity: int = Field(default=0, description="Pieces that came")
    lost_quantity: int = Field(default=0, description="Pieces written off on the way")
    cost: Money = Field(description="What the pieces were worth when they left")
    settled_cost: Money = Field(description="Its part of what came or was lost")


class StockTransfer(AgoraDocument):
    """Pieces on their way from one location to another. What is in transit is quantity - received - lost of each line."""

    number: str  # `TR-20261121-000001`
    from_location_id: PydanticObjectId
    to_location_id: PydanticObjectId
    currency: Currency = "USD"
    lines: list[TransferLine]
    status: TransferStatus = TransferStatus.DRAFT
    notes: str = ""
    created_by: PydanticObjectId | None = None
    shipped_at: UtcDatetime | None = None
    settled_at: UtcDatetime | None = None
    revision: int = 1

    class Settings:
        name = "stock_transfers"
        indexes = [
            IndexModel([("number", ASCENDING)], name="number_unique", unique=True),
            IndexModel([("status", ASCENDING), ("_id", DESCENDING)], name="status_newest"),
            # What is on its way of a variant.
            IndexModel([("lines.variant_id", ASCENDING), ("status", ASCENDING)], name="variant_status"),
        ]


class TransferRead(BaseModel):
    """Pieces on their way from one location to another."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    number: str = Field(examples=["TR-20261121-000001"])
    from_location_id: PydanticObjectId
    to_location_id: PydanticObjectId
    currency: str
    lines: list[TransferLine]
    status: TransferStatus
    notes: str
    created_at: UtcDatetime
    shipped_at: UtcDatetime | None
    settled_at: UtcDatetime | None
    revision: int


class StocktakeStatus(StrEnum):
    OPEN = "open"
    APPROVED = "approved"  # its variances are movements
    CANCELLED = "cancelled"


class Stocktake(AgoraDocument):
    """The counting of one location; one at a time, or a difference would be posted twice."""

    number: str  # `ST-20261121-000001`
    location_id: PydanticObjectId
    status: StocktakeStatus = StocktakeStatus.OPEN
    notes: str = ""
    created_by: PydanticObjectId | None = None
    settled_at: UtcDatetime | None = None
    settled_by: PydanticObjectId | None = None

    class Settings:
        name = "stocktakes"
        indexes = [
            IndexModel([("number", ASCENDING)], name="number_unique", unique=True),
            IndexModel(
                [("location_id", ASCENDING)],
                name="open_location_unique",
                unique=True,
                partialFilterExpression={"status": "open"},
            ),
            IndexModel([("status", ASCENDING), ("_id", DESCENDING)], name="status_newest"),
        ]


class StocktakeCount(AgoraDocument):
    """What was counted of one variant, against what the books said in the same moment; counting again replaces it.

    Sales after the count take both the shelf and the books down, so the variance stays true until it is approved.
    """

    stocktake_id: PydanticObjectId
    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    sku: str
    counted: int
    expected: int
    variance: int
    counted_at: UtcDatetime
    counted_by: PydanticObjectId | None = None

    class Settings:
        name = "stocktake_counts"
        indexes = [
            IndexModel([("stocktake_id", ASCENDING), ("variant_id", ASCENDING)], name="stocktake_variant_unique", unique=True),
        ]


class StocktakeCountRead(BaseModel):
    """What was counted of one variant."""

    model_config = ConfigDict(frozen=True)

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    sku: str
    counted: int = Field(description="Pieces found")
    expected: int = Field(description="Pieces the books had when they were counted")
    variance: int = Field(description="counted - expected")
    counted_at: UtcDatetime
    counted_by: PydanticObjectId | None


class StocktakeRead(BaseModel):
    """The counting of one location."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    number: str = Field(examples=["ST-20261121-000001"])
    location_id: PydanticObjectId
    status: StocktakeStatus
    notes: str
    created_at: UtcDatetime
    settled_at: UtcDatetime | None
    settled_by: PydanticObjectId | None
