"""What every document shares: its id, its times, and the writes that keep `updated_at` true."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, ClassVar, Self

import beanie
from beanie import PydanticObjectId
from pydantic import AfterValidator, AwareDatetime, Field
from pymongo import ASCENDING, IndexModel, ReturnDocument

from models import clock, database
from models.database import Collection, DuplicateKeyError, LateWrite, Session

Update = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Sort = Sequence[tuple[str, int]]

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""Before anything. The lower end of ranges of times that may be missing: without one the embedded server walks all that are."""

_IDS = 20_000  # that are looked up at once: a few megabytes


def now() -> datetime:
    """The present in UTC, cut to the millisecond that BSON keeps, so that what is stored reads back identical."""
    return to_milliseconds(clock.present())


def to_milliseconds(moment: datetime) -> datetime:
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _in_utc(moment: datetime) -> datetime:
    try:
        return to_milliseconds(moment)
    except OverflowError as error:  # the first or the last hours there are, in a zone of the other side
        raise ValueError("a time that UTC cannot hold") from error


UtcDatetime = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""An aware UTC time with millisecond precision."""


class AgoraDocument(beanie.Document):
    """A stored document. Writes go through `store`, `change` and `change_many`; nothing reads, edits and saves.

    `watchers` of a class are told after the commit which of its documents was changed, by its id, or None when the change named
    no single one: caches of this process hang on it, so that no writer can forget to empty them.
    """

    watchers: ClassVar[list[Callable[[PydanticObjectId | None], None]]] = []

    id: PydanticObjectId = Field(default_factory=clock.new_id)
    created_at: UtcDatetime = Field(default_factory=now)
    updated_at: UtcDatetime = Field(default_factory=now)

    class Settings:
        indexes: ClassVar[list[IndexModel]] = []

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.watchers = []  # its own: a change of one class is no news to those who watch another

    def row(self) -> dict[str, Any]:
        """What is stored, as the driver takes it."""
        stored: dict[str, Any] = self.model_dump(by_alias=True, exclude={"revision_id"})
        return stored

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """The document a stored row holds."""
        document: Self = cls.model_validate(row)
        return document

    async def store(self, *, session: Session | None = None) -> Self:
        """Insert the document as it is and return it. Raises DuplicateKeyError."""
        collection = await self._written(session)
        await collection.insert_one(self.row(), session=session)
        return self

    async def store_later(self, *, session: Session, refused: Callable[[DuplicateKeyError], Exception] | None = None) -> Self:
        """As `store`, sent with the transaction's other late writes in one command: before it commits, or reads what they wrote.

        A duplicate key is found out then; `refused` makes another error of it.
        """
        write = LateWrite(self.collection(), {"insert": self.row()}, refused=refused)
        if not database.postpone(write, session):
            await self.store(session=session)
        return self

    @classmethod
    def collection(cls) -> Collection:
        """The driver's own collection, for projected reads and conditional updates."""
        return database.collection_of(cls)

    @classmethod
    async def _written(cls, session: Session | None) -> Collection:
        """The collection with everything in it that was postponed in the transaction of `session`."""
        collection = cls.collection()
        if session is not None:
            await database.send_postponed(session, collection)
        return collection

    @classmethod
    async def change(
        cls, query: Mapping[str, Any], update: Update, *, session: Session | None = None, upsert: bool = False
    ) -> Self | None:
        """Apply `update` to the one document that meets `query` and return it as it then is; None when none met it.

        The condition belongs into `query`: whoever gets the document back has won. Moves `updated_at`.
        """
        collection = await cls._written(session)
        row = await collection.find_one_and_update(
            query, _stamped(update), session=session, upsert=upsert, return_document=ReturnDocument.AFTER
        )
        cls._tell_watchers(query)
        return None if row is None else cls.from_row(row)

    @classmethod
    async def change_row(cls, query: Mapping[str, Any], update: Update, *, session: Session | None = None) -> bool:
        """As `change` for who needs no image of the document: true when one met `query`.

        The cheaper way where it is enough: nothing is sent back and validated, and the embedded server, which walks the whole
        collection for every image it gives, uses the index.
        """
        collection = await cls._written(session)
        result = await collection.update_one(query, _stamped(update), session=session)
        cls._tell_watchers(query)
        return bool(result.matched_count)

    @classmethod
    async def change_later(
        cls,
        query: Mapping[str, Any],
        update: Update,
        *,
        session: Session,
        unmet: Exception | None = None,
        is_news: bool = True,
    ) -> None:
        """As `change_row`, sent with the transaction's other late writes. `unmet` is raised when no document met `query`.

        What is no news to watchers (a counter that may be shown a little late) is not told to them.
        """
        operation = {"update": query, "updateMods": _stamped(update)}
        if database.postpone(LateWrite(cls.collection(), operation, unmet), session):
            if is_news:
                cls._tell_watchers(query)
        elif not await cls.change_row(query, update, session=session) and unmet is not None:
            raise unmet

    @classmethod
    async def change_many(cls, query: Mapping[str, Any], update: Update, *, session: Session | None = None) -> int:
        """Apply `update` to every document that meets `query` and return how many were changed. Moves `updated_at`.

        Always in a transaction: on the embedded server an update of many outside of one, when it meets a row that an open
        transaction has written, waits for it and keeps it from ever ending; everything that writes then hangs.
        """
        if session is None:
            return await database.run_transaction(partial(cls._change_many, query, update))
        return await cls._change_many(query, update, session)

    @classmethod
    async def _change_many(cls, query: Mapping[str, Any], update: Update, session: Session) -> int:
        collection = await cls._written(session)
        result = await collection.update_many(query, _stamped(update), session=session)
        changed: int = result.modified_count
        cls._tell_watchers(query)
        return changed

    @classmethod
    def _tell_watchers(cls, query: Mapping[str, Any]) -> None:
        key = query.get("_id")
        changed = key if isinstance(key, PydanticObjectId) else None
        for watcher in cls.watchers:
            database.after_commit(partial(watcher, changed))

    @classmethod
    async def rekey(cls, query: Mapping[str, Any], fields: Mapping[str, Any], *, session: Session) -> Self | None:
        """Set fields that stand under a unique index and return the document as it then is; None when none met `query`.

        The row is deleted and inserted again, in the caller's transaction: on the embedded server a unique key that an update
        gave up stays taken for good, and two transactions that update to one key both get it. Raises DuplicateKeyError.
        """
        collection = await cls._written(session)
        row = await collection.find_one_and_delete(query, session=session)
        if row is None:
            return None
        moved = {**row, **fields, "updated_at": now()}
        await collection.insert_one(moved, session=session)
        cls._tell_watchers(moved)
        return cls.from_row(moved)

    @classmethod
    async def increment(cls, key: PydanticObjectId, field: str, delta: int, *, session: Session) -> int:
        """Move a counter and return it as it then is; 0 for a document that is gone. Moves `updated_at`."""
        collection = await cls._written(session)
        row = await collection.find_one_and_update(
            {"_id": key},
            {"$inc": {field: delta}, "$set": {"updated_at": now()}},
            {field: 1},
            session=session,
            return_document=ReturnDocument.AFTER,
        )
        cls._tell_watchers({"_id": key})
        return int(row[field]) if row else 0

    @classmethod
    async def find_row(
        cls, query: Mapping[str, Any], fields: Mapping[str, Any] | None = None, *, session: Session | None = None
    ) -> dict[str, Any] | None:
        """One stored row as a plain dictionary, projected to `fields`; None when there is none."""
        collection = await cls._written(session)
        row: dict[str, Any] | None = await collection.find_one(query, fields, session=session)
        return row

    @classmethod
    async def find_rows(
        cls,
        query: Mapping[str, Any],
        fields: Mapping[str, Any] | None = None,
        *,
        sort: Sort | None = None,
        skip: int = 0,
        limit: int = 0,
        session: Session | None = None,
    ) -> list[dict[str, Any]]:
        """The stored rows as plain dictionaries, projected to `fields`, in the order of `sort`; 0 is no limit."""
        collection = await cls._written(session)
        cursor = collection.find(query, fields, sort=sort, skip=skip, limit=limit, session=session)
        if limit:
            cursor = cursor.batch_size(limit + 1)
        rows: list[dict[str, Any]] = await cursor.to_list(None)
        return rows

    @classmethod
    async def walk(cls, fields: Mapping[str, Any] | None = None, *, batch: int) -> AsyncIterator[list[dict[str, Any]]]:
        """Every row, `batch` at a time in the order of their ids, projected to `fields`.

        Read by their ids, thousands of which are looked up at once: the embedded server sorts all that lies ahead for every page.
        """
        ahead: dict[str, Any] = {}
        while found := await cls.find_rows(ahead, {"_id": 1}, sort=[("_id", ASCENDING)], limit=_IDS):
            ids = [row["_id"] for row in found]
            for at in range(0, len(ids), batch):
                rows = await cls.find_rows({"_id": {"$in": ids[at : at + batch]}}, fields, limit=batch)
                yield sorted(rows, key=lambda row: row["_id"])
            ahead = {"_id": {"$gt": ids[-1]}}

    @classmethod
    async def count_rows(cls, query: Mapping[str, Any]) -> int:
        """How many documents meet `query`, by the count command, which costs less than an aggregation. Not for transactions."""
        collection = cls.collection()
        answer = await collection.database.command({"count": collection.name, "query": query})
        return int(answer["n"])

    @classmethod
    async def aggregate_rows(cls, pipeline: Sequence[dict[str, Any]], *, session: Session | None = None) -> list[dict[str, Any]]:
        """All rows of a pipeline over this collection, in the pipeline's order."""
        if session is not None:
            await database.send_postponed(session)  # a pipeline may look into other collections, too
        return await database.aggregate(cls.collection(), pipeline, session=session)


def _stamped(update: Update) -> Update:
    """`update` with `updated_at` moved, unless operators set it, whether it is a set of operators or a pipeline."""
    if isinstance(update, Mapping):
        changes = {"updated_at": now(), **update.get("$set", {})}
        return {**update, "$set": changes}
    return [*update, {"$set": {"updated_at": now()}}]
