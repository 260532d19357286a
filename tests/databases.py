"""Databases for tests, used again: a test pays for the collections it wrote to, and for nothing else.

Making a database with every declared index and dropping it again costs more than most tests do. So a database that a test gives
back is put right instead: what the test wrote to, which the commands of its clients tell, is emptied. Where that is not enough it
is dropped and made anew: on the embedded server a unique key that an update gave up stays taken, even when all documents are
deleted. Whatever cannot be put right (a command nobody foresaw, a write cut off, a transaction left open, documents that some
other program wrote) costs the database: it is thrown away whole, and the next test gets a fresh one.

The server forgets nothing by itself there. Once a minute it would delete what is over by the machine's clock, and much of what
tests make is of another day: now and then a test would miss a row, and nobody could say why.
"""

import contextlib
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from pymongo import IndexModel, MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from models import database as seam
from models.base import AgoraDocument
from models.database import Database
from models.documents import DOCUMENTS
from services.indexes import declared_indexes

# Commands that change nothing which outlives them; `aggregate` is one unless a stage of it writes.
_HARMLESS = {
    *("aggregate", "collStats", "count", "dbStats", "distinct", "explain", "find", "getMore", "killCursors"),
    *("listCollections", "listIndexes"),
    *("buildInfo", "endSessions", "hello", "killAllSessions", "ping"),
}
# Commands that change the one collection they name.
_CHANGES = {"create", "createIndexes", "delete", "drop", "dropIndexes", "findAndModify", "insert", "update"}
# What these did is undone by deleting every document; so is what the second did, where no key but that of documents is unique.
_FILLING = {"delete", "insert"}
_UPDATING = {"findAndModify", "update"}
_ENDS = {"abortTransaction", "commitTransaction"}
_WRITING_STAGES = {"$merge", "$out"}

_Call = tuple[Any, int]


class Tracker(CommandListener):
    """Hears every client of the databases that are lent, and notes what cannot be left as it is."""

    def __init__(self) -> None:
        self._changed: dict[tuple[str, str], set[str]] = {}
        self._unforeseen: set[str] = set()
        self._under_way: dict[_Call, tuple[str, bytes | None]] = {}
        self._transactions: dict[bytes, str] = {}
        self._lock = threading.Lock()  # Motor's clients report from threads

    def collect(self, database: str) -> dict[str, set[str]] | None:
        """The collections of this database that were changed since the last call, each with the commands that did.

        None when more may have happened to it.
        """
        with self._lock:
            changed = {collection: how for (place, collection), how in self._changed.items() if place == database}
            self._changed = {where: how for where, how in self._changed.items() if where[0] != database}
            # Commands to `admin` may concern any database.
            unknown = not self._unforeseen.isdisjoint({database, "admin"})
            self._unforeseen -= {database, "admin"}
            unfinished = [call for call, (place, _) in self._under_way.items() if place == database]
            for call in unfinished:
                del self._under_way[call]
            standing = [session for session, place in self._transactions.items() if place == database]
            for session in standing:
                del self._transactions[session]
        return None if unknown or unfinished or standing else changed

    def started(self, event: CommandStartedEvent) -> None:
        name, command = event.command_name, event.command
        place, changed = _about(event)
        with self._lock:
            session = bytes(command["lsid"]["id"]) if command.get("autocommit") is False else None
            if name in _ENDS:
                self._under_way[_call(event)] = (place, session)
                return
            if session is not None:
                self._transactions.setdefault(session, place)
            if name in _HARMLESS and not _writes(command):
                return
            self._under_way[_call(event)] = (place, None)
            for where, how in changed:
                self._changed.setdefault(where, set()).add(how)
            if not changed:
                self._unforeseen.add(place)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self._answered(event)

    def failed(self, event: CommandFailedEvent) -> None:
        # Without an answer of the server's own, the command may take effect at any time.
        if "ok" in event.failure:
            self._answered(event)

    def _answered(self, event: CommandSucceededEvent | CommandFailedEvent) -> None:
        with self._lock:
            _, ended = self._under_way.pop(_call(event), ("", None))
            if ended is not None:
                self._transactions.pop(ended, None)


def _call(event: CommandStartedEvent | CommandSucceededEvent | CommandFailedEvent) -> _Call:
    return event.connection_id, event.request_id


