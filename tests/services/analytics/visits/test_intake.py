import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from models.analytics.events import ClientKind, EventsTaken, Screen, VisitEvent, VisitKind, VisitorSalt, day_of
from models.database import Database
from models.ratelimits import RateWindow
from services.analytics.visits.intake import ClientEventDraft, VisitService
from services.analytics.visits.visitors import Visitor, VisitorSalts
from services.ratelimits import TooManyAttemptsError
from services.settings import Settings
from tests.commands import CommandLog
from tests.factories.visits import NOON, make_told, make_visitor
from tests.races import seeds


@pytest.fixture
def salts() -> VisitorSalts:
    return VisitorSalts(site="https://shop.example")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"base_url": "https://shop.example"})


async def record(
    *told: ClientEventDraft, settings: Settings, salts: VisitorSalts, visitor: Visitor | None = None, minutes: float = 0
) -> EventsTaken:
    now = NOON + timedelta(minutes=minutes)
    return await VisitService.record_events(told, visitor=visitor or make_visitor(), salts=salts, settings=settings, now=now)


def taken(accepted: int = 0, duplicates: int = 0, ignored: int = 0) -> EventsTaken:
    return EventsTaken(accepted=accepted, duplicates=duplicates, ignored=ignored)


class TestRecordEvents:
    async def test_row_holds_what_is_counted_and_nothing_else(
        self, database: Database, settings: Settings, salts: VisitorSalts
    ) -> None:
        told = make_told(
            at=NOON - timedelta(minutes=1),
            path="/shirts?utm_source=letter&utm_medium=email&utm_campaign=spring&q=private",
            referrer="https://search.example/?q=private",
            screen=Screen.SMALL,
        )

        assert await record(told, settings=settings, salts=salts) == taken(accepted=1)

        [row] = await VisitEvent.find_rows({})
        at = NOON - timedelta(minutes=15)
        visitor = await salts.hash_of(make_visitor(), day=day_of(NOON), now=NOON)
        row.pop("_id")
        assert row == {
            "kind": "page_view",
            "at": at,
            "visitor": visitor,
            "path": "/shirts",
            "referrer": "search.example",
            "source": "letter",
            "medium": "email",
            "campaign": "spring",
            "subject": "",
            "term": "",
            "screen": "small",
            "is_rolled": False,
            "created_at": at,
            "updated_at": at,
            "expires_at": day_of(NOON) + timedelta(days=90),
        }

    async def test_times_are_clamped_to_the_present_and_old_ones_ignored(
        self, database: Database, settings: Settings, salts: VisitorSalts
    ) -> None:
        offsets = [
            timedelta(days=400),
            timedelta(seconds=1),
            timedelta(0),
            -timedelta(hours=23, minutes=59),
            -timedelta(hours=24),
        ]
        told = [make_told(at=NOON + offset) for offset in offsets]

        assert await record(*told, settings=settings, salts=salts) == taken(accepted=4, ignored=1)

        rows = await VisitEvent.find_rows({}, sort=[("at", 1)])
        assert [row["at"] for row in rows] == [NOON - timedelta(days=1), NOON, NOON, NOON]
        assert len({row["visitor"] for row in rows}) == 2  # yesterday's name of the visitor, and today's

    async def test_yesterdays_events_stand_under_yesterdays_salt(
        self, database: Database, settings: Settings, salts: VisitorSalts
    ) -> None:
        await record(make_told(at=NOON - timedelta(hours=13)), settings=settings, salts=salts)

        [row] = await VisitEvent.find_rows({})
        assert row["visitor"] == await salts.hash_of(make_visitor(), day=day_of(NOON) - timedelta(days=1), now=NOON)

    async def test_id_counts_once_within_a_batch_and_between_batches(
        self, database: Database, settings: Settings, salts: VisitorSalts
    ) -> None:
        """ANA-1: also when it says something else, or comes from another address."""
        first, second = make_told(), make_told(kind=ClientKind.CHECKOUT_STARTED)
        twin = make_told(id=first.id, path="/other")

        assert await record(first, second, twin, settings=settings, salts=salts) == taken(accepted=2, duplicates=1)
        elsewhere = make_visitor("198.51.100.4")
        assert await record(twin, settings=settings, salts=salts, visitor=elsewhere, minutes=900) == taken(duplicates=1)

        assert sorted(row["kind"] for row in await VisitEvent.find_rows({})) == ["checkout_started", "page_view"]

    @pytest.mark.parametrize("seed", seeds())
    async def test_fifty_callers_with_overlapping_batches_keep_each_event_once(
        self, database: Database, settings: Settings, salts: VisitorSalts, seed: int
    ) -> None:
        ids = [UUID(int=seed * 100 + n) for n in range(12)]
        batches = [[make_told(id=ids[(n + at) % 12]) for at in range(6)] for n in range(50)]

        answers = await asyncio.gather(*(record(*batch, settings=settings, salts=salts) for batch in batches))

        assert len(await VisitEvent.find_rows({})) == 12
        assert sum(answer.accepted for answer in answers) == 12
        assert {answer.accepted + answer.duplicates for answer in answers} == {6}

    @pytest.mark.parametrize("visitor", [make_visitor(user_agent="Googlebot/2.1"), make_visitor(is_willing=False)])
    async def test_nothing_at_all_is_kept_of_robots_and_the_unwilling(
        self, database: Database, settings: Settings, salts: VisitorSalts, visitor: Visitor, commands: CommandLog
    ) -> None:
        with commands.counting() as sent:
            assert await record(make_told(), make_told(), settings=settings, salts=salts, visitor=visitor) == taken(ignored=2)

        assert sent.sent == []

    async def test_batches_of_an_address_are_limited_whatever_the_browser_says(
        self, database: Database, settings: Settings, salts: VisitorSalts
    ) -> None:
        settings = settings.model_copy(update={"analytics_batches": 2})
        for n in range(2):
            visitor = make_visitor(user_agent=f"Mozilla/5.0 Firefox/{n}")
            await record(make_told(), settings=settings, salts=salts, visitor=visitor)

        with pytest.raises(TooManyAttemptsError):
            await record(make_told(), settings=settings, salts=salts)

        assert len(await VisitEvent.find_rows({})) == 2
        assert await record(make_told(), settings=settings, salts=salts, visitor=make_visitor("::1")) == taken(accepted=1)

    async def test_batch_costs_two_commands(
        self, database: Database, settings: Settings, salts: VisitorSalts, commands: CommandLog
    ) -> None:
        await record(make_told(), settings=settings, salts=salts)  # the salt is known then

        with commands.counting() as sent:
            await record(*(make_told(id=uuid4()) for _ in range(50)), settings=settings, salts=salts)

        assert sent.sent == ["findAndModify rate_windows", "insert analytics_events"]

    async def test_no_address_and_no_user_agent_stands_anywhere(
        self, database: Database, settings: Settings, salts: VisitorSalts
    ) -> None:
        visitor = make_visitor("198.51.100.77", user_agent="Mozilla/5.0 PlantedAgent/1.0")
        told = make_told(
            path="/a?token=planted-secret", referrer="https://planted-user:planted-secret@search.example/planted-page"
        )

        await record(told, settings=settings, salts=salts, visitor=visitor)

        names = await database.raw.list_collection_names()
        stored = str([await database.raw[name].find({}).to_list(None) for name in names])
        assert "search.example" in stored
        assert [word for word in ("198.51.100.77", "lanted", "token") if word in stored] == []
        assert {VisitEvent.get_collection_name(), VisitorSalt.get_collection_name(), RateWindow.get_collection_name()} <= set(
            names
        )


class TestKinds:
    def test_clients_tell_of_nothing_that_the_api_sees(self) -> None:
        assert {VisitKind(kind) for kind in ClientKind} == {VisitKind.PAGE_VIEW, VisitKind.CHECKOUT_STARTED}
