"""Each way in which the books of the shop can disagree: planted, found, and mended or left to a person."""

import io
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from beanie import PydanticObjectId
from rich.console import Console

from models.base import AgoraDocument, now
from models.database import Database, run_transaction
from models.ecommerce.carts import Cart
from models.ecommerce.catalog import Product
from models.ecommerce.coupons import CouponRedemption
from models.ecommerce.customers import LoyaltyEntry
from models.ecommerce.orders import Order, OrderStatus, OrderStatusHistory
from models.ecommerce.returns import Disposition, ReturnReason, ReturnRequest
from models.ecommerce.reviews import Review
from models.inventory.stock import Reservation, StockMovement
from models.payments import Payment, Refund
from models.users import Role
from scripts.reconcile import report
from services.drift import Drift
from services.ecommerce.checks import orders as order_checks
from services.ecommerce.checks.products import sales_pipeline
from services.ecommerce.orders.cancellation import CancellationService
from services.ecommerce.orders.fulfilment import FulfilmentDraft, deliver_order, send_parcel
from services.ecommerce.orders.reading import OrderAccess
from services.ecommerce.orders.settlement import OrderSettlement
from services.ecommerce.orders.transitions import SYSTEM_MOVER, move_order
from services.ecommerce.returns.desk import ReturnDeskService
from services.ecommerce.returns.pieces import ReceivedPart, ReturnPart
from services.ecommerce.returns.refunds import ReturnRefundService
from services.ecommerce.returns.requests import ReturnService
from services.ecommerce.reviews import ReviewService
from services.reconcile import ReconcileService
from services.settings import Settings
from tests.factories.checkout import TOKEN_PENDING, Shopper, Till, create_shopper, create_stocked, stored_order
from tests.factories.pricing import create_coupon
from tests.factories.reviews import make_text
from tests.factories.users import create_user, viewer_of

MENDED, LEFT = True, False  # by REPAIR=1; to a person

Row = dict[str, Any]
Found = list[tuple[str, str, Any, Any, bool]]


async def drift() -> list[Drift]:
    return [row async for row in ReconcileService.drift()]


def told(rows: list[Drift], sku: str) -> Found:
    """The differences with their ids and SKUs, which no test knows beforehand, under one name."""

    def plain(value: Any) -> Any:
        return re.sub("[0-9a-f]{24}", "<id>", value).replace(sku, "SKU") if isinstance(value, str) else value

    return [(row.collection, plain(row.field), plain(row.stored), plain(row.counted), row.is_derived) for row in rows]


