"""Uses of coupons under every interleaving: never more than allowed, given back with orders that fail, counted exactly."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import pytest
from beanie import PydanticObjectId

from models.database import Database, Session, run_transaction
from models.ecommerce.coupons import Coupon, CouponReason, CouponRedemption
from models.ecommerce.pricing import AppliedDiscount
from services.ecommerce.couponreasons import COUPON_ERRORS, CouponNotUsableError
from services.ecommerce.coupons import CouponService
from services.ecommerce.redemptions import free_slot
from services.reconcile import ReconcileService
from tests.commands import CommandLog
from tests.factories.pricing import create_coupon, usd
from tests.races import seeds
from tests.shapes import serving_index

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def applied(*coupons: Coupon) -> list[AppliedDiscount]:
    return [
        AppliedDiscount(rule=f"coupon:{coupon.code}", coupon_id=coupon.id, label=coupon.code, amount=usd("1.00"))
        for coupon in coupons
    ]


async def redeem(*coupons: Coupon, customer: str = "customer:1", order_id: PydanticObjectId | None = None) -> PydanticObjectId:
    """One order with these coupons, in a transaction of its own; the order's id."""
    order_id = order_id or PydanticObjectId()

    async def place(session: Session) -> None:
        await CouponService.redeem(order_id, applied(*coupons), customer_key=customer, session=session, now=NOW)

    await run_transaction(place)
    return order_id


async def release(order_id: PydanticObjectId) -> int:
    async def cancel(session: Session) -> int:
        return await CouponService.release(order_id, session=session)

    return await run_transaction(cancel)


async def reason_of(attempt: Awaitable[PydanticObjectId]) -> CouponReason:
    with pytest.raises(CouponNotUsableError) as caught:
        await attempt
    return caught.value.reason


async def uses(coupon: Coupon) -> tuple[int, list[tuple[str, int]]]:
    """The stored counter, and every redemption's customer and slot."""
    row = await Coupon.find_row({"_id": coupon.id})
    rows = await CouponRedemption.find_rows({"coupon_id": coupon.id}, sort=[("customer_key", 1), ("slot", 1)])
    assert row is not None
    return row["usage_count"], [(found["customer_key"], found["slot"]) for found in rows]


