"""Rollups: sums per UTC day and quarter-hour, per month and day, and of the shop per month and hour of its days, which reports
read instead of the orders; and what has been counted in them.

A quarter-hour is what every time zone's offset is a multiple of, so that the days of any zone can be told from them.
"""

import hashlib
from datetime import datetime
from enum import StrEnum

from beanie import PydanticObjectId
from pydantic import Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from models.base import AgoraDocument, UtcDatetime

VERSION = 1
"""Of what is counted and of how its rows look. Another one makes the worker make all rollups of money anew."""

PERMANENT = 0
"""The generation of what has no currency: visits and what people read. Their raw rows are deleted after a time, so no rebuild
could make these sums again, and none touches them."""


class Dimension(StrEnum):
    """What a rollup is about; in brackets its key."""

    TOTAL = "total"  # the shop (empty)
    PRODUCT = "product"  # (its id)
    CATEGORY = "category"  # of products (its id, empty for what was in none)
    COUPON = "coupon"  # (its id)
    SOURCE = "source"  # where an order or a visit came from (its name)
    PAYMENT = "payment"  # how it is paid (method and gateway, `card/stripe`)
    FAILURE = "failure"  # of payments (the gateway's code, `blocked` or `rejected`)
    RULE = "rule"  # of the fraud rules (its name)
    CART = "cart"  # left alone (empty); by when it was found so, whatever became of it since
    POST = "post"  # (its id)
    AUTHOR = "author"  # (the user's id)
    TRAFFIC = "traffic"  # visits (empty)
    STAGE = "stage"  # of the way to an order (its name)
    SEARCH = "search"  # (the term)


_SALES = ("orders", "units", "gross", "discount", "tax", "shipping", "total", "refunds", "refunded_count", "cancelled")
_LINES = ("orders", "units", "gross", "discount", "tax", "total", "returned_units")
_READ = ("views", "likes", "comments")
_TRIED = ("attempts", "captured_count", "captured", "failed", "voided")

METRICS: dict[Dimension, tuple[str, ...]] = {
    Dimension.TOTAL: _SALES,
    Dimension.PRODUCT: _LINES,
    Dimension.CATEGORY: _LINES,
    Dimension.COUPON: ("orders", "discount", "total"),
    Dimension.SOURCE: (*_SALES, "visits"),
    Dimension.PAYMENT: (*_TRIED, "refunded_count", "refunds", "failed_refunds"),
    Dimension.FAILURE: ("failed", "amount"),
    Dimension.RULE: ("reviewed_count", "reviewed", "released_count", "released", "rejected_count", "rejected"),
    Dimension.CART: ("abandoned", "reminded", "recovered", "value", "recovered_value"),
    Dimension.POST: _READ,
    Dimension.AUTHOR: _READ,
    Dimension.TRAFFIC: ("page_views", "product_views", "post_views", "searches", "cart_adds", "checkouts", "visitors"),
    Dimension.STAGE: ("visitors",),
    Dimension.SEARCH: ("searches", "visitors"),
}
"""What is summed of each dimension. Money is in minor units of the row's currency."""

HOURLY = frozenset({Dimension.TOTAL})
"""What is told over time, day by day: also kept by the hours of the days of a month. In the rollups of money alone."""


def rollup_id(generation: int, dimension: Dimension, key: str, currency: str, day: datetime) -> PydanticObjectId:
    """The id of the one row there can be: found without a look at any other."""
    return _derived_id(f"{generation}\n{dimension}\n{currency}\n{day:%Y-%m-%d}\n{key}")


def month_id(generation: int, dimension: Dimension, key: str, currency: str, month: datetime) -> PydanticObjectId:
    """As `rollup_id`, of the month that begins with this midnight."""
    return _derived_id(f"{generation}\n{dimension}\n{currency}\n{month:%Y-%m}\n{key}")


def hour_id(generation: int, dimension: Dimension, key: str, currency: str, month: datetime, hour: int) -> PydanticObjectId:
    """As `month_id`, of an hour of its days."""
    return _derived_id(f"{generation}\n{dimension}\n{currency}\n{month:%Y-%m} {hour}\n{key}")


def mark_id(generation: int, key: str) -> PydanticObjectId:
    """The id of the one mark there can be of a fact."""
    return _derived_id(f"{generation}\n{key}")


