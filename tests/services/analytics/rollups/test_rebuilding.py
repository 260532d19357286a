"""Rollups of sales: the consumer that keeps them, the rebuild beside it, the check; against plain Python over the raw rows."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from beanie import PydanticObjectId

from models.analytics.rollups import (
    PERMANENT,
    VERSION,
    Dimension,
    FactMark,
    GenerationState,
    HourRollup,
    MonthRollup,
    Rollup,
    RollupGeneration,
)
from models.database import Database, Session, run_transaction
from models.ecommerce.coupons import Coupon
from models.ecommerce.orders import Order, OrderStatus
from models.ecommerce.returns import Disposition, ReturnLine, ReturnReason, ReturnRequest, ReturnStatus
from models.events import Checkpoint, Event, EventType
from models.fraud import FraudReview, FraudReviewState
from models.payments import Payment, PaymentState, Refund, RefundState
from services.analytics.periods import Granularity, Period
from services.analytics.rollups import rebuilding
from services.analytics.rollups.consumer import ROLLUP_CONSUMER
from services.analytics.rollups.counting import Entry, Fact, count_facts
from services.analytics.rollups.facts import facts_of_order
from services.analytics.rollups.rebuilding import RebuildOvertakenError
from services.analytics.rollups.rollups import OutdatedRollupsError, RollupService
from services.ecommerce.orders.cancellation import CancellationService
from services.ecommerce.orders.reading import OrderAccess
from services.ecommerce.orders.settlement import OrderSettlement
from services.events import Consumer, EventService
from services.heavy import heavy_work
from services.reconcile import CHECKS
from services.settings import Settings
from tests.factories.catalog import create_category, create_product
from tests.factories.checkout import TOKEN_DECLINED, Till, create_shopper, create_stocked, stored_order
from tests.factories.orders import usd
from tests.factories.payments import make_payment
from tests.factories.pricing import create_coupon
from tests.factories.sales import make_refund, make_sale, make_sold_line, paid_with, store_history
from tests.races import seeds

NO_PAUSE = timedelta(0)
PAID = datetime(2026, 11, 1, 10, 20, tzinfo=UTC)


async def rebuilt() -> int:
    return await RollupService.rebuild(pause=NO_PAUSE)


async def books() -> dict[tuple[str, str, str, str], list[dict[str, Any]]]:
    """What the generation that is read holds of days, months and their hours."""
    rows = await RollupGeneration.find_rows({"state": GenerationState.READY.value}, sort=[("number", -1)])
    newest = rows[0]["number"] if rows else None
    days = await Rollup.find_rows({"generation": newest})
    months = await MonthRollup.find_rows({"generation": newest})
    hours = await HourRollup.find_rows({"generation": newest})
    return {
        **{_place(row, f"{row['day']:%Y-%m-%d}"): [row["totals"], row["quarters"]] for row in days},
        **{_place(row, f"{row['month']:%Y-%m}"): [row["totals"], row["thirds"], row["days"]] for row in months},
        **{_place(row, f"{row['month']:%Y-%m} {row['hour']}"): [row["days"]] for row in hours},
    }


def _place(row: dict[str, Any], time: str) -> tuple[str, str, str, str]:
    return row["dimension"], row["key"], row["currency"], time


async def drift() -> list[str]:
    return [f"{row.field}: {row.stored} / {row.counted}" async for row in RollupService.drift()]


async def store_events(dice: random.Random) -> None:
    """What the outbox may have told of the stored orders, in any order, some of it twice."""
    told: list[tuple[EventType, str]] = []
    for order in await Order.find_rows({}, {"status": 1}):
        cancelled = order["status"] == OrderStatus.CANCELLED
        told.append((EventType.ORDER_CANCELLED if cancelled else EventType.ORDER_CONFIRMED, f"order:{order['_id']}"))
    told += [(EventType.PAYMENT_CAPTURED, f"payment:{row['_id']}") for row in await Payment.find_rows({}, {"_id": 1})]
    told += [
        (EventType.REFUND_SUCCEEDED, f"payment:{row['payment_id']}") for row in await Refund.find_rows({}, {"payment_id": 1})
    ]
    told += dice.sample(told, len(told) // 5)
    dice.shuffle(told)
    rows = [Event(type=type, subject=subject, sequence=at).row() for at, (type, subject) in enumerate(told, start=1)]
    await Event.collection().insert_many(rows)


class KilledError(BaseException):
    """As abrupt as the end of a process: no handler of errors sees it."""


def mortal(consumer: Consumer, dice: random.Random) -> Consumer:
    """The consumer, killed now and then before an event, or after it and before its checkpoint."""

    async def handle(event: Event) -> None:
        if dice.random() < 0.1:
            raise KilledError
        await consumer.handle(event)
        if dice.random() < 0.1:
            raise KilledError

    return replace(consumer, handle=handle)


async def deliver_through_kills(dice: random.Random, *, between: Callable[[], Awaitable[None]] | None = None) -> None:
    """Every event, by a consumer that is killed again and again and once set back to the beginning."""
    consumer, is_set_back = mortal(ROLLUP_CONSUMER, dice), False
    while True:
        try:
            if not await EventService.deliver(consumer):
                return
        except KilledError:
            if between is not None and dice.random() < 0.3:
                await between()
            if not is_set_back and dice.random() < 0.1:
                is_set_back = True
                await Checkpoint.collection().update_one({"consumer": "rollups"}, {"$set": {"sequence": 0}})


async def recounted(period: Period, currency: str = "USD") -> Counter[str]:
    """The shop's figures of a period by their definitions, over the raw rows."""
    start, end = period.bounds
    sums: Counter[str] = Counter()
    orders = {row["_id"]: row for row in await Order.find_rows({"currency": currency})}
    for order in orders.values():
        if order["paid_at"] is not None and start <= order["paid_at"] < end:
            sums["orders"] += 1
            sums["gross"] += sum(line["unit_price"]["amount"] * line["quantity"] for line in order["lines"])
            sums["units"] += sum(line["quantity"] for line in order["lines"])
            for name in ("discount", "tax", "shipping", "total"):
                sums[name] += order["totals"][name]["amount"]
        if order["paid_at"] and order["cancelled_at"] and start <= order["cancelled_at"] < end:
            sums["cancelled"] += 1
    for refund in await Refund.find_rows({"state": RefundState.SUCCEEDED.value}):
        order = orders.get(PydanticObjectId(refund["subject"].removeprefix("order:")), {})
        if order.get("payment_id") == refund["payment_id"] and order["paid_at"] and start <= refund["settled_at"] < end:
            sums["refunds"] += refund["amount"]["amount"]
            sums["refunded_count"] += 1
    return sums


