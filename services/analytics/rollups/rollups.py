"""Sums over periods of any zone, read from the rollups, and the facts they are moved by."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from models.analytics.rollups import HOURLY, METRICS, PERMANENT, VERSION, Dimension, GenerationState, RollupGeneration
from services.analytics.periods import Granularity, Period
from services.analytics.rollups.checks import rollup_drift
from services.analytics.rollups.counting import Entry, Fact, count_facts
from services.analytics.rollups.rebuilding import rebuild
from services.analytics.rollups.stretches import Place, Stretches, Sums
from services.drift import Drift
from services.errors import UnavailableError

__all__ = ["Entry", "Fact", "OutdatedRollupsError", "RollupService", "Sums"]


class OutdatedRollupsError(UnavailableError):
    """The rollups of money were counted by an older version of Agora, in rows that this one reads otherwise."""

    code = "outdated_rollups"

    def __init__(self) -> None:
        super().__init__("The figures are being counted anew after an update: try again in a minute.", retry_after=30)


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
        for those who just began to read them. Every batch waits for a place of heavy work, and raises OverloadedError where none
        can be waited for. Must not be called inside a transaction.
        """
        return await rebuild(pause=pause)

    @staticmethod
    async def renew(*, pause: timedelta = timedelta(seconds=5)) -> int:
        """As `rebuild`, if the rollups that are read are of an older version of Agora; returns how many facts that were."""
        return await rebuild(pause=pause) if _is_outdated(await _newest()) else 0

    @staticmethod
    async def drift() -> AsyncIterator[Drift]:
        """Rows that do not say what the orders say; safe beside a running Agora."""
        async for row in rollup_drift():
            yield row

    @staticmethod
    async def totals(dimension: Dimension, *, key: str = "", currency: str = "", period: Period) -> Sums:
        """The sum of each metric of the dimension over the period; all 0 when nothing happened. Costs what `sums` does."""
        return (await RollupService.sums(dimension, key=key, currency=currency, bounds=period.bounds))[0]

    @staticmethod
    async def series(
        dimension: Dimension, *, key: str = "", currency: str = "", period: Period, granularity: Granularity
    ) -> list[Sums]:
        """The sums of each of the period's buckets, in their order. Costs what `sums` does. Raises InvalidPeriodError."""
        buckets = period.buckets(granularity)
        bounds = [buckets[0].start, *(bucket.end for bucket in buckets)]
        return await RollupService.sums(dimension, key=key, currency=currency, bounds=bounds)

    @staticmethod
    async def sums(dimension: Dimension, *, key: str = "", currency: str = "", bounds: Sequence[datetime]) -> list[Sums]:
        """The sums between each two neighbours of the ascending bounds: periods that adjoin are read at once.

        Two commands, three where bounds cut days of UTC. A row per month is read and one per day that is cut; of the shop fewer,
        where a zone's midnights cut every day at a whole hour. Raises OutdatedRollupsError, as all reading of money does.
        """
        generation = await _generation_of(currency)
        if generation is None:
            return [dict.fromkeys(METRICS[dimension], 0) for _ in bounds[1:]]
        stretches = Stretches(bounds, by_hours=dimension in HOURLY)
        found = await stretches.read(Place(generation, dimension, currency), [key])
        return found.get(key) or stretches.nothing(dimension)

    @staticmethod
    async def top(dimension: Dimension, *, currency: str = "", period: Period, metric: str, limit: int) -> list[tuple[str, Sums]]:
        """The `limit` keys with the highest sums of a metric above 0, with all their sums; equal ones in the order of their keys.

        Three commands, five where the period cuts days of UTC. The database reads a row for each key and month, of which it tells
        the one metric, and all of the `limit` best.
        """
        generation = await _generation_of(currency)
        if generation is None:
            return []
        return await Stretches(period.bounds).read_best(Place(generation, dimension, currency), metric, limit)

    @staticmethod
    async def by_key(dimension: Dimension, *, currency: str = "", period: Period) -> dict[str, Sums]:
        """The sums of every key to which anything happened in the period. For dimensions of few keys.

        Two commands, three where the period cuts days of UTC. The database reads a row for each key and month.
        """
        found = await RollupService.by_key_within(dimension, currency=currency, bounds=period.bounds)
        return found[0]

    @staticmethod
    async def by_key_within(dimension: Dimension, *, currency: str = "", bounds: Sequence[datetime]) -> list[dict[str, Sums]]:
        """As `by_key` for what lies between each two neighbours of the ascending bounds, at the cost of one."""
        parts: list[dict[str, Sums]] = [{} for _ in bounds[1:]]
        generation = await _generation_of(currency)
        if generation is None:
            return parts
        found = await Stretches(bounds).read(Place(generation, dimension, currency))
        for key, sums in found.items():
            for part, own in zip(parts, sums, strict=True):
                if any(own.values()):
                    part[key] = own
        return parts


async def _generation_of(currency: str) -> int | None:
    """The generation that is read; None when nothing was ever counted. Raises OutdatedRollupsError."""
    if not currency:
        return PERMANENT
    newest = await _newest()
    if _is_outdated(newest):
        raise OutdatedRollupsError
    return newest["number"] if newest else None


async def _newest() -> dict[str, Any] | None:
    """The generation of money that is complete."""
    ready = {"state": GenerationState.READY.value}
    rows = await RollupGeneration.find_rows(ready, {"number": 1, "version": 1}, sort=[("number", -1)], limit=1)
    return rows[0] if rows else None


def _is_outdated(generation: dict[str, Any] | None) -> bool:
    """What was stored before there were versions has none."""
    return generation is not None and generation.get("version", 0) < VERSION
