"""Stock levels as staff see and set them: what is where, what runs low, what to order."""

from collections.abc import Mapping
from typing import Annotated, Any

from beanie import PydanticObjectId
from pydantic import BaseModel, Field

from models.database import Session, run_transaction
from models.inventory.purchasing import ReorderSuggestion
from models.inventory.reports import LevelRead, VariantStock
from models.inventory.stock import StockLevel
from services.audit import AuditService
from services.errors import PreconditionError
from services.inventory.books import LevelNotFoundError
from services.inventory.locations import known_locations
from services.inventory.purchasing import pieces_on_order
from services.inventory.stock import MAX_QUANTITY
from services.inventory.transfers import pieces_in_transit
from services.pagination import CursorCodec, CursorPage, Page, PageRequest, page_of
from services.users.permissions import Permission, Viewer

MAX_PLACES = 500  # levels of one variant that are shown


class LevelChanges(BaseModel):
    """What is to change; what is left out stays. Null takes a reorder point or quantity away."""

    low_stock_threshold: Annotated[int, Field(ge=0, le=MAX_QUANTITY)] = Field(
        default_factory=int, description="Available pieces at which it is low, which is an event"
    )
    reorder_point: Annotated[int, Field(ge=0, le=MAX_QUANTITY)] | None = Field(
        default_factory=lambda: None, description="Pieces, with those on order, at which it is suggested to be ordered"
    )
    reorder_quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)] | None = Field(
        default_factory=lambda: None, description="How many are suggested then"
    )


class LevelService:
    @staticmethod
    async def list_levels(
        *,
        viewer: Viewer,
        page: PageRequest,
        variant_id: PydanticObjectId | None = None,
        product_id: PydanticObjectId | None = None,
        location_id: PydanticObjectId | None = None,
        is_low: bool | None = None,
    ) -> Page[LevelRead]:
        """All levels or those of what is named, oldest first. Raises PermissionDeniedError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        named = {"variant_id": variant_id, "product_id": product_id, "location_id": location_id, "is_low": is_low}
        query: dict[str, Any] = {field: value for field, value in named.items() if value is not None}
        total = await StockLevel.count_rows(query)
        rows = await StockLevel.find_rows(query, sort=[("_id", 1)], skip=page.skip, limit=page.limit)
        return page_of([to_level_read(row) for row in rows], page, total)

    @staticmethod
    async def get_level(level_id: PydanticObjectId, *, viewer: Viewer) -> LevelRead:
        """Raises PermissionDeniedError, LevelNotFoundError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        return to_level_read(await load_level(level_id))

    @staticmethod
    async def update_level(
        level_id: PydanticObjectId, changes: LevelChanges, *, viewer: Viewer, revision: int | None
    ) -> LevelRead:
        """The level with other thresholds; `revision` is the one the caller read, None for whichever is current.

        Raises PermissionDeniedError, LevelNotFoundError, PreconditionError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        fields = changes.model_dump(include=changes.model_fields_set)
        as_read = {"_id": level_id} if revision is None else {"_id": level_id, "revision": revision}

        async def work(session: Session) -> StockLevel:
            # A pipeline, so that `is_low` follows the stock as it is at this moment.
            is_low = {"$lte": ["$available", "$low_stock_threshold"]}
            update = [{"$set": {**fields, "revision": {"$add": ["$revision", 1]}}}, {"$set": {"is_low": is_low}}]
            level = await StockLevel.change(as_read, update, session=session)
            if level is None:
                raise PreconditionError
            await AuditService.record(
                session,
                "stock_level.updated",
                subject=f"variant:{level.variant_id}",
                actor_id=viewer.user_id,
                details={"location_id": str(level.location_id), **fields},
            )
            return level

        row = await load_level(level_id)
        level = await run_transaction(work, hot=[row["variant_id"]])
        return to_level_read(level.row())

    @staticmethod
    async def rename(skus: Mapping[PydanticObjectId, str]) -> int:
        """Have the levels of these variants carry these SKUs; returns how many did not. What moved before keeps its name."""
        rows = await StockLevel.find_rows({"variant_id": {"$in": sorted(skus)}}, {"variant_id": 1, "sku": 1})
        renamed = sorted({row["variant_id"] for row in rows if row["sku"] != skus[row["variant_id"]]})

        async def work(session: Session) -> int:
            return sum(
                [
                    await StockLevel.change_many({"variant_id": one}, {"$set": {"sku": skus[one]}}, session=session)
                    for one in renamed
                ]
            )

        return await run_transaction(work, hot=renamed) if renamed else 0

    @staticmethod
    async def get_variant_stock(variant_id: PydanticObjectId, *, viewer: Viewer) -> VariantStock:
        """A variant everywhere, on the way and on order; three commands. Raises PermissionDeniedError, LevelNotFoundError."""
        viewer.require(Permission.MANAGE_INVENTORY)
        locations = await known_locations()
        rows = await StockLevel.find_rows({"variant_id": variant_id}, sort=[("location_id", 1)], limit=MAX_PLACES)
        in_transit = await pieces_in_transit([variant_id])
        on_order = await pieces_on_order([variant_id])
        if not rows and not in_transit and not on_order:
            raise LevelNotFoundError(variant_id)
        levels = [to_level_read(row) for row in rows]
        active = [level for level in levels if level.location_id in locations and locations[level.location_id].is_active]
        return VariantStock(
            variant_id=variant_id,
            on_hand=sum(level.on_hand for level in levels),
            reserved=sum(level.reserved for level in levels),
            available=sum(max(0, level.available) for level in active),
            in_transit=sum(in_transit.values()),
            on_order=sum(on_order.values()),
            levels=levels,
        )

    @staticmethod
    async def list_reorder_suggestions(
        *, viewer: Viewer, cursors: CursorCodec, cursor: str | None = None, limit: int = 20
    ) -> CursorPage[ReorderSuggestion]:
        """Levels at or below their reorder point, counting what is under way to them; oldest level first.

        A stretch may be shorter than `limit`, even empty, and yet be followed by another. Three commands.
        Raises PermissionDeniedError, InvalidCursorError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        PageRequest(limit=limit)
        after = cursors.decode("reorder", cursor)[0] if cursor else None
        rows = await StockLevel.aggregate_rows(reorder_pipeline(after, limit + 1))
        shown = rows[:limit]
        variant_ids = [row["variant_id"] for row in shown]
        on_order, in_transit = await pieces_on_order(variant_ids), await pieces_in_transit(variant_ids)
        found = [_suggestion(row, on_order, in_transit) for row in shown]
        return CursorPage[ReorderSuggestion](
            items=[one for one in found if one is not None],
            next_cursor=cursors.encode("reorder", shown[-1]["_id"]) if len(rows) > limit else None,
        )


