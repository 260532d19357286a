"""What is left of a customer once their account is gone.

Their profile stays without name, phone and consent, because its counters, its ledger of points and its orders add up; their
address book, their cart and their wish list go, and what they wait for. Orders stay as they are, with the lines, totals, taxes
and both addresses: books and invoices have to be kept for years, and a parcel under way has to arrive. What no invoice needs goes
from them too: the e-mail address and the notes. Payments stay for the same reason, without the network address they came from.
"""

from typing import Any

from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.ecommerce.carts import Cart
from models.ecommerce.customers import Address, AddressDefault, Customer
from models.ecommerce.orders import Order
from models.ecommerce.wishlists import StockNotice, WishlistItem
from models.events import Event, EventType
from models.payments import Payment
from services.ecommerce.cart_writing import user_owner
from services.ecommerce.customers import key_of_customer
from services.events import Consumer

_NOBODY: dict[str, Any] = {
    "first_name": "",
    "last_name": "",
    "phone": None,
    "newsletter_subscribed": False,
    "is_active": False,
    "addresses_count": 0,
}


async def _forget(event: Event) -> None:
    user_id = PydanticObjectId(event.subject.removeprefix("user:"))

    async def work(session: Session) -> None:
        await Cart.collection().delete_one({"owner": user_owner(user_id)}, session=session)
        await WishlistItem.collection().delete_many({"user_id": user_id}, session=session)
        await StockNotice.collection().delete_many({"user_id": user_id}, session=session)
        row = await Customer.find_row({"user_id": user_id}, {"_id": 1}, session=session)
        if row is None:
            return
        of_customer = {"customer_id": row["_id"]}
        await Customer.change(
            {"_id": row["_id"]}, {"$set": _NOBODY, "$inc": {"revision": 1, "book_revision": 1}}, session=session
        )
        await Address.collection().delete_many(of_customer, session=session)
        await AddressDefault.collection().delete_many(of_customer, session=session)
        await Order.change_many(of_customer, {"$set": {"email": None, "customer_notes": ""}}, session=session)
        by_customer = {"customer_key": key_of_customer(row["_id"])}
        await Payment.change_many(by_customer, {"$set": {"client_address": None}}, session=session)

    await run_transaction(work, hot=[f"customer of {user_id}"])


CUSTOMER_ERASURE = Consumer("customer_erasure", {EventType.USER_DEACTIVATED}, _forget)
"""Removes what is personal of a person who was deactivated from the shop. Harmless to repeat."""
