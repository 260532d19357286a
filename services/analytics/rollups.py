"""Rollups: facts counted once each, and sums over periods of any zone read from them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from beanie import PydanticObjectId

from models.analytics.rollups import (
    METRICS,
    PERMANENT,
    Dimension,
    FactMark,
    GenerationState,
    Rollup,
    RollupGeneration,
    mark_id,
    rollup_id,
)
from models.base import now as present
from models.base import to_milliseconds
from models.database import DuplicateKeyError, Session, run_transaction, start_again
from services.analytics.periods import QUARTER, Granularity, Period

BATCH = 100  # facts applied in one transaction
Sums = dict[str, int]

_DAY = timedelta(days=1)
_LIVE = {"state": {"$in": [GenerationState.BUILDING.value, GenerationState.READY.value]}}


@dataclass(frozen=True, slots=True)
class Entry:
    """What a fact adds to one thing. Facts of money name its currency in all their entries, others in none."""

    dimension: Dimension
    key: str
    currency: str
    metrics: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened, once: whoever tells it again under the same key says the same."""

    key: str
    at: datetime
    entries: Sequence[Entry]


class RollupService:
    @staticmethod
    async def apply(facts: Sequence[Fact]) -> int:
        """Count those of the facts that are not yet counted, and return how many that were. Harmless to repeat.

        All or nothing, in the caller's transaction if there is one. A rebuild that is under way gets them, too.
        """
        return await apply_to(facts, None)

    @staticmethod
    async def totals(dimension: Dimension, *, key: str = "", currency: str = "", period: Period) -> Sums:
        """The sum of each metric of the dimension over the period; all of them 0 when nothing happened. Two commands at most."""
        start, end = period.bounds
        rows = await _read(dimension, key, currency, [(start, end)])
        return _sums(rows, [start, end], METRICS[dimension])[0]

    @staticmethod
    async def series(
        dimension: Dimension, *, key: str = "", currency: str = "", period: Period, granularity: Granularity
    ) -> list[Sums]:
        """The sums of each of the period's buckets, in their order. Two commands at most. Raises InvalidPeriodError."""
        buckets = period.buckets(granularity)
        rows = await _read(dimension, key, currency, [(bucket.start, bucket.end) for bucket in buckets])
        return _sums(rows, [buckets[0].start, *(bucket.end for bucket in buckets)], METRICS[dimension])

    @staticmethod
    async def top(dimension: Dimension, *, currency: str = "", period: Period, metric: str, limit: int) -> list[tuple[str, Sums]]:
        """The `limit` keys with the highest sums of a metric above 0, with all their sums; equal ones in the order of their keys.

        Two commands, three where the period does not begin and end with a day of UTC. The database reads a row for each key
        and day.
        """
        generation = await _generation_of(currency)
        if generation is None:
            return []
        metrics = METRICS[dimension]
        found: defaultdict[str, Sums] = defaultdict(lambda: dict.fromkeys(metrics, 0))
        start, end = period.bounds
        whole, edges = _whole_days(start, end)
        place = {"generation": generation, "dimension": dimension.value, "currency": currency}
        if whole is not None:
            for row in await Rollup.aggregate_rows(_by_key_pipeline(place, whole, metrics)):
                found[row["_id"]] = {name: row[name] for name in metrics}
        if edges:
            query = {**place, "day": {"$in": edges}}
            for row in await Rollup.find_rows(query, {"_id": 0, "key": 1, "day": 1, "quarters": 1}):
                _add(found[row["key"]], _within(row, start, end))
        ranked = sorted(found.items(), key=lambda item: (-item[1][metric], item[0]))
        return [(key, sums) for key, sums in ranked[:limit] if sums[metric] > 0]


async def apply_to(facts: Sequence[Fact], generation: int | None) -> int:
    """As `RollupService.apply`, to one generation alone, whether it is live or not; None: to all that are live."""
    by_key = {fact.key: fact for fact in facts}
    if not by_key:
        return 0

    async def work(session: Session) -> int:
        money = [fact for fact in by_key.values() if _is_money(fact)]
        others = [fact for fact in by_key.values() if not _is_money(fact)]
        wanted = [(PERMANENT, fact) for fact in others]
        if money:
            numbers = [generation] if generation is not None else await _live(session)
            wanted += [(number, fact) for number in numbers for fact in money]
        marks = {mark_id(number, fact.key): (number, fact) for number, fact in wanted}
        known = await FactMark.find_rows({"_id": {"$in": list(marks)}}, {"_id": 1}, session=session)
        for row in known:
            del marks[row["_id"]]
        for id, (number, fact) in marks.items():
            mark = FactMark(id=id, generation=number, key=fact.key, at=to_milliseconds(fact.at))
            await mark.store_later(session=session, refused=_overtaken)
        await _move_rows(marks.values(), session)
        return len({fact.key for _, fact in marks.values()})

    return await run_transaction(work, hot=["analytics_rollups"])


def _is_money(fact: Fact) -> bool:
    return any(entry.currency for entry in fact.entries)


def _overtaken(error: DuplicateKeyError) -> Exception:
    """Somebody else wrote that row since this transaction began: the next try sees it."""
    return start_again("the rollups were moved meanwhile")


async def _live(session: Session) -> list[int]:
    """The numbers of the generations that are written; the first is opened here."""
    rows = await RollupGeneration.find_rows(_LIVE, {"number": 1}, session=session)
    if rows:
        return sorted(row["number"] for row in rows)
    first = RollupGeneration(number=1, state=GenerationState.READY, ready_at=present())
    await first.store_later(session=session, refused=_overtaken)
    return [1]