def reorder_pipeline(after: PydanticObjectId | None, limit: int) -> list[dict[str, Any]]:
    """Stored levels that are at or below their reorder point by what is available alone, in the order of their ids."""
    later = [] if after is None else [{"$match": {"_id": {"$gt": after}}}]
    return [
        # Two stages: the embedded server uses an index only for a filter it covers whole.
        {"$match": {"reorder_point": {"$gte": 0}}},
        *later,
        {"$match": {"$expr": {"$lte": ["$available", "$reorder_point"]}}},
        {"$sort": {"_id": 1}},
        {"$limit": limit},
    ]


def _suggestion(
    row: Mapping[str, Any],
    on_order: Mapping[tuple[PydanticObjectId, PydanticObjectId], int],
    in_transit: Mapping[tuple[PydanticObjectId, PydanticObjectId], int],
) -> ReorderSuggestion | None:
    place = (row["variant_id"], row["location_id"])
    ordered, moving = on_order.get(place, 0), in_transit.get(place, 0)
    missing = row["reorder_point"] - row["available"] - ordered - moving
    if missing < 0:
        return None
    lot = row["reorder_quantity"] or 1
    return ReorderSuggestion(
        product_id=row["product_id"],
        variant_id=row["variant_id"],
        location_id=row["location_id"],
        sku=row["sku"],
        available=row["available"],
        on_order=ordered,
        in_transit=moving,
        reorder_point=row["reorder_point"],
        quantity=lot * (missing // lot + 1),
    )


async def load_level(level_id: PydanticObjectId) -> dict[str, Any]:
    """The stored row. Raises LevelNotFoundError."""
    row = await StockLevel.find_row({"_id": level_id})
    if row is None:
        raise LevelNotFoundError(level_id)
    return row


def to_level_read(row: Mapping[str, Any]) -> LevelRead:
    return LevelRead.model_validate({**row, "id": row["_id"]})