def _about(event: CommandStartedEvent) -> tuple[str, list[tuple[tuple[str, str], str]]]:
    """The database of a command, and if that can be told each collection it changes, with its database, and the way it does."""
    name, command, place = event.command_name, event.command, event.database_name
    if name != "bulkWrite":
        return place, [((place, command[name]), name)] if name in _CHANGES else []
    # It is sent to `admin`, and names what it is about.
    spaces = [space["ns"].partition(".") for space in command["nsInfo"]]
    ways = [
        next((kind, operation[kind]) for kind in ("insert", "update", "delete") if kind in operation)
        for operation in command["ops"]
    ]
    return spaces[0][0], [((spaces[number][0], spaces[number][2]), kind) for kind, number in ways]


def _writes(command: Mapping[str, Any]) -> bool:
    return any(not _WRITING_STAGES.isdisjoint(stage) for stage in command.get("pipeline", ()))


def _collection(document: type[AgoraDocument]) -> str:
    """The collection's name, also before the class is bound."""
    name: str = vars(document.Settings)["name"]
    return name


def _unswept(index: IndexModel) -> IndexModel:
    """The same index, by which the server forgets nothing."""
    options = {name: value for name, value in index.document.items() if name not in ("key", "expireAfterSeconds")}
    return IndexModel(list(index.document["key"].items()), **options)


class DatabasePool:
    """Hands out empty databases with every declared index, and takes them back."""

    def __init__(self, uri: str) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(uri)
        self._tracker = Tracker()
        self._ready: list[str] = []
        self._lent: set[str] = set()
        self._swept: set[str] = set()
        self._declared = {_collection(document): declared_indexes(document) for document in DOCUMENTS}
        self._indexes = {collection: [_unswept(index) for index in indexes] for collection, indexes in self._declared.items()}
        self._indexed = sum(bool(indexes) for indexes in self._indexes.values())
        self._unique = {
            collection for collection, indexes in self._indexes.items() if any("unique" in index.document for index in indexes)
        }
        self._is_bound = False

    @classmethod
    @contextlib.contextmanager
    def opened(cls, uri: str) -> Iterator["DatabasePool"]:
        """A pool that is told of whatever `Database.connect` connects to the databases it lent, until the block ends."""
        pool = cls(uri)
        connect = Database.connect

        def tracked(uri: str, name: str, *, listeners: Sequence[CommandListener] = (), **options: Any) -> Database:
            # Not the others: PyMongo rolls dice for a client that has listeners, and Hypothesis minds that in its examples.
            watching = [pool._tracker] if name in pool._lent else []
            return connect(uri, name, listeners=[*listeners, *watching], **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Database, "connect", staticmethod(tracked))
            yield pool
        pool._client.close()

    def take(self, *, swept: bool = False) -> str:
        """The name of an empty database with every declared index; nobody else has it.

        One that is `swept` has the server forget what is over, exactly as declared, and is for one test alone.
        """
        name = self._ready.pop() if self._ready and not swept else self._make(swept=swept)
        self._lent.add(name)
        return name

    def give_back(self, name: str) -> None:
        """Take a database that nobody uses any more, whatever was done to it."""
        self._lent.remove(name)
        changed = self._tracker.collect(name)
        if name not in self._swept and changed is not None and self._is_put_right(name, changed):
            self._ready.append(name)
        else:
            self._swept.discard(name)
            self._client.drop_database(name)

    async def bind(self, database: Database) -> None:
        """Do what `database.bind(DOCUMENTS)` does, without looking at every field of every class again."""
        if not self._is_bound:
            await database.bind(DOCUMENTS)
            self._is_bound = True
            return
        seam._bound = database
        documents: Sequence[Any] = DOCUMENTS  # these methods of Beanie's have no types
        for document in documents:
            document.set_database(database.raw)
            document.set_collection(database.raw[_collection(document)])

    def _make(self, *, swept: bool) -> str:
        name = f"test_{uuid.uuid4().hex[:16]}"
        if swept:
            self._swept.add(name)
        for collection, indexes in (self._declared if swept else self._indexes).items():
            self._create(name, collection, indexes)
        return name

    def _create(self, name: str, collection: str, indexes: Sequence[IndexModel]) -> None:
        if indexes:
            self._client[name][collection].create_indexes(indexes)

    def _is_put_right(self, name: str, changed: Mapping[str, set[str]]) -> bool:
        for collection, how in changed.items():
            indexes = self._indexes.get(collection, [])
            if indexes and how <= (_FILLING if collection in self._unique else _FILLING | _UPDATING):
                self._client[name][collection].delete_many({})
            else:
                self._client[name].drop_collection(collection)
                self._create(name, collection, indexes)
        found = self._client[name].command("dbStats")
        return (found["collections"], found["objects"]) == (self._indexed, 0)