@pytest.fixture
async def shop(database: Database) -> Callable[[random.Random, int], Awaitable[None]]:
    """Stores so many orders of a small shop."""
    category = await create_category()
    products = [await create_product(category=category) for _ in range(3)] + [await create_product() for _ in range(2)]
    products.append(await create_product(currency="EUR"))
    coupons: list[Coupon] = [await create_coupon(), await create_coupon()]

    async def store(dice: random.Random, orders: int) -> None:
        await store_history(dice, products, coupons, orders=orders)

    return store


Shop = Callable[[random.Random, int], Awaitable[None]]


class TestFacts:
    async def test_each_thing_that_happened_is_one(self, database: Database) -> None:
        """Two lines of one product and one of another: gross 70.00, discount 7.00, tax 6.30, shipping 5.00, total 74.30."""
        category = await create_category()
        red, blue = await create_product(category=category), await create_product()
        coupon = await create_coupon()
        lines = [
            make_sold_line(red, quantity=2, price=1000, discount=200, tax=180),
            make_sold_line(blue, quantity=1, price=3000, discount=300, tax=270),
            make_sold_line(red, quantity=1, price=2000, discount=200, tax=180),
        ]
        order = make_sale(lines, paid_at=PAID, shipping=500, coupon=coupon, cancelled_at=PAID + timedelta(hours=1))
        payment = paid_with(order)
        back = make_refund(payment, 7430, at=PAID + timedelta(hours=2))
        pieces = ReturnRequest(
            number="RMA-1",
            order_id=order.id,
            lines=[
                ReturnLine(
                    line_id=order.lines[2].id,
                    sku="x",
                    name="x",
                    variant_id=order.lines[2].variant_id,
                    quantity=1,
                    reason=ReturnReason.OTHER,
                    received_quantity=1,
                    disposition=Disposition.RESTOCK,
                )
            ],
            status=ReturnStatus.RECEIVED,
            requested_at=PAID,
            received_at=PAID + timedelta(hours=3),
        )
        figures = {
            **{"orders": 1, "units": 4, "gross": 7000, "discount": 700},
            **{"tax": 630, "shipping": 500, "total": 7430},
        }
        of_red = {"orders": 1, "units": 3, "gross": 4000, "discount": 400, "tax": 360, "total": 3960}
        of_blue = {"orders": 1, "units": 1, "gross": 3000, "discount": 300, "tax": 270, "total": 2970}
        given_back, way = {"refunds": 7430, "refunded_count": 1}, "card/sandbox"

        def entries(*parts: tuple[Dimension, str, dict[str, int]]) -> list[Entry]:
            return [Entry(dimension, key, "USD", metrics) for dimension, key, metrics in parts]

        found = facts_of_order(order.row(), payments=[payment.row()], refunds=[back.row()], returns=[pieces.row()])

        assert found == [
            Fact(
                f"sale:{order.id}",
                PAID,
                entries(
                    (Dimension.TOTAL, "", figures),
                    (Dimension.SOURCE, "shop", figures),
                    (Dimension.PRODUCT, str(red.id), of_red),
                    (Dimension.PRODUCT, str(blue.id), of_blue),
                    (Dimension.CATEGORY, str(category.id), of_red),
                    (Dimension.CATEGORY, "", of_blue),
                    (Dimension.COUPON, str(coupon.id), {"orders": 1, "discount": 700, "total": 7430}),
                ),
            ),
            Fact(
                f"cancellation:{order.id}",
                PAID + timedelta(hours=1),
                entries((Dimension.TOTAL, "", {"cancelled": 1}), (Dimension.SOURCE, "shop", {"cancelled": 1})),
            ),
            Fact(f"attempt:{payment.id}", payment.created_at, entries((Dimension.PAYMENT, way, {"attempts": 1}))),
            Fact(f"capture:{payment.id}", PAID, entries((Dimension.PAYMENT, way, {"captured_count": 1, "captured": 7430}))),
            Fact(
                f"refund:{back.id}",
                PAID + timedelta(hours=2),
                entries(
                    (Dimension.PAYMENT, way, given_back),
                    (Dimension.TOTAL, "", given_back),
                    (Dimension.SOURCE, "shop", given_back),
                ),
            ),
            Fact(
                f"return:{pieces.id}",
                PAID + timedelta(hours=3),
                entries(
                    (Dimension.PRODUCT, str(red.id), {"returned_units": 1}),
                    (Dimension.CATEGORY, str(category.id), {"returned_units": 1}),
                ),
            ),
        ]

    async def test_what_is_not_paid_is_no_sale_and_its_end_no_cancellation(self, database: Database) -> None:
        product = await create_product()
        waiting = make_sale([make_sold_line(product)], paid_at=None)
        fallen = make_sale([make_sold_line(product)], paid_at=None, cancelled_at=PAID)
        payment = make_payment(
            subject=f"order:{fallen.id}",
            amount=usd(1000),
            state=PaymentState.FAILED,
            failure_code="expired",
            settled_at=PAID,
        )

        assert facts_of_order(waiting.row()) == []
        assert facts_of_order(fallen.row(), payments=[payment.row()]) == [
            Fact(f"attempt:{payment.id}", payment.created_at, [Entry(Dimension.PAYMENT, "card/sandbox", "USD", {"attempts": 1})]),
            Fact(
                f"failure:{payment.id}",
                PAID,
                [
                    Entry(Dimension.PAYMENT, "card/sandbox", "USD", {"failed": 1}),
                    Entry(Dimension.FAILURE, "expired", "USD", {"failed": 1, "amount": 1000}),
                ],
            ),
        ]

    @pytest.mark.parametrize(
        ("state", "is_held", "told"),
        [
            (PaymentState.CREATED, False, []),
            (PaymentState.PROCESSING, False, []),
            (PaymentState.AUTHORISED, False, ["attempt"]),
            (PaymentState.IN_REVIEW, True, ["attempt", "review"]),
            (PaymentState.PROCESSING, True, ["attempt", "review"]),  # let go on, and its gateway is silent
            (PaymentState.CAPTURED, True, ["attempt", "capture", "review", "decision"]),
        ],
    )
    async def test_a_payment_is_told_of_once_it_has_an_answer(
        self, database: Database, state: PaymentState, is_held: bool, told: list[str]
    ) -> None:
        order = make_sale([make_sold_line(await create_product())], paid_at=None)
        payment = make_payment(subject=f"order:{order.id}", state=state, settled_at=PAID)
        decided = FraudReviewState.OPEN if state is PaymentState.IN_REVIEW else FraudReviewState.APPROVED
        review = FraudReview(
            payment_id=payment.id,
            subject=payment.subject,
            rule="large",
            amount=payment.amount,
            method="card",
            state=decided,
            decided_at=PAID,
        )

        found = facts_of_order(order.row(), payments=[payment.row()], reviews=[review.row()] if is_held else [])

        assert [fact.key.partition(":")[0] for fact in found] == told

    async def test_money_that_was_no_sale_goes_back_by_its_payment_alone(self, database: Database) -> None:
        order = make_sale([make_sold_line(await create_product())], paid_at=PAID)
        paid_with(order)
        second = make_payment(subject=f"order:{order.id}", state=PaymentState.PROCESSING)
        refund = make_refund(second, 500, at=PAID)
        open_one = make_refund(second, 400, at=None, state=RefundState.PENDING)

        found = facts_of_order(order.row(), payments=[second.row()], refunds=[refund.row(), open_one.row()])

        assert [fact.key for fact in found] == [f"sale:{order.id}", f"refund:{refund.id}"]
        assert found[1].entries == [Entry(Dimension.PAYMENT, "card/sandbox", "USD", {"refunded_count": 1, "refunds": 500})]


