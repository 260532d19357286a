"""Carts: what someone is about to buy."""

from beanie import PydanticObjectId
from pydantic import BaseModel, Field
from pymongo import ASCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.money import Currency, Money


class CartLine(BaseModel):
    """At most one per variant. `price_seen` is what the customer was last shown: it never decides what they pay."""

    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    quantity: int = Field(ge=1)
    price_seen: Money
    added_at: UtcDatetime


class Cart(AgoraDocument):
    """One per owner: `user:<id>`, or `guest:<digest of the token>`. Lines are at most 100."""

    owner: str
    user_id: PydanticObjectId | None = None
    currency: Currency = "USD"
    lines: list[CartLine] = Field(default_factory=list)
    coupon_codes: list[str] = Field(default_factory=list)
    revision: int = 1  # moves with every change of lines and codes
    active_at: UtcDatetime  # the last change by its owner
    expires_at: UtcDatetime  # 30 days after that
    idle_since: UtcDatetime | None = None  # `active_at`, while something lies in it that was not yet called abandoned
    abandoned_at: UtcDatetime | None = None  # set by the job, cleared by the owner's next change
    abandonment_id: PydanticObjectId | None = None  # the last one, until the cart is bought
    merged_into: PydanticObjectId | None = None  # a guest's, empty since its owner signed in

    class Settings:
        name = "carts"
        indexes = [
            IndexModel([("owner", ASCENDING)], name="owner_unique", unique=True),
            # Forgotten after their time; readers check `expires_at` themselves, since this sweep is late.
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
            # The job looks for carts that fell idle.
            IndexModel([("idle_since", ASCENDING)], name="idle_since"),
        ]


class CartAbandonment(AgoraDocument):
    """One idle spell of one cart, and what became of it. Outlives the cart, and tells nobody's name."""

    cart_id: PydanticObjectId
    user_id: PydanticObjectId | None = None
    value: Money  # at the prices last shown
    pieces: int
    abandoned_at: UtcDatetime
    reminded_at: UtcDatetime | None = None
    recovered_at: UtcDatetime | None = None  # its cart was bought before another spell began

    class Settings:
        name = "cart_abandonments"
        indexes = [
            # The report over a time.
            IndexModel([("abandoned_at", ASCENDING)], name="abandoned"),
        ]