@dataclass(slots=True)
class _Moves:
    """What is added to one row."""

    row: Rollup

    def add(self, quarter: int, metrics: Mapping[str, int]) -> None:
        _add(self.row.totals, metrics)
        _add(self.row.quarters.setdefault(str(quarter), {}), metrics)

    @property
    def update(self) -> dict[str, Any]:
        moved = {f"totals.{name}": amount for name, amount in self.row.totals.items()}
        for quarter, metrics in self.row.quarters.items():
            moved |= {f"quarters.{quarter}.{name}": amount for name, amount in metrics.items()}
        return {"$inc": moved}


def rows_of(facts: Iterable[tuple[int, Fact]]) -> dict[PydanticObjectId, Rollup]:
    """The rows that these facts alone make in their generations, by id."""
    moves: dict[PydanticObjectId, _Moves] = {}
    for generation, fact in facts:
        at = fact.at.astimezone(UTC)
        day = at.replace(hour=0, minute=0, second=0, microsecond=0)
        for entry in fact.entries:
            metrics = {name: amount for name, amount in entry.metrics.items() if amount}
            if not metrics:
                continue
            id = rollup_id(generation, entry.dimension, entry.key, entry.currency, day)
            if id not in moves:
                place = {"dimension": entry.dimension, "key": entry.key, "currency": entry.currency, "day": day}
                moves[id] = _Moves(Rollup(id=id, generation=generation, **place))
            moves[id].add((at - day) // QUARTER, metrics)
    return {id: move.row for id, move in moves.items()}


async def _move_rows(facts: Iterable[tuple[int, Fact]], session: Session) -> None:
    """Insert the rows that are not there and add to those that are, by late writes in the order of their ids."""
    rows = rows_of(facts)
    if not rows:
        return
    known = {row["_id"] for row in await Rollup.find_rows({"_id": {"$in": list(rows)}}, {"_id": 1}, session=session)}
    for id, row in sorted(rows.items()):
        if id in known:
            unmet = start_again("a rebuild deleted the rollup meanwhile")
            await Rollup.change_later({"_id": id}, _Moves(row).update, session=session, unmet=unmet)
        else:
            await row.store_later(session=session, refused=_overtaken)


async def _generation_of(currency: str) -> int | None:
    """The generation that is read; None when nothing was ever counted."""
    if not currency:
        return PERMANENT
    rows = await RollupGeneration.find_rows({"state": GenerationState.READY.value}, {"number": 1}, sort=[("number", -1)], limit=1)
    return rows[0]["number"] if rows else None


async def _read(
    dimension: Dimension, key: str, currency: str, stretches: Sequence[tuple[datetime, datetime]]
) -> list[dict[str, Any]]:
    """The rows of the days that the adjoining stretches touch, with the quarters of those days that they do not take whole."""
    generation = await _generation_of(currency)
    if generation is None:
        return []
    start, end = stretches[0][0], stretches[-1][1]
    query = {
        "generation": generation,
        "dimension": dimension.value,
        "key": key,
        "currency": currency,
        "day": {"$gte": _day_of(start), "$lt": end},
    }
    cut = sorted({_day_of(at) for stretch in stretches for at in stretch if at != _day_of(at)})
    fields: dict[str, Any] = {"_id": 0, "day": 1, "totals": 1}
    if not cut:
        return await Rollup.find_rows(query, fields)
    if len(cut) > 2:
        return await Rollup.find_rows(query, {**fields, "quarters": 1})
    quarters = {"$cond": [{"$in": ["$day", cut]}, "$quarters", None]}
    return await Rollup.aggregate_rows([{"$match": query}, {"$project": {**fields, "quarters": quarters}}])


def _by_key_pipeline(place: Mapping[str, Any], whole: tuple[datetime, datetime], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Rows `{"_id": <key>, "orders": 3, ...}` of whole days."""
    sums = {name: {"$sum": f"$totals.{name}"} for name in metrics}
    return [
        {"$match": {**place, "day": {"$gte": whole[0], "$lt": whole[1]}}},
        {"$group": {"_id": "$key", **sums}},
    ]


def _whole_days(start: datetime, end: datetime) -> tuple[tuple[datetime, datetime] | None, list[datetime]]:
    """The days that lie in a stretch whole, as a stretch of their own or None, and those that it touches besides."""
    first = start if start == _day_of(start) else _day_of(start) + _DAY
    last = _day_of(end)
    edges = sorted({_day_of(at) for at in (start, end) if at != _day_of(at)})
    return ((first, last) if first < last else None), edges


def _day_of(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _sums(rows: Iterable[Mapping[str, Any]], bounds: Sequence[datetime], metrics: Sequence[str]) -> list[Sums]:
    """The rows added up between each two neighbours of the ascending bounds."""
    results: list[Sums] = [dict.fromkeys(metrics, 0) for _ in bounds[1:]]
    at = 0
    for row in sorted(rows, key=lambda row: row["day"]):
        day, next_day = row["day"], row["day"] + _DAY
        while at < len(results) - 1 and bounds[at + 1] <= day:
            at += 1
        if bounds[at] <= day and next_day <= bounds[at + 1]:
            _add(results[at], row["totals"])
            continue
        n = at
        while n < len(results) and bounds[n] < next_day:
            _add(results[n], _within(row, bounds[n], bounds[n + 1]))
            n += 1
    return results


def _within(row: Mapping[str, Any], start: datetime, end: datetime) -> Sums:
    """What a day's quarters from `start` up to `end` add up to."""
    sums: Sums = {}
    for quarter, metrics in row["quarters"].items():
        if start <= row["day"] + int(quarter) * QUARTER < end:
            _add(sums, metrics)
    return sums


def _add(sums: Sums, metrics: Mapping[str, int]) -> None:
    for name, amount in metrics.items():
        sums[name] = sums.get(name, 0) + amount
