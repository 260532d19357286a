"""What buyers hand in: how they pay, where it goes, what they believe it costs."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

from beanie import PydanticObjectId
from pydantic import BaseModel, Field, StringConstraints

from models.ecommerce.orders import PaymentMethod
from models.money import MoneyInput
from models.places import PostalAddress

MAX_ITEMS = 100

GatewayName = Annotated[str, StringConstraints(min_length=1, max_length=50)]
PaymentToken = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Notes = Annotated[str, StringConstraints(max_length=1000)]
CouponCode = Annotated[str, StringConstraints(min_length=1, max_length=50)]


class PaymentTerms(BaseModel):
    """How an order is to be paid."""

    payment_method: PaymentMethod = PaymentMethod.CARD
    gateway: GatewayName | None = Field(default=None, description="The shop's own choice, if left out", examples=["sandbox"])
    payment_token: PaymentToken | None = Field(
        default=None, repr=False, description="What the gateway's own page gave the client for the card; never a card number"
    )


class PurchaseTerms(PaymentTerms):
    """Everything about a purchase besides what is bought."""

    shipping_address_id: PydanticObjectId | None = Field(default=None, description="From the address book; else its default")
    shipping_address: PostalAddress | None = Field(default=None, description="Instead of one from the address book")
    billing_address_id: PydanticObjectId | None = None
    billing_address: PostalAddress | None = Field(default=None, description="As the shipping address, if left out")
    shipping_method: Annotated[str, StringConstraints(min_length=1, max_length=50)] | None = None
    expected_total: MoneyInput | None = Field(default=None, description="The total the buyer agreed to; another one is refused")
    customer_notes: Notes = ""


class CheckoutDraft(PurchaseTerms):
    """An order of what lies in the cart."""

    email: Annotated[str, StringConstraints(max_length=254)] | None = Field(
        default=None, description="Of a guest, who needs one; who is signed in has their own", examples=["jane@example.com"]
    )
    cart_revision: int | None = Field(
        default=None, ge=0, lt=2**31, description="The cart as the buyer saw it; a changed one is refused"
    )


class OrderItemDraft(BaseModel):
    """So many pieces of one thing."""

    product_id: PydanticObjectId
    variant_id: PydanticObjectId | None = Field(default=None, description="Needed where the product has several")
    quantity: int = Field(ge=1, le=10_000, examples=[2])
    unit_price: Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=4)] | None = Field(
        default=None, description="Never decides the price: one that is not the present one is refused", examples=["19.99"]
    )


class OrderDraft(PurchaseTerms):
    """An order without a cart."""

    customer_id: PydanticObjectId | None = Field(default=None, description="One's own, if left out; staff orders for others")
    items: Sequence[OrderItemDraft] = Field(min_length=1, max_length=MAX_ITEMS)
    coupon_codes: list[CouponCode] = Field(default=[], max_length=10)
