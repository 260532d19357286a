"""Which of several stretches a value lies in, as an expression both servers compute alike."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from models.money import half_up


def stretch_number(field: str, starts: Sequence[Any]) -> Any:
    """The number of the last of the ascending `starts` that the field is not below; 0 also for what lies before the first.

    By halves: a year of days takes nine comparisons. Zones and clock changes are in the starts, not in the server.
    """
    return _between(field, starts, 0, len(starts))


def _between(field: str, starts: Sequence[Any], low: int, high: int) -> Any:
    if high - low <= 1:
        return {"$literal": low}
    middle = (low + high) // 2
    return {
        "$cond": [{"$lt": [field, starts[middle]]}, _between(field, starts, low, middle), _between(field, starts, middle, high)]
    }


def whole_minute(moment: datetime) -> datetime:
    """The minute it lies in, so that a report of the present is the same to the byte for a while."""
    return moment.replace(second=0, microsecond=0)


def quotient(total: int, count: int) -> int:
    """half-up; 0 by nothing."""
    return half_up(total, count) if count else 0
