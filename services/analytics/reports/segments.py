"""Customers by recency, frequency and money: what each score means, which scores make which segment, who is in one.

Thresholds are fixed and documented rather than quintiles, so that a customer moves by what they do, not by what others do; money
alone is measured beside the average customer, as amounts mean different things in different shops and currencies.
"""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from models.analytics.customers import CustomerSegment, SegmentFigures, SegmentMember, SegmentReport
from models.analytics.purchases import CustomerTotals, CustomerValue, SegmentSnapshot, SegmentSum
from models.base import now as present
from models.database import DuplicateKeyError
from models.money import Money
from services.analytics.reports.buckets import stretch_number, whole_minute
from services.analytics.reports.figures import rate
from services.errors import NotFoundError
from services.heavy import heavy_work
from services.pagination import Page, PageRequest, page_of
from services.users.permissions import Permission, Viewer

Row = dict[str, Any]
Span = tuple[int, int]

RECENCY_DAYS = (240, 120, 60, 30)  # bought within so many days: 2, 3, 4, 5
FREQUENCIES = (2, 3, 5, 9)  # from so many orders: 2, 3, 4, 5
SNAPSHOT_LIVES = timedelta(hours=2)  # the worker takes one every hour
MONETARY_QUARTERS = (1, 2, 4, 8)  # from so many quarters of the average customer's spend: 2, 3, 4, 5

# By segment, boxes of scores (recency, frequency, monetary; both ends included) that together hold every customer once.
BOXES: Mapping[CustomerSegment, Sequence[tuple[Span, Span, Span]]] = {
    CustomerSegment.CHAMPIONS: [((4, 5), (4, 5), (4, 5))],
    CustomerSegment.LOYAL: [((3, 3), (3, 5), (1, 5)), ((4, 5), (3, 3), (1, 5)), ((4, 5), (4, 5), (1, 3))],
    CustomerSegment.NEW: [((4, 5), (1, 1), (1, 5))],
    CustomerSegment.PROMISING: [((4, 5), (2, 2), (1, 5))],
    CustomerSegment.NEEDS_ATTENTION: [((3, 3), (1, 2), (1, 5))],
    CustomerSegment.AT_RISK: [((1, 2), (3, 5), (1, 5)), ((1, 2), (1, 2), (4, 5))],
    CustomerSegment.LOST: [((1, 2), (1, 2), (1, 3))],
}


