"""Who bought, when first and when last: what reports of customers are made of, kept by a consumer of the orders' events.

A sale is an order that was paid; it stays one when it is cancelled later. Guests have no profile and no rows here.
"""

from beanie import PydanticObjectId
from pymongo import ASCENDING, DESCENDING, IndexModel

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
            # Who bought within a time.
            IndexModel([("currency", ASCENDING), ("paid_at", ASCENDING)], name="currency_paid"),
            # What became of those who first bought within a time.
            IndexModel([("currency", ASCENDING), ("first_paid_at", ASCENDING)], name="currency_first_paid"),
            # A customer's, to be compared with their orders.
            IndexModel([("customer_id", ASCENDING)], name="customer"),
        ]


class CustomerValue(AgoraDocument):
    """What one customer bought in one currency to date."""

    customer_id: PydanticObjectId
    currency: Currency
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
