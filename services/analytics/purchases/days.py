"""Who bought on which day, as sets: read for periods of any zone, and made from the sales of a day."""

import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from models.analytics.events import day_of
from models.analytics.purchases import CustomerDay
from services.analytics.periods import QUARTER

Row = dict[str, Any]

DAY = timedelta(days=1)
_PACKED = struct.Struct("<IB?q")


class DaySale(NamedTuple):
    """One sale of a day."""

    number: int  # of the customer
    quarter: int  # of the day, 0 to 95, in which it was paid
    is_first: bool  # of the customer, in this currency
    total: int


@dataclass(slots=True)
class Stretch:
    """Who bought within a time, as sets in which bit n stands for the customer of number n, and what they paid."""

    buyers: int = 0
    newcomers: int = 0
    orders: int = 0
    total: int = 0


async def read_stretches(currency: str, bounds: Sequence[datetime]) -> list[Stretch]:
    """What was bought between each two neighbours of the ascending bounds, which are whole quarter-hours.

    One command, and another where bounds lie within days of UTC.
    """
    stretches = [Stretch() for _ in bounds[1:]]
    cut = {day_of(at) for at in bounds if at != day_of(at)}
    within = {"currency": currency, "day": {"$gte": day_of(bounds[0]), "$lt": bounds[-1]}}
    fields = dict.fromkeys(("day", "orders", "total", "buyers", "newcomers"), 1)
    for row in await CustomerDay.find_rows(within, fields):
        if row["day"] not in cut:
            stretch = stretches[bisect_right(bounds, row["day"]) - 1]
            stretch.buyers |= members_of(row["buyers"])
            stretch.newcomers |= members_of(row["newcomers"])
            stretch.orders += row["orders"]
            stretch.total += row["total"]
    if cut:
        for row in await CustomerDay.find_rows({"currency": currency, "day": {"$in": sorted(cut)}}, {"day": 1, "sales": 1}):
            _add_parts(stretches, bounds, row["day"], row["sales"])
    return stretches


def _add_parts(stretches: Sequence[Stretch], bounds: Sequence[datetime], day: datetime, packed: bytes) -> None:
    """The sales of a day that bounds cut, each to the stretch it lies in; a set is made of them at once, not of each."""
    first = bisect_right(bounds, day) - 1
    marks = [(bound - day) // QUARTER for bound in bounds[first + 1 : bisect_left(bounds, day + DAY)]]
    parts: list[list[tuple[int, int, bool, int]]] = [[] for _ in range(len(marks) + 1)]
    for sale in _PACKED.iter_unpack(packed):
        parts[bisect_right(marks, sale[1])].append(sale)
    for number, sales in enumerate(parts, start=first):
        if sales and 0 <= number < len(stretches):
            stretch = stretches[number]
            stretch.buyers |= _bits_of([sale[0] for sale in sales])
            stretch.newcomers |= _bits_of([sale[0] for sale in sales if sale[2]])
            stretch.orders += len(sales)
            stretch.total += sum(sale[3] for sale in sales)


def day_sale(row: Mapping[str, Any], number: int) -> DaySale:
    """What a day keeps of a row of `customer_sales`."""
    paid_at: datetime = row["paid_at"]
    return DaySale(number, (paid_at - day_of(paid_at)) // QUARTER, paid_at == row["first_paid_at"], row["total"])


def day_fields(sales: Iterable[DaySale]) -> Row:
    """What the row of a day with these sales holds."""
    ordered = sorted(sales)
    return {
        "orders": len(ordered),
        "total": sum(sale.total for sale in ordered),
        "buyers": set_of([sale.number for sale in ordered]),
        "newcomers": set_of([sale.number for sale in ordered if sale.is_first]),
        "sales": b"".join(_PACKED.pack(*sale) for sale in ordered),
    }


def unpacked(fields: Mapping[str, Any]) -> Row:
    """What these fields of a day say, however they were compressed."""
    return {**fields, **{name: members_of(fields[name]) for name in ("buyers", "newcomers")}}


def sales_of(packed: bytes) -> list[DaySale]:
    return [DaySale(*sale) for sale in _PACKED.iter_unpack(packed)]


def set_of(numbers: Collection[int]) -> bytes:
    return zlib.compress(_bytes_of(numbers))


def members_of(packed: bytes) -> int:
    """The set as one number, bit n for its member n."""
    return int.from_bytes(zlib.decompress(packed), "little")


def _bits_of(numbers: Collection[int]) -> int:
    return int.from_bytes(_bytes_of(numbers), "little")


def _bytes_of(numbers: Collection[int]) -> bytearray:
    bits = bytearray(max(numbers, default=-1) // 8 + 1)
    for number in numbers:
        bits[number // 8] |= 1 << number % 8
    return bits
