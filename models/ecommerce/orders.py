"""Orders: what was bought, at what price and why, and everything that happened to it since."""

from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime
from models.clock import new_id
from models.ecommerce.pricing import AppliedDiscount, PriceStep, Totals
from models.money import Currency, Money
from models.places import Country, PostalAddress


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
    VOIDED = "voided"  # what was held was let go again; nothing was taken
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
"""Methods whose orders are packed before they are paid."""


class OrderLine(BaseModel):
    """What was bought, as it was then. `fulfilled_quantity` and `returned_quantity` move by `$inc` under a condition."""

    id: PydanticObjectId = Field(default_factory=new_id)
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
    returning_quantity: int = 0  # pieces that some return speaks of, those that came back included


class FulfilmentLine(BaseModel):
    line_id: PydanticObjectId
    quantity: int


class Fulfilment(BaseModel):
    """One parcel."""

    id: PydanticObjectId = Field(default_factory=new_id)
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
    cart_id: PydanticObjectId | None = None  # what it was made from: its lines go back there when the payment fails
    guest_token_hash: str | None = None  # whoever knows the token may see a guest's order
    currency: Currency
    lines: list[OrderLine]
    items_count: int  # pieces of all lines
    totals: Totals
    discounts: list[AppliedDiscount] = Field(default_factory=list)
    steps: list[PriceStep] = Field(default_factory=list)  # why the total is what it is
    status: OrderStatus = OrderStatus.PENDING
    payment_status: PaymentStatus = PaymentStatus.PENDING
    payment_method: PaymentMethod
    payment_id: PydanticObjectId | None = None  # the payment that paid it; whatever else comes in for it is given back
    is_stock_taken: bool = False  # sold; otherwise it is held by a reservation, until `expires_at`
    is_counted: bool = False  # in what its customer bought and its products sold
    shipping_method: str = "standard"
    shipping_address: PostalAddress | None = None  # None when nothing is shipped
    billing_address: PostalAddress | None = None
    country: Country | None = None  # of an imported order without an address, as far as its file says
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
    is_held: bool = False  # nothing leaves the house
    hold_reason: str = ""  # `payment_review` when a fraud rule held it, else what staff wrote
    is_owing: bool = False  # money came in that must go back: a payment to void or to refund
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
            # A customer's orders, newest first, and one's own: all of them or those of a status. With the shorter index alone
            # the embedded server looks through all orders for a status: one serves only a filter that it covers whole.
            IndexModel([("customer_id", ASCENDING), ("_id", DESCENDING)], name="customer_newest"),
            IndexModel([("customer_id", ASCENDING), ("status", ASCENDING), ("_id", DESCENDING)], name="customer_status_newest"),
            IndexModel([("user_id", ASCENDING), ("_id", DESCENDING)], name="user_newest"),
            IndexModel([("user_id", ASCENDING), ("status", ASCENDING), ("_id", DESCENDING)], name="user_status_newest"),
            # Staff: orders of a status, newest first; the job: what waits in a status, oldest first.
            IndexModel([("status", ASCENDING), ("_id", DESCENDING)], name="status_newest"),
            IndexModel([("payment_status", ASCENDING), ("_id", DESCENDING)], name="payment_status_newest"),
            # Staff: the orders of an e-mail address, newest first.
            IndexModel([("email", ASCENDING), ("_id", DESCENDING)], name="email_newest"),
            # Unpaid orders whose time is over.
            IndexModel([("status", ASCENDING), ("expires_at", ASCENDING)], name="status_expires"),
            # The job: who is still to be given money back.
            IndexModel([("is_owing", ASCENDING), ("_id", ASCENDING)], name="owing"),
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


class OrderRead(BaseModel):
    """An order, for whoever placed it and for staff."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    number: str = Field(examples=["ORD-20261121-000042"])
    customer_id: PydanticObjectId | None = Field(description="Null for a guest")
    email: str | None
    currency: Currency
    lines: list[OrderLine]
    items_count: int = Field(description="Pieces of all lines")
    totals: Totals
    discounts: list[AppliedDiscount]
    status: OrderStatus
    payment_status: PaymentStatus
    payment_method: PaymentMethod
    shipping_method: str
    shipping_address: PostalAddress | None
    billing_address: PostalAddress | None
    customer_notes: str
    placed_at: UtcDatetime
    expires_at: UtcDatetime | None = Field(description="When it is cancelled unless it is paid; null when it need not be")
    paid_at: UtcDatetime | None
    shipped_at: UtcDatetime | None
    delivered_at: UtcDatetime | None
    cancelled_at: UtcDatetime | None
    tracking_number: str | None = Field(description="Of the last parcel")
    shipping_carrier: str | None = Field(description="Of the last parcel")
    fulfilments: list[Fulfilment]
    refunded: Money
    points_earned: int
    revision: int


class StaffOrder(OrderRead):
    """An order with what customers are not shown."""

    admin_notes: str
    is_held: bool = Field(description="Nothing leaves the house")
    hold_reason: str = Field(examples=["payment_review"])
    is_owing: bool = Field(description="Money that came in is still to be given back")
    is_stock_taken: bool = Field(description="Sold; otherwise a reservation holds it")
    user_id: PydanticObjectId | None
    payment_id: PydanticObjectId | None = Field(description="The payment that paid it")
    source: str = Field(examples=["shop"])
    source_key: str | None


class OrderSummary(BaseModel):
    """An order in a list."""

    model_config = ConfigDict(frozen=True)

    id: PydanticObjectId
    number: str
    customer_id: PydanticObjectId | None
    status: OrderStatus
    payment_status: PaymentStatus
    payment_method: PaymentMethod
    items_count: int
    total: Money
    placed_at: UtcDatetime


class StatusChange(BaseModel):
    """One entry of an order's timeline."""

    model_config = ConfigDict(frozen=True)

    old_status: OrderStatus | None = Field(description="Null for its creation")
    new_status: OrderStatus
    changed_at: UtcDatetime
    changed_by: str = Field(description="`customer`, `staff`, `system` or `gateway:<name>`", examples=["system"])
    reason: str


class OrderTracking(BaseModel):
    """Where an order is."""

    model_config = ConfigDict(frozen=True)

    number: str
    status: OrderStatus
    placed_at: UtcDatetime
    shipped_at: UtcDatetime | None
    delivered_at: UtcDatetime | None
    pieces_count: int
    shipped_count: int = Field(description="Pieces that have left")
    parcels: list[Fulfilment]


class OrderExplanation(BaseModel):
    """Why the total is what it is: the amounts of the steps add up to it."""

    model_config = ConfigDict(frozen=True)

    number: str
    totals: Totals
    steps: list[PriceStep]
    discounts: list[AppliedDiscount]
