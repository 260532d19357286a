"""Customers, their addresses, and their loyalty points."""

from enum import StrEnum

from beanie import PydanticObjectId
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument
from models.money import Currency, Money
from models.places import Phone, PostalAddress


class Customer(AgoraDocument):
    """The commerce profile of a person. One who was imported with old orders may have no account; guests have no profile."""

    user_id: PydanticObjectId | None = None
    source_key: str | None = None  # where an imported one comes from: `retail:17850`
    first_name: str = ""
    last_name: str = ""
    phone: Phone | None = None
    is_active: bool = True
    newsletter_subscribed: bool = False
    language: str = "en"
    currency: Currency = "USD"
    # Counters, the sums of LoyaltyEntry: paid orders, without those cancelled or wholly refunded; what was paid less refunds, in
    # the currency they began with (purchases in another one count as orders and points alone); points.
    orders_count: int = 0
    spent: Money
    points_balance: int = 0
    addresses_count: int = 0  # held below its limit by the filter of what moves it
    book_revision: int = 0  # moves with every change of the address book, so that two of them collide and come one by one
    lists_revision: int = 0  # the same for additions to their wish list and to what they wait for
    revision: int = 1  # of what the customer may edit

    class Settings:
        name = "customers"
        indexes = [
            # The profile of who is signed in; at most one per person.
            IndexModel(
                [("user_id", ASCENDING)],
                name="user_unique",
                unique=True,
                partialFilterExpression={"user_id": {"$type": "objectId"}},
            ),
            # An import finds whom it brought before.
            IndexModel(
                [("source_key", ASCENDING)],
                name="source_key_unique",
                unique=True,
                partialFilterExpression={"source_key": {"$type": "string"}},
            ),
            # Staff: customers, newest first.
            IndexModel([("is_active", ASCENDING), ("_id", DESCENDING)], name="active_newest"),
        ]


class AddressKind(StrEnum):
    SHIPPING = "shipping"
    BILLING = "billing"
    BOTH = "both"


class Address(AgoraDocument):
    """An address in a customer's book."""

    customer_id: PydanticObjectId
    kind: AddressKind = AddressKind.BOTH
    address: PostalAddress
    revision: int = 1

    class Settings:
        name = "addresses"
        indexes = [
            # A customer's book, in the order of entry.
            IndexModel([("customer_id", ASCENDING), ("_id", ASCENDING)], name="customer_created"),
        ]


class DefaultKind(StrEnum):
    SHIPPING = "shipping"
    BILLING = "billing"


class AddressDefault(AgoraDocument):
    """Which address a customer ships to, or is billed at, unless they say otherwise: one row per kind, held by its index."""

    customer_id: PydanticObjectId
    kind: DefaultKind
    address_id: PydanticObjectId

    class Settings:
        name = "address_defaults"
        indexes = [
            IndexModel([("customer_id", ASCENDING), ("kind", ASCENDING)], name="customer_kind_unique", unique=True),
            # Before an address goes, what it is the default for.
            IndexModel([("address_id", ASCENDING)], name="address"),
        ]


class LoyaltyEntry(AgoraDocument):
    """What a customer won or gave back, never changed: points, and the money and the order they come from.

    The sums are the customer's counters, those of one order what that order still stands for.
    """

    customer_id: PydanticObjectId
    key: str  # what happened, once: `order:<id>:paid`, `refund:<id>`
    points: int
    reason: str
    order_id: PydanticObjectId | None = None
    amount: Money | None = None  # signed: paid, or given back
    orders: int = 0  # 1 when an order begins to count, -1 when it does not any more

    class Settings:
        name = "loyalty_entries"
        indexes = [
            IndexModel([("key", ASCENDING)], name="key_unique", unique=True),
            # What one order won and gave back: a refund takes its part of that.
            IndexModel([("order_id", ASCENDING), ("_id", ASCENDING)], name="order"),
            # A customer's points, newest first; and their sum.
            IndexModel([("customer_id", ASCENDING), ("_id", DESCENDING)], name="customer_newest"),
        ]
