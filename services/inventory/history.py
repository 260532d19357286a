"""What the ledger tells: movements, why a level is what it is, stock and values of the past."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from beanie import PydanticObjectId

from models.base import now as present
from models.base import to_milliseconds
from models.database import Session, run_transaction
from models.inventory.moving import StockTransfer, TransferStatus
from models.inventory.reports import (
    AsOf,
    Hold,
    KindSum,
    LevelExplanation,
    LocationValue,
    MovementRead,
    PastLevel,
    Valuation,
)
from models.inventory.stock import Reservation, ReservationStatus, StockLevel, StockMovement
from models.money import Money
from services.heavy import heavy_work
from services.inventory.levels import load_level, to_level_read
from services.pagination import CursorCodec, CursorPage, PageRequest, find_stretch
from services.users.permissions import Permission, Viewer

RECENT = 20
MAX_HOLDS = 100

_BASIS = {AsOf.OCCURRED: "occurred_at", AsOf.RECORDED: "created_at"}


class HistoryService:
    @staticmethod
    async def list_movements(
        *,
        viewer: Viewer,
        cursors: CursorCodec,
        variant_id: PydanticObjectId | None = None,
        location_id: PydanticObjectId | None = None,
        reference: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> CursorPage[MovementRead]:
        """The ledger, as recorded last first: of a variant, a location, an order or delivery, or all of it. One command.

        Raises PermissionDeniedError, InvalidCursorError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        PageRequest(limit=limit)
        named = {"variant_id": variant_id, "location_id": location_id, "reference": reference}
        query: dict[str, Any] = {field: value for field, value in named.items() if value is not None}
        rows, next_cursor = await find_stretch(
            StockMovement,
            query,
            listing=f"movements:{variant_id}:{location_id}:{reference}",
            cursors=cursors,
            cursor=cursor,
            limit=limit,
        )
        return CursorPage[MovementRead](items=[_to_movement(row) for row in rows], next_cursor=next_cursor)

    @staticmethod
    async def explain_level(level_id: PydanticObjectId, *, viewer: Viewer) -> LevelExplanation:
        """Why the level is what it is, as one snapshot shows it: four commands.

        Raises PermissionDeniedError, LevelNotFoundError, OverloadedError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        variant_id = (await load_level(level_id))["variant_id"]

        async def look(session: Session) -> LevelExplanation:
            row = await StockLevel.find_row({"_id": level_id}, session=session)
            assert row is not None, "levels are never deleted"
            place = (variant_id, row["location_id"])
            sums = await StockMovement.aggregate_rows(kinds_pipeline(*place), session=session)
            holds = await Reservation.find_rows(
                {"lines.variant_id": variant_id, "status": ReservationStatus.HELD}, session=session
            )
            recent = await StockMovement.aggregate_rows(recent_pipeline(*place), session=session)
            return _explanation(row, sums, _holds_of(holds, *place), recent)

        async with heavy_work():
            return await run_transaction(look)

    @staticmethod
    async def stock_as_of(
        moment: datetime,
        *,
        viewer: Viewer,
        cursors: CursorCodec,
        basis: AsOf = AsOf.OCCURRED,
        variant_id: PydanticObjectId | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> CursorPage[PastLevel]:
        """What was on hand at a moment, level by level, of one variant or all; levels opened later stand there with nothing.

        By what had occurred until then, with what was entered late where it belongs, or by what had been recorded until then.
        Two commands. Raises PermissionDeniedError, InvalidCursorError, OverloadedError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        PageRequest(limit=limit)
        listing = f"as_of:{to_milliseconds(moment)}:{basis}:{variant_id}"
        query: dict[str, Any] = {} if variant_id is None else {"variant_id": variant_id}
        if cursor:
            query["_id"] = {"$gt": cursors.decode(listing, cursor)[0]}
        async with heavy_work():
            levels = await StockLevel.find_rows(query, sort=[("_id", 1)], limit=limit + 1)
            shown = levels[:limit]
            pipeline = as_of_pipeline([row["variant_id"] for row in shown], moment, basis)
            rows = await StockMovement.aggregate_rows(pipeline) if shown else []
        sums = {(row["_id"]["variant_id"], row["_id"]["location_id"]): row for row in rows}
        return CursorPage[PastLevel](
            items=[_to_past(level, sums.get((level["variant_id"], level["location_id"]))) for level in shown],
            next_cursor=cursors.encode(listing, shown[-1]["_id"]) if len(levels) > limit else None,
        )

    @staticmethod
    async def valuation(*, viewer: Viewer, now: datetime | None = None) -> Valuation:
        """What the stock is worth now, by location and in transit; at most one row per location and currency.

        Raises PermissionDeniedError, OverloadedError.
        """
        viewer.require(Permission.MANAGE_INVENTORY)
        async with heavy_work():

            async def look(session: Session) -> tuple[list[dict[str, Any]], list[LocationValue]]:
                rows = await StockLevel.aggregate_rows(valuation_pipeline(), session=session)
                return rows, await _in_transit(session)

            rows, moving = await run_transaction(look)
        values = [
            LocationValue(
                location_id=row["_id"]["location_id"],
                on_hand=row["on_hand"],
                value=Money(amount=row["value"], currency=row["_id"]["currency"]),
            )
            for row in rows
        ]
        values.sort(key=lambda value: (str(value.location_id), value.value.currency))
        values += moving
        currencies = sorted({value.value.currency for value in values})
        totals = [Money.total((one.value for one in values if one.value.currency == code), code) for code in currencies]
        return Valuation(as_of=to_milliseconds(now or present()), locations=values, totals=totals)


