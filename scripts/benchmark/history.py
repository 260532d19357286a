"""A longer history for the benchmark of reports: the sample orders again and again, with all that reports read of them.

The catalogue stays as it is. Every copy of the orders has customers of its own, and other times of the same days.
"""

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from beanie import PydanticObjectId

from models.analytics.rollups import Dimension
from models.base import AgoraDocument, now
from models.ecommerce.carts import CartAbandonment
from models.ecommerce.customers import Customer
from models.ecommerce.orders import Order
from models.ecommerce.returns import ReturnRequest
from models.fraud import FraudReview, FraudReviewState
from models.inventory.stock import StockMovement
from models.money import Money
from models.payments import Payment, Refund
from services.analytics.rollups.rebuilding import grouped
from services.analytics.rollups.rollups import Entry, Fact, RollupService
from services.analytics.visits.traffic import STAGES
from services.settings import Settings

Row = dict[str, Any]
Rows = dict[type[AgoraDocument], list[Row]]

BATCH = 1_000
SPAN_DAYS = 395


class History:
    """What the sample data holds of orders, to be copied."""

    def __init__(self, stored: Rows, dice: Random) -> None:
        self._dice = dice
        self._orders = stored[Order]
        self._customers = {row["_id"]: row for row in stored[Customer]}
        self._payments = grouped(stored[Payment], "subject")
        self._refunds = grouped(stored[Refund], "subject")
        self._movements = grouped(stored[StockMovement], "reference")
        self._returns = grouped(stored[ReturnRequest], "order_id")

    @classmethod
    async def stored(cls, dice: Random) -> "History":
        documents = (Order, Customer, Payment, Refund, StockMovement, ReturnRequest)
        return cls({document: await document.find_rows({}) for document in documents}, dice)

    def __len__(self) -> int:
        return len(self._orders)

    def copy(self, number: int, count: int) -> Rows:
        """So many of the orders, as the `number`-th copy."""
        rows: Rows = {document: [] for document in (Customer, Order, Payment, Refund, StockMovement, ReturnRequest)}
        customers: dict[Any, PydanticObjectId] = {None: None}  # type: ignore[dict-item]  # a guest stays one
        for order in self._dice.sample(self._orders, count):
            if order["customer_id"] not in customers:
                customer = self._customers[order["customer_id"]]
                customers[order["customer_id"]] = _new_id(customer["created_at"])
                rows[Customer].append({**customer, "_id": customers[order["customer_id"]], "user_id": None})
            self._copy_order(order, number, customers[order["customer_id"]], rows)
        return rows

    def _copy_order(self, order: Row, number: int, customer_id: PydanticObjectId | None, rows: Rows) -> None:
        earlier = timedelta(minutes=self._dice.randrange(24 * 60))
        old, id = f"order:{order['_id']}", _new_id(order["placed_at"] - earlier)
        subject = f"order:{id}"
        payments = {row["_id"]: _new_id(row["created_at"] - earlier) for row in self._payments.get(old, ())}

        def told_again(row: Row, **over: Any) -> Row:
            return {**_moved(row, earlier), "_id": _new_id(row["created_at"] - earlier), **over}

        rows[Order].append(
            told_again(
                order,
                _id=id,
                number=f"{order['number']}-{number}",
                placement_key=f"bench:{id}",
                customer_id=customer_id,
                payment_id=payments.get(order["payment_id"]),
            )
        )
        for row in self._payments.get(old, ()):
            rows[Payment].append(told_again(row, _id=payments[row["_id"]], subject=subject, key=f"{subject}:checkout"))
        for row in self._refunds.get(old, ()):
            key = f"{subject}:{row['_id']}"
            rows[Refund].append(told_again(row, subject=subject, key=key, payment_id=payments[row["payment_id"]]))
        for row in self._movements.get(old, ()):
            rows[StockMovement].append(told_again(row, reference=subject, key=f"{subject}:{row['_id']}"))
        for row in self._returns.get(order["_id"], ()):
            rows[ReturnRequest].append(told_again(row, order_id=id, number=f"{row['number']}-{number}"))


async def grow_to(orders: int) -> int:
    """Copy orders until there are so many; returns how many there are, which may be more than asked for."""
    history = await History.stored(Random(1))
    there, number = len(history), 0
    while there < orders:
        number += 1
        count = min(len(history), orders - there)
        for document, rows in history.copy(number, count).items():
            await _insert(document, rows)
        there += count
    return there


async def add_visits_and_carts(orders: int, settings: Settings) -> None:
    """Two hundred visits and a cart left alone for every ten orders, over the thirteen months of the orders."""
    dice, today = Random(2), now().replace(hour=12, minute=0, second=0, microsecond=0)
    daily = 20 * orders // SPAN_DAYS + 1
    facts = []
    for back in range(SPAN_DAYS):
        reached = dict(zip(STAGES, (daily, daily // 5, daily // 10, daily // 12), strict=True))
        entries = [Entry(Dimension.STAGE, stage, "", {"visitors": count}) for stage, count in reached.items()]
        entries.append(Entry(Dimension.TRAFFIC, "", "", {"page_views": 3 * daily, "product_views": daily, "visitors": daily}))
        for site in range(12):
            entries.append(Entry(Dimension.SOURCE, f"site{site}.example", "", {"visits": dice.randint(0, daily)}))
        for term in dice.sample(range(200), min(200, daily)):
            entries.append(Entry(Dimension.SEARCH, f"term {term}", "", {"searches": 4, "visitors": 3}))
        facts.append(Fact(f"bench:{back}", today - timedelta(days=back), entries))
    for at in range(0, len(facts), 20):
        await RollupService.apply(facts[at : at + 20])
    carts = [
        CartAbandonment(
            cart_id=PydanticObjectId(),
            value=Money(amount=dice.randint(500, 50_000), currency=settings.currency),
            pieces=1,
            abandoned_at=abandoned_at,
            recovered_at=abandoned_at + timedelta(hours=3) if dice.random() < 0.2 else None,
        ).row()
        for abandoned_at in (today - timedelta(minutes=dice.randrange(SPAN_DAYS * 1440)) for _ in range(orders // 10))
    ]
    await _insert(CartAbandonment, carts)


async def add_reviews() -> None:
    """Of every twentieth payment, by one of four fraud rules, and decided an hour later."""
    dice = Random(3)
    payments = await Payment.find_rows({}, {"subject": 1, "amount": 1, "method": 1, "created_at": 1})
    reviews = [
        FraudReview(
            payment_id=payment["_id"],
            subject=payment["subject"],
            rule=f"rule {dice.randrange(4)}",
            amount=Money(**payment["amount"]),
            method=payment["method"],
            state=FraudReviewState.REJECTED if dice.random() < 0.1 else FraudReviewState.APPROVED,
            created_at=payment["created_at"],
            decided_at=payment["created_at"] + timedelta(hours=1),
        ).row()
        for payment in dice.sample(payments, len(payments) // 20)
    ]
    await _insert(FraudReview, reviews)


def _new_id(moment: datetime) -> PydanticObjectId:
    """In its place among the ids of that time."""
    return PydanticObjectId(int(moment.astimezone(UTC).timestamp()).to_bytes(4, "big") + secrets.token_bytes(8))


def _moved(row: Mapping[str, Any], earlier: timedelta) -> Row:
    return {name: value - earlier if isinstance(value, datetime) else value for name, value in row.items()}


async def _insert(document: type[AgoraDocument], rows: Iterable[Row]) -> None:
    waiting = list(rows)
    for at in range(0, len(waiting), BATCH):
        await document.collection().insert_many(waiting[at : at + BATCH], ordered=False)