class TestConsumer:
    @pytest.mark.parametrize("seed", seeds())
    async def test_killed_and_set_back_it_counts_what_plain_python_counts(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch, seed: int
    ) -> None:
        """Events in any order, some twice, and a rebuild killed in its middle now and then: live = recounted = rebuilt."""
        dice = random.Random(seed)
        monkeypatch.setattr(rebuilding, "BATCH", 7)
        await shop(dice, 25)
        await store_events(dice)

        async def killed_rebuild() -> None:
            async def dies(facts: list[Fact], *, generation: int) -> int:
                if dice.random() < 0.3:
                    raise KilledError
                return await count_facts(facts, generation=generation)

            with monkeypatch.context() as patched:
                patched.setattr(rebuilding, "count_facts", dies)
                with contextlib.suppress(KilledError):
                    await rebuilt()

        await deliver_through_kills(dice, between=killed_rebuild)

        live = await books()
        assert len(live) > 50
        assert await drift() == []
        for zone in ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"):
            first = date(2026, 10, 10) + timedelta(days=dice.randint(0, 20))
            period = Period(first, first + timedelta(days=dice.randint(1, 20)), ZoneInfo(zone))
            for currency in ("USD", "EUR"):
                sums = await RollupService.totals(Dimension.TOTAL, currency=currency, period=period)
                assert +Counter(sums) == +(await recounted(period, currency))
            points = await RollupService.series(Dimension.TOTAL, currency="USD", period=period, granularity=Granularity.DAY)
            assert sum((Counter(point) for point in points), Counter()) == +(await recounted(period))
        await rebuilt()
        assert await books() == live

    async def test_real_orders_are_counted_and_strangers_events_are_passed(self, database: Database, settings: Settings) -> None:
        """Bought for 32.00 and 54.00, the first cancelled and paid back; a card that is declined."""
        till = Till(settings)
        product = await create_stocked(10, "20.00")
        shopper = await create_shopper((product, 1))
        order = await stored_order((await till.checkout(shopper)).order.id)
        other = await create_shopper((product, 2))
        kept = await stored_order((await till.checkout(other)).order.id)
        with pytest.raises(Exception, match="Declined"):
            await till.checkout(await create_shopper((product, 1)), payment_token=TOKEN_DECLINED)
        await CancellationService.cancel_order(
            order.id,
            access=OrderAccess(shopper.viewer),
            gateways=till.gateways,
            listener=OrderSettlement(settings),
            settings=settings,
        )
        await run_transaction(_unknown_order)

        while await EventService.pump([ROLLUP_CONSUMER]):
            pass

        assert order.paid_at is not None
        today = order.paid_at.date()
        period = Period(today, today + timedelta(days=2), ZoneInfo("UTC"))
        sums = await RollupService.totals(Dimension.TOTAL, currency="USD", period=period)
        first, second = order.totals.total.amount, kept.totals.total.amount
        assert (first, second) == (3200, 5400)
        wanted = {"orders": 2, "units": 3, "gross": 6000, "tax": 600, "shipping": 2000, "total": 8600}
        assert +Counter(sums) == Counter({**wanted, "refunds": 3200, "refunded_count": 1, "cancelled": 1})
        cards = await RollupService.totals(Dimension.PAYMENT, key=f"card/{till.gateway.name}", currency="USD", period=period)
        tried = {"attempts": 3, "captured_count": 2, "captured": 8600, "failed": 1, "voided": 0}
        assert cards == {**tried, "refunded_count": 1, "refunds": 3200, "failed_refunds": 0}
        checkpoint = await Checkpoint.find_row({"consumer": "rollups"})
        assert checkpoint is not None
        assert (checkpoint["sequence"], checkpoint["failures"]) == (await EventService.last_sequence(), 0)
        assert await drift() == []


