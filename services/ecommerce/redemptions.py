"""Uses of coupons: taken with the order that uses them, given back with the order that fails, never more than allowed."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from beanie import PydanticObjectId

from models.base import now as present
from models.database import Session
from models.ecommerce.coupons import Coupon, CouponReason, CouponRedemption
from models.ecommerce.pricing import AppliedDiscount
from services.ecommerce.couponreasons import error_of, problem_of

# Below its limit, whatever the limit is by now.
_HAS_USES_LEFT = {"$or": [{"usage_limit": None}, {"$expr": {"$lt": ["$usage_count", "$usage_limit"]}}]}


class RedemptionService:
    @staticmethod
    async def redeem(
        order_id: PydanticObjectId,
        discounts: Iterable[AppliedDiscount],
        *,
        customer_key: str,
        session: Session,
        now: datetime | None = None,
    ) -> int:
        """Note the use of every coupon among the discounts, in the transaction that places the order; returns how many.

        Three commands for a coupon. All are used or, as the error ends the transaction, none; a coupon the order used already is
        passed over. Raises a CouponNotUsableError when staff, time or other orders were faster.

        Two orders cannot both take the last use: each moves the coupon's own counter, under the limit that stands beside it, and
        of two transactions that change one document the later starts again and sees the first. With that, a customer's uses are
        counted exactly too; the unique index of their slots would refuse what slipped through.
        """
        used = [discount for discount in discounts if discount.coupon_id is not None]
        count = 0
        for discount in sorted(used, key=lambda discount: str(discount.coupon_id)):
            count += await _redeem(order_id, discount, customer_key=customer_key, session=session, now=now or present())
        return count

    @staticmethod
    async def release(order_id: PydanticObjectId, *, session: Session) -> int:
        """Give back the uses of an order that came to nothing; returns how many. Harmless to repeat."""
        rows = await CouponRedemption.find_rows(
            {"order_id": order_id}, {"coupon_id": 1}, sort=[("coupon_id", 1)], session=session
        )
        released = 0
        for row in rows:
            result = await CouponRedemption.collection().delete_one({"_id": row["_id"]}, session=session)
            if result.deleted_count:
                await Coupon.increment(row["coupon_id"], "usage_count", -1, session=session)
                released += 1
        return released

    @staticmethod
    async def count_uses(
        coupon_ids: Collection[PydanticObjectId], *, customer_key: str, session: Session | None = None
    ) -> dict[PydanticObjectId, int]:
        """How often the customer used each of these coupons; those they never used are absent. One command."""
        query = {"coupon_id": {"$in": list(coupon_ids)}, "customer_key": customer_key}
        counts: dict[PydanticObjectId, int] = {}
        for row in await CouponRedemption.find_rows(query, {"coupon_id": 1}, session=session):
            counts[row["coupon_id"]] = counts.get(row["coupon_id"], 0) + 1
        return counts


async def _redeem(
    order_id: PydanticObjectId, discount: AppliedDiscount, *, customer_key: str, session: Session, now: datetime
) -> int:
    """1, or 0 when the order used the coupon already."""
    assert discount.coupon_id is not None
    mine = {"coupon_id": discount.coupon_id, "customer_key": customer_key}
    uses = await CouponRedemption.find_rows(mine, {"slot": 1, "order_id": 1}, session=session)
    if any(use["order_id"] == order_id for use in uses):
        return 0
    query = {"_id": discount.coupon_id, "is_active": True, **_HAS_USES_LEFT}
    coupon = await Coupon.change(query, {"$inc": {"usage_count": 1}}, session=session)
    if coupon is None:
        raise error_of(problem_of(discount.rule.partition(":")[2], await _why_not(discount.coupon_id, session)))
    if coupon.usage_limit_per_customer is not None and len(uses) >= coupon.usage_limit_per_customer:
        raise error_of(problem_of(coupon.code, CouponReason.USED_BY_CUSTOMER))
    # Its counter includes this use already, so only the rest is asked about.
    reason = coupon.model_copy(update={"usage_limit": None}).why_invalid(now)
    if reason is not None:
        raise error_of(problem_of(coupon.code, reason))
    redemption = CouponRedemption(
        coupon_id=coupon.id,
        order_id=order_id,
        customer_key=customer_key,
        slot=free_slot([use["slot"] for use in uses]),
        discount=discount.amount,
        created_at=now,
    )
    await redemption.store(session=session)
    return 1


def free_slot(taken: Sequence[int]) -> int:
    """The lowest number from 1 that is not taken: one that was given back is used again."""
    return next(slot for slot in range(1, len(taken) + 2) if slot not in taken)


async def _why_not(coupon_id: PydanticObjectId, session: Session) -> CouponReason:
    row = await Coupon.find_row({"_id": coupon_id}, {"is_active": 1}, session=session)
    if row is None:
        return CouponReason.UNKNOWN
    return CouponReason.USED_UP if row["is_active"] else CouponReason.INACTIVE
