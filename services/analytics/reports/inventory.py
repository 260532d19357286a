"""How the stock moves: turnover, cover, and what does not move at all. From the ledger of movements and the present levels.

What was on hand at a moment of the past is what is there now, less what moved since. What moved is read from the sums that
`ledger` keeps and, beyond its mark, from the last movements themselves: so the cost grows with days and variants, not with sales.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from beanie import PydanticObjectId

from models.analytics.stock import DeadStockItem, DeadStockReport, StockCover, TurnoverReport
from models.base import now as present
from models.database import Session, run_transaction
from models.inventory.stock import StockLevel
from models.money import Money, half_up
from services.analytics.reports.buckets import whole_minute
from services.analytics.reports.figures import window_of
from services.analytics.reports.names import with_names
from services.analytics.scopes import ReportScope
from services.analytics.stock.movements import Sums, read_moved, read_sellers, read_sold
from services.errors import RuleViolatedError
from services.heavy import heavy_work
from services.pagination import CursorCodec, CursorPage, PageRequest
from services.users.permissions import Permission, Viewer

Row = dict[str, Any]

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

        By when movements occurred, those entered late included. What is in transit between locations is in no stock. Four
        commands, five where days of UTC are cut, of one snapshot. Raises PermissionDeniedError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        currency = scope.currency
        starts_at, ends_at = scope.period.bounds

        async def look(session: Session) -> tuple[Sums, Sums, list[Row]]:
            moved = await read_moved(currency, starts_at, ends_at, session=session)
            return *moved, await StockLevel.aggregate_rows(value_pipeline(currency), session=session)

        async with heavy_work():
            within, after, levels = await run_transaction(look)
        value_now = int(levels[0]["value"]) if levels else 0
        at_end = value_now - after.get("value", 0)
        at_start = at_end - within.get("value", 0)
        cost = -within.get("sold_cost", 0)
        both = at_start + at_end
        return TurnoverReport(
            window=window_of(scope.period),
            currency=currency,
            units_sold=-within.get("sold", 0),
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

        Five commands. Raises PermissionDeniedError, InvalidCursorError and OverloadedError.
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

        Five commands. Raises PermissionDeniedError, InvalidDeadStockError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        if not (1 <= days <= MAX_DEAD_DAYS and 1 <= limit <= MAX_DEAD_ITEMS):
            raise InvalidDeadStockError
        since = whole_minute(now or present()) - timedelta(days=days)
        async with heavy_work():
            rows = await read_dead_stock(currency, since)
            items = await dead_items(rows[:limit], currency)
        return DeadStockReport(
            since=since,
            currency=currency,
            variants_count=len(rows),
            on_hand=sum(row["on_hand"] for row in rows),
            value=Money(amount=sum(row["value"] for row in rows), currency=currency),
            items=items,
        )


async def read_cover(scope: ReportScope, *, after: PydanticObjectId | None, limit: int) -> list[StockCover]:
    """The cover of the next variants after one, in the order of their ids. Five commands; whoever calls is behind the gate."""
    levels = await StockLevel.aggregate_rows(variants_pipeline(scope.currency, after, limit))
    sold = await read_sold([row["_id"] for row in levels], scope.currency, *scope.period.bounds) if levels else {}
    days = (scope.period.end - scope.period.start).days
    return [_cover(row, -sold.get(row["_id"], 0), days) for row in await with_names(levels)]


async def read_dead_stock(currency: str, since: datetime) -> list[Row]:
    """Rows of `dead_pipeline`: what was not sold since. Four commands; whoever calls is behind the gate."""
    return await StockLevel.aggregate_rows(dead_pipeline(currency, sorted(await read_sellers(since))))


async def dead_items(rows: Sequence[Row], currency: str) -> list[DeadStockItem]:
    """These rows with their names. One command."""
    named = await with_names(rows)
    return [DeadStockItem.model_validate({**row, "value": Money(amount=row["value"], currency=currency)}) for row in named]


def value_pipeline(currency: str) -> list[Row]:
    """One row, `{"value": 1200}`, or none where there are no levels."""
    return [
        {"$match": {"stock_value.currency": currency}},
        {"$group": {"_id": None, "value": {"$sum": "$stock_value.amount"}}},
        {"$project": {"_id": 0}},
    ]


def by_variant(**sums: str) -> Row:
    """The stage that makes of levels one row for each variant, `{"_id": <variant>, "product_id": ..., "sku": ...}`, with sums."""
    summed = {name: {"$sum": value} for name, value in sums.items()}
    return {"$group": {"_id": "$variant_id", "product_id": {"$min": "$product_id"}, "sku": {"$min": "$sku"}, **summed}}


def variants_pipeline(currency: str, after: PydanticObjectId | None, limit: int) -> list[Row]:
    """Rows `{"_id": <variant>, "product_id": ..., "sku": "TEE-RED-L", "available": 40}` in the order of the variants."""
    return [
        *([] if after is None else [{"$match": {"variant_id": {"$gt": after}}}]),
        {"$match": {"stock_value.currency": currency}},
        by_variant(available="$available"),
        {"$sort": {"_id": 1}},
        {"$limit": limit},
    ]


def dead_pipeline(currency: str, sold: Sequence[PydanticObjectId]) -> list[Row]:
    """Rows `{"_id": <variant>, "product_id": ..., "sku": ..., "on_hand": 3, "value": 300}`, those worth most first."""
    return [
        {"$match": {"stock_value.currency": currency}},
        by_variant(on_hand="$on_hand", value="$stock_value.amount"),
        {"$match": {"on_hand": {"$gt": 0}, "_id": {"$nin": list(sold)}}},
        {"$sort": {"value": -1, "_id": 1}},
    ]


def _cover(row: Row, sold: int, days: int) -> StockCover:
    days_left = max(0, int(row["available"])) * days // sold if sold > 0 else None
    return StockCover.model_validate({**row, "units_sold": sold, "days_of_cover": days_left})