async def outcomes(attempts: list[asyncio.Task[PydanticObjectId]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for result in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(result, CouponNotUsableError):
            found[result.reason] += 1
        elif isinstance(result, BaseException):
            raise result
        else:
            found["used"] += 1
    return found


class TestRedeem:
    async def test_a_use_is_noted_with_its_order_customer_and_discount(self) -> None:
        coupon = await create_coupon(usage_limit=2)
        order_id = await redeem(coupon)
        row = await CouponRedemption.find_row({"order_id": order_id})
        assert row is not None
        assert {key: row[key] for key in ("coupon_id", "customer_key", "slot", "discount", "created_at")} == {
            "coupon_id": coupon.id,
            "customer_key": "customer:1",
            "slot": 1,
            "discount": {"amount": 100, "currency": "USD"},
            "created_at": NOW,
        }
        assert await uses(coupon) == (1, [("customer:1", 1)])

    async def test_s15_the_limit_holds_and_is_named(self) -> None:
        coupon = await create_coupon(usage_limit=1)
        await redeem(coupon)
        assert await reason_of(redeem(coupon, customer="customer:2")) is CouponReason.USED_UP
        assert await uses(coupon) == (1, [("customer:1", 1)])

    async def test_s15_trap_the_limit_per_customer_holds_and_is_named(self) -> None:
        """COM-S15 TRAP: it was never checked."""
        coupon = await create_coupon(usage_limit_per_customer=2)
        for _ in range(2):
            await redeem(coupon)
        assert await reason_of(redeem(coupon)) is CouponReason.USED_BY_CUSTOMER
        await redeem(coupon, customer="customer:2")
        assert await uses(coupon) == (3, [("customer:1", 1), ("customer:1", 2), ("customer:2", 1)])

    async def test_without_limits_anybody_uses_it_again_and_again(self) -> None:
        coupon = await create_coupon()
        for _ in range(3):
            await redeem(coupon)
        assert await uses(coupon) == (3, [("customer:1", 1), ("customer:1", 2), ("customer:1", 3)])

    @pytest.mark.parametrize(
        ("over", "reason"),
        [
            ({"is_active": False}, CouponReason.INACTIVE),
            ({"expires_at": NOW}, CouponReason.EXPIRED),
            ({"starts_at": NOW + timedelta(milliseconds=1)}, CouponReason.NOT_STARTED),
        ],
    )
    async def test_what_changed_since_the_quote_is_refused_and_nothing_is_used(
        self, over: dict[str, object], reason: CouponReason
    ) -> None:
        good, bad = await create_coupon(), await create_coupon(**over)
        assert await reason_of(redeem(good, bad)) is reason
        assert (await uses(good), await uses(bad)) == ((0, []), (0, []))

    async def test_a_coupon_that_is_gone_is_unknown(self) -> None:
        coupon = await create_coupon()
        await Coupon.collection().delete_one({"_id": coupon.id})
        assert await reason_of(redeem(coupon)) is CouponReason.UNKNOWN

    async def test_the_same_order_uses_it_once(self) -> None:
        coupon = await create_coupon()
        order_id = await redeem(coupon)
        await redeem(coupon, order_id=order_id)
        assert await uses(coupon) == (1, [("customer:1", 1)])

    async def test_promotions_among_the_discounts_are_no_uses(self, commands: CommandLog) -> None:
        promotion = AppliedDiscount(rule="promotion:1", promotion_id=PydanticObjectId(), label="Sale", amount=usd("1.00"))
        with commands.counting() as sent:
            count = await CouponService.redeem(PydanticObjectId(), [promotion], customer_key="customer:1", session=None, now=NOW)
        assert (count, len(sent)) == (0, 0)

    async def test_three_commands_for_a_coupon_served_by_indexes(self, commands: CommandLog) -> None:
        coupon = await create_coupon(usage_limit=2)
        order_id = PydanticObjectId()
        with commands.counting() as sent:
            await CouponService.redeem(order_id, applied(coupon), customer_key="customer:1", session=None, now=NOW)
        assert sent.sent == ["find coupon_redemptions", "findAndModify coupons", "insert coupon_redemptions"]
        with commands.counting() as released:
            await CouponService.release(order_id, session=None)
        indexes = [serving_index(read) for read in (*sent.reads, *released.reads)]
        assert indexes == ["coupon_customer_slot_unique", "order_coupon_unique"]


class TestRelease:
    async def test_s15_a_failed_order_gives_its_uses_back(self) -> None:
        """COM-S15: released on cancel; the slot and the use are there for the next order."""
        coupon, other = await create_coupon(usage_limit=1, usage_limit_per_customer=1), await create_coupon()
        order_id = await redeem(coupon, other)
        assert await release(order_id) == 2
        assert (await uses(coupon), await uses(other)) == ((0, []), (0, []))
        await redeem(coupon)
        assert await uses(coupon) == (1, [("customer:1", 1)])

    async def test_twice_gives_back_once(self) -> None:
        coupon = await create_coupon()
        order_id, _ = await redeem(coupon), await redeem(coupon)
        assert [await release(order_id), await release(order_id)] == [1, 0]
        assert await uses(coupon) == (1, [("customer:1", 2)])

    async def test_a_released_slot_is_taken_again(self) -> None:
        coupon = await create_coupon(usage_limit_per_customer=2)
        first, _ = await redeem(coupon), await redeem(coupon)
        await release(first)
        await redeem(coupon)
        assert await uses(coupon) == (2, [("customer:1", 1), ("customer:1", 2)])
        assert await reason_of(redeem(coupon)) is CouponReason.USED_BY_CUSTOMER

    async def test_an_order_without_coupons_gives_nothing_back(self) -> None:
        assert await release(PydanticObjectId()) == 0


class TestRaces:
    @pytest.mark.parametrize("seed", seeds())
    async def test_r3_forty_buyers_five_uses(self, seed: int) -> None:
        """R3, COM-S15 TRAP (global races): exactly five are discounted, and the counter says so."""
        coupon = await create_coupon(usage_limit=5, usage_limit_per_customer=1)
        dice = random.Random(seed)

        async def buyer(number: int) -> PydanticObjectId:
            await asyncio.sleep(dice.random() / 50)
            return await redeem(coupon, customer=f"customer:{number:02}")

        assert await outcomes([asyncio.create_task(buyer(number)) for number in range(40)]) == {"used": 5, "used_up": 35}
        count, rows = await uses(coupon)
        assert (count, len(rows), {slot for _, slot in rows}) == (5, 5, {1})

    @pytest.mark.parametrize("seed", seeds())
    async def test_r3_ten_checkouts_of_one_customer_one_use(self, seed: int) -> None:
        coupon = await create_coupon(usage_limit=100, usage_limit_per_customer=1)
        attempts = [asyncio.create_task(redeem(coupon)) for _ in range(10)]
        assert await outcomes(attempts) == {"used": 1, "used_by_customer": 9}
        assert await uses(coupon) == (1, [("customer:1", 1)])

    @pytest.mark.parametrize("seed", seeds())
    async def test_r3_orders_that_fail_give_back_while_others_redeem(self, seed: int) -> None:
        """Whatever the order of things: never above the limit, and at the end the counter is the number of rows."""
        coupon, other = await create_coupon(usage_limit=3, usage_limit_per_customer=2), await create_coupon()
        dice = random.Random(seed)

        async def buyer(number: int) -> None:
            both = [coupon, other] if dice.random() < 0.5 else [other, coupon]
            try:
                order_id = await redeem(*both, customer=f"customer:{number % 6}")
            except CouponNotUsableError:
                return
            if dice.random() < 0.5:
                await asyncio.gather(release(order_id), release(order_id))

        await asyncio.gather(*(buyer(number) for number in range(24)))
        for limit, found in ((3, await uses(coupon)), (24, await uses(other))):
            count, rows = found
            assert count == len(rows) == len(set(rows)) <= limit
        assert max(Counter(customer for customer, _ in (await uses(coupon))[1]).values(), default=0) <= 2
        assert [row async for row in ReconcileService.drift() if row.collection == "coupons"] == []


async def test_usage_count_is_reconciled(database: Database) -> None:
    coupon = await create_coupon()
    await redeem(coupon)
    await Coupon.collection().update_one({"_id": coupon.id}, {"$set": {"usage_count": 7}})
    (drift,) = [row async for row in ReconcileService.drift() if row.collection == "coupons"]
    assert (drift.collection, drift.field, drift.stored, drift.counted) == ("coupons", "usage_count", 7, 1)
    assert await ReconcileService.repair(drift)
    assert await uses(coupon) == (1, [("customer:1", 1)])


def test_free_slots_are_the_lowest() -> None:
    assert [free_slot(taken) for taken in ([], [1], [2], [1, 3], [3, 1, 2])] == [1, 2, 1, 2, 4]


def test_every_reason_has_its_error() -> None:
    assert set(COUPON_ERRORS) == set(CouponReason)
    assert {reason: error.code for reason, error in COUPON_ERRORS.items()} == {
        reason: f"coupon_{reason}" for reason in CouponReason
    }
