"""The databases of the tests: what one test did to its database is nowhere in the next one's."""

import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pymongo
import pytest

from models.blog.taxonomy import Tag
from models.database import Database, DuplicateKeyError, PyMongoError, aggregate, run_transaction
from scripts.database.embedded import EmbeddedServer
from services.indexes import IndexService
from tests.databases import DatabasePool

Act = Callable[[Database], Awaitable[None]]


async def nothing(database: Database) -> None: ...


async def insert(database: Database) -> None:
    await Tag(name="a", slug="a").store()


async def upsert(database: Database) -> None:
    await database.raw["tags"].update_one({"slug": "a"}, {"$set": {"name": "a"}}, upsert=True)


async def upsert_and_read(database: Database) -> None:
    await database.raw["tags"].find_one_and_update({"slug": "a"}, {"$set": {"name": "a"}}, upsert=True)


async def key_given_up(database: Database) -> None:
    """The embedded server never frees "a" by itself."""
    await Tag(name="a", slug="a").store()
    await database.raw["tags"].update_one({"slug": "a"}, {"$set": {"slug": "b"}})
    await database.raw["tags"].delete_many({})


async def bulk(database: Database) -> None:
    await database.raw["tags"].bulk_write([pymongo.InsertOne({"slug": "a"}), pymongo.InsertOne({"slug": "b"})])


async def transaction(database: Database) -> None:
    async def work(session: object) -> None:
        await Tag(name="a", slug="a").store(session=session)

    await run_transaction(work)


async def transaction_rolled_back(database: Database) -> None:
    async def work(session: object) -> None:
        await Tag(name="a", slug="a").store(session=session)
        raise LookupError

    with contextlib.suppress(LookupError):
        await run_transaction(work)


async def late_write(database: Database) -> None:
    async def work(session: object) -> None:
        await Tag(name="a", slug="a").store_later(session=session)

    await run_transaction(work)


async def collection_dropped(database: Database) -> None:
    await Tag(name="a", slug="a").store()
    await database.raw["tags"].drop()


async def index_dropped(database: Database) -> None:
    await database.raw["tags"].drop_index("slug_unique")


async def collection_made(database: Database) -> None:
    await database.raw["things"].create_index([("slug", 1)], unique=True)
    await database.raw["things"].insert_one({"slug": "a"})


async def another_client(embedded: str, database: Database) -> None:
    other = Database.connect(embedded, database.name)
    await other.raw["tags"].drop_index("slug_unique")
    await other.close()


async def merge(database: Database) -> None:
    await Tag(name="a", slug="a").store()
    with contextlib.suppress(PyMongoError):
        await aggregate(database.raw["tags"], [{"$merge": {"into": "copies"}}])


async def database_dropped(database: Database) -> None:
    await database.drop()


async def unknown_command(database: Database) -> None:
    with contextlib.suppress(PyMongoError):
        await database.raw.command("collMod", "tags")


PUT_RIGHT: list[Act] = [
    nothing,
    insert,
    upsert,
    upsert_and_read,
    key_given_up,
    bulk,
    transaction,
    transaction_rolled_back,
    late_write,
    collection_dropped,
    index_dropped,
    collection_made,
]
THROWN_AWAY: list[Act] = [merge, database_dropped, unknown_command]


async def use(databases: DatabasePool, embedded: EmbeddedServer, act: Act) -> str:
    """Be a test that does this to its database; returns the database's name."""
    name = databases.take()
    database = Database.connect(embedded.uri, name)
    await databases.bind(database)
    await act(database)
    await database.close()
    databases.give_back(name)
    return name


async def look(databases: DatabasePool, embedded: EmbeddedServer) -> str:
    """Be the next test, and find everything as it should be; returns the database's name."""

    async def is_as_new(database: Database) -> None:
        drift = [row for row in await IndexService.drift() if "expireAfterSeconds" not in (row.declared or "")]
        assert drift == []
        for collection in await database.raw.list_collection_names():
            assert await database.raw[collection].find_one({}) is None, collection
        assert "things" not in await database.raw.list_collection_names()
        await Tag(name="a", slug="a").store()
        with pytest.raises(DuplicateKeyError):
            await Tag(name="b", slug="a").store()

    return await use(databases, embedded, is_as_new)


class TestGiveBack:
    @pytest.mark.parametrize("act", PUT_RIGHT)
    async def test_what_is_foreseen_is_put_right(
        self, databases: DatabasePool, embedded_server: EmbeddedServer, act: Act
    ) -> None:
        used = await use(databases, embedded_server, act)

        assert await look(databases, embedded_server) == used

    @pytest.mark.parametrize("act", THROWN_AWAY)
    async def test_what_is_not_costs_the_database(
        self, databases: DatabasePool, embedded_server: EmbeddedServer, act: Act
    ) -> None:
        used = await use(databases, embedded_server, act)

        assert await look(databases, embedded_server) != used

    async def test_second_client_is_heard_too(self, databases: DatabasePool, embedded_server: EmbeddedServer) -> None:
        async def by_another(database: Database) -> None:
            await another_client(embedded_server.uri, database)

        used = await use(databases, embedded_server, by_another)

        assert await look(databases, embedded_server) == used

    async def test_what_nobody_heard_of_costs_the_database(
        self, databases: DatabasePool, embedded_server: EmbeddedServer
    ) -> None:
        async def unheard(database: Database) -> None:
            with pymongo.MongoClient[dict[str, Any]](embedded_server.uri) as other:
                other[database.name]["tags"].insert_one({"slug": "a"})

        used = await use(databases, embedded_server, unheard)

        assert await look(databases, embedded_server) != used

    async def test_transaction_left_open_costs_the_database(
        self, databases: DatabasePool, embedded_server: EmbeddedServer
    ) -> None:
        sessions = []

        async def left_open(database: Database) -> None:
            started = database.client.start_session()
            session = await started if inspect.isawaitable(started) else started
            begun = session.start_transaction()
            if inspect.isawaitable(begun):
                await begun
            await database.raw["tags"].find_one({}, session=session)
            sessions.append(session)

        used = await use(databases, embedded_server, left_open)

        assert await look(databases, embedded_server) != used
