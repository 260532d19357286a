"""Late writes: sent together at the end of their transaction, seen by its reads, refused as if each had been sent alone."""

import asyncio

import pytest

from models.audit import AuditEntry
from models.blog.taxonomy import Tag
from models.database import Database, DuplicateKeyError, Session, duplicate_index, run_transaction, start_again
from tests.commands import CommandLog


class TooLateError(Exception):
    """What the tests ask to be raised."""


async def slugs() -> list[str]:
    return [row["slug"] for row in await Tag.find_rows({}, sort=[("slug", 1)])]


class TestStoreLater:
    async def test_several_documents_are_one_command(self, database: Database, commands: CommandLog) -> None:
        async def work(session: Session) -> None:
            for slug in ("a", "b"):
                await Tag(name=slug, slug=slug).store_later(session=session)
            await AuditEntry(action="x", subject="y").store_later(session=session)

        with commands.counting() as sent:
            await run_transaction(work)

        assert sent.sent == ["bulkWrite 1", "commitTransaction 1"]
        assert await slugs() == ["a", "b"]
        assert [(row["action"], row["subject"]) for row in await AuditEntry.find_rows({})] == [("x", "y")]

    async def test_nothing_is_kept_when_the_work_fails(self, database: Database) -> None:
        async def work(session: Session) -> None:
            await Tag(name="a", slug="a").store_later(session=session)
            raise LookupError

        with pytest.raises(LookupError):
            await run_transaction(work)

        assert await slugs() == []

    async def test_own_reads_and_writes_see_it(self, database: Database, commands: CommandLog) -> None:
        async def work(session: Session) -> None:
            tag = await Tag(name="a", slug="a").store_later(session=session)
            assert await AuditEntry.find_rows({}, session=session) == []  # of another collection: nothing is sent for it
            await Tag.change_later({"_id": tag.id}, {"$inc": {"usage_count": 1}}, session=session)
            found = await Tag.change({"_id": tag.id}, {"$inc": {"usage_count": 1}}, session=session)
            assert found is not None
            assert found.usage_count == 2

        with commands.counting() as sent:
            await run_transaction(work)

        assert sent.sent == ["find audit_entries", "bulkWrite 1", "findAndModify tags", "commitTransaction 1"]

    async def test_a_duplicate_is_refused_as_by_an_insert(self, database: Database) -> None:
        await Tag(name="a", slug="a").store()

        async def work(session: Session) -> None:
            await Tag(name="b", slug="b").store_later(session=session)
            await Tag(name="A", slug="a").store_later(session=session)

        with pytest.raises(DuplicateKeyError) as refused:
            await run_transaction(work)

        assert duplicate_index(refused.value) == "slug_unique"
        assert await slugs() == ["a"]

    async def test_a_duplicate_raises_what_was_asked_for(self, database: Database) -> None:
        await Tag(name="a", slug="a").store()

        async def work(session: Session) -> None:
            await Tag(name="A", slug="a").store_later(session=session, refused=lambda error: TooLateError())

        with pytest.raises(TooLateError):
            await run_transaction(work)

        assert await slugs() == ["a"]

    async def test_joins_the_outer_transaction(self, database: Database, commands: CommandLog) -> None:
        async def inner(session: Session) -> None:
            await Tag(name="inner", slug="inner").store_later(session=session)

        async def outer(session: Session) -> None:
            await Tag(name="outer", slug="outer").store_later(session=session)
            await run_transaction(inner)

        with commands.counting() as sent:
            await run_transaction(outer)

        assert sent.sent == ["bulkWrite 1", "commitTransaction 1"]
        assert await slugs() == ["inner", "outer"]


class TestChangeLater:
    async def test_unmet_condition_undoes_everything(self, database: Database) -> None:
        tag = await Tag(name="a", slug="a").store()

        async def work(session: Session) -> None:
            await Tag(name="b", slug="b").store_later(session=session)
            wrong = {"_id": tag.id, "usage_count": 7}
            await Tag.change_later(wrong, {"$inc": {"usage_count": 1}}, session=session, unmet=TooLateError())

        with pytest.raises(TooLateError):
            await run_transaction(work)

        assert await slugs() == ["a"]

    async def test_unmet_condition_nobody_asks_about_is_passed(self, database: Database) -> None:
        tag = await Tag(name="a", slug="a").store()

        async def work(session: Session) -> None:
            await Tag.change_later({"_id": tag.id, "usage_count": 7}, {"$inc": {"usage_count": 1}}, session=session)
            await Tag(name="b", slug="b").store_later(session=session)

        await run_transaction(work)

        assert await slugs() == ["a", "b"]

    async def test_fifty_callers_that_start_again_lose_no_update(self, database: Database) -> None:
        tag = await Tag(name="a", slug="a").store()

        async def work(session: Session) -> None:
            row = await Tag.find_row({"_id": tag.id}, session=session)
            assert row is not None
            as_read = {"_id": tag.id, "usage_count": row["usage_count"]}
            change = {"$set": {"usage_count": row["usage_count"] + 1}}
            await Tag.change_later(as_read, change, session=session, unmet=start_again("overtaken"))
            await AuditEntry(action="x", subject="y").store_later(session=session)

        await asyncio.gather(*(run_transaction(work) for _ in range(50)))

        row = await Tag.find_row({"_id": tag.id})
        assert row is not None
        assert row["usage_count"] == 50
        assert len(await AuditEntry.find_rows({})) == 50