def _derived_id(text: str) -> PydanticObjectId:
    return PydanticObjectId(hashlib.blake2b(text.encode(), digest_size=12).digest())


class Rollup(AgoraDocument):
    """The sums of one UTC day. Its id is `rollup_id`: of one place, there is one row."""

    generation: int
    dimension: Dimension
    key: str = ""
    currency: str = ""  # empty for what is no money and belongs to no order
    day: UtcDatetime  # its midnight
    totals: dict[str, int] = Field(default_factory=dict)  # by metric; what never happened has no entry
    quarters: dict[str, dict[str, int]] = Field(default_factory=dict)  # the same by number of the quarter-hour, "0" to "95"

    class Settings:
        name = "analytics_rollups"
        indexes = [
            # Everything of a dimension on days that a zone cuts; those of one thing are read by their ids. Also what a rebuild
            # deletes, by its first field.
            IndexModel(
                [("generation", ASCENDING), ("dimension", ASCENDING), ("currency", ASCENDING), ("day", ASCENDING)],
                name="dimension_days",
            ),
        ]


class MonthRollup(AgoraDocument):
    """The same sums of one UTC month, of its thirds and its days: four rows of a thing tell any quarter. Its id is `month_id`.

    Any days at an end of it are a sum of few figures: of thirds, and of five days at most that are added or taken off.
    """

    generation: int
    dimension: Dimension
    key: str = ""
    currency: str = ""
    month: UtcDatetime  # the midnight it begins with
    totals: dict[str, int] = Field(default_factory=dict)  # by metric
    thirds: dict[str, dict[str, int]] = Field(default_factory=dict)  # by metric, then "1" to "3"
    days: dict[str, dict[str, int]] = Field(default_factory=dict)  # by metric, then by number of the day, "1" to "31"

    class Settings:
        name = "analytics_months"
        indexes = [
            # Everything of a dimension within a time: what was best. Also what a rebuild deletes, by its first field.
            IndexModel(
                [("generation", ASCENDING), ("dimension", ASCENDING), ("currency", ASCENDING), ("month", ASCENDING)],
                name="dimension_months",
            ),
        ]


class HourRollup(AgoraDocument):
    """The same sums of one hour of the days of a UTC month: a few rows tell what lies between the midnights of UTC and of a zone.

    Its id is `hour_id`.
    """

    generation: int
    dimension: Dimension
    key: str = ""
    currency: str = ""
    month: UtcDatetime  # the midnight it begins with
    hour: int  # 0 to 23
    days: dict[str, dict[str, int]] = Field(default_factory=dict)  # by metric, then by number of the day, "1" to "31"

    class Settings:
        name = "analytics_hours"
        indexes = [
            # What a rebuild deletes; all else reads by ids.
            IndexModel([("generation", ASCENDING)], name="generation"),
        ]


def third_of(day: int) -> int:
    """Of a month: up to the 10th, up to the 20th, the rest."""
    return 1 if day <= 10 else 2 if day <= 20 else 3


class FactMark(AgoraDocument):
    """A fact is counted in a generation. Its id is `mark_id`, so that none is counted twice."""

    generation: int
    key: str  # `sale:<order id>`
    at: UtcDatetime  # when it happened

    class Settings:
        name = "analytics_marks"
        indexes = [
            # What a rebuild leaves behind; old marks of what cannot come again.
            IndexModel([("generation", ASCENDING), ("at", ASCENDING)], name="generation_at"),
        ]


class GenerationState(StrEnum):
    BUILDING = "building"  # being filled from the raw documents, and with what happens meanwhile
    READY = "ready"  # what reports read: the newest of them
    DROPPED = "dropped"  # replaced or given up; its rows are deleted


class RollupGeneration(AgoraDocument):
    """One complete set of rollups. Numbers are never given twice: what is left of an old one disturbs no new one."""

    number: int
    state: GenerationState
    version: int = 0
    facts: int = 0  # how many the rebuild put there
    ready_at: UtcDatetime | None = None

    class Settings:
        name = "analytics_generations"
        indexes = [
            IndexModel([("number", ASCENDING)], name="number_unique", unique=True),
            # Which one is read, and which are written.
            IndexModel([("state", ASCENDING), ("number", DESCENDING)], name="state_newest"),
        ]
