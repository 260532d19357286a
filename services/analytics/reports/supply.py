"""What runs out: the things that sell by how long they last, and what is low already."""

from typing import Any

from models.analytics.stock import StockCover, StockedVariant
from models.analytics.supply import CoverReport, LowStockItem, LowStockReport
from models.inventory.stock import StockLevel
from services.analytics.reports.figures import window_of
from services.analytics.reports.inventory import by_variant
from services.analytics.reports.names import with_names
from services.analytics.scopes import ReportScope
from services.analytics.stock.movements import read_sellers, read_sold
from services.heavy import heavy_work
from services.inventory.locations import known_locations
from services.users.permissions import Permission, Viewer

Row = dict[str, Any]


class SupplyReportService:
    @staticmethod
    async def list_shortest_cover(scope: ReportScope, *, viewer: Viewer, limit: int = 20) -> CoverReport:
        """The variants sold in the period of which something is left, those first that last the shortest at its pace.

        From the sums of the ledger, in at most eight commands. Raises PermissionDeniedError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        days = (scope.period.end - scope.period.start).days
        async with heavy_work():
            starts_at, ends_at = scope.period.bounds
            sellers = sorted(await read_sellers(starts_at))
            pieces = await read_sold(sellers, scope.currency, starts_at, ends_at) if sellers else {}
            sold = {variant_id: -moved for variant_id, moved in pieces.items() if moved < 0}
            levels = await StockLevel.aggregate_rows(left_pipeline(scope.currency, list(sold))) if sold else []
        left = [
            {**row, "units_sold": sold[row["_id"]], "days_of_cover": int(row["available"]) * days // sold[row["_id"]]}
            for row in levels
            if row["available"] > 0
        ]
        left.sort(key=lambda row: (row["days_of_cover"], row["sku"], row["_id"]))
        items = [StockCover.model_validate(row) for row in await with_names(left[:limit])]
        return CoverReport(window=window_of(scope.period), currency=scope.currency, variants_count=len(left), items=items)

    @staticmethod
    async def list_low_stock(currency: str, *, viewer: Viewer, limit: int = 20) -> LowStockReport:
        """What is at or below its threshold now, at locations of the currency. Three commands, and the locations' names.

        Raises PermissionDeniedError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        locations = await known_locations()
        async with heavy_work():
            counts = await StockLevel.aggregate_rows(low_counts_pipeline(currency))
            rows = await with_names(await StockLevel.aggregate_rows(low_pipeline(currency, limit))) if counts else []
        found = counts[0] if counts else {}
        return LowStockReport(
            currency=currency,
            levels_count=int(found.get("levels", 0)),
            none_left_count=int(found.get("none_left", 0)),
            items=[
                LowStockItem(
                    **{name: row[name] for name in StockedVariant.model_fields},
                    location=locations[row["location_id"]].name if row["location_id"] in locations else "",
                    available=row["available"],
                    low_stock_threshold=row["low_stock_threshold"],
                    reorder_point=row["reorder_point"],
                )
                for row in rows
            ],
        )


def left_pipeline(currency: str, variant_ids: list[Any]) -> list[Row]:
    """Rows `{"_id": <variant>, "product_id": ..., "sku": "TEE-RED-L", "available": 40}`; starts in `stock_levels`."""
    return [
        {"$match": {"variant_id": {"$in": sorted(variant_ids)}}},
        {"$match": {"stock_value.currency": currency}},
        by_variant(available="$available"),
    ]


def low_counts_pipeline(currency: str) -> list[Row]:
    """One row, `{"levels": 9, "none_left": 2}`, or none; starts in `stock_levels`."""
    return [
        {"$match": {"is_low": True}},
        {"$match": {"stock_value.currency": currency}},
        {
            "$group": {
                "_id": None,
                "levels": {"$sum": 1},
                "none_left": {"$sum": {"$cond": [{"$lte": ["$available", 0]}, 1, 0]}},
            }
        },
    ]


def low_pipeline(currency: str, limit: int) -> list[Row]:
    """The levels with the fewest pieces, as they are stored."""
    return [
        {"$match": {"is_low": True}},
        {"$match": {"stock_value.currency": currency}},
        {"$sort": {"available": 1, "_id": 1}},
        {"$limit": limit},
    ]
