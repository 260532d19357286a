"""How figures are written for people: by CLDR, on the server, the same with and without scripts."""

from datetime import date, datetime
from decimal import Decimal

from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import format_decimal, format_percent, get_currency_symbol

from models.money import Money, decimal_text
from services.analytics.periods import Granularity

LOCALE = "en_US"  # of the pages' words; zone and currency are chosen, not guessed from it
MISSING = "–"

_SKELETONS = {Granularity.DAY: "MMMEd", Granularity.WEEK: "MMMd", Granularity.MONTH: "yMMM"}
_SHORT = {**_SKELETONS, Granularity.HOUR: "Hm", Granularity.DAY: "MMMd"}


def money(amount: Money) -> str:
    """`$1,234.50`, with all the digits of the currency."""
    return amount.formatted(LOCALE)


def plain(amount: Money) -> str:
    """`1234.50`: the exact number, for scripts."""
    return decimal_text(amount.amount, amount.currency)


def count(number: int) -> str:
    """`12,345`."""
    return str(format_decimal(number, locale=LOCALE))


def share(basis_points: int | None) -> str:
    """`12.5%`; a dash where there is nothing to take a share of."""
    if basis_points is None:
        return MISSING
    return str(format_percent(Decimal(basis_points) / 10_000, format="#,##0.0%", locale=LOCALE))


def hundredths(number: int | None) -> str:
    """`2.5` of 250; a dash where there is nothing to tell."""
    return MISSING if number is None else str(format_decimal(Decimal(number) / 100, format="#,##0.0#", locale=LOCALE))


def month(label: str) -> str:
    """`Nov 2026` of `2026-11`."""
    return str(format_skeleton("yMMM", date.fromisoformat(f"{label}-01"), locale=LOCALE))


def day(value: date) -> str:
    """`Nov 1, 2026`."""
    return str(format_date(value, "medium", locale=LOCALE))


def days(first: date, last: date) -> str:
    """`Nov 1 – 30, 2026`, as short as it can be without being ambiguous."""
    if first == last:
        return day(first)
    start = "MMMd" if first.year == last.year else "yMMMd"
    return f"{format_skeleton(start, first, locale=LOCALE)} – {day(last)}"


def moment(value: datetime, granularity: Granularity) -> str:
    """The bucket that begins at this local time, for the first column of a table."""
    if granularity is Granularity.HOUR:
        return f"{format_skeleton('MMMd', value, locale=LOCALE)}, {format_time(value, 'HH:mm', locale=LOCALE)}"
    return str(format_skeleton(_SKELETONS[granularity], value, locale=LOCALE))


def tick(value: datetime, granularity: Granularity) -> str:
    """The same for an axis, on which there is little room: what its neighbours tell is left out."""
    return str(format_skeleton(_SHORT[granularity], value, locale=LOCALE))


def currency_sign(currency: str) -> str:
    """`$`, or `CHF ` with a blank where there is no sign."""
    sign = str(get_currency_symbol(currency, locale=LOCALE))
    return f"{sign} " if sign.isalpha() else sign
