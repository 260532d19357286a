"""What buyers and staff send about orders."""

from pydantic import Field

from api.schemas.base import Id, Input, with_example
from api.schemas.customers import PlaceInput
from services.ecommerce.checkout.wishes import MAX_ITEMS, CheckoutDraft, OrderDraft, OrderItemDraft, PaymentTerms
from services.ecommerce.orders.administration import (
    MAX_BULK,
    AdminNotes,
    BulkStatusDraft,
    HoldReason,
    StatusDraft,
)
from services.ecommerce.orders.fulfilment import FulfilmentDraft, FulfilmentPart, TrackingChanges

_EXAMPLE_ID = "65f0c0ffee0ddba11ca7f00d"
_PLACE = {
    "first_name": "Jane",
    "last_name": "Doe",
    "line1": "1 Market Street",
    "city": "Springfield",
    "state": "IL",
    "postal_code": "62701",
    "country": "US",
}


class CheckoutCreate(CheckoutDraft, Input):
    """A wish to buy what lies in the cart."""

    model_config = with_example(payment_method="card", payment_token="tok_ok", shipping_address=_PLACE)

    shipping_address: PlaceInput | None = Field(default=None, description="Instead of one from the address book")
    billing_address: PlaceInput | None = Field(default=None, description="As the shipping address, if left out")


class OrderItemCreate(OrderItemDraft, Input):
    product_id: Id = Field(examples=[_EXAMPLE_ID])


class OrderCreate(OrderDraft, Input):
    """A wish to buy, without a cart."""

    model_config = with_example(
        items=[{"product_id": _EXAMPLE_ID, "quantity": 2}], payment_method="card", shipping_address=_PLACE
    )

    shipping_address: PlaceInput | None = Field(default=None, description="Instead of one from the address book")
    billing_address: PlaceInput | None = Field(default=None, description="As the shipping address, if left out")
    items: list[OrderItemCreate] = Field(min_length=1, max_length=MAX_ITEMS)


class OrderPaymentCreate(PaymentTerms, Input):
    """A wish to pay an order."""

    model_config = with_example(payment_method="card", payment_token="tok_ok")


class OrderStatusUpdate(StatusDraft, Input):
    """Where an order shall go."""


class BulkStatusUpdate(BulkStatusDraft, Input):
    """Where many orders shall go."""

    order_ids: list[Id] = Field(min_length=1, max_length=MAX_BULK, examples=[[_EXAMPLE_ID]])


class FulfilmentLineCreate(FulfilmentPart, Input):
    line_id: Id = Field(description="A line of the order", examples=[_EXAMPLE_ID])


class FulfilmentCreate(FulfilmentDraft, Input):
    """A parcel to be sent."""

    lines: list[FulfilmentLineCreate] = Field(
        default=[], max_length=100, description="Everything that has not left yet, if left out"
    )


class TrackingUpdate(TrackingChanges, Input):
    """Changes to a parcel's label: what is left out stays, null empties."""

    model_config = with_example(carrier="UPS", tracking_number="1Z999AA10123456784")


class AdminNotesUpdate(Input):
    notes: AdminNotes = Field(examples=["Called on Monday: will be at home on Friday."])


class HoldCreate(Input):
    reason: HoldReason = Field(examples=["The address looks odd."])
