import asyncio
import random
from collections import Counter
from datetime import UTC, date, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from models.analytics.events import SearchedTerm, VisitEvent, VisitKind
from models.analytics.rollups import Dimension, FactMark, Rollup
from models.database import Database
from services.analytics.periods import Period
from services.analytics.rollups.rollups import RollupService
from services.analytics.visits.intake import VisitService
from services.analytics.visits.traffic import TrafficService
from services.analytics.visits.visitors import VisitorSalts
from services.jobs import JobService
from services.settings import Settings
from services.worker import make_jobs
from tests.commands import CommandLog
from tests.factories.visits import NOON, create_event, make_event, make_told, make_visitor
from tests.races import seeds
from tests.shapes import serving_index

UTC_DAY = Period(date(2026, 11, 21), date(2026, 11, 22), ZoneInfo("UTC"))


async def traffic(period: Period = UTC_DAY) -> dict[str, int]:
    sums = await RollupService.totals(Dimension.TRAFFIC, period=period)
    return {metric: count for metric, count in sums.items() if count}


async def stages(period: Period = UTC_DAY) -> list[int]:
    return [
        (await RollupService.totals(Dimension.STAGE, key=stage, period=period))["visitors"]
        for stage in ("view", "cart", "checkout", "paid")
    ]


async def contents() -> list[tuple[str, str, str, object, object]]:
    rows = await Rollup.find_rows({"generation": 0})
    return sorted((row["dimension"], row["key"], str(row["day"]), row["totals"], row["quarters"]) for row in rows)


