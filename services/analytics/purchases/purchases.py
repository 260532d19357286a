"""Keeps what customers bought as their orders tell it: always computed anew from all orders of a customer.

So an event that comes twice, late or out of order does no harm, and a rebuild is the same step for every customer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from beanie import PydanticObjectId

from models.analytics.events import day_of
from models.analytics.purchases import CustomerDay, CustomerSale, CustomerTotals, CustomerValue, day_row_id
from models.base import AgoraDocument
from models.database import DuplicateKeyError, PyMongoError, Session, heed_cancellation, run_transaction, start_again
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order
from models.events import Event, EventType
from services.analytics.purchases.days import day_fields, day_sale, sales_of
from services.analytics.purchases.sums import mend_sum, wrong_sums
from services.analytics.rollups.counting import add_up
from services.analytics.rollups.rebuilding import grouped
from services.events import Consumer

Row = dict[str, Any]

BATCH = 100  # customers of one transaction, with all their orders
HOT = "customer_purchases"  # all of them move the sums and today's row
ORDER_FIELDS = dict.fromkeys(("customer_id", "currency", "paid_at", "cancelled_at", "totals.total.amount", "refunded.amount"), 1)


class PurchaseService:
    @staticmethod
    async def recount(*customer_ids: PydanticObjectId) -> int:
        """Make these customers' rows what their orders say, and return of how many they were not.

        One transaction: three reads and, where something differs, up to three more and the writes. Two that overlap want the same
        rows, so the one that read first starts again.
        """

        async def work(session: Session) -> int:
            within = {"customer_id": {"$in": sorted(set(customer_ids))}}
            orders = await Order.find_rows(within, ORDER_FIELDS, session=session)
            paid = grouped((row for row in orders if row["paid_at"] is not None), "customer_id")
            sales = _Rows(
                CustomerSale,
                {row["order_id"]: row for row in await CustomerSale.find_rows(within, session=session)},
                {row["order_id"]: row for id, own in paid.items() for row in _sales_of(id, own)},
            )
            values = _Rows(
                CustomerValue,
                {_place(row): row for row in await CustomerValue.find_rows(within, session=session)},
                {_place(row): row for id, own in paid.items() for row in values_of(id, own)},
            )
            changed = {row["customer_id"] for rows in (sales, values) for row in rows.differing()}
            if changed:
                await _move_totals(values, session)
                await _move_days(sales, values, session)
                await sales.write(session)
                await values.write(session)
            return len(changed)

        return await run_transaction(work, hot=[HOT])

    @staticmethod
    async def rebuild() -> int:
        """Recount every customer, in the order of their ids, then the sums; returns of how many customers rows were not right.

        May be killed and begun again at any point, and run beside the consumer.
        """
        changed, after = 0, None
        while True:
            query: Row = {} if after is None else {"_id": {"$gt": after}}
            ids = [row["_id"] for row in await Customer.find_rows(query, {"_id": 1}, sort=[("_id", 1)], limit=BATCH)]
            heed_cancellation()
            if ids:
                changed += await PurchaseService.recount(*ids)
            if len(ids) < BATCH:
                break
            after = ids[-1]
        async for wrong in wrong_sums():
            await run_transaction(partial(mend_sum, wrong.currency, wrong.day), hot=[HOT])
        return changed


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of some customers as they are stored, and as they are to be, by their key."""

    document: type[AgoraDocument]
    stored: dict[Any, Row]
    wanted: dict[Any, Row]

    def differing(self) -> list[Row]:
        """What is gone, new or not as it was, as it is stored and as it is to be."""
        gone = [row for key, row in self.stored.items() if key not in self.wanted]
        new = [row for key, row in self.wanted.items() if key not in self.stored]
        pairs = [(self.stored[key], row) for key, row in self.wanted.items() if key in self.stored]
        return gone + new + [row for pair in pairs if _changes(*pair) for row in pair]

    async def write(self, session: Session) -> None:
        gone = [row["_id"] for key, row in self.stored.items() if key not in self.wanted]
        if gone:
            await self.document.collection().delete_many({"_id": {"$in": gone}}, session=session)
        for key, row in self.wanted.items():
            if key not in self.stored:
                await self.document.model_validate(row).store_later(session=session, refused=_overtaken)
            elif changes := _changes(self.stored[key], row):
                query = {"_id": self.stored[key]["_id"]}
                await self.document.change_later(query, {"$set": changes}, session=session, unmet=_lost())


def _changes(stored: Row, wanted: Row) -> Row:
    return {name: content for name, content in wanted.items() if stored[name] != content}


def _place(row: Row) -> tuple[PydanticObjectId, str]:
    return row["customer_id"], row["currency"]


