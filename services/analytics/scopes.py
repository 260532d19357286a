"""What a report is about: a period of somebody's days, one currency, how finely it is told, and what it is compared with."""

import zoneinfo
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cache
from zoneinfo import ZoneInfo

from models.base import now as present
from services.analytics.periods import Granularity, InvalidPeriodError, Period
from services.errors import UnprocessableError
from services.settings import Settings

DEFAULT_DAYS = 30


class Comparison(StrEnum):
    NONE = "none"
    PREVIOUS = "previous"  # the period of the same length just before


class UnknownTimeZoneError(UnprocessableError):
    """No such time zone."""

    code = "unknown_time_zone"

    def __init__(self, name: str) -> None:
        super().__init__("There is no such time zone: name one of IANA's, such as Europe/Berlin.")
        self.name = name


@dataclass(frozen=True, slots=True)
class ReportScope:
    """What a report is asked for. Equal scopes have equal reports, until something happens."""

    period: Period
    currency: str
    granularity: Granularity = Granularity.DAY
    is_compared: bool = False

    @property
    def previous(self) -> Period | None:
        """The period to compare with; None when nothing is to be compared."""
        return self.period.previous() if self.is_compared else None

    @property
    def bounds(self) -> list[datetime]:
        """The instants at which the period before (if there is one), the period, and what follows begin."""
        periods = [self.period] if self.previous is None else [self.previous, self.period]
        return [periods[0].bounds[0], *(period.bounds[1] for period in periods)]

    @classmethod
    def of(
        cls,
        *,
        settings: Settings,
        start: date | None = None,
        end: date | None = None,
        timezone: str | None = None,
        currency: str | None = None,
        granularity: Granularity = Granularity.DAY,
        compare: Comparison = Comparison.NONE,
        now: datetime | None = None,
    ) -> "ReportScope":
        """What was asked for; where nothing was, the thirty days up to and with today, in the house's zone and currency.

        A start without an end lasts until today, an end without a start begins thirty days before it. Raises UnknownTimeZoneError
        and InvalidPeriodError, the latter also for more buckets or a comparison than there can be.
        """
        zone = zone_of(timezone or settings.report_timezone)
        try:
            end = end or (now or present()).astimezone(zone).date() + timedelta(days=1)
            start = start or end - timedelta(days=DEFAULT_DAYS)
        except OverflowError as error:
            raise InvalidPeriodError from error
        scope = cls(Period(start, end, zone), currency or settings.currency, granularity, compare is Comparison.PREVIOUS)
        scope.period.check(granularity)
        if scope.previous is not None:
            scope.previous.check(granularity)
        return scope


def zone_of(name: str) -> ZoneInfo:
    """Raises UnknownTimeZoneError. Looked up in the list of names first: a name is no path."""
    if name not in _zone_names():
        raise UnknownTimeZoneError(name)
    return ZoneInfo(name)


@cache
def _zone_names() -> frozenset[str]:
    # What the machine's own clock is set to is a file among the zones, and no zone: two machines would answer differently.
    return frozenset(zoneinfo.available_timezones() - {"localtime"})
