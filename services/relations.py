"""Rows that are there or not: one person's relation to one thing, and the counter of how many there are.

For use inside a transaction, which makes the row and the counter change together.
"""

from typing import Any

from beanie import PydanticObjectId

from models.base import AgoraDocument
from models.database import DuplicateKeyError, Session, start_again

Row = dict[str, Any]


async def add_relation(document: AgoraDocument, pair: Row, session: Session) -> bool:
    """Insert the relation unless it is there; true when it was not. Its unique index decides, also between processes.

    Not an upsert: on the embedded server one that meets a row inserted meanwhile fails in a way that tells nothing.
    """
    collection = document.collection()
    if await collection.find_one(pair, {"_id": 1}, session=session) is not None:
        return False
    try:
        await document.store(session=session)
    except DuplicateKeyError as error:
        raise start_again("the relation was made by another transaction") from error
    return True


async def remove_relation(document: type[AgoraDocument], pair: Row, session: Session) -> bool:
    """Delete the relation; true when it was there."""
    result = await document.collection().delete_one(pair, session=session)
    removed: bool = result.deleted_count == 1
    return removed


async def move_counter(document: type[AgoraDocument], key: PydanticObjectId, field: str, delta: int, session: Session) -> int:
    """The counter after moving it by `delta`; with 0 only what it is. 0 for a document that is gone meanwhile."""
    if delta:
        return await document.increment(key, field, delta, session=session)
    row = await document.find_row({"_id": key}, {field: 1}, session=session)
    return row[field] if row else 0
