"""Whether the sums of the stock's ledger are what the ledger says."""

from collections.abc import AsyncIterator
from typing import Any

from models.analytics.ledger import BEGINNING, LedgerMark, StockDay, VariantMonth, VariantSold
from models.base import AgoraDocument
from models.database import run_transaction
from models.inventory.stock import StockMovement
from services.analytics.stock.ledger import MONTH_PARTS, MOVEMENT_FIELDS, Moved, month_sums, seen_mark
from services.drift import Drift

BATCH = 1_000

Row = dict[str, Any]


async def ledger_drift() -> AsyncIterator[Drift]:
    """Rows that do not say what the movements before the mark say; `make rollups` makes them anew.

    Nothing while nothing was followed, nor when the mark moved meanwhile: then the next look tells. What the ledger comes to
    is held in memory by days and by variants and months.
    """
    mark = await run_transaction(seen_mark)
    if mark.until == BEGINNING:
        return
    counted = await _counted(mark)
    found = [drift async for drift in _differences(mark, counted)]
    now = await run_transaction(seen_mark)
    if (now.generation, now.until) == (mark.generation, mark.until):
        for drift in found:
            yield drift


async def _counted(mark: LedgerMark) -> Moved:
    moved, after = Moved(), Row()
    while rows := await StockMovement.find_rows(after, MOVEMENT_FIELDS, sort=[("_id", 1)], limit=BATCH):
        moved.add(row for row in rows if row["created_at"] < mark.until)
        after = {"_id": {"$gt": rows[-1]["_id"]}}
    return moved


async def _differences(mark: LedgerMark, moved: Moved) -> AsyncIterator[Drift]:
    wanted: tuple[tuple[type[AgoraDocument], tuple[str, ...], dict[Any, Any]], ...] = (
        (StockDay, ("currency", "day"), {place: (day.totals, day.quarters) for place, day in moved.days.items()}),
        (
            VariantMonth,
            ("variant_id", "currency", "month"),
            {place: month_sums(sold) for place, sold in moved.months.items()},
        ),
        (VariantSold, ("variant_id",), {(variant_id,): at for variant_id, at in moved.sold.items()}),
    )
    for document, names, counted in wanted:
        async for row in _stored(document, mark.generation):
            place = tuple(row[name] for name in names)
            stored, meant = _told(row), counted.pop(place, None)
            if stored != meant:
                yield _drift(document, row["_id"], place, stored, meant)
        for place, meant in counted.items():
            yield _drift(document, mark.id, place, None, meant)


async def _stored(document: type[AgoraDocument], generation: int) -> AsyncIterator[Row]:
    after = Row()
    while rows := await document.find_rows(after, sort=[("_id", 1)], limit=BATCH):
        for row in rows:
            if row["generation"] == generation:
                yield row
        after = {"_id": {"$gt": rows[-1]["_id"]}}


def _told(row: Row) -> Any:
    if "totals" in row:
        return row["totals"], row["quarters"]
    return {name: row[name] for name in ("pieces", *MONTH_PARTS)} if "sold" in row else row["last_sold_at"]


def _drift(document: type[AgoraDocument], id: Any, place: tuple[Any, ...], stored: Any, meant: Any) -> Drift:
    field = " ".join(f"{part:%Y-%m-%d}" if hasattr(part, "year") else str(part) for part in place)
    told, wanted = (str(what) if what is not None else "nothing" for what in (stored, meant))
    return Drift(document.get_collection_name(), id, field, told, wanted, is_derived=False)