class Scale:
    """The thresholds of one moment and one average, each the least value of its score; the first has none below it."""

    def __init__(self, *, now: datetime, customers: int, net: int) -> None:
        self.recency = [now - timedelta(days=days) for days in RECENCY_DAYS]
        self.frequency = list(FREQUENCIES)
        # net >= quarters / 4 of the average, in whole minor units: rounded up, so that the integers on both sides agree.
        self.monetary = [-(-max(net, 0) * quarters // (4 * customers)) if customers else 0 for quarters in MONETARY_QUARTERS]

    def scores(self, row: Mapping[str, Any]) -> tuple[int, int, int]:
        return (
            _score(row["last_kept_at"], self.recency),
            _score(row["kept_count"], self.frequency),
            _score(row["net"], self.monetary),
        )

    def expression(self) -> Row:
        """The three scores, as a pipeline computes them."""
        return {
            name: {"$add": [1, stretch_number(field, [None, *starts])]}
            for name, field, starts in (
                ("r", "$last_kept_at", self.recency),
                ("f", "$kept_count", self.frequency),
                ("m", "$net", self.monetary),
            )
        }

    def query(self, segment: CustomerSegment) -> list[Row]:
        """The boxes of a segment as conditions, one of which its customers meet."""
        fields: list[tuple[str, list[Any]]] = [
            ("last_kept_at", self.recency),
            ("kept_count", self.frequency),
            ("net", self.monetary),
        ]
        boxes = []
        for box in BOXES[segment]:
            ranges = {field: _range(starts, span) for (field, starts), span in zip(fields, box, strict=True)}
            boxes.append({field: wanted for field, wanted in ranges.items() if wanted})
        return boxes


class SegmentNotFoundError(NotFoundError):
    """There is no segment of that name."""

    code = "segment_not_found"

    def __init__(self, segment: str) -> None:
        super().__init__("segment", segment)


class SegmentService:
    @staticmethod
    async def get_segments(currency: str, *, viewer: Viewer, now: datetime | None = None) -> SegmentReport:
        """How many customers of each segment there are and what they spent, all zero when nobody bought.

        They are of the moment in the report, at most two hours ago: the worker looks every hour. One command; where no such look
        is kept, it is taken here, with five. Customers all of whose orders were cancelled are in none. Raises
        PermissionDeniedError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        snapshot = await _snapshot_of(currency, now or present())
        everybody = sum(found.customers for found in snapshot.segments)
        segments = [
            SegmentFigures(
                segment=found.segment,
                customers_count=found.customers,
                orders_count=found.orders,
                net=Money(amount=found.net, currency=currency),
                share=rate(found.customers, everybody),
            )
            for found in snapshot.segments
        ]
        return SegmentReport(as_of=snapshot.as_of, currency=currency, segments=segments)

    @staticmethod
    async def take_snapshots(*, now: datetime | None = None) -> int:
        """Look anew at the customers of every currency, and return how many currencies that were."""
        currencies = [row["currency"] for row in await CustomerTotals.find_rows({}, {"currency": 1})]
        for currency in currencies:
            await _take_snapshot(currency, now or present())
        return len(currencies)

    @staticmethod
    async def list_members(
        segment: str, *, currency: str, viewer: Viewer, page: PageRequest, now: datetime | None = None
    ) -> Page[SegmentMember]:
        """The customers of a segment as they stand now, who spent most first, then by id. Two commands.

        Measured by the thresholds of the report, so that both are of the same segments but for who bought since; how many there
        are is what the report says. A list of people costs what people there are: those of the currency are looked through.
        Raises PermissionDeniedError for who may not manage orders, SegmentNotFoundError, and OverloadedError.
        """
        viewer.require(Permission.MANAGE_ORDERS)
        if segment not in set(CustomerSegment):
            raise SegmentNotFoundError(segment)
        snapshot = await _snapshot_of(currency, now or present())
        scale = _scale_of(snapshot)
        async with heavy_work():
            query = {"currency": currency, "kept_count": {"$gt": 0}, "$or": scale.query(CustomerSegment(segment))}
            rows = await CustomerValue.find_rows(query, sort=[("net", -1), ("_id", 1)], skip=page.skip, limit=page.limit)
        total = sum(found.customers for found in snapshot.segments if found.segment == segment)
        return page_of([_member(row, scale) for row in rows], page, total)


def segment_of(recency: int, frequency: int, monetary: int) -> CustomerSegment:
    scores = (recency, frequency, monetary)
    return next(
        segment
        for segment, boxes in BOXES.items()
        if any(all(low <= score <= high for score, (low, high) in zip(scores, box, strict=True)) for box in boxes)
    )


def standing_pipeline(currency: str) -> list[Row]:
    """One row, `{"customers": 3, "net": 12345}`, of customers with an order that stands, or none; starts in `customer_values`."""
    return [
        {"$match": {"currency": currency}},
        {"$match": {"kept_count": {"$gt": 0}}},
        {"$group": {"_id": None, "customers": {"$sum": 1}, "net": {"$sum": "$net"}}},
        {"$project": {"_id": 0}},
    ]


def scores_pipeline(currency: str, scale: Scale) -> list[Row]:
    """At most 125 rows `{"_id": {"r": 5, "f": 1, "m": 3}, "customers": 7, "orders": 7, "net": 9100}`."""
    return [
        {"$match": {"currency": currency}},
        {"$match": {"kept_count": {"$gt": 0}}},
        {
            "$group": {
                "_id": scale.expression(),
                "customers": {"$sum": 1},
                "orders": {"$sum": "$kept_count"},
                "net": {"$sum": "$net"},
            }
        },
    ]


async def _snapshot_of(currency: str, now: datetime) -> SegmentSnapshot:
    """The one that is kept, or a new one where it is too old."""
    row = await SegmentSnapshot.find_row({"currency": currency})
    if row is not None and now - SNAPSHOT_LIVES < row["as_of"] <= now:
        return SegmentSnapshot.from_row(row)
    return await _take_snapshot(currency, now)


async def _take_snapshot(currency: str, now: datetime) -> SegmentSnapshot:
    moment = whole_minute(now)
    async with heavy_work():
        standing = await CustomerValue.aggregate_rows(standing_pipeline(currency))
        customers, net = (int(standing[0][name]) if standing else 0 for name in ("customers", "net"))
        scale = Scale(now=moment, customers=customers, net=net)
        rows = await CustomerValue.aggregate_rows(scores_pipeline(currency, scale))
    sums = {segment: [0, 0, 0] for segment in CustomerSegment}
    for row in rows:
        scores = row["_id"]
        counted = sums[segment_of(scores["r"], scores["f"], scores["m"])]
        for at, name in enumerate(("customers", "orders", "net")):
            counted[at] += int(row[name])
    segments = [
        SegmentSum(segment=segment, customers=n, orders=orders, net=spent) for segment, (n, orders, spent) in sums.items()
    ]
    snapshot = SegmentSnapshot(currency=currency, as_of=moment, customers=customers, net=net, segments=segments)
    await _keep(snapshot)
    return snapshot


async def _keep(snapshot: SegmentSnapshot) -> None:
    """In place of the one before; of two at once, either."""
    fields = {name: value for name, value in snapshot.row().items() if name not in ("_id", "created_at")}
    if not await SegmentSnapshot.change_row({"currency": snapshot.currency}, {"$set": fields}):
        with contextlib.suppress(DuplicateKeyError):
            await snapshot.store()


def _scale_of(snapshot: SegmentSnapshot) -> Scale:
    return Scale(now=snapshot.as_of, customers=snapshot.customers, net=snapshot.net)


def _score(value: Any, starts: Sequence[Any]) -> int:
    return 1 + sum(1 for start in starts if value >= start)


def _range(starts: Sequence[Any], span: Span) -> Row:
    low, high = span
    lower = {"$gte": starts[low - 2]} if low > 1 else {}
    return {**lower, "$lt": starts[high - 1]} if high <= len(starts) else lower


def _member(row: Row, scale: Scale) -> SegmentMember:
    recency, frequency, monetary = scale.scores(row)
    return SegmentMember(
        customer_id=row["customer_id"],
        recency=recency,
        frequency=frequency,
        monetary=monetary,
        orders_count=row["kept_count"],
        net=Money(amount=row["net"], currency=row["currency"]),
        first_paid_at=row["first_paid_at"],
        last_paid_at=row["last_kept_at"],
    )
