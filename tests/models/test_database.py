"""The driver seam: transactions, their retries, and what they say when the outcome is unknown."""

import asyncio
import contextlib
import gc

import pytest
from pymongo.errors import BulkWriteError, OperationFailure

from models.audit import AuditEntry
from models.blog.taxonomy import Tag
from models.database import Database, DuplicateKeyError, PyMongoError, duplicate_index, heed_cancellation, run_transaction
from services.indexes import IndexService
from tests.races import patiently


class TestRunTransaction:
    async def test_all_or_nothing(self, database: Database) -> None:
        async def work(session: object) -> None:
            await Tag(name="a", slug="a").store(session=session)
            raise LookupError

        with pytest.raises(LookupError):
            await run_transaction(work)

        assert await Tag.find_rows({}) == []

    async def test_inner_transaction_joins_the_outer_one(self, database: Database) -> None:
        async def inner(session: object) -> None:
            await Tag(name="inner", slug="inner").store(session=session)

        async def outer(session: object) -> None:
            await run_transaction(inner)
            raise LookupError

        with pytest.raises(LookupError):
            await run_transaction(outer)

        assert await Tag.find_rows({}) == []

    @pytest.mark.parametrize("hot", [(), ("tag",)])
    async def test_fifty_callers_of_one_document_lose_no_update(self, database: Database, hot: tuple[str, ...]) -> None:
        tag = await Tag(name="a", slug="a").store()

        async def work(session: object) -> None:
            await Tag.change({"_id": tag.id}, {"$inc": {"usage_count": 1}}, session=session)
            await AuditEntry(action="x", subject="y").store(session=session)

        await asyncio.gather(*(run_transaction(work, hot=hot) for _ in range(50)))

        row = await Tag.find_row({"_id": tag.id})
        assert row is not None
        assert row["usage_count"] == 50
        assert len(await AuditEntry.find_rows({})) == 50

    @pytest.mark.parametrize(
        "error",
        [
            *(OperationFailure("refused", code, {"code": code}) for code in (112, 251, 11601)),
            OperationFailure('Internal("transaction already closed")', 1),
            BulkWriteError({"writeErrors": [{"index": 0, "code": 112, "errmsg": ""}]}),
        ],
        ids=repr,
    )
    async def test_starts_again_also_where_the_server_puts_no_label(self, database: Database, error: PyMongoError) -> None:
        tries: list[int] = []

        async def work(session: object) -> None:
            await Tag(name="a", slug="a").store(session=session)
            tries.append(1)
            if len(tries) < 3:
                raise error

        await run_transaction(work)

        assert (len(tries), len(await Tag.find_rows({}))) == (3, 1)


class TestFeelPulse:
    async def test_waits_for_no_connection_of_the_pool(self) -> None:
        asked: list[str] = []

        class Pulse:
            admin: "Pulse"

            async def command(self, name: str) -> None:
                asked.append(name)

        pulse, pool = Pulse(), {"agora": None}
        pulse.admin = pulse
        database = Database(pool, "agora", make_pulse=lambda: pulse)

        await database.feel_pulse()
        await database.feel_pulse()

        assert asked == ["ping", "ping"]


class TestDuplicateIndex:
    async def test_names_the_index_on_insert_and_update(self, database: Database) -> None:
        await Tag(name="a", slug="a").store()
        other = await Tag(name="b", slug="b").store()

        with pytest.raises(DuplicateKeyError) as insert:
            await Tag(name="c", slug="a").store()
        with pytest.raises(DuplicateKeyError) as update:
            await Tag.change({"_id": other.id}, {"$set": {"slug": "a"}})

        assert duplicate_index(insert.value) == "slug_unique"
        assert duplicate_index(update.value) == "slug_unique"


class TestIndexes:
    @pytest.mark.swept
    async def test_declared_equals_created(self, database: Database) -> None:
        assert await IndexService.drift() == []


class TestHeedCancellation:
    @pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
    async def test_loop_over_failing_operations_ends_when_cancelled(self, database: Database) -> None:
        """The driver may report a cancelled operation as a failure, or finish it: then the cancellation is lost.

        Cancelled while it connects, as it does for an operation that it tries once more, it leaves its socket to the collector of
        garbage, which warns.
        """

        async def keep_asking() -> None:
            while True:
                heed_cancellation()
                with contextlib.suppress(PyMongoError):
                    await Tag.find_rows({})

        for delay in range(20):
            await database.ping()
            task = asyncio.create_task(keep_asking())
            await asyncio.sleep(delay / 1000)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, patiently(5))
        del task
        gc.collect()  # here, and not in the test of somebody else
