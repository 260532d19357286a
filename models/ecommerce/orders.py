"""Orders: what was bought, at what price and why, and everything that happened to it since."""

from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.ecommerce.pricing import AppliedDiscount, PriceStep, Totals
from models.money import Currency, Money
from models.places import PostalAddress


class OrderStatus(StrEnum):
    PENDING = "pending"  # placed, not paid; stock is held until `expires_at`
    CONFIRMED = "confirmed"  # paid (or nothing to pay): its stock is taken
    PROCESSING = "processing"  # being packed
    SHIPPED = "shipped"  # every piece has left
    DELIVERED = "delivered"
    CANCELLED = "cancelled"  # stock given back, payment voided or refunded
    RETURNED = "returned"  # every piece came back
    REFUNDED = "refunded"  # everything that was paid was given back


class PaymentStatus(StrEnum):
    """Of an order. `completed` and what follows it are the states in which money was taken."""

    PENDING = "pending"  # nothing taken yet, or the outcome is not known yet
    AUTHORISED = "authorised"  # held, to be captured
    COMPLETED = "completed"
    FAILED = "failed"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"


class PaymentMethod(StrEnum):
    CARD = "card"
    WALLET = "wallet"
    BANK_TRANSFER = "bank_transfer"
    INVOICE = "invoice"  # pay later: shipped before it is paid
    CASH_ON_DELIVERY = "cash_on_delivery"  # pay later
    NONE = "none"  # nothing to pay


PAY_LATER = frozenset({PaymentMethod.INVOICE, PaymentMethod.CASH_ON_DELIVERY})


class OrderLine(BaseModel):
    """What was bought, as it was then. `fulfilled_quantity` and `returned_quantity` move by `$inc` under a condition."""

    id: PydanticObjectId = Field(default_factory=PydanticObjectId)
    product_id: PydanticObjectId
    variant_id: PydanticObjectId
    category_id: PydanticObjectId | None = None
    name: str
    sku: str
    options: dict[str, str] = Field(default_factory=dict)
    quantity: int
    unit_price: Money
    subtotal: Money
    discount: Money
    tax: Money
    total: Money
    is_digital: bool = False
    tracks_inventory: bool = True
    fulfilled_quantity: int = 0  # pieces that left
    returned_quantity: int = 0  # pieces that came back
    returnable_quantity: int = 0  # pieces that left and that no return speaks of yet


class FulfilmentLine(BaseModel):
    line_id: PydanticObjectId
    quantity: int


class Fulfilment(BaseModel):
    """One parcel."""

    id: PydanticObjectId = Field(default_factory=PydanticObjectId)
    lines: list[FulfilmentLine]
    carrier: str | None = None
    tracking_number: str | None = None
    shipped_at: UtcDatetime
    delivered_at: UtcDatetime | None = None


class Order(AgoraDocument):
    """One purchase, in one currency. Lines, totals and addresses are copies: nothing that changes later changes them."""

    number: str  # ORD-YYYYMMDD-nnnnnn
    placement_key: str  # of the request that placed it: the same request twice is one order
    customer_id: PydanticObjectId | None = None  # None for a guest
    user_id: PydanticObjectId | None = None
    email: str | None = None  # where news of it go, as the customer or guest had it
    guest_token_hash: str | None = None  # whoever knows the token may see a guest's order
    currency: Currency
    lines: list[OrderLine]
    totals: Totals
    discounts: list[AppliedDiscount] = Field(default_factory=list)
    steps: list[PriceStep] = Field(default_factory=list)  # why the total is what it is
    status: OrderStatus = OrderStatus.PENDING
    payment_status: PaymentStatus = PaymentStatus.PENDING
    payment_method: PaymentMethod
    shipping_method: str = "standard"
    shipping_address: PostalAddress | None = None  # None when nothing is shipped
    billing_address: PostalAddress | None = None
    source: str = "shop"  # `shop`, `api`, `import`
    source_key: str | None = None  # where an imported one comes from: `retail:536365`
    customer_notes: str = ""
    admin_notes: str = ""  # never shown to customers
    expires_at: UtcDatetime | None = None  # an unpaid one is cancelled then
    placed_at: UtcDatetime
    paid_at: UtcDatetime | None = None
    shipped_at: UtcDatetime | None = None
    delivered_at: UtcDatetime | None = None
    cancelled_at: UtcDatetime | None = None
    is_held: bool = False  # by a fraud review: nothing leaves the house
    fulfilments: list[Fulfilment] = Field(default_factory=list)
    refunded: Money  # of the payments; never above what was paid
    points_earned: int = 0
    revision: int = 1

    class Settings:
        name = "orders"
        indexes = [
            IndexModel([("number", ASCENDING)], name="number_unique", unique=True),
            IndexModel([("placement_key", ASCENDING)], name="placement_key_unique", unique=True),
            IndexModel(
                [("source_key", ASCENDING)],
                name="source_key_unique",
                unique=True,
                partialFilterExpression={"source_key": {"$type": "string"}},
            ),
            # A customer's orders, newest first.
            IndexModel([("customer_id", ASCENDING), ("_id", DESCENDING)], name="customer_newest"),
            # Staff: orders of a status, newest first; the job: what waits in a status, oldest first.
            IndexModel([("status", ASCENDING), ("_id", DESCENDING)], name="status_newest"),
            IndexModel([("payment_status", ASCENDING), ("_id", DESCENDING)], name="payment_status_newest"),
            # Unpaid orders whose time is over.
            IndexModel([("status", ASCENDING), ("expires_at", ASCENDING)], name="status_expires"),
            # Who bought a product (bought together); reports over a time.
            IndexModel([("lines.product_id", ASCENDING), ("_id", DESCENDING)], name="product_newest"),
            IndexModel([("placed_at", ASCENDING)], name="placed"),
        ]


class OrderStatusHistory(AgoraDocument):
    """One move of an order, never changed. `old_status` is None for its creation."""

    order_id: PydanticObjectId
    old_status: OrderStatus | None
    new_status: OrderStatus
    changed_at: UtcDatetime
    changed_by: str  # `user:<id>`, `system`, `gateway:<name>`, `guest`
    reason: str = ""

    class Settings:
        name = "order_status_history"
        indexes = [
            # An order's timeline, in its order.
            IndexModel([("order_id", ASCENDING), ("_id", ASCENDING)], name="order_timeline"),
        ]
