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
    email: str | None = None  # of a guest who told it, for a reminder
    currency: Currency = "USD"
    lines: list[CartLine] = Field(default_factory=list)
    coupon_codes: list[str] = Field(default_factory=list)
    revision: int = 1  # moves with every change of lines and codes
    active_at: UtcDatetime  # the last change by its owner
    expires_at: UtcDatetime  # 30 days after that
    # Abandonment: set by the job when idle for long, kept with what became of it
    abandoned_at: UtcDatetime | None = None
    reminded_at: UtcDatetime | None = None
    recovered_at: UtcDatetime | None = None

    class Settings:
        name = "carts"
        indexes = [
            IndexModel([("owner", ASCENDING)], name="owner_unique", unique=True),
            # Forgotten after their time; readers check `expires_at` themselves, since this sweep is late.
            IndexModel([("expires_at", ASCENDING)], name="expires_at_ttl", expireAfterSeconds=0),
            # The job looks for carts that fell idle; the report counts those abandoned since a day.
            IndexModel([("abandoned_at", ASCENDING), ("active_at", ASCENDING)], name="abandoned_active"),
        ]
