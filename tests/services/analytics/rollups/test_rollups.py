"""Rollups: facts counted once, whoever tells them, and sums over periods of any zone, by hand and against plain Python."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as chances
from hypothesis import strategies as st

from models.analytics.rollups import (
    METRICS,
    PERMANENT,
    Dimension,
    FactMark,
    GenerationState,
    HourRollup,
    MonthRollup,
    Rollup,
    RollupGeneration,
)
from models.database import Database, Session, run_transaction
from services.analytics.periods import Granularity, InvalidPeriodError, Period
from services.analytics.rollups import counting
from services.analytics.rollups.rollups import Entry, Fact, RollupService
from tests.commands import CommandLog
from tests.races import from_another_process, rounds, seeds

ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana")
FIRST = datetime(2026, 10, 20, tzinfo=UTC)  # Berlin changes its clocks on the 25th, Lord Howe did on the 4th


def sale(number: int, at: str | datetime, *, total: int = 100, product: str = "p1", currency: str = "USD") -> Fact:
    moment = at if isinstance(at, datetime) else datetime.fromisoformat(at).replace(tzinfo=UTC)
    figures = {"orders": 1, "total": total}
    places = ((Dimension.TOTAL, ""), (Dimension.PRODUCT, product))
    return Fact(f"sale:{number}", moment, [Entry(dimension, key, currency, figures) for dimension, key in places])


def days(start: str, end: str, zone: str = "UTC") -> Period:
    return Period(date.fromisoformat(start), date.fromisoformat(end), ZoneInfo(zone))


async def total(period: Period, metric: str = "total", dimension: Dimension = Dimension.TOTAL, key: str = "") -> int:
    return (await RollupService.totals(dimension, key=key, currency="USD", period=period))[metric]


async def books() -> list[tuple[str, str, str, str, dict[str, int], dict[str, dict[str, int]]]]:
    """What is stored in the generations that count, without their numbers and ids."""
    live = {row["number"] for row in await RollupGeneration.find_rows({"state": GenerationState.READY.value})} | {PERMANENT}
    rows = await Rollup.find_rows({}, sort=[("dimension", 1), ("key", 1), ("currency", 1), ("day", 1)])
    return [
        (row["dimension"], row["key"], row["currency"], f"{row['day']:%Y-%m-%d}", row["totals"], row["quarters"])
        for row in rows
        if row["generation"] in live
    ]


class TestApply:
    async def test_moves_the_day_and_its_quarter_hour(self, database: Database) -> None:
        facts = [sale(1, "2026-11-01T10:14:59.999"), sale(2, "2026-11-01T10:15", total=20), sale(3, "2026-11-01T10:29", total=3)]
        assert await RollupService.apply(facts) == 3

        quarters = {"40": {"orders": 1, "total": 100}, "41": {"orders": 2, "total": 23}}
        expected = ("USD", "2026-11-01", {"orders": 3, "total": 123}, quarters)
        assert await books() == [("product", "p1", *expected), ("total", "", *expected)]

    async def test_moves_the_month_its_third_and_its_day(self, database: Database) -> None:
        await RollupService.apply([sale(1, "2026-11-30T23:59:59.999"), sale(2, "2026-11-10T10:00", total=20)])
        await RollupService.apply([sale(3, "2026-11-21T00:00", total=3), sale(4, "2026-12-01T00:00", total=4000)])

        rows = await MonthRollup.find_rows({"dimension": "product"}, sort=[("month", 1)])
        assert [f"{row['month']:%Y-%m-%d}" for row in rows] == ["2026-11-01", "2026-12-01"]
        assert {name: rows[0][name] for name in ("totals", "thirds", "days")} == {
            "totals": {"orders": 3, "total": 123},
            "thirds": {"orders": {"1": 1, "3": 2}, "total": {"1": 20, "3": 103}},
            "days": {"orders": {"30": 1, "10": 1, "21": 1}, "total": {"30": 100, "10": 20, "21": 3}},
        }
        assert rows[1]["days"] == {"orders": {"1": 1}, "total": {"1": 4000}}

    async def test_adds_to_what_is_there(self, database: Database) -> None:
        await RollupService.apply([sale(1, "2026-11-01T23:59")])
        await RollupService.apply([sale(2, "2026-11-01T23:59"), sale(3, "2026-11-01T00:00")])

        assert [row[4:] for row in await books() if row[0] == "total"] == [
            ({"orders": 3, "total": 300}, {"95": {"orders": 2, "total": 200}, "0": {"orders": 1, "total": 100}})
        ]

    async def test_a_fact_told_again_counts_once(self, database: Database) -> None:
        one, other = sale(1, "2026-11-01T10:00"), sale(2, "2026-11-01T10:00")
        assert await RollupService.apply([one, one]) == 1
        assert await RollupService.apply([one, other]) == 1
        assert await RollupService.apply([other, one]) == 0

        assert await total(days("2026-11-01", "2026-11-02"), "orders") == 2
        assert len(await FactMark.find_rows({})) == 2

    async def test_nothing_sends_no_command(self, database: Database, commands: CommandLog) -> None:
        with commands.counting() as sent:
            assert await RollupService.apply([]) == 0

        assert len(sent) == 0

    async def test_sends_seven_commands_however_many_facts(self, database: Database, commands: CommandLog) -> None:
        await RollupService.apply([sale(0, "2026-11-01T10:00")])
        with commands.counting() as sent:
            await RollupService.apply([sale(number, "2026-11-01T10:00") for number in range(50)])

        assert [name.split()[0] for name in sent.sent] == [*["find"] * 5, "bulkWrite", "commitTransaction"]

    async def test_joins_the_callers_transaction(self, database: Database) -> None:
        class ThinksBetterOfItError(Exception):
            pass

        async def work(session: Session) -> None:
            await RollupService.apply([sale(1, "2026-11-01T10:00")])
            raise ThinksBetterOfItError

        with pytest.raises(ThinksBetterOfItError):
            await run_transaction(work)

        assert await books() == []
        assert await FactMark.find_rows({}) == []

    async def test_what_has_no_currency_is_kept_apart(self, database: Database) -> None:
        visit = Fact("visit:1", FIRST, [Entry(Dimension.TRAFFIC, "", "", {"page_views": 1})])
        await RollupService.apply([visit, sale(1, FIRST)])

        assert {row["generation"] for row in await Rollup.find_rows({"dimension": "traffic"})} == {PERMANENT}
        assert {row["generation"] for row in await Rollup.find_rows({"dimension": "total"})} == {1}

    @pytest.mark.parametrize("seed", seeds())
    async def test_many_at_once_count_each_fact_once(
        self, database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
    ) -> None:
        """Fifty callers who share facts and rows; half of the rounds as if each were a process of its own."""
        if seed % 2:
            monkeypatch.setattr(counting, "run_transaction", from_another_process)
        dice = random.Random(seed)
        facts = [sale(number, FIRST + timedelta(hours=number % 30), total=number) for number in range(20)]
        counted = await asyncio.gather(*(RollupService.apply(dice.sample(facts, 3)) for _ in range(50)))
        await RollupService.apply(facts)

        assert sum(counted) <= 20
        assert await total(days("2026-10-20", "2026-10-22"), "orders") == 20
        assert await total(days("2026-10-20", "2026-10-22")) == sum(range(20))


class TestTotals:
    async def test_days_are_those_of_the_zone(self, database: Database) -> None:
        """The 1st of November begins at 18:15 UTC in Kathmandu and at 23:00 in Berlin."""
        await RollupService.apply(
            [
                sale(1, "2026-10-31T18:14:59", total=1),
                sale(2, "2026-10-31T18:15", total=10),
                sale(3, "2026-10-31T23:00", total=100),
                sale(4, "2026-11-01T18:15", total=1000),
                sale(5, "2026-11-01T23:00", total=10000),
            ]
        )

        assert await total(days("2026-11-01", "2026-11-02")) == 11000
        assert await total(days("2026-11-01", "2026-11-02", "Asia/Kathmandu")) == 110
        assert await total(days("2026-11-01", "2026-11-02", "Europe/Berlin")) == 1100
        assert await total(days("2026-10-31", "2026-11-03", "Europe/Berlin")) == 11111

    async def test_nothing_is_zero_of_everything(self, database: Database) -> None:
        for currency in ("USD", ""):
            sums = await RollupService.totals(Dimension.TOTAL, currency=currency, period=days("2026-11-01", "2026-11-02"))
            assert sums == dict.fromkeys(METRICS[Dimension.TOTAL], 0)

    async def test_currencies_and_keys_do_not_mix(self, database: Database) -> None:
        await RollupService.apply(
            [sale(1, "2026-11-01T10:00"), sale(2, "2026-11-01T10:00", currency="EUR"), sale(3, "2026-11-01T10:00", product="p2")]
        )
        day = days("2026-11-01", "2026-11-02")

        assert await total(day, "orders") == 2
        assert await total(day, "orders", Dimension.PRODUCT, "p2") == 1
        assert await total(day, "orders", Dimension.PRODUCT, "p3") == 0

    @pytest.mark.parametrize(("zone", "read"), [("UTC", [(4, "months")]), ("Asia/Kathmandu", [(4, "months"), (2, "rollups")])])
    async def test_reads_a_row_per_month_and_per_day_that_is_cut_by_their_ids(
        self, database: Database, commands: CommandLog, zone: str, read: list[tuple[int, str]]
    ) -> None:
        await RollupService.apply([sale(1, "2026-11-01T10:00")])
        with commands.counting() as sent:
            await total(days("2026-08-10", "2026-11-10", zone))

        asked = [(len(one.filter["_id"]["$in"]), one.collection.removeprefix("analytics_")) for one in sent.reads[1:]]
        assert asked == read
        assert (sent.reads[0].filter, sent.reads[0].sort) == ({"state": "ready"}, [("number", -1)])


class TestSeries:
    async def test_has_a_row_for_every_bucket(self, database: Database) -> None:
        await RollupService.apply(
            [sale(1, "2026-10-25T00:30", total=1), sale(2, "2026-10-25T01:30", total=10), sale(3, "2026-10-25T22:59", total=100)]
        )
        night = days("2026-10-25", "2026-10-26", "Europe/Berlin")
        hours = await RollupService.series(Dimension.TOTAL, currency="USD", period=night, granularity=Granularity.HOUR)
        each = await RollupService.series(
            Dimension.TOTAL,
            currency="USD",
            period=days("2026-10-24", "2026-10-27", "Europe/Berlin"),
            granularity=Granularity.DAY,
        )

        # The hour from two to three comes twice.
        assert [sums["total"] for sums in hours] == [0, 0, 1, 10, *[0] * 20, 100]
        assert [sums["total"] for sums in each] == [0, 111, 0]

    @pytest.mark.parametrize(
        ("dimension", "zone", "read"),
        [
            (Dimension.TOTAL, "Europe/Berlin", [(4, "months"), (9, "hours")]),  # from 22:00, in November from 23:00
            (Dimension.TOTAL, "Asia/Kathmandu", [(94, "rollups")]),  # midnight is no whole hour
            (Dimension.PRODUCT, "Europe/Berlin", [(94, "rollups")]),  # not told over time
        ],
    )
    async def test_reads_rows_of_hours_where_a_zone_cuts_every_day_at_a_whole_one(
        self, database: Database, commands: CommandLog, dimension: Dimension, zone: str, read: list[tuple[int, str]]
    ) -> None:
        await RollupService.apply([sale(1, "2026-10-31T22:30"), sale(2, "2026-10-31T23:30", total=7)])
        with commands.counting() as sent:
            period = days("2026-08-01", "2026-11-02", zone)
            await RollupService.series(dimension, currency="USD", period=period, granularity=Granularity.DAY)

        asked = [(len(one.filter["_id"]["$in"]), one.collection.removeprefix("analytics_")) for one in sent.reads[1:]]
        assert asked == read

    async def test_hours_of_too_many_days_are_refused(self, database: Database) -> None:
        with pytest.raises(InvalidPeriodError):
            await RollupService.series(Dimension.TOTAL, period=days("2026-08-01", "2026-11-02"), granularity=Granularity.HOUR)


class TestTop:
    async def test_is_ranked_by_the_metric_and_then_the_key(self, database: Database) -> None:
        await RollupService.apply(
            [
                sale(1, "2026-10-31T23:30", product="b", total=50),  # the 1st in Berlin
                sale(2, "2026-11-01T12:00", product="a", total=70),
                sale(3, "2026-11-02T12:00", product="b", total=20),
                sale(4, "2026-11-02T12:00", product="c", total=99),
                sale(5, "2026-11-02T23:00", product="c", total=1000),  # the 3rd in Berlin
                sale(6, "2026-11-02T12:00", product="d", total=0),
            ]
        )
        period = days("2026-11-01", "2026-11-03", "Europe/Berlin")
        best = await RollupService.top(Dimension.PRODUCT, currency="USD", period=period, metric="total", limit=9)
        most = await RollupService.top(Dimension.PRODUCT, currency="USD", period=period, metric="orders", limit=2)

        assert [(key, sums["total"]) for key, sums in best] == [("c", 99), ("a", 70), ("b", 70)]
        assert [(key, sums["orders"]) for key, sums in most] == [("b", 2), ("a", 1)]
        assert best[0][1] == {**dict.fromkeys(METRICS[Dimension.PRODUCT], 0), "orders": 1, "total": 99}

    async def test_nothing_is_empty(self, database: Database) -> None:
        period = days("2026-11-01", "2026-11-03")
        assert await RollupService.top(Dimension.PRODUCT, currency="USD", period=period, metric="total", limit=5) == []
        assert await RollupService.top(Dimension.SEARCH, period=period, metric="searches", limit=5) == []

    @pytest.mark.parametrize(("zone", "months", "cut"), [("UTC", 4, 0), ("Europe/Berlin", 3, 1)])
    async def test_finds_the_best_in_one_pipeline_and_reads_them_alone(
        self, database: Database, commands: CommandLog, zone: str, months: int, cut: int
    ) -> None:
        await RollupService.apply([sale(n, "2026-11-01T10:00", product=f"p{n}") for n in range(9)])
        period = days("2026-08-20", "2026-11-02", zone)
        with commands.counting() as sent:
            await RollupService.top(Dimension.PRODUCT, currency="USD", period=period, metric="total", limit=5)

        _, best, *edges, rows = sent.reads[: 3 + cut]
        assert list(best.filter) == ["generation", "dimension", "currency", "month"]
        assert [list(read.filter) for read in edges] == [["generation", "dimension", "currency", "day"]] * cut
        assert len(rows.filter["_id"]["$in"]) == 5 * months
        assert len(sent) == 3 + 2 * cut


# The days about FIRST, a few of them by their quarters, and months on both sides of them.
Moment = st.one_of(
    st.integers(0, 12 * 96 - 1).map(lambda quarter: FIRST + quarter * timedelta(minutes=15)),
    st.integers(-60, 60).map(lambda day: FIRST + timedelta(days=day)),
)
Facts = st.lists(
    st.builds(
        lambda at, late, amount, product: (at + timedelta(milliseconds=late), amount, product),
        Moment,
        st.integers(0, 899_999),
        st.integers(-500, 5000),
        st.sampled_from(["p1", "p2", "p3"]),
    ),
    max_size=40,
)


def summed(facts: Iterable[Fact], start: datetime, end: datetime) -> int:
    return sum(fact.entries[0].metrics["total"] for fact in facts if start <= fact.at < end)


class TestProperty:
    @chances(max_examples=rounds(8, 200))
    @given(
        histories=st.lists(Facts, min_size=1, max_size=1),
        offset=st.one_of(st.integers(0, 9), st.integers(-50, 20)),
        length=st.one_of(st.integers(1, 10), st.integers(1, 100)),
    )
    async def test_sums_of_any_zone_are_those_of_plain_python(
        self, database: Database, histories: Sequence[list[tuple[datetime, int, str]]], offset: int, length: int
    ) -> None:
        for document in (Rollup, MonthRollup, HourRollup, FactMark, RollupGeneration):
            await document.collection().delete_many({})
        facts = [sale(number, at, total=amount, product=product) for number, (at, amount, product) in enumerate(histories[0])]
        for at in range(0, len(facts), 7):
            await RollupService.apply(facts[at : at + 9])

        first = FIRST.date() + timedelta(days=offset)
        for zone in ZONES:
            period = Period(first, first + timedelta(days=length), ZoneInfo(zone))
            start, end = period.bounds
            assert await total(period) == summed(facts, start, end)
            for granularity in Granularity if length <= 14 else (Granularity.DAY, Granularity.MONTH):
                series = await RollupService.series(Dimension.TOTAL, currency="USD", period=period, granularity=granularity)
                buckets = period.buckets(granularity)
                assert [sums["total"] for sums in series] == [summed(facts, one.start, one.end) for one in buckets]
            by_product: defaultdict[str, int] = defaultdict(int)
            for fact in facts:
                if start <= fact.at < end:
                    by_product[fact.entries[1].key] += fact.entries[0].metrics["total"]
            ranked = sorted(((-amount, key) for key, amount in by_product.items() if amount > 0))
            top = await RollupService.top(Dimension.PRODUCT, currency="USD", period=period, metric="total", limit=2)
            assert [(key, sums["total"]) for key, sums in top] == [(key, -amount) for amount, key in ranked[:2]]
            found = await RollupService.by_key(Dimension.PRODUCT, currency="USD", period=period)
            assert {key: sums["total"] for key, sums in found.items() if sums["total"]} == {
                k: n for k, n in by_product.items() if n
            }
