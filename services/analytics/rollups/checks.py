"""Whether the rollups are what the raw documents amount to."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from beanie import PydanticObjectId

from models.analytics.rollups import VERSION, FactMark, GenerationState, Rollup, RollupGeneration, mark_id
from services.analytics.rollups.consumer import ROLLUP_CONSUMER
from services.analytics.rollups.counting import ROLLUPS, add_up, moved_by
from services.analytics.rollups.rebuilding import read_facts
from services.drift import Drift
from services.events import EventService

READ = 500  # rows at a time


@dataclass(slots=True)
class _Sum:
    """A row's sums, and where in its time they lie: each amount times the number of its quarter-hour, day or third."""

    totals: dict[str, int] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> None:
        add_up(self.totals, row.get("totals", {}))  # those of an hour lie in its days alone
        for quarter, metrics in row.get("quarters", {}).items():
            add_up(self.places, {name: amount * int(quarter) for name, amount in metrics.items()})
        for parts in ("days", "thirds"):
            for name, amounts in row.get(parts, {}).items():
                add_up(self.places, {f"{parts}.{name}": sum(amount * int(number) for number, amount in amounts.items())})

    def __str__(self) -> str:
        return ", ".join(f"{name} {amount}" for name, amount in sorted(self.totals.items()) if amount) or "nothing"

    @property
    def _shown(self) -> tuple[object, ...]:
        return tuple(sorted((name, n) for sums in (self.totals, self.places) for name, n in sums.items() if n))

    def differs_from(self, other: "_Sum") -> bool:
        return self._shown != other._shown


async def rollup_drift() -> AsyncIterator[Drift]:
    """Rows of money that say something else than what was counted, and what was never counted; `make rollups` mends both.

    Nothing while no rollups were ever made, and nothing is missed while the consumer has events to come. Of rollups of an older
    version, that they are. Counts twice when
    something differs, and reports what differs in the same way both times: what was being counted just then does not. The sums of
    all days are held in memory, some 300 bytes for each.
    """
    first = {drift.id: drift async for drift in _differences()}
    if not first:
        return
    async for drift in _differences():
        if first.get(drift.id) == drift:
            yield drift


async def _differences() -> AsyncIterator[Drift]:
    ready = {"state": GenerationState.READY.value}
    newest = await RollupGeneration.find_rows(ready, {"number": 1, "version": 1}, sort=[("number", -1)], limit=1)
    if not newest:  # nothing was ever counted: no worker has run yet
        return
    number, version = newest[0]["number"], newest[0].get("version", 0)
    if version != VERSION:
        yield Drift(RollupGeneration.get_collection_name(), newest[0]["_id"], "version", version, VERSION, is_derived=False)
        return
    is_behind = await EventService.is_behind(ROLLUP_CONSUMER)
    counted: dict[PydanticObjectId, _Sum] = {}
    places: dict[PydanticObjectId, str] = {}
    async for facts in read_facts():
        marks = {mark_id(number, fact.key): fact for fact in facts}
        known = {row["_id"] for row in await FactMark.find_rows({"_id": {"$in": list(marks)}}, {"_id": 1})}
        for id, moved in moved_by((number, fact) for id, fact in marks.items() if id in known).items():
            counted.setdefault(id, _Sum()).add(moved.sums)
            places[id] = _place(moved.place)
        if not is_behind:
            for id, fact in marks.items():
                if id not in known:
                    yield Drift(FactMark.get_collection_name(), id, fact.key, None, "to be counted", is_derived=False)
    for document in ROLLUPS:
        async for rows in document.walk(batch=READ):
            for row in rows:
                if row["generation"] == number:
                    stored, wanted = _Sum(), counted.pop(row["_id"], _Sum())
                    stored.add(row)
                    if stored.differs_from(wanted):
                        yield _drift(row["_id"], _place(row), stored, wanted)
    for id, wanted in counted.items():
        if wanted.differs_from(_Sum()):
            yield _drift(id, places[id], _Sum(), wanted)


def _place(row: Mapping[str, Any]) -> str:
    time = f"{row['day']:%Y-%m-%d}" if "day" in row else f"{row['month']:%Y-%m}"
    hour = f"at {row['hour']}" if "hour" in row else ""
    return " ".join(part for part in (row["dimension"], row["key"], row["currency"], time, hour) if part)


def _drift(id: PydanticObjectId, place: str, stored: _Sum, wanted: _Sum) -> Drift:
    told, meant = str(stored), str(wanted)
    if told == meant:
        meant = f"{meant}, at other times"
    return Drift(Rollup.get_collection_name(), id, place, told, meant, is_derived=False)
