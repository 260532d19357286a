import asyncio
from datetime import timedelta
from typing import Any

import pytest

from models.analytics.events import VisitorSalt, day_of
from models.database import Database
from services.analytics.visits.visitors import VisitorSalts
from tests.factories.visits import BROWSER, NOON, make_visitor

TODAY = day_of(NOON)
YESTERDAY = TODAY - timedelta(days=1)


def salts() -> VisitorSalts:
    return VisitorSalts(site="https://shop.example")


class TestHashOf:
    async def test_each_day_each_address_and_each_browser_has_its_own(self, database: Database) -> None:
        known = salts()
        hashes = [
            await known.hash_of(make_visitor(), day=TODAY, now=NOON),
            await known.hash_of(make_visitor(), day=YESTERDAY, now=NOON),
            await known.hash_of(make_visitor("203.0.113.8"), day=TODAY, now=NOON),
            await known.hash_of(make_visitor(user_agent=BROWSER + " x"), day=TODAY, now=NOON),
            await VisitorSalts(site="https://other.example").hash_of(make_visitor(), day=TODAY, now=NOON),
        ]

        assert len(set(hashes)) == 5
        assert {len(one) for one in hashes} == {32}
        assert await known.hash_of(make_visitor(), day=TODAY, now=NOON) == hashes[0]

    async def test_fifty_processes_come_to_the_same_salt(self, database: Database) -> None:
        hashes = await asyncio.gather(*(salts().hash_of(make_visitor(), day=TODAY, now=NOON) for _ in range(50)))

        assert len(set(hashes)) == 1
        assert len(await VisitorSalt.find_rows({})) == 1

    async def test_salt_is_gone_two_days_after_its_day_began(self, database: Database) -> None:
        """What is deleted cannot be made again: the same visitor of that day would be another one."""
        known = salts()
        kept = await known.hash_of(make_visitor(), day=TODAY, now=NOON)
        [row] = await VisitorSalt.find_rows({})
        assert row["expires_at"] == TODAY + timedelta(days=2)
        assert len(row["secret"]) == 32
        at = TODAY + timedelta(days=2)

        await known.hash_of(make_visitor(), day=at, now=at)

        assert [row["day"] for row in await VisitorSalt.find_rows({})] == [at]
        assert await known.hash_of(make_visitor(), day=TODAY, now=at) != kept

    async def test_key_of_an_order_does_not_lead_to_its_event_without_the_salt(self, database: Database) -> None:
        known = salts()

        assert await known.key_hash("k", day=TODAY, now=NOON) != await known.key_hash("k", day=YESTERDAY, now=NOON)


class TestIsCounted:
    @pytest.mark.parametrize(
        ("over", "is_counted"),
        [
            ({}, True),
            ({"is_willing": False}, False),
            ({"user_agent": ""}, False),
            ({"user_agent": "Googlebot/2.1"}, False),
            ({"user_agent": "Mozilla/5.0 HeadlessChrome/120.0"}, False),
        ],
    )
    def test_robots_and_the_unwilling_are_not(self, over: dict[str, Any], is_counted: bool) -> None:
        assert make_visitor(**over).is_counted is is_counted