async def _unknown_order(session: Session) -> None:
    for subject in ("order", "payment", "return"):
        await EventService.record(session, EventType.ORDER_CANCELLED, f"{subject}:{PydanticObjectId()}")


class TestRebuild:
    async def test_replaces_what_is_wrong_and_keeps_what_it_cannot_make(self, shop: Shop) -> None:
        await shop(random.Random(1), 20)
        visit = Fact("visit:1", PAID, [Entry(Dimension.TRAFFIC, "", "", {"page_views": 1})])
        await RollupService.apply([visit])
        count = await rebuilt()
        before = await books()
        await Rollup.collection().update_many({"dimension": "total"}, {"$inc": {"totals.total": 1}})
        await Rollup.collection().delete_one({"dimension": "product"})

        assert await rebuilt() == count
        assert await books() == before
        for document in (Rollup, MonthRollup, FactMark):
            assert {row["generation"] for row in await document.find_rows({})} == {PERMANENT, 2}
        assert {row["generation"] for row in await HourRollup.find_rows({})} == {2}
        generations = await RollupGeneration.find_rows({}, sort=[("number", 1)])
        assert [(row["number"], row["state"], row["facts"]) for row in generations] == [
            (1, "dropped", count),
            (2, "ready", count),
        ]

    async def test_what_an_older_version_counted_is_refused_and_renewed(self, shop: Shop) -> None:
        await shop(random.Random(3), 3)
        count = await rebuilt()
        assert await RollupService.renew() == 0
        await RollupGeneration.collection().update_many({}, {"$unset": {"version": 1}})
        day = Period(PAID.date(), PAID.date() + timedelta(days=1), ZoneInfo("UTC"))

        assert await drift() == [f"version: 0 / {VERSION}"]
        with pytest.raises(OutdatedRollupsError):
            await RollupService.totals(Dimension.TOTAL, currency="USD", period=day)
        assert await RollupService.renew(pause=NO_PAUSE) == count
        assert await drift() == []

    async def test_nothing_is_made_of_nothing(self, database: Database) -> None:
        assert await rebuilt() == 0
        assert await books() == {}

    async def test_what_happens_meanwhile_is_in_both(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        """An order paid while the rebuild runs, behind where it reads: the consumer tells the new generation, too."""
        await shop(random.Random(2), 20)
        monkeypatch.setattr(rebuilding, "BATCH", 5)
        await rebuilt()
        first = min(row["_id"] for row in await Order.find_rows({"paid_at": None}))
        read, is_paid = rebuilding.facts_of_orders, False

        async def facts_of_orders(orders: Any) -> list[Fact]:
            nonlocal is_paid
            found = await read(orders)
            if not is_paid and orders[0]["_id"] > first:
                is_paid = True
                await Order.collection().update_one({"_id": first}, {"$set": {"paid_at": PAID}})
                await ROLLUP_CONSUMER.handle(Event(type=EventType.ORDER_CONFIRMED, subject=f"order:{first}"))
            return found

        monkeypatch.setattr(rebuilding, "facts_of_orders", facts_of_orders)
        await rebuilt()

        assert is_paid
        assert await drift() == []

    async def test_waits_for_a_place_of_heavy_work(self, database: Database) -> None:
        await make_sale([make_sold_line(await create_product())], paid_at=PAID).store()
        async with heavy_work(), heavy_work():
            rebuild = asyncio.create_task(rebuilt())
            await asyncio.sleep(0.1)
            assert await Rollup.count_rows({}) == 0

        assert await rebuild == 1
        assert await Rollup.count_rows({}) > 0

    async def test_of_two_at_once_the_later_wins(self, shop: Shop) -> None:
        await shop(random.Random(3), 20)
        results = await asyncio.gather(*(rebuilt() for _ in range(3)), return_exceptions=True)

        assert {type(result) for result in results} <= {int, RebuildOvertakenError}
        assert any(isinstance(result, int) for result in results)
        assert await drift() == []
        assert await RollupGeneration.count_rows({"state": "building"}) == 0


class TestDrift:
    async def test_nothing_where_no_rollups_were_made(self, shop: Shop) -> None:
        await shop(random.Random(1), 10)

        assert await drift() == []

    async def test_what_is_wrong_lacking_or_too_much_is_told(self, database: Database) -> None:
        product = await create_product()
        order = await make_sale([make_sold_line(product)], paid_at=PAID).store()
        await rebuilt()
        day = PAID.replace(hour=0, minute=0)
        await Rollup.collection().update_one({"dimension": "total"}, {"$inc": {"totals.total": 5}})
        await Rollup.collection().update_one({"dimension": "source"}, {"$set": {"quarters": {"42": {"orders": 1}}}})
        await Rollup.collection().delete_one({"dimension": "product"})
        of_month = {"dimension": "category"}
        await MonthRollup.collection().update_one(of_month, {"$set": {"thirds.orders": {"2": 1}}})
        await MonthRollup.collection().delete_one({"dimension": "product"})
        ghost = Rollup(generation=1, dimension=Dimension.PRODUCT, key="ghost", currency="USD", day=day, totals={"orders": 1})
        await ghost.store()

        sold = "gross 1000, orders 1, total 1000, units 1"
        assert sorted(await drift()) == [
            f"category USD 2026-11: {sold} / {sold}, at other times",
            f"product {product.id} USD 2026-11-01: nothing / {sold}",
            f"product {product.id} USD 2026-11: nothing / {sold}",
            "product ghost USD 2026-11-01: orders 1 / nothing",
            f"source shop USD 2026-11-01: {sold} / {sold}, at other times",
            f"total USD 2026-11-01: gross 1000, orders 1, total 1005, units 1 / {sold}",
        ]
        assert order.totals.total == usd(1000)
        await rebuilt()
        assert await drift() == []

    async def test_what_was_never_told_is_missed_once_the_consumer_has_come_to_the_end(self, database: Database) -> None:
        await rebuilt()
        order = await make_sale([make_sold_line(await create_product())], paid_at=PAID).store()
        told = Event(type=EventType.ORDER_CANCELLED, subject=f"order:{PydanticObjectId()}")
        await told.store()

        assert await drift() == []
        while await EventService.pump([ROLLUP_CONSUMER]):
            pass
        assert await drift() == [f"sale:{order.id}: None / to be counted"]

    def test_is_among_the_checks(self) -> None:
        assert [check.name for check in CHECKS].count("rollups") == 1
