"""How the stock moves: turnover, cover, and what does not move at all. From the ledger of movements and the present levels.

What was on hand at a moment of the past is what is there now, less what moved since: so a report reads the movements from the
beginning of its period on, however old the ledger is.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from beanie import PydanticObjectId

from models.analytics.stock import DeadStockItem, DeadStockReport, StockCover, TurnoverReport
from models.base import now as present
from models.database import Session, run_transaction
from models.inventory.stock import MovementKind, StockLevel, StockMovement
from models.money import Money, half_up
from services.analytics.buckets import whole_minute
from services.analytics.figures import window_of
from services.analytics.scopes import ReportScope
from services.errors import RuleViolatedError
from services.heavy import heavy_work
from services.pagination import CursorCodec, CursorPage, PageRequest
from services.users.permissions import Permission, Viewer

Row = dict[str, Any]

SOLD_KINDS = [MovementKind.SALE, MovementKind.RETURN, MovementKind.CANCELLATION]
MAX_DEAD_DAYS = 1830
MAX_DEAD_ITEMS = 100


class InvalidDeadStockError(RuleViolatedError):
    """A span of no days or of too many, or a list of no items or of too many."""

    code = "invalid_dead_stock"

    def __init__(self) -> None:
        super().__init__(f"Dead stock is told over 1 to {MAX_DEAD_DAYS} days, of 1 to {MAX_DEAD_ITEMS} items.")


class InventoryReportService:
    @staticmethod
    async def get_turnover(scope: ReportScope, *, viewer: Viewer) -> TurnoverReport:
        """How often the stock of locations in the report's currency was sold over; all zero when nothing moved.

        By when movements occurred, those entered late included. What is in transit between locations is in no stock. Two
        commands, of one snapshot. Raises PermissionDeniedError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        currency = scope.currency
        starts_at, ends_at = scope.period.bounds

        async def look(session: Session) -> tuple[list[Row], list[Row]]:
            moved = await StockMovement.aggregate_rows(moved_pipeline(currency, starts_at, ends_at), session=session)
            return moved, await StockLevel.aggregate_rows(value_pipeline(currency), session=session)

        async with heavy_work():
            moved, levels = await run_transaction(look)
        sums = {row["_id"]: row for row in moved}
        within, after = sums.get(True, {}), sums.get(False, {})
        value_now = int(levels[0]["value"]) if levels else 0
        at_end = value_now - int(after.get("value", 0))
        at_start = at_end - int(within.get("value", 0))
        cost = -int(within.get("sold_cost", 0))
        both = at_start + at_end
        return TurnoverReport(
            window=window_of(scope.period),
            currency=currency,
            units_sold=-int(within.get("sold", 0)),
            cost_of_goods_sold=Money(amount=cost, currency=currency),
            value_at_start=Money(amount=at_start, currency=currency),
            value_at_end=Money(amount=at_end, currency=currency),
            average_value=Money(amount=half_up(both, 2), currency=currency),
            turnover=half_up(200 * cost, both) if both > 0 else None,
            value_now=Money(amount=value_now, currency=currency),
        )

    @staticmethod
    async def list_cover(
        scope: ReportScope, *, viewer: Viewer, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[StockCover]:
        """How long the stock of each variant lasts at the period's pace, variant by variant in the order of their ids.

        Two commands. Raises PermissionDeniedError, InvalidCursorError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        PageRequest(limit=limit)
        listing = f"cover:{scope.currency}"
        after = PydanticObjectId(cursors.decode(listing, cursor)[0]) if cursor else None
        async with heavy_work():
            rows = await read_cover(scope, after=after, limit=limit + 1)
        shown = rows[:limit]
        return CursorPage[StockCover](
            items=shown,
            next_cursor=cursors.encode(listing, shown[-1].variant_id) if len(rows) > limit else None,
        )

    @staticmethod
    async def get_dead_stock(
        currency: str, *, viewer: Viewer, days: int = 90, limit: int = 20, now: datetime | None = None
    ) -> DeadStockReport:
        """What lies there and was not sold within the last `days` times 24 hours; a sale that was cancelled is one, too.

        Two commands. Raises PermissionDeniedError, InvalidDeadStockError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        if not (1 <= days <= MAX_DEAD_DAYS and 1 <= limit <= MAX_DEAD_ITEMS):
            raise InvalidDeadStockError
        since = whole_minute(now or present()) - timedelta(days=days)
        async with heavy_work():
            rows = await read_dead_stock(currency, since)
        return DeadStockReport(
            since=since,
            currency=currency,
            variants_count=len(rows),
            on_hand=sum(row.on_hand for row in rows),
            value=Money(amount=sum(row.value.amount for row in rows), currency=currency),
            items=rows[:limit],
        )


async def read_cover(scope: ReportScope, *, after: PydanticObjectId | None, limit: int) -> list[StockCover]:
    """The cover of the next variants after one, in the order of their ids. Two commands; whoever calls is behind the gate."""
    levels = await StockLevel.aggregate_rows(variants_pipeline(scope.currency, after, limit))
    pipeline = sold_pipeline([row["_id"] for row in levels], scope.currency, *scope.period.bounds)
    rows = await StockMovement.aggregate_rows(pipeline) if levels else []
    sold = {row["_id"]: -int(row["sold"]) for row in rows}
    days = (scope.period.end - scope.period.start).days
    return [_cover(row, sold.get(row["_id"], 0), days) for row in levels]


async def read_dead_stock(currency: str, since: datetime) -> list[DeadStockItem]:
    """What is on hand and was not sold since, worth most first. Two commands; whoever calls is behind the gate."""
    sold = [row["_id"] for row in await StockMovement.aggregate_rows(sellers_pipeline(since))]
    return [
        DeadStockItem(
            product_id=row["product_id"],
            variant_id=row["_id"],
            sku=row["sku"],
            on_hand=row["on_hand"],
            value=Money(amount=row["value"], currency=currency),
        )
        for row in await StockLevel.aggregate_rows(dead_pipeline(currency, sold))
    ]


def moved_pipeline(currency: str, starts_at: datetime, ends_at: datetime) -> list[Row]:
    """At most two rows, `{"_id": True, "value": -300, "sold": -3, "sold_cost": -300}`: what moved within, and (False) after."""
    is_sold = {"$in": ["$kind", SOLD_KINDS]}
    return [
        {"$match": {"occurred_at": {"$gte": starts_at}}},
        {"$match": {"value.currency": currency}},
        {
            "$group": {
                "_id": {"$lt": ["$occurred_at", ends_at]},
                "value": {"$sum": "$value.amount"},
                "sold": {"$sum": {"$cond": [is_sold, "$quantity", 0]}},
                "sold_cost": {"$sum": {"$cond": [is_sold, "$cost.amount", 0]}},
            }
        },
    ]


def value_pipeline(currency: str) -> list[Row]:
    """One row, `{"value": 1200}`, or none where there are no levels."""
    return [
        {"$match": {"stock_value.currency": currency}},
        {"$group": {"_id": None, "value": {"$sum": "$stock_value.amount"}}},
        {"$project": {"_id": 0}},
    ]


def variants_pipeline(currency: str, after: PydanticObjectId | None, limit: int) -> list[Row]:
    """Rows `{"_id": <variant>, "product_id": ..., "sku": "TEE-RED-L", "available": 40}` in the order of the variants."""
    return [
        *([] if after is None else [{"$match": {"variant_id": {"$gt": after}}}]),
        {"$match": {"stock_value.currency": currency}},
        {
            "$group": {
                "_id": "$variant_id",
                "product_id": {"$min": "$product_id"},
                "sku": {"$min": "$sku"},
                "available": {"$sum": "$available"},
            }
        },
        {"$sort": {"_id": 1}},
        {"$limit": limit},
    ]


def sold_pipeline(variant_ids: Sequence[PydanticObjectId], currency: str, starts_at: datetime, ends_at: datetime) -> list[Row]:
    """Rows `{"_id": <variant>, "sold": -7}`; none for what was not sold."""
    return [
        {"$match": {"variant_id": {"$in": sorted(variant_ids)}}},
        {"$match": {"occurred_at": {"$gte": starts_at, "$lt": ends_at}}},
        {"$match": {"kind": {"$in": SOLD_KINDS}, "value.currency": currency}},
        {"$group": {"_id": "$variant_id", "sold": {"$sum": "$quantity"}}},
    ]


def sellers_pipeline(since: datetime) -> list[Row]:
    """Rows `{"_id": <variant>}`: those of which a piece was sold since."""
    return [
        {"$match": {"occurred_at": {"$gte": since}}},
        {"$match": {"kind": MovementKind.SALE}},
        {"$group": {"_id": "$variant_id"}},
    ]


def dead_pipeline(currency: str, sold: Sequence[PydanticObjectId]) -> list[Row]:
    """Rows `{"_id": <variant>, "product_id": ..., "sku": ..., "on_hand": 3, "value": 300}`, those worth most first."""
    return [
        {"$match": {"stock_value.currency": currency}},
        {
            "$group": {
                "_id": "$variant_id",
                "product_id": {"$min": "$product_id"},
                "sku": {"$min": "$sku"},
                "on_hand": {"$sum": "$on_hand"},
                "value": {"$sum": "$stock_value.amount"},
            }
        },
        {"$match": {"on_hand": {"$gt": 0}, "_id": {"$nin": list(sold)}}},
        {"$sort": {"value": -1, "_id": 1}},
    ]


def _cover(row: Row, sold: int, days: int) -> StockCover:
    available = int(row["available"])
    return StockCover(
        product_id=row["product_id"],
        variant_id=row["_id"],
        sku=row["sku"],
        available=available,
        units_sold=sold,
        days_of_cover=max(0, available) * days // sold if sold > 0 else None,
    )
