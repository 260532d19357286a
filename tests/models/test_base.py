"""The writes every document shares."""

from datetime import UTC, datetime

from beanie import PydanticObjectId

from models.blog.taxonomy import Tag
from models.database import Database


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
