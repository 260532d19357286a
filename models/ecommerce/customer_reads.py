"""Customers, their addresses and their points, as they and staff see them."""

from datetime import datetime

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field

from models.ecommerce.customers import AddressKind
from models.money import Currency, Money
from models.places import PostalAddress


class CustomerRead(BaseModel):
    """A customer as they see themselves."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    first_name: str = Field(examples=["Jane"])
    last_name: str = Field(examples=["Doe"])
    phone: str | None = Field(description="E.164", examples=["+12025550143"])
    newsletter_subscribed: bool = Field(description="Agrees to mail that is no news of an order, reminders included")
    language: str = Field(description="ISO 639-1", examples=["en"])
    currency: Currency = Field(description="Of carts begun from now on")
    orders_count: int = Field(description="Paid orders, without those cancelled or wholly refunded", examples=[3])
    spent: Money = Field(description="Paid less refunded, of orders in this currency")
    points_balance: int = Field(examples=[120])
    addresses_count: int = Field(examples=[2])
    created_at: datetime
    updated_at: datetime
    revision: int


class CustomerDetails(CustomerRead):
    """A customer as staff sees them."""

    user_id: PydanticObjectId | None = Field(description="Their account; null for one who was imported")
    username: str | None
    email: str | None
    is_active: bool = Field(description="False once their account has ended")
    source_key: str | None = Field(description="Where an imported one comes from", examples=["retail:17850"])


class AddressRead(BaseModel):
    """An address in one's own book."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    kind: AddressKind
    address: PostalAddress
    is_default_shipping: bool
    is_default_billing: bool
    created_at: datetime
    updated_at: datetime
    revision: int


class PointsEntryRead(BaseModel):
    """Points won, or taken back."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    points: int = Field(description="Signed", examples=[19])
    reason: str = Field(examples=["order paid"])
    order_id: PydanticObjectId | None
    created_at: datetime


class PointsRead(BaseModel):
    """The balance and the entries it is the sum of, newest first."""

    model_config = ConfigDict(frozen=True)

    balance: int = Field(examples=[120])
    items: list[PointsEntryRead]
    next_cursor: str | None = Field(description="Send it as `cursor` for what follows; null at the end")
