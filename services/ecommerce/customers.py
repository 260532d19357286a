"""Customers: the commerce profile of people, and the statistics that orders move."""

import hashlib

from beanie import PydanticObjectId

from models.database import DuplicateKeyError, Session, run_transaction, start_again
from models.ecommerce.customers import Customer, LoyaltyEntry
from models.money import Money
from models.users import User
from services.ecommerce.loyalty import entries_of, points_for, points_left, record_entry
from services.errors import NotFoundError
from services.settings import Settings
from services.users.identity import normalize_email
from services.users.permissions import Viewer


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
