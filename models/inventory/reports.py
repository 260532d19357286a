"""What staff read of stock: levels, movements, explanations, values."""

from datetime import datetime
from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field

from models.base import UtcDatetime
from models.inventory.stock import MovementKind
from models.money import Money


class LevelRead(BaseModel):
    """What lies of one variant at one location."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    location_id: PydanticObjectId
    sku: str = Field(examples=["TEE-RED-L"])
    on_hand: int = Field(description="Pieces on the shelf; the sum of all movements")
    reserved: int = Field(description="Pieces held for orders that are not paid yet")
    available: int = Field(description="on_hand - reserved; below zero by backorders, or when a stocktake found too little")
    low_stock_threshold: int
    is_low: bool = Field(description="available <= low_stock_threshold")
    reorder_point: int | None
    reorder_quantity: int | None
    revision: int = Field(description="Moves with every change of what staff set; name it in If-Match")
    stock_value: Money = Field(description="What is on hand, at the moving average")
    updated_at: UtcDatetime


class VariantStock(BaseModel):
    """A variant everywhere: at its locations, on the way between them, and ordered from suppliers."""

    model_config = ConfigDict(frozen=True)

    variant_id: PydanticObjectId
    on_hand: int
    reserved: int
    available: int = Field(description="Pieces that can be bought: those at active locations")
    in_transit: int
    on_order: int
    levels: list[LevelRead]


class MovementRead(BaseModel):
    """A line of the ledger."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    kind: MovementKind
    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    location_id: PydanticObjectId
    sku: str
    quantity: int = Field(description="Signed")
    value: Money = Field(description="Signed; what it changed of the value of the stock")
    on_hand_after: int = Field(description="Pieces on hand once it was recorded")
    reference: str = Field(examples=["order:65f0c0ffee0ddba11ca7f00d"])
    reason: str
    actor_id: PydanticObjectId | None = Field(description="Null for the shop itself")
    occurred_at: datetime = Field(description="When the pieces moved")
    created_at: datetime = Field(description="When it was recorded; later than `occurred_at` for what was entered late")


class KindSum(BaseModel):
    """All movements of one kind."""

    model_config = ConfigDict(frozen=True)

    kind: MovementKind
    movements: int
    quantity: int
    value: Money


class Hold(BaseModel):
    """Pieces that a reservation holds."""

    model_config = ConfigDict(frozen=True)

    owner: str = Field(examples=["order:65f0c0ffee0ddba11ca7f00d"])
    quantity: int
    expires_at: UtcDatetime | None


class LevelExplanation(BaseModel):
    """Why a level is what it is: the movements add up to on_hand and value, the holds to reserved."""

    model_config = ConfigDict(frozen=True)

    level: LevelRead
    movements: list[KindSum]
    holds: list[Hold] = Field(description="Those that end first; 100 at most")
    recent: list[MovementRead] = Field(description="The last 20 movements, newest first")
    is_consistent: bool = Field(description="Whether it adds up")


class AsOf(StrEnum):
    OCCURRED = "occurred"  # with what was entered late where it belongs
    RECORDED = "recorded"  # as the books stood


class PastLevel(BaseModel):
    """A level at a moment in the past."""

    model_config = ConfigDict(frozen=True)

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    location_id: PydanticObjectId
    sku: str
    on_hand: int
    value: Money


class LocationValue(BaseModel):
    """What lies at one location, or is on its way (no location), in one currency."""

    model_config = ConfigDict(frozen=True)

    location_id: PydanticObjectId | None
    on_hand: int
    value: Money


class Valuation(BaseModel):
    """What the stock is worth at the moving average."""

    model_config = ConfigDict(frozen=True)

    as_of: datetime
    locations: list[LocationValue] = Field(description="By location; what is in transit now last, with no location")
    totals: list[Money] = Field(description="One per currency")
