"""Promotions: what makes things cheaper, by code or by itself, and who used it."""

from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.money import BASIS_POINTS, BasisPoints, Money


class DiscountKind(StrEnum):
    PERCENTAGE = "percentage"  # `rate` of the eligible lines, up to `maximum_discount`
    FIXED_AMOUNT = "fixed_amount"  # `amount` off the eligible lines together
    FREE_SHIPPING = "free_shipping"
    BUY_X_GET_Y = "buy_x_get_y"  # of each `buy_quantity + get_quantity` eligible pieces the cheapest `get_quantity` at `rate` off


class CouponReason(StrEnum):
    """Why a code is of no use here and now."""

    UNKNOWN = "unknown"
    INACTIVE = "inactive"  # taken out of use by staff
    NOT_STARTED = "not_started"
    EXPIRED = "expired"
    MINIMUM_NOT_MET = "minimum_not_met"  # of the subtotal, or of the eligible pieces
    NOT_ELIGIBLE = "not_eligible"  # none of the lines is part of the offer, or it would take nothing off
    USED_UP = "used_up"  # by everyone together
    USED_BY_CUSTOMER = "used_by_customer"  # as often as one customer may
    WRONG_CURRENCY = "wrong_currency"
    NOT_COMBINABLE = "not_combinable"  # with what makes the purchase cheaper without it
    FIRST_ORDER_ONLY = "first_order_only"


class DiscountRule(BaseModel):
    """What a promotion takes off, and when it applies. Money is in the currency of the carts it is meant for."""

    model_config = ConfigDict(frozen=True)

    kind: DiscountKind
    rate: BasisPoints | None = Field(
        default=None, description="Of percentages; of what is given in buy X get Y, 100 % if left out"
    )
    amount: Money | None = Field(default=None, description="Of fixed amounts")
    maximum_discount: Money | None = Field(default=None, description="What it takes off at most")
    minimum_subtotal: Money | None = Field(default=None, description="Of all lines, before discounts")
    minimum_quantity: int | None = Field(default=None, ge=1, le=1_000_000, description="Of eligible pieces")
    buy_quantity: int | None = Field(default=None, ge=1, le=10_000)
    get_quantity: int | None = Field(default=None, ge=1, le=10_000)
    # Empty: everything. Otherwise lines of these products, or of these categories and what lies below them.
    product_ids: list[PydanticObjectId] = Field(default_factory=list, max_length=500)
    category_ids: list[PydanticObjectId] = Field(default_factory=list, max_length=500)
    is_first_order_only: bool = False

    @property
    def share(self) -> int:
        """Basis points taken off what the rule is about; everything unless it says otherwise."""
        return BASIS_POINTS if self.rate is None else self.rate

    @property
    def currency(self) -> str | None:
        """Of the purchases it is for; None for all."""
        moneys = (self.amount, self.maximum_discount, self.minimum_subtotal)
        return next((money.currency for money in moneys if money is not None), None)


class Promotion(AgoraDocument):
    """A discount that applies by itself. Those with a higher priority apply first; an exclusive one ends the list."""

    name: str
    rule: DiscountRule
    priority: int = 0
    is_exclusive: bool = False  # nothing else is combined with it
    is_active: bool = True
    starts_at: UtcDatetime | None = None
    expires_at: UtcDatetime | None = None
    revision: int = 1

    class Settings:
        name = "promotions"
        indexes = [
            # What may apply now, in its order.
            IndexModel([("is_active", ASCENDING), ("priority", DESCENDING), ("_id", ASCENDING)], name="active_priority"),
        ]


class Coupon(AgoraDocument):
    """A discount for those who know its code."""

    code: str  # upper case
    name: str = ""
    rule: DiscountRule
    usage_limit: int | None = None
    usage_limit_per_customer: int | None = None
    usage_count: int = 0  # its CouponRedemptions that were not released; the limit stands in the filter of what moves it
    is_combinable: bool = True  # with automatic promotions
    is_active: bool = True
    starts_at: UtcDatetime | None = None
    expires_at: UtcDatetime | None = None
    batch: str | None = None  # of codes made in bulk
    revision: int = 1

    class Settings:
        name = "coupons"
        indexes = [
            IndexModel([("code", ASCENDING)], name="code_unique", unique=True),
            # Staff: codes in use or not, newest first; the codes of one batch.
            IndexModel([("is_active", ASCENDING), ("_id", DESCENDING)], name="active_newest"),
            IndexModel([("batch", ASCENDING), ("_id", ASCENDING)], name="batch"),
        ]


class CouponRedemption(AgoraDocument):
    """One use of a coupon by one order. `slot` numbers a customer's uses, so that its index holds their limit."""

    coupon_id: PydanticObjectId
    order_id: PydanticObjectId
    customer_key: str  # `customer:<id>`, or `email:<digest>` of a guest
    slot: int  # 1 to the limit per customer
    discount: Money

    class Settings:
        name = "coupon_redemptions"
        indexes = [
            # Released when its order is cancelled: the row is deleted.
            IndexModel([("order_id", ASCENDING), ("coupon_id", ASCENDING)], name="order_coupon_unique", unique=True),
            IndexModel(
                [("coupon_id", ASCENDING), ("customer_key", ASCENDING), ("slot", ASCENDING)],
                name="coupon_customer_slot_unique",
                unique=True,
            ),
            # A coupon's uses, newest first, and how many there are.
            IndexModel([("coupon_id", ASCENDING), ("_id", DESCENDING)], name="coupon_newest"),
        ]


class CouponProblem(BaseModel):
    """A code that took no part in a quote, and why."""

    model_config = ConfigDict(frozen=True)

    code: str = Field(examples=["SAVE10"])
    reason: CouponReason
    detail: str = Field(description="For people; may change", examples=["This code has expired."])
