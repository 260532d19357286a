"""Sums of stretches of time, put together from as few rows as hold them: of months, and of the days that the stretches cut, or of
the hours of a month where the stretches cut most of its days.
"""

from bisect import bisect_right
from calendar import monthrange
from collections import defaultdict
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from models.analytics.rollups import METRICS, Dimension, HourRollup, MonthRollup, Rollup, hour_id, month_id, rollup_id
from services.analytics.periods import QUARTER, QUARTERS
from services.analytics.rollups.counting import add_up

Sums = dict[str, int]
Row = Mapping[str, Any]

_DAY = timedelta(days=1)
_QUARTERS_OF_HOUR = 4
_FEW = 2  # a period and the one before it


@dataclass(frozen=True, slots=True)
class Place:
    """Which rollups are read."""

    generation: int
    dimension: Dimension
    currency: str

    @property
    def query(self) -> dict[str, Any]:
        return {"generation": self.generation, "dimension": self.dimension.value, "currency": self.currency}


class Stretches:
    """The stretches between neighbours of ascending bounds, which are whole quarter-hours of UTC.

    Days of UTC that lie in one of them whole are told from the rows of their months, those that a bound cuts from their own. With
    `by_hours`, for dimensions that are `HOURLY`, many days cut at whole hours are told from the rows of months and hours: a day
    goes to its longer side, from which the hours of the shorter one are moved.
    """

    def __init__(self, bounds: Sequence[datetime], *, by_hours: bool = False) -> None:
        self._count = len(bounds) - 1
        self._days: dict[datetime, dict[str, int]] = {}  # by month, by number of the day: the stretch it lies in whole
        self._cuts: dict[datetime, tuple[int, list[int]]] = {}  # by day: the stretch it begins in, and the quarters of its bounds
        self._moves: dict[tuple[datetime, int], dict[str, tuple[int, int]]] = {}  # by month and hour, by day: from where to where
        for bound in bounds:
            day = _day_of(bound)
            if bound != day:
                first = bisect_right(bounds, day) - 1
                self._cuts.setdefault(day, (first, []))[1].append((bound - day) // QUARTER)
        day, stretch = _day_of(bounds[0]), 0
        while day < bounds[-1]:
            while bounds[stretch + 1] <= day:
                stretch += 1
            if day not in self._cuts:
                self._days.setdefault(day.replace(day=1), {})[str(day.day)] = stretch
            day += _DAY
        if by_hours:
            self._plan_hours()
        self._whole = {month: _only(month, days) for month, days in self._days.items()}

    def _plan_hours(self) -> None:
        """Tell the days that are cut by hours instead, where that takes fewer rows."""
        moves: dict[tuple[datetime, int], dict[str, tuple[int, int]]] = {}
        longer: dict[datetime, int] = {}
        for day, (first, marks) in self._cuts.items():
            side = _shorter_side(marks[0])
            if len(marks) > 1 or marks[0] % _QUARTERS_OF_HOUR:
                return
            way = (first + 1, first) if 0 in side else (first, first + 1)
            longer[day] = way[0]
            for hour in range(side.start // _QUARTERS_OF_HOUR, side.stop // _QUARTERS_OF_HOUR):
                moves.setdefault((day.replace(day=1), hour), {})[str(day.day)] = way
        if len(moves) >= len(self._cuts):
            return
        for day, stretch in longer.items():
            if 0 <= stretch < self._count:
                self._days.setdefault(day.replace(day=1), {})[str(day.day)] = stretch
        self._cuts, self._moves = {}, moves

    def nothing(self, dimension: Dimension) -> list[Sums]:
        return [dict.fromkeys(METRICS[dimension], 0) for _ in range(self._count)]

    async def read(self, place: Place, keys: Sequence[str] | None = None) -> dict[str, list[Sums]]:
        """By key the sums of each stretch, of these keys or of all; without those of which there are no rows.

        A command for the months and one for the days that are cut, or their hours, if there are any.
        """
        found: defaultdict[str, list[Sums]] = defaultdict(lambda: self.nothing(place.dimension))
        await self._add_months(found, place, keys)
        for row in await self._hour_rows(place, keys or ()):
            self._move_hours(found[row["key"]], row)
        for row in await self._cut_rows(place, keys):
            self._add_quarters(found[row["key"]], row)
        return found

    async def read_best(self, place: Place, metric: str, limit: int) -> list[tuple[str, Sums]]:
        """The keys with the highest sums of a metric above 0, with all their sums; of the only stretch there is.

        The database looks at the one metric of every key, and tells the others of the best: twice the commands of `read`.
        """
        amounts: defaultdict[str, int] = defaultdict(int)
        if self._days:
            for row in await MonthRollup.aggregate_rows(self._ranking_pipeline(place, metric, limit)):
                amounts[row["_id"]] = int(row["amount"])
        if self._cuts:
            for row in await Rollup.aggregate_rows(self._edges_pipeline(place, metric)):
                amounts[row["_id"]] += int(row["amount"])
        best = [key for _, key in sorted((-amount, key) for key, amount in amounts.items() if amount > 0)[:limit]]
        found = await self.read(place, best) if best else {}
        return [(key, found[key][0]) for key in best]

    async def _add_months(self, found: MutableMapping[str, list[Sums]], place: Place, keys: Sequence[str] | None) -> None:
        """Of many keys and few stretches added up in the database, else here: the expression has a part for each stretch."""
        if not self._days or keys == []:
            return
        query = self._months_query(place, keys)
        if self._count <= _FEW and (keys is None or len(keys) > 1):
            for row in await MonthRollup.aggregate_rows(self._sums_pipeline(place.dimension, query)):
                for stretch, sums in enumerate(found[row["_id"]]):
                    add_up(sums, {name: int(row[f"{name}_{stretch}"]) for name in METRICS[place.dimension]})
            return
        for row in await MonthRollup.find_rows(query, {"_id": 0, "key": 1, "month": 1, "totals": 1, "days": 1}):
            self._add_month(found[row["key"]], row)

    def _ranking_pipeline(self, place: Place, metric: str, limit: int) -> list[dict[str, Any]]:
        """Rows `{"_id": <key>, "amount": 300}`, the best first; of all keys where days are cut, whose edges come on top."""
        group = {"_id": "$key", "amount": {"$sum": self._amount(metric, 0)}}
        best: list[dict[str, Any]] = [] if self._cuts else [{"$sort": {"amount": -1, "_id": 1}}, {"$limit": limit}]
        return [{"$match": self._months_query(place, None)}, {"$group": group}, *best]

    def _edges_pipeline(self, place: Place, metric: str) -> list[dict[str, Any]]:
        """Rows as of `_ranking_pipeline`, in any order, of the days that the only stretch cuts."""
        amount: Any = 0
        for day, (first, marks) in self._cuts.items():
            begin = marks[0] if first < 0 else 0
            end = marks[-1] if first == 0 or len(marks) > 1 else QUARTERS
            paths = [f"$quarters.{quarter}.{metric}" for quarter in range(QUARTERS)]
            inside, outside = paths[begin:end], paths[:begin] + paths[end:]
            part = sum_of(inside)
            if len(outside) < len(inside):
                part = {"$subtract": [sum_of([f"$totals.{metric}"]), sum_of(outside)]}
            amount = {"$cond": [{"$eq": ["$day", day]}, part, amount]}
        query = {**place.query, "day": {"$in": sorted(self._cuts)}}
        return [{"$match": query}, {"$group": {"_id": "$key", "amount": {"$sum": amount}}}]

    def _sums_pipeline(self, dimension: Dimension, query: dict[str, Any]) -> list[dict[str, Any]]:
        """Rows `{"_id": <key>, "total_0": 300, "total_1": 500}`, by metric and number of the stretch."""
        sums = {
            f"{name}_{stretch}": {"$sum": self._amount(name, stretch)}
            for name in METRICS[dimension]
            for stretch in range(self._count)
        }
        return [{"$match": query}, {"$group": {"_id": "$key", **sums}}]

    def _amount(self, metric: str, stretch: int) -> Any:
        """What the row of a month adds to a stretch. In a `$group`, for which the embedded server takes it as it lies."""
        whole = [month for month, only in self._whole.items() if only == stretch]
        amount: Any = {"$cond": [{"$in": ["$month", whole]}, f"$totals.{metric}", 0]} if whole else 0
        for month, days in self._days.items():
            own = [int(number) for number, lies_in in days.items() if lies_in == stretch]
            if own and self._whole[month] is None:
                added = sum_of_days(month, own, path=lambda part, number: f"${part}.{metric}.{number}")
                amount = {"$cond": [{"$eq": ["$month", month]}, added, amount]}
        return amount

    def _months_query(self, place: Place, keys: Sequence[str] | None) -> dict[str, Any]:
        if keys is None:
            first, last = min(self._days), max(self._days)
            return {**place.query, "month": {"$gte": first, "$lt": last + _DAY}}
        ids = [month_id(place.generation, place.dimension, key, place.currency, month) for key in keys for month in self._days]
        return {"_id": {"$in": ids}}

    async def _cut_rows(self, place: Place, keys: Sequence[str] | None) -> list[dict[str, Any]]:
        if not self._cuts:
            return []
        days = sorted(self._cuts)
        query: dict[str, Any] = {**place.query, "day": {"$in": days}}
        if keys is not None:
            ids = [rollup_id(place.generation, place.dimension, key, place.currency, day) for key in keys for day in days]
            query = {"_id": {"$in": ids}}
        return await Rollup.find_rows(query, {"_id": 0, "key": 1, "day": 1, "totals": 1, **self._quarters})

    async def _hour_rows(self, place: Place, keys: Sequence[str]) -> list[dict[str, Any]]:
        where = (place.generation, place.dimension)
        ids = [hour_id(*where, key, place.currency, month, hour) for key in keys for month, hour in self._moves]
        fields = {"_id": 0, "key": 1, "month": 1, "hour": 1, "days": 1}
        return await HourRollup.find_rows({"_id": {"$in": ids}}, fields) if ids else []

    def _add_month(self, sums: Sequence[Sums], row: Row) -> None:
        whole = self._whole[row["month"]]
        if whole is not None:
            add_up(sums[whole], row["totals"])
            return
        stretches = self._days[row["month"]]
        for name, amounts in row["days"].items():
            for number, amount in amounts.items():
                if number in stretches:
                    sums[stretches[number]][name] += amount

    def _move_hours(self, sums: Sequence[Sums], row: Row) -> None:
        moves, count = self._moves[row["month"], row["hour"]], len(sums)
        for name, amounts in row["days"].items():
            for number, amount in amounts.items():
                if number in moves:
                    longer, shorter = moves[number]
                    if 0 <= longer < count:
                        sums[longer][name] -= amount
                    if 0 <= shorter < count:
                        sums[shorter][name] += amount

    def _add_quarters(self, sums: Sequence[Sums], row: Row) -> None:
        """What lies on the longer side of a bound is the day without the shorter one."""
        first, marks = self._cuts[row["day"]]
        quarters: Mapping[str, Sums] = row.get("quarters", {})
        if len(marks) > 1:
            for quarter, metrics in quarters.items():
                _add_to(sums, first + bisect_right(marks, int(quarter)), metrics)
            return
        shorter: Sums = {}
        for number in _shorter_side(marks[0]):
            add_up(shorter, quarters.get(str(number), {}))
        longer = {name: amount - shorter.get(name, 0) for name, amount in row["totals"].items()}
        before, after = (shorter, longer) if 0 in _shorter_side(marks[0]) else (longer, shorter)
        _add_to(sums, first, before)
        _add_to(sums, first + 1, after)

    @cached_property
    def _quarters(self) -> dict[str, int]:
        """Which of the quarters of days are needed, as a projection."""
        marks = [marks for _, marks in self._cuts.values()]
        if any(len(several) > 1 for several in marks):
            return {"quarters": 1}
        return {f"quarters.{quarter}": 1 for (mark,) in marks for quarter in _shorter_side(mark)}


def _shorter_side(mark: int) -> range:
    """The quarter-hours before or from the one that a bound stands at, whichever are fewer."""
    return range(mark) if mark <= QUARTERS // 2 else range(mark, QUARTERS)


def _add_to(sums: Sequence[Sums], stretch: int, amounts: Mapping[str, int]) -> None:
    if 0 <= stretch < len(sums):
        add_up(sums[stretch], amounts)


def _day_of(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _only(month: datetime, days: Mapping[str, int]) -> int | None:
    """The stretch that all days of the month lie in; None where they lie in several, or some are cut or not asked for."""
    stretches = set(days.values())
    is_whole = len(days) == monthrange(month.year, month.month)[1] and len(stretches) == 1
    return stretches.pop() if is_whole else None


def sum_of_days(month: datetime, days: Sequence[int], *, path: Callable[[str, int], str]) -> dict[str, Any]:
    """The sum of these adjoining days of a month's row that has `thirds` and `days`, whose sums lie at `path`.

    Of few terms: the embedded server seeks the path of each.
    """
    length = monthrange(month.year, month.month)[1]
    added, taken_off = [], []
    for third, (begin, end) in enumerate(((1, 10), (11, 20), (21, length)), start=1):
        inside = [day for day in days if begin <= day <= end]
        outside = [day for day in range(begin, end + 1) if day not in inside]
        if len(outside) < len(inside):
            added.append(path("thirds", third))
            taken_off += [path("days", day) for day in outside]
        else:
            added += [path("days", day) for day in inside]
    return {"$subtract": [sum_of(added), sum_of(taken_off)]}


def sum_of(paths: Sequence[str]) -> Any:
    """Of what lies there, if anything does."""
    return {"$add": [{"$ifNull": [path, 0]} for path in paths]} if paths else {"$literal": 0}
