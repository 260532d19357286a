"""Shipping tables: what it costs to send something where."""

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, IndexModel

from models.base import AgoraDocument
from models.money import Money

NOTHING_SHIPPED = "none"  # the method of orders without a parcel


class WeightTier(BaseModel):
    """The price of parcels up to a weight."""

    model_config = ConfigDict(frozen=True)

    up_to_grams: int
    rate: Money


class ShippingMethod(BaseModel):
    """One way to send a parcel. With tiers the weight decides, and what is heavier than the last tier cannot go this way."""

    model_config = ConfigDict(frozen=True)

    code: str
    name: str
    rate: Money
    free_from: Money | None = None  # the subtotal, before discounts, from which it costs nothing
    tiers: list[WeightTier] = Field(default_factory=list)


class ShippingZone(AgoraDocument):
    """Where these methods are offered, in their order. The zone that says most about a place serves it, as with taxes."""

    code: str
    name: str
    countries: list[str] = Field(default_factory=list)  # ISO 3166; none: everywhere
    states: list[str] = Field(default_factory=list)  # of the one country; none: all of it
    methods: list[ShippingMethod]
    is_active: bool = True
    revision: int = 1

    class Settings:
        name = "shipping_zones"
        # The whole table is small, read at once and kept: it needs no other index.
        indexes = [IndexModel([("code", ASCENDING)], name="code_unique", unique=True)]


class ShippingZoneRead(BaseModel):
    """A shipping zone, as staff see it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    code: str
    name: str
    countries: list[str] = Field(description="ISO 3166 codes; none is everywhere")
    states: list[str] = Field(description="Of the one country; none is all of it")
    methods: list[ShippingMethod]
    is_active: bool
    revision: int


class ShippingMethodRead(BaseModel):
    """A way to send something to a place, as buyers see it."""

    model_config = ConfigDict(frozen=True)

    code: str = Field(description="What a checkout names", examples=["standard"])
    name: str = Field(examples=["Standard"])
    rate: Money = Field(description="Of the lightest parcel, where the weight decides")
    free_from: Money | None = Field(description="The subtotal from which it costs nothing")
    is_by_weight: bool
