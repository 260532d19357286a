"""Carts as their owners see them, with everything that keeps a line from being bought as it stands."""

from datetime import datetime
from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field

from models.ecommerce.coupons import CouponProblem
from models.ecommerce.pricing import AppliedDiscount, Totals
from models.money import Currency, Money


class LineProblemKind(StrEnum):
    PRICE_CHANGED = "price_changed"  # since the owner last chose the line's quantity; it can be bought at the new price
    OUT_OF_STOCK = "out_of_stock"
    INSUFFICIENT_STOCK = "insufficient_stock"  # fewer are left than the line wants
    GONE = "gone"  # not for sale any more, or not in the cart's currency: left out of the totals


class LineProblem(BaseModel):
    """What is wrong with a line. Only a changed price lets it be ordered as it stands."""

    model_config = ConfigDict(frozen=True)

    kind: LineProblemKind
    detail: str = Field(description="For people; may change", examples=["Only 2 are left."])
    old_price: Money | None = Field(description="With `price_changed`: what the owner was last shown")
    new_price: Money | None = Field(description="With `price_changed`: what it costs now")
    available: int | None = Field(description="With the two problems of stock: pieces that can be had", examples=[2])


class CartLineRead(BaseModel):
    """A line at its present price. The amounts are null for one that is gone, which no total counts."""

    model_config = ConfigDict(frozen=True)

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    name: str | None = Field(description="The product's; null when it is gone without a trace", examples=["Tee"])
    sku: str | None = Field(examples=["TEE-L-RED"])
    options: dict[str, str] = Field(examples=[{"Size": "L"}])
    image_url: str | None
    quantity: int = Field(examples=[2])
    unit_price: Money | None
    subtotal: Money | None = Field(description="quantity times unit price")
    discount: Money | None
    tax: Money | None
    total: Money | None = Field(description="What the line comes to after discount and tax")
    is_digital: bool
    added_at: datetime
    problems: list[LineProblem]


class CartRead(BaseModel):
    """A cart, priced now. Totals preview discounts, shipping and tax; the order decides them again."""

    model_config = ConfigDict(frozen=True)

    currency: Currency
    lines: list[CartLineRead]
    pieces_count: int = Field(description="Of all lines", examples=[3])
    coupon_codes: list[str] = Field(examples=[["SAVE10"]])
    coupon_problems: list[CouponProblem] = Field(description="Codes that take nothing off at present, and why")
    totals: Totals
    discounts: list[AppliedDiscount]
    shipping_method: str = Field(description="Which one the preview is for", examples=["standard"])
    country: str | None = Field(description="Where the preview ships to; null: nobody said", examples=["US"])
    state: str = Field(examples=["IL"])
    is_orderable: bool = Field(description="False when there is nothing in it, or a line that cannot be had as it stands")
    revision: int = Field(description="0 while there is no cart")
    expires_at: datetime | None = Field(description="Forgotten then, unless it is changed before")
    cart_token: str | None = Field(
        description="Of a guest's new cart, told only here: send it as `Cart-Token` from now on", examples=[None]
    )


class AbandonmentReport(BaseModel):
    """What became of the carts that were left alone within a time."""

    model_config = ConfigDict(frozen=True)

    starts_at: datetime
    ends_at: datetime = Field(description="Not included")
    abandoned_count: int = Field(description="Idle spells of carts with something in them", examples=[40])
    reminded_count: int = Field(description="Of those, whose owner was reminded by mail", examples=[18])
    recovered_count: int = Field(description="Of those, bought before another spell began", examples=[6])
    recovery_rate: int = Field(
        description="Recovered of abandoned, in basis points, half-up; 0 when there are none", examples=[1500]
    )
    abandoned_value: list[Money] = Field(description="At the prices last shown, per currency, by its code")
    recovered_value: list[Money]
