"""The indexes that the embedded server needs besides those the documents declare.

It uses an index only for a filter whose every field is among its first keys, where MongoDB finds the one document by `_id` and
looks at the rest. So each conditional update of a hot collection gets an index of exactly its condition: without, it costs what
the whole collection does. They are made here, when a script connects to an embedded server, and nowhere else; a name that this
table has no more is dropped.

The figures are of one such command at 20,000 orders, where nothing else is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pymongo import ASCENDING, IndexModel

from models.base import AgoraDocument
from models.ecommerce.carts import Cart
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order
from models.idempotency import IdempotentAnswer
from models.inventory.stock import Reservation, StockLevel
from models.payments import Payment
from services.indexes import COVERING_PREFIX


@dataclass(frozen=True, slots=True)
class Covering:
    """One filter, the document it is about, and what it cost."""

    document: type[AgoraDocument]
    fields: tuple[str, ...]
    why: str

    @property
    def name(self) -> str:
        return COVERING_PREFIX + "_".join(field.strip("_").replace(".", "_") for field in self.fields)

    @property
    def index(self) -> IndexModel:
        return IndexModel([(field, ASCENDING) for field in self.fields], name=self.name)


COVERING: Sequence[Covering] = (
    Covering(Order, ("_id", "status", "revision"), "every move of an order: 41 to 0.4 ms"),
    Covering(Payment, ("_id", "state", "refundable"), "a payment sent, settled, refunded: 19 to 0.6 ms, twice a checkout"),
    Covering(Reservation, ("_id", "status"), "stock committed, released or expired: 25 to 0.6 ms"),
    Covering(StockLevel, ("_id", "on_hand", "reserved", "stock_value.amount"), "stock held and sold: 5.7 to 0.7 ms, twice"),
    Covering(Cart, ("_id", "revision", "abandonment_id"), "a cart changed or bought: 2.1 to 0.5 ms with 400 carts"),
    Covering(IdempotentAnswer, ("scope", "claim_id", "status"), "an answer stored: grows with a day's requests"),
    # The unique index of this key is partial, and the server does not use those for reading.
    Covering(Customer, ("user_id",), "the profile of who is signed in: 5.3 to 0.3 ms with 5,000 customers"),
)


async def create_covering_indexes(table: Sequence[Covering] = COVERING) -> None:
    """Make what is missing and drop what the table has no more, in the collections it names. Safe to run again at any time."""
    wanted: dict[type[AgoraDocument], dict[str, IndexModel]] = {}
    for entry in table:
        wanted.setdefault(entry.document, {})[entry.name] = entry.index
    for document, indexes in wanted.items():
        collection = document.collection()
        existing = {name for name in await collection.index_information() if name.startswith(COVERING_PREFIX)}
        for name in existing - indexes.keys():
            await collection.drop_index(name)
        missing = [index for name, index in indexes.items() if name not in existing]
        if missing:
            await collection.create_indexes(missing)
