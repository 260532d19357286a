"""The controls above the figures: range, zone, currency and so on, as a plain form whose fields are the page's query."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from typing import TypeVar
from urllib.parse import urlencode
from zoneinfo import available_timezones

from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import QueryParams

from api.web import formats
from models.money import Currency
from services.analytics.periods import Granularity, InvalidPeriodError, fitting_granularity
from services.analytics.scopes import Comparison, ReportScope, zone_of
from services.errors import UnprocessableError
from services.settings import Settings

DEFAULT_RANGE = "30d"
CUSTOM = "custom"
RANGES = {
    "today": ("Today", 1),
    "7d": ("Last 7 days", 7),
    "30d": ("Last 30 days", 30),
    "90d": ("Last 90 days", 90),
    "365d": ("Last 365 days", 365),
    CUSTOM: ("Between two days", 0),
}
FINENESS = {
    "": "As fine as fits",
    Granularity.HOUR: "Hours",
    Granularity.DAY: "Days",
    Granularity.WEEK: "Weeks",
    Granularity.MONTH: "Months",
}
FIELDS = ("range", "from", "to", "zone", "per", "compare", "currency")
_currency = TypeAdapter(Currency)
_SHOWN_DAYS = 30  # of a range that is named by one of its days alone

T = TypeVar("T")


class UnknownCurrencyError(UnprocessableError):
    """There is no currency of that code."""

    code = "unknown_currency"

    def __init__(self) -> None:
        super().__init__("There is no such currency: name it by its code, such as EUR.")


@dataclass(frozen=True, slots=True)
class Controls:
    """What was asked for, as the form shows it, and the scope of the reports it comes to."""

    range: str
    first: date
    last: date  # included, as people name ranges
    zone: str
    per: str  # the granularity that was chosen; empty for the one that fits
    is_compared: bool
    scope: ReportScope
    is_live: bool  # the range reaches into the present, so its figures still move
    asked: str  # what was asked for, as the query of an address: with its question mark, or empty

    @property
    def days_text(self) -> str:
        return formats.days(self.first, self.last)

    @property
    def previous_text(self) -> str:
        previous = self.scope.previous
        return "" if previous is None else formats.days(previous.start, previous.end - timedelta(days=1))


def controls_of(query: QueryParams, *, settings: Settings, now: datetime) -> Controls:
    """Read the form's fields; what is left out is the last thirty days in the house's zone, compared with those before.

    Raises InvalidPeriodError, UnknownTimeZoneError and UnknownCurrencyError.
    """
    zone = query.get("zone") or settings.report_timezone
    today = now.astimezone(zone_of(zone)).date()
    chosen, per, is_compared = _range_of(query), _fineness_of(query), _is_compared(query)
    first, last = _days_of(query, chosen, today)
    if first > last:
        raise InvalidPeriodError(f"The range begins on {formats.day(first)}, after its last day, {formats.day(last)}.")
    try:
        end = last + timedelta(days=1)
    except OverflowError as error:
        raise InvalidPeriodError from error
    scope = ReportScope.of(
        settings=settings,
        start=first,
        end=end,
        timezone=zone,
        currency=_currency_of(query.get("currency") or settings.currency),
        granularity=Granularity(per) if per else fitting_granularity((end - first).days),
        compare=Comparison.PREVIOUS if is_compared else Comparison.NONE,
        now=now,
    )
    # Nothing else that an address may hold goes with the reader from page to page.
    asked = urlencode([(name, query[name]) for name in FIELDS if query.get(name)])
    return Controls(chosen, first, last, zone, per, is_compared, scope, first <= today <= last, f"?{asked}" if asked else "")


def refilled(query: QueryParams, *, settings: Settings, now: datetime) -> Controls:
    """For what cannot be asked: the usual scope, in the form as it was filled in, so that it is put right and not lost.

    What a field cannot hold (a zone that there is not, a day that is none) is the usual thing there.
    """
    usual = controls_of(QueryParams(), settings=settings, now=now)
    chosen = _or_else(usual.range, lambda: _range_of(query))
    currency = _or_else(usual.scope.currency, lambda: _currency_of(query.get("currency") or usual.scope.currency))
    return replace(
        usual,
        range=chosen,
        first=_or_else(usual.first, lambda: _day(query.get("from")) or usual.first),
        last=_or_else(usual.last, lambda: _day(query.get("to")) or usual.last),
        zone=_or_else(usual.zone, lambda: zone_of(query.get("zone") or usual.zone).key),
        per=_or_else(usual.per, lambda: _fineness_of(query)),
        is_compared=_is_compared(query),
        scope=replace(usual.scope, currency=currency),
    )


def _or_else(otherwise: T, read: Callable[[], T]) -> T:
    try:
        return read()
    except UnprocessableError:
        return otherwise


def _range_of(query: QueryParams) -> str:
    chosen = query.get("range") or (CUSTOM if query.get("from") or query.get("to") else DEFAULT_RANGE)
    if chosen not in RANGES:
        raise InvalidPeriodError("There is no such range: choose one of the list, or name two days.")
    return chosen


def _days_of(query: QueryParams, chosen: str, today: date) -> tuple[date, date]:
    """The first day and the last, whichever comes first."""
    if chosen != CUSTOM:
        return today - timedelta(days=RANGES[chosen][1] - 1), today
    last = _day(query.get("to")) or today
    try:
        return _day(query.get("from")) or last - timedelta(days=_SHOWN_DAYS - 1), last
    except OverflowError as error:
        raise InvalidPeriodError from error


def _fineness_of(query: QueryParams) -> str:
    per = query.get("per", "")
    if per not in FINENESS:
        raise InvalidPeriodError("Charts are by hours, days, weeks or months.")
    return per


def _is_compared(query: QueryParams) -> bool:
    return query.get("compare", "previous") == Comparison.PREVIOUS


def _currency_of(code: str) -> str:
    try:
        return _currency.validate_python(code)
    except ValidationError as error:
        raise UnknownCurrencyError from error


def _day(text: str | None) -> date | None:
    """None where none is named."""
    if not text:
        return None
    try:
        if len(text) != 10:
            raise ValueError("not a day")
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidPeriodError("A day is written as 2026-11-21.") from error


@cache
def zones() -> list[str]:
    """The zones one may choose: cities, and UTC."""
    return ["UTC", *sorted(name for name in available_timezones() if _is_city(name))]


def _is_city(name: str) -> bool:
    area = name.partition("/")[0]
    return area in {"Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"}