class TestRollUp:
    async def test_each_kind_is_counted_and_each_visitor_once(self, database: Database) -> None:
        for kind in VisitKind:
            await create_event(kind, "a")
            await create_event(kind, "b" if kind is VisitKind.PAGE_VIEW else "a", NOON + timedelta(hours=1))

        assert await TrafficService.roll_up_all() == 18

        assert await traffic() == {
            "page_views": 2,
            "product_views": 2,
            "post_views": 2,
            "searches": 2,
            "cart_adds": 2,
            "checkouts": 2,
            "visitors": 2,
        }
        assert await stages() == [1, 1, 1, 1]
        assert await VisitEvent.find_rows({"is_rolled": False}) == []
        assert await TrafficService.roll_up() == 0

    async def test_who_reached_a_stage_has_passed_those_before(self, database: Database) -> None:
        await create_event(VisitKind.PAGE_VIEW, "only looks around")
        await create_event(VisitKind.PRODUCT_VIEW, "views")
        await create_event(VisitKind.CART_ADD, "fills a cart at once")
        await create_event(VisitKind.CHECKOUT_STARTED, "opens the checkout")
        await create_event(VisitKind.CHECKOUT, "is declined")
        for kind in (VisitKind.PRODUCT_VIEW, VisitKind.CART_ADD, VisitKind.CHECKOUT, VisitKind.PAID):
            await create_event(kind, "pays")
        await create_event(VisitKind.CART_REMOVE, "empties")

        await TrafficService.roll_up_all()

        assert await stages() == [5, 4, 3, 1]

    async def test_what_happens_again_counts_once(self, database: Database) -> None:
        """The mark is lost, or the worker was killed before it: the facts' keys hold."""
        await create_event(VisitKind.SEARCH, term="linen")
        await TrafficService.roll_up()
        before = await contents()
        await VisitEvent.change_many({}, {"$set": {"is_rolled": False}})

        assert await TrafficService.roll_up() == 1

        assert await contents() == before

    async def test_two_workers_count_each_row_once(self, database: Database) -> None:
        for n in range(30):
            await create_event(VisitKind.PRODUCT_VIEW, f"v{n % 4}")

        await asyncio.gather(*(TrafficService.roll_up(limit=10) for _ in range(6)))
        await TrafficService.roll_up_all()

        assert await traffic() == {"product_views": 30, "visitors": 4}

    async def test_visitors_of_a_day_stand_on_its_date_in_other_zones(self, database: Database) -> None:
        """20 November, 23:30 UTC, is the 21st in Berlin: the view moves there, the visitor of that UTC day does not."""
        await create_event(VisitKind.PAGE_VIEW, "a", NOON - timedelta(hours=12, minutes=30))
        await TrafficService.roll_up()
        days = [date(2026, 11, 20), date(2026, 11, 21), date(2026, 11, 22)]
        zones = [ZoneInfo("Europe/Berlin"), ZoneInfo("America/Los_Angeles")]

        told = [[await traffic(Period(days[n], days[n + 1], zone)) for n in (0, 1)] for zone in zones]

        assert told == [[{"visitors": 1}, {"page_views": 1}], [{"page_views": 1, "visitors": 1}, {}]]

    async def test_sources_are_campaigns_and_sites_and_count_visitors(self, database: Database) -> None:
        await create_event(visitor="a", source="letter", campaign="spring", referrer="mail.example")
        await create_event(visitor="a", source="letter", campaign="spring")
        await create_event(visitor="b", referrer="mail.example")
        await create_event(visitor="c")
        await create_event(VisitKind.CHECKOUT_STARTED, visitor="d", referrer="mail.example")

        await TrafficService.roll_up()

        top = await RollupService.top(Dimension.SOURCE, period=UTC_DAY, metric="visits", limit=10)
        assert [(source, sums["visits"]) for source, sums in top] == [("campaign:spring", 1), ("letter", 1), ("mail.example", 1)]

    @pytest.mark.parametrize("seed", seeds(1))
    async def test_equals_a_recomputation_over_the_raw_rows(self, database: Database, seed: int) -> None:
        """Over a random history, rolled up by turns with what comes in, in a zone whose clocks change within it."""
        draw = random.Random(seed)
        start, zone = NOON.replace(month=10, day=23), ZoneInfo("Europe/Berlin")  # clocks go back on the 25th
        rows = [
            make_event(
                draw.choice(list(VisitKind)),
                f"v{draw.randrange(8)}",
                start + timedelta(minutes=draw.randrange(4 * 24 * 60)),
                term=draw.choice(["", "linen", "wool"]),
            )
            for _ in range(150)
        ]
        # A visitor's hash is of one day.
        rows = [row.model_copy(update={"visitor": f"{row.visitor} {row.at:%d}"}) for row in rows]
        for row in rows:
            await row.store()
            if draw.random() < 0.05:
                await TrafficService.roll_up(limit=draw.randrange(1, 9))
        await TrafficService.roll_up_all()

        for n in range(-1, 6):
            day = date(2026, 10, 23) + timedelta(days=n)
            period = Period(day, day + timedelta(days=1), zone)
            mine = [row for row in rows if row.at.astimezone(zone).date() == day]
            noon = [row for row in rows if row.at.astimezone(UTC).date() == day]
            counts = Counter(row.kind for row in mine)
            expected = {
                "page_views": counts[VisitKind.PAGE_VIEW],
                "product_views": counts[VisitKind.PRODUCT_VIEW],
                "post_views": counts[VisitKind.POST_VIEW],
                "searches": counts[VisitKind.SEARCH],
                "cart_adds": counts[VisitKind.CART_ADD],
                "checkouts": counts[VisitKind.CHECKOUT],
                "visitors": len({row.visitor for row in noon}),
            }
            assert await traffic(period) == {metric: count for metric, count in expected.items() if count}, day
            paid = {row.visitor for row in noon if row.kind is VisitKind.PAID}
            ordered = paid | {r.visitor for r in noon if r.kind in (VisitKind.CHECKOUT, VisitKind.CHECKOUT_STARTED)}
            filled = ordered | {row.visitor for row in noon if row.kind is VisitKind.CART_ADD}
            viewed = filled | {row.visitor for row in noon if row.kind is VisitKind.PRODUCT_VIEW}
            assert await stages(period) == [len(viewed), len(filled), len(ordered), len(paid)], day
            linen = await RollupService.totals(Dimension.SEARCH, key="linen", period=period)
            assert linen == {
                "searches": len([row for row in mine if row.term == "linen"]),
                "visitors": len({row.visitor for row in noon if row.term == "linen"}),
            }


class TestRecount:
    async def test_lost_rollups_come_back_as_they_were(self, database: Database) -> None:
        for n in range(7):
            await create_event(list(VisitKind)[n], f"v{n % 3}", NOON + timedelta(minutes=20 * n), term="linen" if n == 4 else "")
        await TrafficService.roll_up_all()
        before = await contents()
        assert await TrafficService.recount() == 0
        assert await contents() == before
        for document in (Rollup, FactMark):
            await document.collection().delete_many({})

        assert await TrafficService.recount() > 0

        assert await contents() == before


