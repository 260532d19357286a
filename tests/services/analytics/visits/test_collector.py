import asyncio
from datetime import timedelta

import pytest

from models.analytics.events import VisitEvent, VisitKind, day_of
from models.database import Database, Session, run_transaction
from services.analytics.visits.collector import VisitCollector
from services.analytics.visits.intake import keep_events
from services.analytics.visits.visitors import VisitorSalts
from services.settings import Settings
from tests.factories.visits import NOON, make_visitor


@pytest.fixture
def salts() -> VisitorSalts:
    return VisitorSalts(site="https://shop.example")


@pytest.fixture
def collector(settings: Settings, salts: VisitorSalts) -> VisitCollector:
    return VisitCollector(settings, salts=salts)


class TestNote:
    async def test_robots_and_the_unwilling_are_not_noted(self, collector: VisitCollector) -> None:
        collector.note(VisitKind.SEARCH, make_visitor(user_agent="Googlebot/2.1"))
        collector.note(VisitKind.SEARCH, make_visitor(is_willing=False))

        assert collector.pending == 0

    async def test_what_is_done_in_a_transaction_counts_once_it_is_committed(
        self, database: Database, collector: VisitCollector
    ) -> None:
        async def work(session: Session) -> None:
            collector.note(VisitKind.CART_ADD, make_visitor())
            assert collector.pending == 0

        await run_transaction(work)

        assert collector.pending == 1

    async def test_memory_is_bounded(self, settings: Settings, salts: VisitorSalts, database: Database) -> None:
        collector = VisitCollector(settings, salts=salts, max_pending=2)
        for _ in range(5):
            collector.note(VisitKind.CART_ADD, make_visitor())

        assert (collector.pending, collector.dropped) == (2, 3)
        assert await collector.flush() == 2
        assert (collector.pending, collector.dropped) == (0, 0)


class TestFlush:
    async def test_writes_what_was_noted(self, database: Database, collector: VisitCollector, salts: VisitorSalts) -> None:
        at = NOON + timedelta(minutes=16)
        collector.note(VisitKind.PRODUCT_VIEW, make_visitor(), subject="product:1", now=at)
        collector.note(VisitKind.SEARCH, make_visitor(), term="  Linen SHIRT", now=at)

        assert await collector.flush() == 2

        rows = await VisitEvent.find_rows({}, sort=[("kind", 1)])
        visitor = await salts.hash_of(make_visitor(), day=day_of(NOON), now=NOON)
        assert [(row["kind"], row["subject"], row["term"]) for row in rows] == [
            ("product_view", "product:1", ""),
            ("search", "", "linen shirt"),
        ]
        assert {(row["at"], row["created_at"], row["visitor"]) for row in rows} == {
            (NOON + timedelta(minutes=15), NOON + timedelta(minutes=15), visitor)
        }
        assert await collector.flush() == 0

    async def test_key_counts_once_in_any_process(
        self, database: Database, settings: Settings, collector: VisitCollector, salts: VisitorSalts
    ) -> None:
        other = VisitCollector(settings, salts=VisitorSalts(site="https://shop.example"))
        for each in (collector, collector, other):
            each.note(VisitKind.CHECKOUT, make_visitor(), key="an order's", now=NOON)
        collector.note(VisitKind.PAID, make_visitor(), key="an order's", now=NOON)

        written = await asyncio.gather(collector.flush(), other.flush())

        assert sum(written) == 2
        assert sorted(row["kind"] for row in await VisitEvent.find_rows({})) == ["checkout", "paid"]

    async def test_what_fails_is_kept_and_counts_once(
        self, database: Database, collector: VisitCollector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer to the write is lost: nobody knows how far it went."""
        for n in range(5):
            collector.note(VisitKind.CART_ADD, make_visitor(str(n)), now=NOON)

        async def lose_the_answer(rows: list[VisitEvent]) -> int:
            await keep_events(rows)
            raise ConnectionError

        with monkeypatch.context() as patched:
            patched.setattr("services.analytics.visits.collector.keep_events", lose_the_answer)
            with pytest.raises(ConnectionError):
                await collector.flush()
        assert collector.pending == 5

        await collector.flush()

        assert collector.pending == 0
        assert len(await VisitEvent.find_rows({})) == 5

    async def test_task_writes_at_its_end(self, database: Database, collector: VisitCollector) -> None:
        async with collector.running(3600):
            collector.note(VisitKind.CART_ADD, make_visitor())

        assert len(await VisitEvent.find_rows({})) == 1
