"""The writes every document shares."""

from datetime import UTC, datetime

import pytest
from beanie import PydanticObjectId

from models import base
from models.blog.taxonomy import Tag
from models.database import Database
from tests.commands import CommandLog


class TestChangeRow:
    async def test_tells_whether_one_met_the_query(self, database: Database) -> None:
        tag = await Tag(
            name="a", slug="a", created_at=datetime(2026, 1, 1, tzinfo=UTC), updated_at=datetime(2026, 1, 1, tzinfo=UTC)
        ).store()

        assert await Tag.change_row({"_id": tag.id, "slug": "a"}, {"$set": {"name": "b"}}) is True
        assert await Tag.change_row({"_id": tag.id, "slug": "other"}, {"$set": {"name": "c"}}) is False

        row = await Tag.find_row({"_id": tag.id})
        assert row is not None
        assert row["name"] == "b"
        assert row["updated_at"] > datetime(2026, 1, 1, tzinfo=UTC)

    async def test_keeps_the_time_of_change_that_is_given(self, database: Database) -> None:
        tag = await Tag(name="a", slug="a").store()
        moment = datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)

        assert await Tag.change_row({"_id": tag.id}, {"$set": {"updated_at": moment}})

        row = await Tag.find_row({"_id": tag.id}, {"updated_at": 1})
        assert row == {"_id": tag.id, "updated_at": moment}

    async def test_tells_the_watchers(self, database: Database) -> None:
        tag = await Tag(name="a", slug="a").store()
        told: list[PydanticObjectId | None] = []
        Tag.watchers.append(told.append)
        try:
            await Tag.change_row({"_id": tag.id}, {"$set": {"name": "b"}})
        finally:
            Tag.watchers.remove(told.append)

        assert told == [tag.id]


class TestChangeMany:
    async def test_is_a_transaction_by_itself(self, database: Database, commands: CommandLog) -> None:
        """Outside of one it may lock up the embedded server."""
        for slug in ("a", "b", "c"):
            await Tag(name="x" if slug == "c" else "y", slug=slug).store()

        with commands.counting() as sent:
            assert await Tag.change_many({"name": "y"}, {"$set": {"usage_count": 3}}) == 2

        assert sent.sent == ["update tags", "commitTransaction 1"]
        assert [row["usage_count"] for row in await Tag.find_rows({}, sort=[("slug", 1)])] == [3, 3, 0]


class TestWalk:
    async def test_tells_every_row_once_in_the_order_of_their_ids(
        self, database: Database, monkeypatch: pytest.MonkeyPatch, commands: CommandLog
    ) -> None:
        monkeypatch.setattr(base, "_IDS", 5)
        tags = [Tag(name=f"tag {n}", slug=f"tag-{n}") for n in range(7)]
        await Tag.collection().insert_many([tag.row() for tag in reversed(tags)])

        with commands.counting() as sent:
            batches = [batch async for batch in Tag.walk({"slug": 1}, batch=3)]

        ids = sorted(tag.id for tag in tags)
        assert [[row["_id"] for row in batch] for batch in batches] == [ids[:3], ids[3:5], ids[5:]]
        assert set(batches[0][0]) == {"_id", "slug"}
        assert len(sent) == 3 + 3

    async def test_of_nothing_is_no_batch(self, database: Database) -> None:
        assert [batch async for batch in Tag.walk(batch=3)] == []
