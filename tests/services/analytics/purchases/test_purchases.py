"""What customers bought, kept from their orders: whatever is heard twice, late or never."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from beanie import PydanticObjectId

from models.analytics.purchases import CustomerDay, CustomerSale, CustomerTotals, CustomerValue
from models.base import AgoraDocument, now
from models.database import Database, Session, run_transaction
from models.ecommerce.orders import Order
from models.events import EventType
from models.money import Money
from services.analytics.purchases import purchases
from services.analytics.purchases.checks import purchase_drift
from services.analytics.purchases.days import read_stretches, set_of
from services.analytics.purchases.purchases import PURCHASE_CONSUMER, PurchaseService
from services.analytics.purchases.sums import wrong_sums
from services.events import EventService
from services.reconcile import ReconcileService
from tests.commands import CommandLog
from tests.factories.customers import create_customer
from tests.factories.orders import create_order
from tests.factories.purchases import create_sale, told_of

DAY = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


async def rows_of(document: type[AgoraDocument]) -> list[dict[str, Any]]:
    """What is stored, without ids and times, in a fixed order."""
    rows = await document.find_rows({}, {"_id": 0, "created_at": 0, "updated_at": 0})
    return sorted(rows, key=lambda row: sorted((name, str(value)) for name, value in row.items()))


class TestRecount:
    async def test_row_per_sale_and_sums_per_currency(self, database: Database) -> None:
        customer = PydanticObjectId()
        first = await create_sale(customer, DAY, 1000, refunded_amount=300)
        second = await create_sale(customer, DAY + timedelta(days=3), 500)
        euros = await create_sale(customer, DAY + timedelta(days=1), 700, currency="EUR")
        await create_order(customer_id=customer)  # not paid
        await create_sale(None, DAY, 9000)  # a guest's

        assert await PurchaseService.recount(customer) == 1

        sales = {row["order_id"]: row for row in await rows_of(CustomerSale)}
        assert {key: (row["total"], row["first_paid_at"]) for key, row in sales.items()} == {
            first.id: (1000, DAY),
            second.id: (500, DAY),
            euros.id: (700, DAY + timedelta(days=1)),
        }
        values = {row["currency"]: row for row in await rows_of(CustomerValue)}
        assert values["USD"] == {
            "customer_id": customer,
            "currency": "USD",
            "number": 0,
            "first_paid_at": DAY,
            "last_kept_at": DAY + timedelta(days=3),
            "sales_count": 2,
            "kept_count": 2,
            "paid": 1500,
            "refunded": 300,
            "net": 1200,
        }
        assert (values["EUR"]["sales_count"], values["EUR"]["net"]) == (1, 700)

    async def test_cancelled_sale_stays_a_sale_but_is_not_kept(self, database: Database) -> None:
        customer = PydanticObjectId()
        await create_sale(customer, DAY, 1000)
        await create_sale(customer, DAY + timedelta(days=2), 500, cancelled_at=DAY + timedelta(days=3), refunded_amount=500)

        await PurchaseService.recount(customer)

        [value] = await rows_of(CustomerValue)
        assert (value["sales_count"], value["kept_count"], value["net"], value["last_kept_at"]) == (2, 1, 1000, DAY)
        assert len(await rows_of(CustomerSale)) == 2

    async def test_older_sale_that_is_entered_late_moves_the_first(self, database: Database) -> None:
        customer = PydanticObjectId()
        await create_sale(customer, DAY)
        await PurchaseService.recount(customer)
        await create_sale(customer, DAY - timedelta(days=40))

        assert await PurchaseService.recount(customer) == 1

        assert {row["first_paid_at"] for row in await rows_of(CustomerSale)} == {DAY - timedelta(days=40)}

    async def test_again_changes_nothing_and_costs_three_reads(self, database: Database, commands: CommandLog) -> None:
        customer = PydanticObjectId()
        await create_sale(customer, DAY)
        await PurchaseService.recount(customer)
        before = await rows_of(CustomerValue)

        with commands.counting() as sent:
            assert await PurchaseService.recount(customer) == 0

        assert [name for name in sent.sent if not name.startswith(("commit", "abort"))] == [
            "find orders",
            "find customer_sales",
            "find customer_values",
        ]
        assert await rows_of(CustomerValue) == before

    async def test_orders_that_are_gone_take_their_rows_with_them(self, database: Database) -> None:
        customer = PydanticObjectId()
        await create_sale(customer, DAY)
        await PurchaseService.recount(customer)
        await Order.collection().delete_many({})

        assert await PurchaseService.recount(customer) == 1

        assert (await rows_of(CustomerSale), await rows_of(CustomerValue)) == ([], [])

    async def test_fifty_at_once_count_once(self, database: Database) -> None:
        customer = PydanticObjectId()
        for number in range(4):
            await create_sale(customer, DAY + timedelta(days=number), 100)

        await asyncio.gather(*(PurchaseService.recount(customer) for _ in range(50)))

        [value] = await rows_of(CustomerValue)
        assert (value["sales_count"], value["paid"], len(await rows_of(CustomerSale))) == (4, 400, 4)

    async def test_workers_that_do_not_know_of_each_other_count_once(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As of two processes: without the queue of one, who comes second starts again."""
        monkeypatch.setattr(purchases, "run_transaction", lambda work, hot: run_transaction(work))
        customer = PydanticObjectId()
        for number in range(4):
            await create_sale(customer, DAY + timedelta(days=number), 100)

        await asyncio.gather(*(PurchaseService.recount(customer) for _ in range(6)))

        [value] = await rows_of(CustomerValue)
        assert (value["sales_count"], value["paid"], len(await rows_of(CustomerSale))) == (4, 400, 4)
        assert [wrong async for wrong in wrong_sums()] == []

    async def test_workers_that_count_different_customers_lose_none_of_them(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They want the same sums and the same days."""
        monkeypatch.setattr(purchases, "run_transaction", lambda work, hot: run_transaction(work))
        customers = [PydanticObjectId() for _ in range(10)]
        for customer in customers:
            await create_sale(customer, DAY, 100)

        await asyncio.gather(*(PurchaseService.recount(customer) for customer in customers))

        [day], [totals] = await rows_of(CustomerDay), await rows_of(CustomerTotals)
        assert (day["orders"], day["total"], totals["customers"], totals["numbered"]) == (10, 1000, 10, 10)
        assert [wrong async for wrong in wrong_sums()] == []


class TestConsumer:
    async def test_order_that_was_paid_is_counted_however_often_it_is_heard(self, database: Database) -> None:
        order = await create_sale(PydanticObjectId(), DAY, 1000)

        for _ in range(3):
            await PURCHASE_CONSUMER.handle(told_of(order))

        [value] = await rows_of(CustomerValue)
        assert (value["sales_count"], value["paid"]) == (1, 1000)

    async def test_guests_unpaid_and_unknown_orders_leave_nothing(self, database: Database) -> None:
        for order in (
            await create_sale(None, DAY),
            await create_order(customer_id=PydanticObjectId()),
        ):
            await PURCHASE_CONSUMER.handle(told_of(order))
        gone = await create_sale(PydanticObjectId(), DAY)
        await Order.collection().delete_one({"_id": gone.id})
        await PURCHASE_CONSUMER.handle(told_of(gone, EventType.ORDER_UPDATED))

        assert (await rows_of(CustomerSale), await rows_of(CustomerValue)) == ([], [])

    async def test_live_equals_rebuilt_whatever_was_heard_in_whatever_order(self, database: Database) -> None:
        """Random lives of orders, events late, doubled and shuffled, the last one of each order heard at least once."""
        dice = random.Random(4)
        customers = [await create_customer() for _ in range(5)]
        events = []
        for _ in range(30):
            paid_at = DAY + timedelta(hours=dice.randrange(2000))
            order = await create_sale(dice.choice(customers).id, paid_at, dice.randrange(100, 9000))
            events.append(told_of(order))
            if dice.random() < 0.4:
                back = dice.randrange(1, order.totals.total.amount + 1)
                await Order.change({"_id": order.id}, {"$set": {"refunded": Money(amount=back, currency="USD").model_dump()}})
                events.append(told_of(order, EventType.ORDER_UPDATED))
            if dice.random() < 0.2:
                await Order.change({"_id": order.id}, {"$set": {"cancelled_at": now(), "is_counted": False}})
                events.append(told_of(order, EventType.ORDER_CANCELLED))
            if dice.random() < 0.5:
                await PURCHASE_CONSUMER.handle(dice.choice(events))
        heard = events + dice.choices(events, k=10)
        dice.shuffle(heard)
        for event in heard:
            await PURCHASE_CONSUMER.handle(event)
        live = (await rows_of(CustomerSale), await rows_of(CustomerValue))
        numbers = await rows_of(CustomerDay), await rows_of(CustomerTotals)
        assert [wrong async for wrong in wrong_sums()] == []

        await CustomerSale.collection().delete_many({})
        await CustomerDay.collection().delete_many({})
        changed = await PurchaseService.rebuild()

        assert (await rows_of(CustomerSale), await rows_of(CustomerValue)) == live
        assert (await rows_of(CustomerDay), await rows_of(CustomerTotals)) == numbers
        assert changed == len(live[1])
        assert len(live[0]) == 30

    async def test_numbers_that_were_lost_are_given_anew_and_the_days_follow(self, database: Database) -> None:
        customers = [await create_customer() for _ in range(3)]
        for number, customer in enumerate(customers * 2):
            await create_sale(customer.id, DAY + timedelta(days=number), 100)
        await PurchaseService.rebuild()
        await CustomerValue.collection().delete_one({"customer_id": customers[0].id})

        await PurchaseService.rebuild()

        [totals] = await rows_of(CustomerTotals)
        assert totals == {"currency": "USD", "numbered": 4, "customers": 3, "kept": 6, "net": 600}
        [stretch] = await read_stretches("USD", [DAY - timedelta(hours=12), DAY + timedelta(days=9)])
        assert (stretch.buyers, stretch.newcomers, stretch.orders, stretch.total) == (0b1110, 0b1110, 6, 600)


class TestRebuild:
    async def test_rebuild_begun_again_has_less_to_do(self, database: Database) -> None:
        for _ in range(3):
            await create_sale((await create_customer()).id, DAY)

        assert await PurchaseService.rebuild() == 3
        assert await PurchaseService.rebuild() == 0

    async def test_nobody_is_nothing(self, database: Database) -> None:
        assert await PurchaseService.rebuild() == 0


class TestDrift:
    async def test_planted_drift_is_found_mended_and_gone(self, database: Database) -> None:
        john, mary = await create_customer(), await create_customer()
        for customer in (john, mary):
            await create_sale(customer.id, DAY, 1000)
            await PurchaseService.recount(customer.id)
        assert [drift async for drift in purchase_drift()] == []
        await CustomerValue.change_many({"customer_id": john.id}, {"$set": {"sales_count": 7}})

        [drift] = [drift async for drift in purchase_drift()]

        assert (drift.collection, drift.id, drift.is_derived) == ("customer_values", john.id, True)
        assert "sales_count 7" in str(drift.stored)
        assert "sales_count 1" in str(drift.counted)
        assert await ReconcileService.repair(drift) is True
        assert [drift async for drift in purchase_drift()] == []
        assert await ReconcileService.repair(drift) is False

    async def test_planted_drift_of_sums_and_days_is_found_mended_and_gone(self, database: Database) -> None:
        customer = await create_customer()
        await create_sale(customer.id, DAY, 1000)
        await create_sale(customer.id, DAY + timedelta(days=1), 500)
        await PurchaseService.recount(customer.id)
        right = await rows_of(CustomerDay), await rows_of(CustomerTotals)
        await CustomerTotals.change_many({}, {"$set": {"net": 7}})
        await CustomerDay.change_many({"orders": 1, "total": 1000}, {"$set": {"buyers": set_of([5])}})
        await CustomerDay.collection().delete_one({"total": 500})

        found = [drift async for drift in purchase_drift()]

        assert [(drift.field, drift.stored, drift.counted) for drift in found] == [
            ("USD", "customers 1, kept 2, net 7, numbered 1", "customers 1, kept 2, net 1500, numbered 1"),
            ("USD 2026-11-01", "orders 1, total 1000", "orders 1, total 1000, by others or at other times"),
            ("USD 2026-11-02", "nothing", "orders 1, total 500"),
        ]
        assert [await ReconcileService.repair(drift) for drift in found] == [True] * 3
        assert (await rows_of(CustomerDay), await rows_of(CustomerTotals)) == right
        assert [await ReconcileService.repair(drift) for drift in found] == [False] * 3

    async def test_what_the_consumer_has_yet_to_hear_is_no_drift(self, database: Database) -> None:
        customer = await create_customer()
        await create_sale(customer.id, DAY, 1000)
        await PurchaseService.recount(customer.id)
        order = await create_sale(customer.id, DAY, 500)

        async def tell(session: Session) -> None:
            await EventService.record(session, EventType.ORDER_CONFIRMED, f"order:{order.id}")

        await run_transaction(tell)
        assert [drift async for drift in purchase_drift()] == []

        await EventService.pump([PURCHASE_CONSUMER])
        assert [drift async for drift in purchase_drift()] == []
        [value] = await CustomerValue.find_rows({"customer_id": customer.id})
        assert value["sales_count"] == 2
