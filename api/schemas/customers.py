"""What customers send about themselves, their addresses and their carts."""

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from api.schemas.base import Id, Input, with_example
from models.money import Currency
from models.places import PostalAddress
from services.ecommerce.addresses import AddressChanges, NewAddress
from services.ecommerce.cart_writing import MAX_QUANTITY
from services.ecommerce.carts import CartItem
from services.ecommerce.customers import CustomerChanges


class CustomerUpdate(Input, CustomerChanges): ...


class PlaceInput(Input, PostalAddress): ...


class AddressCreate(Input, NewAddress):
    address: PlaceInput


class AddressUpdate(Input, AddressChanges):
    model_config = with_example(kind="shipping")

    address: PlaceInput = Field(default_factory=lambda: PlaceInput.model_construct(**_UNSET))


_UNSET: dict[str, Any] = {}


class CartItemCreate(Input):
    product_id: Id = Field(examples=["65f0c0ffee0ddba11ca7f00d"])
    variant_id: Id = Field(examples=["65f0c0ffee0ddba11ca7f00e"])
    quantity: int = Field(default=1, ge=1, le=MAX_QUANTITY, description="On top of what lies in the cart", examples=[1])
    currency: Currency | None = Field(
        default=None, description="What an empty cart will be in; else the customer's own, or the shop's", examples=[None]
    )

    def as_item(self) -> CartItem:
        return CartItem(self.product_id, self.variant_id, self.quantity, self.currency)


class CartItemUpdate(Input):
    quantity: int = Field(ge=-MAX_QUANTITY, le=MAX_QUANTITY, description="0 or less removes the line", examples=[2])


CouponCode = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50)]


class CartCouponCreate(Input):
    code: CouponCode = Field(description="In any case", examples=["SAVE10"])
