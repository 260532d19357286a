"""What the embedded server does otherwise than MongoDB, as it is today: a failure here means that a rule may go.

Each test names the rule that follows. Plain documents in a collection of their own; nothing of Agora is asked but the seam.
"""

from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import OperationFailure, PyMongoError

from models.base import now
from models.database import Collection, Database, DuplicateKeyError, aggregate, run_transaction, watch
from tests.races import patiently


@pytest.fixture
def things(database: Database) -> Collection:
    return database.raw["things"]


class TestRanges:
    """Rule: ask for "beyond the next value" (`services.blog.listing`)."""

    async def test_boundary_is_lost_between_equal_fields_and_further_keys(self, things: Collection) -> None:
        await things.create_index([("status", ASCENDING), ("at", DESCENDING), ("_id", DESCENDING)])
        await things.create_index([("kind", ASCENDING), ("at", ASCENDING), ("_id", ASCENDING)])
        await things.insert_many([{"status": "a", "kind": "a", "at": at} for at in range(5)])

        assert await _found(things, {"status": "a", "at": {"$gte": 2}}) == [3, 4]  # MongoDB: 2, 3, 4
        assert await _found(things, {"kind": "a", "at": {"$lte": 2}}) == [0, 1]  # MongoDB: 0, 1, 2
        assert await _found(things, {"status": "a", "at": {"$gt": 1}}) == [2, 3, 4]
        assert await _found(things, {"kind": "a", "at": {"$lt": 3}}) == [0, 1, 2]


async def _found(things: Collection, query: dict[str, Any]) -> list[int]:
    rows = await things.find(query).to_list(None)
    return sorted(row["at"] for row in rows)


class TestMultikey:
    """Rule: one value by the index, the rest in a later stage (`services.search`)."""

    async def test_all_of_several_values_within_an_array_of_documents_finds_nothing(self, things: Collection) -> None:
        await things.create_index([("terms.term", ASCENDING)])
        await things.insert_one({"terms": [{"term": "x"}, {"term": "y"}]})

        assert await things.find({"terms.term": {"$all": ["x", "y"]}}).to_list(None) == []  # MongoDB: finds it
        later: list[dict[str, Any]] = [{"$match": {"terms.term": "x"}}, {"$match": {"$and": [{"terms.term": "y"}]}}]
        assert len(await aggregate(things, later)) == 1

    async def test_sums_do_not_walk_arrays(self, things: Collection) -> None:
        """Rule: `$unwind`, `$map` or `$reduce`; the pipeline lint refuses the rest."""
        await things.insert_one({"lines": [{"quantity": 2}, {"quantity": 3}]})

        assert await aggregate(things, [{"$project": {"_id": 0, "n": {"$sum": "$lines.quantity"}}}]) == [{"n": 0}]  # MongoDB: 5


class TestUpserts:
    """Rule: let the server make the id (`services.blog.tags`)."""

    async def test_id_on_insert_fails_for_a_row_that_exists(self, things: Collection) -> None:
        await things.create_index([("slug", ASCENDING)], unique=True)
        await things.insert_one({"slug": "a"})

        with pytest.raises(OperationFailure) as failure:  # MongoDB: nothing to insert, nothing to refuse
            await things.update_one({"slug": "a"}, {"$setOnInsert": {"_id": ObjectId()}}, upsert=True)
        assert failure.value.code == 66

        async def work(session: Any) -> None:
            await things.update_one({"slug": "a"}, {"$setOnInsert": {"_id": ObjectId()}}, upsert=True, session=session)

        with pytest.raises(PyMongoError):
            await run_transaction(work)
        assert await things.count_documents({}) == 1


class TestUniqueKeys:
    """Rule: `AgoraDocument.rekey`."""

    async def test_key_that_an_update_gave_up_stays_taken(self, things: Collection) -> None:
        await things.create_index([("slug", ASCENDING)], unique=True)
        await things.insert_one({"_id": 1, "slug": "old"})
        await things.update_one({"_id": 1}, {"$set": {"slug": "new"}})

        with pytest.raises(DuplicateKeyError):  # MongoDB: free again
            await things.insert_one({"_id": 2, "slug": "old"})

    async def test_key_of_a_deleted_row_is_free(self, things: Collection) -> None:
        await things.create_index([("slug", ASCENDING)], unique=True)
        await things.insert_one({"_id": 1, "slug": "old"})
        await things.delete_one({"_id": 1})
        await things.insert_one({"_id": 2, "slug": "old"})
        assert await things.count_documents({"slug": "old"}) == 1


class TestChangeStreams:
    """Rule: `try_next()`, which waits at the server (`services.worker`)."""

    async def test_quiet_stream_waits_without_an_error(self, database: Database, things: Collection) -> None:
        await things.insert_one({})
        async with watch(things) as stream:
            begun = now()
            assert await stream.try_next() is None
            assert now() - begun < timedelta(seconds=patiently(5))


class TestCounts:
    async def test_count_of_nothing_is_a_row(self, things: Collection) -> None:
        """Rule: read both answers alike, none and 0."""
        await things.insert_one({})

        assert await aggregate(things, [{"$match": {"x": 1}}, {"$count": "n"}]) == [{"n": 0}]  # MongoDB: no row
