"""Whether what is kept of all customers together, in all and by day, is what the rows of each come to; and making it so."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from beanie import PydanticObjectId

from models.analytics.events import day_of
from models.analytics.purchases import CustomerDay, CustomerSale, CustomerTotals, CustomerValue, day_row_id
from models.base import AgoraDocument
from models.database import Session, run_transaction
from services.analytics.purchases.days import DAY, day_fields, day_sale, unpacked

Row = dict[str, Any]

SPAN = timedelta(days=60)  # looked at together
_SUMS = ("customers", "kept", "net", "numbered")
_FIRST, _LAST = 1, -1


@dataclass(frozen=True, slots=True)
class WrongSum:
    """A row that is not what it should be: the sums of a currency, or one of its days."""

    document: type[AgoraDocument]
    id: PydanticObjectId
    currency: str
    day: datetime | None  # None: the sums
    stored: Row
    counted: Row


async def wrong_sums() -> AsyncIterator[WrongSum]:
    """Every row that is wrong, currency by currency, each seen wrong within one snapshot. Safe beside a running Agora."""
    for currency in await _currencies():
        for wrong in await run_transaction(partial(_wrong_totals, currency)):
            yield wrong
        span = await _span(currency)
        while span is not None and span[0] < span[1]:
            end = min(span[0] + SPAN, span[1])
            for wrong in await run_transaction(partial(_wrong_days, currency, span[0], end)):
                yield wrong
            span = (end, span[1])


async def mend_sum(currency: str, day: datetime | None, session: Session) -> bool:
    """Store what a currency's sums, or its row of a day, should be; false when it is so already."""
    found = await (_wrong_totals(currency, session) if day is None else _wrong_days(currency, day, day + DAY, session))
    for row in found:
        if row.stored:
            await row.document.change_row({"_id": row.id}, {"$set": row.counted}, session=session)
        else:
            place = {"currency": row.currency} if row.day is None else {"currency": row.currency, "day": row.day}
            await row.document.model_validate({"_id": row.id, **place, **row.counted}).store(session=session)
    return bool(found)


async def _currencies() -> list[str]:
    found = await CustomerValue.aggregate_rows([{"$group": {"_id": "$currency"}}])
    kept = await CustomerTotals.find_rows({}, {"currency": 1})
    return sorted({*(row["_id"] for row in found), *(row["currency"] for row in kept)})


async def _wrong_totals(currency: str, session: Session) -> list[WrongSum]:
    sums = {"customers": {"$sum": 1}, "kept": {"$sum": "$kept_count"}, "net": {"$sum": "$net"}, "last": {"$max": "$number"}}
    pipeline: list[Row] = [{"$match": {"currency": currency}}, {"$group": {"_id": None, **sums}}]
    rows = await CustomerValue.aggregate_rows(pipeline, session=session)
    found = rows[0] if rows else {"customers": 0, "kept": 0, "net": 0, "last": -1}
    stored = await CustomerTotals.find_row({"currency": currency}, session=session) or {}
    counted = {name: int(found[name]) for name in ("customers", "kept", "net")}
    counted["numbered"] = max(int(found["last"]) + 1, stored.get("numbered", 0))  # numbers of who is gone are not given again
    kept = {name: stored[name] for name in _SUMS if name in stored}
    if kept == counted or not (kept or rows):
        return []
    return [WrongSum(CustomerTotals, stored.get("_id", PydanticObjectId()), currency, None, kept, counted)]


async def _span(currency: str) -> tuple[datetime, datetime] | None:
    """The first of the days on which anything was bought or is kept, and the day after the last."""
    query = {"currency": currency}
    ends = []
    for way in (_FIRST, _LAST):
        sales = await CustomerSale.find_rows(query, {"paid_at": 1}, sort=[("currency", way), ("paid_at", way)], limit=1)
        days = await CustomerDay.find_rows(query, {"day": 1}, sort=[("currency", way), ("day", way)], limit=1)
        ends += [[day_of(row["paid_at"]) for row in sales] + [row["day"] for row in days]]
    return (min(ends[0]), max(ends[1]) + DAY) if ends[0] else None


async def _wrong_days(currency: str, start: datetime, end: datetime, session: Session) -> list[WrongSum]:
    query = {"currency": currency, "paid_at": {"$gte": start, "$lt": end}}
    sales = await CustomerSale.find_rows(query, session=session)
    numbers = await _numbers(currency, sorted({row["customer_id"] for row in sales}), session)
    kept = await CustomerDay.find_rows({"currency": currency, "day": {"$gte": start, "$lt": end}}, session=session)
    stored = {row["day"]: row for row in kept}
    wrong = []
    for day in sorted({*stored, *(day_of(row["paid_at"]) for row in sales)}):
        own = [row for row in sales if day_of(row["paid_at"]) == day and row["customer_id"] in numbers]
        counted = day_fields(day_sale(row, numbers[row["customer_id"]]) for row in own)
        told = {name: stored[day][name] for name in counted} if day in stored else {}
        if not told or unpacked(told) != unpacked(counted):
            wrong.append(WrongSum(CustomerDay, day_row_id(currency, day), currency, day, told, counted))
    return wrong


async def _numbers(currency: str, customer_ids: Sequence[PydanticObjectId], session: Session) -> dict[PydanticObjectId, int]:
    query = {"customer_id": {"$in": list(customer_ids)}, "currency": currency}
    rows = await CustomerValue.find_rows(query, {"customer_id": 1, "number": 1}, session=session)
    return {row["customer_id"]: row["number"] for row in rows}
