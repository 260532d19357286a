"""Customers and their addresses, with valid and deterministic defaults."""

from typing import Any

from beanie import PydanticObjectId

from models.ecommerce.customers import Address, AddressDefault, AddressKind, Customer, DefaultKind
from models.money import Money
from models.places import PostalAddress
from models.users import User
from tests.factories.users import create_user


def make_customer(**over: Any) -> Customer:
    """An active customer without an account, unsaved, who bought nothing yet."""
    return Customer(**{"first_name": "Jane", "last_name": "Doe", "spent": Money.zero("USD"), **over})


async def create_customer(*, user: User | None = None, **over: Any) -> Customer:
    """The profile of `user`, or of a new person."""
    user = user or await create_user()
    return await make_customer(**{"user_id": user.id, **over}).store()


def make_place(**over: Any) -> PostalAddress:
    """1 Market Street in Springfield, Illinois."""
    defaults = {
        "first_name": "Jane",
        "last_name": "Doe",
        "line1": "1 Market Street",
        "city": "Springfield",
        "state": "IL",
        "postal_code": "62701",
        "country": "US",
    }
    return PostalAddress(**{**defaults, **over})


def make_address(**over: Any) -> Address:
    """An address for parcels and bills, unsaved."""
    return Address(**{"customer_id": PydanticObjectId(), "kind": AddressKind.BOTH, "address": make_place(), **over})


async def create_address(customer: Customer, *, defaults: tuple[DefaultKind, ...] = (), **over: Any) -> Address:
    """An address in the customer's book, counted there, and the default of these kinds."""
    address = await make_address(customer_id=customer.id, **over).store()
    await Customer.collection().update_one({"_id": customer.id}, {"$inc": {"addresses_count": 1, "book_revision": 1}})
    for kind in defaults:
        await AddressDefault(customer_id=customer.id, kind=kind, address_id=address.id).store()
    return address
