"""Whether the category tree adds up: every path, level and list of ancestors against the parents alone."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from beanie import PydanticObjectId

from models.database import Session, run_transaction
from models.ecommerce.catalog import ProductCategory
from services.drift import Drift

PLACE = "place"
_NOWHERE = "below itself, or below nothing"
_FIELDS = {"slug": 1, "parent_id": 1, "ancestor_ids": 1, "path": 1, "level": 1}


async def category_drift() -> AsyncIterator[Drift]:
    """Categories whose stored place is not what their parents say, read in one snapshot; by level, then id.

    One that hangs below itself, or below a category that is gone, is told as it is: a person must move it.
    """
    rows = await run_transaction(lambda session: ProductCategory.find_rows({}, _FIELDS, session=session))
    by_id = {row["_id"]: row for row in rows}
    for row in sorted(rows, key=lambda row: (row["level"], row["_id"])):
        way = _way(row["_id"], by_id)
        counted = _NOWHERE if way is None else _place([by_id[key]["slug"] for key in way], way[:-1])
        stored = _told(row["path"], row["level"], row["ancestor_ids"])
        if stored != counted:
            yield Drift(ProductCategory.get_collection_name(), row["_id"], PLACE, stored, counted, counted != _NOWHERE)


def is_place(row: Drift) -> bool:
    """Whether `repair_place` is the one to ask."""
    return row.collection == ProductCategory.Settings.name and row.field == PLACE


async def repair_place(row: Drift, *, session: Session) -> bool:
    """Store the place that the parents say; false when the category changed since, or no machine may decide."""
    if row.counted == _NOWHERE:
        return False
    found = await ProductCategory.find_row({"_id": row.id}, _FIELDS, session=session)
    if found is None or _told(found["path"], found["level"], found["ancestor_ids"]) != row.stored:
        return False
    path, _, ancestors = str(row.counted).partition(" ")
    ids = [PydanticObjectId(text) for text in ancestors.split()]
    as_read = {"_id": row.id, "path": found["path"], "ancestor_ids": found["ancestor_ids"], "level": found["level"]}
    fields = {"path": path, "ancestor_ids": ids, "level": len(ids)}
    return await ProductCategory.change(as_read, {"$set": fields}, session=session) is not None


def _way(category_id: PydanticObjectId, by_id: Mapping[PydanticObjectId, Mapping[str, Any]]) -> list[PydanticObjectId] | None:
    """From the root to the category; None when it never comes to a root."""
    way: list[PydanticObjectId] = []
    key: PydanticObjectId | None = category_id
    while key is not None:
        if key in way or key not in by_id:
            return None
        way.insert(0, key)
        key = by_id[key]["parent_id"]
    return way


def _place(slugs: list[str], ancestors: list[PydanticObjectId]) -> str:
    return _told("".join(f"{slug}/" for slug in slugs), len(ancestors), ancestors)


def _told(path: str, level: int, ancestors: list[PydanticObjectId]) -> str:
    """`clothes/shirts/ <ids of the ancestors>`; a level that is not their number stands apart."""
    told = " ".join([path, *map(str, ancestors)])
    return told if level == len(ancestors) else f"{told} at level {level}"
