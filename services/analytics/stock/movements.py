"""What moved and what was sold within a time: the sums of the ledger up to its mark, and the movements written since."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from beanie import PydanticObjectId

from models.analytics.events import day_of
from models.analytics.ledger import BEGINNING, LedgerMark, StockDay, VariantMonth, VariantSold
from models.database import Session, run_transaction
from models.inventory.stock import MovementKind, StockMovement
from services.analytics.periods import QUARTER, QUARTERS
from services.analytics.rollups.counting import add_up
from services.analytics.rollups.stretches import sum_of, sum_of_days
from services.analytics.stock.ledger import SOLD_KINDS, month_of, seen_mark

Row = dict[str, Any]
Sums = dict[str, int]


async def read_moved(currency: str, starts_at: datetime, ends_at: datetime, *, session: Session) -> tuple[Sums, Sums]:
    """`value`, `sold` and `sold_cost` of what moved from the start up to the end, and of what moved after it."""
    mark = await seen_mark(session)
    within, after = Sums(), Sums()
    for row in await StockMovement.aggregate_rows(moved_pipeline(mark, currency, starts_at, ends_at), session=session):
        add_up(within if row.pop("_id") else after, {name: int(amount) for name, amount in row.items()})
    cut = {day_of(at) for at in (starts_at, ends_at) if at != day_of(at)}
    place = {"generation": mark.generation, "currency": currency}
    if mark.until == BEGINNING:
        return within, after
    for row in await StockDay.aggregate_rows(days_pipeline(place, starts_at, ends_at), session=session):
        is_within = row.pop("_id")
        if is_within is not None:
            add_up(within if is_within else after, {name: int(amount) for name, amount in row.items()})
    if cut:
        fields = {"day": 1, "quarters": 1}
        for row in await StockDay.find_rows({**place, "day": {"$in": sorted(cut)}}, fields, session=session):
            for quarter, figures in row["quarters"].items():
                at = row["day"] + int(quarter) * QUARTER
                if at >= starts_at:
                    add_up(within if at < ends_at else after, figures)
    return within, after


async def read_sold(
    variant_ids: Sequence[PydanticObjectId], currency: str, starts_at: datetime, ends_at: datetime
) -> dict[PydanticObjectId, int]:
    """The pieces by variant, signed as in the ledger; nothing for what was not sold."""

    async def look(session: Session) -> dict[PydanticObjectId, int]:
        mark = await seen_mark(session)
        pipeline = sold_pipeline(mark, variant_ids, currency, starts_at, ends_at)
        found = {row["_id"]: int(row["sold"]) for row in await StockMovement.aggregate_rows(pipeline, session=session)}
        if mark.until == BEGINNING:
            return found
        place = {"generation": mark.generation, "variant_id": {"$in": sorted(variant_ids)}, "currency": currency}
        for row in await VariantMonth.aggregate_rows(months_pipeline(place, starts_at, ends_at), session=session):
            found[row["_id"]] = found.get(row["_id"], 0) + int(row["sold"])
        return found

    return await run_transaction(look)


async def read_sellers(since: datetime) -> set[PydanticObjectId]:
    """The variants of which a piece was sold since."""

    async def look(session: Session) -> set[PydanticObjectId]:
        mark = await seen_mark(session)
        found = {row["_id"] for row in await StockMovement.aggregate_rows(sellers_pipeline(mark, since), session=session)}
        if mark.until > BEGINNING:
            query = {"generation": mark.generation, "last_sold_at": {"$gte": since}}
            found |= {row["variant_id"] for row in await VariantSold.find_rows(query, {"variant_id": 1}, session=session)}
        return found

    return await run_transaction(look)


def moved_pipeline(mark: LedgerMark, currency: str, starts_at: datetime, ends_at: datetime) -> list[Row]:
    """At most two rows, `{"_id": True, "value": -300, "sold": -3, "sold_cost": -300}`: what moved within, and (False) after."""
    is_sold = {"$in": ["$kind", SOLD_KINDS]}
    return [
        *_written_since(mark, {"occurred_at": {"$gte": starts_at}}),
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


def days_pipeline(place: Row, starts_at: datetime, ends_at: datetime) -> list[Row]:
    """As `moved_pipeline`, of whole days, and a third row (None) of those that are cut; starts in `stock_days`.

    Grouped, so that the embedded server need not unpack the quarter-hours of each day.
    """
    cut = [day_of(at) for at in (starts_at, ends_at) if at != day_of(at)]
    return [
        {"$match": {**place, "day": {"$gte": day_of(starts_at)}}},
        {
            "$group": {
                "_id": {"$cond": [{"$in": ["$day", cut]}, None, {"$lt": ["$day", ends_at]}]},
                **{name: {"$sum": f"$totals.{name}"} for name in ("value", "sold", "sold_cost")},
            }
        },
    ]


def sold_pipeline(
    mark: LedgerMark, variant_ids: Sequence[PydanticObjectId], currency: str, starts_at: datetime, ends_at: datetime
) -> list[Row]:
    """Rows `{"_id": <variant>, "sold": -7}`; none for what was not sold."""
    return [
        *_written_since(mark, {"variant_id": {"$in": sorted(variant_ids)}}),
        {"$match": {"occurred_at": {"$gte": starts_at, "$lt": ends_at}}},
        {"$match": {"kind": {"$in": SOLD_KINDS}, "value.currency": currency}},
        {"$group": {"_id": "$variant_id", "sold": {"$sum": "$quantity"}}},
    ]


def months_pipeline(place: Row, starts_at: datetime, ends_at: datetime) -> list[Row]:
    """Rows `{"_id": <variant>, "sold": -7}`; starts in `stock_variant_months`."""
    months = _months_between(starts_at, ends_at)
    sold: Any = "$pieces"
    for month in months:
        if month < starts_at or ends_at < _next_month(month):
            sold = {"$cond": [{"$eq": ["$month", month]}, _part_of_month(month, starts_at, ends_at), sold]}
    return [{"$match": {**place, "month": {"$in": months}}}, {"$group": {"_id": "$variant_id", "sold": {"$sum": sold}}}]


def _part_of_month(month: datetime, starts_at: datetime, ends_at: datetime) -> Row:
    """The sum of what lies within the time. A day that is cut is told by the quarter-hours of its shorter side."""
    days = range(1, (_next_month(month) - month).days + 1)
    whole, added, taken_off = [], list[str](), list[str]()
    for day in days:
        first = QUARTERS * (day - 1)
        quarters = [f"$sold.{number}" for number in range(first, first + QUARTERS)]
        begin, end = (min(max((at - month) // QUARTER - first, 0), QUARTERS) for at in (starts_at, ends_at))
        inside, outside = quarters[begin:end], quarters[:begin] + quarters[end:]
        if len(inside) > len(outside):
            whole.append(day)
            taken_off += outside
        else:
            added += inside
    within = sum_of_days(month, whole, path=lambda part, number: f"${part}.{number}")
    return {"$subtract": [{"$add": [within, sum_of(added)]}, sum_of(taken_off)]}


def sellers_pipeline(mark: LedgerMark, since: datetime) -> list[Row]:
    """Rows `{"_id": <variant>}`: those of which a piece was sold since."""
    return [
        *_written_since(mark, {"occurred_at": {"$gte": since}}),
        {"$match": {"kind": MovementKind.SALE}},
        {"$group": {"_id": "$variant_id"}},
    ]


def _months_between(starts_at: datetime, ends_at: datetime) -> list[datetime]:
    """The UTC months that the time touches, by their beginnings."""
    months = [month_of(starts_at)]
    while _next_month(months[-1]) < ends_at:
        months.append(_next_month(months[-1]))
    return months


def _next_month(month: datetime) -> datetime:
    return (month + timedelta(days=31)).replace(day=1)


def _written_since(mark: LedgerMark, query: Row) -> list[Row]:
    """What the sums do not hold and meets the query: one index leads to it, that of the mark once there is one."""
    if mark.until == BEGINNING:
        return [{"$match": query}]
    return [{"$match": {"created_at": {"$gte": mark.until}}}, {"$match": query}]