class Story:
    """Four orders of one product for 20.00, of which 20 were in stock; nobody's money or pieces are unaccounted for.

    `paid`: two pieces at 10 % off. `back`: three pieces, delivered; one came back to the shelf and was paid back. `cancelled`:
    paid, cancelled and paid back. `waiting`: its payment is not decided yet.
    """

    async def build(self, settings: Settings) -> "Story":
        self.till = Till(settings)
        self.tee = await create_stocked(20, "20.00")
        self.tee_id = self.tee.id
        self.sku = self.tee.variants[0].sku
        await create_coupon(code="TENTH")
        self.paid = await self._buy(2)
        self.back = await self._buy(3)
        await self._deliver(self.back)
        await self._return_one(self.back)
        self.cancelled = await self._buy(1)
        await CancellationService.cancel_order(
            self.cancelled,
            access=OrderAccess(self.buyer.viewer),
            gateways=self.till.gateways,
            listener=OrderSettlement(settings),
            settings=settings,
        )
        self.waiting = await self._buy(1, payment_token=TOKEN_PENDING)
        return self

    async def _buy(self, quantity: int, **over: Any) -> PydanticObjectId:
        self.buyer: Shopper = await create_shopper((self.tee, quantity))
        if quantity == 2:
            await Cart.collection().update_many({}, {"$set": {"coupon_codes": ["TENTH"]}})
        done = await self.till.checkout(self.buyer, **over)
        return done.order.id

    async def _deliver(self, order_id: PydanticObjectId) -> None:
        moment = now() - timedelta(days=1)

        async def work(session: Any) -> Order:
            packed = await move_order(
                await stored_order(order_id), OrderStatus.PROCESSING, by=SYSTEM_MOVER, session=session, now=moment
            )
            sent = await send_parcel(packed, FulfilmentDraft(), by=SYSTEM_MOVER, session=session, now=moment)
            return await deliver_order(sent, by=SYSTEM_MOVER, session=session, now=moment)

        order = await run_transaction(work)
        review = await ReviewService.create_review(self.tee.id, make_text(), order_id=order.id, viewer=self.buyer.viewer)
        await ReviewService.approve(review.id, viewer=viewer_of(await create_user(role=Role.EDITOR)))

    async def _return_one(self, order_id: PydanticObjectId) -> None:
        settings, staff = self.till.settings, viewer_of(await create_user(role=Role.MANAGER))
        line = (await stored_order(order_id)).lines[0]
        part = ReturnPart(line_id=line.id, quantity=1, reason=ReturnReason.CHANGED_MIND)
        request = await ReturnService.request(order_id, [part], access=OrderAccess(self.buyer.viewer), settings=settings)
        await ReturnDeskService.approve(request.id, viewer=staff)
        arrived = ReceivedPart(line_id=line.id, quantity=1, disposition=Disposition.RESTOCK)
        await ReturnDeskService.receive(request.id, [arrived], viewer=staff)
        await ReturnRefundService.refund(
            request.id, viewer=staff, gateways=self.till.gateways, listener=OrderSettlement(settings), settings=settings
        )


@dataclass(frozen=True)
class Plant:
    """A stored row that is made wrong (None: that is lost), and the differences that shows."""

    document: type[AgoraDocument]
    key: str  # the field that finds the row among those of the order, or the order itself
    order: str
    update: Mapping[str, Any] | None
    found: Found

    async def row(self, story: Story) -> Row:
        id = getattr(story, self.order)
        keys = {"subject": f"order:{id}", "owner": f"order:{id}", "reference": f"order:{id}"}
        row = await self.document.find_row({self.key: keys.get(self.key, id)})
        assert row is not None
        return row


