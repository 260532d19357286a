"""Customers: the commerce profile of people, and the statistics that orders move."""

import hashlib
from typing import Annotated, Any

from babel.core import Locale
from beanie import PydanticObjectId
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from models.database import DuplicateKeyError, Session, run_transaction, start_again
from models.ecommerce.customer_reads import CustomerDetails, CustomerRead
from models.ecommerce.customers import Customer, LoyaltyEntry
from models.money import Currency, Money
from models.places import Phone
from models.users import User
from services.ecommerce.loyalty import entries_of, points_for, points_left, record_entry
from services.errors import NotFoundError, require_revision
from services.pagination import Page, PageRequest, page_of
from services.settings import Settings
from services.users.identity import InvalidEmailError, InvalidUsernameError, normalize_email, normalize_username
from services.users.inputs import PersonName
from services.users.permissions import Permission, Viewer

Row = dict[str, Any]

_LANGUAGES = frozenset(code for code in map(str, Locale("en").languages) if len(code) == 2)


def _known_language(code: str) -> str:
    code = code.lower()
    if code not in _LANGUAGES:
        raise ValueError("not an ISO 639-1 language code")
    return code


Language = Annotated[
    str, AfterValidator(_known_language), Field(min_length=2, max_length=2, description="ISO 639-1 code", examples=["en"])
]


class CustomerChanges(BaseModel):
    """What customers may change of their profile; what is not set stays, null clears."""

    model_config = ConfigDict(extra="forbid")

    first_name: PersonName = Field(default="", examples=["Jane"])
    last_name: PersonName = Field(default="", examples=["Doe"])
    phone: Phone | None = Field(default=None, examples=["+12025550143"])
    newsletter_subscribed: bool = Field(default=False, description="Agrees to mail that is no news of an order")
    language: Language = "en"
    currency: Currency = Field(default="USD", description="ISO 4217 code: of carts begun from now on")


class CustomerNotFoundError(NotFoundError):
    """No such customer, or none any more."""

    code = "customer_not_found"

    def __init__(self, key: object = None) -> None:
        super().__init__("customer", key)


def customer_key(customer: Customer) -> str:
    """Under what the limits of promotions count a customer."""
    return key_of_customer(customer.id)


def key_of_customer(customer_id: PydanticObjectId) -> str:
    return f"customer:{customer_id}"


def guest_key(email: str) -> str:
    """As `customer_key` for a guest, by a digest of the address in its normal form. Raises InvalidEmailError."""
    return f"email:{hashlib.sha256(normalize_email(email).normalized.encode()).hexdigest()}"


