"""Who buys, and where it goes."""

from dataclasses import dataclass
from datetime import datetime

from beanie import PydanticObjectId

from models.database import Session
from models.ecommerce.customers import Address, Customer, DefaultKind
from models.places import PostalAddress
from models.users import User
from services.ecommerce.addresses import AddressNotFoundError, AddressService
from services.ecommerce.checkout.wishes import PurchaseTerms
from services.ecommerce.customers import CustomerNotFoundError, CustomerService, customer_key, guest_key
from services.ecommerce.orders.transitions import GUEST_MOVER, Mover
from services.errors import RuleViolatedError, UnprocessableError
from services.settings import Settings
from services.users.identity import normalize_email
from services.users.permissions import Viewer


class GuestEmailNeededError(UnprocessableError):
    """A guest says no e-mail address to which news of the order could go."""

    code = "guest_email_needed"

    def __init__(self) -> None:
        super().__init__("Say an e-mail address, or sign in.")


class AddressNeededError(RuleViolatedError):
    """Something is to be shipped, and there is nowhere to."""

    code = "address_needed"

    def __init__(self) -> None:
        super().__init__("Say where it shall be sent.")


@dataclass(frozen=True, slots=True)
class Account:
    """What an order keeps of the person who places it. Read before the transaction: nothing of it is contended for."""

    user_id: PydanticObjectId | None
    email: str | None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Buyer:
    """Whose order it becomes; `customer` is None for a guest."""

    account: Account
    customer: Customer | None
    key: str  # under what promotions and fraud rules know them
    mover: Mover

    @property
    def is_first_order(self) -> bool:
        return self.customer is not None and self.customer.orders_count == 0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where to, and to whom the bill goes."""

    shipping: PostalAddress | None
    billing: PostalAddress | None

    @property
    def place(self) -> PostalAddress | None:
        """What taxes and shipping depend on."""
        return self.shipping or self.billing


async def account_of(user_id: PydanticObjectId | None) -> Account:
    """One command; none for a customer without an account."""
    if user_id is None:
        return Account(None, None)
    row = await User.find_row({"_id": user_id}, {"email": 1, "created_at": 1}) or {}
    return Account(user_id, row.get("email"), row.get("created_at"))


def guest_account(email: str | None) -> Account:
    """Raises GuestEmailNeededError, InvalidEmailError."""
    if email is None:
        raise GuestEmailNeededError
    return Account(None, normalize_email(email).written)


async def buyer_of(viewer: Viewer | None, account: Account, *, settings: Settings, session: Session | None = None) -> Buyer:
    """Who is signed in, with the commerce profile that may be made for it, or a guest. One command for who has one."""
    if viewer is None:
        assert account.email is not None
        return Buyer(account, None, guest_key(account.email), GUEST_MOVER)
    customer = await CustomerService.of(viewer, settings=settings, session=session)
    return Buyer(account, customer, customer_key(customer), Mover.customer(viewer))


async def buyer_for_staff(customer_id: PydanticObjectId, viewer: Viewer, account: Account, *, session: Session) -> Buyer:
    """The customer for whom staff orders. Raises CustomerNotFoundError."""
    row = await Customer.find_row({"_id": customer_id}, session=session)
    if row is None:
        raise CustomerNotFoundError(customer_id)
    customer = Customer.from_row(row)
    return Buyer(account, customer, customer_key(customer), Mover.staff(viewer))


async def addresses_of(terms: PurchaseTerms, buyer: Buyer, *, is_shipped: bool, session: Session) -> Addresses:
    """Where the order goes: what the terms say, else the buyer's default; the bill goes there too unless they say otherwise.

    One command for addresses of the book, two for a default one, none for those written out. What is not shipped has no
    shipping address. Raises AddressNotFoundError.
    """
    wanted = {id for id in (terms.shipping_address_id, terms.billing_address_id) if id is not None}
    book = await _book(wanted, buyer, session=session) if wanted else {}
    shipping = terms.shipping_address or book.get(terms.shipping_address_id)
    billing = terms.billing_address or book.get(terms.billing_address_id)
    if shipping is None and is_shipped and buyer.customer is not None:
        shipping = await AddressService.find_default(buyer.customer.id, DefaultKind.SHIPPING, session=session)
    return Addresses(shipping if is_shipped else None, billing or shipping)


async def _book(ids: set[PydanticObjectId], buyer: Buyer, *, session: Session) -> dict[PydanticObjectId | None, PostalAddress]:
    rows = await Address.find_rows({"_id": {"$in": sorted(ids)}}, {"customer_id": 1, "address": 1}, session=session)
    owner_id = buyer.customer.id if buyer.customer else None
    found: dict[PydanticObjectId | None, PostalAddress] = {
        row["_id"]: PostalAddress.model_validate(row["address"]) for row in rows if row["customer_id"] == owner_id
    }
    for id in sorted(ids):
        if id not in found:
            raise AddressNotFoundError(id)
    return found