LOST = None
PLANTS: dict[str, Plant] = {
    "items": Plant(Order, "_id", "paid", {"items_count": 9}, [("orders", "items_count", 9, 2, MENDED)]),
    "line subtotal": Plant(
        Order,
        "_id",
        "paid",
        {"lines.0.subtotal.amount": 4100},
        [
            ("orders", "lines.0.subtotal.amount", 4100, 4000, LEFT),
            ("orders", "lines.0.total.amount", 3960, 4060, LEFT),
            ("orders", "totals.subtotal.amount", 4000, 4100, LEFT),
        ],
    ),
    "line total": Plant(Order, "_id", "paid", {"lines.0.total.amount": 1}, [("orders", "lines.0.total.amount", 1, 3960, LEFT)]),
    "totals total": Plant(
        Order,
        "_id",
        "paid",
        {"totals.total.amount": 5000},
        [
            ("orders", "totals.total.amount", 5000, 4960, LEFT),
            ("orders", "steps", 4960, 5000, LEFT),
            ("payments", "amount", "4960 USD", "5000 USD", LEFT),
        ],
    ),
    "step": Plant(Order, "_id", "paid", {"steps.0.amount.amount": 3999}, [("orders", "steps", 4959, 4960, LEFT)]),
    "payment lost": Plant(Payment, "subject", "paid", LOST, [("orders", "payment_id", "<id>", "no such payment", LEFT)]),
    "payment amount": Plant(
        Payment,
        "subject",
        "paid",
        {"amount.amount": 4000},
        [
            ("payments", "captured", 4960, 4000, LEFT),
            ("payments", "refundable", 4960, 4000, LEFT),
            ("payments", "amount", "4000 USD", "4960 USD", LEFT),
        ],
    ),
    "unpaid but confirmed": Plant(
        Order,
        "_id",
        "paid",
        {"payment_id": None},
        [
            ("orders", "payment_id", None, "the payment of an order that is confirmed", LEFT),
            ("orders", "payment_status", "completed", "pending", LEFT),
            ("orders", "is_owing, for payment <id>", "no", "4960", LEFT),
        ],
    ),
    "payment status": Plant(
        Order,
        "_id",
        "back",
        {"payment_status": "completed"},
        [("orders", "payment_status", "completed", "partially_refunded", LEFT)],
    ),
    "captured without a living order": Plant(
        Refund,
        "subject",
        "cancelled",
        LOST,
        [
            ("payments", "refunded", 3200, 0, LEFT),
            ("payments", "refundable", 0, 3200, LEFT),
            ("orders", "payment_status", "refunded", "completed", LEFT),
            ("orders", "refunded.amount", 3200, 0, LEFT),
            ("orders", "money by points", 0, 3200, LEFT),
        ],
    ),
    "refundable": Plant(Payment, "subject", "back", {"refundable": 7600}, [("payments", "refundable", 7600, 5400, LEFT)]),
    "refunded": Plant(
        Order,
        "_id",
        "back",
        {"refunded.amount": 2300},
        [("orders", "refunded.amount", 2300, 2200, MENDED), ("customers", "spent.amount by orders", 5400, 5300, LEFT)],
    ),
    "refund lost": Plant(
        Refund,
        "subject",
        "back",
        LOST,
        [
            ("payments", "refunded", 2200, 0, LEFT),
            ("payments", "refundable", 5400, 7600, LEFT),
            ("orders", "payment_status", "partially_refunded", "completed", LEFT),
            ("orders", "refunded.amount", 2200, 0, LEFT),
            ("orders", "money by points", 5400, 7600, LEFT),
            ("returns", "refund_id", "<id>", "no such refund", LEFT),
        ],
    ),
    "reservation released": Plant(
        Reservation,
        "owner",
        "paid",
        {"status": "released"},
        [("orders", "reservation", "released", "committed", LEFT), ("orders", "pieces sold: SKU", 2, 0, LEFT)],
    ),
    "reservation of waiting lost": Plant(
        Reservation,
        "owner",
        "waiting",
        LOST,
        [
            ("stock_levels", "reserved", 1, 0, MENDED),
            ("stock_levels", "available", 15, 16, MENDED),
            ("orders", "reservation", None, "held", LEFT),
        ],
    ),
    "cancelled holds": Plant(
        Reservation,
        "owner",
        "cancelled",
        {"status": "held"},
        [
            ("stock_levels", "reserved", 1, 2, MENDED),
            ("stock_levels", "available", 15, 14, MENDED),
            ("orders", "reservation", "held", "released", LEFT),
            ("orders", "pieces sold: SKU", 1, 0, LEFT),
            ("orders", "pieces put back on cancellation: SKU", 1, 0, LEFT),
        ],
    ),
    "sold twice": Plant(
        StockMovement,
        "reference",
        "paid",
        {"quantity": -4},
        [
            ("stock_levels", "on_hand", 16, 14, MENDED),
            ("stock_levels", "available", 15, 13, MENDED),
            ("orders", "pieces sold: SKU", 4, 2, LEFT),
        ],
    ),
    "not sold": Plant(
        StockMovement,
        "reference",
        "paid",
        LOST,
        [
            ("stock_levels", "on_hand", 16, 18, MENDED),
            ("stock_levels", "available", 15, 17, MENDED),
            ("stock_levels", "stock_value.amount", 1600, 1800, MENDED),
            ("orders", "pieces sold: SKU", 0, 2, LEFT),
        ],
    ),
    "returned_quantity": Plant(
        Order,
        "_id",
        "back",
        {"lines.0.returned_quantity": 2},
        [("orders", "lines.0.returned_quantity", 2, 1, MENDED), ("products", "sales_count", 4, 3, MENDED)],
    ),
    "returning_quantity": Plant(
        Order, "_id", "back", {"lines.0.returning_quantity": 0}, [("orders", "lines.0.returning_quantity", 0, 1, MENDED)]
    ),
    "fulfilled_quantity": Plant(
        Order, "_id", "paid", {"lines.0.fulfilled_quantity": 1}, [("orders", "lines.0.fulfilled_quantity", 1, 0, MENDED)]
    ),
    "return received": Plant(
        ReturnRequest,
        "order_id",
        "back",
        {"lines.0.received_quantity": 2},
        [
            ("orders", "pieces put back on return: SKU", 1, 2, LEFT),
            ("orders", "lines.0.returned_quantity", 1, 2, MENDED),
            ("orders", "lines.0.returning_quantity", 1, 2, MENDED),
        ],
    ),
    "return refund": Plant(
        ReturnRequest, "order_id", "back", {"refund.amount": 2000}, [("returns", "refund.amount", 2000, 2200, LEFT)]
    ),
    "redemption lost": Plant(
        CouponRedemption,
        "order_id",
        "paid",
        LOST,
        [("coupons", "usage_count", 1, 0, MENDED), ("orders", "coupon <id>", "not used", "400 taken off", LEFT)],
    ),
    "redemption amount": Plant(
        CouponRedemption,
        "order_id",
        "paid",
        {"discount.amount": 300},
        [("orders", "coupon <id>", "300 taken off", "400 taken off", LEFT)],
    ),
    "points": Plant(Order, "_id", "paid", {"points_earned": 50}, [("orders", "points_earned", 50, 49, MENDED)]),
    "entry lost": Plant(
        LoyaltyEntry,
        "order_id",
        "paid",
        LOST,
        [
            ("customers", "points_balance", 49, 0, MENDED),
            ("customers", "orders_count", 1, 0, MENDED),
            ("orders", "points_earned", 49, 0, LEFT),
            ("orders", "orders by points", 0, 1, LEFT),
            ("orders", "money by points", 0, 4960, LEFT),
            ("customers", "spent.amount", 4960, 0, MENDED),
        ],
    ),
    "counted": Plant(
        Order,
        "_id",
        "paid",
        {"is_counted": False},
        [
            ("orders", "is_counted", "False", "True", LEFT),
            ("orders", "orders by points", 1, 0, LEFT),
            ("products", "sales_count", 4, 2, MENDED),
        ],
    ),
    "history lost": Plant(
        OrderStatusHistory,
        "order_id",
        "paid",
        LOST,
        [("orders", "status", "confirmed", "None", LEFT), ("orders", "steps of the history", 1, 0, LEFT)],
    ),
    "status": Plant(Order, "_id", "paid", {"status": "processing"}, [("orders", "status", "processing", "confirmed", LEFT)]),
    "helpful": Plant(Review, "product_id", "tee_id", {"helpful_count": 3}, [("reviews", "helpful_count", 3, 0, MENDED)]),
    "sales": Plant(Product, "_id", "tee_id", {"sales_count": 99}, [("products", "sales_count", 99, 4, MENDED)]),
    "average": Plant(Product, "_id", "tee_id", {"rating_average": 45}, [("products", "rating_average", 45, 40, MENDED)]),
    "rating total": Plant(
        Product,
        "_id",
        "tee_id",
        {"rating_total": 9},
        [("products", "rating_total", 9, 4, MENDED), ("products", "rating_average", 40, 90, MENDED)],
    ),
    "reviews": Plant(
        Product,
        "_id",
        "tee_id",
        {"reviews_count": 2},
        [("products", "reviews_count", 2, 1, MENDED), ("products", "rating_average", 40, 20, MENDED)],
    ),
    "order lost": Plant(
        Order,
        "_id",
        "paid",
        LOST,
        [
            ("payments", "subject", "order:<id>", "no such order", LEFT),
            ("reservations", "owner", "order:<id>", "no such order", LEFT),
            ("stock_movements", "reference", "order:<id>", "no such order", LEFT),
            ("coupon_redemptions", "order_id", "<id>", "no such order", LEFT),
            ("loyalty_entries", "order_id", "<id>", "no such order", LEFT),
            ("order_status_history", "order_id", "<id>", "no such order", LEFT),
            ("order_status_history", "order_id", "<id>", "no such order", LEFT),
            ("products", "sales_count", 4, 2, MENDED),
            ("customers", "spent.amount by orders", 4960, 0, LEFT),
        ],
    ),
}


