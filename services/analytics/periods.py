"""Periods of whole days of a time zone, and the hours, days, weeks and months they consist of, as stretches of UTC."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from services.errors import UnprocessableError

MAX_YEARS = 5
MAX_HOURLY_DAYS = 14
FIRST_DAY = date(1980, 1, 1)  # before, there were zones whose offset was no multiple of a quarter-hour
LAST_DAY = date(9990, 1, 1)
QUARTER = timedelta(minutes=15)
QUARTERS = 96  # of a day of UTC
_DAY = timedelta(days=1)


class Granularity(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"  # from Monday
    MONTH = "month"


_FITTING = ((2, Granularity.HOUR), (92, Granularity.DAY), (550, Granularity.WEEK))


def fitting_granularity(days: int) -> Granularity:
    """As fine as a chart can show it: hours of two days, days of a quarter, weeks of a year and a half, else months."""
    return next((finest for most, finest in _FITTING if days <= most), Granularity.MONTH)


class InvalidPeriodError(UnprocessableError):
    """A period that ends before it begins, is too long, or is too long for how finely it is to be told."""

    code = "invalid_period"

    def __init__(self, detail: str = "The period cannot be: its end must lie after its start, and both after 1980.") -> None:
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One stretch of a series, in UTC, half-open.

    Labels: `2026-10-25T02:00+02:00`, `2026-10-25`, `2026-W43`, `2026-10`. The first and the last week and month of a period end
    where the period does, and keep their names.
    """

    start: datetime
    end: datetime
    label: str


@dataclass(frozen=True, slots=True)
class Period:
    """The days from `start` up to and without `end` in a zone. Raises InvalidPeriodError."""

    start: date
    end: date
    zone: ZoneInfo

    def __post_init__(self) -> None:
        if not FIRST_DAY <= self.start < self.end <= LAST_DAY:
            raise InvalidPeriodError

    def check(self, granularity: Granularity) -> None:
        """Raises InvalidPeriodError for more than a report tells: five years, or fourteen days by the hour."""
        if _years_after(self.start, MAX_YEARS) < self.end:
            raise InvalidPeriodError(f"A report is about {MAX_YEARS} years at most.")
        if granularity is Granularity.HOUR and (self.end - self.start).days > MAX_HOURLY_DAYS:
            raise InvalidPeriodError(f"Hours are told of {MAX_HOURLY_DAYS} days at most.")

    @property
    def bounds(self) -> tuple[datetime, datetime]:
        """The first instant, and the first one after it, in UTC."""
        return day_start(self.start, self.zone), day_start(self.end, self.zone)

    def previous(self) -> "Period":
        """As many days just before. Raises InvalidPeriodError."""
        return Period(self.start - (self.end - self.start), self.start, self.zone)

    def buckets(self, granularity: Granularity) -> list[Bucket]:
        """The period cut up, in order and without gaps. Raises InvalidPeriodError as `check` does for hours."""
        if granularity is Granularity.HOUR:
            self.check(granularity)
            marks = list(self._hours())
        else:
            marks = [(day_start(day, self.zone), _label(day, granularity)) for day in self._first_days(granularity)]
        ends = [*(start for start, _ in marks[1:]), self.bounds[1]]
        return [Bucket(start, end, label) for (start, label), end in zip(marks, ends, strict=True)]

    def _first_days(self, granularity: Granularity) -> Iterator[date]:
        day = self.start
        while day < self.end:
            yield day
            if granularity is Granularity.MONTH:
                day = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
            elif granularity is Granularity.WEEK:
                day += timedelta(days=7 - day.weekday())
            else:
                day += _DAY

    def _hours(self) -> Iterator[tuple[datetime, str]]:
        """The local hours: an hour that a change of clocks repeats is told twice, one that it skips not at all.

        Where clocks move by half an hour, the hour in which they go back has one and a half, and the one they jump into begins
        half past.
        """
        at, end = self.bounds
        before: datetime | None = None
        while at < end:
            local = at.astimezone(self.zone)
            if before is None or local.minute == 0 or (local.date(), local.hour) != (before.date(), before.hour):
                yield at, local.isoformat(timespec="minutes")
            before = local
            at += QUARTER


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day in UTC, also where its midnight is skipped or comes twice."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _label(day: date, granularity: Granularity) -> str:
    match granularity:
        case Granularity.MONTH:
            return f"{day:%Y-%m}"
        case Granularity.WEEK:
            year, week, _ = day.isocalendar()
            return f"{year}-W{week:02}"
        case _:
            return day.isoformat()


def _years_after(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:  # the 29th of February
        return date(day.year + years, 3, 1)
