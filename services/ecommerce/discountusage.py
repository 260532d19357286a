"""What discounts were used for: uses and money given, per coupon, batch or promotion, over a span of time."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from beanie import PydanticObjectId

from models.ecommerce.coupons import Coupon, CouponRedemption, DiscountUsage
from models.ecommerce.orders import Order, OrderStatus
from models.money import Money
from services.ecommerce.offers import check_span
from services.heavy import heavy_work
from services.users.permissions import Permission, Viewer

MAX_ROWS = 1_000


class UsageBy(StrEnum):
    COUPON = "coupon"
    BATCH = "batch"
    PROMOTION = "promotion"


class DiscountUsageService:
    @staticmethod
    async def list_discount_usage(by: UsageBy, *, since: datetime, until: datetime, viewer: Viewer) -> list[DiscountUsage]:
        """A row per coupon, batch or promotion and currency, the most used first; the first 1,000. `until` is excluded.

        Coupons are counted by their redemptions, promotions by the orders placed in the span. An order that was cancelled gave
        nothing away and is in neither. Raises PermissionDeniedError, InvalidSpanError, OverloadedError.
        """
        viewer.require(Permission.MANAGE_PROMOTIONS)
        check_span(since, until)
        async with heavy_work():
            if by is UsageBy.PROMOTION:
                rows = await Order.aggregate_rows(promotion_usage_pipeline(since, until))
            else:
                rows = await CouponRedemption.aggregate_rows(coupon_usage_pipeline(since, until, by))
        return [_usage(row) for row in rows]


def coupon_usage_pipeline(since: datetime, until: datetime, by: UsageBy) -> list[dict[str, Any]]:
    """Rows `{"_id": {"key": "SAVE10", "id": ..., "currency": "USD"}, "uses": 3, "amount": 1250}`."""
    used: list[dict[str, Any]] = [
        {"$match": {"created_at": {"$gte": since, "$lt": until}}},
        {
            "$group": {
                "_id": {"coupon_id": "$coupon_id", "currency": "$discount.currency"},
                "uses": {"$sum": 1},
                "amount": {"$sum": "$discount.amount"},
            }
        },
        {
            "$lookup": {
                "from": Coupon.get_collection_name(),
                "localField": "_id.coupon_id",
                "foreignField": "_id",
                "as": "coupon",
            }
        },
        {"$unwind": "$coupon"},
    ]
    if by is UsageBy.BATCH:
        used.append({"$match": {"coupon.batch": {"$ne": None}}})
        group: dict[str, Any] = {"key": "$coupon.batch", "currency": "$_id.currency"}
    else:
        group = {"key": "$coupon.code", "id": "$_id.coupon_id", "currency": "$_id.currency"}
    return [*used, {"$group": {"_id": group, "uses": {"$sum": "$uses"}, "amount": {"$sum": "$amount"}}}, *_most_used()]


def promotion_usage_pipeline(since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Rows `{"_id": {"id": ..., "currency": "USD"}, "key": "Summer sale", "uses": 3, "amount": 1250}`; the name is the latest."""
    group = {"id": "$discounts.promotion_id", "currency": "$discounts.amount.currency"}
    return [
        {"$match": {"placed_at": {"$gte": since, "$lt": until}}},
        {"$sort": {"placed_at": 1}},
        {"$match": {"status": {"$ne": OrderStatus.CANCELLED}}},
        {"$project": {"discounts": 1}},
        {"$unwind": "$discounts"},
        {"$match": {"discounts.promotion_id": {"$ne": None}}},
        {
            "$group": {
                "_id": group,
                "key": {"$last": "$discounts.label"},
                "uses": {"$sum": 1},
                "amount": {"$sum": "$discounts.amount.amount"},
            }
        },
        *_most_used(),
    ]


def _most_used() -> list[dict[str, Any]]:
    return [{"$sort": {"uses": -1, "amount": -1, "_id": 1}}, {"$limit": MAX_ROWS}]


def _usage(row: dict[str, Any]) -> DiscountUsage:
    group = row["_id"]
    key: PydanticObjectId | None = group.get("id")
    money = Money(amount=row["amount"], currency=group["currency"])
    return DiscountUsage(key=group.get("key") or row.get("key") or str(key), id=key, uses=row["uses"], discount=money)
