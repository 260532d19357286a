"""Promotions: what makes things cheaper, by code or by itself, and who used it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from beanie import PydanticObjectId
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
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
    """A discount that applies by itself. The stacking policy is written down in `services/ecommerce/discounts.py`."""

    name: str
    rule: DiscountRule
    priority: int = 0  # the higher first
    is_exclusive: bool = False  # stands alone: combined with no other promotion and no coupon
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

    def is_valid(self, now: datetime) -> bool:
        """Whether it is in use at this moment."""
        return self.is_active and _is_within(now, self.starts_at, self.expires_at)


class Coupon(AgoraDocument):
    """A discount for those who know its code."""

    code: Annotated[str, AfterValidator(str.upper)]
    name: str = ""
    rule: DiscountRule
    usage_limit: int | None = None
    usage_limit_per_customer: int | None = None
    usage_count: int = 0  # its CouponRedemptions that were not released; the limit stands in the filter of what moves it
    is_combinable: bool = True  # with automatic promotions and other coupons
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

    def is_valid(self, now: datetime) -> bool:
        """Whether anybody could use it at this aware time: in use, begun, not expired, not used up."""
        return self.why_invalid(now) is None

    def why_invalid(self, now: datetime) -> CouponReason | None:
        """The first thing that keeps everybody from using it; None when nothing does. It ends at `expires_at`, not after."""
        if not self.is_active:
            return CouponReason.INACTIVE
        if self.starts_at is not None and now < self.starts_at:
            return CouponReason.NOT_STARTED
        if self.expires_at is not None and now >= self.expires_at:
            return CouponReason.EXPIRED
        if self.usage_limit is not None and self.usage_count >= self.usage_limit:
            return CouponReason.USED_UP
        return None


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
            # The usage report: what was used in a span of time.
            IndexModel([("created_at", ASCENDING)], name="created"),
        ]


def _is_within(now: datetime, starts_at: datetime | None, expires_at: datetime | None) -> bool:
    return (starts_at is None or starts_at <= now) and (expires_at is None or now < expires_at)


class CouponProblem(BaseModel):
    """A code that took no part in a quote, and why."""

    model_config = ConfigDict(frozen=True)

    code: str = Field(examples=["SAVE10"])
    reason: CouponReason
    detail: str = Field(description="For people; may change", examples=["This code has expired."])


class PromotionRead(BaseModel):
    """An automatic promotion, as staff see it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    name: str
    rule: DiscountRule
    priority: int = Field(description="The higher first")
    is_exclusive: bool = Field(description="Combined with no other promotion and no coupon")
    is_active: bool
    starts_at: datetime | None
    expires_at: datetime | None
    revision: int


class CouponRead(BaseModel):
    """A coupon, as staff see it."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    code: str
    name: str
    rule: DiscountRule
    usage_limit: int | None
    usage_limit_per_customer: int | None
    usage_count: int = Field(description="Orders that used it and were not cancelled")
    is_combinable: bool = Field(description="With automatic promotions and other coupons")
    is_active: bool
    starts_at: datetime | None
    expires_at: datetime | None
    batch: str | None = Field(description="The batch it was made in; null for a single code")
    created_at: datetime
    revision: int


class CouponBatch(BaseModel):
    """Codes made in bulk."""

    model_config = ConfigDict(frozen=True)

    batch: str = Field(examples=["summer-26"])
    codes_count: int = Field(examples=[500])


class DiscountUsage(BaseModel):
    """What one coupon, batch or promotion took off in one currency."""

    model_config = ConfigDict(frozen=True)

    key: str = Field(description="The coupon's code, the batch, or the promotion's name", examples=["SAVE10"])
    id: PydanticObjectId | None = Field(description="Of the coupon or promotion; null for a batch")
    uses: int
    discount: Money