@asynccontextmanager
async def planted(plant: Plant, story: Story) -> AsyncIterator[None]:
    """The row wrong, or gone; afterwards it is again what it was."""
    row = await plant.row(story)
    collection = plant.document.collection()
    if plant.update is None:
        await collection.delete_one({"_id": row["_id"]})
    else:
        await collection.update_one({"_id": row["_id"]}, {"$set": dict(plant.update)})
    try:
        yield
    finally:
        await collection.delete_one({"_id": row["_id"]})
        await collection.insert_one(row)


@pytest.fixture
async def story(settings: Settings, database: Database) -> Story:
    return await Story().build(settings)


class TestDrift:
    async def test_orders_that_were_paid_returned_cancelled_or_wait_have_none(self, story: Story) -> None:
        assert await drift() == []

    async def test_each_difference_is_found_and_mended_or_left_to_a_person(self, story: Story) -> None:
        for name, plant in PLANTS.items():
            async with planted(plant, story):
                assert told(await drift(), story.sku) == plant.found, name
                async for row in ReconcileService.drift():
                    assert await ReconcileService.repair(row) == row.is_derived, name
                if all(found[4] is MENDED for found in plant.found):
                    assert await drift() == [], name
            if any(found[4] is MENDED for found in plant.found):
                async for row in ReconcileService.drift():  # what was mended by a wrong row is mended by the right one
                    await ReconcileService.repair(row)
        assert await drift() == []

    async def test_orders_beyond_one_batch_are_compared(self, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(order_checks, "BATCH", 1)
        await Order.collection().update_many({}, {"$inc": {"items_count": 1}})

        assert [row.id async for row in order_checks.order_drift()] == [story.paid, story.back, story.cancelled, story.waiting]

    async def test_order_that_moved_since_the_report_is_left_alone(self, story: Story) -> None:
        reported = Drift("orders", story.paid, "items_count", 9, 2)

        assert not await ReconcileService.repair(reported)
        assert await drift() == []


class TestReport:
    async def test_says_what_a_person_must_look_at_and_leaves_it(self, story: Story) -> None:
        await Payment.collection().update_one({"subject": f"order:{story.back}"}, {"$set": {"refundable": 7600}})
        await Order.collection().update_one({"_id": story.paid}, {"$set": {"items_count": 9}})
        out = io.StringIO()

        assert await report(Console(file=out, width=200), repair=False) == 1
        assert "a person" in out.getvalue()
        assert "REPAIR=1" in out.getvalue()
        assert await report(Console(file=out, width=200), repair=True) == 1

        assert "2 differences, 1 repaired, 1 left." in out.getvalue()
        assert "1 are for a person to look at" in out.getvalue()
        payment = await Payment.find_row({"subject": f"order:{story.back}"})
        assert payment is not None
        assert payment["refundable"] == 7600


class TestSalesPipeline:
    async def test_counts_what_left_of_refunded_orders_less_what_came_back(self, story: Story) -> None:
        assert await Order.aggregate_rows(sales_pipeline([story.tee_id])) == [{"_id": story.tee_id, "sold": 4}]
        await Order.collection().update_one({"_id": story.paid}, {"$set": {"status": "refunded"}})
        assert await Order.aggregate_rows(sales_pipeline([story.tee_id])) == [{"_id": story.tee_id, "sold": 2}]

    async def test_nothing_was_sold_of_a_product_that_no_order_names(self, story: Story) -> None:
        assert await Order.aggregate_rows(sales_pipeline([PydanticObjectId()])) == []