def _sales_of(customer_id: PydanticObjectId, orders: Sequence[Row]) -> list[Row]:
    """What is kept of each of a customer's paid orders."""
    first = _firsts(orders)
    return [
        {
            "order_id": row["_id"],
            "customer_id": customer_id,
            "currency": row["currency"],
            "paid_at": row["paid_at"],
            "first_paid_at": first[row["currency"]],
            "total": row["totals"]["total"]["amount"],
        }
        for row in orders
    ]


def values_of(customer_id: PydanticObjectId, orders: Sequence[Row]) -> list[Row]:
    """What a customer's paid orders come to, by currency; without the customer's number."""
    values = []
    for currency, first in _firsts(orders).items():
        own = [row for row in orders if row["currency"] == currency]
        kept = [row["paid_at"] for row in own if row["cancelled_at"] is None]
        paid = sum(row["totals"]["total"]["amount"] for row in own)
        refunded = sum(row["refunded"]["amount"] for row in own)
        values.append(
            {
                "customer_id": customer_id,
                "currency": currency,
                "first_paid_at": first,
                "last_kept_at": max(kept, default=None),
                "sales_count": len(own),
                "kept_count": len(kept),
                "paid": paid,
                "refunded": refunded,
                "net": paid - refunded,
            }
        )
    return values


def _firsts(orders: Iterable[Row]) -> dict[str, datetime]:
    first: dict[str, datetime] = {}
    for row in orders:
        first[row["currency"]] = min(first.get(row["currency"], row["paid_at"]), row["paid_at"])
    return first


async def _move_totals(values: _Rows, session: Session) -> None:
    """Add to the sums what the values will differ by, and give those who have none their numbers."""
    moved: dict[str, dict[str, int]] = {}
    for sign, rows in ((1, values.wanted), (-1, values.stored)):
        for row in rows.values():
            sums = {"customers": sign, "kept": sign * row["kept_count"], "net": sign * row["net"]}
            add_up(moved.setdefault(row["currency"], {}), sums)
    query = {"currency": {"$in": sorted(moved)}}
    found = {row["currency"]: row for row in await CustomerTotals.find_rows(query, session=session)}
    given = {currency: found[currency]["numbered"] if currency in found else 0 for currency in moved}
    numbered = dict(given)
    for key in sorted(set(values.wanted) - set(values.stored)):
        values.wanted[key]["number"] = numbered[key[1]]
        numbered[key[1]] += 1
    for currency, sums in moved.items():
        sums["numbered"] = numbered[currency] - given[currency]
        if currency not in found:
            await CustomerTotals(currency=currency, **sums).store_later(session=session, refused=_overtaken)
        elif any(sums.values()):
            seen = {"_id": found[currency]["_id"], "numbered": given[currency]}
            await CustomerTotals.change_later(seen, {"$inc": sums}, session=session, unmet=_lost())


async def _move_days(sales: _Rows, values: _Rows, session: Session) -> None:
    """Put the customers' sales into the days that their rows lie in, and lay in, and leave those of others there."""
    numbers = {place: row["number"] for place, row in (values.wanted | values.stored).items()}
    touched = {(row["currency"], day_of(row["paid_at"])) for row in sales.differing()}
    if not touched:  # a cancellation or a refund moves the values alone
        return
    ids = {day_row_id(*place): place for place in sorted(touched)}
    stored = {row["_id"]: row for row in await CustomerDay.find_rows({"_id": {"$in": list(ids)}}, {"sales": 1}, session=session)}
    for id, (currency, day) in ids.items():
        own = {number for (_, of), number in numbers.items() if of == currency}
        others = [sale for sale in sales_of(stored[id]["sales"]) if sale.number not in own] if id in stored else []
        wanted = [
            day_sale(row, numbers[_place(row)])
            for row in sales.wanted.values()
            if (row["currency"], day_of(row["paid_at"])) == (currency, day)
        ]
        fields = day_fields([*others, *wanted])
        if id in stored:
            await CustomerDay.change_later({"_id": id}, {"$set": fields}, session=session, unmet=_lost())
        else:
            row = CustomerDay(id=id, currency=currency, day=day, **fields)
            await row.store_later(session=session, refused=_overtaken)


def _lost() -> PyMongoError:
    return start_again("a row of the customer's is gone")


def _overtaken(error: DuplicateKeyError) -> Exception:
    return start_again("another worker counted the customer")


async def _note(event: Event) -> None:
    order_id = PydanticObjectId(event.subject.removeprefix("order:"))
    row = await Order.find_row({"_id": order_id}, {"customer_id": 1, "paid_at": 1})
    if row is not None and row["customer_id"] is not None and row["paid_at"] is not None:
        await PurchaseService.recount(row["customer_id"])


PURCHASE_CONSUMER = Consumer(
    "customer_purchases",
    {
        EventType.ORDER_CONFIRMED,
        EventType.ORDER_UPDATED,
        EventType.ORDER_CANCELLED,
        EventType.ORDER_REFUNDED,
        EventType.ORDER_IMPORTED,
    },
    _note,
)
"""Keeps what customers bought. Harmless to repeat."""
