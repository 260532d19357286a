"""The controls above the figures: range, zone, currency and so on, as a plain form whose fields are the page's query."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
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
    chosen = query.get("range") or (CUSTOM if "from" in query else DEFAULT_RANGE)
    if chosen not in RANGES:
        raise InvalidPeriodError
    first, last = today - timedelta(days=max(RANGES[chosen][1] - 1, 0)), today
    if chosen == CUSTOM:
        first, last = _day(query.get("from"), today - timedelta(days=29)), _day(query.get("to"), today)
    is_compared = query.get("compare", "previous") == Comparison.PREVIOUS
    per = query.get("per", "")
    if per not in FINENESS:
        raise InvalidPeriodError
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


def _currency_of(code: str) -> str:
    try:
        return _currency.validate_python(code)
    except ValidationError as error:
        raise UnknownCurrencyError from error


def _day(text: str | None, otherwise: date) -> date:
    if not text:
        return otherwise
    try:
        if len(text) != 10:
            raise ValueError("not a day")
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidPeriodError from error


@cache
def zones() -> list[str]:
    """The zones one may choose: cities, and UTC."""
    return ["UTC", *sorted(name for name in available_timezones() if _is_city(name))]


def _is_city(name: str) -> bool:
    area = name.partition("/")[0]
    return area in {"Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"}