class CustomerService:
    @staticmethod
    async def of(viewer: Viewer, *, settings: Settings, session: Session | None = None) -> Customer:
        """The profile of who is signed in, made on first need with the names of their account.

        One command for a profile that exists. However many ask at once, one is made.
        """
        row = await Customer.find_row({"user_id": viewer.user_id}, session=session)
        if row is not None:
            return Customer.from_row(row)

        async def make(session: Session) -> Customer:
            row = await Customer.find_row({"user_id": viewer.user_id}, session=session)
            if row is not None:
                return Customer.from_row(row)
            user = await User.find_row({"_id": viewer.user_id}, {"first_name": 1, "last_name": 1}, session=session) or {}
            customer = Customer(
                user_id=viewer.user_id,
                first_name=user.get("first_name", ""),
                last_name=user.get("last_name", ""),
                currency=settings.currency,
                spent=Money.zero(settings.currency),
            )
            try:
                return await customer.store(session=session)
            except DuplicateKeyError as error:
                raise start_again("the profile was made by another transaction") from error

        return await run_transaction(make, hot=[f"customer of {viewer.user_id}"])

    @staticmethod
    async def get_me(viewer: Viewer, *, settings: Settings) -> CustomerRead:
        """One's own profile, made when it was not there yet."""
        return CustomerRead(**_fields(await CustomerService.of(viewer, settings=settings)))

    @staticmethod
    async def update_me(
        changes: CustomerChanges, *, viewer: Viewer, settings: Settings, revision: int | None = None
    ) -> CustomerRead:
        """Change the fields that are set. Raises PreconditionError when `revision` is not the profile's any more."""
        given = changes.model_dump(exclude_unset=True)

        async def work(session: Session) -> Customer:
            customer = await CustomerService.of(viewer, settings=settings, session=session)
            require_revision(revision, customer.revision)
            if not given:
                return customer
            query = {"_id": customer.id, "revision": customer.revision}
            changed = await Customer.change(query, {"$set": given, "$inc": {"revision": 1}}, session=session)
            if changed is None:
                raise start_again("the profile was changed by another transaction")
            return changed

        return CustomerRead(**_fields(await run_transaction(work, hot=[f"customer of {viewer.user_id}"])))

    @staticmethod
    async def list_customers(
        page: PageRequest, *, viewer: Viewer, is_active: bool | None = None, search: str | None = None
    ) -> Page[CustomerDetails]:
        """Customers for staff, newest first. `search` is a whole username or e-mail address; it matches at most one.

        Raises PermissionDeniedError.
        """
        viewer.require(Permission.MANAGE_ORDERS)
        query: Row = {} if is_active is None else {"is_active": is_active}
        if search is not None:
            user_id = await _find_user(search)
            row = None if user_id is None else await Customer.find_row({"user_id": user_id})
            found = [row] if row is not None and is_active in (None, row["is_active"]) else []
            return page_of(await _details(found[page.skip : page.skip + page.limit]), page, len(found))
        rows = await Customer.find_rows(query, sort=[("_id", -1)], skip=page.skip, limit=page.limit)
        return page_of(await _details(rows), page, await Customer.count_rows(query))

    @staticmethod
    async def get_customer(customer_id: PydanticObjectId, *, viewer: Viewer) -> CustomerDetails:
        """One customer for staff. Raises PermissionDeniedError and CustomerNotFoundError."""
        viewer.require(Permission.MANAGE_ORDERS)
        row = await Customer.find_row({"_id": customer_id})
        if row is None:
            raise CustomerNotFoundError(customer_id)
        [details] = await _details([row])
        return details

    @staticmethod
    async def note_purchase(
        session: Session, customer_id: PydanticObjectId, *, order_id: PydanticObjectId, amount: Money, settings: Settings
    ) -> int:
        """An order was paid: count it, what was paid, and its points. Returns the points it won.

        Once per order: noted again, it changes nothing and returns what the first time won. Three commands. An order that is
        paid in parts is noted when all of it is there.
        """
        key = f"order:{order_id}:paid"
        known = await LoyaltyEntry.find_row({"key": key}, {"points": 1}, session=session)
        if known is not None:
            return int(known["points"])
        points = points_for(amount, settings=settings)
        entry = LoyaltyEntry(
            customer_id=customer_id, key=key, points=points, reason="order paid", order_id=order_id, amount=amount, orders=1
        )
        await record_entry(session, entry)
        return points

    @staticmethod
    async def note_refund(
        session: Session, customer_id: PydanticObjectId, *, order_id: PydanticObjectId, key: str, amount: Money
    ) -> int:
        """Money of a paid order went back: take it off, the part of the points that it won, and the order when nothing is left.

        Returns the points taken, from 0. Once per `key` (`refund:<id>`); an order that was never noted as paid has nothing to
        give back. However many parts an order is refunded in, together they take exactly what it won.
        """
        entries = await entries_of(order_id, session=session)
        paid, refunded, orders = _standing(entries)
        if not paid or any(entry.key == key for entry in entries):
            return 0
        refunded += amount.amount
        left = 0 if orders == 0 else points_left(entries, paid=paid, refunded=refunded)
        taken = sum(entry.points for entry in entries) - left
        entry = LoyaltyEntry(
            customer_id=customer_id,
            key=key,
            points=-taken,
            reason="refund",
            order_id=order_id,
            amount=-amount,
            orders=-orders if refunded >= paid else 0,
        )
        await record_entry(session, entry)
        return taken

    @staticmethod
    async def note_cancellation(session: Session, customer_id: PydanticObjectId, *, order_id: PydanticObjectId) -> int:
        """A paid order was cancelled: it counts no more and loses its points. Returns the points taken.

        The money stays counted until `note_refund` tells that it went back. Once per order; nothing for one never paid.
        """
        entries = await entries_of(order_id, session=session)
        _, _, orders = _standing(entries)
        taken = sum(entry.points for entry in entries)
        if not orders:
            return 0
        entry = LoyaltyEntry(
            customer_id=customer_id,
            key=f"order:{order_id}:cancelled",
            points=-taken,
            reason="order cancelled",
            order_id=order_id,
            orders=-orders,
        )
        await record_entry(session, entry)
        return taken


def _standing(entries: list[LoyaltyEntry]) -> tuple[int, int, int]:
    """What an order's entries come to: minor units paid, minor units refunded, and 1 while it counts as an order."""
    amounts = [entry.amount.amount for entry in entries if entry.amount is not None]
    paid = sum(amount for amount in amounts if amount > 0)
    return paid, paid - sum(amounts), sum(entry.orders for entry in entries)


async def _find_user(text: str) -> PydanticObjectId | None:
    """By a unique key: a whole address or name, in any case."""
    try:
        if "@" in text:
            key = {"email_normalized": normalize_email(text).normalized}
        else:
            key = {"username": normalize_username(text.strip())}
    except (InvalidEmailError, InvalidUsernameError):
        return None
    row = await User.find_row(key, {"_id": 1})
    return None if row is None else row["_id"]


async def _details(rows: list[Row]) -> list[CustomerDetails]:
    """The customers of these rows with what their accounts say. One command."""
    user_ids = [row["user_id"] for row in rows if row["user_id"] is not None]
    found = await User.find_rows({"_id": {"$in": user_ids}}, {"username": 1, "email": 1}) if user_ids else []
    users = {user["_id"]: user for user in found}
    details = []
    for row in rows:
        customer, user = Customer.from_row(row), users.get(row["user_id"], {})
        details.append(
            CustomerDetails(
                **_fields(customer),
                user_id=customer.user_id,
                username=user.get("username"),
                email=user.get("email") or None,
                is_active=customer.is_active,
                source_key=customer.source_key,
            )
        )
    return details


def _fields(customer: Customer) -> Row:
    return {name: getattr(customer, name) for name in CustomerRead.model_fields}
