"""Facts, and how each is counted once: its mark and the rollups it moves are written in one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from beanie import PydanticObjectId

from models.analytics.rollups import (
    HOURLY,
    PERMANENT,
    VERSION,
    Dimension,
    FactMark,
    GenerationState,
    HourRollup,
    MonthRollup,
    Rollup,
    RollupGeneration,
    hour_id,
    mark_id,
    month_id,
    rollup_id,
    third_of,
)
from models.base import now as present
from models.database import DuplicateKeyError, Session, run_transaction, start_again
from services.analytics.periods import QUARTER

HOT = "analytics_rollups"  # callers of one process queue for the rollups instead of colliding there
LIVE = {"state": {"$in": [GenerationState.BUILDING.value, GenerationState.READY.value]}}


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

    @property
    def is_permanent(self) -> bool:
        return not any(entry.currency for entry in self.entries)


RollupRow = type[Rollup] | type[MonthRollup] | type[HourRollup]
ROLLUPS: Sequence[RollupRow] = (Rollup, MonthRollup, HourRollup)


@dataclass(slots=True)
class Moved:
    """What facts add to one row."""

    document: RollupRow
    place: Mapping[str, Any]  # the fields of its row that tell which one it is
    totals: dict[str, int] = field(default_factory=dict)
    parts: dict[str, dict[str, int]] = field(default_factory=dict)  # of a day by quarter-hour, else by metric and day

    @property
    def sums(self) -> dict[str, Any]:
        """The fields of its row that hold sums."""
        if self.document is HourRollup:
            return {"days": self.parts}
        if self.document is Rollup:
            return {"totals": self.totals, "quarters": self.parts}
        thirds: dict[str, dict[str, int]] = {}
        for name, days in self.parts.items():
            for number, amount in days.items():
                add_up(thirds.setdefault(name, {}), {str(third_of(int(number))): amount})
        return {"totals": self.totals, "thirds": thirds, "days": self.parts}

    def add(self, part: str, metrics: Mapping[str, int]) -> None:
        add_up(self.totals, metrics)
        add_up(self.parts.setdefault(part, {}), metrics)

    def add_day(self, day: str, metrics: Mapping[str, int]) -> None:
        add_up(self.totals, metrics)
        for name, amount in metrics.items():
            add_up(self.parts.setdefault(name, {}), {day: amount})


async def count_facts(facts: Iterable[Fact], *, generation: int | None = None) -> int:
    """Count those that are not yet counted in this generation, or in every live one; returns how many facts that were.

    In the caller's transaction if there is one. What is permanent goes to its own generation in any case.
    """
    by_key = {fact.key: fact for fact in facts}
    if not by_key:
        return 0

    async def work(session: Session) -> int:
        has_money = not all(fact.is_permanent for fact in by_key.values())
        live = ([generation] if generation is not None else await _live(session)) if has_money else []
        wanted = {
            mark_id(number, fact.key): (number, fact)
            for fact in by_key.values()
            for number in ([PERMANENT] if fact.is_permanent else live)
        }
        for row in await FactMark.find_rows({"_id": {"$in": list(wanted)}}, {"_id": 1}, session=session):
            del wanted[row["_id"]]
        for id, (number, fact) in wanted.items():
            times = dict.fromkeys(("at", "created_at", "updated_at"), fact.at)  # when a visit came in is nobody's business
            mark = FactMark(id=id, generation=number, key=fact.key, **times)
            await mark.store_later(session=session, refused=_overtaken)
        await _move_rows(moved_by(wanted.values()), session)
        return len({fact.key for _, fact in wanted.values()})

    return await run_transaction(work, hot=[HOT])


def moved_by(facts: Iterable[tuple[int, Fact]]) -> dict[PydanticObjectId, Moved]:
    """What these facts add to which rows, by the rows' ids, each fact in the generation beside it."""
    rows: dict[PydanticObjectId, Moved] = {}
    for generation, fact in facts:
        at = fact.at.astimezone(UTC)
        day = at.replace(hour=0, minute=0, second=0, microsecond=0)
        month, number = day.replace(day=1), str(day.day)
        for entry in fact.entries:
            metrics = {name: amount for name, amount in entry.metrics.items() if amount}
            if not metrics:
                continue
            place = (generation, entry.dimension, entry.key, entry.currency)
            fields = dict(zip(("generation", "dimension", "key", "currency"), place, strict=True))
            of_day = rows.setdefault(rollup_id(*place, day), Moved(Rollup, {**fields, "day": day}))
            of_day.add(str((at - day) // QUARTER), metrics)
            of_month = rows.setdefault(month_id(*place, month), Moved(MonthRollup, {**fields, "month": month}))
            of_month.add_day(number, metrics)
            if entry.dimension in HOURLY:
                hours = Moved(HourRollup, {**fields, "month": month, "hour": at.hour})
                rows.setdefault(hour_id(*place, month, at.hour), hours).add_day(number, metrics)
    return rows


def add_up(sums: dict[str, int], metrics: Mapping[str, int]) -> None:
    for name, amount in metrics.items():
        sums[name] = sums.get(name, 0) + amount


async def _live(session: Session) -> list[int]:
    """The numbers of the generations that are written; the first is opened here."""
    rows = await RollupGeneration.find_rows(LIVE, {"number": 1}, session=session)
    if rows:
        return sorted(row["number"] for row in rows)
    first = RollupGeneration(number=1, state=GenerationState.READY, version=VERSION, ready_at=present())
    await first.store_later(session=session, refused=_overtaken)
    return [first.number]


async def _move_rows(rows: Mapping[PydanticObjectId, Moved], session: Session) -> None:
    """Insert the rows that are not there and add to those that are, by late writes in the order of their ids.

    No upserts: two at once for one row differ between the servers, while an insert that comes second is refused by both.
    """
    known: set[PydanticObjectId] = set()
    for document in ROLLUPS:
        ids = [id for id, row in rows.items() if row.document is document]
        if ids:
            known |= {row["_id"] for row in await document.find_rows({"_id": {"$in": ids}}, {"_id": 1}, session=session)}
    for id, row in sorted(rows.items()):
        if id not in known:
            await row.document(id=id, **row.place, **row.sums).store_later(session=session, refused=_overtaken)
        else:
            unmet = start_again("a rebuild deleted the rollup meanwhile")
            await row.document.change_later({"_id": id}, {"$inc": _paths(row.sums)}, session=session, unmet=unmet)


def _paths(sums: Mapping[str, Any], above: str = "") -> dict[str, int]:
    """Nested sums by the paths to them."""
    paths: dict[str, int] = {}
    for name, amount in sums.items():
        paths |= _paths(amount, f"{above}{name}.") if isinstance(amount, dict) else {f"{above}{name}": amount}
    return paths


def _overtaken(error: DuplicateKeyError) -> Exception:
    """Somebody else wrote that row since this transaction began: the next try sees it."""
    return start_again("the rollups were moved meanwhile")