class TestForgetMarks:
    async def test_marks_go_with_the_rows_and_no_others(self, database: Database, settings: Settings) -> None:
        old = NOON - timedelta(days=settings.analytics_kept_days + 2)
        await create_event(visitor="old", at=old)
        await create_event(visitor="new")
        await TrafficService.roll_up()
        await FactMark(generation=0, key="like:65f0c0ffee0ddba11ca7f00d", at=old).store()
        await FactMark(generation=1, key="visit:of-money", at=old).store()

        assert await TrafficService.forget_marks(settings=settings, now=NOON) == 2

        left = [row["key"] for row in await FactMark.find_rows({}, sort=[("key", 1)])]
        assert len(left) == 4
        assert "visit:visitor:old" not in left
        assert "visit:visitor:new" in left


class TestListSearches:
    async def test_most_asked_for_first_and_nothing_that_few_asked_for(self, database: Database) -> None:
        for n in range(4):
            await create_event(VisitKind.SEARCH, f"v{n}", term="linen")
            await create_event(VisitKind.SEARCH, f"v{n}", term="linen")
        for n in range(3):
            await create_event(VisitKind.SEARCH, f"v{n}", term="wool")
            await create_event(VisitKind.SEARCH, f"v{n}", term="cotton")
        for n in range(9):
            await create_event(VisitKind.SEARCH, f"v{n % 2}", term="my neighbour's name")
        await TrafficService.roll_up_all()

        assert await TrafficService.list_searches(period=UTC_DAY) == [
            SearchedTerm(term="linen", searches_count=8, visitors_count=4),
            SearchedTerm(term="cotton", searches_count=3, visitors_count=3),
            SearchedTerm(term="wool", searches_count=3, visitors_count=3),
        ]
        assert await TrafficService.list_searches(period=UTC_DAY, limit=1) == [
            SearchedTerm(term="linen", searches_count=8, visitors_count=4)
        ]

    async def test_none_without_searches(self, database: Database) -> None:
        assert await TrafficService.list_searches(period=UTC_DAY) == []


class TestIndexes:
    async def test_what_waits_is_found_by_its_index(self, database: Database, commands: CommandLog) -> None:
        await create_event()
        with commands.counting() as sent:
            await TrafficService.roll_up()

        [read] = [read for read in sent.reads if read.collection == "analytics_events"]
        assert serving_index(read) == "rolled"


class TestJobs:
    async def test_worker_brings_visits_into_the_figures(self, database: Database, settings: Settings) -> None:
        await create_event()
        [job] = [job for job in make_jobs(settings) if job.name == "roll_up_visits"]

        done = await JobService.run_now(job)

        assert (done.last_result, done.last_error) == ("1 visit events rolled up", None)
        assert await traffic() == {"page_views": 1, "visitors": 1}


class TestRaces:
    @pytest.mark.parametrize("seed", seeds(2))
    async def test_events_sent_by_many_while_they_are_rolled_up_count_once(
        self, database: Database, settings: Settings, seed: int
    ) -> None:
        """Fifty callers with the same 20 events in some order, and workers that roll up meanwhile."""
        salts, draw = VisitorSalts(site="https://shop.example"), random.Random(seed)
        told = [make_told(id=UUID(int=seed * 100 + n)) for n in range(20)]

        async def send() -> int:
            batch = draw.sample(told, 8)
            await asyncio.sleep(draw.random() / 20)
            taken = await VisitService.record_events(batch, visitor=make_visitor(), salts=salts, settings=settings, now=NOON)
            return taken.accepted

        async def roll() -> int:
            await asyncio.sleep(draw.random() / 20)
            await TrafficService.roll_up(limit=draw.randrange(1, 20))
            return 0

        accepted = sum(await asyncio.gather(*(send() for _ in range(50)), *(roll() for _ in range(10))))
        await TrafficService.roll_up_all()

        kept = len(await VisitEvent.find_rows({}))
        assert (accepted, await traffic()) == (kept, {"page_views": kept, "visitors": 1})
        assert kept == 20