def kinds_pipeline(variant_id: PydanticObjectId, location_id: PydanticObjectId) -> list[dict[str, Any]]:
    """Rows `{"_id": "sale", "movements": 3, "quantity": -5, "value": -500}`."""
    return [
        {"$match": {"variant_id": variant_id}},
        {"$match": {"location_id": location_id}},
        {
            "$group": {
                "_id": "$kind",
                "movements": {"$sum": 1},
                "quantity": {"$sum": "$quantity"},
                "value": {"$sum": "$value.amount"},
            }
        },
    ]


def recent_pipeline(variant_id: PydanticObjectId, location_id: PydanticObjectId) -> list[dict[str, Any]]:
    return [
        {"$match": {"variant_id": variant_id}},
        {"$match": {"location_id": location_id}},
        {"$sort": {"_id": -1}},
        {"$limit": RECENT},
    ]


def as_of_pipeline(variant_ids: Sequence[PydanticObjectId], moment: datetime, basis: AsOf) -> list[dict[str, Any]]:
    """Rows `{"_id": {"variant_id": ..., "location_id": ...}, "quantity": 7, "value": 700}`; none for what had not moved."""
    return [
        {"$match": {"variant_id": {"$in": sorted(set(variant_ids))}}},
        {"$match": {_BASIS[basis]: {"$lte": to_milliseconds(moment)}}},
        {
            "$group": {
                "_id": {"variant_id": "$variant_id", "location_id": "$location_id"},
                "quantity": {"$sum": "$quantity"},
                "value": {"$sum": "$value.amount"},
            }
        },
    ]


def valuation_pipeline() -> list[dict[str, Any]]:
    """Rows `{"_id": {"location_id": ..., "currency": "USD"}, "on_hand": 12, "value": 1200}`."""
    return [
        {
            "$group": {
                "_id": {"location_id": "$location_id", "currency": "$stock_value.currency"},
                "on_hand": {"$sum": "$on_hand"},
                "value": {"$sum": "$stock_value.amount"},
            }
        }
    ]


async def _in_transit(session: Session) -> list[LocationValue]:
    """What is on its way between locations, one row per currency."""
    rows = await StockTransfer.find_rows({"status": TransferStatus.IN_TRANSIT}, {"lines": 1, "currency": 1}, session=session)
    pieces: dict[str, int] = {}
    values: dict[str, int] = {}
    for row in rows:
        code = row["currency"]
        for line in row["lines"]:
            left = line["quantity"] - line["received_quantity"] - line["lost_quantity"]
            pieces[code] = pieces.get(code, 0) + left
            values[code] = values.get(code, 0) + line["cost"]["amount"] - line["settled_cost"]["amount"]
    return [
        LocationValue(location_id=None, on_hand=pieces[code], value=Money(amount=values[code], currency=code))
        for code in sorted(pieces)
    ]


def _explanation(
    row: Mapping[str, Any], sums: Sequence[Mapping[str, Any]], holds: list[Hold], recent: Sequence[Mapping[str, Any]]
) -> LevelExplanation:
    level = to_level_read(row)
    kinds = [
        KindSum(
            kind=one["_id"],
            movements=one["movements"],
            quantity=one["quantity"],
            value=Money(amount=one["value"], currency=level.stock_value.currency),
        )
        for one in sorted(sums, key=lambda one: str(one["_id"]))
    ]
    adds_up = (
        sum(kind.quantity for kind in kinds) == level.on_hand
        and sum(kind.value.amount for kind in kinds) == level.stock_value.amount
        and sum(hold.quantity for hold in holds) == level.reserved
        and level.on_hand - level.reserved == level.available
    )
    return LevelExplanation(
        level=level,
        movements=kinds,
        holds=holds[:MAX_HOLDS],
        recent=[_to_movement(one) for one in recent],
        is_consistent=adds_up,
    )


def _holds_of(rows: Sequence[Mapping[str, Any]], variant_id: PydanticObjectId, location_id: PydanticObjectId) -> list[Hold]:
    """What holds this place, those that end first; what never ends stands last."""
    holds = [
        Hold(owner=row["owner"], quantity=line["quantity"], expires_at=row["expires_at"])
        for row in rows
        for line in row["lines"]
        if (line["variant_id"], line["location_id"]) == (variant_id, location_id)
    ]
    return sorted(holds, key=lambda hold: (hold.expires_at is None, hold.expires_at, hold.owner))


def _to_movement(row: Mapping[str, Any]) -> MovementRead:
    return MovementRead.model_validate({**row, "id": row["_id"]})


def _to_past(level: Mapping[str, Any], sums: Mapping[str, Any] | None) -> PastLevel:
    return PastLevel(
        product_id=level["product_id"],
        variant_id=level["variant_id"],
        location_id=level["location_id"],
        sku=level["sku"],
        on_hand=sums["quantity"] if sums else 0,
        value=Money(amount=sums["value"] if sums else 0, currency=level["stock_value"]["currency"]),
    )
