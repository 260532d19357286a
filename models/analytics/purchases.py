"""Who bought, when first and when last: what reports of customers are made of, kept by a consumer of the orders' events.

A sale is an order that was paid; it stays one when it is cancelled later. Guests have no profile and no rows here.
"""

import hashlib
from datetime import datetime

from beanie import PydanticObjectId
from pydantic import BaseModel
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.analytics.customers import CustomerSegment
from models.base import AgoraDocument, UtcDatetime
from models.money import Currency


class CustomerSale(AgoraDocument):
    """One sale to a customer, without what it was of. Amounts are in minor units of `currency`."""

    order_id: PydanticObjectId
    customer_id: PydanticObjectId
    currency: Currency
    paid_at: UtcDatetime
    first_paid_at: UtcDatetime  # of the customer's first sale in this currency; moves when an older one is entered late
    total: int

    class Settings:
        name = "customer_sales"
        indexes = [
            IndexModel([("order_id", ASCENDING)], name="order_unique", unique=True),
            # A day's, to be compared with what is kept of the day.
            IndexModel([("currency", ASCENDING), ("paid_at", ASCENDING)], name="currency_paid"),
            # A customer's, to be compared with their orders.
            IndexModel([("customer_id", ASCENDING)], name="customer"),
        ]


class CustomerValue(AgoraDocument):
    """What one customer bought in one currency to date."""

    customer_id: PydanticObjectId
    currency: Currency
    number: int  # what the customer is called in the sets of `CustomerDay`; given once, in the order of first purchases
    first_paid_at: UtcDatetime
    last_kept_at: UtcDatetime | None = None  # the last sale that was not cancelled; None when all were
    sales_count: int
    kept_count: int  # sales that were not cancelled
    paid: int
    refunded: int
    net: int  # paid - refunded

    class Settings:
        name = "customer_values"
        indexes = [
            IndexModel([("customer_id", ASCENDING), ("currency", ASCENDING)], name="customer_currency_unique", unique=True),
            # All customers of a currency, and those of a segment, who spent most first.
            IndexModel([("currency", ASCENDING), ("net", DESCENDING), ("_id", ASCENDING)], name="currency_net"),
        ]


def day_row_id(currency: str, day: datetime) -> PydanticObjectId:
    """The id of the one row there can be: who inserts it second is refused by it."""
    return PydanticObjectId(hashlib.blake2b(f"{currency}\n{day:%Y-%m-%d}".encode(), digest_size=12).digest())


class CustomerDay(AgoraDocument):
    """Who bought in one currency on one UTC day, so that a period costs a row per day, however many sales it has.

    How many people bought is no sum of days: somebody comes back. So each day keeps who it was, as a set of numbers
    (`CustomerValue.number`): bit n, in order from the first byte's lowest, stands for n; compressed by zlib.
    """

    currency: Currency
    day: UtcDatetime  # its midnight
    orders: int
    total: int
    buyers: bytes  # the set of those who bought
    newcomers: bytes  # of those who did for the first time
    sales: bytes  # the single sales, packed: for days that a period takes a part of

    class Settings:
        name = "customer_days"
        indexes = [
            IndexModel([("currency", ASCENDING), ("day", ASCENDING)], name="currency_day_unique", unique=True),
        ]


class CustomerTotals(AgoraDocument):
    """The sums of all customers' values in one currency, moved with each of them."""

    currency: Currency
    numbered: int = 0  # how many numbers were given
    customers: int = 0
    kept: int = 0
    net: int = 0

    class Settings:
        name = "customer_totals"
        indexes = [
            IndexModel([("currency", ASCENDING)], name="currency_unique", unique=True),
        ]


class SegmentSum(BaseModel):
    """One segment of a snapshot."""

    segment: CustomerSegment
    customers: int
    orders: int
    net: int


class SegmentSnapshot(AgoraDocument):
    """The segments as they were at a moment: recency moves with the clock, so that no sum could be kept of them."""

    currency: Currency
    as_of: UtcDatetime
    # Of all customers with a sale that stands: what they are measured by.
    customers: int
    net: int
    segments: list[SegmentSum]

    class Settings:
        name = "customer_segments"
        indexes = [
            IndexModel([("currency", ASCENDING)], name="currency_unique", unique=True),
        ]
