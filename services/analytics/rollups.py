"""Sums over periods of any zone, read from the rollups, and the facts they are moved by."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from models.analytics.rollups import METRICS, PERMANENT, Dimension, GenerationState, Rollup, RollupGeneration
from services.analytics.checks import rollup_drift
from services.analytics.counting import Entry, Fact, add_up, count_facts
from services.analytics.periods import QUARTER, Granularity, Period
from services.analytics.rebuilding import rebuild
from services.drift import Drift

__all__ = ["Entry", "Fact", "RollupService"]

Sums = dict[str, int]

_DAY = timedelta(days=1)


class RollupService:
    @staticmethod
    async def apply(facts: Sequence[Fact]) -> int:
        """Count those of the facts that are not yet counted, and return how many that were. Harmless to repeat.

        All or nothing, in the caller's transaction if there is one. A rebuild that is under way gets them, too.
        """
        return await count_facts(facts)

    @staticmethod
    async def rebuild(*, pause: timedelta = timedelta(seconds=5)) -> int:
        """Make all rollups of money anew from the raw documents, beside whatever goes on; returns how many facts there are.

        Reports read the old ones until the new ones are complete. May be killed anywhere and run again; of two at once, the
        later one wins and the other raises RebuildOvertakenError. `pause` is how long the old ones outlive their replacement,
        for those who just began to read them. Must not be called inside a transaction.
        """
        return await rebuild(pause=pause)

    @staticmethod
    async def drift() -> AsyncIterator[Drift]:
        """Rows that do not say what the orders say; safe beside a running Agora."""
        async for row in rollup_drift():
            yield row

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

        Costs what `by_key` does.
        """
        found = await RollupService.by_key(dimension, currency=currency, period=period)
        ranked = sorted(found.items(), key=lambda item: (-item[1][metric], item[0]))
        return [(key, sums) for key, sums in ranked[:limit] if sums[metric] > 0]

    @staticmethod
    async def by_key(dimension: Dimension, *, currency: str = "", period: Period) -> dict[str, Sums]:
        """The sums of every key to which anything happened in the period.

        Two commands, three where the period does not begin and end with a day of UTC. The database reads a row for each key
        and day.
        """
        generation = await _generation_of(currency)
        if generation is None:
            return {}
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
                add_up(found[row["key"]], _within(row, start, end))
        return {key: sums for key, sums in found.items() if any(sums.values())}


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
            add_up(results[at], row["totals"])
            continue
        n = at
        while n < len(results) and bounds[n] < next_day:
            add_up(results[n], _within(row, bounds[n], bounds[n + 1]))
            n += 1
    return results


def _within(row: Mapping[str, Any], start: datetime, end: datetime) -> Sums:
    """What a day's quarters from `start` up to `end` add up to."""
    sums: Sums = {}
    for quarter, metrics in row["quarters"].items():
        if start <= row["day"] + int(quarter) * QUARTER < end:
            add_up(sums, metrics)
    return sums
