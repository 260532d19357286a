"""Follows the ledger of stock movements and keeps what it comes to, by days and by variants.

The ledger is only ever written at its end, so following it needs no events: what was written before a mark is summed, what was
written after it is read as it is. A mark stays so far behind the present that no transaction can still write before it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from beanie import PydanticObjectId

from models.analytics.events import day_of
from models.analytics.ledger import BEGINNING, VERSION, LedgerMark, StockDay, VariantMonth, VariantSold
from models.analytics.rollups import third_of
from models.base import AgoraDocument
from models.base import now as present
from models.database import DuplicateKeyError, Session, run_transaction, start_again
from models.inventory.stock import MovementKind, StockMovement
from services.analytics.periods import QUARTER, QUARTERS
from services.analytics.rollups.counting import add_up

Row = dict[str, Any]

STOCK = "stock"
HOT = "analytics_ledgers"
SETTLED = timedelta(minutes=5)  # a transaction is over long before
BATCH = 5_000  # movements of one transaction: of a few days, so that many go to one row
DELETED = 1_000
MONTH_PARTS = ("thirds", "days", "sold")
SOLD_KINDS = [MovementKind.SALE, MovementKind.RETURN, MovementKind.CANCELLATION]
MOVEMENT_FIELDS = dict.fromkeys(("kind", "variant_id", "quantity", "value", "cost", "occurred_at", "created_at"), 1)


class LedgerService:
    @staticmethod
    async def follow(*, limit: int = BATCH, now: datetime | None = None) -> int:
        """Sum up to `limit` movements that follow the mark, and return how many that were. One transaction."""
        horizon = (now or present()) - SETTLED

        async def work(session: Session) -> int:
            mark = await mark_of(session)
            rows, until = await _next(mark, horizon, limit, session)
            if rows:
                await _add(rows, mark.generation, session)
                seen = {"_id": mark.id, "generation": mark.generation, "until": mark.until}
                await LedgerMark.change_later(seen, {"$set": {"until": until}}, session=session, unmet=_lost())
            return len(rows)

        return await run_transaction(work, hot=[HOT])

    @staticmethod
    async def follow_all(*, now: datetime | None = None) -> int:
        """As `follow`, until nothing waits."""
        followed = batch = await LedgerService.follow(now=now)
        while batch:
            batch = await LedgerService.follow(now=now)
            followed += batch
        return followed

    @staticmethod
    async def restart() -> None:
        """Forget all sums: reports read the ledger itself until it was followed anew. For who writes into its past."""

        async def work(session: Session) -> None:
            mark = await seen_mark(session)
            if mark.until == BEGINNING:  # nothing is summed
                return
            fresh = {"generation": mark.generation + 1, "until": BEGINNING}
            await LedgerMark.change_later({"_id": mark.id}, {"$set": fresh}, session=session, unmet=_lost())

        await run_transaction(work, hot=[HOT])

    @staticmethod
    async def rebuild(*, now: datetime | None = None) -> int:
        """Sum the whole ledger anew, beside whatever goes on, and return how many movements it has. May be killed anywhere."""
        await LedgerService.restart()
        followed = await LedgerService.follow_all(now=now)
        generation = (await run_transaction(seen_mark)).generation
        for document in (StockDay, VariantMonth, VariantSold):
            old = {"generation": {"$lt": generation}}
            while rows := await document.find_rows(old, {"_id": 1}, limit=DELETED):
                await document.collection().delete_many({"_id": {"$in": [row["_id"] for row in rows]}})
        return followed


async def seen_mark(session: Session) -> LedgerMark:
    """The mark for who reads only; at the beginning where nothing was ever followed, or by an older version of Agora alone."""
    row = await LedgerMark.find_row({"ledger": STOCK}, session=session)
    mark = LedgerMark.from_row(row) if row else LedgerMark(ledger=STOCK)
    return mark if mark.version == VERSION else mark.model_copy(update={"until": BEGINNING})


async def mark_of(session: Session) -> LedgerMark:
    """The mark as the transaction sees it; made where there is none, and set back where it is of an older version."""
    row = await LedgerMark.find_row({"ledger": STOCK}, session=session)
    if row is None:
        return await LedgerMark(ledger=STOCK, version=VERSION).store_later(session=session, refused=_overtaken)
    mark: LedgerMark = LedgerMark.from_row(row)
    if mark.version == VERSION:
        return mark
    fresh = {"generation": mark.generation + 1, "version": VERSION, "until": BEGINNING}
    await LedgerMark.change_later({"_id": mark.id, "until": mark.until}, {"$set": fresh}, session=session, unmet=_lost())
    renewed: LedgerMark = mark.model_copy(update=fresh)
    return renewed


async def _next(mark: LedgerMark, horizon: datetime, limit: int, session: Session) -> tuple[list[Row], datetime]:
    """The movements that follow the mark, all of an instant or none, and up to when these are."""
    query = {"created_at": {"$gte": mark.until, "$lt": horizon}}
    rows = await StockMovement.find_rows(query, MOVEMENT_FIELDS, sort=[("created_at", 1)], limit=limit, session=session)
    if len(rows) < limit:
        return rows, horizon
    last = rows[-1]["created_at"]
    if rows[0]["created_at"] == last:  # more at one instant than one look takes
        return await _next(mark, horizon, 2 * limit, session)
    return [row for row in rows if row["created_at"] < last], last


@dataclass(slots=True)
class DayMoved:
    """What moved on a day, by name: `value`, and `sold` and `sold_cost` where anything was."""

    totals: dict[str, int] = field(default_factory=dict)
    quarters: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Moved:
    """What movements come to."""

    days: dict[tuple[str, datetime], DayMoved] = field(default_factory=dict)
    months: dict[tuple[PydanticObjectId, str, datetime], dict[str, int]] = field(default_factory=dict)
    sold: dict[PydanticObjectId, datetime] = field(default_factory=dict)

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            at, currency, variant_id = row["occurred_at"], row["value"]["currency"], row["variant_id"]
            figures = {"value": row["value"]["amount"]}
            if row["kind"] in SOLD_KINDS:
                figures |= {"sold": row["quantity"], "sold_cost": row["cost"]["amount"]}
                month = month_of(at)
                place = (variant_id, currency, month)
                add_up(self.months.setdefault(place, {}), {str((at - month) // QUARTER): row["quantity"]})
            if row["kind"] == MovementKind.SALE:
                self.sold[variant_id] = max(self.sold.get(variant_id, at), at)
            moved = self.days.setdefault((currency, day_of(at)), DayMoved())
            add_up(moved.totals, figures)
            add_up(moved.quarters.setdefault(str((at - day_of(at)) // QUARTER), {}), figures)


async def _add(rows: Iterable[Row], generation: int, session: Session) -> None:
    moved = Moved()
    moved.add(rows)
    await _move_days(moved.days, generation, session)
    await _move_months(moved.months, generation, session)
    await _move_sold(moved.sold, generation, session)


async def _move_days(days: Mapping[tuple[str, datetime], DayMoved], generation: int, session: Session) -> None:
    query = {"generation": generation, "currency": {"$in": sorted({currency for currency, _ in days})}}
    query["day"] = {"$in": sorted({day for _, day in days})}
    found = await StockDay.find_rows(query, {"currency": 1, "day": 1}, session=session)
    ids = {(row["currency"], row["day"]): row["_id"] for row in found}
    for (currency, day), moved in days.items():
        if (currency, day) in ids:
            sums = {f"totals.{name}": amount for name, amount in moved.totals.items()}
            for quarter, figures in moved.quarters.items():
                sums |= {f"quarters.{quarter}.{name}": amount for name, amount in figures.items()}
            await _increase(StockDay, ids[currency, day], sums, session)
        else:
            row = StockDay(generation=generation, currency=currency, day=day, totals=moved.totals, quarters=moved.quarters)
            await row.store_later(session=session, refused=_overtaken)


async def _move_months(
    months: Mapping[tuple[PydanticObjectId, str, datetime], dict[str, int]], generation: int, session: Session
) -> None:
    query: Row = {"generation": generation, "variant_id": {"$in": sorted({variant_id for variant_id, _, _ in months})}}
    names = ("variant_id", "currency", "month")
    found = await VariantMonth.find_rows(query, dict.fromkeys(names, 1), session=session) if months else []
    ids = {tuple(row[name] for name in names): row["_id"] for row in found}
    for place, sold in months.items():
        sums = month_sums(sold)
        if place in ids:
            parts = {f"{part}.{number}": pieces for part in MONTH_PARTS for number, pieces in sums[part].items()}
            await _increase(VariantMonth, ids[place], {"pieces": sums["pieces"], **parts}, session)
        else:
            row = VariantMonth(generation=generation, **dict(zip(names, place, strict=True)), **sums)
            await row.store_later(session=session, refused=_overtaken)


async def _move_sold(sold: Mapping[PydanticObjectId, datetime], generation: int, session: Session) -> None:
    query = {"generation": generation, "variant_id": {"$in": sorted(sold)}}
    found = await VariantSold.find_rows(query, {"variant_id": 1}, session=session) if sold else []
    ids = {row["variant_id"]: row["_id"] for row in found}
    for variant_id, at in sold.items():
        if variant_id in ids:
            update = {"$max": {"last_sold_at": at}}
            await VariantSold.change_later({"_id": ids[variant_id]}, update, session=session, unmet=_lost())
        else:
            row = VariantSold(generation=generation, variant_id=variant_id, last_sold_at=at)
            await row.store_later(session=session, refused=_overtaken)


async def _increase(document: type[AgoraDocument], id: PydanticObjectId, sums: Mapping[str, int], session: Session) -> None:
    await document.change_later({"_id": id}, {"$inc": dict(sums)}, session=session, unmet=_lost())


def month_sums(sold: Mapping[str, int]) -> Row:
    """What the row of a month holds of these pieces by its quarter-hours."""
    thirds: dict[str, int] = {}
    days: dict[str, int] = {}
    for quarter, pieces in sold.items():
        day = int(quarter) // QUARTERS + 1
        add_up(days, {str(day): pieces})
        add_up(thirds, {str(third_of(day)): pieces})
    return {"pieces": sum(sold.values()), "thirds": thirds, "days": days, "sold": dict(sold)}


def month_of(moment: datetime) -> datetime:
    return day_of(moment).replace(day=1)


def _lost() -> Exception:
    return start_again("the sums of the ledger are made anew")


def _overtaken(error: DuplicateKeyError) -> Exception:
    return start_again("the ledger was followed meanwhile")
