"""Segments by recency, frequency and money: every customer in one, by hand and against plain Python."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from beanie import PydanticObjectId

from models.analytics.customers import CustomerSegment
from models.analytics.purchases import CustomerTotals, CustomerValue, SegmentSnapshot
from models.database import Database
from models.users import Role
from services.analytics.reports.segments import BOXES, Scale, SegmentService, segment_of
from services.errors import PermissionDeniedError
from services.pagination import PageRequest
from services.users.permissions import Viewer
from tests.commands import CommandLog

MANAGER = Viewer(PydanticObjectId(), "manager", Role.MANAGER)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


async def create_value(days_ago: float, orders: int, net: int, *, currency: str = "USD", kept: bool = True) -> CustomerValue:
    last = NOW - timedelta(days=days_ago)
    return await CustomerValue(
        customer_id=PydanticObjectId(),
        currency=currency,
        number=0,  # no matter here
        first_paid_at=NOW - timedelta(days=400),
        last_kept_at=last if kept else None,
        sales_count=orders,
        kept_count=orders if kept else 0,
        paid=net,
        refunded=0,
        net=net,
    ).store()


def test_every_combination_of_scores_is_in_exactly_one_segment() -> None:
    homes = Counter(
        (scores, segment)
        for scores in product(range(1, 6), repeat=3)
        for segment, boxes in BOXES.items()
        for box in boxes
        if all(low <= score <= high for score, (low, high) in zip(scores, box, strict=True))
    )

    assert len(homes) == 125
    assert set(homes.values()) == {1}
    assert set(BOXES) == set(CustomerSegment)


@pytest.mark.parametrize(
    ("scores", "segment"),
    [
        ((5, 5, 5), CustomerSegment.CHAMPIONS),
        ((5, 5, 3), CustomerSegment.LOYAL),
        ((3, 4, 5), CustomerSegment.LOYAL),
        ((4, 3, 1), CustomerSegment.LOYAL),
        ((4, 1, 5), CustomerSegment.NEW),
        ((5, 2, 2), CustomerSegment.PROMISING),
        ((3, 2, 5), CustomerSegment.NEEDS_ATTENTION),
        ((1, 3, 1), CustomerSegment.AT_RISK),
        ((2, 1, 4), CustomerSegment.AT_RISK),
        ((2, 2, 3), CustomerSegment.LOST),
    ],
)
def test_segment_by_hand(scores: tuple[int, int, int], segment: CustomerSegment) -> None:
    assert segment_of(*scores) is segment


def test_thresholds_belong_to_the_higher_score() -> None:
    """Ten customers who spent 1000 together: 100 on average."""
    scale = Scale(now=NOW, customers=10, net=1000)

    def scores(days: float, orders: int, net: int) -> tuple[int, int, int]:
        return scale.scores({"last_kept_at": NOW - timedelta(days=days), "kept_count": orders, "net": net})

    assert [scores(days, 1, 0)[0] for days in (0, 30, 30.01, 60, 60.01, 120, 121, 240, 241)] == [5, 5, 4, 4, 3, 3, 2, 2, 1]
    assert [scores(0, orders, 0)[1] for orders in (1, 2, 3, 4, 5, 8, 9, 50)] == [1, 2, 3, 3, 4, 4, 5, 5]
    assert [scores(0, 1, net)[2] for net in (-5, 24, 25, 49, 50, 99, 100, 199, 200)] == [1, 1, 2, 2, 3, 3, 4, 4, 5]


class TestGetSegments:
    async def test_nobody_is_seven_zeros(self, database: Database) -> None:
        report = await SegmentService.get_segments("USD", viewer=MANAGER, now=NOW)

        assert [figures.segment for figures in report.segments] == list(CustomerSegment)
        assert {(figures.customers_count, figures.orders_count, figures.net.amount) for figures in report.segments} == {(0, 0, 0)}
        assert {figures.share for figures in report.segments} == {None}

    async def test_figures_by_hand(self, database: Database, commands: CommandLog) -> None:
        """On average 1000: of four customers, of which one bought in euros and one nothing that stands."""
        await create_value(1, 10, 3200)
        await create_value(10, 1, 500)
        await create_value(300, 1, 100)
        await create_value(300, 3, 200)
        await create_value(1, 10, 99_000, currency="EUR")
        await create_value(1, 1, 99_000, kept=False)

        with commands.counting() as sent:
            report = await SegmentService.get_segments("USD", viewer=MANAGER, now=NOW)

        found = {figures.segment: figures for figures in report.segments if figures.customers_count}
        assert {
            segment: (one.customers_count, one.orders_count, one.net.amount, one.share) for segment, one in found.items()
        } == {
            CustomerSegment.CHAMPIONS: (1, 10, 3200, 2500),
            CustomerSegment.NEW: (1, 1, 500, 2500),
            CustomerSegment.AT_RISK: (1, 3, 200, 2500),
            CustomerSegment.LOST: (1, 1, 100, 2500),
        }
        assert len(sent) == 5

    async def test_report_is_of_the_last_look_for_two_hours(self, database: Database, commands: CommandLog) -> None:
        """Recency moves with the clock: the report says of which moment it is, and costs one command until it is taken anew."""
        await create_value(29.99, 1, 100)
        first = await SegmentService.get_segments("USD", viewer=MANAGER, now=NOW)
        await create_value(1, 1, 100)

        with commands.counting() as sent:
            again = await SegmentService.get_segments("USD", viewer=MANAGER, now=NOW + timedelta(hours=1, minutes=59))
        later = await SegmentService.get_segments("USD", viewer=MANAGER, now=NOW + timedelta(hours=2))

        assert (again, len(sent)) == (first, 1)
        assert (first.as_of, later.as_of) == (NOW, NOW + timedelta(hours=2))
        assert [sum(one.customers_count for one in report.segments) for report in (first, later)] == [1, 2]

    async def test_worker_looks_anew_in_every_currency(self, database: Database) -> None:
        for currency in ("EUR", "USD"):
            await CustomerTotals(currency=currency).store()
            await create_value(1, 1, 100, currency=currency)
            await SegmentService.get_segments(currency, viewer=MANAGER, now=NOW)

        assert await SegmentService.take_snapshots(now=NOW + timedelta(minutes=5)) == 2

        report = await SegmentService.get_segments("EUR", viewer=MANAGER, now=NOW + timedelta(minutes=10))
        assert (report.as_of, await SegmentSnapshot.count_rows({})) == (NOW + timedelta(minutes=5), 2)

    async def test_customers_who_were_all_paid_back_are_scored_alike(self, database: Database) -> None:
        """The average is nothing, and so is every threshold."""
        await create_value(1, 9, 0)

        report = await SegmentService.get_segments("USD", viewer=MANAGER, now=NOW)
        page = await SegmentService.list_members(
            CustomerSegment.CHAMPIONS, currency="USD", viewer=MANAGER, page=PageRequest(), now=NOW
        )

        assert [one.segment for one in report.segments if one.customers_count] == [CustomerSegment.CHAMPIONS]
        assert [(member.recency, member.frequency, member.monetary) for member in page.items] == [(5, 5, 5)]


class TestListMembers:
    async def test_random_customers_are_where_plain_python_puts_them(self, database: Database) -> None:
        """Counts, pages and the members' own scores agree, values on the thresholds among them."""
        dice = random.Random(7)
        made = [
            await create_value(
                dice.choice([0, 30, 31, 60, 100, 120, 200, 240, 241]), dice.randrange(1, 12), dice.randrange(-50, 900)
            )
            for _ in range(120)
        ]
        average = sum(value.net for value in made) / len(made)

        def home(value: CustomerValue) -> CustomerSegment:
            assert value.last_kept_at is not None
            days = (NOW - value.last_kept_at) / timedelta(days=1)
            recency = next((score for score, most in ((5, 30), (4, 60), (3, 120), (2, 240)) if days <= most), 1)
            frequency = next(score for score, least in ((5, 9), (4, 5), (3, 3), (2, 2), (1, 1)) if value.kept_count >= least)
            ratio = value.net / average
            monetary = next((score for score, least in ((5, 2), (4, 1), (3, 0.5), (2, 0.25)) if ratio >= least), 1)
            return segment_of(recency, frequency, monetary)

        wanted = Counter(home(value) for value in made)
        report = await SegmentService.get_segments("USD", viewer=MANAGER, now=NOW)
        assert {figures.segment: figures.customers_count for figures in report.segments if figures.customers_count} == wanted
        for segment in CustomerSegment:
            ids = []
            for number in (1, 2, 3):
                page = await SegmentService.list_members(
                    segment, currency="USD", viewer=MANAGER, page=PageRequest(number, 50), now=NOW
                )
                assert page.total_count == wanted[segment]
                assert {segment_of(one.recency, one.frequency, one.monetary) for one in page.items} <= {segment}
                ids += [one.customer_id for one in page.items]
            own = sorted((value for value in made if home(value) is segment), key=lambda value: (-value.net, value.id))
            assert ids == [value.customer_id for value in own]

    async def test_two_commands_and_no_address(self, database: Database, commands: CommandLog) -> None:
        await create_value(1, 1, 100)
        await SegmentService.get_segments("USD", viewer=MANAGER, now=NOW)

        with commands.counting() as sent:
            page = await SegmentService.list_members(
                CustomerSegment.NEW, currency="USD", viewer=MANAGER, page=PageRequest(), now=NOW
            )

        assert len(sent) == 2
        [member] = page.items
        assert "email" not in type(member).model_fields
        assert (member.orders_count, member.net.amount, member.last_paid_at) == (1, 100, NOW - timedelta(days=1))

    async def test_only_who_manages_orders_sees_customers(self, database: Database) -> None:
        reader = Viewer(PydanticObjectId(), "editor", Role.EDITOR)

        with pytest.raises(PermissionDeniedError):
            await SegmentService.list_members(CustomerSegment.NEW, currency="USD", viewer=reader, page=PageRequest())
        with pytest.raises(PermissionDeniedError):
            await SegmentService.get_segments("USD", viewer=reader)
