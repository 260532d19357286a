"""Promotions: what makes things cheaper, by code or by itself, and who used it."""

from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.money import BasisPoints, Money


class DiscountKind(StrEnum):
    PERCENTAGE = "percentage"  # `rate` of the eligible lines, up to `maximum_discount`
    FIXED_AMOUNT = "fixed_amount"  # `amount` off the eligible lines together
    FREE_SHIPPING = "free_shipping"
    BUY_X_GET_Y = "buy_x_get_y"  # of each `buy_quantity + get_quantity` eligible pieces the cheapest `get_quantity` at `rate` off


class DiscountRule(BaseModel):
    """What a promotion takes off, and when it applies. Money is in the currency of the carts it is meant for."""

    kind: DiscountKind
    rate: BasisPoints | None = None
    amount: Money | None = None
    maximum_discount: Money | None = None
    minimum_subtotal: Money | None = None  # of all lines
    minimum_quantity: int | None = None  # of eligible pieces
    buy_quantity: int | None = None
    get_quantity: int | None = None
    # Empty: everything. Otherwise lines of these products, or of these categories and what lies below them.
    product_ids: list[PydanticObjectId] = Field(default_factory=list)
    category_ids: list[PydanticObjectId] = Field(default_factory=list)
    is_first_order_only: bool = False


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
