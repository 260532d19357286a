"""What a cart or an order comes to, and why: every cent of a total is told by one step."""

from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field

from models.money import Money


class StepKind(StrEnum):
    LINE = "line"  # quantity times price
    DISCOUNT = "discount"  # a promotion's or coupon's part on one line, or on the shipping
    SHIPPING = "shipping"
    TAX = "tax"


class PriceStep(BaseModel):
    """One rule at work. The amounts of all steps add up to the total; a tax that prices include has its amount in `included`."""

    model_config = ConfigDict(frozen=True)

    kind: StepKind
    rule: str = Field(
        description="Which rule: `price`, `coupon:SAVE10`, `promotion:<id>`, `shipping:standard`, `tax:US:standard`"
    )
    line: int | None = Field(description="Index of the line it is about; null for the shipping")
    amount: Money = Field(description="Signed: what it adds to the total")
    included: Money | None = Field(default=None, description="A tax that is in the price already")
    detail: str = Field(description="The computation, rounding included", examples=["10 % of 39.98 = 3.998, half-up 4.00"])


class PricedLine(BaseModel):
    """What one line comes to. total = subtotal - discount + tax, without the tax where prices include it."""

    model_config = ConfigDict(frozen=True)

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    quantity: int
    unit_price: Money
    subtotal: Money
    discount: Money
    tax: Money
    total: Money


class Totals(BaseModel):
    """total = subtotal - discount + shipping + tax, never below zero. `tax` is contained in the rest where prices include it."""

    model_config = ConfigDict(frozen=True)

    subtotal: Money = Field(description="Sum of quantity times unit price")
    discount: Money = Field(description="On the lines; never above the subtotal")
    shipping: Money = Field(description="After discounts on it")
    tax: Money = Field(description="On the discounted lines, and on the shipping where it is taxed")
    total: Money
    prices_include_tax: bool = False


class AppliedDiscount(BaseModel):
    """A promotion or coupon and what it took off, lines and shipping together."""

    model_config = ConfigDict(frozen=True)

    rule: str
    coupon_id: PydanticObjectId | None = None
    promotion_id: PydanticObjectId | None = None
    label: str
    amount: Money


class Quote(BaseModel):
    """A priced set of lines, in their order."""

    model_config = ConfigDict(frozen=True)

    lines: list[PricedLine]
    totals: Totals
    discounts: list[AppliedDiscount]
    steps: list[PriceStep]
    shipping_method: str = Field(default="standard", description="Code of the method; `none` when nothing is shipped")
