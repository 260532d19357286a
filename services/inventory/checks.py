"""Whether stock adds up: levels against the ledger and the reservations, transfers and purchase orders against the ledger."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

from beanie import PydanticObjectId

from models.base import AgoraDocument
from models.database import Session, run_transaction
from models.inventory.moving import StockTransfer
from models.inventory.purchasing import PurchaseOrder
from models.inventory.stock import Reservation, ReservationStatus, StockLevel, StockMovement
from services.drift import Drift
from services.inventory.books import Place

BATCH = 200

_LEVEL_FIELDS = {"on_hand", "reserved", "available", "stock_value.amount"}
Rows = list[dict[str, Any]]


async def stock_drift() -> AsyncIterator[Drift]:
    """Every number of the stock that does not add up; what looks wrong is looked at again within one snapshot.

    The numbers of a level can be repaired; the pieces of a transfer or purchase order cannot: a person must look.
    """
    async for levels in _batches(StockLevel):
        for level in await _doubtful_levels(levels):
            for row in await run_transaction(partial(_look_at_level, id=level["_id"])):
                yield row
    async for transfers in _batches(StockTransfer):
        for row in await _moved_differently(StockTransfer, transfers, "transfer", _pieces_sent):
            yield row
    async for orders in _batches(PurchaseOrder):
        for row in await _moved_differently(PurchaseOrder, orders, "purchase_order", _pieces_received):
            yield row


async def repair_stock(row: Drift, *, session: Session) -> bool:
    """Store what was counted; false when the place changed since it was reported, or no machine may decide."""
    if row.collection != StockLevel.Settings.name or row.field not in _LEVEL_FIELDS:
        return False
    as_reported = {"_id": row.id, row.field: row.stored}
    level = await StockLevel.change(as_reported, {"$set": {row.field: row.counted}}, session=session)
    if level is None:
        return False
    is_low = level.available <= level.low_stock_threshold
    await StockLevel.change_row({"_id": row.id}, {"$set": {"is_low": is_low}}, session=session)
    return True


def is_stock(row: Drift) -> bool:
    """Whether `repair_stock` is the one to ask."""
    return row.collection in {document.Settings.name for document in (StockLevel, StockTransfer, PurchaseOrder)}


def ledger_pipeline(variant_ids: Sequence[PydanticObjectId]) -> list[dict[str, Any]]:
    """Rows `{"_id": {"variant_id": ..., "location_id": ...}, "quantity": 7, "value": 700}`."""
    return [
        {"$match": {"variant_id": {"$in": list(variant_ids)}}},
        {
            "$group": {
                "_id": {"variant_id": "$variant_id", "location_id": "$location_id"},
                "quantity": {"$sum": "$quantity"},
                "value": {"$sum": "$value.amount"},
            }
        },
    ]


def held_pipeline(variant_ids: Sequence[PydanticObjectId]) -> list[dict[str, Any]]:
    """Rows `{"_id": {"variant_id": ..., "location_id": ...}, "quantity": 2}`."""
    wanted = {"lines.variant_id": {"$in": list(variant_ids)}}
    return [
        {"$match": {**wanted, "status": ReservationStatus.HELD}},
        {"$project": {"lines": 1}},
        {"$unwind": "$lines"},
        {"$match": wanted},
        {
            "$group": {
                "_id": {"variant_id": "$lines.variant_id", "location_id": "$lines.location_id"},
                "quantity": {"$sum": "$lines.quantity"},
            }
        },
    ]


def reference_pipeline(references: Sequence[str]) -> list[dict[str, Any]]:
    """Rows `{"_id": "transfer:65f0...", "quantity": -3}`."""
    return [
        {"$match": {"reference": {"$in": list(references)}}},
        {"$group": {"_id": "$reference", "quantity": {"$sum": "$quantity"}}},
    ]


async def _batches(document: type[AgoraDocument]) -> AsyncIterator[Rows]:
    after: Mapping[str, Any] = {}
    while rows := await document.find_rows(after, sort=[("_id", 1)], limit=BATCH):
        yield rows
        after = {"_id": {"$gt": rows[-1]["_id"]}}


async def _doubtful_levels(levels: Rows) -> Rows:
    counted = await _counted([level["variant_id"] for level in levels])
    return [level for level in levels if _differences(level, counted)]


async def _look_at_level(session: Session, *, id: PydanticObjectId) -> list[Drift]:
    level = await StockLevel.find_row({"_id": id}, session=session)
    if level is None:
        return []
    counted = await _counted([level["variant_id"]], session)
    return [Drift(StockLevel.get_collection_name(), id, *found) for found in _differences(level, counted)]


async def _counted(
    variant_ids: Sequence[PydanticObjectId], session: Session | None = None
) -> Mapping[Place, tuple[int, int, int]]:
    """on_hand, value and reserved by place, as the ledger and the reservations have it."""
    ids = sorted(set(variant_ids))
    moved = await StockMovement.aggregate_rows(ledger_pipeline(ids), session=session)
    held = await Reservation.aggregate_rows(held_pipeline(ids), session=session)
    counted = {_place(row): (row["quantity"], row["value"], 0) for row in moved}
    for row in held:
        on_hand, value, _ = counted.get(_place(row), (0, 0, 0))
        counted[_place(row)] = (on_hand, value, row["quantity"])
    return counted


def _place(row: Mapping[str, Any]) -> Place:
    return row["_id"]["variant_id"], row["_id"]["location_id"]


def _differences(level: Mapping[str, Any], counted: Mapping[Place, tuple[int, int, int]]) -> list[tuple[str, int, int]]:
    """Fields of the level with what they hold and what they should."""
    on_hand, value, reserved = counted.get((level["variant_id"], level["location_id"]), (0, 0, 0))
    numbers = [
        ("on_hand", level["on_hand"], on_hand),
        ("reserved", level["reserved"], reserved),
        ("available", level["available"], on_hand - reserved),
        ("stock_value.amount", level["stock_value"]["amount"], value),
    ]
    return [(field, stored, right) for field, stored, right in numbers if stored != right]


async def _moved_differently(
    document: type[AgoraDocument], rows: Rows, name: str, moved: Any, session: Session | None = None
) -> list[Drift]:
    """Those whose own pieces are not what the ledger moved under their name."""
    sums = await StockMovement.aggregate_rows(reference_pipeline([f"{name}:{row['_id']}" for row in rows]), session=session)
    counted = {row["_id"]: row["quantity"] for row in sums}
    wrong = [row for row in rows if moved(row) != counted.get(f"{name}:{row['_id']}", 0)]
    if session is None and wrong:
        return await run_transaction(
            partial(_look_again, document=document, ids=[row["_id"] for row in wrong], name=name, moved=moved)
        )
    return [
        Drift(document.get_collection_name(), row["_id"], "lines", moved(row), counted.get(f"{name}:{row['_id']}", 0), False)
        for row in wrong
    ]


async def _look_again(
    session: Session, *, document: type[AgoraDocument], ids: Sequence[PydanticObjectId], name: str, moved: Any
) -> list[Drift]:
    rows = await document.find_rows({"_id": {"$in": list(ids)}}, session=session)
    return await _moved_differently(document, rows, name, moved, session)


def _pieces_sent(transfer: Mapping[str, Any]) -> int:
    """What the transfer took from all locations together and has not put anywhere."""
    if transfer["shipped_at"] is None:
        return 0
    return sum(line["received_quantity"] - line["quantity"] for line in transfer["lines"])


def _pieces_received(order: Mapping[str, Any]) -> int:
    return sum(line["received_quantity"] for line in order["lines"])
